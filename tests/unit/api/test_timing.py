"""Both sides of the lease inequality: what a host may use up, and what others wait."""

from itertools import product

import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic import ValidationError

from tandem_api.timing import (
    DEFAULT,
    FAST,
    LEAST_CLOCK_RATE_RATIO,
    MARGIN_S,
    MIN_LINK_DETECTION_S,
    PROFILES,
    Timing,
    drbd_timers,
)

seconds = st.floats(0.1, 30.0, allow_nan=False)
fields = st.fixed_dictionaries(
    {
        "renew_interval_seconds": seconds,
        "self_fence_seconds": seconds,
        "query_freshness_seconds": seconds,
        "fencing_seconds": seconds,
        "watchdog_seconds": st.integers(1, 30),
        "link_detection_seconds": seconds,
        "lease_duration_seconds": st.floats(0.1, 300.0),
        "clock_rate_ratio": st.floats(LEAST_CLOCK_RATE_RATIO, 4.0),
    }
)


def accepted(values: dict[str, float]) -> Timing | None:
    try:
        return Timing.model_validate(values)
    except ValidationError:
        return None


@given(fields, st.floats(1.0, 3.0))
def test_whatever_is_accepted_outlasts_the_slowest_host(
    values: dict[str, float], slack: float
) -> None:
    """The waiter's clock may run rho times faster than the host's: it still waits longer."""
    residue_s = (
        values["self_fence_seconds"] + values["fencing_seconds"] + values["watchdog_seconds"]
    )
    near = values["clock_rate_ratio"] * residue_s * slack
    timing = accepted({**values, "lease_duration_seconds": near})
    if timing is None:
        return
    host_stops_after_s = (
        timing.self_fence_seconds + timing.fencing_seconds + timing.watchdog_seconds
    )
    shortest_wait_s = timing.lease_duration_seconds / timing.clock_rate_ratio
    assert shortest_wait_s > host_stops_after_s


@given(fields)
def test_whatever_is_refused_breaks_one_of_the_three(values: dict[str, float]) -> None:
    if accepted(values) is not None:
        return
    residue_s = (
        values["self_fence_seconds"] + values["fencing_seconds"] + values["watchdog_seconds"]
    )
    too_short = values["lease_duration_seconds"] < values["clock_rate_ratio"] * residue_s + MARGIN_S
    no_room = values["renew_interval_seconds"] * 2 > values["self_fence_seconds"]
    assert too_short or no_room or values["link_detection_seconds"] < MIN_LINK_DETECTION_S


@pytest.mark.parametrize("timing", [DEFAULT, FAST])
def test_the_link_wait_outlasts_a_peer_that_lives_on_the_link(timing: Timing) -> None:
    peer_stops_after_s = (
        timing.link_detection_seconds
        + timing.query_freshness_seconds
        + timing.fencing_seconds
        + timing.watchdog_seconds
    )
    assert timing.link_wait_s / timing.clock_rate_ratio > peer_stops_after_s


def test_the_lease_wait_outlasts_a_host_that_woke_up_and_believes_in_the_link() -> None:
    """Whatever R is. A shorter leaseDurationSeconds is accepted, and the wait is counted."""
    assert DEFAULT.lease_duration_seconds >= DEFAULT.link_wait_s
    assert FAST.lease_duration_seconds >= FAST.lease_wait_s == FAST.link_wait_s
    assert DEFAULT.lost_after_s == DEFAULT.lease_duration_seconds
    shorter = accepted({**FAST.model_dump(), "lease_duration_seconds": 4.5})
    assert shorter is not None
    assert shorter.lost_after_s == FAST.link_wait_s > shorter.lease_duration_seconds


@pytest.mark.parametrize("timing", [DEFAULT, FAST])
def test_one_lost_heartbeat_costs_nothing(timing: Timing) -> None:
    assert timing.renew_interval_seconds * 2 <= timing.self_fence_seconds


def test_the_smallest_lease_duration_is_exactly_the_wait() -> None:
    values = DEFAULT.model_dump()
    at = Timing.model_validate({**values, "lease_duration_seconds": DEFAULT.lease_wait_s})
    assert at.problem() is None
    below = accepted({**values, "lease_duration_seconds": DEFAULT.lease_wait_s - 0.001})
    assert below is None


def test_a_refusal_names_the_field_and_the_value_that_would_do() -> None:
    with pytest.raises(
        ValidationError, match=r"leaseDurationSeconds is too short; raise it .* that is 8\.375, "
    ):
        Timing.model_validate({**DEFAULT.model_dump(), "lease_duration_seconds": 5.0})


@pytest.mark.parametrize(
    ("field", "value"),
    [("renew_interval_seconds", 1.6), ("link_detection_seconds", 1.0), ("watchdog_seconds", 0)],
)
def test_other_refusals(field: str, value: float) -> None:
    assert accepted({**DEFAULT.model_dump(), field: value}) is None


def test_no_clocks_that_linux_slews_differ_by_more_than_the_least_ratio() -> None:
    """adjtimex(2): a tick of 9000 to 11000 us, 500 ppm, and 500 ppm of adjtime(3)."""
    fastest, slowest = 1.1 + 2 * 500e-6, 0.9 - 2 * 500e-6
    assert fastest / slowest * 1.0002 < LEAST_CLOCK_RATE_RATIO == DEFAULT.clock_rate_ratio


def test_less_than_a_kernel_may_slew_is_refused() -> None:
    long = {**DEFAULT.model_dump(), "lease_duration_seconds": 60.0}
    assert accepted({**long, "clock_rate_ratio": LEAST_CLOCK_RATE_RATIO}) is not None
    assert accepted({**long, "clock_rate_ratio": 1.24}) is None


@pytest.mark.parametrize("link_detection_s", [1.5, 2.0, 2.5, 3.0, 5.0, 10.0, 30.0])
def test_drbd_notices_a_dead_link_in_time(link_detection_s: float) -> None:
    timing = DEFAULT.model_copy(update={"link_detection_seconds": link_detection_s})
    timers = drbd_timers(timing)
    assert timers.ping_int_s + timers.ping_timeout_ds / 10 <= link_detection_s
    assert timers.timeout_ds < timers.ping_int_s * 10
    assert timers.timeout_ds < timers.connect_int_s * 10
    assert timers.ping_int_s >= 1
    assert timers.ping_timeout_ds >= 1


def test_profiles_are_accepted_by_their_own_rules() -> None:
    for profile, timing in product(PROFILES, (DEFAULT, FAST)):
        assert PROFILES[profile].problem() is None
        assert timing.problem() is None
