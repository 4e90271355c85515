"""A guest that is kept frozen by what fails on its host: what a person hears."""

from typing import Any

from tandem_api.reasons import Reason
from tandem_controller.decide.world.model import Blocked

from .scenes import WALL, A, B, Scene, replica


def frozen(**said: Any) -> Scene:
    scene = Scene()
    since = "2024-05-01T09:59:00Z"
    scene.replicas[A] = {
        **replica(A, role="Primary", connected=False),
        **{"suspended": True, "notConnectedSince": since, **said},
    }
    return scene


def test_a_guest_that_is_kept_frozen_by_what_fails_on_its_host() -> None:
    """Its owner has asked for leave to write alone, and cannot note it."""
    failed = {"reason": "EffectFailed", "message": "the durable record: read-only"}
    decision = frozen(**failed).decide()
    assert decision == Blocked(
        Reason.EFFECT_FAILED,
        f"It stands still on {A}: the durable record: read-only. Mend that, or power {A} off to go"
        f" on with what {B} has, which may lack what was written last",
    )
    away = frozen(**failed).silent(B).decide()
    assert away == Blocked(
        Reason.EFFECT_FAILED, f"It stands still on {A}: the durable record: read-only. Mend that"
    )
    trying = frozen(reason="Connecting", message="connecting anew")
    trying.status = {"reason": "EffectFailed", "message": decision.message}
    assert trying.decide() == decision
    assert not isinstance(frozen(**failed, notConnectedSince=WALL).decide(), Blocked)
    assert not isinstance(frozen(**failed, suspended=False).decide(), Blocked)
    assert not isinstance(frozen(reason="LinkLost").decide(), Blocked)
