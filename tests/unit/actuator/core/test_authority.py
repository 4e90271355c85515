"""Every transition of the authority: when it is made, and each reason for which it is not."""

from collections.abc import Callable
from dataclasses import replace

import pytest

from sim.builders import (
    HERE,
    NO,
    THERE,
    YES,
    A,
    B,
    assignment,
    authority,
    drbd,
    facts,
    frozen,
    heartbeat,
    lease_lost,
    lost,
    mirror,
    record,
    report,
    standalone,
)
from tandem_actuator.core import authority as rules
from tandem_actuator.core.authority import Facts, Proposal, Refusal, Settled, Verdict
from tandem_actuator.core.model import DrbdState, DrbdUnknown, DrbdView, NotConfigured
from tandem_api.authority import PROTOCOL, Authority, Eligibility, Fenced, Instance, Mode, Override
from tandem_api.guest import Assignment, FencingProof, ProofKind
from tandem_api.lease import Heartbeat
from tandem_api.mirror import Marker, Mirror, Protocol
from tandem_api.reasons import Reason
from tandem_api.timing import DEFAULT, FAST
from tandem_api.vocabulary import Connection, DiskState, Role

MARKER = Marker(reason=Reason.ATTACHED_NOT_UP_TO_DATE)
OVERRIDE = Override(by="ana", at_epoch=4, accept_data_loss=True, host=A)
EARLIER_BOOT = "a-1/boot0/run0"
EARLIER_RUN = "a-1/boot1/run0"
TAKEN_OVER = Eligibility(eligible=False, reason=Reason.TAKEN_OVER)


def reason(verdict: Verdict) -> Reason:
    assert isinstance(verdict, Refusal), verdict
    assert verdict.message
    return verdict.reason


def proposed(verdict: Verdict) -> Authority:
    assert isinstance(verdict, Proposal), verdict
    return verdict.authority


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


class TestClaimUnowned:
    def test_in_sync_it_is_mirrored(self) -> None:
        new = proposed(rules.claim(mirror(authority("")), facts(drbd()), assignment(A), None, "r1"))
        assert (new.epoch, new.owner, new.mode) == (6, A, Mode.MIRRORED)
        assert (new.owner_instance, new.request_id) == (str(HERE), "r1")
        assert new.may_own(B)

    @pytest.mark.parametrize(
        "state",
        [
            lost(),
            lost(DiskState.CONSISTENT),
            drbd(peer_disk=DiskState.INCONSISTENT),
            drbd(peer_disk=DiskState.DISKLESS),
            drbd(resyncing=True),
        ],
    )
    def test_without_the_peer_in_sync_it_is_standalone_and_the_peer_is_out(
        self, state: DrbdState
    ) -> None:
        new = proposed(rules.claim(mirror(authority("")), facts(state), assignment(A), None, "r"))
        assert (new.mode, new.may_own(A), new.may_own(B)) == (Mode.STANDALONE, True, False)

    @pytest.mark.parametrize("mode", [Mode.HOLD, Mode.HANDOVER, Mode.MIGRATING])
    def test_other_modes_are_refused(self, mode: Mode) -> None:
        held_by = authority("", mode=mode)
        verdict = rules.claim(mirror(held_by), facts(drbd()), assignment(A), None, "r")
        assert reason(verdict) is Reason.HOLD_MODE

    @pytest.mark.parametrize("assigned", [None, assignment(B), assignment("")])
    def test_only_the_assigned_host_may(self, assigned: Assignment | None) -> None:
        verdict = rules.claim(mirror(authority("")), facts(drbd()), assigned, None, "r")
        assert reason(verdict) is Reason.NOT_ASSIGNED

    @pytest.mark.parametrize("eligible", [{A: NO, B: YES}, {}, {B: YES}])
    def test_only_an_eligible_host_may(self, eligible: dict[str, Eligibility]) -> None:
        held_by = authority("", eligible=eligible)
        verdict = rules.claim(mirror(held_by), facts(drbd()), assignment(A), None, "r")
        assert reason(verdict) is Reason.NOT_ELIGIBLE

    def test_a_marked_replica_may_not(self) -> None:
        marked = facts(drbd(), record=record(marker=MARKER))
        verdict = rules.claim(mirror(authority("")), marked, assignment(A), None, "r")
        assert reason(verdict) is Reason.MARKED_STALE

    @pytest.mark.parametrize(
        "disk", [d for d in DiskState if d not in (DiskState.UP_TO_DATE, DiskState.CONSISTENT)]
    )
    def test_an_unusable_disk_may_not(self, disk: DiskState) -> None:
        verdict = rules.claim(
            mirror(authority("")), facts(drbd(disk=disk)), assignment(A), None, "r"
        )
        assert reason(verdict) is Reason.DISK_NOT_USABLE

    def test_one_unusable_volume_of_two_is_enough(self) -> None:
        one = drbd()
        two = replace(
            one, volumes={**one.volumes, "data": drbd(disk=DiskState.OUTDATED).volumes["root"]}
        )
        verdict = rules.claim(mirror(authority("")), facts(two), assignment(A), None, "r")
        assert reason(verdict) is Reason.DISK_NOT_USABLE

    def test_no_volume_is_no_usable_volume(self) -> None:
        none = facts(replace(drbd(), volumes={}))
        verdict = rules.claim(mirror(authority("")), none, assignment(A), None, "r")
        assert reason(verdict) is Reason.DISK_NOT_USABLE

    @pytest.mark.parametrize("role", [Role.PRIMARY, Role.UNKNOWN])
    def test_not_while_the_peer_may_be_primary(self, role: Role) -> None:
        state = facts(drbd(peer_role=role))
        verdict = rules.claim(mirror(authority("")), state, assignment(A), None, "r")
        assert reason(verdict) is Reason.PEER_STILL_PRIMARY

    @pytest.mark.parametrize("state", [NotConfigured(1.0), DrbdUnknown("timeout")])
    def test_not_without_knowing_drbd(self, state: NotConfigured | DrbdUnknown) -> None:
        verdict = rules.claim(mirror(authority("")), facts(state), assignment(A), None, "r")
        assert reason(verdict) is Reason.UNKNOWN_STATE

    def test_standalone_stays_standalone_even_in_sync(self) -> None:
        held_by = standalone(A, owner_instance=EARLIER_BOOT)
        new = proposed(rules.claim(mirror(held_by), facts(drbd()), assignment(A), None, "r"))
        assert new.mode is Mode.STANDALONE

    def test_a_matching_fenced_record_does_not_outlive_the_claim(self) -> None:
        held_by = authority("", fenced={B: Fenced(instance=str(THERE), epoch=4)})
        new = proposed(rules.claim(mirror(held_by), facts(drbd()), assignment(A), None, "r"))
        assert new.fenced == {}


class TestClaimAgain:
    def test_after_an_own_reboot_it_is_a_new_claim(self) -> None:
        held_by = authority(A, owner_instance=EARLIER_BOOT)
        new = proposed(rules.claim(mirror(held_by), facts(drbd()), assignment(A), None, "r"))
        assert (new.epoch, new.owner_instance) == (6, str(HERE))

    def test_mine_and_the_link_lost_since_becomes_standalone(self) -> None:
        new = proposed(rules.claim(mirror(authority()), facts(lost()), assignment(A), None, "r"))
        assert (new.mode, new.may_own(B)) == (Mode.STANDALONE, False)

    def test_mine_and_standalone_is_swapped_again(self) -> None:
        new = proposed(rules.claim(mirror(standalone()), facts(lost()), assignment(A), None, "r"))
        assert (new.epoch, new.mode) == (6, Mode.STANDALONE)

    def test_every_start_closes_the_door_on_an_unanswered_claim_of_the_peer(self) -> None:
        at = mirror(authority())
        verdict = rules.claim(at, facts(drbd(Role.SECONDARY)), assignment(A), None, "r")
        assert proposed(verdict).epoch == 6


class TestTakeover:
    """A claims from B, which owns the mirror and is silent."""

    def claim(
        self,
        proof: FencingProof | None,
        *,
        held_by: Authority | None = None,
        beat: Heartbeat | None = None,
        protocol: Protocol = Protocol.C,
        state: DrbdState | None = None,
        link_lost_at_s: float | None = 900.0,
        link_wait_s: float = DEFAULT.link_wait_s,
    ) -> Verdict:
        at = mirror(held_by or authority(B), protocol=protocol)
        known = replace(
            facts(state or lost()), link_lost_at_s=link_lost_at_s, link_wait_s=link_wait_s
        )
        return rules.claim(at, known, assignment(A, proof), beat or heartbeat(), "r")

    def test_with_everything_proven(self) -> None:
        new = proposed(self.claim(lease_lost(authority(B))))
        assert (new.owner, new.mode, new.may_own(B)) == (A, Mode.STANDALONE, False)
        assert new.eligible[B].reason is Reason.TAKEN_OVER

    def test_not_from_a_standalone_peer(self) -> None:
        held_by = standalone(B, eligible={A: YES, B: YES})
        verdict = self.claim(lease_lost(held_by), held_by=held_by)
        assert reason(verdict) is Reason.PEER_HOLDS_STANDALONE

    @pytest.mark.parametrize("kind", [None, ProofKind.UNOWNED, ProofKind.SAME_HOST])
    def test_not_without_a_proof(self, kind: ProofKind | None) -> None:
        proof = None if kind is None else FencingProof(kind=kind, at_epoch=5)
        assert reason(self.claim(proof)) is Reason.PEER_OWNS

    def test_not_with_a_proof_about_another_epoch(self) -> None:
        proof = lease_lost(authority(B, epoch=4))
        assert reason(self.claim(proof)) is Reason.ASSIGNMENT_OUTDATED

    def test_not_with_a_proof_about_another_instance(self) -> None:
        proof = lease_lost(authority(B, owner_instance="b-1/boot0/run0"))
        assert reason(self.claim(proof)) is Reason.ASSIGNMENT_OUTDATED

    @pytest.mark.parametrize("protocol", [Protocol.A, Protocol.B])
    def test_not_where_writes_may_be_missing(self, protocol: Protocol) -> None:
        verdict = self.claim(lease_lost(authority(B)), protocol=protocol)
        assert reason(verdict) is Reason.PROTOCOL_NOT_SYNCHRONOUS

    @pytest.mark.parametrize("used", [Protocol.A, Protocol.B])
    def test_not_while_drbd_still_uses_another_protocol(self, used: Protocol) -> None:
        verdict = self.claim(lease_lost(authority(B)), state=replace(lost(), protocol=used))
        assert reason(verdict) is Reason.PROTOCOL_NOT_SYNCHRONOUS
        by_c = self.claim(lease_lost(authority(B)), state=replace(lost(), protocol=Protocol.C))
        assert proposed(by_c).owner == A

    def test_not_after_writes_that_this_side_may_lack(self) -> None:
        """The link was lost before both sides were in sync by protocol C."""
        known = facts(replace(lost(), protocol=Protocol.C))
        known = replace(known, record=replace(known.record, asynchronous=True))
        known = replace(known, link_lost_at_s=900.0)
        proof = lease_lost(authority(B))
        verdict = rules.claim(mirror(authority(B)), known, assignment(A, proof), heartbeat(), "r")
        assert reason(verdict) is Reason.PROTOCOL_NOT_SYNCHRONOUS

    def test_not_without_a_watchdog(self) -> None:
        proof = lease_lost(authority(B), watchdog=False)
        assert reason(self.claim(proof)) is Reason.WAITING_FOR_FENCING_PROOF

    def test_not_after_another_heartbeat(self) -> None:
        verdict = self.claim(lease_lost(authority(B)), beat=heartbeat(version="71"))
        assert reason(verdict) is Reason.LEASE_CHANGED

    def test_not_while_connected(self) -> None:
        verdict = self.claim(lease_lost(authority(B)), state=drbd())
        assert reason(verdict) is Reason.PEER_STILL_CONNECTED

    @pytest.mark.parametrize(
        ("age_s", "expected"),
        [
            (0.0, Reason.WAITING_FOR_LINK),
            (DEFAULT.link_wait_s - 0.01, Reason.WAITING_FOR_LINK),
            (DEFAULT.link_wait_s, None),
        ],
    )
    def test_not_before_the_peer_must_have_noticed_the_link(
        self, age_s: float, expected: Reason | None
    ) -> None:
        verdict = self.claim(lease_lost(authority(B)), link_lost_at_s=1000.0 - age_s)
        assert (reason(verdict) if isinstance(verdict, Refusal) else None) is expected

    def test_the_timing_that_the_peer_published_counts(self) -> None:
        beat = heartbeat(timing=DEFAULT)
        verdict = self.claim(
            lease_lost(authority(B)),
            beat=beat,
            link_wait_s=FAST.link_wait_s,
            link_lost_at_s=1000.0 - FAST.link_wait_s - 0.1,
        )
        assert reason(verdict) is Reason.WAITING_FOR_LINK

    def test_not_from_a_peer_whose_timing_is_not_known(self) -> None:
        verdict = self.claim(lease_lost(authority(B)), beat=heartbeat(timing=None))
        assert reason(verdict) is Reason.UNKNOWN_STATE

    def test_a_fenced_record_needs_no_waiting(self) -> None:
        held_by = authority(B, fenced={B: Fenced(instance=str(THERE), epoch=5)})
        proof = lease_lost(held_by).model_copy(update={"kind": ProofKind.FENCED})
        assert proposed(self.claim(proof, held_by=held_by, link_lost_at_s=1000.0)).owner == A

    @pytest.mark.parametrize("fenced", [{}, {B: Fenced(instance="b-1/boot0/run0", epoch=3)}])
    def test_a_fenced_record_must_match(self, fenced: dict[str, Fenced]) -> None:
        held_by = authority(B, fenced=fenced)
        proof = lease_lost(held_by).model_copy(update={"kind": ProofKind.FENCED})
        assert reason(self.claim(proof, held_by=held_by)) is Reason.ASSIGNMENT_OUTDATED

    def test_a_new_boot_needs_no_waiting(self) -> None:
        proof = lease_lost(authority(B)).model_copy(update={"kind": ProofKind.REBOOTED})
        booted = heartbeat(instance=Instance(node=B, boot_id="boot2", run_id="run9"))
        assert proposed(self.claim(proof, beat=booted, link_lost_at_s=1000.0)).owner == A

    def test_a_new_run_is_no_new_boot(self) -> None:
        proof = lease_lost(authority(B)).model_copy(update={"kind": ProofKind.REBOOTED})
        again = heartbeat(instance=Instance(node=B, boot_id="boot1", run_id="run9"))
        assert reason(self.claim(proof, beat=again)) is Reason.LEASE_CHANGED

    def test_a_persons_word_needs_no_waiting(self) -> None:
        proof = lease_lost(authority(B)).model_copy(update={"kind": ProofKind.PERSON})
        assert proposed(self.claim(proof, link_lost_at_s=1000.0)).owner == A


class TestOverride:
    def overridden(self, **changes: object) -> Authority:
        fields = {"override": OVERRIDE, "eligible": {A: YES, B: NO}, **changes}
        return authority("", **fields)

    def test_it_passes_a_marker_and_forces(self) -> None:
        marked = facts(lost(DiskState.OUTDATED), record=record(marker=MARKER))
        verdict = rules.claim(mirror(self.overridden()), marked, assignment(A), None, "r")
        assert isinstance(verdict, Proposal)
        assert verdict.force
        assert verdict.authority.mode is Mode.STANDALONE

    def test_it_does_not_pass_an_inconsistent_disk(self) -> None:
        half = facts(lost(DiskState.INCONSISTENT))
        verdict = rules.claim(mirror(self.overridden()), half, assignment(A), None, "r")
        assert reason(verdict) is Reason.DISK_NOT_USABLE

    @pytest.mark.parametrize("changes", [{"host": B}, {"accept_data_loss": False}])
    def test_only_for_its_host_and_only_with_the_loss_accepted(
        self, changes: dict[str, object]
    ) -> None:
        other = self.overridden(override=OVERRIDE.model_copy(update=changes))
        marked = facts(lost(), record=record(marker=MARKER))
        verdict = rules.claim(mirror(other), marked, assignment(A), None, "r")
        assert reason(verdict) is Reason.MARKED_STALE

    def test_it_is_used_up_by_the_boot_that_claimed_with_it(self) -> None:
        used = standalone(A, owner_instance=EARLIER_BOOT, override=OVERRIDE)
        failed = facts(
            lost(DiskState.CONSISTENT),
            record=record(marker=Marker(reason=Reason.LOCAL_DISK_FAILED)),
        )
        verdict = rules.claim(mirror(used), failed, assignment(A), None, "r")
        assert reason(verdict) is Reason.MARKED_STALE


class TestGrantLinkLoss:
    def test_the_frozen_owner_may_go_on_alone(self) -> None:
        new = proposed(rules.grant_link_loss(mirror(authority()), facts(frozen()), "r"))
        assert (new.epoch, new.mode, new.may_own(A), new.may_own(B)) == (
            6,
            Mode.STANDALONE,
            True,
            False,
        )

    def test_it_swaps_even_if_it_says_so_already(self) -> None:
        new = proposed(rules.grant_link_loss(mirror(standalone()), facts(frozen()), "r"))
        assert (new.epoch, new.request_id) == (6, "r")

    def test_an_earlier_run_of_this_boot_was_me(self) -> None:
        held_by = authority(A, owner_instance=EARLIER_RUN)
        new = proposed(rules.grant_link_loss(mirror(held_by), facts(frozen()), "r"))
        assert new.owner_instance == str(HERE)

    def test_not_knowing_drbds_state_does_not_stop_the_question(self) -> None:
        asked = rules.grant_link_loss(mirror(authority()), facts(DrbdUnknown("busy")), "r")
        assert proposed(asked).mode is Mode.STANDALONE

    @pytest.mark.parametrize(
        ("held_by", "state", "expected"),
        [
            (authority(B), frozen(), Reason.PEER_OWNS),
            (authority(""), frozen(), Reason.NOT_OWNER),
            (authority(A, owner_instance=EARLIER_BOOT), frozen(), Reason.NOT_OWNER),
            (authority(A, mode=Mode.HOLD), frozen(), Reason.HOLD_MODE),
            (authority(A), drbd(Role.PRIMARY), Reason.LINK_IS_BACK),
            (
                authority(A),
                drbd(Role.PRIMARY, Connection.CONNECTING, disk=DiskState.DISKLESS),
                Reason.DISK_NOT_USABLE,
            ),
        ],
    )
    def test_refusals(self, held_by: Authority, state: DrbdState, expected: Reason) -> None:
        verdict = rules.grant_link_loss(mirror(held_by), facts(state), "r")
        assert reason(verdict) is expected


class TestConfirmPromotion:
    def test_the_claimed_owner_goes_on(self) -> None:
        verdict = rules.confirm_promotion(mirror(standalone()), facts(lost()))
        assert isinstance(verdict, Settled)

    @pytest.mark.parametrize(
        ("held_by", "expected"),
        [
            (standalone(B), Reason.PEER_HOLDS_STANDALONE),
            (authority(B), Reason.NOT_OWNER),
            (authority(""), Reason.NOT_OWNER),
            (standalone(A, owner_instance=EARLIER_RUN), Reason.NOT_OWNER),
            (authority(A), Reason.CONFLICT),
            (standalone(A, eligible={A: YES, B: YES}), Reason.CONFLICT),
        ],
    )
    def test_refusals(self, held_by: Authority, expected: Reason) -> None:
        assert reason(rules.confirm_promotion(mirror(held_by), facts(lost()))) is expected


class TestRestore:
    def test_the_owner_in_sync_with_a_clear_peer(self) -> None:
        new = proposed(rules.restore(mirror(standalone()), facts(drbd(Role.PRIMARY)), "r"))
        assert (new.mode, new.may_own(A), new.may_own(B)) == (Mode.MIRRORED, True, True)

    def test_it_ends_an_override(self) -> None:
        at = mirror(standalone(override=OVERRIDE))
        assert proposed(rules.restore(at, facts(drbd(Role.PRIMARY)), "r")).override is None

    def test_without_an_owner_either_may(self) -> None:
        unowned = authority("", mode=Mode.STANDALONE, eligible={A: YES, B: NO})
        new = proposed(rules.restore(mirror(unowned), facts(drbd(), B), "r"))
        assert (new.owner, new.mode) == ("", Mode.MIRRORED)

    def test_the_owner_that_has_rebooted(self) -> None:
        earlier = mirror(standalone(owner_instance=EARLIER_BOOT))
        new = proposed(rules.restore(earlier, facts(drbd()), "r"))
        assert (new.mode, new.owner_instance) == (Mode.MIRRORED, EARLIER_BOOT)

    def test_but_not_beside_one_that_does_not_follow(self) -> None:
        """The API was restored to an older grant, and the peer runs the guest by a newer one."""
        earlier = standalone(owner_instance=EARLIER_BOOT)
        held_report = report().model_copy(update={"reason": Reason.HOLD_EPOCH_REGRESSED})
        beside = facts(drbd(peer_role=Role.PRIMARY))
        holds = mirror(earlier, replicas={B: held_report})
        for verdict in (
            rules.restore(mirror(earlier), beside, "r"),
            rules.restore(holds, facts(drbd()), "r"),
        ):
            assert reason(verdict) is Reason.PEER_STILL_PRIMARY

    def test_nothing_to_do_if_both_are_eligible_already(self) -> None:
        assert isinstance(
            rules.restore(mirror(authority()), facts(drbd(Role.PRIMARY)), "r"), Settled
        )

    @pytest.mark.parametrize(
        ("held_by", "expected"),
        [
            (standalone(B), Reason.NOT_OWNER),
            (standalone(A, owner_instance=EARLIER_BOOT), Reason.NOT_OWNER),
            (standalone(A, mode=Mode.HOLD), Reason.HOLD_MODE),
            (standalone(A, mode=Mode.MIGRATING), Reason.HOLD_MODE),
        ],
    )
    def test_only_by_the_owner(self, held_by: Authority, expected: Reason) -> None:
        assert reason(rules.restore(mirror(held_by), facts(drbd(Role.PRIMARY)), "r")) is expected

    @pytest.mark.parametrize(
        "state",
        [
            frozen(),
            drbd(Role.PRIMARY, peer_disk=DiskState.INCONSISTENT),
            drbd(Role.PRIMARY, resyncing=True),
            drbd(Role.PRIMARY, out_of_sync_bytes=4096),
            drbd(Role.PRIMARY, disk=DiskState.DISKLESS),
            drbd(Role.PRIMARY, peer_disk=DiskState.DISKLESS),
        ],
    )
    def test_only_in_sync(self, state: DrbdState) -> None:
        verdict = rules.restore(mirror(standalone()), facts(state), "r")
        assert reason(verdict) is Reason.NOT_YET_IN_SYNC

    def test_not_with_an_own_marker(self) -> None:
        marked = facts(drbd(Role.PRIMARY), record=record(marker=MARKER))
        assert reason(rules.restore(mirror(standalone()), marked, "r")) is Reason.MARKED_STALE

    @pytest.mark.parametrize(
        "replicas",
        [{}, {B: report(marker=MARKER)}, {B: report(connection="Connecting")}],
    )
    def test_not_before_the_peer_has_confirmed(self, replicas: dict[str, object]) -> None:
        at = mirror(standalone(), replicas=replicas)  # type: ignore[arg-type]
        verdict = rules.restore(at, facts(drbd(Role.PRIMARY)), "r")
        assert reason(verdict) is Reason.PEER_MARKER_SET


class TestWithdraw:
    """A grant of an earlier boot that DRBD was never told of."""

    granted = standalone(
        A,
        owner_instance=EARLIER_BOOT,
        eligible={A: YES, B: Eligibility(eligible=False, reason=Reason.LINK_LOST)},
    )
    unused = record(marker=MARKER, unparted_boot_id="boot1")

    def verdict(
        self, held_by: Authority | None = None, state: DrbdView | None = None, **changes: object
    ) -> Verdict:
        known = replace(facts(state or lost(DiskState.CONSISTENT)), record=self.unused)
        known = replace(known, **changes)  # type: ignore[arg-type]
        return rules.withdraw(mirror(held_by or self.granted), known, "r")

    def test_both_count_again_and_nothing_else_changes(self) -> None:
        new = proposed(self.verdict())
        assert (new.mode, new.may_own(A), new.may_own(B)) == (Mode.MIRRORED, True, True)
        assert (new.owner, new.owner_instance) == (A, EARLIER_BOOT)
        assert new.epoch == self.granted.epoch + 1

    @pytest.mark.parametrize(
        ("held_by", "expected"),
        [
            (granted.model_copy(update={"owner": B}), Reason.NOT_OWNER),
            (granted.model_copy(update={"mode": Mode.MIRRORED}), Reason.NOT_OWNER),
            (granted.model_copy(update={"mode": Mode.HOLD}), Reason.NOT_OWNER),
            (granted.model_copy(update={"eligible": {A: YES, B: TAKEN_OVER}}), Reason.NOT_OWNER),
            (granted.model_copy(update={"eligible": {A: YES, B: YES}}), Reason.NOT_OWNER),
            (granted.model_copy(update={"owner_instance": str(HERE)}), Reason.STEADY),
            (granted.model_copy(update={"owner_instance": EARLIER_RUN}), Reason.STEADY),
            (granted.model_copy(update={"override": OVERRIDE}), Reason.STEADY),
        ],
    )
    def test_only_an_own_grant_of_an_earlier_boot(
        self, held_by: Authority, expected: Reason
    ) -> None:
        assert reason(self.verdict(held_by)) is expected

    @pytest.mark.parametrize(
        "changes",
        [
            {"unparted_boot_id": ""},
            {"unparted_boot_id": "boot0"},
            {"marker": None},
        ],
    )
    def test_only_if_it_is_known_not_to_have_been_used(self, changes: dict[str, object]) -> None:
        known = replace(self.unused, **changes)  # type: ignore[arg-type]
        assert reason(self.verdict(record=known)) is Reason.STEADY

    def test_not_where_the_peer_may_lack_the_last_writes(self) -> None:
        noted = replace(self.unused, asynchronous=True)
        assert reason(self.verdict(record=noted)) is Reason.PROTOCOL_NOT_SYNCHRONOUS
        known = facts(lost(DiskState.CONSISTENT), record=self.unused)
        verdict = rules.withdraw(mirror(self.granted, protocol=Protocol.A), known, "r")
        assert reason(verdict) is Reason.PROTOCOL_NOT_SYNCHRONOUS

    @pytest.mark.parametrize("protocol", [Protocol.A, Protocol.B])
    def test_not_where_a_takeover_is_a_persons(self, protocol: Protocol) -> None:
        known = facts(lost(DiskState.CONSISTENT), record=self.unused)
        verdict = rules.withdraw(mirror(self.granted, protocol=protocol), known, "r")
        assert reason(verdict) is Reason.PROTOCOL_NOT_SYNCHRONOUS

    @pytest.mark.parametrize(
        "said",
        [{"role": "Primary"}, *({"reason": each} for each in rules.HELD)],
    )
    def test_not_where_the_peer_goes_by_another_authority(self, said: dict[str, object]) -> None:
        replicas = {B: report().model_copy(update=said)}
        known = facts(lost(DiskState.CONSISTENT), record=self.unused)
        verdict = rules.withdraw(mirror(self.granted, replicas=replicas), known, "r")
        assert reason(verdict) is Reason.PEER_STILL_PRIMARY

    @pytest.mark.parametrize("state", [frozen(), DrbdUnknown("timeout"), NotConfigured(1.0)])
    def test_only_with_a_device_that_nobody_uses(self, state: DrbdView) -> None:
        assert reason(self.verdict(state=state)) is Reason.UNKNOWN_STATE

    def test_while_the_link_may_come_back_that_is_waited_for(self) -> None:
        assert reason(self.verdict(link_lost_at_s=999.0)) is Reason.WAITING_FOR_LINK
        connected = drbd(disk=DiskState.CONSISTENT)
        assert reason(self.verdict(state=connected)) is Reason.PEER_STILL_CONNECTED


class TestDegrade:
    @pytest.mark.parametrize(
        "state",
        [
            drbd(Role.PRIMARY, peer_disk=DiskState.DISKLESS),
            drbd(Role.PRIMARY, peer_disk=DiskState.INCONSISTENT, resyncing=True),
            drbd(Role.PRIMARY, Connection.CONNECTING, peer_disk=DiskState.OUTDATED),
        ],
    )
    def test_a_peer_that_is_not_current_is_out(self, state: DrbdState) -> None:
        new = proposed(rules.degrade(mirror(authority()), facts(state), "r"))
        assert (new.mode, new.may_own(A), new.may_own(B)) == (Mode.STANDALONE, True, False)

    def test_in_sync_there_is_nothing_to_say(self) -> None:
        verdict = rules.degrade(mirror(authority()), facts(drbd(Role.PRIMARY)), "r")
        assert reason(verdict) is Reason.STEADY

    def test_not_with_an_own_bad_disk(self) -> None:
        """Then it is the peer that has everything."""
        verdict = rules.degrade(
            mirror(authority()), facts(drbd(Role.PRIMARY, disk=DiskState.DISKLESS)), "r"
        )
        assert reason(verdict) is Reason.STEADY

    def test_said_once(self) -> None:
        alone = facts(drbd(Role.PRIMARY, peer_disk=DiskState.DISKLESS))
        assert isinstance(rules.degrade(mirror(standalone()), alone, "r"), Settled)

    @pytest.mark.parametrize(
        "held_by", [authority(B), authority(""), authority(A, owner_instance=EARLIER_BOOT)]
    )
    def test_only_by_the_owner(self, held_by: Authority) -> None:
        alone = facts(drbd(Role.PRIMARY, peer_disk=DiskState.DISKLESS))
        assert reason(rules.degrade(mirror(held_by), alone, "r")) is Reason.NOT_OWNER


class TestAdopt:
    def test_the_same_boot_goes_on(self) -> None:
        held_by = standalone(A, owner_instance=EARLIER_RUN)
        new = proposed(rules.adopt(mirror(held_by), facts(frozen()), "r"))
        assert (new.owner_instance, new.mode, new.eligible) == (
            str(HERE),
            Mode.STANDALONE,
            held_by.eligible,
        )

    def test_its_own_needs_no_adopting(self) -> None:
        assert isinstance(rules.adopt(mirror(authority()), facts(drbd()), "r"), Settled)

    @pytest.mark.parametrize("held_by", [authority(B), authority(A, owner_instance=EARLIER_BOOT)])
    def test_nothing_else_is_adopted(self, held_by: Authority) -> None:
        assert reason(rules.adopt(mirror(held_by), facts(drbd()), "r")) is Reason.NOT_OWNER


class TestAffirm:
    def test_always_a_swap(self) -> None:
        """So that a claim of the peer, made for this epoch, cannot land any more."""
        new = proposed(rules.affirm(mirror(authority()), facts(drbd()), "r"))
        assert (new.epoch, new.owner, new.owner_instance) == (6, A, str(HERE))

    @pytest.mark.parametrize("held_by", [authority(B), authority(A, owner_instance=EARLIER_BOOT)])
    def test_nothing_else_is_affirmed(self, held_by: Authority) -> None:
        assert reason(rules.affirm(mirror(held_by), facts(drbd()), "r")) is Reason.NOT_OWNER


class TestRelease:
    def test_from_mirrored(self) -> None:
        new = proposed(rules.release(mirror(authority()), facts(drbd()), "r"))
        assert (new.owner, new.owner_instance, new.mode) == ("", "", Mode.MIRRORED)
        assert new.fenced[A] == Fenced(instance=str(HERE), epoch=5)

    def test_what_is_not_owned_needs_no_releasing(self) -> None:
        assert isinstance(rules.release(mirror(authority(B)), facts(drbd()), "r"), Settled)

    @pytest.mark.parametrize(
        "state", [drbd(Role.PRIMARY), drbd(Role.UNKNOWN), DrbdUnknown("busy"), NotConfigured(1.0)]
    )
    def test_only_once_secondary(self, state: DrbdState | DrbdUnknown | NotConfigured) -> None:
        verdict = rules.release(mirror(authority()), facts(state), "r")
        assert reason(verdict) is Reason.UNKNOWN_STATE

    def test_standalone_is_kept(self) -> None:
        verdict = rules.release(mirror(standalone()), facts(lost()), "r")
        assert reason(verdict) is Reason.NOT_YET_IN_SYNC

    def test_without_a_connection_only_with_protocol_c(self) -> None:
        proposed(rules.release(mirror(authority()), facts(lost(DiskState.DISKLESS)), "r"))
        asynchronous = mirror(authority(), protocol=Protocol.A)
        verdict = rules.release(asynchronous, facts(lost()), "r")
        assert reason(verdict) is Reason.PROTOCOL_NOT_SYNCHRONOUS
        proposed(rules.release(asynchronous, facts(drbd()), "r"))
