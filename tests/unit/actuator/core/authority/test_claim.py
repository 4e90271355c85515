"""Claims: a start, another start, a takeover, an override; and each reason against one."""

from dataclasses import replace

import pytest

from tandem_actuator.core import authority as rules
from tandem_actuator.core.authority import Proposal, Refusal, Verdict
from tandem_actuator.core.drbd import DrbdState, DrbdUnknown, NotConfigured
from tandem_api.authority import Authority, Eligibility, Fenced, Instance, Mode
from tandem_api.kinds.guest import Assignment, FencingProof, ProofKind
from tandem_api.kinds.mirror import Marker, Protocol
from tandem_api.lease import Heartbeat
from tandem_api.reasons import Reason
from tandem_api.timing import DEFAULT, FAST
from tandem_api.vocabulary import DiskState, Role
from unit.builders import (
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
    heartbeat,
    lease_lost,
    lost,
    mirror,
    record,
    standalone,
)

from .verdicts import EARLIER_BOOT, MARKER, OVERRIDE, proposed, reason


def _about(proof: FencingProof, acknowledged: bool) -> FencingProof:
    return proof.model_copy(update={"link_acknowledged": acknowledged})


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

    @pytest.mark.parametrize("mode", [Mode.HOLD, Mode.HANDOVER])
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

    def test_not_with_a_proof_that_only_another_version_knows(self) -> None:
        proof = lease_lost(authority(B)).model_copy(update={"kind": ProofKind("InventedLater")})
        verdict = self.claim(proof)
        assert reason(verdict) is Reason.WAITING_FOR_FENCING_PROOF
        assert "InventedLater" in str(verdict)

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

    @pytest.mark.parametrize(
        ("acknowledged", "last_packet_at_s", "expected"),
        [
            (True, 1000.0 - DEFAULT.link_wait_s, None),
            (True, 1000.0 - DEFAULT.link_wait_s + 0.01, Reason.WAITING_FOR_LINK),
            (True, None, Reason.WAITING_FOR_LINK),
            (False, 1000.0 - DEFAULT.link_wait_s, Reason.WAITING_FOR_LINK),
        ],
    )
    def test_a_peer_that_lives_by_what_has_arrived_is_waited_for_since_its_last_packet(
        self, acknowledged: bool, last_packet_at_s: float | None, expected: Reason | None
    ) -> None:
        """If that is known; else, as one that lives by its looks, since the link was lost."""
        known = replace(facts(lost()), link_lost_at_s=998.0, last_packet_at_s=last_packet_at_s)
        beat = heartbeat().model_copy(update={"link_acknowledged": acknowledged})
        proof = lease_lost(authority(B)).model_copy(update={"link_acknowledged": not acknowledged})
        for read, told in ((beat, proof), (None, _about(proof, acknowledged))):
            verdict = rules.claim(mirror(authority(B)), known, assignment(A, told), read, "r")
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

    def test_a_peer_of_an_older_version_is_waited_for_by_its_own_ratio(self) -> None:
        before = DEFAULT.model_copy(update={"clock_rate_ratio": 1.5, "lease_duration_seconds": 10})
        verdict = self.claim(
            lease_lost(authority(B)),
            beat=heartbeat(timing=before),
            link_lost_at_s=1000.0 - 1.5 * 6.25,
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

    def test_a_fence_agents_word_needs_no_waiting(self) -> None:
        proof = lease_lost(authority(B)).model_copy(update={"kind": ProofKind.POWERED_OFF})
        assert proposed(self.claim(proof, link_lost_at_s=1000.0)).owner == A

    def test_nor_is_it_refuted_by_a_later_boot(self) -> None:
        proof = lease_lost(authority(B)).model_copy(update={"kind": ProofKind.POWERED_OFF})
        later = Instance(node=B, boot_id="boot2", run_id="run9")
        booted = heartbeat(instance=later, version="99")
        assert proposed(self.claim(proof, beat=booted, link_lost_at_s=1000.0)).owner == A

    def test_a_heartbeat_after_a_fence_agents_word_refutes_it(self) -> None:
        """It was another machine that was switched off."""
        proof = lease_lost(authority(B)).model_copy(update={"kind": ProofKind.POWERED_OFF})
        again = heartbeat(version="99")
        assert reason(self.claim(proof, beat=again)) is Reason.LEASE_CHANGED

    def test_so_does_the_link(self) -> None:
        proof = lease_lost(authority(B)).model_copy(update={"kind": ProofKind.POWERED_OFF})
        back = self.claim(proof, state=drbd(), link_lost_at_s=None)
        assert reason(back) is Reason.PEER_STILL_CONNECTED


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
