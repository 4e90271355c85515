"""A machine's watchdog: hardware that resets it when it is not fed, and who keeps it.

``Hardware`` counts on the machine's clock and stands still while the machine does, as what feeds it
does. ``File`` is the WatchdogDevice port as one process has it: it is closed when the process dies,
which disarms nothing. ``Keepers`` runs the real keeper, on a loop of its own, and is how the real
KeptWatchdog of each actuator reaches it. Called by ``host`` and by tests.
"""

import asyncio
import errno
import math
import os
import random
from collections.abc import Callable

from sim.engine.kernel import Group, Kernel
from sim.engine.loop import Loop
from sim.network.stream import BUFFER_BYTES, End, connected
from tandem_actuator.ports import Clock
from tandem_actuator.ports.watchdog import WatchdogInfo
from tandem_actuator.run.keeper import WDIOF_MAGICCLOSE, WDIOF_SETTIMEOUT, Keeper

LATE_S = (0.0, 0.1)
"""How much later than its timeout it may fire; the waits of others have this in their margin."""
DRIVERS_TIMEOUT_S = 60
BACKLOG = 128


class Hardware:
    """What may be wrong with it is an attribute each.

    ``present``: it can be opened. ``options``: as GETSUPPORT tells them. ``smallest_s``,
    ``longest_s``: the timeouts that it can do; others are refused, or, if it ``clamps``, the
    smallest is set instead of a shorter one, and nothing said. ``settable``: its timeout can be set
    at all. ``works``: a keepalive reaches it. ``nowayout``: what was opened once is never disarmed.
    ``hangs``: whoever sends a keepalive stands still from then on. ``holder``: who has it open.
    ``feeds``: how many reached it.
    """

    def __init__(
        self,
        kernel: Kernel,
        machine: Group,
        boottime_s: Callable[[], float],
        reset: Callable[[str], None],
        chance: random.Random,
    ) -> None:
        self.present = self.settable = self.works = True
        self.hangs = self.clamps = self.nowayout = False
        self.options, self.smallest_s = WDIOF_SETTIMEOUT | WDIOF_MAGICCLOSE, 1
        self.longest_s = 65535
        self.timeout_s, self.feeds = DRIVERS_TIMEOUT_S, 0
        self.counting = False
        self.holder: object | None = None
        self.kernel, self.machine = kernel, machine
        self._boottime_s, self._reset, self._chance = boottime_s, reset, chance
        self._fed_at_s = 0.0
        self._alarm = 0
        self._stood_s, self._stands_since_s = 0.0, math.inf
        machine.told.append(self._machine_told)

    def begin(self) -> None:
        """It counts from now on."""
        self.counting = True
        self.fed()

    def fed(self) -> None:
        """It begins to count anew. Only the first feed sets an alarm: that one looks again."""
        self._fed_at_s = self._ran_s()
        if not self._alarm:
            self._look_in(self.timeout_s)

    def set(self, timeout_s: int) -> None:
        """A new timeout counts from now on."""
        self.timeout_s = timeout_s
        self._alarm = 0
        self.fed()

    def end(self) -> None:
        self.counting = False

    def _look_in(self, wait_s: float) -> None:
        number = self._alarm = self.kernel.number("watchdog's alarm")
        late_s = self._chance.uniform(*LATE_S)
        self.kernel.after(wait_s + late_s, self.machine, lambda: self._look(number))

    def _look(self, number: int) -> None:
        if number != self._alarm:
            return
        self._alarm = 0
        starved_s = self._ran_s() - self._fed_at_s
        if self.counting and starved_s >= self.timeout_s:
            self._reset("the watchdog was not fed")
        elif self.counting:
            self._look_in(self.timeout_s - starved_s)

    def _ran_s(self) -> float:
        """The machine's clock, without the time that the machine stood still."""
        return min(self._boottime_s(), self._stands_since_s) - self._stood_s

    def _machine_told(self) -> None:
        stands, stood = self.machine.holder is not None, self._stands_since_s < math.inf
        if stands and not stood:
            self._stands_since_s = self._boottime_s()
        elif stood and not stands:
            self._stood_s += self._boottime_s() - self._stands_since_s
            self._stands_since_s = math.inf


class File:
    """The WatchdogDevice port in one process."""

    def __init__(self, hardware: Hardware, process: Group) -> None:
        self._hardware, self._process = hardware, process
        process.told.append(self._process_told)

    def open(self) -> None:
        if not self._hardware.present:
            raise _error(errno.ENOENT)
        if self._hardware.holder is not None:
            raise _error(errno.EBUSY)
        self._hardware.holder = self
        self._hardware.begin()

    def info(self) -> WatchdogInfo:
        return WatchdogInfo(self._mine().options, "simulated")

    def set_timeout(self, timeout_s: int) -> None:
        hardware = self._mine()
        if not hardware.settable:
            raise _error(errno.EOPNOTSUPP)
        too_short = timeout_s < hardware.smallest_s and not hardware.clamps
        if too_short or timeout_s > hardware.longest_s:
            raise _error(errno.EINVAL)
        hardware.set(max(timeout_s, hardware.smallest_s))

    def get_timeout(self) -> int:
        return self._mine().timeout_s

    def keepalive(self) -> None:
        hardware = self._mine()
        if hardware.hangs:
            hardware.kernel.pause(self._process)
            return
        if not hardware.works:
            raise _error(errno.EIO)
        hardware.feeds += 1
        hardware.fed()

    def no_way_out(self) -> bool:
        return self._hardware.nowayout

    def close(self, *, disarm: bool) -> None:
        hardware = self._mine()
        hardware.holder = None
        if disarm and hardware.options & WDIOF_MAGICCLOSE and not hardware.nowayout:
            hardware.end()

    def _mine(self) -> Hardware:
        if self._hardware.holder is not self:
            raise _error(errno.EBADF)
        return self._hardware

    def _process_told(self) -> None:
        if not self._process.alive and self._hardware.holder is self:
            self.close(disarm=False)


def _error(number: int) -> OSError:
    return OSError(number, os.strerror(number))


class Keepers:
    """A machine's keeper: the process, and where it listens, for one actuator after another.

    ``starts_in_s``: how long one takes until it listens. ``cannot_start``: none can be started.
    ``torn``, ``room_bytes``: of the connections to it. ``accepts_fail``: so many times.
    ``backlog``: how many connections may wait. ``late_s``: each turn of the process comes later by
    up to so much.
    """

    def __init__(
        self,
        kernel: Kernel,
        machine: Group,
        hardware: Hardware,
        clock: Clock,
        chance: random.Random,
    ) -> None:
        self.starts_in_s = (0.2, 0.8)
        self.cannot_start = False
        self.torn, self.room_bytes = 0.0, BUFFER_BYTES
        self.accepts_fail, self.backlog = 0, BACKLOG
        self._late_s = 0.0
        self._loop: Loop | None = None
        self._keeper: Keeper | None = None
        self.process: Group | None = None
        self.ended_with: list[BaseException | None] = []
        self.started = 0
        self._kernel, self._machine, self._hardware = kernel, machine, hardware
        self._clock, self._chance = clock, chance
        self._listener: _Listener | None = None

    @property
    def awake(self) -> bool:
        """Whether nothing holds its process back; one that is not there counts as awake."""
        return self.process is None or not self.process.paused

    @property
    def late_s(self) -> float:
        return self._late_s

    @late_s.setter
    def late_s(self, late_s: float) -> None:
        self._late_s = late_s
        if self._loop is not None:
            self._loop.late_s = late_s

    def seen_by(self, actuator: Group) -> "KeeperSeen":
        """The KeeperProcess port for one run of the actuator."""
        return KeeperSeen(self, actuator)

    def start(self) -> None:
        if self.cannot_start:
            raise _error(errno.EAGAIN)
        self.started += 1
        self._listener = None
        process = Group(f"keeper{self.started}@{self._machine.name}", self._machine)
        self.process = process
        self._kernel.after(self._chance.uniform(*self.starts_in_s), process, self.begin)

    def begin(self) -> None:
        """The process that was started last listens."""
        process = self.process
        assert process is not None
        if self._listener is not None:
            return
        self._listener = _Listener(self, process)
        device = File(self._hardware, process)
        keeper = self._keeper = Keeper(device, self._listener, self._clock)
        loop = Loop(self._kernel, process, self._clock.boottime_s, self.ended_with.append)
        loop.late_s, self._loop = self._late_s, loop
        loop.begin(keeper.run())

    def connect(self, actuator: Group) -> End:
        if self._listener is None:
            raise _error(errno.ENOENT)
        return self._listener.connect(actuator)

    def joined(self, actuator: Group, keeper: Group) -> tuple[End, End]:
        """A new connection."""
        mine, keepers = connected(self._kernel, actuator, keeper, self._chance)
        keepers.torn = mine.torn = self.torn
        keepers.room_bytes = self.room_bytes
        return mine, keepers

    def ask_to_end(self) -> None:
        """SIGTERM, as every process gets it when the machine is shut down."""
        assert self._keeper is not None
        self._keeper.leave()
        self.kill()

    def kill(self) -> None:
        if self.process is not None:
            self.process.stop()

    def pause(self) -> None:
        if self.process is not None:
            self._kernel.pause(self.process)

    def resume(self) -> None:
        if self.process is not None:
            self._kernel.resume(self.process)


class KeeperSeen:
    """The KeeperProcess port."""

    def __init__(self, keepers: Keepers, actuator: Group) -> None:
        self._keepers, self._actuator = keepers, actuator

    async def connect(self) -> End:
        return self._keepers.connect(self._actuator)

    async def start(self) -> None:
        self._keepers.start()


class _Listener:
    """The StreamListener port in one keeper."""

    def __init__(self, keepers: Keepers, process: Group) -> None:
        self._keepers, self._process = keepers, process
        self._waiting: asyncio.Queue[End] = asyncio.Queue()

    def connect(self, actuator: Group) -> End:
        if not self._process.alive:
            raise _error(errno.ECONNREFUSED)
        if self._waiting.qsize() >= self._keepers.backlog:
            raise _error(errno.EAGAIN)
        mine, keepers = self._keepers.joined(actuator, self._process)
        self._waiting.put_nowait(keepers)
        return mine

    async def accept(self) -> End:
        if self._keepers.accepts_fail:
            self._keepers.accepts_fail -= 1
            raise _error(errno.EMFILE)
        return await self._waiting.get()
