"""The watchdog is fed up to a deadline, whoever stands still, and across actuators."""

import asyncio
import math

import pytest

from sim.engine.kernel import Group
from sim.host.watchdog import LATE_S
from tandem_actuator.ports.watchdog import Stream
from tandem_actuator.run.watchdog import KeptWatchdog

from .watchdog_bench import BOOTED_S, INTERVAL_S, SOON_S, W_S, Machine, fed_until, is_reset_for


@pytest.fixture
def machine() -> Machine:
    return Machine()


class TestFeeding:
    @pytest.mark.parametrize("torn", [0.0, 1.0])
    @pytest.mark.parametrize("deadline_s", [1004.0, 1007.123, 1030.0])
    def test_up_to_the_deadline_and_not_a_moment_longer(
        self, machine: Machine, deadline_s: float, torn: float
    ) -> None:
        machine.keepers.torn = torn
        machine.play(lambda watchdog: fed_until(watchdog, deadline_s))
        machine.run(100.0)
        assert is_reset_for(machine, deadline_s)

    def test_for_ever(self, machine: Machine) -> None:
        machine.play(lambda watchdog: fed_until(watchdog, math.inf))
        machine.run(1000.0)
        assert machine.reset_s == math.inf
        assert machine.hardware.feeds == pytest.approx(1000.0 / INTERVAL_S, rel=0.01)

    def test_nothing_before_it_was_told(self, machine: Machine) -> None:
        machine.play(lambda watchdog: watchdog.arm(W_S))
        machine.run(10.0)
        assert machine.hardware.feeds == 0
        assert machine.reset_s < BOOTED_S + 1.0 + W_S + LATE_S[1]

    @pytest.mark.parametrize("deadline_s", [1007.0, math.inf])
    def test_who_opens_it_may_say_how_far(self, machine: Machine, deadline_s: float) -> None:
        machine.play(lambda watchdog: watchdog.arm(W_S, deadline_s))
        machine.run(60.0)
        expected = is_reset_for(machine, deadline_s) or machine.reset_s == deadline_s
        assert expected

    def test_what_was_told_before_is_not_moved_by_who_arms_it_again(self, machine: Machine) -> None:
        first = machine.play(lambda watchdog: fed_until(watchdog, 1010.0))
        machine.run(5.0)
        first.stop()
        machine.play(lambda watchdog: watchdog.arm(W_S, math.inf))
        machine.run(60.0)
        assert machine.played == 2
        assert is_reset_for(machine, 1010.0)

    def test_a_deadline_that_moves_on_in_time_keeps_it_alive(self, machine: Machine) -> None:
        async def program(watchdog: KeptWatchdog) -> None:
            await watchdog.arm(W_S)
            while True:
                watchdog.feed_until(machine.boottime_s() + 0.5)
                await asyncio.sleep(0.45)

        machine.play(program)
        machine.run(100.0)
        assert machine.reset_s == math.inf

    def test_a_deadline_that_had_passed_and_moves_on_is_fed_for_at_once(
        self, machine: Machine
    ) -> None:
        """It came just before the watchdog would have fired."""

        async def program(watchdog: KeptWatchdog) -> None:
            await watchdog.arm(W_S)
            await asyncio.sleep(W_S - 2 * SOON_S)
            watchdog.feed_until(machine.boottime_s() + 60.0)

        machine.play(program)
        machine.run(30.0)
        assert machine.reset_s == math.inf

    def test_the_newest_word_counts_also_if_it_is_a_shorter_deadline(
        self, machine: Machine
    ) -> None:
        async def program(watchdog: KeptWatchdog) -> None:
            await fed_until(watchdog, math.inf)
            await asyncio.sleep(3.0)
            watchdog.feed_until(1007.0)

        machine.play(program)
        machine.run(60.0)
        assert is_reset_for(machine, 1007.0)

    def test_a_word_that_was_said_already_is_not_said_again(self, machine: Machine) -> None:
        machine.keepers.room_bytes = 60  # two lines, if nobody reads

        async def program(watchdog: KeptWatchdog) -> None:
            await fed_until(watchdog, math.inf)
            await asyncio.sleep(1.0)
            machine.keepers.pause()
            for _ in range(100):
                watchdog.feed_until(math.inf)
            assert watchdog.armed

        machine.play(program)
        machine.run(2.0)
        assert machine.played == 1

    def test_without_any_deadline_it_starves(self, machine: Machine) -> None:
        """``judge`` knows none: a lapse that no swap has affirmed, and the link is down."""

        async def program(watchdog: KeptWatchdog) -> None:
            await fed_until(watchdog, math.inf)
            await asyncio.sleep(3.0)
            watchdog.feed_until(-math.inf)

        machine.play(program)
        machine.run(60.0)
        assert machine.reset_s < 1010.0


class TestStandingStill:
    def test_a_keeper_that_wakes_up_hears_before_it_feeds(self, machine: Machine) -> None:
        """It was told "for ever", and its next feed is due, when it is told that it is over."""

        async def program(watchdog: KeptWatchdog) -> None:
            await fed_until(watchdog, math.inf)
            await asyncio.sleep(5.0)
            machine.keepers.pause()
            stood_since_s.append(machine.boottime_s())
            await asyncio.sleep(2 * INTERVAL_S)
            watchdog.feed_until(machine.boottime_s() + 60.0)
            watchdog.feed_until(machine.boottime_s() + 0.1)
            await asyncio.sleep(W_S - 3.5 * INTERVAL_S)
            assert machine.reset_s == math.inf
            machine.keepers.resume()

        stood_since_s: list[float] = []
        machine.play(program)
        machine.run(60.0)
        assert machine.reset_s <= stood_since_s[0] + W_S + LATE_S[1]

    def test_a_keeper_that_stands_still_for_good(self, machine: Machine) -> None:
        async def program(watchdog: KeptWatchdog) -> None:
            await fed_until(watchdog, math.inf)
            await asyncio.sleep(5.0)
            machine.keepers.pause()

        machine.play(program)
        machine.run(60.0)
        assert machine.reset_s < 1006.0 + W_S + LATE_S[1]

    def test_a_machine_that_stands_still_is_not_reset_for_that_when_it_wakes_up(
        self, machine: Machine
    ) -> None:
        """The hardware stands still too, and the keeper is there again."""
        outside = Group("outside")
        machine.play(lambda watchdog: fed_until(watchdog, math.inf))
        machine.kernel.at(10.0, outside, lambda: machine.kernel.pause(machine.group))
        machine.kernel.at(40.0, outside, lambda: machine.kernel.resume(machine.group))
        machine.run(100.0)
        assert machine.reset_s == math.inf

    def test_a_machine_that_wakes_up_after_its_deadline_is_reset_within_the_timeout(
        self, machine: Machine
    ) -> None:
        outside = Group("outside")
        machine.play(lambda watchdog: fed_until(watchdog, 1015.0))
        machine.kernel.at(10.0, outside, lambda: machine.kernel.pause(machine.group))
        machine.kernel.at(40.0, outside, lambda: machine.kernel.resume(machine.group))
        machine.run(100.0)
        assert 1040.0 < machine.reset_s <= 1040.0 + W_S + LATE_S[1]

    def test_an_actuator_that_stands_still_moves_nothing(self, machine: Machine) -> None:
        async def program(watchdog: KeptWatchdog) -> None:
            await watchdog.arm(W_S)
            while True:
                watchdog.feed_until(machine.boottime_s() + 4.5)
                await asyncio.sleep(0.1)

        actuator = machine.play(program)
        machine.kernel.at(10.0, Group("outside"), lambda: machine.kernel.pause(actuator))
        machine.run(60.0)
        assert is_reset_for(machine, 1014.5)


class TestOneActuatorAfterAnother:
    def test_one_that_ends_leaves_the_deadline(self, machine: Machine) -> None:
        actuator = machine.play(lambda watchdog: fed_until(watchdog, 1020.0))
        machine.run(5.0)
        actuator.stop()
        machine.run(60.0)
        assert is_reset_for(machine, 1020.0)

    def test_one_that_ends_without_a_guest_here_leaves_it_fed_for_ever(
        self, machine: Machine
    ) -> None:
        actuator = machine.play(lambda watchdog: fed_until(watchdog, math.inf))
        machine.run(5.0)
        actuator.stop()
        machine.run(1000.0)
        assert machine.reset_s == math.inf

    def test_the_next_one_takes_over(self, machine: Machine) -> None:
        actuator = machine.play(lambda watchdog: fed_until(watchdog, 1010.0))
        machine.run(5.0)
        actuator.stop()
        machine.run(7.0)
        machine.play(lambda watchdog: fed_until(watchdog, 1030.0))
        machine.run(100.0)
        assert machine.keepers.started == 1
        assert is_reset_for(machine, 1030.0)

    def test_arming_it_again_leaves_the_deadline_that_the_last_one_told(
        self, machine: Machine
    ) -> None:
        """A new run knows nothing yet; it may not have more time than the old one, nor less."""
        actuator = machine.play(lambda watchdog: fed_until(watchdog, 1010.0))
        machine.run(5.0)
        actuator.stop()
        machine.play(lambda watchdog: watchdog.arm(W_S))
        machine.run(100.0)
        assert is_reset_for(machine, 1010.0)

    def test_one_that_is_killed_within_a_line_has_said_nothing(self, machine: Machine) -> None:
        async def program(group: Group) -> None:
            stream = await self._armed(machine, group)
            stream.send(b'{"feed_until": 1020.0}\n{"feed_until": 1')

        actuator = machine.start(program)
        machine.run(5.0)
        actuator.stop()
        machine.run(60.0)
        assert is_reset_for(machine, 1020.0)

    @pytest.mark.parametrize(
        "words",
        [
            b"\n",
            b"[]\n",
            b"null\n",
            b"{}\n",
            b"what?\n",
            b'"arm"\n',
            b'{"arm": "2"}\n',
            b'{"arm": null}\n',
            b'{"feed_until": NaN}\n',
            b'{"feed_until": "1090"}\n',
            b"\xff\xfe\n",
        ],
    )
    def test_one_that_talks_nonsense_is_given_up_and_moves_nothing(
        self, machine: Machine, words: bytes
    ) -> None:
        async def program(group: Group) -> None:
            stream = await self._armed(machine, group)
            stream.send(b'{"feed_until": 1010.0}\n' + words + b'{"feed_until": null}\n')
            await stream.readable()
            assert stream.receive() == b""
            await asyncio.sleep(math.inf)

        machine.start(program)
        machine.run(3.0)
        machine.play(lambda watchdog: watchdog.arm(W_S))  # the next one is served
        machine.run(60.0)
        assert is_reset_for(machine, 1010.0)

    def test_one_whose_line_never_ends_is_given_up(self, machine: Machine) -> None:
        async def program(group: Group) -> None:
            stream = await self._armed(machine, group)
            stream.send(b'{"feed_until": 1010.0}\n' + b"1" * 10_000)
            await stream.readable()
            assert stream.receive() == b""
            machine.played += 1

        machine.start(program)
        machine.run(60.0)
        assert machine.played == 1
        assert is_reset_for(machine, 1010.0)

    async def _armed(self, machine: Machine, group: Group) -> Stream:
        seen = machine.keepers.seen_by(group)
        await seen.start()
        await asyncio.sleep(1.0)
        stream = await seen.connect()
        stream.send(b'{"arm": 2}\n')
        await stream.readable()
        assert stream.receive() == b'{"error": null, "timeout": 2}\n'
        return stream
