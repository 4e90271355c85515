"""Rule by rule: which procedure a view leads to, and the precedence among rules."""

from dataclasses import replace

import pytest

from tandem_actuator.core import effects as fx
from tandem_actuator.core.drbd import DrbdState, DrbdUnknown, NotConfigured, VolumeState
from tandem_actuator.core.model import FenceProgress, View
from tandem_actuator.core.order import Decision, Start, Stay, Task, decide
from tandem_api.authority import Authority, Eligibility
from tandem_api.kinds.guest import FencingProof, ProofKind
from tandem_api.kinds.mirror import Marker
from tandem_api.reasons import Reason
from tandem_api.timing import DEFAULT
from tandem_api.vocabulary import Connection, DiskState, DomainState, Role
from unit.builders import (
    NO,
    YES,
    A,
    B,
    assignment,
    authority,
    drbd,
    frozen,
    lease_lost,
    lost,
    mirror,
    record,
    report,
    standalone,
    view,
)

MARKER = Marker(reason=Reason.ATTACHED_NOT_UP_TO_DATE)
NEW = Eligibility(eligible=False, reason=Reason.NOT_INITIALISED)
NOW = 1000.0
BEFORE = NOW - DEFAULT.link_detection_seconds


def task(decision: Decision) -> Task:
    assert isinstance(decision, Start), decision
    assert decision.message
    return decision.task


def stays(decision: Decision) -> Reason:
    assert isinstance(decision, Stay), decision
    return decision.reason


def at(known: View) -> Decision:
    return decide(known, NOW, "2026-01-01T00:00:00Z")


def running(held_by: Authority | None, state: DrbdState, **changes: object) -> View:
    return view(held_by, state, domain=DomainState.RUNNING, **changes)  # type: ignore[arg-type]


class TestWaiting:
    def test_a_held_mirror_is_left_alone(self) -> None:
        held = view(authority(), NotConfigured(NOW), record=record(max_epoch=9))
        assert stays(at(held)) is Reason.HOLD_EPOCH_REGRESSED

    def test_not_set_up_yet(self) -> None:
        new = view(None, NotConfigured(NOW), record=record(max_epoch=0))
        assert stays(at(new)) is Reason.NOT_INITIALISED

    @pytest.mark.parametrize("known", [{A: "198.51.100.11"}, {B: "198.51.100.12"}, {}])
    def test_hosts_that_are_not_known(self, known: dict[str, str]) -> None:
        new = view(authority(), NotConfigured(NOW), addresses=known)
        assert stays(at(new)) is Reason.NOT_INITIALISED

    def test_drbd_does_not_tell(self) -> None:
        assert stays(at(view(authority(), DrbdUnknown("timeout")))) is Reason.UNKNOWN_STATE

    def test_libvirt_does_not_tell(self) -> None:
        known = view(authority(), drbd(), domain=DomainState.UNKNOWN)
        assert stays(at(known)) is Reason.UNKNOWN_STATE

    def test_all_is_well(self) -> None:
        assert stays(at(running(authority(), drbd(Role.PRIMARY)))) is Reason.RUNNING

    def test_the_other_side_of_all_is_well(self) -> None:
        standby = view(authority(B), drbd(peer_role=Role.PRIMARY), assigned=assignment(B))
        assert stays(at(standby)) is Reason.STEADY


class TestBringUp:
    def test_what_the_kernel_does_not_know(self) -> None:
        assert task(at(view(authority(), NotConfigured(NOW)))) is Task.BRING_UP

    def test_what_a_crash_left_unattached(self) -> None:
        half = drbd(Role.SECONDARY, Connection.STANDALONE, disk=DiskState.DISKLESS)
        assert task(at(view(authority(), half))) is Task.BRING_UP

    def test_a_crash_before_it_connected_is_judged_anew(self) -> None:
        half = drbd(Role.SECONDARY, Connection.STANDALONE, disk=DiskState.CONSISTENT)
        assert task(at(view(authority(), half))) is Task.BRING_UP
        marked = view(authority(), half, record=record(marker=MARKER))
        assert task(at(marked)) is Task.REJOIN

    def test_beside_a_guest_it_is_marked(self) -> None:
        half = drbd(Role.SECONDARY, Connection.STANDALONE, disk=DiskState.CONSISTENT)
        assert task(at(running(authority(), half))) is Task.SET_MARKER

    def test_an_epoch_is_noted_first(self) -> None:
        behind = view(authority(epoch=6), NotConfigured(NOW))
        assert task(at(behind)) is Task.NOTE_EPOCH

    def test_two_blank_replicas_are_declared_equal_by_the_first(self) -> None:
        held_by = authority("", eligible={A: NEW, B: NEW})
        blank = drbd(disk=DiskState.INCONSISTENT, peer_disk=DiskState.INCONSISTENT)
        marked = record(marker=MARKER)
        first = view(held_by, blank, host=A, record=marked)
        second = view(held_by, blank, host=B, record=marked)
        assert task(at(first)) is Task.FIRST_SYNC
        assert stays(at(second)) is Reason.NOT_ELIGIBLE

    def test_what_was_declared_before_a_disk_failed_is_left_alone(self) -> None:
        held_by = authority("", eligible={A: NEW, B: NEW})
        blank = VolumeState(DiskState.INCONSISTENT, DiskState.INCONSISTENT)
        half = replace(drbd(), volumes={**drbd().volumes, "data": blank})
        known = view(held_by, replace(half, role=Role.SECONDARY), record=record(marker=MARKER))
        decision = at(known)
        assert isinstance(decision, Start) and decision.task is Task.FIRST_SYNC
        steps = decision.make()
        assert next(steps) == fx.ReadMirror()
        assert steps.send(fx.MirrorRead(known.mirror, "r1", known.record)) == fx.SkipFirstSync(
            ("data",)
        )

    @pytest.mark.parametrize(
        "state",
        [
            drbd(disk=DiskState.INCONSISTENT, peer_disk=DiskState.UP_TO_DATE),
            drbd(disk=DiskState.UP_TO_DATE, peer_disk=DiskState.INCONSISTENT),
            drbd(
                disk=DiskState.INCONSISTENT,
                peer_disk=DiskState.INCONSISTENT,
                peer_role=Role.PRIMARY,
            ),
            drbd(Role.SECONDARY, Connection.CONNECTING, disk=DiskState.INCONSISTENT),
        ],
    )
    def test_nothing_else_is_declared_equal(self, state: DrbdState) -> None:
        held_by = authority("", eligible={A: NEW, B: NEW})
        decision = at(view(held_by, state, record=record(marker=MARKER)))
        assert not (isinstance(decision, Start) and decision.task is Task.FIRST_SYNC)

    def test_a_mirror_in_use_is_never_declared_equal(self) -> None:
        blank = drbd(disk=DiskState.INCONSISTENT, peer_disk=DiskState.INCONSISTENT)
        decision = at(view(authority(""), blank, record=record(marker=MARKER)))
        assert not (isinstance(decision, Start) and decision.task is Task.FIRST_SYNC)


class TestMarker:
    @pytest.mark.parametrize(
        "disk",
        [
            DiskState.FAILED,
            DiskState.DISKLESS,
            DiskState.DETACHING,
            DiskState.INCONSISTENT,
            DiskState.OUTDATED,
        ],
    )
    def test_a_disk_that_is_not_current_is_marked(self, disk: DiskState) -> None:
        assert task(at(view(authority(B), drbd(disk=disk)))) is Task.SET_MARKER

    def test_an_owners_failed_disk_too(self) -> None:
        known = running(authority(), drbd(Role.PRIMARY, disk=DiskState.DISKLESS))
        assert task(at(known)) is Task.SET_MARKER

    def test_a_lag_that_only_an_event_told_of(self) -> None:
        assert task(at(view(authority(B), drbd(), was_behind=True))) is Task.SET_MARKER

    def test_once(self) -> None:
        marked = view(authority(B), drbd(disk=DiskState.INCONSISTENT), record=record(marker=MARKER))
        assert stays(at(marked)) is not Reason.LOCAL_DISK_FAILED

    def test_cleared_once_in_sync_for_long_enough(self) -> None:
        marked = view(authority(B), drbd(), assigned=assignment(B), record=record(marker=MARKER))
        assert task(at(replace(marked, in_sync_since_s=BEFORE))) is Task.CLEAR_MARKER

    @pytest.mark.parametrize("since_s", [None, BEFORE + 0.01, NOW])
    def test_not_before_both_sides_must_know(self, since_s: float | None) -> None:
        marked = view(authority(B), drbd(), assigned=assignment(B), record=record(marker=MARKER))
        decision = at(replace(marked, in_sync_since_s=since_s))
        assert isinstance(decision, Stay)

    def test_not_while_resyncing(self) -> None:
        marked = view(authority(B), drbd(resyncing=True), record=record(marker=MARKER))
        assert isinstance(at(replace(marked, in_sync_since_s=0.0)), Stay)


class TestAuthorityKeeping:
    def test_a_restarted_actuator_adopts(self) -> None:
        held_by = authority(A, owner_instance="a-1/boot1/run0")
        assert task(at(running(held_by, drbd(Role.PRIMARY)))) is Task.ADOPT

    def test_after_a_lapse_it_says_again_that_it_owns_it(self) -> None:
        """But not before a heartbeat was confirmed since: until then a taker's proof stays good."""
        lapsed = replace(running(authority(), drbd(Role.PRIMARY)), lapsed=True)
        assert stays(at(lapsed)) is Reason.RUNNING
        heard = replace(lapsed, heard_since_lapse=True)
        assert task(at(heard)) is Task.ADOPT
        assert stays(at(replace(heard, lapsed=False))) is Reason.RUNNING

    def test_a_promotion_that_was_overtaken_is_let_go(self) -> None:
        """It was claimed and promoted here; the guest never started, and the peer took over."""
        alone = drbd(Role.PRIMARY, Connection.STANDALONE)
        overtaken = view(standalone(B), alone, assigned=assignment(B), record=record(owned_epoch=4))
        assert task(at(overtaken)) is Task.DEMOTE

    def test_an_owner_whose_peer_lags_says_so(self) -> None:
        alone = running(authority(), drbd(Role.PRIMARY, peer_disk=DiskState.INCONSISTENT))
        assert task(at(alone)) is Task.DEGRADE

    def test_before_a_planned_stop_too(self) -> None:
        alone = running(
            authority(),
            drbd(Role.PRIMARY, peer_disk=DiskState.INCONSISTENT),
            assigned=assignment(""),
        )
        assert task(at(alone)) is Task.DEGRADE

    def test_while_frozen_the_handler_asks(self) -> None:
        waiting = running(authority(), frozen(), handler_running=True)
        assert stays(at(waiting)) is Reason.RUNNING

    def test_back_in_sync_is_back_to_mirrored(self) -> None:
        assert task(at(running(standalone(), drbd(Role.PRIMARY)))) is Task.RESTORE

    def test_but_not_before_the_peer_says_so(self) -> None:
        unsaid = mirror(standalone(), replicas={B: report(marker=MARKER)})
        known = running(standalone(), drbd(Role.PRIMARY), the_mirror=unsaid)
        assert stays(at(known)) is Reason.RUNNING

    def test_without_an_owner_the_first_host_restores(self) -> None:
        unowned = authority("", eligible={A: YES, B: NO})
        nowhere = assignment("")
        assert task(at(view(unowned, drbd(), assigned=nowhere))) is Task.RESTORE
        assert stays(at(view(unowned, drbd(), host=B, assigned=nowhere))) is Reason.STEADY


class TestWithdraw:
    granted = standalone(
        owner_instance="a-1/boot0/run0",
        eligible={A: YES, B: Eligibility(eligible=False, reason=Reason.LINK_LOST)},
    )
    unused = record(marker=MARKER, unparted_boot_id="boot1")

    def at(self, **changes: object) -> Decision:
        known = view(self.granted, lost(DiskState.CONSISTENT), record=self.unused)
        return at(replace(known, **changes))  # type: ignore[arg-type]

    def test_a_grant_that_was_not_used_before_a_reboot_is_given_back(self) -> None:
        assert task(self.at()) is Task.WITHDRAW

    def test_not_before_the_link_had_time_to_come_back(self) -> None:
        assert stays(self.at(link_lost_at_s=NOW - 1.0)) is Reason.MARKED_STALE

    def test_not_if_it_may_have_been_used(self) -> None:
        known = replace(self.unused, unparted_boot_id="")
        assert stays(self.at(record=known)) is Reason.MARKED_STALE


class TestStandAlone:
    alone = drbd(Role.SECONDARY, Connection.STANDALONE)

    def test_it_connects_again(self) -> None:
        assert task(at(view(authority(B), self.alone, assigned=assignment(B)))) is Task.REJOIN

    def test_the_owner_connects_again(self) -> None:
        primary = drbd(Role.PRIMARY, Connection.STANDALONE)
        assert task(at(running(standalone(), primary))) is Task.REJOIN

    def test_a_primary_without_authority_does_not(self) -> None:
        primary = drbd(Role.PRIMARY, Connection.STANDALONE)
        known = running(standalone(B), primary, assigned=assignment(B, lease_lost(standalone(B))))
        assert not isinstance(at(known), Start)

    def test_a_frozen_one_whose_guest_is_being_stopped_is_thawed(self) -> None:
        known = running(standalone(B), frozen(), fence=FenceProgress(since_s=NOW, killed=True))
        assert task(at(known)) is Task.THAW

    def test_not_thawed_while_it_may_still_own(self) -> None:
        both = authority(B, eligible={A: YES, B: YES})
        known = running(both, frozen(), fence=FenceProgress(since_s=NOW, killed=True))
        decision = at(known)
        assert not (isinstance(decision, Start) and decision.task is Task.THAW)

    def test_something_else_promoted_it(self) -> None:
        foreign = view(authority(""), drbd(Role.PRIMARY))
        assert stays(at(foreign)) is Reason.FOREIGN_PRIMARY

    def test_what_it_was_handed_as_it_let_the_guest_go_is_its_own(self) -> None:
        """The run that was Primary for a guest that was sent here died before it was Secondary."""
        handed = view(standalone(), drbd(Role.PRIMARY), record=record())
        assert not handed.record.owned_epoch
        assert at(handed).reason is not Reason.FOREIGN_PRIMARY

    def test_an_earlier_boot_has_promoted_nothing(self) -> None:
        rebooted = standalone(owner_instance=f"{A}/boot0/run0")
        assert (
            stays(at(view(rebooted, drbd(Role.PRIMARY), record=record()))) is Reason.FOREIGN_PRIMARY
        )


def test_a_same_host_proof_is_no_takeover_from_itself() -> None:
    proof = FencingProof(kind=ProofKind.SAME_HOST, host=A, at_epoch=5)
    known = running(authority(), drbd(Role.PRIMARY), assigned=assignment(A, proof))
    assert stays(at(known)) is Reason.RUNNING
