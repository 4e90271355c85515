"""A resync that stands still: told after a minute, begun again where that is safe."""

from dataclasses import replace
from typing import Any

import pytest

from tandem_actuator.core import effects as fx
from tandem_actuator.core.drbd import DrbdState, DrbdUnknown, DrbdView, VolumeState
from tandem_actuator.core.mirror import procedures
from tandem_actuator.core.mirror.resync import (
    STALLED_AFTER_S,
    followed,
    is_to_be_renewed,
    stalled_since,
)
from tandem_actuator.core.model import Resync, View
from tandem_actuator.core.order import Start, Task, decide
from tandem_actuator.core.report import replica_report
from tandem_api.kinds.mirror import Marker
from tandem_api.reasons import Reason
from tandem_api.vocabulary import Connection, DiskState, Role
from unit.builders import A, B, authority, drbd, lost, mirror, standalone, view

from .outside import Outside, play

NOW_S = 1000.0
MARKER = Marker(reason=Reason.ATTACHED_NOT_UP_TO_DATE)


def source(role: Role = Role.PRIMARY, left: int = 4096) -> DrbdState:
    state = drbd(role, peer_disk=DiskState.INCONSISTENT, out_of_sync_bytes=left, resyncing=True)
    return replace(state, peer_role=Role.SECONDARY)


def target(peer: Role = Role.PRIMARY) -> DrbdState:
    state = drbd(Role.SECONDARY, disk=DiskState.INCONSISTENT, out_of_sync_bytes=0, resyncing=True)
    return replace(state, peer_role=peer)


def stands(for_s: float, renewals: int = 0) -> Resync:
    return Resync(0, NOW_S - for_s, "then", renewals)


class TestFollowed:
    def look(self, before: Resync | None, state: DrbdView, now_s: float = NOW_S) -> Resync | None:
        return followed(before, state, now_s, f"at {now_s}")

    def test_one_that_gets_on(self) -> None:
        first = self.look(None, source(left=8192), 10.0)
        assert self.look(first, source(left=4096), 12.0) == Resync(4096, 12.0, "at 12.0")

    def test_one_that_does_not(self) -> None:
        first = self.look(None, source(), 10.0)
        assert self.look(first, source(), 12.0) == first
        assert self.look(first, source(left=8192), 12.0) == first, "more to do is no progress"

    def test_an_interrupted_one_counts_anew_and_keeps_how_often_it_was_renewed(self) -> None:
        broken = self.look(Resync(0, 1.0, "then", 2), lost(), 10.0)
        assert broken == Resync(None, 10.0, "at 10.0", 2)
        again = self.look(broken, source(left=1 << 20), 12.0)
        assert again == Resync(1 << 20, 12.0, "at 12.0", 2)

    def test_a_look_that_fails_says_nothing(self) -> None:
        assert self.look(stands(5.0), DrbdUnknown("?")) == stands(5.0)

    def test_in_sync_ends_it(self) -> None:
        assert self.look(stands(5.0, 3), drbd(Role.PRIMARY)) is None

    def test_a_verify_is_no_resync(self) -> None:
        verify = drbd(Role.PRIMARY, out_of_sync_bytes=4096, resyncing=True)
        assert self.look(None, verify) is None

    def test_every_volume_counts(self) -> None:
        volumes = {
            "root": VolumeState(DiskState.UP_TO_DATE, DiskState.INCONSISTENT, 4096, resyncing=True),
            "data": VolumeState(DiskState.UP_TO_DATE, DiskState.INCONSISTENT, 8192, resyncing=True),
        }
        known = self.look(None, replace(source(), volumes=volumes))
        assert known is not None
        assert known.left_bytes == 12288


def seen(state: DrbdState, resync: Resync | None, **changes: Any) -> View:
    return replace(view(standalone(), state, **changes), resync=resync)


@pytest.mark.parametrize(
    ("state", "for_s", "renewals", "marker", "renewed"),
    [
        (target(), STALLED_AFTER_S, 0, MARKER, True),
        (target(), STALLED_AFTER_S - 1, 0, MARKER, False),
        (target(), STALLED_AFTER_S, 0, None, False),
        (target(), STALLED_AFTER_S, 1, MARKER, False),
        (target(), 2 * STALLED_AFTER_S, 1, MARKER, True),
        (target(), 32 * STALLED_AFTER_S, 99, MARKER, True),
        (target(Role.SECONDARY), STALLED_AFTER_S, 0, None, True),
        (source(), STALLED_AFTER_S, 0, None, False),
        (source(), 2 * STALLED_AFTER_S, 0, None, True),
        (source(Role.SECONDARY), STALLED_AFTER_S, 0, None, True),
        (replace(source(Role.SECONDARY), peer_role=Role.PRIMARY), 999.0, 0, None, False),
        (replace(target(), role=Role.PRIMARY), 999.0, 0, MARKER, False),
        (replace(source(), connection=Connection.CONNECTING), 999.0, 0, None, False),
        (drbd(Role.PRIMARY), 999.0, 0, None, False),
    ],
)
def test_who_connects_anew_and_when(
    state: DrbdState, for_s: float, renewals: int, marker: Marker | None, *, renewed: bool
) -> None:
    known = seen(state, stands(for_s, renewals))
    known = replace(known, record=replace(known.record, marker=marker))
    assert is_to_be_renewed(known, NOW_S) is renewed


def test_nothing_is_known_of_it_yet() -> None:
    assert not is_to_be_renewed(seen(source(), None), NOW_S)


def test_it_is_told_after_a_minute() -> None:
    assert stalled_since(stands(STALLED_AFTER_S), NOW_S) == "then"
    assert stalled_since(stands(STALLED_AFTER_S - 1), NOW_S) is None
    assert stalled_since(Resync(None, 0.0, "then"), NOW_S) is None
    known = seen(source(), stands(STALLED_AFTER_S))
    assert replica_report(known, Reason.STEADY, "", None, NOW_S).resync_stalled_since == "then"


def decided(state: DrbdState, held_by: Any) -> Task | None:
    known = replace(view(held_by, state), resync=stands(999.0))
    decision = decide(known, NOW_S, "now")
    return decision.task if isinstance(decision, Start) else None


def test_a_primary_asks_the_authority_whether_it_may() -> None:
    assert decided(source(), standalone()) is Task.RESYNC_AGAIN
    assert decided(source(), authority()) is not Task.RESYNC_AGAIN
    assert decided(source(), standalone(B)) is not Task.RESYNC_AGAIN


def test_a_primary_wins_leave_to_write_alone_before_it_parts() -> None:
    known = view(standalone(), source())
    outside = Outside(known.mirror, source())
    finished = procedures_played(known, outside)
    assert finished.reason is Reason.CONNECTING
    assert outside.names[-4:] == ["Swap", "UpdateRecord", "Disconnect", "Connect"]
    assert outside.effects(fx.Disconnect) == [fx.Disconnect(needs_heartbeat=True)]
    assert outside.at.status.authority is not None
    assert outside.at.status.authority.owner == A


def test_a_secondary_only_parts() -> None:
    known = view(standalone(B), target())
    known = replace(known, record=replace(known.record, marker=MARKER))
    outside = Outside(known.mirror, target())
    assert procedures_played(known, outside).reason is Reason.CONNECTING
    assert outside.names == ["QueryDrbd", "Disconnect", "Connect"]


@pytest.mark.parametrize(
    ("held_by", "state"),
    [(authority(), source()), (standalone(B), source()), (standalone(), drbd(Role.PRIMARY))],
    ids=["mirrored", "taken-over", "ended"],
)
def test_what_has_changed_meanwhile_stops_it(held_by: Any, state: DrbdState) -> None:
    outside = Outside(mirror(held_by), state)
    assert not procedures_played(view(standalone(), source()), outside).progress
    assert not {"Swap", "Disconnect"} & set(outside.names)


def procedures_played(known: View, outside: Outside) -> fx.Finished:
    return play(procedures.resync_again(known), outside)
