"""After a lapse: which swaps make the host's heartbeat count again."""

from dataclasses import replace

import pytest

from tandem_actuator.core.model import Record
from tandem_actuator.run.node import NodeFacts
from tandem_actuator.run.workload import Unit
from tandem_api.authority import Authority, Instance
from tandem_api.kinds.mirror import Mirror
from tandem_api.timing import DEFAULT
from tandem_api.vocabulary import DomainState
from tandem_hostile import A, B, mirror

ME = NodeFacts(A, Instance(node=A, boot_id="boot", run_id="run"), DEFAULT)
LAPSED_AT_S = 50.0


def lapsed_unit() -> Unit:
    parsed = Mirror.parse(mirror("m"))
    unit = Unit(mirror=parsed, record=Record(uid=parsed.metadata.uid))
    unit.observe_domain(DomainState.RUNNING)
    unit.lapse(LAPSED_AT_S)
    return unit


def owned_by(host: str) -> Authority:
    return Authority.model_validate(
        {"epoch": 4, "incarnation": "uid", "owner": host, "mode": "Mirrored", "reason": "Adopted"}
    )


@pytest.mark.parametrize(
    ("confirmed_at_s", "owner", "ends"),
    [
        (LAPSED_AT_S, A, True),
        (LAPSED_AT_S - 0.1, A, False),
        (float("-inf"), A, False),
        (LAPSED_AT_S, B, False),
    ],
)
def test_one_as_the_owner_after_a_heartbeat_that_was_confirmed_since(
    confirmed_at_s: float, owner: str, ends: bool
) -> None:
    unit, node = lapsed_unit(), replace(ME, renewal_confirmed_at_s=confirmed_at_s)
    assert unit.view(node).lapsed
    unit.affirmed = unit.lapses_ended_by(owned_by(owner), node)
    assert unit.view(node).lapsed is not ends


def test_a_lapse_while_the_swap_was_under_way_is_another() -> None:
    unit, node = lapsed_unit(), replace(ME, renewal_confirmed_at_s=LAPSED_AT_S + 1)
    ends = unit.lapses_ended_by(owned_by(A), node)
    unit.lapse(LAPSED_AT_S + 2)
    unit.affirmed = ends
    assert unit.view(node).lapsed
    assert not unit.view(node).heard_since_lapse


@pytest.mark.parametrize(
    ("owner", "confirmed_at_s", "comes"),
    [(A, LAPSED_AT_S, True), (A, LAPSED_AT_S - 0.1, False), (B, LAPSED_AT_S, False)],
)
def test_the_guard_of_a_new_run_waits_only_for_a_swap_that_may_come(
    owner: str, confirmed_at_s: float, comes: bool
) -> None:
    unit, node = lapsed_unit(), replace(ME, renewal_confirmed_at_s=confirmed_at_s)
    status = unit.mirror.status.model_copy(update={"authority": owned_by(owner)})
    unit.mirror = unit.mirror.model_copy(update={"status": status})
    assert unit.is_being_affirmed(node) is comes
    assert unit.awaits_a_heartbeat(node) is (owner == A and not comes)


def test_a_lapse_that_goes_on_wakes_nobody_again() -> None:
    """Each look counts it, so that no swap of before ends it; none follows at once for that."""
    unit = lapsed_unit()
    assert unit.wake.is_set()
    unit.wake.clear()
    before = unit.lapses
    unit.lapse(LAPSED_AT_S + 1)
    assert (unit.lapses, unit.lapsed_at_s) == (before + 1, LAPSED_AT_S + 1)
    assert not unit.wake.is_set()
