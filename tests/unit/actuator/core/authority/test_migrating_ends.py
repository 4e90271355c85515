"""What else may become of a mirror whose guest migrates: a claim, a grant, a word of its owner."""

from collections.abc import Callable
from dataclasses import replace

import pytest

from tandem_actuator.core import authority as rules
from tandem_actuator.core.authority import Facts, Proposal, Refusal, Verdict
from tandem_actuator.core.drbd import DrbdState
from tandem_actuator.core.model import MigrationNote, Record
from tandem_api.authority import Authority, Migration, Mode
from tandem_api.kinds.guest import Assignment
from tandem_api.kinds.mirror import Mirror
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
)

from .test_migrating import HANDED, MIGRATION, OWING, UNDER_WAY, told
from .verdicts import EARLIER_BOOT, EARLIER_RUN, OVERRIDE, proposed, reason

Rule = Callable[[Mirror, Facts, str], Verdict]


class TestClaim:
    """A takeover, or a new start by a later boot, puts an end to what was under way."""

    def claim(self, held_by: Authority, state: DrbdState, order: Assignment) -> Verdict:
        return rules.claim(mirror(held_by), facts(state), order, None, "r")

    def test_a_source_that_has_rebooted_starts_from_its_disk(self) -> None:
        held_by = UNDER_WAY.model_copy(update={"owner_instance": EARLIER_BOOT})
        new = proposed(self.claim(held_by, drbd(), assignment(A)))
        assert (new.mode, new.migration, new.handed_over) == (Mode.MIRRORED, None, "")
        assert new.may_own(B)

    def test_without_the_peer_it_writes_alone(self) -> None:
        held_by = UNDER_WAY.model_copy(update={"owner_instance": EARLIER_BOOT})
        new = proposed(self.claim(held_by, lost(), assignment(A)))
        assert (new.mode, new.migration, new.may_own(B)) == (Mode.STANDALONE, None, False)

    def test_a_target_takes_over_from_a_source_that_is_lost(self) -> None:
        held_by = authority(
            B, mode=Mode.MIGRATING, migration=Migration(id="m1", source=B, target=A)
        )
        order = assignment(A, lease_lost(held_by))
        new = proposed(self.claim(held_by, lost(), order))
        assert (new.owner, new.mode, new.may_own(B)) == (A, Mode.STANDALONE, False)
        assert (new.migration, new.handed_over) == (None, "")

    def test_not_beside_another_primary(self) -> None:
        held_by = UNDER_WAY.model_copy(update={"owner_instance": EARLIER_BOOT})
        state = drbd(peer_role=Role.PRIMARY)
        assert reason(self.claim(held_by, state, assignment(A))) is Reason.PEER_STILL_PRIMARY

    def test_a_target_does_not_take_it_without_a_proof(self) -> None:
        held_by = authority(
            B, mode=Mode.MIGRATING, migration=Migration(id="m1", source=B, target=A)
        )
        order = assignment(A).model_copy(update={"live": True})
        assert reason(self.claim(held_by, drbd(), order)) is Reason.PEER_OWNS

    def test_a_claim_forgets_by_which_migration_it_was_the_owner(self) -> None:
        held_by = authority(handed_over="m0", owner_instance=EARLIER_BOOT)
        assert proposed(self.claim(held_by, drbd(), assignment(A))).handed_over == ""


class TestWhoWritesAlone:
    """Standalone from Migrating: the migration is over with it."""

    def test_a_frozen_source_is_granted(self) -> None:
        new = proposed(rules.grant_link_loss(mirror(UNDER_WAY), facts(frozen()), "r"))
        assert (new.mode, new.migration, new.may_own(B)) == (Mode.STANDALONE, None, False)

    def test_a_frozen_target_is_not(self) -> None:
        verdict = rules.grant_link_loss(mirror(UNDER_WAY), facts(frozen(), B), "r")
        assert reason(verdict) is Reason.PEER_OWNS

    @pytest.mark.parametrize(
        ("state", "noted"),
        [
            (drbd(Role.PRIMARY, peer_disk=DiskState.INCONSISTENT), record()),
            (drbd(Role.PRIMARY, out_of_sync_bytes=4096), record()),
            (drbd(Role.PRIMARY), OWING),
        ],
        ids=["peer-failed", "bits", "copy-owed"],
    )
    def test_a_source_whose_target_falls_behind_says_so(
        self, state: DrbdState, noted: Record
    ) -> None:
        new = proposed(rules.degrade(mirror(UNDER_WAY), facts(state, record=noted), "r"))
        assert (new.mode, new.owner, new.may_own(B)) == (Mode.STANDALONE, A, False)
        assert new.migration is None

    def test_a_source_that_sees_both_in_sync_has_nothing_to_say(self) -> None:
        verdict = rules.degrade(mirror(UNDER_WAY), facts(drbd(Role.PRIMARY)), "r")
        assert reason(verdict) is Reason.STEADY

    @pytest.mark.parametrize("instance", [EARLIER_BOOT, str(HERE)], ids=["booted", "same-boot"])
    def test_a_source_that_owes_a_copy_says_so(self, instance: str) -> None:
        held_by = UNDER_WAY.model_copy(update={"owner_instance": instance})
        new = proposed(rules.owed(mirror(held_by), facts(drbd(), record=OWING), "r"))
        assert (new.mode, new.owner_instance, new.migration) == (Mode.STANDALONE, instance, None)
        assert (new.may_own(A), new.may_own(B)) == (True, False)


class TestWhatItKeeps:
    def test_a_source_neither_releases_nor_restores_meanwhile(self) -> None:
        verdict = rules.release(mirror(UNDER_WAY), facts(drbd()), "r")
        assert reason(verdict) is Reason.MIGRATING
        verdict = rules.restore(mirror(UNDER_WAY), facts(drbd()), "r")
        assert reason(verdict) is Reason.HOLD_MODE

    def test_without_a_link_it_releases_what_it_cannot_go_on_with(self) -> None:
        """What the target holds is worth nothing then: it was not handed over."""
        new = proposed(rules.release(mirror(UNDER_WAY), facts(lost()), "r"))
        assert (new.owner, new.mode, new.migration, new.handed_over) == (
            "",
            Mode.MIRRORED,
            None,
            "",
        )

    def test_but_not_what_is_all_at_the_target(self) -> None:
        sent = record(outgoing=MigrationNote("m1", str(HERE), 1.0, gone=True))
        verdict = rules.release(mirror(UNDER_WAY), facts(lost(), record=sent), "r")
        assert reason(verdict) is Reason.MIGRATING

    def test_a_restarted_source_adopts_what_is_under_way(self) -> None:
        held_by = UNDER_WAY.model_copy(update={"owner_instance": EARLIER_RUN})
        new = proposed(rules.adopt(mirror(held_by), facts(drbd(Role.PRIMARY)), "r"))
        assert (new.mode, new.migration, new.owner_instance) == (
            Mode.MIGRATING,
            MIGRATION,
            str(HERE),
        )

    def test_an_affirmed_target_is_the_owner_by_the_same_migration(self) -> None:
        new = proposed(rules.affirm(mirror(HANDED), facts(drbd(Role.PRIMARY), B), "r"))
        assert (new.epoch, new.handed_over) == (6, "m1")
        restarted = HANDED.model_copy(update={"owner_instance": f"{B}/boot1/run0"})
        new = proposed(rules.adopt(mirror(restarted), facts(drbd(Role.PRIMARY), B), "r"))
        assert (new.owner_instance, new.handed_over) == (str(THERE), "m1")

    @pytest.mark.parametrize(
        ("write", "state"),
        [
            (rules.release, drbd(Role.SECONDARY)),
            (rules.grant_link_loss, frozen()),
            (rules.degrade, drbd(Role.PRIMARY, peer_disk=DiskState.INCONSISTENT)),
        ],
        ids=["release", "grant", "degrade"],
    )
    def test_whatever_else_it_writes_the_handover_is_forgotten(
        self, write: Rule, state: DrbdState
    ) -> None:
        assert proposed(write(mirror(HANDED), facts(state, B), "r")).handed_over == ""

    def test_a_persons_override_does_not_survive_a_handover_as_a_licence(self) -> None:
        """It is used up: its host is the owner by now."""
        held_by = UNDER_WAY.model_copy(update={"override": OVERRIDE})
        known = facts(drbd(), record=record(owned_epoch=5))
        verdict = rules.hand_over(told(held_by), known, "m1", "r")
        assert isinstance(verdict, Proposal)
        assert not verdict.force


class TestEndedBy:
    """What is noted before the source's own swap is sent that is no handover."""

    NOTE = MigrationNote("m1", str(HERE), 900.0)
    BACK = authority(epoch=6)

    def ended(
        self,
        note: MigrationNote | None,
        held_by: Authority = UNDER_WAY,
        after: Authority = BACK,
    ) -> object:
        known = facts(drbd(Role.PRIMARY), record=record(owned_epoch=5, outgoing=note))
        return rules.ended_by(held_by, after, known)

    def test_that_it_is_over(self) -> None:
        assert self.ended(self.NOTE) == replace(self.NOTE, over=True)

    def test_once(self) -> None:
        assert self.ended(replace(self.NOTE, over=True)) is None

    @pytest.mark.parametrize("note", [None, MigrationNote("m0", str(HERE), 900.0, gone=True)])
    def test_not_before_it_is_noted_at_all(self, note: MigrationNote | None) -> None:
        """The swap may be carried out late, and the migration go on by what is noted later."""
        refused = self.ended(note)
        assert isinstance(refused, Refusal)
        assert refused.reason is Reason.OUTCOME_UNKNOWN

    def test_a_later_boot_sends_nothing_more_of_what_is_not_noted(self) -> None:
        booted = UNDER_WAY.model_copy(update={"owner_instance": EARLIER_BOOT})
        assert self.ended(None, booted) is None

    def test_what_is_sent_is_handed_over_and_nothing_else(self) -> None:
        refused = self.ended(replace(self.NOTE, gone=True))
        assert isinstance(refused, Refusal)
        assert refused.reason is Reason.MIGRATING

    @pytest.mark.parametrize(
        "after",
        [HANDED, UNDER_WAY.model_copy(update={"epoch": 6})],
        ids=["handed-over", "affirmed"],
    )
    def test_a_handover_or_an_affirmation_is_no_other_end(self, after: Authority) -> None:
        assert self.ended(replace(self.NOTE, gone=True), after=after) is None
        assert self.ended(self.NOTE, after=after) is None

    def test_nor_is_what_the_target_says(self) -> None:
        theirs = authority(B, mode=Mode.MIGRATING, migration=Migration(id="m1", source=B, target=A))
        assert self.ended(self.NOTE, theirs) is None

    def test_nor_anything_about_a_mirror_whose_guest_stays(self) -> None:
        assert self.ended(None, authority()) is None


@pytest.mark.parametrize("rule", [rules.degrade, rules.owed])
def test_what_is_sent_is_said_of_by_its_handover_alone(rule: Rule) -> None:
    """Whatever is found of the target's replica by then: the guest may be there already."""
    note = MigrationNote("m1", str(HERE), 900.0, gone=True)
    known = facts(
        drbd(Role.PRIMARY, peer_disk=DiskState.OUTDATED),
        record=record(owned_epoch=5, owes_copy=True, outgoing=note),
    )
    assert reason(rule(mirror(UNDER_WAY), known, "r")) is Reason.MIGRATING
    assert isinstance(rule(mirror(authority()), known, "r"), Proposal)
