"""One machine with a watchdog on simulated time, for tests: real keeper, real actuator's side.

What a test asserts of a reset is when it comes: the last feed is no later than the deadline, and
the hardware fires one timeout after it, up to ``LATE_S`` late.
"""

import asyncio
import math
from collections.abc import Awaitable, Callable, Coroutine
from typing import Any

from sim.engine.kernel import Group, Kernel
from sim.engine.loop import Loop
from sim.host.watchdog import LATE_S, Hardware, Keepers
from tandem_actuator.ports import PortError
from tandem_actuator.run.keeper import FEEDS_PER_TIMEOUT
from tandem_actuator.run.watchdog import KeptWatchdog

W_S = 2
INTERVAL_S = W_S / FEEDS_PER_TIMEOUT
SOON_S = 0.01
"""A line is heard within that, by a keeper that runs."""
BOOTED_S = 1000.0


class Machine:
    """A host with a watchdog, whose programs are the test's.

    ``reset_s``: when it was reset. ``played``: how many programs came to their end.
    """

    def __init__(self, seed: int = 1) -> None:
        self.kernel, self.group = Kernel(seed), Group("a-1")
        self.reset_s = math.inf
        chance = self.kernel.random
        self.hardware = Hardware(self.kernel, self.group, self.boottime_s, self._reset, chance)
        self.keepers = Keepers(self.kernel, self.group, self.hardware, self, chance)
        self.errors: list[BaseException | None] = []
        self.played = 0

    def boottime_s(self) -> float:
        return BOOTED_S + self.kernel.now_s

    def wall(self) -> str:
        return ""

    def _reset(self, why: str) -> None:
        self.reset_s = self.boottime_s()
        self.group.stop()

    def start(self, program: Callable[[Group], Coroutine[Any, Any, None]]) -> Group:
        """Another run of the actuator, that does this."""
        group = Group("actuator@a-1", self.group)
        Loop(self.kernel, group, self.boottime_s, self.errors.append).begin(program(group))
        return group

    def play(self, program: Callable[[KeptWatchdog], Awaitable[None]]) -> Group:
        """A run that begins with its own view of the keeper."""

        async def run(group: Group) -> None:
            await program(KeptWatchdog(self.keepers.seen_by(group)))
            self.played += 1
            await asyncio.sleep(math.inf)

        return self.start(run)

    def run(self, until_s: float) -> None:
        """Up to this moment, counted from the boot. A program that failed fails the test."""
        self.kernel.run_until(until_s)
        for error in (*self.errors, *self.keepers.ended_with):
            if error is not None:
                raise error


async def fed_until(watchdog: KeptWatchdog, deadline_s: float, timeout_s: int = W_S) -> None:
    await watchdog.arm(timeout_s)
    watchdog.feed_until(deadline_s)


async def keep_armed(watchdog: KeptWatchdog, timeout_s: int = W_S) -> None:
    """As the loop does it."""
    while True:
        if not watchdog.armed:
            try:
                await watchdog.arm(timeout_s)
            except PortError:
                await asyncio.sleep(0.5)
                continue
            watchdog.feed_until(math.inf)
        await asyncio.sleep(0.5)


def is_reset_for(machine: Machine, deadline_s: float, timeout_s: float = W_S) -> bool:
    """Whether it was reset when it had to be, for this deadline."""
    earliest_s = deadline_s + timeout_s - timeout_s / FEEDS_PER_TIMEOUT - SOON_S
    return earliest_s <= machine.reset_s <= deadline_s + timeout_s + LATE_S[1] + SOON_S
