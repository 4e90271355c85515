"""Which mirrors a host does not touch, and that no transition does."""

from collections.abc import Callable

import pytest

from tandem_actuator.core import authority as rules
from tandem_actuator.core.authority import Facts, Verdict
from tandem_api.authority import PROTOCOL, Authority
from tandem_api.kinds.mirror import Mirror
from tandem_api.reasons import Reason
from tandem_api.vocabulary import Role
from unit.builders import A, assignment, authority, drbd, facts, mirror, record

from .verdicts import reason


class TestHeld:
    def test_nothing_is_held_normally(self) -> None:
        assert rules.held(mirror(authority()), record()) is None

    def test_a_new_mirror_is_not_held(self) -> None:
        assert rules.held(mirror(None), record(max_epoch=0, incarnation="")) is None

    @pytest.mark.parametrize(
        ("held_by", "changes", "expected"),
        [
            (authority(), {"uid": "other"}, Reason.HOLD_IDENTITY_CHANGED),
            (authority(), {"incarnation": "other"}, Reason.HOLD_IDENTITY_CHANGED),
            (authority(), {"max_epoch": 6}, Reason.HOLD_EPOCH_REGRESSED),
            (None, {}, Reason.HOLD_EPOCH_REGRESSED),
            (authority(min_protocol=PROTOCOL + 1), {}, Reason.HOLD_PROTOCOL_TOO_NEW),
        ],
    )
    def test_what_is_held(
        self, held_by: Authority | None, changes: dict[str, object], expected: Reason
    ) -> None:
        refusal = rules.held(mirror(held_by), record(**changes))
        assert refusal is not None
        assert refusal.reason is expected

    @pytest.mark.parametrize(
        "transition", [rules.grant_link_loss, rules.restore, rules.degrade, rules.release]
    )
    def test_a_held_mirror_is_not_touched_by_any_transition(
        self, transition: Callable[[Mirror, Facts, str], Verdict]
    ) -> None:
        behind = facts(drbd(Role.PRIMARY), record=record(max_epoch=6))
        assert reason(transition(mirror(authority()), behind, "r")) is Reason.HOLD_EPOCH_REGRESSED

    def test_nor_by_claim_adopt_and_confirm(self) -> None:
        behind = facts(drbd(), record=record(max_epoch=6))
        at = mirror(authority())
        claimed = rules.claim(at, behind, assignment(A), None, "r")
        assert reason(claimed) is Reason.HOLD_EPOCH_REGRESSED
        assert reason(rules.adopt(at, behind, "r")) is Reason.HOLD_EPOCH_REGRESSED
        assert reason(rules.confirm_promotion(at, behind)) is Reason.HOLD_EPOCH_REGRESSED

    def test_without_authority_nothing_is_decided(self) -> None:
        new = facts(drbd(), record=record(max_epoch=0))
        for transition in (rules.grant_link_loss, rules.restore, rules.degrade, rules.release):
            assert reason(transition(mirror(None), new, "r")) is Reason.NOT_INITIALISED
