"""Another timeout for a watchdog that is armed."""

import asyncio
import math

import pytest

from tandem_actuator.ports import PortError
from tandem_actuator.run.watchdog import KeptWatchdog

from .watchdog_bench import W_S, Machine, fed_until, is_reset_for


@pytest.fixture
def machine() -> Machine:
    return Machine()


class TestAnotherTimeout:
    @pytest.mark.parametrize(("before_s", "after_s"), [(60, 1), (20, 2), (1, 20), (2, 1)])
    def test_while_it_is_armed(self, machine: Machine, before_s: int, after_s: int) -> None:
        """A shorter one counts at once: the next feed of the longer one would be too late."""

        async def program(watchdog: KeptWatchdog) -> None:
            await fed_until(watchdog, 1100.0, before_s)
            await asyncio.sleep(10.3)
            await watchdog.arm(after_s)

        machine.play(program)
        machine.run(200.0)
        assert machine.hardware.timeout_s == after_s
        assert is_reset_for(machine, 1100.0, after_s)

    @pytest.mark.parametrize("clamps", [False, True])
    def test_one_that_the_device_cannot_do_leaves_the_old_one_in_force(
        self, machine: Machine, clamps: bool
    ) -> None:
        async def program(watchdog: KeptWatchdog) -> None:
            await watchdog.arm(W_S)
            while True:
                watchdog.feed_until(machine.boottime_s() + 4.5)
                await asyncio.sleep(0.1)
                if machine.boottime_s() > 1010.0:
                    with pytest.raises(PortError, match="not within 1 s"):
                        await watchdog.arm(1)
                assert watchdog.armed

        machine.hardware.smallest_s, machine.hardware.clamps = W_S, clamps
        machine.play(program)
        machine.run(60.0)
        assert machine.reset_s == math.inf
        assert machine.hardware.timeout_s == W_S

    @pytest.mark.parametrize("clamps", [False, True])
    def test_one_that_is_refused_is_told_to_the_next_actuator_as_what_it_is(
        self, machine: Machine, clamps: bool
    ) -> None:
        async def next_one(watchdog: KeptWatchdog) -> None:
            assert watchdog.timeout_s is None
            with pytest.raises(PortError, match="not within 1 s"):
                await watchdog.arm(1)
            assert watchdog.timeout_s == W_S

        machine.hardware.smallest_s, machine.hardware.clamps = W_S, clamps
        first = machine.play(lambda watchdog: fed_until(watchdog, math.inf))
        machine.run(5.0)
        first.stop()
        machine.play(next_one)
        machine.run(20.0)
        assert machine.played == 2
        assert machine.reset_s == math.inf

    def test_one_that_is_under_way_may_be_in_force(self, machine: Machine) -> None:
        async def program(watchdog: KeptWatchdog) -> None:
            await fed_until(watchdog, math.inf)
            for timeout_s, longer_s in ((60, 60), (W_S, 60), (W_S, W_S)):
                machine.keepers.pause()
                asked = asyncio.create_task(watchdog.arm(timeout_s))
                await asyncio.sleep(0.2)
                assert watchdog.timeout_s == longer_s
                machine.keepers.resume()
                await asked
                assert watchdog.timeout_s == timeout_s

        machine.play(program)
        machine.run(20.0)
        assert machine.played == 1

    def test_asking_again_and_again_feeds_nothing_beyond_the_deadline(
        self, machine: Machine
    ) -> None:
        """Drivers feed as they set a timeout; this one clamps it, so it is asked for ever."""

        async def program(watchdog: KeptWatchdog) -> None:
            await fed_until(watchdog, 1020.0)
            while True:
                with pytest.raises(PortError, match=r"not within 1 s|is over"):
                    await watchdog.arm(1)
                await asyncio.sleep(0.5)

        machine.hardware.smallest_s, machine.hardware.clamps = W_S, True
        machine.play(program)
        machine.run(60.0)
        assert is_reset_for(machine, 1020.0)

    def test_a_device_that_loses_the_old_one_tells_what_it_has(self, machine: Machine) -> None:
        async def program(watchdog: KeptWatchdog) -> None:
            await fed_until(watchdog, math.inf, 4)
            machine.hardware.smallest_s = 10
            with pytest.raises(PortError, match="after 10 s, not within 2 s"):
                await watchdog.arm(W_S)
            assert watchdog.timeout_s == 10

        machine.hardware.clamps = True
        machine.play(program)
        machine.run(60.0)
        assert machine.played == 1
        assert machine.reset_s == math.inf
