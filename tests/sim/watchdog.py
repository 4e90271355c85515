"""A machine's watchdog: hardware that resets it when it is not fed, and the device file to it.

``Hardware`` counts on the machine's clock and stands still while the machine does, as what feeds it
does. ``File`` is the WatchdogDevice port as one process has it: it is closed when the process dies,
which disarms nothing.
"""

import errno
import math
import os
import random
from collections.abc import Callable

from sim.kernel import Group, Kernel
from tandem_actuator.keeper import WDIOF_MAGICCLOSE, WDIOF_SETTIMEOUT
from tandem_actuator.ports import WatchdogInfo

LATE_S = (0.0, 0.1)
"""How much later than its timeout it may fire; the waits of others have this in their margin."""
DRIVERS_TIMEOUT_S = 60


class Hardware:
    """What may be wrong with it is an attribute each.

    ``present``: it can be opened. ``options``: as GETSUPPORT tells them. ``smallest_s``: the
    shortest timeout that it can do; a shorter one is refused, or, if it ``clamps``, this one is set
    and nothing said. ``settable``: its timeout can be set at all. ``works``: a keepalive reaches
    it. ``hangs``: whoever sends a keepalive stands still from then on. ``feeds``: how many reached
    it.
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
        self.hangs = self.clamps = False
        self.options, self.smallest_s = WDIOF_SETTIMEOUT | WDIOF_MAGICCLOSE, 1
        self.timeout_s, self.feeds = DRIVERS_TIMEOUT_S, 0
        self.counting = False
        self.holder: File | None = None
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
        if timeout_s < hardware.smallest_s and not hardware.clamps:
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

    def close(self, *, disarm: bool) -> None:
        hardware = self._mine()
        hardware.holder = None
        if disarm and hardware.options & WDIOF_MAGICCLOSE:
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
