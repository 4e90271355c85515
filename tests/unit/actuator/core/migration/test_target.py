"""The rules of the host to which a guest is sent: when it takes it in, and when it lets go."""

from dataclasses import replace
from typing import Any, ClassVar

import pytest

from tandem_actuator.core.drbd import DrbdState
from tandem_actuator.core.migration.target import SENT_WITHIN_S
from tandem_actuator.core.migration.target import target as rule
from tandem_actuator.core.model import FenceProgress, MigrationNote, Receiving, View
from tandem_actuator.core.order import Start, Task
from tandem_actuator.core.session import Session
from tandem_api.authority import Authority, Migration
from tandem_api.kinds.guest import Assignment
from tandem_api.kinds.mirror import Marker
from tandem_api.reasons import Reason
from tandem_api.vocabulary import DiskState, DomainState, Role
from unit.builders import (
    A,
    B,
    assignment,
    authority,
    drbd,
    frozen,
    guest,
    lease_lost,
    lost,
    record,
    standalone,
)

from .scenes import (
    BOTH,
    HANDED,
    IN,
    LIVE,
    NOW,
    UNDER_WAY,
    M,
    said,
    stays,
    target,
    task,
    telling,
)

NOT_YET = drbd(Role.SECONDARY, peer_role=Role.PRIMARY)
HALF: dict[str, object] = {"domain": DomainState.PAUSED}
OVER = replace(IN, over=True)
REBOOTED = replace(IN, run=f"{B}/boot0/run0")
RESTARTED = replace(IN, run=f"{B}/boot1/run0")
SERVED = drbd(Role.PRIMARY)


def asked(**changes: object) -> View:
    """The authority says that a guest is to come; nothing was noted here."""
    return target(None, **{"drbd": NOT_YET, **changes})


class TestReceive:
    def test_it_gets_ready_for_what_the_authority_says(self) -> None:
        assert task(asked()) is Task.RECEIVE

    @pytest.mark.parametrize(
        "changes",
        [
            {"drbd": drbd(Role.SECONDARY)},
            {"drbd": drbd(Role.SECONDARY, peer_role=Role.PRIMARY, resyncing=True)},
            {"drbd": drbd(peer_role=Role.PRIMARY, peer_disk=DiskState.INCONSISTENT)},
            {"drbd": lost()},
            {"domain": DomainState.RUNNING},
            {"domain": DomainState.PAUSED},
            {"domain": DomainState.UNKNOWN},
            {"fence": FenceProgress(since_s=NOW)},
            {"record": record(marker=Marker(reason=Reason.LOCAL_DISK_FAILED))},
            {"guest": None},
        ],
        ids=[
            *("source-not-primary", "resyncing", "source-inconsistent", "link-lost"),
            *("runs", "paused", "libvirt-silent", "fenced", "marked", "no-guest"),
        ],
    )
    def test_but_not_unless_all_is_well(self, changes: dict[str, object]) -> None:
        assert rule(asked(**changes), NOW, "") is None

    @pytest.mark.parametrize(
        "order",
        [
            None,
            assignment(B),
            assignment(A),
            LIVE.model_copy(update={"host": A}),
            LIVE.model_copy(update={"proof": lease_lost(UNDER_WAY)}),
        ],
        ids=["none", "cold", "elsewhere", "live-elsewhere", "takeover"],
    )
    def test_nor_without_an_order_for_it(self, order: Assignment | None) -> None:
        assert rule(asked(guest=guest(order)), NOW, "") is None

    def test_nor_for_a_paused_guest(self) -> None:
        ordered = guest(LIVE)
        status = ordered.status.model_copy(update={"paused_by": "Guest ns/g"})
        known = asked(guest=ordered.model_copy(update={"status": status}))
        assert rule(known, NOW, "") is None

    @pytest.mark.parametrize(
        "held_by",
        [
            authority(),
            UNDER_WAY.model_copy(update={"migration": Migration(id=M, source=A, target="c-1")}),
            authority(migration=Migration(id=M, source=A, target=B)),
        ],
        ids=["mirrored", "to-another", "left-over"],
    )
    def test_nor_unless_the_authority_names_it(self, held_by: Authority) -> None:
        assert rule(target(None, held_by, drbd=NOT_YET), NOW, "") is None

    @pytest.mark.parametrize(
        ("peer_disk", "taken"),
        [
            (DiskState.DISKLESS, True),
            (DiskState.FAILED, True),
            (DiskState.OUTDATED, False),
        ],
    )
    def test_a_source_without_a_disk_has_all_of_it_here(
        self, peer_disk: DiskState, taken: bool
    ) -> None:
        state = drbd(Role.SECONDARY, peer_role=Role.PRIMARY, peer_disk=peer_disk)
        assert (rule(asked(drbd=state), NOW, "") is not None) is taken

    @pytest.mark.parametrize("sends", ["", "m0"], ids=["nothing", "another"])
    def test_nor_before_the_source_has_noted_it(self, sends: str) -> None:
        """It would take a Primary beside it for somebody who has taken over."""
        assert rule(asked(mirror=telling(sends=sends)), NOW, "") is None


class TestWait:
    def test_it_says_that_it_is_ready(self) -> None:
        assert stays(target()) is Reason.RECEIVING
        assert said(target()) == f"ready for the guest: {A} may send it"

    def test_its_half_waits_for_the_handover_however_long(self) -> None:
        old = Receiving(M, NOW - 10 * SENT_WITHIN_S, seen=True)
        for state in (BOTH, SERVED, frozen()):
            known = target(**HALF, receiving=old, drbd=state)
            assert stays(known) is Reason.RECEIVING
            assert said(known) == f"the guest waits until {A} hands the mirror over"

    def test_also_a_half_that_an_earlier_run_took_in(self) -> None:
        assert stays(target(RESTARTED, **HALF, receiving=None)) is Reason.RECEIVING

    @pytest.mark.parametrize(
        ("changes", "why"),
        [
            ({"guest": guest(assignment(A))}, "it is not wanted here any more"),
            ({"guest": guest(assignment(B))}, "it is not wanted here any more"),
            ({**HALF, "guest": guest(assignment(A))}, "it is not wanted here any more"),
            ({"receiving": None}, f"tandem-actuator was restarted on {B}"),
            ({"receiving": Receiving("m0", NOW)}, f"tandem-actuator was restarted on {B}"),
            ({"receiving": Receiving(M, NOW, seen=True)}, "what was sent of the guest is gone"),
            ({"drbd": frozen()}, f"the replication link to {A} was lost"),
            (
                {"receiving": Receiving(M, NOW - SENT_WITHIN_S - 0.1)},
                f"{A} has sent nothing for 60 s",
            ),
        ],
        ids=[
            *("taken-back", "cold-instead", "half-taken-back", "restarted", "of-another"),
            *("gone", "link-lost", "nothing-came"),
        ],
    )
    def test_what_makes_it_let_go(self, changes: dict[str, object], why: str) -> None:
        known = target(**changes)
        assert task(known) is Task.DROP
        assert said(known) == f"letting the guest's half go: {why}"

    def test_the_source_has_its_time(self) -> None:
        assert stays(target(receiving=Receiving(M, NOW - SENT_WITHIN_S))) is Reason.RECEIVING

    def test_nothing_is_dropped_while_libvirt_does_not_tell(self) -> None:
        known = target(domain=DomainState.UNKNOWN, guest=guest(assignment(A)))
        assert stays(known) is Reason.UNKNOWN_STATE


class TestResume:
    def test_it_goes_on_with_what_it_was_handed(self) -> None:
        for state in (SERVED, BOTH, frozen()):
            assert task(target(IN, HANDED, **HALF, drbd=state)) is Task.RESUME

    def test_also_after_a_restart_of_the_actuator(self) -> None:
        assert task(target(RESTARTED, HANDED, **HALF, drbd=SERVED, receiving=None)) is Task.RESUME

    def test_not_while_it_is_being_fenced(self) -> None:
        fencing = FenceProgress(since_s=NOW)
        known = target(IN, HANDED, **HALF, drbd=SERVED, fence=fencing)
        assert stays(known) is Reason.SELF_FENCING

    @pytest.mark.parametrize("domain", [DomainState.RUNNING, DomainState.ABSENT])
    def test_what_it_has_no_half_of_is_over(self, domain: DomainState) -> None:
        """It runs, or has ended since: then it starts from its disk."""
        assert task(target(IN, HANDED, domain=domain, drbd=SERVED)) is Task.END_MIGRATION

    def test_not_while_libvirt_does_not_tell(self) -> None:
        known = target(IN, HANDED, domain=DomainState.UNKNOWN, drbd=SERVED)
        assert stays(known) is Reason.UNKNOWN_STATE

    @pytest.mark.parametrize(
        "held_by",
        [authority(B), HANDED.model_copy(update={"handed_over": "m0"})],
        ids=["claimed", "by-another"],
    )
    def test_not_by_any_other_way_of_owning_it(self, held_by: Authority) -> None:
        assert task(target(IN, held_by, **HALF, drbd=SERVED)) is Task.DROP


class TestResumeAsTold:
    """The authority says Migrating still, and DRBD's events that the source has let go."""

    TOLD: ClassVar[dict[str, Any]] = {
        **HALF,
        "drbd": SERVED,
        "session": Session(together=True, handed=True),
    }
    SENT = replace(IN, resumed=True)

    def test_it_goes_on(self) -> None:
        assert task(target(**self.TOLD)) is Task.RESUME
        assert said(target(**self.TOLD)) == f"{A} has become Secondary: the guest goes on here"

    def test_once_more_if_libvirt_was_told_and_it_stands_still(self) -> None:
        assert task(target(self.SENT, **self.TOLD)) is Task.RESUME

    def test_also_if_it_is_not_wanted_any_more(self) -> None:
        """The source has let go: nobody else has its memory."""
        assert task(target(**self.TOLD, guest=guest(assignment(A)))) is Task.RESUME

    @pytest.mark.parametrize(
        "changes",
        [
            {"session": Session(together=True)},
            {"drbd": BOTH},
            {"drbd": frozen()},
            {"drbd": drbd(Role.SECONDARY)},
            {"drbd": drbd(Role.PRIMARY, disk=DiskState.FAILED, peer_disk=DiskState.FAILED)},
            {"fence": FenceProgress(since_s=NOW)},
            {"domain": DomainState.ABSENT},
            {"domain": DomainState.UNKNOWN},
        ],
        ids=[
            *("not-told", "both-primary", "link-lost", "not-primary", "without-data", "fenced"),
            *("no-half", "libvirt-silent"),
        ],
    )
    def test_but_not(self, changes: dict[str, Any]) -> None:
        decision = rule(target(**{**self.TOLD, **changes}), NOW, "")
        assert not isinstance(decision, Start) or decision.task is not Task.RESUME

    @pytest.mark.parametrize(
        "note", [OVER, RESTARTED, REBOOTED], ids=["over", "restarted", "rebooted"]
    )
    def test_nor_by_what_was_told_of_another_promotion(self, note: MigrationNote) -> None:
        decision = rule(target(note, **self.TOLD), NOW, "")
        assert not isinstance(decision, Start) or decision.task is not Task.RESUME

    def test_nor_by_a_source_of_an_earlier_release(self) -> None:
        """It may become Secondary for another reason."""
        earlier = Migration(id=M, source=A, target=B)
        held_by = UNDER_WAY.model_copy(update={"migration": earlier})
        assert stays(target(IN, held_by, **self.TOLD)) is Reason.RECEIVING

    @pytest.mark.parametrize(
        "held_by",
        [
            authority(),
            standalone(),
            authority(B),
            UNDER_WAY.model_copy(
                update={"migration": Migration(id="m0", source=A, target=B, by_events=True)}
            ),
        ],
        ids=["back", "alone", "claimed", "another"],
    )
    def test_nor_once_the_authority_has_gone_on_without_it(self, held_by: Authority) -> None:
        assert task(target(IN, held_by, **self.TOLD)) is Task.DROP

    def test_what_goes_on_is_left_alone_until_it_is_handed_over(self) -> None:
        runs = target(self.SENT, domain=DomainState.RUNNING, drbd=SERVED)
        assert rule(runs, NOW, "") is None
        assert stays(runs) is Reason.RUNNING

    @pytest.mark.parametrize("held_by", [HANDED, authority(B)], ids=["handed", "later"])
    def test_then_that_is_noted(self, held_by: Authority) -> None:
        runs = target(self.SENT, held_by, domain=DomainState.RUNNING, drbd=SERVED)
        assert task(runs) is Task.END_MIGRATION

    def test_if_the_source_is_lost_it_claims_what_it_runs(self) -> None:
        """With the proof of a takeover, and its waits."""
        alone = replace(frozen(), queried_at_s=NOW)
        lost_long = {"link_lost_at_s": NOW - 1000.0, "guest": guest(self.takeover())}
        runs = target(self.SENT, domain=DomainState.RUNNING, drbd=alone, **lost_long)
        assert task(runs) is Task.CLAIM
        for changes in (
            {"guest": guest(LIVE)},
            {"guest": None},
            {"record": replace(runs.record, incoming=IN)},
        ):
            decision = rule(replace(runs, **changes), NOW, "")
            assert not isinstance(decision, Start) or decision.task is not Task.CLAIM

    def test_not_while_it_is_connected(self) -> None:
        runs = target(
            self.SENT, domain=DomainState.RUNNING, drbd=SERVED, guest=guest(self.takeover())
        )
        assert stays(runs) is Reason.RUNNING

    @staticmethod
    def takeover() -> Assignment:
        return assignment(B, lease_lost(UNDER_WAY))

    def test_what_has_ended_is_let_go(self) -> None:
        """It was shut down, or fenced: the source hands over what this host starts anew."""
        ended = target(self.SENT, domain=DomainState.ABSENT, drbd=SERVED, receiving=None)
        assert task(ended) is Task.DROP


class TestOver:
    @pytest.mark.parametrize(
        "held_by", [authority(), standalone(), authority("")], ids=["back", "alone", "nobodys"]
    )
    def test_a_half_is_let_go_whatever_the_authority_became(self, held_by: Authority) -> None:
        assert task(target(IN, held_by, **HALF, drbd=SERVED)) is Task.DROP

    @pytest.mark.parametrize("held_by", [authority(), UNDER_WAY], ids=["back", "still"])
    def test_so_is_the_device(self, held_by: Authority) -> None:
        assert task(target(OVER, held_by, drbd=BOTH)) is Task.DROP

    @pytest.mark.parametrize("note", [IN, OVER, REBOOTED], ids=["noted", "over", "rebooted"])
    def test_then_it_is_forgotten(self, note: MigrationNote) -> None:
        assert task(target(note, authority(), drbd=NOT_YET)) is Task.END_MIGRATION

    def test_not_while_it_is_under_way_so_that_it_is_not_taken_in_twice(self) -> None:
        assert rule(target(OVER, drbd=NOT_YET), NOW, "") is None

    def test_a_host_that_has_rebooted_may_be_asked_once_more(self) -> None:
        assert task(target(REBOOTED, drbd=NOT_YET, receiving=None)) is Task.END_MIGRATION

    def test_a_half_of_an_earlier_boot_is_none(self) -> None:
        """A domain that is paused here now was not sent here: it is judged like any guest."""
        known = target(REBOOTED, drbd=NOT_YET, **HALF, receiving=None)
        assert not known.holds_half
        assert rule(known, NOW, "") is None

    def test_what_runs_here_is_judged_like_any_guest(self) -> None:
        known = target(IN, authority(B), domain=DomainState.RUNNING, drbd=SERVED)
        assert rule(known, NOW, "") is None

    def test_the_owner_by_a_claim_stays_primary(self) -> None:
        known = target(IN, authority(B), drbd=SERVED, receiving=None)
        assert task(known) is Task.END_MIGRATION

    def test_a_frozen_target_lets_go_before_it_connects_again(self) -> None:
        stuck: DrbdState = frozen()
        assert task(target(IN, standalone(), **HALF, drbd=stuck)) is Task.DROP
        assert task(target(OVER, standalone(), drbd=stuck)) is Task.DROP


class TestUntold:
    """libvirt does not answer. What was never let go on here needs no Primary once it is over."""

    UNTOLD: ClassVar[dict[str, Any]] = {"domain": DomainState.UNKNOWN, "receiving": None}

    @pytest.mark.parametrize("state", [BOTH, frozen()], ids=["connected", "frozen"])
    @pytest.mark.parametrize("held_by", [authority(), standalone()], ids=["back", "alone"])
    def test_it_steps_back_once_it_is_over(self, held_by: Authority, state: DrbdState) -> None:
        assert task(target(IN, held_by, drbd=state, **self.UNTOLD)) is Task.STEP_BACK

    @pytest.mark.parametrize(
        ("held_by", "changes"),
        [
            (UNDER_WAY, {"drbd": BOTH}),
            (authority(), {"drbd": NOT_YET}),
            (authority(B), {"drbd": SERVED}),
            (authority(""), {"drbd": SERVED}),
            (authority(), {"drbd": BOTH, "record": record(incoming=IN, started_boot_id="boot1")}),
        ],
        ids=["under-way", "secondary", "the-owner", "nobodys", "it-may-run"],
    )
    def test_and_not_otherwise(self, held_by: Authority, changes: dict[str, Any]) -> None:
        assert stays(target(IN, held_by, **self.UNTOLD, **changes)) is Reason.UNKNOWN_STATE
