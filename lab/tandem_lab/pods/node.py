"""One node of the cluster: containerd, kubelet and kube-proxy, in namespaces of their own.

A node is one process, the first in its namespace of processes. Its end, however that comes about,
is the end of everything that it started, pods included; its mounts go with it. What is left then
is a control group and a network namespace, which `stop` (of this or of a later run) removes.

Called by the cluster.
"""

from __future__ import annotations

import time
from collections.abc import Callable

from tandem_lab.controlplane import ControlPlane
from tandem_lab.controlplane.process import Process
from tandem_lab.namespace import namespace_path
from tandem_lab.pods import cgroups
from tandem_lab.pods.configuration import (
    KERNEL_SETTINGS,
    Folders,
    boot_script,
    cni_config,
    containerd_config,
    kubelet_config,
    proxy_config,
)
from tandem_lab.pods.prepare import Parts
from tandem_lab.pods.store import containerd_answers
from tandem_lab.pods.topology import NodeSpec
from tandem_lab.settings import LabError
from tandem_lab.setup import stamps
from tandem_lab.shell import run

RUNTIME_TIMEOUT_S = 30.0
EMPTY_TIMEOUT_S = 10.0
POLL_S = 0.05
LOG_TAIL_CHARACTERS = 2000


class Node:
    """Handle of a node. Cheap to make: what runs is found by its pid file."""

    def __init__(self, spec: NodeSpec, cluster: str, folders: Folders) -> None:
        self.spec = spec
        self.folders = folders
        self.group = f"{cluster}-{spec.name}"
        self._namespace = spec.namespace(cluster)

    def start(self, plane: ControlPlane, parts: Parts) -> None:
        """Boot it, and wait until its containerd answers. Its network must be there."""
        cgroups.require()
        self.stop()
        self._write_files(plane, parts)
        parts.images.copy_to(self.folders.store)
        cgroups.make_group(self.group)
        self._process.start(
            [
                *("nsenter", f"--net={namespace_path(self._namespace)}"),
                *("unshare", "--pid", "--mount", "--uts", "--ipc", "--fork", "--kill-child"),
                *("--mount-proc", "sh", str(self.folders.state / "boot.sh")),
            ],
            die_with_parent=True,
            environment={"PATH": parts.tools.search_path},
        )
        self._wait_until(
            lambda: containerd_answers(parts.tools, self.folders.socket),
            "containerd",
            RUNTIME_TIMEOUT_S,
        )

    def stop(self) -> None:
        """End it, and everything that runs in it."""
        if self._process.alive():
            self._process.kill()
        deadline_s = time.monotonic() + EMPTY_TIMEOUT_S
        while True:
            try:
                cgroups.remove_group(self.group)
                break
            except OSError as error:
                if time.monotonic() > deadline_s:
                    raise LabError(f"control group {self.group} is not empty: {error}") from error
                time.sleep(POLL_S)
        stamps.remove(self.folders.store)

    def processes_of_pod(self, uid: str) -> list[int]:
        """The processes of a pod's containers, as this machine numbers them."""
        pods = (f"kubepods/{quality}/pod{uid}" for quality in ("burstable", "besteffort"))
        return [
            pid
            for pod in (f"kubepods/pod{uid}", *pods)
            for pid in cgroups.processes(f"{self.group}/{pod}")
        ]

    def all_processes(self) -> list[int]:
        """What is in the node's network namespace: its daemons, without the pods."""
        return [int(word) for word in run(["ip", "netns", "pids", self._namespace]).split()]

    def log_tails(self) -> str:
        """The ends of its logs."""
        tails = []
        for program in ("containerd", "kubelet", "kube-proxy"):
            log = self.folders.log(program)
            text = log.read_text(errors="replace") if log.exists() else "(no log)"
            tails.append(f"{self.spec.name}: {program} ends:\n{text[-LOG_TAIL_CHARACTERS:]}")
        return "\n".join(tails)

    @property
    def _process(self) -> Process:
        return Process(self.spec.name, self.folders.state)

    def _write_files(self, plane: ControlPlane, parts: Parts) -> None:
        spec, folders = self.spec, self.folders
        stamps.remove(folders.state)
        for folder in (folders.state, folders.state / "cni", folders.state / "kernel"):
            folder.mkdir(parents=True)
        folders.state.chmod(0o700)
        for name, value in KERNEL_SETTINGS.items():
            file = folders.state / "kernel" / name
            file.parent.mkdir(parents=True, exist_ok=True)
            file.write_text(f"{value}\n")
        serving = plane.authority.server([spec.address, spec.name])
        serving.write(folders.state / "kubelet.crt", folders.state / "kubelet.key")
        plane.user_kubeconfig(
            f"system:node:{spec.name}", ["system:nodes"], folders.kubeconfig("kubelet")
        )
        plane.user_kubeconfig("system:kube-proxy", [], folders.kubeconfig("kube-proxy"))
        texts = {
            "containerd.toml": containerd_config(folders, parts.images.pause, parts.tools.cni),
            "cni/pods.conflist": cni_config(spec, folders),
            "kubelet.yaml": kubelet_config(self.group, folders, plane.pki_dir),
            "kube-proxy.yaml": proxy_config(spec, folders),
            "boot.sh": boot_script(
                spec, folders, parts.node_programs, parts.tools.program("containerd")
            ),
        }
        for file_name, text in texts.items():
            (folders.state / file_name).write_text(text)

    def _wait_until(self, reached: Callable[[], bool], what: str, timeout_s: float) -> None:
        deadline_s = time.monotonic() + timeout_s
        while not reached():
            self._process.require_alive()
            if time.monotonic() > deadline_s:
                raise LabError(f"no {what} within {timeout_s:.0f} s\n{self.log_tails()}")
            time.sleep(POLL_S)
