"""The run predicate: either arm is enough, neither outlives its time, another owner ends both.

And what the guard makes of it: how far the watchdog is fed, who is fenced, how soon to look again.
"""

import math
from dataclasses import replace

import pytest

from tandem_actuator.core.drbd import DrbdState, DrbdUnknown, DrbdView, NotConfigured
from tandem_actuator.core.host.permission import (
    ANSWER_S,
    EAGER_INTERVAL_S,
    IDLE_INTERVAL_S,
    SETTLING_INTERVAL_S,
    has_lapsed,
    judge,
    lapse_must_be_judged,
    look_again_in_s,
    may_yet_be_acquitted,
    run_permission,
    start_permission,
)
from tandem_actuator.core.model import FenceProgress, Record, View
from tandem_actuator.core.packets import Packets
from tandem_api.authority import PROTOCOL, Authority, Mode
from tandem_api.reasons import Reason
from tandem_api.timing import DEFAULT, drbd_timers
from tandem_api.vocabulary import Connection, DomainState, Role
from unit.builders import A, B, authority, drbd, lost, record, standalone, view

R, Q = DEFAULT.self_fence_seconds, DEFAULT.query_freshness_seconds
F = DEFAULT.fencing_seconds
RUNS = DomainState.RUNNING
NOW = 1000.0


def connected(age_s: float = 0.0) -> DrbdState:
    return drbd(Role.PRIMARY, at_s=NOW - age_s)


@pytest.mark.parametrize(
    ("state", "renewed_ago_s", "expected"),
    [
        (lost(), 0.0, Reason.RUN_CONFIRMED_BY_LEASE),
        (lost(), R, Reason.RUN_CONFIRMED_BY_LEASE),
        (lost(), R + 0.01, Reason.SELF_FENCING),
        (lost(), None, Reason.SELF_FENCING),
        (connected(0.0), None, Reason.RUN_CONFIRMED_BY_PEER),
        (connected(Q - 0.01), R + 60, Reason.RUN_CONFIRMED_BY_PEER),
        (connected(Q), None, Reason.SELF_FENCING),
        (drbd(Role.PRIMARY, peer_role=Role.PRIMARY, at_s=NOW), None, Reason.SELF_FENCING),
        (drbd(Role.PRIMARY, peer_role=Role.UNKNOWN, at_s=NOW), None, Reason.SELF_FENCING),
        (drbd(Role.PRIMARY, Connection.CONNECTING, at_s=NOW), None, Reason.SELF_FENCING),
        (DrbdUnknown("timeout"), None, Reason.SELF_FENCING),
        (DrbdUnknown("timeout"), R - 0.01, Reason.RUN_CONFIRMED_BY_LEASE),
        (NotConfigured(NOW), None, Reason.SELF_FENCING),
    ],
)
def test_the_two_arms(state: DrbdView, renewed_ago_s: float | None, expected: Reason) -> None:
    sent_at_s = None if renewed_ago_s is None else NOW - renewed_ago_s
    permission = run_permission(view(authority(), state), sent_at_s, NOW)
    assert permission.reason is expected
    assert permission.allowed is (expected is not Reason.SELF_FENCING)
    assert permission.message


@pytest.mark.parametrize(
    ("renewed_ago_s", "until_s"), [(0.0, NOW), (R, NOW), (R + 3.0, NOW - 3.0), (60.0, NOW - 60 + R)]
)
def test_to_hear_who_owns_it_now_gives_no_new_time(renewed_ago_s: float, until_s: float) -> None:
    """A guest's time to stop counts from when it was not permitted any more."""
    permission = run_permission(view(authority(B), lost()), NOW - renewed_ago_s, NOW)
    assert (permission.reason, permission.until_s) == (Reason.PEER_OWNS, until_s)


def test_the_answer_ends_with_the_arm_that_lasts_longer() -> None:
    known = view(authority(), connected())
    assert run_permission(known, NOW, NOW).until_s == NOW + R
    assert run_permission(known, NOW - R, NOW).until_s == NOW + Q
    assert run_permission(known, NOW - R + 0.1, NOW).until_s == NOW + Q


def test_after_a_lapse_no_heartbeat_counts_until_a_swap_has_affirmed_it() -> None:
    """The peer may have taken over meanwhile, or be about to."""
    assert not run_permission(replace(view(authority(), lost()), lapsed=True), NOW, NOW).allowed
    seen = run_permission(replace(view(authority(), connected()), lapsed=True), NOW, NOW)
    assert (seen.reason, seen.until_s) == (Reason.RUN_CONFIRMED_BY_PEER, NOW + Q)


@pytest.mark.parametrize(
    ("looked_ago_s", "renewed_ago_s", "lapsed"),
    [
        (60.0, R - 0.01, False),
        (Q - 0.01, 60.0, False),
        (60.0, R + 0.01, True),
        (60.0, None, True),
    ],
)
def test_a_gap_between_two_looks_is_a_lapse(
    looked_ago_s: float, renewed_ago_s: float | None, lapsed: bool
) -> None:
    """It is asked before the next look is taken in."""
    sent_at_s = None if renewed_ago_s is None else NOW - renewed_ago_s
    known = replace(view(authority(), connected(looked_ago_s)), domain=RUNS)
    assert has_lapsed(known, sent_at_s, NOW) is lapsed
    assert not has_lapsed(replace(known, domain=DomainState.ABSENT), sent_at_s, NOW)
    assert not has_lapsed(replace(known, fence=FenceProgress(since_s=NOW)), sent_at_s, NOW)


def test_who_lapsed_looks_at_the_link_quickly_however_new_the_heartbeat_is() -> None:
    known = replace(view(authority(), connected()), domain=RUNS)
    calm_s = look_again_in_s(known, Reason.RUNNING, 0, NOW, NOW)
    assert look_again_in_s(replace(known, lapsed=True), Reason.RUNNING, 0, NOW, NOW) < Q < calm_s


class TestStarting:
    @pytest.mark.parametrize(
        ("renewed_ago_s", "steady_for_s", "claimed_ago_s", "allowed"),
        [
            (1.0, 60.0, 2.0, True),
            (1.0, 2.0, 2.0, True),
            (1.0, 1.9, 2.0, False),  # it lapsed between the claim and now
            (R + 0.1, 60.0, 2.0, False),  # it has lapsed since, whatever the link shows
        ],
    )
    def test_the_heartbeat_must_have_been_steady_since_the_claim(
        self, renewed_ago_s: float, steady_for_s: float, claimed_ago_s: float, allowed: bool
    ) -> None:
        known = view(authority(), connected())
        moments = (NOW - renewed_ago_s, NOW - steady_for_s, NOW - claimed_ago_s)
        assert start_permission(known, *moments, NOW).allowed is allowed

    def test_what_may_not_run_may_not_start(self) -> None:
        permission = start_permission(view(authority(B), connected()), NOW, 0.0, NOW, NOW)
        assert permission.reason is Reason.PEER_OWNS


@pytest.mark.parametrize("held_by", [authority(B), standalone(B), authority("")])
def test_once_somebody_else_owns_it_nothing_allows_it(held_by: Authority) -> None:
    permission = run_permission(view(held_by, connected()), NOW, NOW)
    assert (permission.allowed, permission.reason) == (False, Reason.PEER_OWNS)


def test_an_earlier_run_of_this_host_is_this_host() -> None:
    held_by = authority(A, owner_instance="a-1/boot1/run0")
    assert run_permission(view(held_by, connected()), NOW, NOW).allowed


def test_what_is_held_says_nothing_about_the_owner() -> None:
    """Rule 2: touch nothing. The arms still decide."""
    behind = view(authority(B), connected(), record=record(max_epoch=9))
    assert run_permission(behind, NOW, NOW).allowed
    assert not run_permission(behind, None, NOW + Q).allowed
    on_hold = view(authority(B, mode=Mode.HOLD), connected())
    assert run_permission(on_hold, NOW, NOW).allowed


def test_a_newer_protocol_does_not_hide_who_took_over() -> None:
    newer = authority(B, min_protocol=PROTOCOL + 1)
    permission = run_permission(view(newer, connected()), NOW, NOW)
    assert (permission.allowed, permission.reason) == (False, Reason.PEER_OWNS)


@pytest.mark.parametrize(
    ("held_by", "known"),
    [
        (authority(A, min_protocol=PROTOCOL + 1), record()),
        (authority("", min_protocol=PROTOCOL + 1), record()),
        (authority(B, min_protocol=PROTOCOL + 1), record(max_epoch=9)),
        (authority(B, min_protocol=PROTOCOL + 1), record(uid="another")),
        (authority(B, min_protocol=PROTOCOL + 1), record(incarnation="another")),
    ],
)
def test_what_is_held_for_more_than_its_protocol_says_nothing(
    held_by: Authority, known: Record
) -> None:
    assert run_permission(view(held_by, connected(), record=known), NOW, NOW).allowed


def test_no_authority_is_no_other_owner() -> None:
    new = view(None, connected(), record=record(max_epoch=0))
    assert run_permission(new, NOW, NOW).allowed


class TestMayRun:
    def test_absent_is_the_only_clear_no(self) -> None:
        for state in (DomainState.RUNNING, DomainState.PAUSED, DomainState.SHUTTING_DOWN):
            assert view(authority(), lost(), domain=state).guest_may_run
        assert not view(authority(), lost()).guest_may_run

    def test_unknown_counts_on_the_boot_that_started_it(self) -> None:
        unknown = view(authority(), lost(), domain=DomainState.UNKNOWN)
        here = replace(unknown, record=record(started_boot_id="boot1"))
        earlier = replace(unknown, record=record(started_boot_id="boot0"))
        assert (here.guest_may_run, earlier.guest_may_run) == (True, False)

    def test_a_dead_one_counts(self) -> None:
        """None is started beside it, and nothing let go: it has the device."""
        dead = view(authority(), lost(), domain=RUNS, dead_at_s=NOW)
        assert (dead.guest_may_run, dead.guest_is_dead) == (True, True)
        gone = view(authority(), lost(), dead_at_s=NOW)
        assert (gone.guest_may_run, gone.guest_is_dead) == (False, False)

    def test_a_start_under_way_counts(self) -> None:
        assert view(authority(), lost(), starting=True).guest_may_run


class TestJudge:
    def test_without_a_guest_the_watchdog_is_fed_for_ever(self) -> None:
        judgement = judge([view(authority(), lost())], None, NOW)
        assert (judgement.feed_until_s, judgement.fence) == (math.inf, ())

    def test_a_guest_that_may_run_is_fed_for_until_f_after_that_ends(self) -> None:
        judgement = judge([view(authority(), lost(), domain=RUNS)], NOW, NOW)
        assert (judgement.feed_until_s, judgement.fence) == (NOW + R + F, ())

    def test_one_that_may_not_is_fenced_and_has_f_from_then(self) -> None:
        known = view(authority(), lost(), domain=RUNS)
        judgement = judge([known], NOW - R - 1, NOW)
        assert judgement.feed_until_s == NOW - 1 + F
        assert judgement.fence == (known.mirror.key,)

    def test_once_begun_a_fence_earns_no_feeding_by_what_comes_back(self) -> None:
        began = FenceProgress(since_s=NOW - 0.5)
        known = view(authority(), lost(), domain=RUNS, fence=began)
        judgement = judge([known], NOW, NOW)
        assert judgement.feed_until_s == NOW - 0.5 + F
        assert judgement.fence == (known.mirror.key,)

    def test_a_dead_one_is_fenced_on_and_keeps_nobody_else_from_being_fed_for(self) -> None:
        began = FenceProgress(since_s=NOW - 60.0)
        dead = view(authority(), lost(), domain=RUNS, fence=began, dead_at_s=NOW - 59.0)
        well = view(authority(), connected(), domain=RUNS)
        judgement = judge([dead], None, NOW)
        assert (judgement.feed_until_s, judgement.fence) == (math.inf, (dead.mirror.key,))
        assert judge([dead, well], None, NOW).feed_until_s == NOW + Q + F

    def test_one_of_which_that_was_not_seen_is_not_dead(self) -> None:
        """That it was killed is not enough: it may execute on for a while."""
        began = FenceProgress(since_s=NOW - 60.0, killed=True)
        known = view(authority(), lost(), domain=RUNS, fence=began)
        assert judge([known], None, NOW).feed_until_s == NOW - 60.0 + F

    def test_whatever_is_being_started_is_not_dead(self) -> None:
        starts = view(authority(), lost(), starting=True, dead_at_s=NOW)
        assert judge([starts], NOW - R - 1, NOW).feed_until_s == NOW - 1 + F

    @pytest.mark.parametrize("domain", [RUNS, DomainState.PAUSED])
    def test_what_a_person_has_begun_here_is_fenced(self, domain: DomainState) -> None:
        """Also the half that ``virsh migrate`` makes: nothing says that this host was sent it."""
        known = view(authority(B), connected(), domain=domain)
        assert judge([known], NOW, NOW).fence == (known.mirror.key,)

    def test_the_shortest_of_all_counts(self) -> None:
        well = view(authority(), connected(), domain=RUNS)
        lapsed = view(authority(), lost(), domain=RUNS)
        assert judge([well, lapsed], NOW - R - 1, NOW).feed_until_s == NOW - 1 + F
        assert judge([lapsed, well], NOW - R - 1, NOW).feed_until_s == NOW - 1 + F


@pytest.mark.parametrize(
    ("guarding", "sent_ago_s", "expected"),
    [
        (True, 0.0, True),
        (False, None, True),
        (False, R + F, False),
        (False, R + F + 0.01, True),
    ],
)
def test_a_lapse_is_judged_before_a_heartbeat_counts(
    guarding: bool, sent_ago_s: float | None, expected: bool
) -> None:
    sent_at_s = None if sent_ago_s is None else NOW - sent_ago_s
    assert lapse_must_be_judged(guarding, sent_at_s, DEFAULT, NOW) is expected


class TestPace:
    def test_a_guest_that_lives_on_the_link_is_looked_at_within_q(self) -> None:
        known = view(authority(), connected(), domain=RUNS)
        assert look_again_in_s(known, Reason.RUNNING, 0, None, NOW) == Q / 3
        assert look_again_in_s(known, Reason.RUNNING, 0, NOW - R, NOW) == Q / 3

    def test_a_confirmed_heartbeat_gives_time_but_not_until_its_end(self) -> None:
        known = view(authority(), connected(), domain=RUNS)
        slow = replace(known, timing=DEFAULT.model_copy(update={"self_fence_seconds": 30.0}))
        assert look_again_in_s(known, Reason.RUNNING, 0, NOW - 0.5, NOW) == R - 0.5 - 1.0
        assert look_again_in_s(slow, Reason.RUNNING, 0, NOW, NOW) == IDLE_INTERVAL_S

    @pytest.mark.parametrize(
        ("state", "reason", "failures", "expected"),
        [
            (lost(), Reason.WAITING_FOR_LINK, 0, EAGER_INTERVAL_S),
            (drbd(), Reason.STOPPING, 0, EAGER_INTERVAL_S),
            (drbd(), Reason.STEADY, 1, EAGER_INTERVAL_S),
            (lost(), Reason.STEADY, 0, SETTLING_INTERVAL_S),
            (drbd(), Reason.STEADY, 0, IDLE_INTERVAL_S),
            (DrbdUnknown("timeout"), Reason.STEADY, 0, IDLE_INTERVAL_S),
        ],
    )
    def test_without_a_guest(
        self, state: DrbdView, reason: Reason, failures: int, expected: float
    ) -> None:
        assert look_again_in_s(view(authority(), state), reason, failures, None, NOW) == expected


class TestByWhatHasArrived:
    """This host lives on the link by a look after which a packet of its own has arrived."""

    LASTS_S = DEFAULT.link_lasts_s

    def arrived(self, ago_s: float, state: DrbdView | None = None) -> View:
        return view(
            authority(),
            state or connected(),
            domain=RUNS,
            acknowledged=True,
            link_lasts_s=self.LASTS_S,
            packets=Packets(arrived_after_s=NOW - ago_s),
        )

    @pytest.mark.parametrize(
        ("ago_s", "expected"),
        [
            (0.0, Reason.RUN_CONFIRMED_BY_PEER),
            (LASTS_S - 0.01, Reason.RUN_CONFIRMED_BY_PEER),
            (LASTS_S, Reason.SELF_FENCING),
            (math.inf, Reason.SELF_FENCING),
        ],
    )
    def test_for_as_long_as_it_promised_however_fresh_its_look(
        self, ago_s: float, expected: Reason
    ) -> None:
        permission = run_permission(self.arrived(ago_s), None, NOW)
        assert permission.reason is expected
        assert permission.until_s == min(NOW + Q, NOW - ago_s + self.LASTS_S)

    def test_and_for_as_long_as_its_look_is_fresh(self) -> None:
        """Its peer may have noticed that the link is lost, and have a socket open still."""
        assert run_permission(self.arrived(0.0, connected(Q - 0.01)), None, NOW).allowed
        assert not run_permission(self.arrived(0.0, connected(Q)), None, NOW).allowed

    @pytest.mark.parametrize(
        "state",
        [
            lost(),
            drbd(Role.PRIMARY, peer_role=Role.PRIMARY, at_s=NOW),
            DrbdUnknown("timeout"),
            NotConfigured(NOW),
        ],
    )
    def test_not_once_a_look_shows_the_link_lost(self, state: DrbdView) -> None:
        assert not run_permission(self.arrived(0.1, state), None, NOW).allowed

    def test_it_says_what_is_missing(self) -> None:
        permission = run_permission(self.arrived(self.LASTS_S), None, NOW)
        assert f"nothing of this host has arrived at {B} for 2.75 s" in permission.message

    def test_one_that_looks_well_may_yet_be_acquitted(self) -> None:
        assert may_yet_be_acquitted(self.arrived(math.inf))
        assert not may_yet_be_acquitted(self.arrived(math.inf, lost()))
        by_looks = view(authority(), connected(), domain=RUNS, acknowledged=False)
        assert not may_yet_be_acquitted(by_looks)

    def test_it_looks_soon_enough_for_the_next_packet_to_prove_a_look(self) -> None:
        """The heartbeat counts for long enough, and is no reason to look sooner."""
        pause_s = look_again_in_s(self.arrived(0.0), Reason.STEADY, 0, NOW, NOW)
        slowest_s = drbd_timers(DEFAULT).ping_int_s + ANSWER_S
        assert pause_s == pytest.approx(self.LASTS_S - slowest_s)
        assert pause_s < IDLE_INTERVAL_S
