"""DRBD calls both replicas current, but its bitmap has bits: docs/drbd.md, "Reconnecting"."""

from dataclasses import replace
from typing import Any

import pytest

from tandem_actuator.core import authority as rules
from tandem_actuator.core import effects as fx
from tandem_actuator.core.drbd import DrbdState
from tandem_actuator.core.host.permission import may_lose_link
from tandem_actuator.core.mirror import procedures
from tandem_actuator.core.mirror.rules import COPY_FORGOTTEN_AFTER_S
from tandem_actuator.core.model import FenceProgress
from tandem_actuator.core.order import Decision, Start, Task, decide
from tandem_api.authority import Authority, Mode
from tandem_api.reasons import Reason
from tandem_api.timing import DEFAULT
from tandem_api.vocabulary import Connection, DiskState, DomainState, Role
from unit.builders import A, B, authority, drbd, facts, lost, mirror, record, standalone, view

from .authority.verdicts import EARLIER_RUN
from .outside import Outside, play

NOW = 1000.0


def test_a_marker_stays() -> None:
    known = view(authority(B), drbd())
    procedure = procedures.clear_marker(known)
    assert isinstance(next(procedure), fx.QueryDrbd)
    with pytest.raises(StopIteration) as end:
        procedure.send(fx.DrbdRead(drbd(out_of_sync_bytes=4096), 1000.0, None))
    assert end.value.value.reason is Reason.NOT_YET_IN_SYNC
    assert "4096 bytes differ" in end.value.value.message
    assert not end.value.value.progress


def test_the_owner_does_not_say_mirrored() -> None:
    state = drbd(Role.PRIMARY, out_of_sync_bytes=4096)
    verdict = rules.restore(mirror(standalone()), facts(state), "r")
    assert isinstance(verdict, rules.Refusal)
    assert "4096 bytes differ" in verdict.message


LEFT = drbd(Role.PRIMARY, out_of_sync_bytes=4096)
SEEN_S = 1000.0 - COPY_FORGOTTEN_AFTER_S


def decided(**changes: Any) -> Decision:
    """The owner, alone as far as the authority goes, has bits left since SEEN_S."""
    usual: dict[str, Any] = {"in_sync_since_s": SEEN_S, "domain": DomainState.RUNNING}
    held_by, state = changes.pop("held_by", standalone()), changes.pop("state", LEFT)
    return decide(view(held_by, state, **{**usual, **changes}), 1000.0, "")


def test_the_owner_connects_anew() -> None:
    decision = decided()
    assert isinstance(decision, Start)
    assert (decision.task, decision.reason) == (Task.COPY_AGAIN, Reason.NOT_YET_IN_SYNC)
    assert "4096 bytes differ: connecting them anew" in decision.message


def test_before_anything_that_may_fail_while_the_api_is_away() -> None:
    """A restarted actuator, which has to say first that it is the owner still."""
    earlier = authority(A, owner_instance=EARLIER_RUN)
    decision = decided(held_by=earlier, drbd_major=9)
    assert isinstance(decision, Start)
    assert decision.task is Task.NOTE_COPY


def test_that_nine_has_forgotten_is_noted_too() -> None:
    """What is found out later would be taken for all that the peer lacks."""
    forgotten = drbd(Role.PRIMARY)
    decision = decided(held_by=authority(A), state=forgotten, drbd_major=9, record=OWING)
    assert isinstance(decision, Start)
    assert decision.task is Task.NOTE_COPY
    outside = Outside(mirror(standalone()), forgotten)
    play(decision.make(), outside)
    assert outside.effects(fx.UpdateRecord) == [fx.UpdateRecord(bits_gone=True)]
    known = view(standalone(), LEFT, drbd_major=9, record=replace(OWING, bits_gone=True))
    outside = Outside(known.mirror, LEFT)
    play(procedures.copy_again(known), outside)
    assert outside.effects(fx.CopyToPeer) == [fx.CopyToPeer(whole=True)]
    assert outside.effects(fx.UpdateRecord)[-1] == fx.UpdateRecord(owes_copy=False, bits_gone=False)


@pytest.mark.parametrize(
    "changes",
    [
        {"in_sync_since_s": SEEN_S + 0.1},
        {"in_sync_since_s": None},
        {"held_by": authority()},
        {"held_by": standalone(B)},
        {"state": drbd(Role.PRIMARY)},
        {"state": replace(LEFT, role=Role.SECONDARY)},
        {"state": replace(LEFT, connection=Connection.CONNECTING)},
        {"state": replace(LEFT, peer_role=Role.PRIMARY)},
        {"state": drbd(Role.PRIMARY, peer_disk=DiskState.INCONSISTENT, out_of_sync_bytes=4096)},
    ],
    ids=[
        "soon",
        "never",
        "mirrored",
        "no-owner",
        "no-bits",
        "secondary",
        "alone",
        "beside-a-primary",
        "copying",
    ],
)
def test_nothing_else_is_connected_anew(changes: dict[str, Any]) -> None:
    decision = decided(**changes)
    assert not (isinstance(decision, Start) and decision.task is Task.COPY_AGAIN)


def test_before_that_it_wins_leave_to_write_alone() -> None:
    known = view(standalone(), LEFT)
    outside = Outside(known.mirror, LEFT)
    finished = play(procedures.copy_again(known), outside)
    assert finished.reason is Reason.CONNECTING
    assert outside.names[-4:] == ["Swap", "UpdateRecord", "Disconnect", "Connect"]
    assert outside.effects(fx.Disconnect) == [fx.Disconnect(needs_heartbeat=True)]
    won = outside.at.status.authority
    assert won is not None
    assert (won.epoch, won.owner, won.mode) == (6, A, Mode.STANDALONE)


def test_on_nine_it_is_told_to_copy_and_does_not_part() -> None:
    """Parted without a write, 9 begins no generation, clears the bits and copies nothing."""
    known = view(standalone(), LEFT, drbd_major=9)
    outside = Outside(known.mirror, LEFT)
    finished = play(procedures.copy_again(known), outside)
    assert finished.reason is Reason.NOT_YET_IN_SYNC
    assert outside.names[-4:] == ["UpdateRecord", "QueryDrbd", "CopyToPeer", "UpdateRecord"]
    assert outside.effects(fx.CopyToPeer) == [fx.CopyToPeer(whole=False)]
    assert not {"Disconnect", "Connect"} & set(outside.names)
    assert "telling it to copy" in decided(drbd_major=9, record=OWING).message


OWING = record(owned_epoch=5, owes_copy=True)


def test_on_nine_it_is_noted_first_and_at_once() -> None:
    """However long they have been in sync: as the two meet again, 9 forgets it."""
    for held_by in (authority(A), standalone()):
        decision = decided(held_by=held_by, drbd_major=9, in_sync_since_s=999.9)
        assert isinstance(decision, Start)
        assert decision.task is Task.NOTE_COPY
    outside = Outside(mirror(standalone()), LEFT)
    play(procedures.note_copy(gone=False), outside)
    assert outside.effects(fx.UpdateRecord) == [fx.UpdateRecord(owes_copy=True)]


@pytest.mark.parametrize(
    "changes",
    [
        {"drbd_major": 8},
        {"held_by": standalone(B)},
        {"state": drbd(Role.PRIMARY)},
        {"state": replace(LEFT, role=Role.SECONDARY)},
        {"record": OWING},
        {"unrecorded": "the disk is full"},
    ],
    ids=["eight", "not-the-owner", "no-bits", "secondary", "noted", "keeps-no-record"],
)
def test_nothing_else_is_noted(changes: dict[str, Any]) -> None:
    decision = decided(**{"drbd_major": 9, **changes})
    assert not (isinstance(decision, Start) and decision.task is Task.NOTE_COPY)


def test_what_is_noted_counts_also_without_bits() -> None:
    """Nobody says Mirrored, who said it says Standalone, and all is copied."""
    clean = drbd(Role.PRIMARY)
    known = facts(clean, record=OWING)
    verdict = rules.restore(mirror(standalone()), known, "r")
    assert isinstance(verdict, rules.Refusal)
    assert "has forgotten what they differ in" in verdict.message
    assert isinstance(rules.degrade(mirror(authority(A)), known, "r"), rules.Proposal)

    decision = decided(state=clean, drbd_major=9, record=replace(OWING, bits_gone=True))
    assert isinstance(decision, Start)
    assert decision.task is Task.COPY_AGAIN
    view_of = view(standalone(), clean, drbd_major=9, record=OWING)
    outside = Outside(view_of.mirror, clean, record=OWING)
    assert "whole disks" in play(procedures.copy_again(view_of), outside).message
    assert outside.effects(fx.CopyToPeer) == [fx.CopyToPeer(whole=True)]
    assert outside.effects(fx.UpdateRecord)[-1] == fx.UpdateRecord(owes_copy=False, bits_gone=False)


def test_what_could_not_be_copied_stays_noted() -> None:
    known = view(standalone(), LEFT, drbd_major=9, record=OWING)
    script: dict[type, list[fx.Outcome]] = {fx.CopyToPeer: [fx.Failed("the link is lost")]}
    outside = Outside(known.mirror, LEFT, record=OWING, script=script)
    assert play(procedures.copy_again(known), outside).failed
    assert fx.UpdateRecord(owes_copy=False) not in outside.done


@pytest.mark.parametrize(("owner", "forgotten"), [(A, None), ("", None), (B, False)])
def test_who_is_not_the_owner_any_more_owes_nothing(owner: str, forgotten: bool | None) -> None:
    known = view(authority(owner), drbd())
    outside = Outside(known.mirror, drbd())
    play(procedures.note_epoch(known), outside)
    (noted,) = outside.effects(fx.UpdateRecord)
    assert isinstance(noted, fx.UpdateRecord)
    assert noted.owes_copy is forgotten


@pytest.mark.parametrize("drbd_major", [8, 9])
@pytest.mark.parametrize(
    ("held_by", "state"),
    [
        (authority(), LEFT),
        (standalone(B), LEFT),
        (standalone(), drbd(Role.PRIMARY)),
        (standalone(), lost()),
    ],
    ids=["mirrored", "taken-over", "copied", "link-lost"],
)
def test_what_has_changed_meanwhile_stops_it(
    held_by: Authority, state: DrbdState, drbd_major: int
) -> None:
    """Between the decision and what is read right before the swap."""
    known = view(standalone(), LEFT, drbd_major=drbd_major)
    outside = Outside(mirror(held_by), state)
    finished = play(procedures.copy_again(known), outside)
    assert not finished.progress
    assert not {"Swap", "Disconnect", "CopyToPeer"} & set(outside.names)


@pytest.mark.parametrize(
    ("sent_at_s", "changes", "may"),
    [
        (999.5, {}, True),
        (None, {}, False),
        (1000.0 - DEFAULT.self_fence_seconds + 0.5, {}, False),
        (999.5, {"lapsed": True}, False),
        (999.5, {"fence": FenceProgress(999.0)}, False),
    ],
    ids=["fresh", "never", "nearly-over", "not-affirmed-since-a-lapse", "being-fenced"],
)
def test_a_guest_that_lives_on_the_link_keeps_it(
    sent_at_s: float | None, changes: dict[str, Any], *, may: bool
) -> None:
    """LEFT is a look at a connected, Secondary peer: on the link it may run throughout."""
    known = view(standalone(), LEFT, domain=DomainState.RUNNING, **changes)
    assert may_lose_link(known, sent_at_s, 1000.0) is may


def test_an_owner_says_that_the_other_side_differs_before_anything_depends_on_it() -> None:
    """In Mirrored, as after a verification: then it is copied again, which needs Standalone."""
    differs = drbd(Role.PRIMARY, out_of_sync_bytes=4096)
    known = view(authority(), differs, domain=DomainState.RUNNING, in_sync_since_s=NOW - 60)
    decision = decide(known, NOW, "now")
    assert isinstance(decision, Start)
    assert decision.task is Task.DEGRADE
    early = replace(known, in_sync_since_s=NOW - COPY_FORGOTTEN_AFTER_S + 0.1)
    assert not isinstance(decide(early, NOW, "now"), Start)
    same = replace(known, drbd=drbd(Role.PRIMARY))
    assert not isinstance(decide(same, NOW, "now"), Start)
