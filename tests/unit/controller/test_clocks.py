"""A clock's rate by its heartbeats: what is told of it, what never is, and what comes of that."""

import random
from itertools import pairwise

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tandem_api.kinds.host import Host
from tandem_api.lease import CLOCK_ANNOTATION, Heartbeat, HeartbeatContent, heartbeat_of, lease_name
from tandem_api.meta import condition
from tandem_api.reasons import Reason
from tandem_api.timing import DEFAULT, LEAST_CLOCK_RATE_RATIO
from tandem_controller.decide.status.site import host_status
from tandem_controller.decide.world import leases
from tandem_controller.decide.world.clocks import (
    DELAY_S,
    WINDOW_S,
    ClockState,
    Rate,
    Reading,
    Watch,
    interrupted,
    observe,
    state,
)
from tandem_controller.decide.world.hosts import CLOCK_RATE
from tandem_controller.decide.world.leases import LeaseTracker
from tandem_controller.decide.world.model import Assign, Blocked

from .scenes import NOW_S, A, B, Scene

BOUND = LEAST_CLOCK_RATE_RATIO
SLOW, FAST = Rate(0.68, 0.72), Rate(1.38, 1.46)


def beats(
    chance: random.Random,
    rate: float,
    until_s: float,
    most_s: float,
    begun: Reading,
    *,
    slewed: float | None = None,
) -> list[Reading]:
    """One a second of the host's clock; each is seen up to ``most_s`` later, never out of order.

    ``slewed``: its rate from 300 s on.
    """
    found, sent_s, clock_s = [begun], begun.at_s, begun.clock_s
    while sent_s < until_s:
        now = slewed if slewed is not None and sent_s > 300.0 else rate
        sent_s, clock_s = sent_s + 1 / now, clock_s + 1.0
        seen_s = max(sent_s + chance.uniform(0.0, most_s), found[-1].at_s)
        found.append(Reading(seen_s, clock_s))
    return found[1:]


def watched(watch: Watch, readings: list[Reading]) -> list[Watch]:
    found = [watch]
    for reading in readings:
        found.append(observe(found[-1], reading))
    return found


def states(watches: list[Watch]) -> set[ClockState]:
    return {state(watch, BOUND) for watch in watches}


@settings(max_examples=30)
@given(st.integers(0, 10**6), st.floats(1 / BOUND, BOUND), st.floats(1 / BOUND, BOUND))
def test_no_clock_in_bound_is_ever_told_however_late_its_heartbeats_are(
    seed: int, rate: float, later: float
) -> None:
    chance, start = random.Random(seed), Reading(5.0, 100.0)
    found = watched(Watch(), beats(chance, rate, 700.0, DELAY_S, start, slewed=later))
    assert states(found) == {ClockState.UNMEASURED, ClockState.IN_BOUND}


@pytest.mark.parametrize(
    ("rate", "said"),
    [(1 / 1.31, ClockState.TOO_SLOW), (0.3, ClockState.TOO_SLOW), (1.31, ClockState.TOO_FAST)],
)
def test_one_beyond_is_told_after_one_window(rate: float, said: ClockState) -> None:
    chance, start = random.Random(1), Reading(5.0, 100.0)
    found = watched(Watch(), beats(chance, rate, 2 * WINDOW_S + 20.0, 1e-3, start))
    assert states(found) == {ClockState.UNMEASURED, said}
    first = next(one for one in found if one.rates)
    assert first.newest is not None
    assert first.newest.at_s < WINDOW_S + 5.0 + 2 / rate


def test_it_is_in_bound_again_after_two_windows() -> None:
    start, chance = Reading(5.0, 100.0), random.Random(2)
    slow = watched(Watch(), beats(chance, 0.6, WINDOW_S + 10.0, 0.5, start))[-1]
    assert slow.newest is not None
    mended = watched(slow, beats(chance, 1.0, 4 * WINDOW_S, 0.5, slow.newest))
    told = [(one.newest.at_s if one.newest else 0.0, state(one, BOUND)) for one in mended]
    flips = [at_s for (_, old), (at_s, new) in pairwise(told) if old is not new]
    assert told[-1][1] is ClockState.IN_BOUND
    assert len(flips) == 1
    assert 2 * WINDOW_S - 15.0 < flips[0] - slow.newest.at_s < 3 * WINDOW_S


def test_a_machine_that_stood_still_with_its_clock_begins_another_window() -> None:
    """A minute in which its clock did not advance: nothing was measured across it."""
    chance, start = random.Random(3), Reading(5.0, 100.0)
    before = beats(chance, 1.0, 60.0, 0.5, start)
    woken = Reading(before[-1].at_s + 60.0, before[-1].clock_s)
    found = watched(Watch(), before + beats(chance, 1.0, 400.0, 0.5, woken))
    assert states(found) == {ClockState.UNMEASURED, ClockState.IN_BOUND}


def test_a_renewal_that_was_carried_out_long_after_it_was_sent_is_no_rate() -> None:
    chance, start = random.Random(4), Reading(5.0, 100.0)
    before = beats(chance, 1.0, 60.0, 0.5, start)
    late = Reading(before[-1].at_s + 70.0, before[-1].clock_s + 1.0)
    after = beats(chance, 1.0, 400.0, 0.5, Reading(late.at_s, late.clock_s + 69.0))
    assert states(watched(Watch(), [*before, late, *after])) == {
        ClockState.UNMEASURED,
        ClockState.IN_BOUND,
    }


def test_a_suspended_machine_whose_clock_went_on_is_measured_on() -> None:
    chance, start = random.Random(5), Reading(5.0, 100.0)
    before = beats(chance, 0.7, 60.0, 0.5, start)
    woken = Reading(before[-1].at_s + 100.0, before[-1].clock_s + 70.0)
    found = watched(Watch(), [*before, woken])
    assert state(found[-1], BOUND) is ClockState.TOO_SLOW


def test_what_was_found_stands_while_nothing_new_is_measured() -> None:
    watch = interrupted(Watch(Reading(1.0, 1.0), Reading(2.0, 2.0), (SLOW,)))
    assert watch == Watch(None, None, (SLOW,))


def test_the_same_reading_again_is_no_clock_that_stands_still() -> None:
    """A run that tells of none leaves the last one's in the Lease."""
    again = [Reading(5.0 + number, 100.0) for number in range(500)]
    assert states(watched(Watch(), again)) == {ClockState.UNMEASURED}


# -- in the count of silences


def told(version: int, clock_s: float, run: str = "r") -> Heartbeat:
    return Heartbeat(
        host=A,
        instance=f"{A}/b/{run}",
        version=str(version),
        watchdog_armed=True,
        timing=DEFAULT,
        clock_s=clock_s,
    )


def test_a_gap_in_the_own_reads_begins_another_window() -> None:
    """This controller stood still, and its clock with it: a minute passed for the host."""
    tracker, now_s, clock_s, found = LeaseTracker(), 0.0, 0.0, list[Watch]()
    for number in range(400):
        if number == 100:
            now_s, clock_s = now_s + leases.GAP_S + 0.1, clock_s + 60.0
        tracker = leases.observe(tracker, now_s, now_s + 0.01, [told(number, clock_s)], "wall")
        found.append(tracker.counts[A].clock)
        now_s, clock_s = now_s + 1.0, clock_s + 1.0
    assert states(found) == {ClockState.UNMEASURED, ClockState.IN_BOUND}


def test_another_run_begins_another_window() -> None:
    tracker = LeaseTracker()
    for number in range(100):
        tracker = leases.observe(tracker, number, number, [told(number, number * 1.0)], "wall")
    begun = tracker.counts[A].clock.begun
    tracker = leases.observe(tracker, 100.0, 100.0, [told(100, 100.0, "s")], "wall")
    assert begun == Reading(0.0, 0.0)
    assert tracker.counts[A].clock.begun == Reading(100.0, 100.0)


@pytest.mark.parametrize("text", ["", "nan", "inf", "-1.000", "1e9", "12", "12.5", "x" * 99])
def test_a_reading_that_is_none_is_no_reading(text: str) -> None:
    content = HeartbeatContent(
        host=A, site="s", instance="i", watchdog_armed=True, timing=DEFAULT, clock_s=12.5
    )
    lease = {
        "metadata": {
            "name": lease_name(A),
            "labels": content.labels,
            "annotations": content.annotations,
            "resourceVersion": "1",
        }
    }
    read = heartbeat_of(lease)
    assert read is not None
    assert read.clock_s == 12.5
    lease["metadata"]["annotations"] = {**content.annotations, CLOCK_ANNOTATION: text}
    read = heartbeat_of(lease)
    assert read is not None
    assert read.clock_s is None
    assert read.timing == DEFAULT


# -- what comes of it


def lost(**rates: Rate) -> Scene:
    scene = Scene().lost()
    for short, host in {"a": A, "b": B}.items():
        if short in rates:
            scene.beats[host].clock = Watch(rates=(rates[short],))
    return scene


def test_a_host_whose_clock_is_slow_is_not_taken_over_from_by_time_alone() -> None:
    decision = lost(a=SLOW).decide()
    assert isinstance(decision, Blocked)
    assert decision.reason is Reason.WAITING_FOR_FENCING_PROOF
    assert f"the clock of {A} was seen to run more slowly" in decision.message
    assert f"set spec.confirmedDown to boot on host {A}" in decision.message


def test_and_is_as_soon_as_a_person_says_that_it_is_off() -> None:
    scene = lost(a=SLOW)
    scene.hosts[A].update(confirmedDown="boot")
    decision = scene.decide()
    assert isinstance(decision, Assign)
    assert (decision.host, decision.reason) == (B, Reason.CONFIRMED_BY_PERSON)


def test_a_fast_one_is_taken_over_from() -> None:
    decision = lost(a=FAST, b=Rate(0.97, 1.03)).decide()
    assert isinstance(decision, Assign)
    assert decision.host == B


@pytest.mark.parametrize(
    "rates",
    [
        {"a": Rate(0.82, 0.86), "b": Rate(1.16, 1.24)},
        {"b": FAST},
    ],
    ids=["each is in bound of the controller's", "the owner's was never measured"],
)
def test_a_taker_that_outran_the_owner_does_not_take_over_by_its_own_count(
    rates: dict[str, Rate],
) -> None:
    decision = lost(**rates).decide()
    assert isinstance(decision, Blocked)
    assert decision.reason is Reason.WAITING_FOR_FENCING_PROOF
    faster = (
        f"the clock of {B} was seen to run more than clockRateRatio times as fast as that of {A}"
    )
    assert faster in decision.message


def test_two_that_are_slewed_as_far_as_a_kernel_goes_are_not_held() -> None:
    decision = lost(a=Rate(0.87, 0.93), b=Rate(1.06, 1.14)).decide()
    assert isinstance(decision, Assign)


def test_a_site_with_a_larger_ratio_waits_longer_and_is_told_later() -> None:
    scene = lost(a=SLOW)
    wide = DEFAULT.model_copy(update={"clock_rate_ratio": 1.5, "lease_duration_seconds": 10.0})
    scene.beats[A].timing = wide
    assert isinstance(scene.decide(), Assign)


def test_its_guest_is_not_protected_while_it_still_runs() -> None:
    for rates in ({A: SLOW}, {B: FAST}):
        scene = Scene()
        for host, rate in rates.items():
            scene.beats[host].clock = Watch(rates=(rate,))
        protected = condition(scene.status_after().conditions, "Protected")
        assert protected is not None
        assert protected.status == "False"
        assert "would not prove that it stopped" in protected.message
    protected = condition(Scene().status_after().conditions, "Protected")
    assert protected is not None
    assert protected.status == "True"


# -- the host's own status


def said(scene: Scene, host: str = A) -> tuple[str, str, str]:
    world = scene.world()
    found = condition(host_status(world.hosts[host], world).conditions, CLOCK_RATE)
    return (found.status, found.reason, found.message) if found is not None else ("", "", "")


def with_clocks(**rates: Rate) -> Scene:
    scene = lost(**rates)
    scene.beats[A].silent_s = 0.5
    return scene


def test_nothing_is_told_of_a_clock_that_was_never_measured() -> None:
    assert said(with_clocks()) == ("", "", "")


def test_a_clock_in_bound_is_told_without_a_number_that_changes() -> None:
    assert said(with_clocks(a=Rate(0.97, 1.03))) == ("True", "ClockRateInBound", "")


def test_a_slow_clock_is_told_with_what_to_do() -> None:
    status, reason, message = said(with_clocks(a=SLOW, b=Rate(0.97, 1.03)))
    assert (status, reason) == ("False", "ClockTooSlow")
    assert "runs at 0.70 of this controller's, so its silence will not prove" in message
    assert f"spec.maintenance on host {A}" in message
    assert "all others" not in message


def test_where_all_are_wrong_it_is_rather_the_controllers() -> None:
    _, reason, message = said(with_clocks(a=FAST, b=FAST))
    assert reason == "ClockTooFast"
    assert "all others are so, too: see to that of the controller's node" in message


def test_what_an_earlier_controller_found_stands_until_this_one_has_measured() -> None:
    scene = with_clocks(a=SLOW, b=Rate(0.97, 1.03))
    world = scene.world()
    conditions = [each.wire() for each in host_status(world.hosts[A], world).conditions]
    began = Scene().lost()
    began.hosts[A].update(status={"conditions": conditions})
    held = began.decide()
    assert isinstance(held, Blocked)
    assert held.reason is Reason.WAITING_FOR_FENCING_PROOF
    assert said(began) == said(scene)
    began.beats[A].clock = Watch(rates=(Rate(0.97, 1.03),))
    assert isinstance(began.decide(), Assign)
    assert said(began)[0] == "True"


def test_the_status_is_a_hosts() -> None:
    """What the tests above have read is what a server would take."""
    scene = with_clocks(a=SLOW)
    world = scene.world()
    made = host_status(world.hosts[A], world)
    raw = {**world.hosts[A].host.wire(), "status": made.wire()}
    assert Host.parse(raw).status == made
    assert scene.world().snapshot.now_s == NOW_S
