"""The invariant of the authority, as it is asserted at each transition."""

from typing import Any

import pytest

from tandem_api.authority import (
    PROTOCOL,
    Authority,
    Changes,
    Eligibility,
    Migration,
    Mode,
    Unlawful,
    first_authority,
    next_epoch,
    transition,
    violation,
)
from tandem_api.reasons import Reason

YES = Eligibility(eligible=True, reason=Reason.IN_SYNC)
NO = Eligibility(eligible=False, reason=Reason.LINK_LOST)
BEFORE = Authority(
    epoch=7, incarnation="u", owner="a", owner_instance="a/boot/run", eligible={"a": YES, "b": YES}
)
SENT = Migration(id="m1", source="a", target="b")
MIGRATING = {"mode": Mode.MIGRATING, "migration": SENT}
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
        MIGRATING,
        {"handed_over": "m1"},
    ],
)
def test_what_may_follow(changes: dict[str, Any]) -> None:
    assert transition(BEFORE, next_one(**changes)).epoch == 8


@pytest.mark.parametrize(
    ("changes", "why"),
    [
        ({"epoch": 7}, "epoch: goes from 7 to 7"),
        ({"epoch": 9}, "epoch: goes from 7 to 9"),
        ({"incarnation": "v"}, "incarnation: never changes"),
        ({"min_protocol": 0}, "minProtocol: never falls"),
        ({"owner": "b"}, "is not who 'a/boot/run' is"),
        ({"owner": ""}, "is not who 'a/boot/run' is"),
        ({"owner_instance": ""}, "is not who '' is"),
        ({"mode": Mode.STANDALONE}, "a may write alone, and b is eligible"),
        ({"mode": Mode.MIGRATING}, "it migrates from '' to '', and 'a' owns it"),
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
    with pytest.raises(Unlawful, match="epoch: goes from 7 to 9"):
        transition(wrong, next_one(**{**ALONE, "epoch": 9}), mends=True)


def test_an_epoch_begins_with_one() -> None:
    assert violation(BEFORE.model_copy(update={"epoch": 0})) == "its epoch is 0"


def test_the_next_epoch_says_who_asked_for_it_and_why() -> None:
    after = next_epoch(BEFORE, "r", Reason.RELEASED, owner="", owner_instance="")
    assert (after.epoch, after.request_id, after.reason) == (8, "r", Reason.RELEASED)
    assert (after.owner, after.min_protocol, after.incarnation) == ("", PROTOCOL, "u")
    newer = BEFORE.model_copy(update={"min_protocol": PROTOCOL + 1})
    assert next_epoch(newer, "r", Reason.RELEASED).min_protocol == PROTOCOL + 1


@pytest.mark.parametrize("name", ["ownr", "epoch", "incarnation", "min_protocol", "reason"])
def test_a_field_that_is_none_or_none_of_the_callers_is_refused(name: str) -> None:
    with pytest.raises(TypeError, match=name):
        next_epoch(BEFORE, "r", Reason.RELEASED, **{name: "c"})  # type: ignore[arg-type]


def test_a_misspelt_field_is_a_type_error() -> None:
    """mypy says so of the next line, and would say if it no longer did."""
    with pytest.raises(TypeError, match="no transition changes ownr"):
        next_epoch(BEFORE, "r", Reason.RELEASED, ownr="c")  # type: ignore[call-arg]


def test_what_a_transition_may_change_is_there() -> None:
    assert set(Changes.__annotations__) < set(Authority.model_fields)


def test_at_first_nobody_owns_it_and_nobody_may() -> None:
    first = first_authority("u", ("a", "b"))
    assert (first.epoch, first.owner, first.incarnation) == (1, "", "u")
    assert not first.initialised
    assert not violation(first)


@pytest.mark.parametrize(
    "changes",
    [
        {"migration": None},
        {"migration": SENT.model_copy(update={"source": ""})},
        {"migration": SENT.model_copy(update={"target": ""})},
        {"migration": SENT.model_copy(update={"target": "a"})},
        {"migration": SENT.model_copy(update={"source": "b", "target": "a"})},
        {"owner": "", "owner_instance": ""},
        {"owner": "b", "owner_instance": "b/boot/run"},
    ],
    ids=["none", "from-nobody", "to-nobody", "to-itself", "peers", "nobodys", "owner-is-target"],
)
def test_a_guest_migrates_from_its_owner_to_another_or_not_at_all(changes: dict[str, Any]) -> None:
    assert not violation(next_one(**MIGRATING))
    said = violation(next_one(**{**MIGRATING, **changes}))
    assert said.startswith("it migrates from ")


@pytest.mark.parametrize("mode", list(Mode))
def test_both_count_while_mirrored_and_while_the_guest_migrates(mode: Mode) -> None:
    counts = mode in (Mode.MIRRORED, Mode.MIGRATING)
    assert next_one(mode=mode).both_count is counts


@pytest.mark.parametrize(
    ("changes", "known"),
    [
        (MIGRATING, True),
        ({**MIGRATING, "migration": SENT.model_copy(update={"id": "m0"})}, False),
        ({**MIGRATING, "migration": None}, False),
        ({"migration": SENT}, False),
        ({"handed_over": "m1"}, False),
    ],
    ids=["this", "another", "none", "not-migrating", "handed-over"],
)
def test_one_migration_is_under_way_by_its_name(changes: dict[str, Any], known: bool) -> None:
    assert next_one(**changes).migrates_as("m1") is known


def test_a_handover_is_forgotten_by_whatever_comes_next_unless_that_says_it() -> None:
    handed = BEFORE.model_copy(update={"handed_over": "m1"})
    assert next_epoch(handed, "r", Reason.CLAIMED).handed_over == ""
    assert next_epoch(handed, "r", Reason.ADOPTED, handed_over="m1").handed_over == "m1"
