"""Counting silence: what is a sign of life, what is a gap, and what a gap costs."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tandem_api.lease import (
    TIMING_ANNOTATION,
    Heartbeat,
    HeartbeatContent,
    heartbeat_of,
    lease_name,
)
from tandem_api.timing import DEFAULT
from tandem_controller.decide.world.hosts import ARMED_WITHIN_S, freshness, host_view, unarmed
from tandem_controller.decide.world.leases import GAP_S, LeaseTracker, interrupted, observe
from tandem_controller.decide.world.model import Freshness

from .scenes import host

L_S = DEFAULT.lease_duration_seconds


def beat(version: str, host: str = "a", timing: bool = True) -> Heartbeat:
    return Heartbeat(
        host=host,
        instance=f"{host}/b/r",
        version=version,
        watchdog_armed=True,
        timing=DEFAULT if timing else None,
    )


def read(
    tracker: LeaseTracker, start_s: float, *beats: Heartbeat, took_s: float = 0.01
) -> LeaseTracker:
    return observe(tracker, start_s, start_s + took_s, beats, "wall")


def watched(until_s: float, *beats: Heartbeat, tracker: LeaseTracker | None = None) -> LeaseTracker:
    """Reads each half second up to ``until_s``, all of which show the same."""
    known = tracker or LeaseTracker()
    start_s = (known.read_s or 0.0) + 0.5
    while start_s <= until_s:
        known = read(known, start_s, *beats)
        start_s += 0.5
    return known


def alive_at(start_s: float) -> LeaseTracker:
    """A renewal was seen at this moment."""
    return read(read(LeaseTracker(), start_s - 0.5, beat("1")), start_s, beat("2"))


def test_a_lease_that_is_merely_there_says_nothing() -> None:
    tracker = read(LeaseTracker(), 1.0, beat("1"))
    assert freshness(tracker, "a", 1.1) is Freshness.UNKNOWN


def test_a_renewal_that_was_seen_is_a_sign_of_life() -> None:
    assert freshness(alive_at(1.0), "a", 1.1) is Freshness.FRESH


def test_a_run_that_has_just_begun_may_still_arm_its_watchdog() -> None:
    """To do without one is advice to be given with care: it is never armed again by itself."""
    old = watched(2.0, unarmed_beat("1"), tracker=None)
    begun = watched(4.0, unarmed_beat("2", run="s"), tracker=old)
    later = watched(4.0 + ARMED_WITHIN_S, unarmed_beat("3", run="s"), tracker=begun)
    said = [
        unarmed(host_view(host("a"), None, known, known.read_s or 0.0)) for known in (begun, later)
    ]
    assert [each is not None and "Optional" in each.message for each in said] == [False, True]


def unarmed_beat(version: str, run: str = "r") -> Heartbeat:
    changes = {"watchdog_armed": False, "instance": f"a/b/{run}"}
    return beat(version).model_copy(update=changes)


def test_a_new_leader_goes_by_the_lease_for_when_the_last_heartbeat_was() -> None:
    """For people only: it says nothing about how old it is."""
    told = beat("1").model_copy(update={"renewed_at": "2026-01-01T00:00:00Z"})
    first = read(LeaseTracker(), 1.0, told)
    assert first.counts["a"].seen_at == "2026-01-01T00:00:00Z"
    assert freshness(first, "a", 1.1) is Freshness.UNKNOWN
    then = read(first, 1.5, told.model_copy(update={"version": "2"}))
    assert then.counts["a"].seen_at == "wall"


def test_silence_is_late_from_the_self_fence_deadline_and_lost_from_the_duration() -> None:
    tracker = alive_at(1.0)
    late = watched(1.0 + DEFAULT.self_fence_seconds + 0.5, beat("2"), tracker=tracker)
    assert late.read_s is not None
    assert freshness(late, "a", late.read_s) is Freshness.LATE
    almost = watched(1.0 + L_S, beat("2"), tracker=tracker)
    assert almost.read_s is not None
    assert freshness(almost, "a", almost.read_s) is Freshness.LATE
    lost = watched(1.5 + L_S, beat("2"), tracker=tracker)
    assert lost.read_s is not None
    assert freshness(lost, "a", lost.read_s) is Freshness.LOST


def test_a_host_that_was_dead_from_the_start_is_lost_after_the_duration() -> None:
    tracker = watched(L_S + 1.5, beat("1"))
    assert tracker.read_s is not None
    assert freshness(tracker, "a", tracker.read_s) is Freshness.LOST


def test_only_what_a_read_has_covered_counts() -> None:
    """The clock went on since the last read; a renewal may have come since."""
    tracker = watched(1.0 + L_S, beat("2"), tracker=alive_at(1.0))
    assert tracker.read_s is not None
    assert freshness(tracker, "a", tracker.read_s + 1.0) is Freshness.LATE


def test_counting_begins_when_the_read_was_answered_not_when_it_was_sent() -> None:
    """The renewal may have been sent while the read was under way."""
    tracker = read(LeaseTracker(), 1.0, beat("1"))
    tracker = read(tracker, 1.5, beat("2"), took_s=1.0)
    tracker = read(tracker, 2.6, beat("2"))
    assert tracker.silent_s("a") == 2.6 - 2.5


def test_a_failed_read_starts_every_count_again() -> None:
    tracker = watched(1.0 + L_S, beat("2"), tracker=alive_at(1.0))
    tracker = interrupted(tracker)
    assert freshness(tracker, "a", L_S + 1.2) is Freshness.UNKNOWN
    tracker = read(tracker, L_S + 1.5, beat("2"))
    assert tracker.silent_s("a") == 0.0
    assert freshness(tracker, "a", L_S + 1.6) is Freshness.UNKNOWN


def test_a_gap_between_two_good_reads_starts_every_count_again() -> None:
    tracker = watched(L_S, beat("2"), tracker=alive_at(1.0))
    assert tracker.read_s is not None
    tracker = read(tracker, tracker.read_s + GAP_S + 0.01, beat("2"))
    assert tracker.silent_s("a") == 0.0


def test_no_gap_if_reads_are_just_close_enough() -> None:
    tracker = alive_at(1.0)
    tracker = read(tracker, 1.0 + GAP_S, beat("2"))
    assert tracker.silent_s("a") == GAP_S - 0.01


def test_a_renewal_inside_a_gap_is_no_sign_of_life() -> None:
    """It may be from the first moment of the gap, and its host dead since."""
    tracker = read(interrupted(alive_at(1.0)), 60.0, beat("3"))
    assert freshness(tracker, "a", 60.1) is Freshness.UNKNOWN
    tracker = read(tracker, 60.5, beat("4"))
    assert freshness(tracker, "a", 60.6) is Freshness.FRESH


def test_reads_that_have_stopped_leave_everything_unknown() -> None:
    tracker = alive_at(1.0)
    assert freshness(tracker, "a", 1.0 + GAP_S + 0.1) is Freshness.UNKNOWN


def test_a_lease_that_was_taken_away_counts_on() -> None:
    tracker = watched(1.5 + L_S, tracker=alive_at(1.0))
    assert tracker.read_s is not None
    assert freshness(tracker, "a", tracker.read_s) is Freshness.LOST


def test_a_host_that_never_sent_anything() -> None:
    tracker = read(LeaseTracker(), 1.0)
    assert freshness(tracker, "a", 1.1) is Freshness.NEVER


def test_a_lease_without_timing_is_never_lost() -> None:
    tracker = read(read(LeaseTracker(), 0.5, beat("1")), 1.0, beat("2", timing=False))
    tracker = watched(500.0, beat("2", timing=False), tracker=tracker)
    assert tracker.read_s is not None
    assert freshness(tracker, "a", tracker.read_s) is Freshness.LATE


Steps = st.lists(
    st.tuples(
        st.floats(0.01, 3.0),  # time since the last step
        st.floats(0.0, 1.0),  # how long the read takes
        st.booleans(),  # whether it succeeds
        st.booleans(),  # whether the host renewed meanwhile
    ),
    max_size=60,
)


@given(Steps)
def test_a_host_counts_as_lost_only_after_that_long_without_a_renewal(steps: object) -> None:
    """Against the truth: the moment at which the host really sent its last renewal."""
    assert isinstance(steps, list)
    tracker, now_s, version, sent_s = LeaseTracker(), 0.0, 0, 0.0
    for wait_s, took_s, succeeds, renews in steps:
        now_s += wait_s
        if renews:
            version, sent_s = version + 1, now_s
        started_s = now_s
        now_s += took_s
        if succeeds:
            tracker = observe(tracker, started_s, now_s, [beat(str(version))], "wall")
        else:
            tracker = interrupted(tracker)
        if freshness(tracker, "a", now_s) is Freshness.LOST:
            assert now_s - sent_s >= L_S


@given(Steps)
def test_a_host_counts_as_fresh_only_if_it_renewed_lately(steps: object) -> None:
    assert isinstance(steps, list)
    tracker, now_s, version, sent_s = LeaseTracker(), 0.0, 0, float("-inf")
    for wait_s, took_s, succeeds, renews in steps:
        now_s += wait_s
        if renews:
            version, sent_s = version + 1, now_s
        started_s = now_s
        now_s += took_s
        if succeeds:
            tracker = observe(tracker, started_s, now_s, [beat(str(version))], "wall")
        else:
            tracker = interrupted(tracker)
        if freshness(tracker, "a", now_s) is Freshness.FRESH:
            assert now_s - sent_s <= DEFAULT.self_fence_seconds + 3 * GAP_S


BEFORE = {
    "Default": (
        '{"renewIntervalSeconds":1.0,"selfFenceSeconds":3.0,"queryFreshnessSeconds":0.75,'
        '"fencingSeconds":1.5,"watchdogSeconds":2,"linkDetectionSeconds":2.0,'
        '"leaseDurationSeconds":10.0,"clockRateRatio":1.5}',
        10.0,
        9.625,
    ),
    "Fast": (
        '{"renewIntervalSeconds":0.5,"selfFenceSeconds":1.5,"queryFreshnessSeconds":0.4,'
        '"fencingSeconds":0.6,"watchdogSeconds":1,"linkDetectionSeconds":1.5,'
        '"leaseDurationSeconds":5.5,"clockRateRatio":1.5}',
        5.5,
        5.5,
    ),
}
"""What versions published whose ratio was 1.5, and how long they are to be waited for."""


def published(text: str) -> Heartbeat:
    said = HeartbeatContent(
        host="a", site="s", instance="a/b/r", watchdog_armed=True, timing=DEFAULT
    )
    metadata = {
        "name": lease_name("a"),
        "labels": said.labels,
        "annotations": {**said.annotations, TIMING_ANNOTATION: text},
        "resourceVersion": "2",
    }
    found = heartbeat_of({"metadata": metadata, "spec": {"holderIdentity": "a/b/r"}})
    assert found is not None
    return found


@pytest.mark.parametrize("profile", BEFORE)
def test_a_host_of_an_older_version_is_waited_for_as_it_published(profile: str) -> None:
    text, lost_after_s, link_wait_s = BEFORE[profile]
    beat = published(text)
    assert beat.timing is not None
    assert beat.timing.link_wait_s == link_wait_s
    tracker = read(read(LeaseTracker(), 0.0, beat.model_copy(update={"version": "1"})), 0.5, beat)
    tracker = watched(0.5 + lost_after_s, beat, tracker=tracker)
    silent_s = tracker.silent_s("a")
    assert silent_s is not None
    assert lost_after_s - 0.5 < silent_s < lost_after_s
    assert freshness(tracker, "a", 0.5 + lost_after_s) is Freshness.LATE
    tracker = watched(1.0 + lost_after_s, beat, tracker=tracker)
    assert freshness(tracker, "a", 1.0 + lost_after_s) is Freshness.LOST


def test_a_ratio_that_no_clock_keeps_is_believed_of_nobody() -> None:
    """Nothing is concluded from such a host's silence, as from one that says nothing."""
    text = BEFORE["Default"][0].replace('"clockRateRatio":1.5', '"clockRateRatio":1.2')
    assert published(text).timing is None
