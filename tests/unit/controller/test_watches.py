"""Which of kopf's watches are dead, by what they open, what they tell, and what lists show."""

from hypothesis import given
from hypothesis import strategies as st

from tandem_controller.decide import watches
from tandem_controller.decide.watches import (
    BEHIND_S,
    ENDED_S,
    IDLE_S,
    LIFE_S,
    Restart,
    Watch,
    Watches,
    begun,
    failure,
    listed,
    opened,
    told,
)

KIND = "Mirror"


def only(watch: Watch) -> Watches:
    return {KIND: watch}


def open_at(*moments_s: float) -> tuple[Watch, list[Restart | None]]:
    watch, endings = Watch(0.0), []
    for now_s in moments_s:
        watch, ending = opened(watch, now_s)
        endings.append(ending)
    return watch, endings


def test_one_that_ends_at_its_time_again_and_again_is_alive() -> None:
    watch, endings = open_at(*(n * LIFE_S + 0.5 for n in range(5)))
    assert endings == [None] * 5
    assert failure(only(watch), 4 * LIFE_S + IDLE_S) is None


def test_one_that_was_cut_or_silent_is_told_from_one_that_ended() -> None:
    assert open_at(1.0, 3.0)[1] == [None, Restart.BROKEN]
    assert open_at(1.0, 1.0 + IDLE_S)[1] == [None, Restart.IDLE]


def test_one_that_nobody_begins_again_is_dead() -> None:
    watch, _ = open_at(1.0)
    assert failure(only(watch), 1.0 + ENDED_S) is None
    assert failure(only(watch), 1.1 + ENDED_S) == (KIND, Restart.ENDED)


def test_one_that_never_began_is_dead() -> None:
    assert failure(begun((KIND,), 7.0), 7.0 + ENDED_S) is None
    assert failure(begun((KIND,), 7.0), 7.1 + ENDED_S) == (KIND, Restart.ENDED)


def test_kopf_notices_an_idle_one_before_it_counts_as_ended() -> None:
    assert LIFE_S < IDLE_S < ENDED_S


def test_one_that_does_not_tell_what_a_list_shows_is_dead() -> None:
    watch, _ = open_at(1.0)
    watch = listed(told(watch, 5, 1.0), told_before=5, newest=9, version=9, now_s=2.0)
    assert failure(only(watch), 2.0 + BEHIND_S) is None
    assert failure(only(watch), 2.1 + BEHIND_S) == (KIND, Restart.BEHIND)


def test_what_comes_a_little_later_than_the_list_is_in_time() -> None:
    watch = listed(told(Watch(0.0, 0.0), 5, 1.0), told_before=5, newest=9, version=9, now_s=2.0)
    watch = told(watch, 9, 2.0 + BEHIND_S)
    assert failure(only(watch), 3.0 + BEHIND_S) is None


def test_one_that_has_much_to_tell_is_slow_and_not_dead() -> None:
    watch = listed(Watch(0.0, 0.0), told_before=0, newest=900, version=900, now_s=0.0)
    for second in range(1, 10):
        watch = told(watch, second, float(second))
        assert failure(only(watch), second + 0.5) is None


def test_the_wait_begins_when_there_is_something_to_wait_for() -> None:
    watch = told(Watch(0.0, 0.0), 5, 0.0)
    watch = listed(watch, told_before=5, newest=5, version=8, now_s=1.0)
    watch, _ = opened(watch, LIFE_S)
    watch = listed(watch, told_before=5, newest=9, version=9, now_s=LIFE_S + 1.0)
    assert failure(only(watch), LIFE_S + 0.5 + BEHIND_S) is None
    assert failure(only(watch), LIFE_S + 1.1 + BEHIND_S) == (KIND, Restart.BEHIND)


def test_a_second_list_does_not_begin_the_wait_again() -> None:
    watch = listed(Watch(0.0, 0.0), told_before=0, newest=9, version=9, now_s=1.0)
    watch = listed(watch, told_before=0, newest=10, version=10, now_s=1.0 + BEHIND_S)
    assert failure(only(watch), 1.1 + BEHIND_S) == (KIND, Restart.BEHIND)


def test_one_that_was_not_opened_yet_is_not_behind_while_a_slow_server_lists() -> None:
    watch = listed(Watch(0.0), told_before=0, newest=9, version=9, now_s=1.0)
    assert failure(only(watch), 2.0 + BEHIND_S) is None
    opened_s = 3.0 + BEHIND_S
    watch, _ = opened(watch, opened_s)
    assert failure(only(watch), opened_s + BEHIND_S) is None
    again, _ = opened(watch, opened_s + BEHIND_S)
    assert failure(only(again), opened_s + 0.1 + BEHIND_S) == (KIND, Restart.BEHIND)


def test_a_server_that_went_backwards_is_watched_from_where_it_is() -> None:
    watch = told(Watch(0.0, 0.0), 50, 1.0)
    assert failure(only(listed(watch, 50, 40, 50, 2.0)), 2.0) is None
    assert failure(only(listed(watch, 50, 40, 45, 2.0)), 2.0) == (KIND, Restart.BACKWARDS)


def test_what_was_told_while_the_list_was_on_its_way_is_not_held_against_it() -> None:
    watch = told(Watch(0.0, 0.0), 60, 2.0)
    assert (
        failure(only(listed(watch, told_before=50, newest=40, version=55, now_s=2.0)), 2.0) is None
    )


@given(
    versions=st.lists(st.integers(1, 1000), min_size=1, unique=True).map(sorted),
    lag_s=st.floats(0.0, BEHIND_S - 0.1),
)
def test_a_watch_that_lags_by_less_than_the_limit_never_counts_as_dead(
    versions: list[int], lag_s: float
) -> None:
    """One write a second, told ``lag_s`` later; a list after each write."""
    watch, now_s = Watch(0.0, 0.0), 0.0
    for at_s, version in enumerate(versions):
        told_by = [v for moment_s, v in enumerate(versions) if moment_s + lag_s <= at_s]
        for each in told_by:
            if each > watch.told:
                watch = told(watch, each, float(at_s))
        watch = listed(watch, watch.told, version, version, float(at_s))
        watch, _ = opened(watch, float(at_s))
        now_s = at_s + 0.05
        assert watches.failure(only(watch), now_s) is None


def test_what_comes_late_makes_nothing_older() -> None:
    """Lists and watches overtake each other."""
    watch = told(told(open_at(1.0)[0], 9, 2.0), 5, 3.0)
    assert watch.told == 9
    watch = listed(listed(watch, 9, 12, 12, 4.0), 9, 11, 11, 4.5)
    assert watch.due == 12
    assert failure(only(watch), 4.1 + BEHIND_S) == (KIND, Restart.BEHIND)
