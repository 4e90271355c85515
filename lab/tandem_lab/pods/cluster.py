"""The cluster: control plane, scheduler and nodes; start it, look at it, stop it.

    cluster = Cluster()
    with cluster.exclusive():
        cluster.start(progress)
        cluster.plane.kubectl("get", "nodes")
        cluster.stop()

What it needs is made first (`prepare`), once. Whatever runs ends with the thread that started it,
so that a killed test or command leaves no process and no mount; the next `start` or `stop`
removes namespaces and control groups that were left.
"""

from __future__ import annotations

import fcntl
import json
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from tandem_lab.controlplane import ControlPlane
from tandem_lab.controlplane.commands import Additions
from tandem_lab.controlplane.process import Process
from tandem_lab.pods.configuration import Folders
from tandem_lab.pods.network import ClusterNetwork
from tandem_lab.pods.node import Node
from tandem_lab.pods.prepare import Parts
from tandem_lab.pods.topology import API_ADDRESS, NODES, NodeSpec
from tandem_lab.settings import LabError, Settings

NODES_TIMEOUT_S = 25.0
LOCK_TIMEOUT_S = 600.0
POLL_S = 0.1


class Cluster:
    """Handle of the cluster of this state folder. One at a time: see `exclusive`."""

    def __init__(self, settings: Settings | None = None) -> None:
        self.settings = settings or Settings.from_environment()
        self.name = f"{self.settings.namespace}-pods"
        self.directory = self.settings.state_dir / "pods"
        self.network = ClusterNetwork(self.name, NODES)
        self.plane = self._plane()
        self.nodes = [Node(spec, self.name, self._folders(spec)) for spec in NODES]

    @contextmanager
    def exclusive(self, timeout_s: float = LOCK_TIMEOUT_S) -> Iterator[None]:
        """Hold the cluster, and the nodes' images in the cache, alone."""
        self._cache.mkdir(parents=True, exist_ok=True)
        with (self._cache / "lock").open("w") as lock:
            deadline_s = time.monotonic() + timeout_s
            while True:
                try:
                    fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
                    break
                except BlockingIOError:
                    if time.monotonic() > deadline_s:
                        raise LabError("the pods' cluster is in use by another program") from None
                    time.sleep(POLL_S)
            yield

    def start(self, parts: Parts) -> None:
        """Start everything and wait until all nodes are Ready."""
        self.stop()
        self.network.create()
        kubelet = self.plane.authority.client("kube-apiserver", ["system:masters"])
        kubelet.write(*self._kubelet_client)
        self.plane.start()
        self._start_scheduler(parts.scheduler)
        for node in self.nodes:
            node.start(self.plane, parts)
        self._wait_for_nodes()

    def stop(self) -> None:
        """End everything, and remove what it made of this machine. Fine when nothing runs."""
        for node in self.nodes:
            node.stop()
        self._scheduler.stop()
        self.plane.stop()
        self.network.remove()

    def node(self, name: str) -> Node:
        """A node by its name in Kubernetes."""
        return next(node for node in self.nodes if node.spec.name == name)

    def logs(self) -> str:
        """The ends of all logs, for whoever has to find out what went wrong."""
        tails = [f"{each.name} ends:\n{each.log_tail()}" for each in self.processes]
        return "\n".join([*tails, *(node.log_tails() for node in self.nodes)])

    @property
    def processes(self) -> list[Process]:
        """The control plane's programs."""
        return [*self.plane.processes, self._scheduler]

    @property
    def _cache(self) -> Path:
        return self.settings.cache_dir / "pods"

    @property
    def _scheduler(self) -> Process:
        return Process("kube-scheduler", self.plane.state_dir)

    @property
    def _kubelet_client(self) -> tuple[Path, Path]:
        pki = self.plane.pki_dir
        return pki / "kubelet-client.crt", pki / "kubelet-client.key"

    def _plane(self) -> ControlPlane:
        directory = (self.directory / "third-place").absolute()
        pki = directory / "pki"
        additions = Additions(
            apiserver=(
                "--authorization-mode=Node",
                "--enable-admission-plugins=NodeRestriction",
                "--endpoint-reconciler-type=lease",
                # Webhooks are reached by their pods' addresses: this place has no kube-proxy.
                "--enable-aggregator-routing=true",
                f"--kubelet-client-certificate={pki}/kubelet-client.crt",
                f"--kubelet-client-key={pki}/kubelet-client.key",
                f"--kubelet-certificate-authority={pki}/ca.crt",
                "--kubelet-preferred-address-types=InternalIP",
            ),
            controller_manager=(
                "--controllers=*",
                "--node-monitor-grace-period=20s",
                f"--cluster-signing-cert-file={pki}/ca.crt",
                f"--cluster-signing-key-file={pki}/ca.key",
            ),
        )
        return ControlPlane(
            directory, self.name, API_ADDRESS, die_with_parent=True, additions=additions
        )

    def _folders(self, spec: NodeSpec) -> Folders:
        return Folders(
            self.directory / spec.name, self._cache / "nodes" / f"{self.name}-{spec.name}"
        )

    def _start_scheduler(self, program: Path) -> None:
        kubeconfig = self.plane.user_kubeconfig("system:kube-scheduler")
        options = ["--leader-elect=false", "--secure-port=0", "--profiling=false"]
        self._scheduler.start(
            [str(program), f"--kubeconfig={kubeconfig}", *options],
            netns=self.name,
            die_with_parent=True,
        )

    def _wait_for_nodes(self) -> None:
        deadline_s = time.monotonic() + NODES_TIMEOUT_S
        while len(ready := self._ready_nodes()) < len(NODES):
            if time.monotonic() > deadline_s:
                raise LabError(f"nodes that are ready: {ready or 'none'}\n{self.logs()}")
            time.sleep(POLL_S)

    def _ready_nodes(self) -> list[str]:
        items = json.loads(self.plane.kubectl("get", "nodes", "-o", "json"))["items"]
        return [
            item["metadata"]["name"]
            for item in items
            for condition in item["status"].get("conditions", [])
            if (condition["type"], condition["status"]) == ("Ready", "True")
        ]
