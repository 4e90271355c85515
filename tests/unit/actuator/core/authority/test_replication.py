"""Who may write alone, when both count again, and each reason against it."""

from dataclasses import replace

import pytest

from tandem_actuator.core import authority as rules
from tandem_actuator.core.authority import Settled, Verdict
from tandem_actuator.core.drbd import DrbdState, DrbdUnknown, DrbdView, NotConfigured
from tandem_api.authority import Authority, Eligibility, Mode
from tandem_api.kinds.mirror import Protocol
from tandem_api.reasons import Reason
from tandem_api.vocabulary import Connection, DiskState, Role
from unit.builders import (
    HERE,
    NO,
    YES,
    A,
    B,
    authority,
    drbd,
    facts,
    frozen,
    lost,
    mirror,
    record,
    report,
    standalone,
)

from .verdicts import EARLIER_BOOT, EARLIER_RUN, MARKER, OVERRIDE, TAKEN_OVER, proposed, reason


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

    def test_not_while_a_copy_is_owed(self) -> None:
        noted = replace(self.unused, owes_copy=True)
        assert reason(self.verdict(record=noted)) is Reason.NOT_YET_IN_SYNC

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
