"""DRBD calls both replicas current, but its bitmap has bits: docs/drbd.md, "Reconnecting"."""

from dataclasses import replace
from typing import Any

import pytest

from sim.builders import A, B, authority, drbd, facts, lost, mirror, standalone, view
from tandem_actuator.core import authority as rules
from tandem_actuator.core import effects as fx
from tandem_actuator.core.host.permission import may_lose_link
from tandem_actuator.core.mirror import procedures
from tandem_actuator.core.model import DrbdState, FenceProgress
from tandem_actuator.core.order import COPY_FORGOTTEN_AFTER_S, Decision, Start, Task, decide
from tandem_api.authority import Authority, Mode
from tandem_api.reasons import Reason
from tandem_api.timing import DEFAULT
from tandem_api.vocabulary import Connection, DiskState, DomainState, Role

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
    assert outside.names[-3:] == ["Swap", "UpdateRecord", "CopyToPeer"]
    assert not {"Disconnect", "Connect"} & set(outside.names)
    assert "telling it to copy" in decided(drbd_major=9).message


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
