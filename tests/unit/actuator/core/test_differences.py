"""A standby marks itself for what a verification has found, and an owner answers with a copy."""

from dataclasses import replace
from typing import Any

import pytest

from tandem_actuator.core import effects as fx
from tandem_actuator.core.mirror import procedures
from tandem_actuator.core.mirror.record import updated
from tandem_actuator.core.model import Record, View
from tandem_actuator.core.order import Start, Task, decide
from tandem_actuator.core.report import least_replica_report, replica_report
from tandem_api.kinds.mirror import Marker, ReplicaReport
from tandem_api.reasons import Reason
from tandem_api.vocabulary import Connection, DiskState, DomainState, Role
from unit.builders import A, B, authority, drbd, mirror, record, report, standalone, view

from .outside import Outside, play

NOW_S = 1000.0
EARLIER, LATER = "2026-01-01T00:00:05.000+00:00", "2026-01-01T00:01:00.000+00:00"
FOUND = Marker(reason=Reason.DIFFERENCE_FOUND, since=EARLIER)
OTHER = Marker(reason=Reason.ATTACHED_NOT_UP_TO_DATE, since=EARLIER)
DIFFERS, SAME = drbd(out_of_sync_bytes=4096), drbd()
MAJORS = pytest.mark.parametrize("major", [8, 9])


def standby(state: Any = DIFFERS, *, copied_for: str = "", **changes: Any) -> View:
    """``A`` beside the owner ``B``, which says for which marker it has told DRBD to copy."""
    said = report().model_copy(update={"copied_for": copied_for})
    held_by = changes.pop("held_by", authority(B))
    there = mirror(held_by, replicas={A: report(), B: said})
    return view(held_by, state, **{"the_mirror": there, "in_sync_since_s": NOW_S - 60, **changes})


def task(known: View, wall: str = LATER) -> Task | None:
    decision = decide(known, NOW_S, wall)
    return decision.task if isinstance(decision, Start) else None


class TestStandby:
    @MAJORS
    def test_it_marks_itself_at_once(self, major: int) -> None:
        known = standby(drbd_major=major, in_sync_since_s=NOW_S)
        decision = decide(known, NOW_S, LATER)
        assert isinstance(decision, Start)
        assert (decision.task, decision.reason) == (Task.SET_MARKER, Reason.DIFFERENCE_FOUND)
        assert "4096 bytes differ" in decision.message
        outside = Outside(known.mirror, DIFFERS)
        play(decision.make(), outside)
        marker = Marker(reason=Reason.DIFFERENCE_FOUND, since=LATER)
        assert outside.effects(fx.UpdateRecord) == [fx.UpdateRecord(marker=marker)]

    @MAJORS
    @pytest.mark.parametrize(
        "changes",
        [
            {"state": SAME},
            {"held_by": authority("")},
            {"held_by": authority(A), "record": record(owned_epoch=5)},
            {"state": replace(DIFFERS, role=Role.PRIMARY)},
            {"state": replace(DIFFERS, connection=Connection.CONNECTING)},
            {"state": drbd(peer_disk=DiskState.INCONSISTENT, out_of_sync_bytes=4096)},
            {"record": record(marker=OTHER)},
            {"record": record(marker=FOUND)},
        ],
        ids=["same", "no-owner", "owner", "primary", "alone", "copying", "marked", "so-marked"],
    )
    def test_nothing_else_is_marked(self, changes: dict[str, Any], major: int) -> None:
        known = standby(**{"drbd_major": major, **changes})
        assert task(known) is not Task.SET_MARKER

    def test_what_is_found_after_the_copy_is_marked_anew(self) -> None:
        known = standby(copied_for=EARLIER, drbd_major=9, record=record(marker=FOUND))
        decision = decide(known, NOW_S, LATER)
        assert isinstance(decision, Start)
        assert decision.task is Task.SET_MARKER

    @pytest.mark.parametrize(
        ("major", "copied_for", "cleared"),
        [(9, "", False), (9, LATER, False), (9, EARLIER, True), (8, "", True)],
        ids=["unanswered", "another-answered", "answered", "eight"],
    )
    def test_on_nine_it_clears_that_only_once_it_was_answered(
        self, major: int, copied_for: str, *, cleared: bool
    ) -> None:
        """There the bits may be gone, and nothing copied."""
        marked = record(marker=FOUND)
        known = standby(SAME, copied_for=copied_for, drbd_major=major, record=marked)
        assert (task(known) is Task.CLEAR_MARKER) is cleared
        other = replace(known, record=record(marker=OTHER))
        assert task(other) is Task.CLEAR_MARKER

    def test_a_person_who_gives_it_the_mirror_ends_that(self) -> None:
        known = standby(SAME, held_by=authority(A), drbd_major=9)
        known = replace(known, record=record(owned_epoch=5, marker=FOUND))
        assert task(known) is Task.CLEAR_MARKER


def owner(major: int = 9, peers: Marker | None = FOUND, **changes: Any) -> View:
    """``A``, which has seen no bits, beside a standby that says so."""
    held_by = changes.pop("held_by", authority())
    there = mirror(held_by, replicas={A: report(), B: report(marker=peers)})
    state = changes.pop("state", drbd(Role.PRIMARY))
    usual = {"in_sync_since_s": NOW_S - 60, "domain": DomainState.RUNNING, "the_mirror": there}
    return view(held_by, state, **{**usual, "drbd_major": major, **changes})


class TestOwner:
    def test_it_notes_what_only_the_standby_has_seen(self) -> None:
        decision = decide(owner(), NOW_S, LATER)
        assert isinstance(decision, Start)
        assert decision.task is Task.NOTE_COPY
        outside = Outside(owner().mirror, drbd(Role.PRIMARY))
        play(decision.make(), outside)
        assert outside.effects(fx.UpdateRecord) == [fx.UpdateRecord(owes_copy=True)]

    @pytest.mark.parametrize(
        "known",
        [
            owner(8),
            owner(peers=None),
            owner(peers=OTHER),
            owner(record=record(owned_epoch=5, copied_for=EARLIER)),
            owner(state=drbd(Role.PRIMARY, peer_disk=DiskState.INCONSISTENT)),
        ],
        ids=["eight", "not-marked", "marked-for-another-reason", "answered", "copying"],
    )
    def test_nothing_else(self, known: View) -> None:
        assert task(known) is not Task.NOTE_COPY

    @pytest.mark.parametrize(("peers", "said"), [(FOUND, EARLIER), (OTHER, None), (None, None)])
    def test_it_says_for_which_marker_it_has_told_drbd_to_copy(
        self, peers: Marker | None, said: str | None
    ) -> None:
        """As the API tells it right before: a report that came since is not answered by it."""
        known = owner(peers=peers, held_by=standalone(), record=record(owned_epoch=5))
        known = replace(known, record=replace(known.record, owes_copy=True, bits_gone=True))
        outside = Outside(known.mirror, drbd(Role.PRIMARY), record=known.record)
        play(procedures.copy_again(known), outside)
        assert outside.effects(fx.CopyToPeer) == [fx.CopyToPeer(whole=True)]
        paid = fx.UpdateRecord(owes_copy=False, bits_gone=False, copied_for=said)
        assert outside.effects(fx.UpdateRecord)[-1] == paid
        assert outside.names[-2:] == ["CopyToPeer", "UpdateRecord"]

    def test_both_say_so_in_their_reports(self) -> None:
        known = owner(record=record(owned_epoch=5, copied_for=EARLIER))
        told: ReplicaReport = replica_report(known, Reason.RUNNING, "", None, NOW_S)
        assert told.copied_for == EARLIER
        assert least_replica_report(known.instance, known.record, "").copied_for == EARLIER


class TestRecord:
    MARKED: Record = record(marker=FOUND)

    @pytest.mark.parametrize(
        ("reason", "kept"),
        [
            (Reason.LOCAL_DISK_FAILED, True),
            (Reason.ATTACHED_NOT_UP_TO_DATE, True),
            (Reason.REJOINING, True),
            (Reason.SPLIT_BRAIN, False),
            (Reason.DIFFERENCE_FOUND, False),
        ],
    )
    def test_it_outlasts_what_a_resync_ends(self, reason: Reason, *, kept: bool) -> None:
        new = Marker(reason=reason, since=LATER)
        assert updated(self.MARKED, fx.UpdateRecord(marker=new)).marker == (FOUND if kept else new)

    def test_and_is_cleared(self) -> None:
        assert updated(self.MARKED, fx.UpdateRecord(marker=None)).marker is None

    def test_what_was_answered_is_kept(self) -> None:
        answered = updated(record(), fx.UpdateRecord(copied_for=EARLIER))
        assert updated(answered, fx.UpdateRecord(epoch=9)).copied_for == EARLIER
