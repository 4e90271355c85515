"""The real actuator on simulated time, one loop or several, on ports that only note what they are
asked. For tests of its loops: what wakes, what waits, what is told. What a whole host does is the
simulator's (``sim``).
"""

import asyncio
from collections.abc import AsyncIterator, Callable, Coroutine, Mapping
from dataclasses import dataclass
from typing import Any, cast

from sim.engine.kernel import Group, Kernel
from sim.engine.loop import Loop
from tandem_actuator.core.packets import Packets
from tandem_actuator.ports.drbd import DrbdEvent
from tandem_actuator.run.loop import Actuator
from tandem_actuator.run.metrics import Metrics
from tandem_actuator.run.outside import Kept
from tandem_actuator.run.workload import Unit
from tandem_api.kinds.guest import Guest, GuestReport
from tandem_api.kinds.mirror import Mirror, ReplicaReport
from tandem_api.lease import Delivery
from tandem_api.meta import ObjectKey
from tandem_api.timing import Timing

from .noted import Noted

BOOTED_S = 1000.0


class SimClock:
    """A host's, since it was booted."""

    def __init__(self, kernel: Kernel) -> None:
        self._kernel = kernel

    def boottime_s(self) -> float:
        return BOOTED_S + self._kernel.now_s

    def wall(self) -> str:
        return f"wall {self._kernel.now_s:.2f}"


class Turning(Noted):
    """``fed``: how far the watchdog was fed, each time. ``events``: DRBD's, as they come.
    ``shown``: the API shows what is reported of the unit.
    """

    shown = False

    armed = True

    def __init__(self, quick_exits: int = 0) -> None:
        self.kernel, self.group = Kernel(1), Group("a-1")
        self.exits = Exits(quick_exits)
        super().__init__(SimClock(self.kernel))
        self.fed: list[float] = []
        self.permits: list[float] = []
        self.kept: list[str] = []
        self.events_: asyncio.Queue[DrbdEvent] | None = None
        self.reports: list[tuple[str, ReplicaReport | GuestReport]] = []
        self.told_of_files: list[object] = []
        whole = cast(Any, self)
        self.looks: list[Mapping[str, Packets]] = []
        kept = Kept(
            permits=_Permits(self),
            starts=self.exits,
            looks=_Looks(self),
            cache=cast(Any, _Cache(self)),
        )
        self.actuator = Actuator(
            self.node,
            self.ports,
            self.driver,
            whole,
            Metrics(),
            kept,
        )
        self.actuator.cluster.units[self.unit.mirror.key] = self.unit
        self.errors: list[BaseException | None] = []
        self.loop = Loop(self.kernel, self.group, self.clock.boottime_s, self.errors.append)

    @property
    def now_s(self) -> float:
        return self.clock.boottime_s()

    def add(self, unit: Unit) -> None:
        self.actuator.cluster.units[unit.mirror.key] = unit

    def begin(self, *programs: Callable[[], Coroutine[Any, Any, object]]) -> None:
        """Its loops, or what else is to run on it."""

        async def whole() -> None:
            async with asyncio.TaskGroup() as tasks:
                for program in programs:
                    tasks.create_task(program())
                await asyncio.Event().wait()

        self.loop.begin(whole())

    def run(self, seconds: float) -> None:
        self.kernel.run_until(self.kernel.now_s + seconds)
        assert self.errors == []

    def play(self, program: Callable[[], Coroutine[Any, Any, object]], seconds: float) -> None:
        self.begin(program)
        self.run(seconds)

    def happens(self, event: DrbdEvent) -> None:
        assert self.events_ is not None
        self.events_.put_nowait(event)

    async def events(self) -> AsyncIterator[DrbdEvent]:
        self.events_ = asyncio.Queue()
        while True:
            yield await self.events_.get()

    def feed_until(self, deadline_s: float) -> None:
        self.fed.append(deadline_s)

    async def report_replica(
        self, key: ObjectKey, host: str, report: ReplicaReport, shown: ReplicaReport | None = None
    ) -> None:
        await self._call("report replica")
        self.reports.append((str(key), report))
        if self.shown:
            at, replicas = self.unit.mirror, {**self.unit.mirror.status.replicas, host: report}
            status = at.status.model_copy(update={"replicas": replicas})
            self.unit.mirror = at.model_copy(update={"status": status})

    async def report_guest(
        self, key: ObjectKey, host: str, report: GuestReport, shown: GuestReport | None = None
    ) -> None:
        await self._call("report guest")
        self.reports.append((str(key), report))
        if self.shown and self.unit.guest is not None:
            guest, hosts = self.unit.guest, {**self.unit.guest.status.hosts, host: report}
            status = guest.status.model_copy(update={"hosts": hosts})
            self.unit.guest = guest.model_copy(update={"status": status})

    async def report_host(self, *what: object) -> None:
        await self._call("report host")
        self.told_of_files.append(what[-1])

    async def versions(self) -> dict[str, str]:
        return {}

    def heard(self) -> Delivery:
        """What a heartbeat says now of the reports, its last one having been confirmed just now."""
        now_s = self.clock.boottime_s()
        self.node.renewal_sent_at_s = now_s
        return self.actuator.reports.undelivered.told(now_s)


@dataclass
class Exits:
    """Quick exits in a row, in memory."""

    quick: int = 0

    def load(self) -> int:
        return self.quick

    def store(self, quick_exits: int) -> None:
        self.quick = quick_exits


class NoLooks:
    """The last run left none, and nothing is kept of this one's."""

    def load(self) -> Mapping[str, Packets]:
        return {}

    def store(self, packets: Mapping[str, Packets]) -> None: ...


class _Looks(NoLooks):
    def __init__(self, host: Turning) -> None:
        self._host = host

    def store(self, packets: Mapping[str, Packets]) -> None:
        self._host.looks.append(packets)


class _Permits:
    def __init__(self, host: Turning) -> None:
        self._host = host

    def load(self) -> None:
        return None

    def store(self, renewal_sent_at_s: float, timing: Timing) -> None:
        self._host.permits.append(renewal_sent_at_s)


class _Cache:
    def __init__(self, host: Turning) -> None:
        self._host = host

    def store(self, mirror: Mirror, guest: Guest | None) -> None:
        self._host.kept.append(f"{mirror.key} {guest.key if guest else None}")
