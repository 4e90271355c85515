"""A guest that neither host can start: the two take turns, ever more rarely."""

from datetime import datetime, timedelta

import pytest

from tandem_api.reasons import Reason
from tandem_controller.decide.guests.obstacles import TURN_S
from tandem_controller.decide.plan import plan
from tandem_controller.decide.world.model import Assign, Keep, WriteAssignment

from .scenes import WALL, A, B, Scene, assigned
from .test_refused_starts import refuses, resting


def refused_by(*hosts: str, turn_s: int, assigned_s: float) -> Scene:
    """It has been A's for so long, which cannot start it."""
    scene = resting()
    scene.reports.update({host: refuses(host) for host in hosts})
    since = (datetime.fromisoformat(WALL) - timedelta(seconds=assigned_s)).isoformat()
    scene.assignment = assigned(A, "StartRefused", turnSeconds=turn_s, since=since)
    return scene


@pytest.mark.parametrize(
    ("turn_s", "stays_s", "next_s"), [(0, 60, 60), (60, 60, 120), (240, 240, 300), (300, 300, 300)]
)
def test_each_turn_is_longer_than_the_last(turn_s: int, stays_s: int, next_s: int) -> None:
    waiting = refused_by(B, turn_s=turn_s, assigned_s=stays_s - 1).decide()
    assert isinstance(waiting, Keep)
    assert f"It goes there again by itself {stays_s} s after it came to {A}" in waiting.message
    scene = refused_by(B, turn_s=turn_s, assigned_s=stays_s)
    decision = scene.decide()
    assert isinstance(decision, Assign)
    assert (decision.host, decision.reason) == (B, Reason.START_REFUSED)
    (write,) = (w for w in plan(scene.snapshot()).urgent if isinstance(w, WriteAssignment))
    assert write.assignment.turn_seconds == next_s


def test_they_begin_anew_once_it_was_somewhere_for_long() -> None:
    decision = refused_by(turn_s=300, assigned_s=3600).decide()
    assert isinstance(decision, Assign)
    assert decision.turn_seconds == TURN_S
