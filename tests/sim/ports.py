"""The actuator's ports on the simulated parts of one machine; each call takes its time.

They hold no decision: who calls them, when and why is the product's doing. Called by ``actuator``.
"""

import asyncio
from collections.abc import AsyncIterator, Collection, Mapping
from dataclasses import dataclass, field
from typing import Any

from sim.api import Client
from sim.drbd import Replica
from sim.host import Machine
from sim.loop import played
from sim.watch import Listed, News, Watch
from tandem_actuator.core.domain_xml import domain_name
from tandem_actuator.core.model import DomainState, DrbdView, Metadata
from tandem_actuator.ports import (
    Changed,
    DrbdEvent,
    R,
    Removed,
    Synced,
)
from tandem_api.authority import Authority, Instance
from tandem_api.guest import Guest, GuestReport
from tandem_api.lease import Heartbeat, HeartbeatContent
from tandem_api.meta import ObjectKey
from tandem_api.mirror import Mirror, ReplicaReport
from tandem_api.timing import API_TIMEOUT_S, RENEW_TIMEOUT_S

COMMAND_S = (0.03, 0.15)
QUERY_S = (0.002, 0.02)
EVENT_S = (0.005, 0.05)


@dataclass
class Api:
    """One actuator's way to the API server."""

    client: Client
    watches: list[Watch] = field(default_factory=list)

    async def read_mirror(self, key: ObjectKey) -> Mirror:
        server = self.client.api.server
        return await played(self.client.call(lambda: server.get(Mirror, key), API_TIMEOUT_S))

    async def read_heartbeat(self, host: str) -> Heartbeat | None:
        leases = self.client.api.server.leases
        return await played(self.client.call(lambda: leases.get(host), API_TIMEOUT_S))

    async def swap_authority(
        self, key: ObjectKey, uid: str, expected_epoch: int, authority: Authority
    ) -> Mirror:
        server = self.client.api.server

        def swap() -> Mirror:
            return server.swap_authority(key, uid, expected_epoch, authority)

        return await played(self.client.call(swap, API_TIMEOUT_S, write=True))

    async def renew(self, heartbeat: HeartbeatContent) -> str:
        server = self.client.api.server
        call = self.client.call(lambda: server.renew(heartbeat), RENEW_TIMEOUT_S, write=True)
        return await played(call)

    async def report_replica(
        self, key: ObjectKey, host: str, report: ReplicaReport, shown: ReplicaReport | None = None
    ) -> None:
        server = self.client.api.server
        await played(
            self.client.call(
                lambda: server.report(Mirror, key, "replicas", host, report),
                API_TIMEOUT_S,
                write=True,
            )
        )

    async def report_guest(
        self, key: ObjectKey, host: str, report: GuestReport, shown: GuestReport | None = None
    ) -> None:
        server = self.client.api.server
        await played(
            self.client.call(
                lambda: server.report(Guest, key, "hosts", host, report), API_TIMEOUT_S, write=True
            )
        )

    async def report_host(self, name: str, instance: Instance, versions: Mapping[str, str]) -> None:
        """What it says is judged by nobody here."""

    async def watch(self, kind: type[R]) -> AsyncIterator[Synced[R] | Changed[R] | Removed]:
        told: asyncio.Queue[News] = asyncio.Queue()
        watch = Watch(self.client, kind, told.put_nowait)
        self.watches.append(watch)
        watch.begin()
        while True:
            news: Any = await told.get()
            if isinstance(news, Listed):
                yield Synced(news.objects)  # type: ignore[arg-type]
            elif isinstance(news, ObjectKey):
                yield Removed(news)
            else:
                yield Changed(news)


@dataclass
class Drbd:
    """The kernel's resources of one machine."""

    machine: Machine
    told: "asyncio.Queue[DrbdEvent]" = field(default_factory=asyncio.Queue)

    def _takes(self, bounds_s: tuple[float, float]) -> float:
        return self.machine.kernel.between(*bounds_s)

    def happened(self, replica: Replica) -> None:
        """A change in the kernel, as the event stream tells it a little later."""
        name = next(name for name, one in self.machine.replicas.items() if one is replica)
        event = DrbdEvent(name, replica.connected, replica.behind and replica.configured)
        kernel, group = self.machine.kernel, self.machine.group
        kernel.after(self._takes(EVENT_S), group, lambda: self.told.put_nowait(event))

    async def events(self) -> AsyncIterator[DrbdEvent]:
        while True:
            yield await self.told.get()

    async def query(self, mirror: Mirror) -> DrbdView:
        """Stamped with the moment before it was asked for."""
        view = self.machine.replica_of(mirror).view(self.machine.boottime_s())
        await asyncio.sleep(self._takes(QUERY_S))
        return view

    async def configure(self, mirror: Mirror, text: str) -> bool:
        await self._command()
        return False

    async def adjust(self, mirror: Mirror) -> None:
        await self._command()

    async def metadata(self, mirror: Mirror) -> Metadata:
        await self._command()
        backings = self.machine.replica_of(mirror).backings.values()
        present = {backing.has_metadata for backing in backings}
        if any(backing.broken for backing in backings) or len(present) != 1:
            return Metadata.UNKNOWN
        return Metadata.PRESENT if present == {True} else Metadata.ABSENT

    async def create_metadata(self, mirror: Mirror) -> None:
        await self._command()
        for backing in self.machine.replica_of(mirror).backings.values():
            backing.create()

    async def attach(self, mirror: Mirror) -> None:
        await self._command()
        numbers = mirror.status.device_numbers
        for minor in numbers.minors.values() if numbers else ():
            self.machine.minors[minor] = mirror.drbd_name
        self.machine.replica_of(mirror).attach()

    async def connect(self, mirror: Mirror, *, discard_my_data: bool) -> None:
        await self._command()
        self.machine.replica_of(mirror).connect(discard=discard_my_data)

    async def disconnect(self, mirror: Mirror) -> None:
        await self._command()
        self.machine.replica_of(mirror).disconnect()

    async def skip_first_sync(self, mirror: Mirror, volumes: Collection[str]) -> None:
        await self._command()
        pair = self.machine.host.pairs[mirror.drbd_name]
        pair.skip_first_sync(self.machine.replica_of(mirror), volumes)

    async def promote(self, mirror: Mirror, *, force: bool) -> None:
        await self._command()
        await played(self.machine.replica_of(mirror).promote(force=force))

    async def demote(self, mirror: Mirror) -> None:
        await self._command()
        self.machine.libvirt.bury()
        self.machine.replica_of(mirror).demote()

    async def resume_io(self, mirror: Mirror) -> None:
        await self._command()
        self.machine.replica_of(mirror).resume_io()

    async def versions(self) -> Mapping[str, str]:
        return {"drbd": "8.4.11", "drbd-utils": "9.22.0"}

    async def _command(self) -> None:
        await asyncio.sleep(self._takes(COMMAND_S))


@dataclass
class Libvirt:
    """The domains of one machine."""

    machine: Machine
    told: "asyncio.Queue[str]" = field(default_factory=asyncio.Queue)

    def __post_init__(self) -> None:
        self.machine.libvirt.told = self._happened

    def _happened(self, name: str) -> None:
        """An event comes a little later, if libvirtd is there to send it."""
        kernel, group = self.machine.kernel, self.machine.group
        if self.machine.libvirt.ready:
            kernel.after(kernel.between(*EVENT_S), group, lambda: self.told.put_nowait(name))

    async def states(self) -> Mapping[str, DomainState]:
        await asyncio.sleep(0.01)
        return self.machine.libvirt.states()

    async def events(self) -> AsyncIterator[str]:
        while True:
            yield await self.told.get()

    async def start(self, guest: Guest, xml: str) -> None:
        await self._command()
        await played(self.machine.libvirt.start(domain_name(guest), xml))

    async def shutdown(self, name: str) -> None:
        await self._command()
        self.machine.libvirt.shutdown(name)

    async def destroy(self, name: str) -> None:
        await self._command()
        await played(self.machine.libvirt.destroy(name))

    async def disk_closed(self, name: str) -> bool:
        return name not in self.machine.libvirt.runs

    async def versions(self) -> Mapping[str, str]:
        return {"libvirt": "9.0.0", "qemu": "7.2.0"}

    async def _command(self) -> None:
        await asyncio.sleep(self.machine.kernel.between(*COMMAND_S))


@dataclass
class Network:
    """The taps of one machine."""

    machine: Machine

    async def cut(self, name: str) -> None:
        await asyncio.sleep(self.machine.kernel.between(*COMMAND_S))
        self.machine.libvirt.cut_network(name)
