"""A host that the API answers too late for its heartbeats to count: when that is known and said."""

import pytest

from tandem_actuator.core import effects as fx
from tandem_actuator.core.mirror import procedures
from tandem_actuator.core.report import guest_report
from tandem_actuator.run.node import DEAF_AFTER_S, NodeFacts
from tandem_actuator.run.workload import Unit
from tandem_api.authority import Instance
from tandem_api.reasons import Reason
from tandem_api.timing import DEFAULT
from unit.builders import A, B, assignment, authority, drbd, record, view

from .core.outside import Outside, play

LAPSED_S = 100.0 + DEFAULT.self_fence_seconds + 0.1


def lapsed() -> NodeFacts:
    node = NodeFacts(A, Instance(node=A, boot_id="b", run_id="r"), DEFAULT)
    node.renewed(100.0, 100.1)
    return node


def test_it_is_known_once_other_things_were_answered_for_a_while() -> None:
    node = lapsed()
    node.answered(LAPSED_S)
    assert not node.deaf, "after an outage the next heartbeat is confirmed, too"
    node.answered(LAPSED_S + DEAF_AFTER_S)
    assert node.deaf


def test_not_while_a_heartbeat_counts() -> None:
    node = lapsed()
    for at_s in (100.5, LAPSED_S - 0.2):
        node.answered(at_s)
    node.answered(LAPSED_S + DEAF_AFTER_S)
    assert not node.deaf


def test_nor_before_the_api_answered_anything() -> None:
    node = lapsed()
    node.answered(LAPSED_S + 100 * DEAF_AFTER_S)
    assert not node.deaf


def test_an_answer_before_an_outage_and_one_after_it_do_not_count_together() -> None:
    node = lapsed()
    node.answered(LAPSED_S)
    node.answered(LAPSED_S + 100.0)
    assert not node.deaf


def test_one_that_never_had_a_heartbeat_confirmed_is_deaf_too() -> None:
    node = NodeFacts(A, Instance(node=A, boot_id="b", run_id="r"), DEFAULT)
    for at_s in (1.0, 1.0 + DEAF_AFTER_S):
        node.answered(at_s)
    assert node.deaf


@pytest.mark.parametrize(("steady_s", "over"), [(0.0, False), (DEAF_AFTER_S, True)])
def test_it_is_over_once_heartbeats_count_without_a_gap(steady_s: float, over: bool) -> None:
    """One that counts now and then starts nothing."""
    node = lapsed()
    for at_s in (LAPSED_S, LAPSED_S + DEAF_AFTER_S):
        node.answered(at_s)
    began_s = LAPSED_S + 100.0
    node.renewed(began_s, began_s)
    if steady_s:
        node.renewed(began_s + 2.5, began_s + 2.5)
        node.renewed(began_s + steady_s, began_s + steady_s)
    assert node.deaf is not over


def test_what_cannot_be_started_there_is_said_before_it_is_to_be() -> None:
    """A guest that runs elsewhere is not moved there."""
    unit, node = Unit(mirror=view(authority(), drbd()).mirror, record=record()), lapsed()
    node.deaf = True
    assert unit.view(node).deaf
    elsewhere = view(authority(B), drbd(), assigned=assignment(B), deaf=True)
    told = guest_report(elsewhere, Reason.STEADY, "", {})
    assert told is not None
    assert "answers come too late for a heartbeat" in told.refused_start
    well = guest_report(view(authority(B), drbd(), assigned=assignment(B)), Reason.STEADY, "", {})
    assert well is not None
    assert well.refused_start == ""


def test_the_api_is_asked_whether_it_answers_at_all() -> None:
    known = view(authority(""), drbd())
    heard = play(procedures.listen("no heartbeat"), Outside(known.mirror, known.drbd))
    assert (heard.reason, heard.failed) == (Reason.START_FAILED, True)
    gone: dict[type, list[fx.Outcome]] = {fx.ReadMirror: [fx.Unreachable("no answer")]}
    away = play(procedures.listen("no heartbeat"), Outside(known.mirror, known.drbd, script=gone))
    assert (away.reason, away.message) == (Reason.API_UNREACHABLE, "no answer")
