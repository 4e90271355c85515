"""Rule 5: DRBD's question during a promotion is answered from a read, not from what was known."""

import pytest

from tandem_actuator.core.mirror import handler
from tandem_api.authority import Authority
from unit.builders import B, authority, lost, mirror, record, standalone, view

from .outside import Outside, play


def answer(known: Authority, read: Authority) -> int:
    outside = Outside(mirror(read), lost(), record=record(owned_epoch=5))
    return handler.exit_code(play(handler.promotion(view(known, lost())), outside))


@pytest.mark.parametrize("read", [standalone(B, epoch=6), authority(B, epoch=6)])
def test_what_has_changed_since_the_claim_is_seen(read: Authority) -> None:
    """A person gave it to the other, and no watch has told it yet."""
    assert answer(standalone(), read) in (handler.EXIT_STAY_FROZEN, handler.EXIT_PEER_IS_PRIMARY)


def test_so_is_the_own_claim_that_no_watch_has_told_yet() -> None:
    assert answer(standalone(B), standalone(epoch=6)) == handler.EXIT_PEER_FENCED


def test_what_another_procedure_has_noted_counts() -> None:
    """An API that was restored says what was true before."""
    outside = Outside(mirror(standalone()), lost(), record=record(max_epoch=9))
    finished = play(handler.promotion(view(standalone(), lost())), outside)
    assert handler.exit_code(finished) == handler.EXIT_STAY_FROZEN
