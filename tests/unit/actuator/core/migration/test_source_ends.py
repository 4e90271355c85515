"""The rules of the host that sends its guest, once the migration is over there or elsewhere."""

from dataclasses import replace
from typing import Any

import pytest

from tandem_actuator.core.migration.source import CUT_OFF
from tandem_actuator.core.migration.source import source as rule
from tandem_actuator.core.model import FenceProgress, JobState, MigrationNote, View
from tandem_actuator.core.order import Start, Task
from tandem_api.authority import Authority
from tandem_api.reasons import Reason
from tandem_api.vocabulary import DomainState, Role
from unit.builders import (
    A,
    B,
    authority,
    drbd,
    frozen,
    guest,
    standalone,
)

from .scenes import (
    ALONE,
    BACK,
    EARLIER_BOOT,
    EARLIER_RUN,
    GONE,
    HANDED,
    NOW,
    OUT,
    OVER,
    SENDING,
    SENT,
    UNDER_WAY,
    M,
    decided,
    said,
    source,
    stays,
    target,
    task,
    telling,
)


def task_or_none(known: View) -> Task | None:
    decision = decided(known)
    return decision.task if isinstance(decision, Start) else None


class TestTakenBack:
    """It is over, and the target has not let go yet, or has."""

    def test_it_goes_on_here_if_it_stands_still(self) -> None:
        assert task(source(OVER, domain=DomainState.PAUSED)) is Task.RESUME
        assert task(source(OVER, domain=DomainState.PAUSED, drbd=frozen())) is Task.RESUME

    def test_not_while_it_is_being_fenced(self) -> None:
        fenced = source(OVER, domain=DomainState.PAUSED, fence=FenceProgress(since_s=NOW))
        assert stays(fenced) is not Reason.RESUMING

    @pytest.mark.parametrize("domain", [DomainState.RUNNING, DomainState.ABSENT])
    def test_it_is_taken_back_once_the_target_is_secondary(self, domain: DomainState) -> None:
        known = source(OVER, domain=domain, drbd=drbd(Role.PRIMARY))
        assert task(known) is Task.TAKE_BACK

    def test_what_runs_is_left_alone_until_then(self) -> None:
        assert rule(source(OVER), NOW, "") is None
        assert rule(source(OVER, drbd=frozen()), NOW, "") is None

    def test_what_does_not_run_waits_for_that(self) -> None:
        known = source(OVER, domain=DomainState.ABSENT)
        assert stays(known) is Reason.MIGRATION_OVER
        assert said(known) == f"waiting until {B} has let the guest's half go"

    def test_a_job_that_is_under_way_is_given_up_first(self) -> None:
        assert task(source(OVER, job=SENDING)) is Task.STOP_SENDING
        assert rule(source(OVER, job=SENDING, drbd=frozen()), NOW, "") is None

    @pytest.mark.parametrize(
        "changes",
        [{"job": SENT}, {"job": replace(SENT, state=JobState.FAILED)}, {"note": EARLIER_RUN}],
        ids=["sent", "not-sent", "restarted"],
    )
    def test_the_target_is_told_as_it_may_hold_all_of_it(self, changes: dict[str, Any]) -> None:
        note = replace(OVER, run=changes.pop("note", OVER.run))
        known = source(note, domain=DomainState.ABSENT, **changes)
        assert task(known) is Task.GIVE_UP
        assert task_or_none(replace(known, refused_move="told")) is not Task.GIVE_UP
        elsewhere = replace(known, guest=guest(BACK))
        assert task_or_none(elsewhere) is not Task.GIVE_UP

    def test_what_is_only_put_off_is_not_told_as_failed(self) -> None:
        job = replace(SENT, state=JobState.FAILED, given_up=CUT_OFF)
        assert stays(source(OVER, job=job, domain=DomainState.ABSENT)) is Reason.MIGRATION_OVER

    def test_nothing_is_sent_again_for_it(self) -> None:
        known = source(OVER, mirror=telling(receives=M))
        assert stays(known) is not Reason.MIGRATING


class TestForget:
    """The authority is another by now."""

    @pytest.mark.parametrize(
        "held_by",
        [authority(), standalone(), HANDED],
        ids=["mirrored", "standalone", "handed-over"],
    )
    @pytest.mark.parametrize("note", [OUT, GONE, OVER], ids=["noted", "gone", "over"])
    def test_what_is_over_is_forgotten(self, note: MigrationNote, held_by: Authority) -> None:
        known = source(OUT, held_by, drbd=drbd(Role.PRIMARY) if held_by.owner == A else drbd())
        known = replace(known, record=replace(known.record, outgoing=note))
        if held_by.owner == B:
            known = replace(known, domain=DomainState.ABSENT)
        assert task(known) is Task.END_MIGRATION

    @pytest.mark.parametrize("domain", [DomainState.RUNNING, DomainState.ABSENT])
    def test_not_while_the_target_would_take_its_demotion_for_the_handover(
        self, domain: DomainState
    ) -> None:
        """Whoever owns the mirror by now."""
        known = source(OUT, authority(B), domain=domain)
        assert task_or_none(known) not in (Task.END_MIGRATION, Task.DEMOTE)
        for state in (frozen(), drbd(Role.PRIMARY)):
            assert task(replace(known, drbd=state)) is Task.END_MIGRATION

    def test_libvirt_is_told_first(self) -> None:
        known = source(OUT, standalone(), drbd=ALONE, job=SENDING)
        assert task(known) is Task.STOP_SENDING
        assert said(known).endswith("the mirror's authority is another by now")

    def test_an_owner_of_an_earlier_boot_sends_nothing(self) -> None:
        booted = UNDER_WAY.model_copy(update={"owner_instance": EARLIER_BOOT})
        known = source(OUT, booted, domain=DomainState.ABSENT, drbd=drbd())
        assert task(known) is Task.END_MIGRATION

    def test_a_target_has_nothing_to_send(self) -> None:
        assert rule(target(), NOW, "") is None
