"""The watchdog: a keeper that dies or hangs, a device that refuses, another timeout."""

import asyncio
import math

import pytest

from sim.host.watchdog import LATE_S
from tandem_actuator.ports import PortError
from tandem_actuator.ports.watchdog import WatchdogTooSlow
from tandem_actuator.run.keeper import WDIOF_ALARMONLY
from tandem_actuator.run.watchdog import ANSWER_TIMEOUT_S, START_TIMEOUT_S, KeptWatchdog

from .watchdog_bench import INTERVAL_S, SOON_S, W_S, Machine, fed_until, is_reset_for, keep_armed


@pytest.fixture
def machine() -> Machine:
    return Machine()


class TestKeeperThatDies:
    def test_it_is_noticed_at_once(self, machine: Machine) -> None:
        async def program(watchdog: KeptWatchdog) -> None:
            await fed_until(watchdog, math.inf)
            await asyncio.sleep(5.0)
            machine.keepers.kill()
            await asyncio.sleep(SOON_S)
            assert not watchdog.armed
            watchdog.feed_until(math.inf)  # nobody to tell: no error

        machine.play(program)
        machine.run(60.0)
        assert machine.reset_s <= 1006.0 + W_S + LATE_S[1]

    def test_another_is_started_before_the_machine_is_reset(self, machine: Machine) -> None:
        machine.play(keep_armed)
        machine.run(10.0)
        for at_s in (10.0, 30.0, 50.0):
            machine.run(at_s)
            machine.keepers.kill()
        machine.run(100.0)
        assert machine.keepers.started == 4
        assert machine.reset_s == math.inf

    def test_the_next_one_knows_of_no_deadline(self, machine: Machine) -> None:
        async def program(watchdog: KeptWatchdog) -> None:
            await fed_until(watchdog, math.inf)
            await asyncio.sleep(5.0)
            machine.keepers.kill()
            await asyncio.sleep(SOON_S)
            await watchdog.arm(W_S)

        machine.play(program)
        machine.run(60.0)
        assert machine.reset_s < 1010.0

    def test_it_dies_before_it_answers(self, machine: Machine) -> None:
        async def program(watchdog: KeptWatchdog) -> None:
            await watchdog.arm(W_S)
            machine.keepers.pause()
            asked = asyncio.create_task(watchdog.arm(W_S - 1))
            await asyncio.sleep(0.2)
            machine.keepers.kill()
            with pytest.raises(PortError, match="does not answer: it is gone"):
                await asked
            assert not watchdog.armed

        machine.play(program)
        machine.run(2.0)
        assert machine.played == 1

    def test_none_can_be_started(self, machine: Machine) -> None:
        machine.keepers.cannot_start = True

        async def program(watchdog: KeptWatchdog) -> None:
            with pytest.raises(PortError, match="cannot be reached"):
                await watchdog.arm(W_S)
            machine.keepers.cannot_start = False
            await watchdog.arm(W_S)
            assert watchdog.armed

        machine.play(program)
        machine.run(2.0)
        assert machine.played == 1

    def test_one_that_cannot_accept_for_a_while(self, machine: Machine) -> None:
        machine.keepers.accepts_fail = 3
        machine.play(keep_armed)
        machine.run(100.0)
        assert machine.keepers.started == 1
        assert machine.reset_s == math.inf
        assert machine.hardware.feeds > 200

    def test_one_that_never_listens(self, machine: Machine) -> None:
        machine.keepers.starts_in_s = (60.0, 60.0)

        async def program(watchdog: KeptWatchdog) -> None:
            began_s = machine.boottime_s()
            with pytest.raises(PortError, match="does not start"):
                await watchdog.arm(W_S)
            assert machine.boottime_s() - began_s == pytest.approx(START_TIMEOUT_S, abs=0.1)
            assert not watchdog.armed

        machine.play(program)
        machine.run(20.0)
        assert machine.played == 1


class TestKeeperThatHangs:
    def test_arming_ends_and_holds_nobody_up(self, machine: Machine) -> None:
        async def program(watchdog: KeptWatchdog) -> None:
            await watchdog.arm(60)
            watchdog.feed_until(math.inf)
            machine.keepers.pause()
            began_s = machine.boottime_s()
            asked = asyncio.create_task(watchdog.arm(30))
            for _ in range(int(ANSWER_TIMEOUT_S) - 1):
                await asyncio.sleep(1.0)
                watchdog.feed_until(machine.boottime_s() + 50.0)
                assert watchdog.armed
                assert watchdog.timeout_s == 60
            with pytest.raises(PortError, match="no answer in time"):
                await asked
            waited_s = machine.boottime_s() - began_s
            assert waited_s == pytest.approx(ANSWER_TIMEOUT_S, abs=SOON_S)
            assert not watchdog.armed
            assert watchdog.timeout_s is None

        machine.play(program)
        machine.run(20.0)
        assert machine.played == 1

    def test_one_that_does_not_read_for_long_is_given_up(self, machine: Machine) -> None:
        machine.keepers.room_bytes = 1000

        async def program(watchdog: KeptWatchdog) -> None:
            await fed_until(watchdog, math.inf, 60)
            await asyncio.sleep(1.0)
            machine.keepers.pause()
            said = self._tell_until_full(machine, watchdog)
            assert 20 * 60 < said - machine.boottime_s() < 60 * 60

        machine.play(program)
        machine.run(5.0)
        assert machine.played == 1

    def test_what_it_reads_when_it_goes_on_is_the_last_whole_word(self, machine: Machine) -> None:
        """The line that did not fit is half there, and the connection has ended behind it."""
        machine.keepers.room_bytes = 100

        async def program(watchdog: KeptWatchdog) -> None:
            await fed_until(watchdog, math.inf, 60)
            await asyncio.sleep(1.0)
            machine.keepers.pause()
            told.append(self._tell_until_full(machine, watchdog) - 60)
            machine.keepers.resume()

        told: list[float] = []
        machine.play(program)
        machine.run(500.0)
        assert is_reset_for(machine, told[0], 60)

    def _tell_until_full(self, machine: Machine, watchdog: KeptWatchdog) -> float:
        """The deadline that did not fit. Each is later by a timeout than the one before."""
        for number in range(1, 1000):
            watchdog.feed_until(machine.boottime_s() + 60 * number)
            if not watchdog.armed:
                return machine.boottime_s() + 60 * number
        raise AssertionError("it is never given up")

    def test_no_second_one_is_started_beside_it(self, machine: Machine) -> None:
        machine.keepers.backlog = 3

        async def program(watchdog: KeptWatchdog) -> None:
            await fed_until(watchdog, math.inf, 60)
            machine.keepers.pause()
            for _ in range(4):
                with pytest.raises(PortError, match="no answer in time"):
                    await watchdog.arm(30)
            for _ in range(3):
                with pytest.raises(PortError, match="cannot be reached"):
                    await watchdog.arm(30)
            machine.keepers.resume()
            await asyncio.sleep(SOON_S)
            await watchdog.arm(30)

        machine.play(program)
        machine.run(90.0)
        assert machine.played == 1
        assert machine.keepers.started == 1
        assert machine.hardware.timeout_s == 30


class TestDevice:
    def test_none(self, machine: Machine) -> None:
        machine.hardware.present = False

        async def program(watchdog: KeptWatchdog) -> None:
            with pytest.raises(PortError, match=r"cannot open the watchdog: .*No such file"):
                await watchdog.arm(W_S)
            assert not watchdog.armed
            machine.hardware.present = True  # its module was loaded
            await watchdog.arm(W_S)
            assert watchdog.armed

        machine.play(program)
        machine.run(5.0)
        assert machine.played == 1
        assert machine.keepers.started == 1

    def test_it_only_alarms(self, machine: Machine) -> None:
        machine.hardware.options |= WDIOF_ALARMONLY
        self._refused(machine, "only alarms")

    @pytest.mark.parametrize("clamps", [False, True])
    def test_it_cannot_do_so_short_a_timeout(self, machine: Machine, clamps: bool) -> None:
        machine.hardware.smallest_s, machine.hardware.clamps = W_S + 1, clamps
        actual_s = W_S + 1 if clamps else 60
        self._refused(machine, f"resets after {actual_s} s, not within {W_S} s")

    @pytest.mark.parametrize(
        ("smallest_s", "settable", "least_s"), [(4, True, 4), (59, True, 59), (1, False, 60)]
    )
    def test_the_smallest_that_it_can_do_is_found_and_the_one_before_is_left(
        self, machine: Machine, smallest_s: int, settable: bool, least_s: int
    ) -> None:
        machine.hardware.smallest_s, machine.hardware.settable = smallest_s, settable

        async def program(watchdog: KeptWatchdog) -> None:
            with pytest.raises(WatchdogTooSlow) as refused:
                await watchdog.arm(W_S)
            assert refused.value.least_s == least_s
            assert machine.hardware.timeout_s == 60
            await watchdog.arm(least_s)
            assert machine.hardware.timeout_s == least_s

        machine.play(program)
        machine.run(5.0)
        assert machine.played == 1

    def test_one_that_is_refused_resets_nobody_later(self, machine: Machine) -> None:
        """It is opened anew all the time, which feeds it, until the actuator is stopped."""
        machine.hardware.smallest_s, machine.hardware.nowayout = W_S + 1, True
        actuator = machine.play(keep_armed)
        machine.run(100.0)
        assert machine.reset_s == math.inf
        actuator.stop()
        machine.run(300.0)
        assert machine.reset_s == math.inf

    def test_one_that_is_held_is_armed_once_it_will_do(self, machine: Machine) -> None:
        """And is fed no further than the deadline from then on."""
        machine.hardware.smallest_s, machine.hardware.nowayout = W_S + 1, True

        async def program(watchdog: KeptWatchdog) -> None:
            with pytest.raises(PortError, match="not within 2 s"):
                await watchdog.arm(W_S)
            await asyncio.sleep(100.0)
            await fed_until(watchdog, 1110.0, W_S + 1)

        machine.play(program)
        machine.run(200.0)
        assert is_reset_for(machine, 1110.0, W_S + 1)

    def test_one_that_says_that_it_cannot_be_disarmed_is_not_closed(self, machine: Machine) -> None:
        machine.hardware.options = WDIOF_ALARMONLY
        machine.play(keep_armed)
        machine.run(100.0)
        assert machine.hardware.holder is not None
        assert machine.reset_s == math.inf

    def test_its_timeout_cannot_be_set(self, machine: Machine) -> None:
        machine.hardware.settable = False
        self._refused(machine, "resets after 60 s, not within 2 s")

    def test_its_timeout_cannot_be_set_and_is_shorter(self, machine: Machine) -> None:
        """It is fed at the pace of the timeout that it has."""
        machine.hardware.settable, machine.hardware.timeout_s = False, 1
        machine.play(lambda watchdog: fed_until(watchdog, math.inf))
        machine.run(100.0)
        assert machine.reset_s == math.inf
        assert machine.hardware.feeds == pytest.approx(500, rel=0.05)

    def test_another_process_has_it(self, machine: Machine) -> None:
        machine.hardware.holder = other = "systemd"
        self._refused(machine, "busy")
        assert machine.hardware.holder is other

    def test_feeding_fails(self, machine: Machine) -> None:
        async def program(watchdog: KeptWatchdog) -> None:
            await fed_until(watchdog, math.inf)
            await asyncio.sleep(5.0)
            machine.hardware.works = False

        machine.play(program)
        machine.run(60.0)
        assert machine.reset_s < 1006.0 + W_S + LATE_S[1]

    def test_feeding_fails_for_a_while(self, machine: Machine) -> None:
        async def program(watchdog: KeptWatchdog) -> None:
            await fed_until(watchdog, math.inf)
            for _ in range(10):
                await asyncio.sleep(5.0)
                machine.hardware.works = False
                await asyncio.sleep(W_S - 2 * INTERVAL_S)
                machine.hardware.works = True

        machine.play(program)
        machine.run(60.0)
        assert machine.reset_s == math.inf

    def test_feeding_hangs(self, machine: Machine) -> None:
        async def program(watchdog: KeptWatchdog) -> None:
            await fed_until(watchdog, math.inf)
            await asyncio.sleep(5.0)
            machine.hardware.hangs = True

        machine.play(program)
        machine.run(60.0)
        assert machine.reset_s < 1006.0 + W_S + LATE_S[1]

    def _refused(self, machine: Machine, words: str) -> None:
        """Not armed, and the machine lives on: it was closed with the magic character."""

        async def program(watchdog: KeptWatchdog) -> None:
            for _ in range(3):
                with pytest.raises(PortError, match=words):
                    await watchdog.arm(W_S)
                assert not watchdog.armed

        machine.play(program)
        machine.run(200.0)
        assert machine.played == 1
        assert machine.reset_s == math.inf
