"""The watchdog under made-up faults: its keeper and the actuator die, stand still and are torn.

Whatever happens: the machine does not live on, one timeout after the last deadline that was told.
And where nobody is away for long, it is not reset.
"""

import asyncio
import contextlib
import math
import random

import pytest

from sim.engine.kernel import Group
from sim.host.watchdog import LATE_S
from tandem_actuator.ports import PortError
from tandem_actuator.run.watchdog import KeptWatchdog

from .watchdog_bench import Machine

SEEDS = range(60)
PLAYED_S = 60.0
TORN_S = 0.05
GUARD_S = 0.1


class Guard:
    """Runs of an actuator that tell a deadline ten times a second. ``told``: when, and which."""

    def __init__(self, machine: Machine, chance: random.Random, timeout_s: int) -> None:
        self.machine, self.chance, self.timeout_s = machine, chance, timeout_s
        self.told: list[tuple[float, float]] = []
        self.ahead_s = (0.5, 5.0)
        self.may_starve = True
        self._kind, self._deadline_s = "ahead", 0.0

    async def run(self, watchdog: KeptWatchdog) -> None:
        async with asyncio.TaskGroup() as tasks:
            tasks.create_task(self._keep_armed(watchdog))
            tasks.create_task(self._guard(watchdog))

    async def _keep_armed(self, watchdog: KeptWatchdog) -> None:
        while True:
            if not watchdog.armed:
                with contextlib.suppress(PortError):
                    await watchdog.arm(self.timeout_s)
            await asyncio.sleep(0.5)

    async def _guard(self, watchdog: KeptWatchdog) -> None:
        while True:
            if watchdog.armed:
                deadline_s = self._next()
                watchdog.feed_until(deadline_s)
                if watchdog.armed:
                    self.told.append((self.machine.boottime_s(), deadline_s))
            await asyncio.sleep(GUARD_S)

    def _next(self) -> float:
        """It moves on, stands, is infinite, or comes nearer than it was."""
        now_s = self.machine.boottime_s()
        if self.chance.random() < 0.05:
            kinds = ("ahead", "ever", "stands") if self.may_starve else ("ahead", "ever")
            self._kind = self.chance.choice(kinds)
        if self._kind == "ahead":
            self._deadline_s = now_s + self.chance.uniform(*self.ahead_s)
        elif self._kind == "ever":
            self._deadline_s = math.inf
        elif self._deadline_s == math.inf:
            self._deadline_s = now_s + self.chance.uniform(-1.0, 1.0)
        return self._deadline_s


def lived_too_long(machine: Machine, told: list[tuple[float, float]], timeout_s: int) -> list[str]:
    """The deadlines after which it was alive although nobody had told another."""
    ended_s = min(machine.reset_s, machine.boottime_s())
    nexts = [at_s for at_s, _ in told[1:]] + [ended_s]
    allowed_s = timeout_s + LATE_S[1] + TORN_S + 0.01
    return [
        f"told {deadline_s:.2f} at {at_s:.2f}, alive at {next_s:.2f}"
        for (at_s, deadline_s), next_s in zip(told, nexts, strict=True)
        if next_s > max(at_s, deadline_s) + allowed_s
    ]


def faults(machine: Machine, guard: Guard, chance: random.Random) -> None:
    """One every few seconds, each mended after a while."""
    kernel, outside = machine.kernel, Group("outside")
    actuators = [machine.play(guard.run)]

    def restart() -> None:
        actuators[-1].stop()
        again_s = kernel.now_s + chance.uniform(0.5, 3.0)
        kernel.at(again_s, machine.group, lambda: actuators.append(machine.play(guard.run)))

    def stall() -> None:
        stalled = actuators[-1]
        kernel.pause(stalled)
        kernel.after(chance.uniform(0.1, 6.0), outside, lambda: kernel.resume(stalled))

    def stall_keeper() -> None:
        keeper = machine.keepers.process
        if keeper is not None:
            kernel.pause(keeper)
            kernel.after(chance.uniform(0.1, 3.0), outside, lambda: kernel.resume(keeper))

    at_s = 2.0
    while at_s < PLAYED_S:
        act = chance.choice((restart, stall, stall_keeper, stall_keeper, machine.keepers.kill))
        kernel.at(at_s, outside, act)
        at_s += chance.expovariate(1 / 4.0)


@pytest.mark.parametrize("seed", SEEDS)
def test_it_does_not_live_on_past_its_deadline(seed: int) -> None:
    machine, chance = Machine(seed), random.Random(seed)
    timeout_s = chance.choice((1, 2, 5))
    machine.keepers.torn = chance.choice((0.0, 0.3))
    machine.keepers.room_bytes = chance.choice((200, 200_000))
    guard = Guard(machine, chance, timeout_s)
    faults(machine, guard, chance)
    machine.run(PLAYED_S)
    assert len(guard.told) > 5
    assert lived_too_long(machine, guard.told, timeout_s) == []


def test_the_seeds_reach_what_they_are_for() -> None:
    """Enough machines are reset, and enough live on: neither assertion is idle."""
    resets = 0
    for seed in SEEDS:
        machine, chance = Machine(seed), random.Random(seed)
        guard = Guard(machine, chance, 2)
        faults(machine, guard, chance)
        machine.run(PLAYED_S)
        resets += machine.reset_s < math.inf
    assert resets > 10


@pytest.mark.parametrize("seed", SEEDS)
def test_it_is_not_reset_where_everything_goes_on_in_time(seed: int) -> None:
    machine, chance = Machine(seed), random.Random(seed)
    timeout_s = chance.choice((1, 2, 5))
    machine.keepers.torn = chance.choice((0.0, 0.3))
    guard = Guard(machine, chance, timeout_s)
    guard.may_starve = False
    machine.play(guard.run)
    kernel, outside = machine.kernel, Group("outside")

    def stall_keeper() -> None:
        keeper = machine.keepers.process
        assert keeper is not None
        kernel.pause(keeper)
        kernel.after(chance.uniform(0.0, 0.6 * timeout_s), outside, lambda: kernel.resume(keeper))

    for number in range(1, 10):
        kernel.at(6.0 * number, outside, stall_keeper)
    machine.run(PLAYED_S)
    assert machine.reset_s == math.inf
