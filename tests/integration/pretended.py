"""Hosts that only write: a controller is tried with them on a real API server."""

import asyncio
import contextlib
import sys
import time
import uuid
from collections.abc import AsyncIterator, Awaitable, Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, TypeVar

from tandem_api.authority import Authority, Eligibility, Instance
from tandem_api.kinds.guest import Guest
from tandem_api.kinds.mirror import Mirror
from tandem_api.lease import HeartbeatContent, lease_name
from tandem_api.meta import ObjectKey
from tandem_api.reasons import Reason
from tandem_api.timing import FAST, Timing
from tandem_controller.assembly import ControllerReplica, assembled
from tandem_controller.decide.election import LEASE_NAME
from tandem_controller.run.lead import Leadership
from tandem_controller.settings import Settings
from tandem_kube import GUESTS, MIRRORS, KubeClient, KubeError
from tandem_lab.controlplane import ControlPlane

PATIENCE_S = 30.0
QUICK = FAST.model_copy(update={"watchdog_seconds": 1, "lease_duration_seconds": FAST.lease_wait_s})


@dataclass
class PretendedHost:
    """Renews a Lease, reports, and claims what it is assigned; it never runs anything."""

    client: KubeClient
    name: str
    site: str
    timing: Timing = QUICK
    watchdog: bool = True
    instance: Instance = field(init=False)
    alive: bool = True

    def __post_init__(self) -> None:
        self.boot()

    def boot(self) -> None:
        self.instance = Instance(
            node=self.name, boot_id=uuid.uuid4().hex[:8], run_id=uuid.uuid4().hex[:8]
        )

    async def run(self) -> None:
        while True:
            if self.alive:
                with contextlib.suppress(KubeError):
                    await self.beat()
            await asyncio.sleep(self.timing.renew_interval_seconds)

    async def beat(self) -> None:
        content = HeartbeatContent(
            host=self.name,
            site=self.site,
            instance=str(self.instance),
            watchdog_armed=self.watchdog,
            timing=self.timing,
        )
        await self.client.renew_lease(
            lease_name(self.name),
            holder=content.instance,
            duration_s=self.timing.lease_duration_seconds,
            labels=content.labels,
            annotations=content.annotations,
        )

    async def report_replica(
        self, key: ObjectKey, *, connected: bool, role: str = "Secondary"
    ) -> None:
        volume = {"disk": "UpToDate", "peerDisk": "UpToDate" if connected else "DUnknown"}
        report = {
            "instance": str(self.instance),
            "role": role,
            "connection": "Connected" if connected else "Connecting",
            "peerRole": "Secondary" if connected else "Unknown",
            "volumes": {"root": {**volume, "outOfSyncBytes": 0}},
        }
        patch = {"replicas": {self.name: report}}
        await self.client.merge_patch_status(MIRRORS, key, patch, timeout_s=PATIENCE_S)

    async def claim(self, key: ObjectKey) -> None:
        """As the actuator does after its checks."""
        mirror = await self.client.fetch(MIRRORS, key)
        authority = mirror.status.authority
        assert authority is not None
        new = authority.model_copy(
            update={
                "epoch": authority.epoch + 1,
                "owner": self.name,
                "owner_instance": str(self.instance),
                "reason": Reason.CLAIMED,
                "fenced": {},
            }
        )
        await self.swap(mirror, new)

    async def swap(self, mirror: Mirror, new: Authority) -> None:
        assert mirror.status.authority is not None
        await self.client.swap_authority(
            mirror.key,
            expected_epoch=mirror.status.authority.epoch,
            uid=mirror.metadata.uid,
            authority=new,
        )

    async def report_guest(self, key: ObjectKey, state: str, steps: bool = False) -> None:
        guest = await self.client.fetch(GUESTS, key)
        assert guest.status.assignment is not None
        report: dict[str, Any] = {
            "instance": str(self.instance),
            "state": state,
            "assignmentSerial": guest.status.assignment.serial,
            "reason": "Running" if state == "Running" else "Steady",
        }
        if steps:
            now = guest.status.assignment.since
            report["steps"] = dict.fromkeys(("authorityWon", "promoted", "domainStarted"), now)
        await self.client.merge_patch_status(GUESTS, key, {"hosts": {self.name: report}})


@dataclass
class World:
    """Two sites with a host each, on one API server. Every test has its own names."""

    api: ControlPlane
    client: KubeClient
    namespace: str
    tag: str
    hosts: dict[str, PretendedHost]

    def host(self, side: str) -> PretendedHost:
        return self.hosts[side]

    def key(self, name: str) -> ObjectKey:
        return ObjectKey(namespace=self.namespace, name=name)

    async def make_mirror(self, name: str) -> None:
        replicas = [
            {"host": host.name, "devices": {"root": f"/dev/vg0/{name}-root"}}
            for host in self.hosts.values()
        ]
        spec = {"volumes": [{"name": "root", "size": "16Mi"}], "replicas": replicas}
        await self.client.create(MIRRORS, self.body(name, spec), timeout_s=PATIENCE_S)

    async def make_guest(self, name: str, **spec: Any) -> None:
        full = {
            "mirror": name,
            "domain": {"memory": "32Mi", "disks": [{"volume": "root"}]},
            "placement": {"preferredSite": self.hosts["a"].site},
            **spec,
        }
        await self.client.create(GUESTS, self.body(name, full), timeout_s=PATIENCE_S)

    def body(self, name: str, spec: dict[str, Any]) -> dict[str, Any]:
        return {"metadata": {"namespace": self.namespace, "name": name}, "spec": spec}

    async def guest(self, name: str) -> Guest:
        return await self.client.fetch(GUESTS, self.key(name))

    async def mirror(self, name: str) -> Mirror:
        return await self.client.fetch(MIRRORS, self.key(name))

    async def first_sync(self, name: str) -> None:
        """Wait for the controller's set-up, then say that both replicas are equal."""
        mirror = await self.until_mirror(name, lambda m: m.status.authority is not None)
        for host in self.hosts.values():
            await host.report_replica(self.key(name), connected=True)
        authority = mirror.status.authority
        assert authority is not None
        both = Eligibility(eligible=True, reason=Reason.IN_SYNC)
        new = authority.model_copy(
            update={
                "epoch": authority.epoch + 1,
                "eligible": {host.name: both for host in self.hosts.values()},
            }
        )
        await self.hosts["a"].swap(mirror, new)

    async def running_on_a(self, name: str, **spec: Any) -> None:
        """A guest that runs on a, with its mirror redundant."""
        await self.make_mirror(name)
        await self.make_guest(name, **spec)
        await self.first_sync(name)
        a = self.hosts["a"]
        await self.until_guest(name, lambda g: assigned(g) == a.name)
        await a.claim(self.key(name))
        await a.report_replica(self.key(name), connected=True, role="Primary")
        await a.report_guest(self.key(name), "Running")
        await self.until_guest(name, lambda g: g.status.phase == "Running")

    async def cut_link(self, name: str) -> None:
        """b sees the link go."""
        await self.hosts["b"].report_replica(self.key(name), connected=False)

    async def until_guest(
        self, name: str, holds: Callable[[Guest], bool], timeout_s: float = 20
    ) -> Guest:
        return await until(lambda: self.guest(name), holds, timeout_s)

    async def until_mirror(
        self, name: str, holds: Callable[[Mirror], bool], timeout_s: float = 20
    ) -> Mirror:
        return await until(lambda: self.mirror(name), holds, timeout_s)


Seen = TypeVar("Seen")


async def until(
    read: Callable[[], Awaitable[Seen]], holds: Callable[[Seen], bool], timeout_s: float
) -> Seen:
    found: Seen | None = None
    deadline_s = time.monotonic() + timeout_s
    while time.monotonic() < deadline_s:
        with contextlib.suppress(KubeError):
            found = await read()
            if holds(found):
                return found
        await asyncio.sleep(0.05)
    seen = found.status.wire() if isinstance(found, Guest | Mirror) else found
    raise AssertionError(f"not within {timeout_s} s; last seen: {seen}")


def assigned(guest: Guest) -> str:
    return guest.status.assignment.host if guest.status.assignment else ""


@contextlib.asynccontextmanager
async def process(
    world: World, identity: str, kubeconfig: Path | None = None, log: Path | None = None
) -> AsyncIterator[asyncio.subprocess.Process]:
    """A controller as a program of its own; still running at the end, it is killed.

    kopf ends every task of its event loop when it stops, so replicas that stop cannot share one.
    """
    arguments = [
        f"--kubeconfig={kubeconfig or world.api.admin_kubeconfig()}",
        f"--identity={identity}-{world.tag}",
        "--metrics-address=127.0.0.1",
        "--metrics-port=0",
    ]
    with log.open("w") if log else contextlib.nullcontext() as output:
        program = await asyncio.create_subprocess_exec(
            sys.executable, "-m", "tandem_controller", *arguments, "run", stderr=output
        )
        try:
            yield program
        finally:
            if program.returncode is None:
                program.kill()
            await program.wait()


async def leader(client: KubeClient) -> str:
    """The identity that the controllers' Lease names; empty if nobody leads."""
    try:
        lease = await client.get_lease(LEASE_NAME)
    except KubeError:
        return ""
    return str(lease["spec"].get("holderIdentity") or "").rpartition("-")[0]


async def until_leads(client: KubeClient, who: str, timeout_s: float) -> float:
    """How long it took until that replica's name was in the Lease."""
    began_s = time.monotonic()
    while await leader(client) != who:
        assert time.monotonic() - began_s < timeout_s, await leader(client)
        await asyncio.sleep(0.05)
    return time.monotonic() - began_s


@contextlib.asynccontextmanager
async def controller(
    world: World, identity: str = "one", elect: type[Leadership] = Leadership
) -> AsyncIterator[ControllerReplica]:
    settings = Settings(
        kubeconfig=world.api.admin_kubeconfig(),
        identity=f"{identity}-{world.tag}",
        metrics_address="127.0.0.1",
        metrics_port=0,
    )
    stop = asyncio.Event()
    async with assembled(settings, "test", elect) as replica:
        running = asyncio.create_task(replica.run(stop))
        try:
            yield replica
        finally:
            stop.set()
            await running


"""For the test's own writes: how busy the machine is, is not what is tested."""
