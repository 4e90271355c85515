"""Another try of what has failed is no news: what was told stays, and does not grow."""

import pytest

from tandem_api.lease import Delivery
from tandem_api.reasons import Reason
from tandem_controller.decide.world.model import Blocked, Keep

from .scenes import BEFORE, A, B, assigned, moving, report


@pytest.mark.parametrize("reason", ["Demoting", "Releasing"])
def test_another_try_to_let_go_is_no_news(reason: str) -> None:
    scene = moving()
    scene.assignment = assigned(B, "Maintenance")
    scene.reports[A] = report(A, "Absent")
    scene.replicas[A] |= {"reason": reason, "message": "not in use here"}
    assert isinstance(scene.decide(), Keep), "nothing has failed yet"
    known = f"{A} has stopped it, and does not release the mirror: demote: it did not end"
    scene.status = {"phase": "Blocked", "reason": "EffectFailed", "message": known}
    assert scene.decide() == Blocked(Reason.EFFECT_FAILED, known)


def test_what_is_told_again_does_not_grow() -> None:
    """What there is to say besides is in it already."""
    scene = moving()
    scene.assignment = assigned(B, "Maintenance")
    scene.reports[A] = report(A, "Absent")
    scene.replicas[A] |= {"reason": "EffectFailed", "message": "demote: it did not end"}
    scene.replicas[A]["volumes"]["root"]["diskStalledSince"] = BEFORE
    scene.beats[A].delivery = Delivery(run="run", since=BEFORE, count=1)
    scene.guest.update(paused=True)
    told = scene.status_after()
    assert told.message.count("It is paused by") == 1
    scene.replicas[A]["reason"] = "Demoting"
    scene.status = {"phase": told.phase, "reason": told.reason, "message": told.message}
    assert scene.status_after().message == told.message
