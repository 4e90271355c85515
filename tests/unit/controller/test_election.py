"""At most one replica leads at any moment, and one that stops is replaced."""

from hypothesis import given
from hypothesis import strategies as st

from tandem_controller.decide import election
from tandem_controller.decide.election import (
    LEASE_S,
    WAIT_S,
    Election,
    Follow,
    Renew,
    Seen,
    next_step,
    observe,
    renewed,
    resigned,
)


def test_a_lease_that_is_not_there_is_made() -> None:
    state = observe(Election("one"), Seen("", None), 1.0)
    assert next_step(state, 1.0) == Renew(None, 0)


def test_a_lease_that_was_given_up_is_taken_at_once() -> None:
    state = observe(Election("one"), Seen("", "5"), 1.0)
    assert next_step(state, 1.0) == Renew("5", 1)


def test_each_passing_on_is_counted_and_no_renewal_is() -> None:
    state = observe(Election("one"), Seen("", "5", transitions=7), 1.0)
    assert next_step(state, 1.0) == Renew("5", 8)
    assert next_step(observe(state, Seen("one", "6", 8), 2.0), 2.0) == Renew("6")


def test_another_holder_is_followed_until_its_time_is_surely_over() -> None:
    state = observe(Election("one"), Seen("two", "5"), 1.0)
    assert next_step(state, 1.0 + WAIT_S - 0.01) == Follow("two")
    assert next_step(state, 1.0 + WAIT_S) == Renew("5", 1)


def test_each_renewal_of_the_other_starts_the_wait_again() -> None:
    state = observe(Election("one"), Seen("two", "5"), 1.0)
    state = observe(state, Seen("two", "6"), WAIT_S)
    assert next_step(state, WAIT_S + 1.0) == Follow("two")


def test_leadership_counts_from_before_the_renewal_was_sent() -> None:
    state = renewed(Election("one"), "6", sent_s=10.0, now_s=11.5)
    assert state.leads(10.0 + LEASE_S - 0.01)
    assert not state.leads(10.0 + LEASE_S)


def test_a_renewal_that_is_not_confirmed_prolongs_nothing() -> None:
    state = renewed(Election("one"), "6", sent_s=10.0, now_s=10.1)
    state = observe(state, Seen("one", "7"), 13.0)  # ours, but its answer was lost
    assert not state.leads(10.0 + LEASE_S)
    assert next_step(state, 13.0) == Renew("7")


def test_who_resigned_does_not_lead() -> None:
    assert not resigned(renewed(Election("one"), "6", 10.0, 10.1)).leads(10.2)


Turns = st.lists(
    st.tuples(
        st.sampled_from(["one", "two"]),
        st.floats(0.01, 4.0),  # real time since the last turn
        st.floats(0.0, 2.0),  # from sending the renewal to its answer
        st.sampled_from(["confirmed", "lost", "failed"]),
    ),
    max_size=80,
)


@given(Turns, st.floats(1.0, election.CLOCK_RATE_RATIO))
def test_never_two_leaders(turns: object, rate: float) -> None:
    """Replica two's clock runs at another rate. The Lease is one compare-and-swap register."""
    assert isinstance(turns, list)
    rates = {"one": 1.0, "two": rate}
    states = {name: Election(name) for name in rates}
    holder, version, now_s = "", 0, 0.0
    for name, wait_s, took_s, how in turns:
        now_s += wait_s
        clock = now_s * rates[name]
        seen = Seen(holder, str(version) if version else None)
        state = observe(states[name], seen, clock)
        match next_step(state, clock):
            case Renew(expected) if how != "failed":
                now_s += took_s
                if expected == (str(version) if version else None):
                    holder, version = name, version + 1
                    if how == "confirmed":
                        end = now_s * rates[name]
                        state = renewed(state, str(version), clock, end)
            case Follow():
                state = resigned(state)
        states[name] = state
        leading = [n for n, s in states.items() if s.leads(now_s * rates[n])]
        assert len(leading) <= 1
