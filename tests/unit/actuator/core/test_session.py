"""What DRBD's events tell of the connection in which this host was promoted."""

from collections.abc import Callable

import pytest

from tandem_actuator.core.session import Session
from tandem_api.vocabulary import Role

Step = Callable[[Session], Session]
ANEW: Step = Session.began_anew
PROMOTES: Step = Session.promoting
REFUSED: Step = Session.refused


def role(told: Role) -> Step:
    return lambda known: known.heard(told, None, lost=False)


def peer(told: Role) -> Step:
    return lambda known: known.heard(None, told, lost=False)


def lost(known: Session) -> Session:
    return known.heard(None, None, lost=True)


def other(known: Session) -> Session:
    return known.heard(None, None, lost=False)


UP, DOWN = role(Role.PRIMARY), role(Role.SECONDARY)
PEER_UP, LEFT, PEER_GONE = peer(Role.PRIMARY), peer(Role.SECONDARY), peer(Role.UNKNOWN)


def handed(*steps: Step) -> bool:
    known = Session()
    for step in steps:
        known = step(known)
    return known.handed


@pytest.mark.parametrize(
    "steps",
    [
        (PROMOTES, UP, LEFT),
        (PROMOTES, other, UP, other, LEFT, other),
        (ANEW, PROMOTES, UP, LEFT),
        (PROMOTES, REFUSED, PROMOTES, UP, LEFT),
        (PROMOTES, UP, DOWN, PROMOTES, UP, LEFT),
        (LEFT, PEER_UP, PROMOTES, UP, LEFT),
        (PROMOTES, UP, lost, DOWN, PROMOTES, UP, LEFT),
        (PROMOTES, UP, LEFT, LEFT),
    ],
    ids=[
        *("told", "and-more", "after-a-restart", "refused-before", "once-more", "earlier"),
        *("lost-before", "twice"),
    ],
)
def test_it_was_handed_over(steps: tuple[Step, ...]) -> None:
    assert handed(*steps)


@pytest.mark.parametrize(
    "steps",
    [
        (UP, LEFT),
        (PROMOTES, LEFT),
        (PROMOTES, LEFT, UP),
        (PROMOTES, UP),
        (PROMOTES, UP, PEER_UP),
        (PROMOTES, UP, PEER_GONE, LEFT),
        (PROMOTES, UP, lost, LEFT),
        (PROMOTES, UP, LEFT, lost),
        (PROMOTES, UP, LEFT, lost, LEFT),
        (PROMOTES, UP, LEFT, PEER_UP),
        (PROMOTES, UP, LEFT, DOWN),
        (PROMOTES, UP, DOWN, LEFT),
        (PROMOTES, UP, DOWN, UP, LEFT),
        (PROMOTES, UP, ANEW, LEFT),
        (PROMOTES, UP, ANEW, UP, LEFT),
        (PROMOTES, ANEW, UP, LEFT),
        (PROMOTES, UP, LEFT, ANEW),
        (PROMOTES, REFUSED, UP, LEFT),
    ],
    ids=[
        *("by-somebody-else", "not-told-yet", "before-it-was-promoted", "not-yet", "both"),
        *("unknown-between", "lost-before", "lost-after", "of-another-connection", "back-again"),
        *("demoted", "demoted-before", "promoted-by-somebody-else", "missed", "shown-first"),
        *("missed-its-own", "missed-after", "refused"),
    ],
)
def test_it_was_not(steps: tuple[Step, ...]) -> None:
    assert not handed(*steps)


def test_what_may_be_told_of_an_earlier_promotion_counts_for_nothing() -> None:
    """Until everything is told anew: of which promotion an event is, nothing in it says."""
    late = (PROMOTES, PROMOTES, UP, LEFT, DOWN, UP)
    assert not handed(*late[:4])
    assert not handed(*late, LEFT)
    assert not handed(*late, DOWN, PROMOTES, UP, LEFT)
    assert handed(*late, DOWN, ANEW, PROMOTES, UP, LEFT)


def test_nor_does_what_is_owed_as_events_begin_anew() -> None:
    assert not handed(PROMOTES, ANEW, PROMOTES, UP, LEFT)
    assert handed(PROMOTES, ANEW, ANEW, PROMOTES, UP, LEFT)
