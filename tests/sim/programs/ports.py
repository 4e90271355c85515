"""The actuator's ports on the simulated parts of one machine; each call takes its time.

They hold no decision: who calls them, when and why is the product's doing. Called by ``actuator``.
"""

import asyncio
from collections.abc import AsyncIterator, Collection, Generator, Mapping
from dataclasses import dataclass, field

from sim.drbd import resync, two_primaries
from sim.drbd.replica import Replica
from sim.drbd.state import attached
from sim.engine.kernel import Command
from sim.engine.loop import ended
from sim.host.host import Machine
from sim.programs.bugs import CALL, LOOK, Bugs, Planted
from tandem_actuator.adapters.drbd.kernel import PROMOTE_TIMEOUT_S
from tandem_actuator.adapters.drbd.tools import COMMAND_TIMEOUT_S
from tandem_actuator.core.drbd import DrbdUnknown, DrbdView, Generation, Metadata, NotConfigured
from tandem_actuator.ports import CommandFailed, CommandTimeout
from tandem_actuator.ports.drbd import DrbdEvent
from tandem_api.kinds.mirror import Mirror
from tandem_api.vocabulary import Role

COMMAND_S = (0.03, 0.15)
QUERY_S = (0.002, 0.02)
EVENT_S = (0.005, 0.05)
SKIPPED = 0.2
"""Of the events that come late."""
MISSED = DrbdEvent("")
DEVICE_BYTES = 2**50
TWO = "allow-two-primaries yes;"


@dataclass
class Premises:
    """A host that lacks nothing. It draws nothing, so that who looks changes no run."""

    refuses: str = ""
    lacks: frozenset[str] = frozenset()

    async def refusal(self, xml: str) -> str:
        return self.refuses

    async def missing(self, paths: Collection[str]) -> Collection[str]:
        return [path for path in paths if path in self.lacks]

    async def device_bytes(self, paths: Collection[str]) -> Mapping[str, int]:
        return dict.fromkeys(paths, DEVICE_BYTES)


@dataclass
class Drbd:
    """The kernel's resources of one machine."""

    machine: Machine
    bugs: Bugs = field(default_factory=Bugs)
    told: "asyncio.Queue[DrbdEvent]" = field(default_factory=asyncio.Queue)
    told_at_s: float = 0.0
    shown: dict[str, tuple[Role, Role, bool]] = field(default_factory=dict)
    written: dict[str, str] = field(default_factory=dict)

    def _takes(self, bounds_s: tuple[float, float]) -> float:
        return self.machine.kernel.between(*bounds_s)

    def happened(self, replica: Replica) -> None:
        """A change in the kernel, as the event stream tells it a little later."""
        names = [name for name, one in self.machine.replicas.items() if one is replica]
        if not names:
            return  # it was taken down, and what it had begun has ended since
        (name,) = names
        kernel, group = self.machine.kernel, self.machine.group
        event, late_s = self._changed(name, replica), self.machine.host.drbd_events_s
        if late_s and kernel.random.random() < SKIPPED:
            event = MISSED
        soonest_s, latest_s = EVENT_S
        takes_s = self._takes((soonest_s, latest_s + late_s))
        self.told_at_s = max(self.told_at_s, kernel.now_s + takes_s)
        kernel.after(self.told_at_s - kernel.now_s, group, lambda: self.told.put_nowait(event))

    def _changed(self, name: str, replica: Replica) -> DrbdEvent:
        """Told is what is another than before."""
        role, peer_role, connected = self.shown.get(name, (None, None, None))
        self.shown[name] = (replica.role, replica.peer_role, replica.connected)
        return DrbdEvent(
            name,
            was_connected=replica.connected,
            was_behind=replica.behind and replica.configured,
            role=replica.role if replica.role is not role else None,
            peer_role=replica.peer_role if replica.peer_role is not peer_role else None,
            lost=connected is not False and not replica.connected,
        )

    def misses(self) -> None:
        """Events are skipped: the program is started again, and shows everything as it is."""
        self.told.put_nowait(MISSED)

    async def events(self) -> AsyncIterator[DrbdEvent]:
        while True:
            yield await self.told.get()

    async def query(self, mirror: Mirror) -> DrbdView:
        """Stamped with the moment before it was asked for."""
        view = self._shown(mirror, self.machine.replica_of(mirror))
        await asyncio.sleep(self._takes(QUERY_S))
        if self.bugs.at(self.machine.host.name, LOOK, mirror.key):
            raise Planted("the look at a mirror")
        return self.bugs.spoilt(self.machine.host.name, view, mirror.key)

    def _shown(self, mirror: Mirror, replica: Replica) -> DrbdView:
        """As the adapter reads it: only a Primary is known to be complete without a volume."""
        view = replica.view(self.machine.boottime_s())
        lacks = set(mirror.volume_names) - set(replica.backings)
        if lacks and not isinstance(view, NotConfigured) and replica.role is not Role.PRIMARY:
            return DrbdUnknown(f"its volumes {', '.join(sorted(lacks))} are not there")
        return view

    async def configure(self, mirror: Mirror, text: str) -> bool:
        await self._adm(mirror)
        changed = self.written.get(mirror.drbd_name) != text
        self.written[mirror.drbd_name] = text
        return changed

    async def adjust(self, mirror: Mirror) -> None:
        """The protocol, on whose newest the connection agrees, and whether two may be Primary."""
        await self._adm(mirror)
        text, replica = self.written.get(mirror.drbd_name, ""), self.machine.replica_of(mirror)
        replica.use(asynchronous="protocol A;" in text)
        two_primaries.adjust(replica, allowed=TWO in text)

    async def check_files(self) -> None:
        await asyncio.sleep(self._takes(COMMAND_S))
        self._require_files()

    async def forbid_two_primaries(self, mirror: Mirror) -> None:
        await self._adm(mirror)
        two_primaries.allow(self.machine.replica_of(mirror), allowed=False)

    async def metadata(self, mirror: Mirror) -> Mapping[str, Metadata]:
        await self._adm(mirror)
        backings = self.machine.replica_of(mirror).backings
        return {name: backing.metadata for name, backing in backings.items()}

    async def generations(self, mirror: Mirror) -> Mapping[str, Generation]:
        await self._adm(mirror)
        backings = self.machine.replica_of(mirror).backings
        return {name: backing.generation for name, backing in backings.items()}

    async def create_metadata(self, mirror: Mirror, volumes: Collection[str]) -> None:
        await self._adm(mirror)
        backings = self.machine.replica_of(mirror).backings
        for name in volumes:
            backings[name].create()

    async def attach(self, mirror: Mirror) -> None:
        """May be repeated."""
        await self._adm(mirror)
        numbers = mirror.status.device_numbers
        for minor in numbers.minors.values() if numbers else ():
            self.machine.minors[minor] = mirror.drbd_name
        replica = self.machine.replica_of(mirror)
        if not (replica.volumes and all(attached(v.disk) for v in replica.volumes.values())):
            replica.attach()

    async def connect(self, mirror: Mirror, *, discard_my_data: bool) -> None:
        await self._adm(mirror)
        replica = self.machine.replica_of(mirror)
        allowed = TWO in self.written.get(mirror.drbd_name, "")
        two_primaries.as_it_connects(replica, allowed=allowed)
        replica.connect(discard=discard_my_data)

    async def disconnect(self, mirror: Mirror) -> None:
        self._require_files()
        await self._change(mirror)
        self.machine.replica_of(mirror).disconnect()

    async def copy_to_peer(self, mirror: Mirror, *, whole: bool) -> None:
        await self._command(mirror)
        pair = self.machine.host.pairs[mirror.drbd_name]
        resync.copy_to_peer(pair, self.machine.replica_of(mirror), whole=whole)

    async def skip_first_sync(self, mirror: Mirror, volumes: Collection[str]) -> None:
        await self._command(mirror)
        pair = self.machine.host.pairs[mirror.drbd_name]
        pair.skip_first_sync(self.machine.replica_of(mirror), volumes)

    async def promote(self, mirror: Mirror, *, force: bool) -> None:
        await self._command(mirror)
        promotion = self.machine.replica_of(mirror).promote(force=force)
        await self._in_the_kernel(promotion, PROMOTE_TIMEOUT_S)

    async def demote(self, mirror: Mirror) -> None:
        await self._change(mirror)
        self.machine.libvirt.bury()
        self.machine.replica_of(mirror).demote()

    async def resume_io(self, mirror: Mirror) -> None:
        await self._command(mirror)
        self.machine.replica_of(mirror).resume_io()

    async def versions(self) -> Mapping[str, str]:
        return {"drbd": self.machine.host.drbd.name, "drbd-utils": "9.22.0"}

    async def _change(self, mirror: Mirror) -> None:
        """A command that the other end may have to agree to."""
        await self._command(mirror)
        replica = self.machine.replica_of(mirror)
        if self.machine.host.drbd.commit_timeout_s is not None or replica.hangs:
            await self._in_the_kernel(replica.turn(), COMMAND_TIMEOUT_S)

    async def _in_the_kernel(self, call: Generator[Command, bool, None], timeout_s: float) -> None:
        """It may take effect after it was given up."""
        try:
            async with asyncio.timeout(timeout_s):
                await ended(self.machine.kernel, self.machine.group, call)
        except TimeoutError:
            raise CommandTimeout(f"it did not end within {timeout_s:g} s") from None

    async def _adm(self, mirror: Mirror) -> None:
        """A command for which drbdadm reads its files: all of them."""
        await self._command(mirror)
        self._require_files()

    def _require_files(self) -> None:
        if self.machine.host.drbd_misconfigured:
            raise CommandFailed("drbdadm: drbd.d/stray.res:1: Parse error: '{' expected")

    async def _command(self, mirror: Mirror) -> None:
        await asyncio.sleep(self._takes(COMMAND_S))
        if self.bugs.at(self.machine.host.name, CALL, mirror.key):
            raise Planted("a command to DRBD")
