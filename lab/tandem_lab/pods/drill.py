"""What must hold of the operator in its pods, tried on the cluster: losses, upgrade, rights.

Each trial loses the site that runs the guest at the moment when something happens to the pod that
leads, and waits until the guest was assigned to the other site. Then everything is mended.

Called by `make pods` and by the tests, on a cluster that Tandem is installed in.
"""

from __future__ import annotations

import json
import os
import signal
import time
from collections.abc import Callable, Mapping
from contextlib import suppress
from dataclasses import dataclass
from typing import Any, TypeVar

from tandem_api.kinds.guest import Guest
from tandem_api.meta import ObjectKey
from tandem_lab.pods.cluster import Cluster
from tandem_lab.pods.hosts import Clients, PretendedHost
from tandem_lab.pods.installation import DEPLOYMENTS, NAMESPACE, Installation
from tandem_lab.pods.leadership import longest_gap_s, new_leader_s
from tandem_lab.settings import LabError

HOSTS = {"burjassot-1": "burjassot", "tarongers-1": "tarongers"}
GUEST = ObjectKey(namespace="secretaria", name="bancuv3")
ASSIGNED_TIMEOUT_S = 45.0
STEADY_TIMEOUT_S = 45.0
POLL_S = 0.1
SPREAD_ATTEMPTS = 4
FOUND = TypeVar("FOUND")


@dataclass(frozen=True)
class Trial:
    """What was measured, in seconds since the site and the leader were lost."""

    name: str
    leader_s: float
    """Until another replica led."""
    assigned_s: float
    """Until the guest was assigned to the other site."""


@dataclass(frozen=True)
class Leader:
    """The pod that leads, and what it calls itself in the election."""

    holder: str
    pod: str
    uid: str
    node: str


class Drill:
    """A guest of two pretended hosts, and what is done to the operator meanwhile."""

    def __init__(self, cluster: Cluster, installation: Installation) -> None:
        self.cluster = cluster
        self._plane = cluster.plane
        self._installation = installation
        self.clients: Clients | None = None

    def begin(self) -> None:
        """Sites, hosts with heartbeats, a mirror in sync and a guest that runs."""
        self._installation.sites("Fast")
        keys = {name: self._installation.key_for_host(name) for name in HOSTS}
        given = {name: (site, keys[name]) for name, site in HOSTS.items()}
        self.clients = Clients(self.cluster.name, self._plane.admin_kubeconfig(), given)
        self.clients.start()
        self._until(self._sites_are_ready, "both sites Ready")
        self._installation.first_guest()
        self._until(self._has_authority, "the mirror set up")
        self._mirrored(running="")
        self.clients.call(self._host("burjassot-1").say_in_sync(GUEST, list(HOSTS)))
        guest = self._hosts.until_guest(GUEST, lambda g: bool(assigned(g)), STEADY_TIMEOUT_S)
        self._take(assigned(guest))
        self._mirrored(running=assigned(guest))
        self._installation.wait_until_protected()

    def end(self) -> None:
        """The hosts fall silent."""
        if self.clients is not None:
            self.clients.stop()

    # -- losses

    def deleted(self) -> Trial:
        """`kubectl delete pod`: the leader is asked to go."""
        return self._trial("deleted", lambda leader: self._delete(leader.pod))

    def killed(self) -> Trial:
        """SIGKILL: it says nothing."""
        return self._trial("killed", self._kill)

    def drained(self) -> Trial:
        """`kubectl drain` of its node."""

        def drain(leader: Leader) -> None:
            self._plane.kubectl("cordon", leader.node)
            self._plane.kubectl(
                *("drain", leader.node, "--ignore-daemonsets", "--delete-emptydir-data"),
                "--timeout=60s",
                timeout_s=70.0,
            )

        def uncordon(leader: Leader) -> None:
            self._plane.kubectl("uncordon", leader.node)

        return self._trial("drained", drain, uncordon)

    def cut_off(self) -> Trial:
        """The node's cable is cut: the leader runs on, and nobody hears of it."""
        network = self.cluster.network

        def cut(leader: Leader) -> None:
            network.cut(self.cluster.node(leader.node).spec)

        def heal(leader: Leader) -> None:
            network.heal(self.cluster.node(leader.node).spec)

        self._spread()
        return self._trial("node cut off", cut, heal)

    # -- upgrade

    def upgraded(self, tag: str) -> float:
        """In the documented order, to another tag: the longest time without a renewal."""
        began_s = time.monotonic()
        self._installation.upgrade(tag)
        self._installation.wait_until_available()
        self._until(lambda: self._leader() is not None, "a leader")
        images = [pod["spec"]["containers"][0]["image"] for pod in self.pods("tandem-controller")]
        if any(not image.endswith(f":{tag}") for image in images):
            raise LabError(f"not upgraded to {tag}: {images}")
        if not all(hook["clientConfig"].get("caBundle") for hook in self._installation.webhooks()):
            raise LabError("the upgrade took the CA from a webhook")
        gap_s = longest_gap_s(self._hosts.seen, began_s, time.monotonic())
        self._until(self._all_pods_ready, "all pods Ready")
        return gap_s

    # -- inside

    @property
    def _hosts(self) -> Clients:
        assert self.clients is not None, "begin first"
        return self.clients

    def _host(self, name: str) -> PretendedHost:
        return self._hosts.hosts[name]

    def _trial(
        self,
        name: str,
        fault: Callable[[Leader], None],
        mend: Callable[[Leader], None] = lambda leader: None,
    ) -> Trial:
        leader = self._until(self._leader, "a leader")
        source = assigned(self._hosts.until_guest(GUEST, _running, STEADY_TIMEOUT_S))
        target = next(host for host in HOSTS if host != source)
        lost_s = time.monotonic()
        self._host(source).alive = False
        try:
            fault(leader)
            self._hosts.call(
                self._host(target).report_replica(GUEST, connected=False, role="Secondary")
            )
            self._hosts.until_guest(GUEST, lambda g: assigned(g) == target, ASSIGNED_TIMEOUT_S)
            assigned_s = time.monotonic() - lost_s
            leader_s = new_leader_s(self._hosts.seen, leader.holder, lost_s)
        finally:
            mend(leader)
        self._take(target)
        self._return(source, target)
        if leader_s is None:
            raise LabError(f"{name}: {leader.pod} led on")
        return Trial(name, leader_s, assigned_s)

    def _take(self, host: str) -> None:
        """The host claims the mirror and runs the guest."""
        self._hosts.call(self._host(host).claim(GUEST))
        self._hosts.call(self._host(host).report_guest(GUEST, "Running"))
        self._hosts.until_guest(GUEST, _running, STEADY_TIMEOUT_S)

    def _return(self, host: str, running: str) -> None:
        """A lost host boots and is mirrored to again; all pods are there again."""
        self._host(host).boot()
        self._host(host).alive = True
        self._mirrored(running)
        self._hosts.call(self._host(host).report_guest(GUEST, "Absent"))
        self._installation.wait_until_available()
        self._until(self._all_pods_ready, "all pods Ready")
        self._until(self._sites_are_ready, "both sites Ready")

    def _mirrored(self, running: str) -> None:
        for name, host in self._hosts.hosts.items():
            role = "Primary" if name == running else "Secondary"
            self._hosts.call(host.report_replica(GUEST, connected=True, role=role))

    def _leader(self) -> Leader | None:
        looks = self._hosts.seen
        holder = looks[-1].holder if looks else ""
        for pod in self.pods("tandem-controller"):
            name = pod["metadata"]["name"]
            if holder.startswith(name):
                return Leader(holder, name, pod["metadata"]["uid"], pod["spec"]["nodeName"])
        return None

    def _spread(self) -> None:
        """A replica on each node: where they are is the scheduler's choice, as it found things."""
        for _ in range(SPREAD_ATTEMPTS):
            leader = self._until(self._leader, "a leader")
            pods = self.pods("tandem-controller")
            followers = [pod for pod in pods if pod["metadata"]["name"] != leader.pod]
            beside = [pod for pod in followers if pod["spec"]["nodeName"] == leader.node]
            if not beside:
                return
            self._plane.kubectl("-n", NAMESPACE, "delete", "pod", beside[0]["metadata"]["name"])
            self._installation.wait_until_available()
            self._until(self._all_pods_ready, "all pods Ready")
        raise LabError("both replicas stay on one node")

    def _delete(self, pod: str) -> None:
        self._plane.kubectl("-n", NAMESPACE, "delete", "pod", pod, "--wait=false")

    def _kill(self, leader: Leader) -> None:
        # The sandbox's program has no part in it: only what the image brought is killed.
        for pid in self.cluster.node(leader.node).processes_of_pod(leader.uid):
            with suppress(ProcessLookupError):
                os.kill(pid, signal.SIGKILL)

    def _sites_are_ready(self) -> bool:
        items = json.loads(self._plane.kubectl("get", "sites", "-o", "json"))["items"]
        told = [condition for item in items for condition in _conditions(item)]
        ready = [each for each in told if (each["type"], each["status"]) == ("Ready", "True")]
        return len(ready) == len(HOSTS)

    def _has_authority(self) -> bool:
        found = json.loads(self._plane.kubectl("get", "mirrors", "-A", "-o", "json"))["items"]
        return bool(found and found[0].get("status", {}).get("authority"))

    def _all_pods_ready(self) -> bool:
        pods = [pod for name in DEPLOYMENTS for pod in self.pods(name)]
        ready = [pod for pod in pods if "deletionTimestamp" not in pod["metadata"]]
        return len(ready) == len(pods) and all(
            ("Ready", "True") in [(each["type"], each["status"]) for each in _conditions(pod)]
            for pod in ready
        )

    def pods(self, name: str) -> list[dict[str, Any]]:
        """A Deployment's pods, as they are now."""
        answer = self._plane.kubectl(
            *("-n", NAMESPACE, "get", "pods", "-o", "json"),
            *("-l", f"app.kubernetes.io/name={name}"),
        )
        items: list[dict[str, Any]] = json.loads(answer)["items"]
        return items

    def _until(self, reached: Callable[[], FOUND | None], what: str) -> FOUND:
        deadline_s = time.monotonic() + STEADY_TIMEOUT_S
        while not (found := reached()):
            if time.monotonic() > deadline_s:
                raise LabError(f"no {what} within {STEADY_TIMEOUT_S:.0f} s")
            time.sleep(POLL_S)
        return found


def assigned(guest: Guest) -> str:
    """The host that a guest is assigned to, or an empty name."""
    return guest.status.assignment.host if guest.status.assignment else ""


def _running(guest: Guest) -> bool:
    return guest.status.phase == "Running"


def _conditions(item: Mapping[str, Any]) -> list[dict[str, str]]:
    status = item.get("status") or {}
    return list(status.get("conditions") or [])
