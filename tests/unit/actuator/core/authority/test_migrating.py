"""A guest migrates as it runs: the owner begins, hands over or takes back; each refusal."""

from dataclasses import replace

import pytest

from tandem_actuator.core import authority as rules
from tandem_actuator.core.authority import Refusal, Settled, Verdict
from tandem_actuator.core.drbd import DrbdUnknown, DrbdView, NotConfigured, VolumeState
from tandem_actuator.core.model import MigrationNote, Record
from tandem_api.authority import PROTOCOL, Authority, Fenced, Migration, Mode
from tandem_api.kinds.guest import Assignment
from tandem_api.kinds.mirror import Mirror, Protocol, ReplicaReport
from tandem_api.reasons import Reason
from tandem_api.vocabulary import DiskState, Role
from unit.builders import (
    HERE,
    THERE,
    A,
    B,
    assignment,
    authority,
    drbd,
    facts,
    frozen,
    lease_lost,
    lost,
    mirror,
    record,
    report,
    standalone,
)

from .verdicts import EARLIER_BOOT, EARLIER_RUN, proposed, reason

LIVE = assignment(B).model_copy(update={"live": True})
MIGRATION = Migration(id="m1", source=A, target=B)
UNDER_WAY = authority(mode=Mode.MIGRATING, migration=MIGRATION)
OTHER = authority(mode=Mode.MIGRATING, migration=MIGRATION.model_copy(update={"id": "m0"}))
HANDED = authority(B, mode=Mode.MIRRORED, handed_over="m1")
OWING = record(owned_epoch=5, owes_copy=True)
NOT_MINE = [authority(B), authority(""), authority(A, owner_instance=EARLIER_BOOT)]
NOBODY_KNOWS = [DrbdUnknown("busy"), NotConfigured(1.0)]


def told(held_by: Authority, **replicas: ReplicaReport) -> Mirror:
    """B has said which run it is."""
    said = report().model_copy(update={"instance": str(THERE)})
    return mirror(held_by, replicas={A: report(), B: said, **replicas})


@pytest.mark.parametrize(
    ("order", "sends"),
    [
        (LIVE, True),
        (None, False),
        (assignment(B), False),
        (assignment(A).model_copy(update={"live": True}), False),
        (LIVE.model_copy(update={"proof": lease_lost(authority())}), False),
    ],
    ids=["live", "none", "cold", "to-itself", "takeover"],
)
def test_a_guest_is_sent_by_a_live_order_to_the_peer_alone(
    order: Assignment | None, sends: bool
) -> None:
    assert rules.sends_to(order, B) is sends


class TestBegin:
    def begin(
        self,
        held_by: Authority | None = None,
        state: DrbdView | None = None,
        *,
        order: Assignment | None = LIVE,
        noted: Record | None = None,
        protocol: Protocol = Protocol.C,
    ) -> Verdict:
        known = facts(state or drbd(Role.PRIMARY), record=noted or record(owned_epoch=5))
        return rules.begin(mirror(held_by or authority(), protocol=protocol), known, order, "r1")

    def test_the_owner_stays_and_the_authority_names_who_sends_to_whom(self) -> None:
        assert proposed(self.begin()) == authority(
            epoch=6,
            mode=Mode.MIGRATING,
            reason=Reason.MIGRATING,
            request_id="r1",
            min_protocol=PROTOCOL,
            migration=Migration(id="r1", source=A, target=B, by_events=True),
        )

    def test_a_run_that_was_restarted_begins_in_its_own_name(self) -> None:
        assert proposed(self.begin(authority(owner_instance=EARLIER_RUN))).owner_instance == str(
            HERE
        )

    @pytest.mark.parametrize("held_by", NOT_MINE, ids=["peers", "nobodys", "earlier-boot"])
    def test_only_the_owner_of_this_boot_begins(self, held_by: Authority) -> None:
        assert reason(self.begin(held_by)) is Reason.NOT_OWNER

    @pytest.mark.parametrize(
        "order",
        [None, assignment(B), assignment(A).model_copy(update={"live": True})],
        ids=["none", "cold", "here"],
    )
    def test_nothing_begins_without_an_order(self, order: Assignment | None) -> None:
        assert reason(self.begin(order=order)) is Reason.NOT_ASSIGNED

    @pytest.mark.parametrize(
        "held_by",
        [
            standalone(),
            UNDER_WAY,
            authority(mode=Mode.HOLD),
            authority(mode=Mode.HANDOVER),
            authority(eligible=standalone().eligible),
            authority(eligible={}),
        ],
        ids=["standalone", "migrating", "hold", "handover", "peer-out", "nobody-eligible"],
    )
    def test_only_from_mirrored_with_a_peer_that_has_all(self, held_by: Authority) -> None:
        assert reason(self.begin(held_by)) is Reason.RESYNCING

    @pytest.mark.parametrize("protocol", [Protocol.A, Protocol.B])
    def test_only_with_protocol_c(self, protocol: Protocol) -> None:
        assert reason(self.begin(protocol=protocol)) is Reason.PROTOCOL_NOT_SYNCHRONOUS

    def test_not_while_drbd_still_uses_protocol_a(self) -> None:
        used = replace(drbd(Role.PRIMARY), protocol=Protocol.A)
        assert reason(self.begin(state=used)) is Reason.PROTOCOL_NOT_SYNCHRONOUS
        assert proposed(self.begin(state=replace(used, protocol=Protocol.C)))

    def test_not_after_writes_that_were_acknowledged_early(self) -> None:
        noted = record(asynchronous=True)
        assert reason(self.begin(noted=noted)) is Reason.PROTOCOL_NOT_SYNCHRONOUS

    @pytest.mark.parametrize(
        "state",
        [
            *NOBODY_KNOWS,
            drbd(Role.SECONDARY),
            frozen(),
            drbd(Role.PRIMARY, resyncing=True),
            drbd(Role.PRIMARY, disk=DiskState.ATTACHING),
            drbd(Role.PRIMARY, disk=DiskState.DISKLESS, peer_disk=DiskState.OUTDATED),
            drbd(Role.PRIMARY, peer_disk=DiskState.DISKLESS),
            drbd(Role.PRIMARY, peer_disk=DiskState.INCONSISTENT),
            drbd(Role.PRIMARY, out_of_sync_bytes=4096),
        ],
        ids=[
            *("unknown", "not-configured", "secondary", "frozen", "resyncing", "own-disk-comes"),
            *("both-worthless", "peers-disk-failed", "peer-inconsistent", "bits"),
        ],
    )
    def test_only_a_primary_that_sees_both_in_sync_begins(self, state: DrbdView) -> None:
        assert reason(self.begin(state=state)) is Reason.NOT_YET_IN_SYNC

    def test_without_its_own_disk_all_of_it_is_at_the_peer(self) -> None:
        assert proposed(self.begin(state=drbd(Role.PRIMARY, disk=DiskState.DISKLESS)))

    def test_of_several_volumes_one_may_have_lost_its_disk(self) -> None:
        both = drbd(Role.PRIMARY)
        worn = VolumeState(DiskState.DISKLESS, DiskState.UP_TO_DATE)
        assert proposed(self.begin(state=replace(both, volumes={**both.volumes, "data": worn})))
        copied = replace(worn, resyncing=True)
        state = replace(both, volumes={**both.volumes, "data": worn, "logs": copied})
        assert reason(self.begin(state=state)) is Reason.NOT_YET_IN_SYNC

    def test_not_while_a_copy_is_owed(self) -> None:
        assert reason(self.begin(noted=OWING)) is Reason.NOT_YET_IN_SYNC

    def test_not_from_an_authority_of_the_past(self) -> None:
        assert reason(self.begin(noted=record(max_epoch=6))) is Reason.HOLD_EPOCH_REGRESSED


class TestHandOver:
    def hand(
        self,
        at: Mirror | None = None,
        state: DrbdView | None = None,
        *,
        noted: Record | None = None,
        migration: str = "m1",
    ) -> Verdict:
        known = facts(state or drbd(Role.SECONDARY), record=noted or record(owned_epoch=5))
        return rules.hand_over(at or told(UNDER_WAY), known, migration, "r2")

    def test_in_sync_the_target_owns_it_mirrored_by_this_migration(self) -> None:
        assert proposed(self.hand()) == authority(
            B,
            epoch=6,
            mode=Mode.MIRRORED,
            reason=Reason.HANDED_OVER,
            request_id="r2",
            migration=None,
            handed_over="m1",
        )

    def test_also_if_the_targets_disk_has_failed_by_then(self) -> None:
        """The guest goes on there over the link, and this replica has all."""
        new = proposed(self.hand(state=drbd(Role.SECONDARY, peer_disk=DiskState.DISKLESS)))
        assert (new.owner, new.mode) == (B, Mode.MIRRORED)
        assert new.may_own(A)

    @pytest.mark.parametrize("gone", [True, False])
    def test_a_later_boot_hands_over_what_is_noted_as_sent_alone(self, gone: bool) -> None:
        booted = UNDER_WAY.model_copy(update={"owner_instance": EARLIER_BOOT})
        note = MigrationNote("m1", EARLIER_BOOT, 900.0, gone=gone)
        verdict = self.hand(told(booted), noted=record(owned_epoch=5, outgoing=note))
        if gone:
            assert proposed(verdict).handed_over == "m1"
        else:
            assert reason(verdict) is Reason.NOT_OWNER

    def test_nothing_is_handed_over_that_is_another_hosts(self) -> None:
        note = MigrationNote("m1", str(HERE), 900.0, gone=True)
        theirs = authority(B, mode=Mode.MIGRATING, migration=MIGRATION)
        verdict = self.hand(told(theirs), noted=record(outgoing=note))
        assert reason(verdict) is Reason.MIGRATION_OVER

    @pytest.mark.parametrize(
        ("state", "noted"),
        [
            (lost(), None),
            (drbd(Role.SECONDARY, disk=DiskState.DISKLESS), None),
            (drbd(Role.SECONDARY, peer_disk=DiskState.OUTDATED), None),
            (drbd(Role.SECONDARY, resyncing=True), None),
            (drbd(Role.SECONDARY), OWING),
        ],
        ids=["link-lost", "own-disk-failed", "peer-outdated", "resyncing", "copy-owed"],
    )
    def test_who_does_not_see_that_it_has_all_is_out(
        self, state: DrbdView, noted: Record | None
    ) -> None:
        new = proposed(self.hand(state=state, noted=noted))
        assert (new.owner, new.owner_instance, new.mode) == (B, str(THERE), Mode.STANDALONE)
        assert (new.may_own(A), new.may_own(B)) == (False, True)
        assert new.eligible[A].reason is Reason.HANDED_OVER
        assert (new.migration, new.handed_over) == (None, "m1")

    def test_a_restarted_run_of_the_same_boot_may_still_hand_it_over(self) -> None:
        held_by = UNDER_WAY.model_copy(update={"owner_instance": EARLIER_RUN})
        assert proposed(self.hand(told(held_by))).owner == B

    def test_what_anybody_had_fenced_is_over_with_it(self) -> None:
        fenced = {B: Fenced(instance=str(THERE), epoch=3)}
        held_by = UNDER_WAY.model_copy(update={"fenced": fenced})
        assert proposed(self.hand(told(held_by))).fenced == {}

    @pytest.mark.parametrize("held_by", NOT_MINE, ids=["peers", "nobodys", "earlier-boot"])
    def test_only_the_owner_of_this_boot_hands_over(self, held_by: Authority) -> None:
        migrating = {"mode": Mode.MIGRATING, "migration": MIGRATION}
        at = told(held_by.model_copy(update=migrating))
        assert reason(self.hand(at)) is Reason.NOT_OWNER

    @pytest.mark.parametrize("held_by", [authority(), standalone(), OTHER])
    def test_only_the_migration_that_is_under_way(self, held_by: Authority) -> None:
        assert reason(self.hand(told(held_by))) is Reason.MIGRATION_OVER
        assert reason(self.hand(migration="m0")) is Reason.MIGRATION_OVER

    @pytest.mark.parametrize("state", [*NOBODY_KNOWS, drbd(Role.PRIMARY), drbd(Role.UNKNOWN)])
    def test_only_once_secondary(self, state: DrbdView) -> None:
        assert reason(self.hand(state=state)) is Reason.UNKNOWN_STATE

    @pytest.mark.parametrize("instance", ["", "garbled", str(HERE)])
    def test_only_to_a_run_of_the_target_that_is_known(self, instance: str) -> None:
        said = report().model_copy(update={"instance": instance})
        at = mirror(UNDER_WAY, replicas={A: report(), B: said})
        assert reason(self.hand(at)) is Reason.UNKNOWN_STATE

    def test_not_to_a_target_that_reports_nothing(self) -> None:
        at = mirror(UNDER_WAY, replicas={A: report()})
        assert reason(self.hand(at)) is Reason.UNKNOWN_STATE

    def test_not_in_an_authority_of_the_past(self) -> None:
        assert reason(self.hand(noted=record(max_epoch=6))) is Reason.HOLD_EPOCH_REGRESSED


class TestTakeBack:
    def back(
        self,
        held_by: Authority = UNDER_WAY,
        state: DrbdView | None = None,
        noted: Record | None = None,
    ) -> Verdict:
        known = facts(state or drbd(Role.PRIMARY), record=noted or record())
        return rules.take_back(mirror(held_by), known, "m1", "r3")

    @pytest.mark.parametrize("state", [drbd(Role.PRIMARY), drbd(Role.SECONDARY)])
    def test_all_is_as_it_was_before(self, state: DrbdView) -> None:
        assert proposed(self.back(state=state)) == authority(
            epoch=6, reason=Reason.MIGRATION_OVER, request_id="r3", migration=None
        )

    @pytest.mark.parametrize("held_by", [authority(), standalone(), OTHER])
    def test_what_is_over_needs_no_taking_back(self, held_by: Authority) -> None:
        assert self.back(held_by) == Settled(held_by)

    @pytest.mark.parametrize("held_by", NOT_MINE, ids=["peers", "nobodys", "earlier-boot"])
    def test_only_the_owner_of_this_boot_takes_it_back(self, held_by: Authority) -> None:
        assert reason(self.back(held_by)) is Reason.NOT_OWNER

    @pytest.mark.parametrize("state", [*NOBODY_KNOWS, frozen(), lost()])
    def test_not_without_a_look_at_the_target(self, state: DrbdView) -> None:
        assert reason(self.back(state=state)) is Reason.NOT_CONNECTED

    @pytest.mark.parametrize("role", [Role.PRIMARY, Role.UNKNOWN])
    def test_not_while_the_target_may_hold_its_half(self, role: Role) -> None:
        state = drbd(Role.PRIMARY, peer_role=role)
        assert reason(self.back(state=state)) is Reason.PEER_STILL_PRIMARY

    def test_not_in_an_authority_of_the_past(self) -> None:
        assert reason(self.back(noted=record(max_epoch=6))) is Reason.HOLD_EPOCH_REGRESSED


class TestHandedTo:
    def handed(self, held_by: Authority, noted: Record | None = None) -> Verdict:
        known = facts(drbd(Role.PRIMARY), B, record=noted or record())
        return rules.handed_to(mirror(held_by), known, "m1")

    def test_the_target_owns_it_by_this_migration(self) -> None:
        assert self.handed(HANDED) == Settled(HANDED)

    @pytest.mark.parametrize(
        "held_by",
        [
            UNDER_WAY,
            authority(B),
            HANDED.model_copy(update={"handed_over": "m0"}),
            HANDED.model_copy(update={"owner_instance": f"{B}/boot0/run0"}),
            authority("", handed_over="m1"),
            authority(A, handed_over="m1"),
        ],
        ids=["still", "claimed", "by-another", "earlier-boot", "nobodys", "sources"],
    )
    def test_and_in_no_other_case_goes_it_on(self, held_by: Authority) -> None:
        """A claim of its own is no handover: then the memory is older than the disk."""
        assert reason(self.handed(held_by)) is Reason.NOT_OWNER

    def test_not_by_a_mirror_that_is_held(self) -> None:
        assert reason(self.handed(HANDED, record(uid="another"))) in rules.HELD
        assert reason(self.handed(HANDED, record(max_epoch=6))) in rules.HELD


def test_no_verdict_is_without_words() -> None:
    verdict = rules.handed_to(mirror(authority("")), facts(drbd(), B), "m1")
    assert isinstance(verdict, Refusal)
    assert verdict.message == "owner is nobody: the guest was not handed over to here"
