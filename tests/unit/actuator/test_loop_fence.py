"""The guard and the fence: what is looked at before, from when F counts, and what is latched."""

import asyncio
import math
from collections.abc import Iterator

import pytest

from tandem_actuator.core.drbd import DrbdState, DrbdUnknown
from tandem_actuator.core.model import FenceProgress
from tandem_actuator.ports import CommandFailed
from tandem_actuator.ports.libvirt import KilledNotGone
from tandem_actuator.run.beginning import FIRST_LOOK_S
from tandem_actuator.run.repeats import AGAIN_AFTER_S
from tandem_api.timing import DEFAULT
from tandem_api.vocabulary import DomainState, Role
from unit.builders import B, drbd, frozen, mirror, standalone

from .turning import BOOTED_S, Turning

R_S, F_S = DEFAULT.self_fence_seconds, DEFAULT.fencing_seconds


@pytest.fixture
def host() -> Iterator[Turning]:
    """A guest runs here and the link is lost; the heartbeat is not renewed any more. TCP tells
    nothing.
    """
    made = Turning()
    made.node.acknowledged = False
    made.unit.domain = DomainState.RUNNING
    made.unit.drbd = made.found = frozen()
    made.node.guarding = True
    yield made
    made.loop.discard()


def linked(host: Turning) -> None:
    """The kernel shows the peer again, connected and Secondary."""
    host.found = drbd(Role.PRIMARY, at_s=host.now_s)


async def looks(host: Turning) -> None:
    """At the kernel, which says what is found, as of now."""
    while True:
        if isinstance(host.found, DrbdState) and host.found.connected:
            linked(host)
        await host.actuator.driver.query_drbd(host.unit)
        await asyncio.sleep(0.05)


async def hangs() -> None:
    await asyncio.Event().wait()


def says(host: Turning, what: str, caplog: pytest.LogCaptureFixture, seconds: float) -> int:
    """How many lines of these words there are in this time."""
    caplog.clear()
    host.run(seconds)
    return sum(what in record.getMessage() for record in caplog.records)


def test_a_guest_that_does_not_end_is_said_once_and_now_and_then(
    host: Turning, caplog: pytest.LogCaptureFixture
) -> None:
    def held() -> None:
        raise KilledNotGone(why)

    why = "QEMU is killed but does not end"
    host.during["destroy"] = held
    host.begin(host.actuator._guard)
    assert says(host, why, caplog, 100.0) == 2, "what failed, and what came of the fence"
    tries = host.calls.count("destroy")
    assert tries > 20
    assert says(host, why, caplog, AGAIN_AFTER_S) == 2
    why = "QEMU is killed and its last thread waits"
    assert says(host, why, caplog, 10.0) == 2
    assert host.calls.count("destroy") > tries


class TestFence:
    def test_f_counts_from_when_the_guest_might_run_no_more(self, host: Turning) -> None:
        """Not from when that was noticed: who takes over counts from there, too."""
        host.node.renewal_sent_at_s = host.now_s - R_S - 0.4
        host.waiting["cut"] = hangs
        host.play(host.actuator._guard, 1.0)
        assert host.unit.fence is not None
        assert host.unit.fence.since_s <= BOOTED_S - 0.4
        assert max(host.fed) <= BOOTED_S - 0.4 + F_S

    def test_f_counts_from_the_look_that_shows_a_link_lost(self, host: Turning) -> None:
        """Until then the one before was good: who had long lived on the link has F, too."""
        linked(host)
        host.unit.observe_drbd(host.found, host.now_s, "")
        host.node.renewal_sent_at_s = host.now_s - 60.0
        host.waiting["cut"] = hangs
        host.begin(host.actuator._guard, lambda: looks(host))
        host.run(1.0)
        assert host.unit.fence is None
        lost_s = host.now_s
        host.found = frozen()
        host.run(3.0)
        assert host.unit.fence is not None
        assert lost_s - 0.1 < host.unit.fence.since_s < lost_s + 0.1
        assert lost_s + F_S - 0.1 < host.fed[-1] < lost_s + F_S + 0.1

    def test_a_fence_has_f(self, host: Turning) -> None:
        host.node.renewal_sent_at_s = host.now_s - R_S - 0.4
        host.waiting["cut"] = hangs
        host.play(host.actuator._guard, 1.0)
        assert host.unit.fence == FenceProgress(since_s=BOOTED_S - 0.4)

    def test_the_network_is_cut_before_the_guest_is_killed(self, host: Turning) -> None:
        host.waiting["destroy"] = hangs
        host.play(host.actuator._guard, R_S + 1.0)
        assert host.calls == ["query", "cut", "destroy"]

    def test_there_is_one_at_a_time(self, host: Turning) -> None:
        host.waiting["cut"] = hangs
        host.play(host.actuator._guard, R_S + 5.0)
        assert host.calls == ["query", "cut"]

    def test_one_that_failed_is_tried_again_and_not_without_a_pause(self, host: Turning) -> None:
        def fails() -> None:
            raise CommandFailed("no")

        host.during["cut"] = fails
        host.domains = {"ns.g": DomainState.RUNNING}
        host.play(host.actuator._guard, R_S + 0.2 + 3.0)
        assert 5 <= host.calls.count("cut") <= 12

    def test_it_is_latched_whatever_comes_back(self, host: Turning) -> None:
        """The look that would have acquitted is taken once, before it begins."""

        def fails() -> None:
            host.node.renewal_sent_at_s = host.now_s
            linked(host)
            raise CommandFailed("no")

        host.during["cut"] = fails
        host.domains = {"ns.g": DomainState.RUNNING}
        host.play(host.actuator._guard, R_S + 3.0)
        assert host.calls.count("cut") >= 3
        assert host.calls.count("query") == 1
        assert max(host.fed) == BOOTED_S + R_S + F_S

    def test_an_old_look_alone_stops_no_guest(self, host: Turning) -> None:
        """But it has lapsed: no heartbeat counts until a swap has affirmed the owner."""
        host.during["query"] = lambda: linked(host)
        host.play(host.actuator._guard, R_S + 0.5)
        assert set(host.calls) == {"query"}
        assert host.unit.fence is None
        assert host.unit.lapsed
        assert host.unit.wake.is_set()

    def test_a_heartbeat_that_came_meanwhile_does_not_acquit(self, host: Turning) -> None:
        def heard() -> None:
            host.node.renewal_sent_at_s = host.now_s

        host.during["query"] = heard
        host.waiting["cut"] = hangs
        host.play(host.actuator._guard, R_S + 0.5)
        assert host.calls == ["query", "cut"]

    def test_what_is_over_is_decided_about_at_once(self, host: Turning) -> None:
        host.during["demote"] = host.unit.wake.clear
        host.play(host.actuator._guard, R_S + 0.5)
        assert host.unit.domain is DomainState.ABSENT
        assert host.unit.fence is None
        assert host.unit.wake.is_set()

    def test_who_owns_it_by_now_is_asked_with_each_look(self, host: Turning) -> None:
        linked(host)
        host.node.renewal_sent_at_s = host.now_s
        host.waiting["cut"] = hangs

        async def taken_over() -> None:
            await asyncio.sleep(1.0)
            host.unit.mirror = mirror(standalone(B, epoch=6))

        host.begin(host.actuator._guard, taken_over)
        host.run(1.3)
        assert host.calls == ["query", "cut"]


class TestANewRun:
    """It does not judge what it has not seen, and feeds no further than that allows."""

    @pytest.fixture
    def new(self, host: Turning) -> Turning:
        host.node.guarding = False
        host.node.renewal_sent_at_s = None
        host.unit.drbd = DrbdUnknown("not asked yet")
        host.waiting["cut"] = hangs
        return host

    def test_nothing_is_fed_nor_fenced_before_everything_was_looked_at(self, new: Turning) -> None:
        new.actuator.heart.tried = True
        new.play(new.actuator._guard, FIRST_LOOK_S - 0.2)
        assert (new.fed, new.calls, new.node.guarding) == ([], [], False)

    def test_but_it_does_not_wait_for_ever(self, new: Turning) -> None:
        new.play(new.actuator._guard, FIRST_LOOK_S + 0.2)
        assert new.node.guarding
        assert new.calls == ["query", "cut"]

    @pytest.mark.parametrize("tried", [False, True])
    def test_it_feeds_as_far_as_its_looks_allow_and_fences_after_a_heartbeat(
        self, new: Turning, tried: bool
    ) -> None:
        new.unit.drbd = drbd(Role.PRIMARY, at_s=BOOTED_S)
        new.actuator.domains.known, new.actuator.heart.tried = True, tried
        new.play(new.actuator._guard, 1.2)
        assert max(new.fed) == BOOTED_S + DEFAULT.query_freshness_seconds + F_S
        assert new.node.guarding is tried
        assert bool(new.calls) is tried

    def test_libvirt_must_have_answered_too(self, new: Turning) -> None:
        new.unit.drbd = drbd(Role.PRIMARY, at_s=BOOTED_S)
        new.actuator.heart.tried = True
        new.play(new.actuator._guard, FIRST_LOOK_S - 0.2)
        assert (new.fed, new.node.guarding) == ([], False)

    def test_who_is_just_being_affirmed_is_waited_for(self, new: Turning) -> None:
        new.unit.drbd = drbd(Role.PRIMARY, at_s=BOOTED_S)
        new.actuator.domains.known = new.actuator.heart.tried = True
        new.unit.lapse(new.now_s)
        new.node.renewal_confirmed_at_s = new.now_s
        new.play(new.actuator._guard, FIRST_LOOK_S - 0.2)
        assert not new.node.guarding

    @pytest.mark.parametrize("armed", [True, False])
    def test_it_is_ready_once_it_guards_and_has_the_watchdog(
        self, new: Turning, armed: bool
    ) -> None:
        """Or knows why it has not; the API need not have answered."""
        new.armed = armed
        new.play(new.actuator._guard, FIRST_LOOK_S - 0.2)
        assert set(new.told) == {"alive"}
        new.run(0.4)
        assert ("ready" in new.told) is armed
        new.node.watchdog_refused = True
        new.run(0.2)
        assert "ready" in new.told


def test_every_turn_of_the_guard_is_a_sign_of_life(host: Turning) -> None:
    host.play(host.actuator._guard, 1.05)
    assert host.told.count("alive") == 11


class TestAHeartbeatThatComes:
    def test_a_lapse_that_nobody_has_looked_at_is_noted_before_it(self, host: Turning) -> None:
        """And what may run no more is stopped, although the heartbeat is back."""
        host.node.renewal_sent_at_s = host.now_s - R_S - 0.1
        host.waiting["cut"] = hangs

        async def confirmed() -> None:
            host.actuator.heart.before_confirm()
            host.node.renewed(host.now_s, host.now_s)

        host.play(confirmed, 0.5)
        assert host.unit.lapsed
        assert host.calls == ["query", "cut"]

    def test_after_a_lapse_the_next_run_is_left_nothing(self, host: Turning) -> None:
        """It would go on, and not know that somebody else may have taken over."""
        host.actuator.heart.on_confirmed(1.0, DEFAULT)
        host.unit.lapse(host.now_s)
        host.actuator.heart.on_confirmed(2.0, DEFAULT)
        assert host.permits == [1.0]


@pytest.mark.parametrize("heard_s", [-0.5, 0.0])
def test_the_heartbeat_that_a_swap_waits_for_is_not_waited_for(
    host: Turning, heard_s: float
) -> None:
    """Until then the guest lives on a link that may be dead."""
    host.unit.drbd = drbd(Role.PRIMARY, at_s=host.now_s)
    host.unit.lapse(host.now_s)
    host.node.renewal_confirmed_at_s = host.now_s + heard_s
    host.play(host.actuator._guard, 0.05)
    assert host.actuator.heart._soon.is_set() is (heard_s < 0)


def test_without_a_guest_the_watchdog_is_fed_for_ever(host: Turning) -> None:
    host.unit.domain = DomainState.ABSENT
    host.play(host.actuator._guard, 0.3)
    assert set(host.fed) == {math.inf}


def test_one_that_is_not_armed_is_not_fed(host: Turning) -> None:
    host.armed = False
    host.play(host.actuator._guard, 0.3)
    assert host.fed == []
