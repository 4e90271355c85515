"""The invariant of the authority, as it is asserted at each transition."""

from typing import Any

import pytest

from tandem_api.authority import Authority, Eligibility, Mode, Unlawful, transition, violation
from tandem_api.reasons import Reason

YES = Eligibility(eligible=True, reason=Reason.IN_SYNC)
NO = Eligibility(eligible=False, reason=Reason.LINK_LOST)
BEFORE = Authority(
    epoch=7, incarnation="u", owner="a", owner_instance="a/boot/run", eligible={"a": YES, "b": YES}
)
ALONE = {"mode": Mode.STANDALONE, "eligible": {"a": YES, "b": NO}}


def next_one(**changes: Any) -> Authority:
    return BEFORE.model_copy(update={"epoch": 8, **changes})


@pytest.mark.parametrize(
    "changes",
    [
        {},
        ALONE,
        {"owner": "", "owner_instance": ""},
        {"owner": "b", "owner_instance": "b/boot/run"},
        {"min_protocol": 2},
    ],
)
def test_what_may_follow(changes: dict[str, Any]) -> None:
    assert transition(BEFORE, next_one(**changes)).epoch == 8


@pytest.mark.parametrize(
    ("changes", "why"),
    [
        ({"epoch": 7}, "epoch 7 follows epoch 7"),
        ({"epoch": 9}, "epoch 9 follows epoch 7"),
        ({"incarnation": "v"}, "incarnation v follows u"),
        ({"min_protocol": 0}, "protocol 0 follows 1"),
        ({"owner": "b"}, "is not who 'a/boot/run' is"),
        ({"owner": ""}, "is not who 'a/boot/run' is"),
        ({"owner_instance": ""}, "is not who '' is"),
        ({"mode": Mode.STANDALONE}, "a may write alone, and b is eligible"),
    ],
)
def test_what_may_not(changes: dict[str, Any], why: str) -> None:
    with pytest.raises(Unlawful, match=why):
        transition(BEFORE, next_one(**changes))


def test_nothing_is_gone_on_with_that_was_wrong_before() -> None:
    wrong = BEFORE.model_copy(update={"mode": Mode.STANDALONE})
    with pytest.raises(Unlawful, match="a may write alone"):
        transition(wrong, next_one(**ALONE))


def test_but_a_person_may_mend_it() -> None:
    wrong = BEFORE.model_copy(update={"mode": Mode.STANDALONE})
    assert transition(wrong, next_one(**ALONE), mends=True).epoch == 8
    with pytest.raises(Unlawful, match="epoch 9"):
        transition(wrong, next_one(**{**ALONE, "epoch": 9}), mends=True)


def test_an_epoch_begins_with_one() -> None:
    assert violation(BEFORE.model_copy(update={"epoch": 0})) == "its epoch is 0"
