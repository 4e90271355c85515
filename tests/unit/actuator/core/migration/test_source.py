"""The rules of the host that sends its guest: what comes next, and what puts an end to it."""

from dataclasses import replace

import pytest

from tandem_actuator.core.drbd import DrbdState
from tandem_actuator.core.migration.source import (
    CUT_OFF,
    GONE_WITHIN_S,
    NOT_NOTED,
    READY_WITHIN_S,
    cannot_send,
)
from tandem_actuator.core.migration.source import source as rule
from tandem_actuator.core.model import FenceProgress, Job, JobState, View
from tandem_actuator.core.order import Start, Task
from tandem_actuator.core.report import guest_report
from tandem_api.kinds.guest import LiveMigration
from tandem_api.reasons import Reason
from tandem_api.timing import DEFAULT
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
    ALONE,
    BACK,
    BOTH,
    EARLIER_BOOT,
    EARLIER_RUN,
    GONE,
    LIVE,
    NO_DATA,
    NO_DISK,
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
    task,
    telling,
)


def to_be_sent(**changes: object) -> View:
    """It runs here, and is to go there as it runs."""
    return source(None, authority(), **{"drbd": drbd(Role.PRIMARY), **changes})


class TestBegin:
    def test_it_begins_by_a_live_order(self) -> None:
        assert task(to_be_sent()) is Task.MIGRATE

    def test_a_cold_order_stops_it_instead(self) -> None:
        assert task(to_be_sent(guest=guest(assignment(B)))) is Task.SHUT_DOWN

    def test_what_was_refused_by_this_order_is_not_begun_again(self) -> None:
        known = to_be_sent(refused_move="not sent")
        assert stays(known) is not Reason.MIGRATING

    @pytest.mark.parametrize(
        "changes",
        [
            {"domain": DomainState.PAUSED},
            {"domain": DomainState.ABSENT},
            {"fence": FenceProgress(since_s=NOW)},
        ],
        ids=["paused", "absent", "fenced"],
    )
    def test_only_a_guest_that_runs_is_sent(self, changes: dict[str, object]) -> None:
        assert rule(to_be_sent(**changes), NOW, "") is None

    def test_it_waits_and_says_why_while_they_are_not_in_sync(self) -> None:
        syncing = to_be_sent(drbd=drbd(Role.PRIMARY, out_of_sync_bytes=0, resyncing=True))
        known = replace(syncing, mirror=telling(standalone()))
        assert said(known).startswith(f"not sent to {B} yet: ")
        assert cannot_send(known) == ""

    def test_what_no_waiting_helps_is_refused(self) -> None:
        """The kernel may use another protocol yet, as this host's record says."""
        known = to_be_sent(record=record(owned_epoch=5, asynchronous=True))
        assert said(known).startswith(f"not sent to {B} yet: ")
        assert cannot_send(known).startswith(f"not sent to {B}: DRBD takes two Primaries with")
        told = guest_report(known, Reason.STEADY, "", {})
        assert told is not None
        assert told.refused_move == cannot_send(known)

    def test_of_another_order_nothing_is_refused(self) -> None:
        """A guest that is to stop, or to stay, is not to be sent."""
        noted = record(owned_epoch=5, asynchronous=True)
        assert cannot_send(to_be_sent(guest=guest(assignment(B)), record=noted)) == ""


class TestNotBegun:
    """Migrating, and libvirt was told nothing yet."""

    def test_it_waits_for_the_target(self) -> None:
        assert stays(source()) is Reason.MIGRATING
        assert said(source()) == f"waiting until {B} is ready for the guest"

    def test_it_is_sent_once_the_target_is_ready(self) -> None:
        assert task(source(mirror=telling(receives=M))) is Task.SEND

    @pytest.mark.parametrize(
        ("receives", "state"),
        [
            ("m0", BOTH),
            (M, drbd(Role.PRIMARY)),
            (M, drbd(Role.PRIMARY, peer_role=Role.UNKNOWN)),
        ],
        ids=["for-another", "not-primary-yet", "role-unknown"],
    )
    def test_and_not_before(self, receives: str, state: DrbdState) -> None:
        known = source(mirror=telling(receives=receives), drbd=state)
        assert stays(known) is Reason.MIGRATING

    @pytest.mark.parametrize(
        ("changes", "why"),
        [
            ({"guest": guest(BACK)}, "it is not wanted any more"),
            ({"guest": guest(assignment(B))}, "it is not wanted any more"),
            ({"guest": guest(assignment(""))}, "it is not wanted any more"),
            ({"drbd": frozen()}, f"the replication link to {B} was lost"),
            (
                {"record": record(owned_epoch=5, outgoing=replace(OUT, run=EARLIER_RUN))},
                f"tandem-actuator was restarted on {A}",
            ),
            (
                {"record": record(owned_epoch=5, outgoing=replace(OUT, run=EARLIER_BOOT))},
                NOT_NOTED,
            ),
            (
                {"record": record(owned_epoch=5, outgoing=replace(OUT, id="m0"))},
                NOT_NOTED,
            ),
            (
                {"record": record(owned_epoch=5)},
                NOT_NOTED,
            ),
        ],
        ids=[
            *("taken-back", "cold-instead", "stopped", "link-lost"),
            *("restarted", "rebooted", "another", "not-noted"),
        ],
    )
    def test_what_puts_an_end_to_it(self, changes: dict[str, object], why: str) -> None:
        known = source(**changes)
        assert task(known) is Task.GIVE_UP
        assert said(known) == f"not sent to {B}: {why}"

    def test_an_object_that_disappears_is_no_order_to_give_up(self) -> None:
        assert stays(source(guest=None)) is Reason.MIGRATING
        assert stays(source(guest=guest(None))) is Reason.MIGRATING

    def test_a_takeover_is_no_order_to_send_it(self) -> None:
        proof = lease_lost(UNDER_WAY)
        known = source(guest=guest(LIVE.model_copy(update={"proof": proof})))
        assert task(known) is Task.GIVE_UP

    def test_the_target_has_its_time_and_no_more(self) -> None:
        waiting = replace(OUT, since_s=NOW - READY_WITHIN_S)
        assert stays(source(waiting)) is Reason.MIGRATING
        late = source(replace(waiting, since_s=NOW - READY_WITHIN_S - 0.1))
        assert task(late) is Task.GIVE_UP
        assert said(late) == f"not sent to {B}: {B} was not ready in 30 s"

    def test_what_the_target_says_is_told(self) -> None:
        at = telling()
        at.status.replicas[B] = at.status.replicas[B].model_copy(update={"message": "no room"})
        late = source(replace(OUT, since_s=NOW - READY_WITHIN_S - 0.1), mirror=at)
        assert said(late).endswith("was not ready in 30 s: no room")

    def test_a_job_of_another_migration_is_none_of_this(self) -> None:
        assert stays(source(job=Job("m0", NOW - 5, NOW, JobState.SUCCEEDED))) is Reason.MIGRATING
        assert task(source(job=Job("m0", NOW - 5), mirror=telling(receives=M))) is Task.SEND


class TestUnderWay:
    """libvirt sends it."""

    def test_it_goes_on(self) -> None:
        known = source(job=SENDING)
        assert stays(known) is Reason.MIGRATING
        assert said(known) == f"the guest is being sent to {B}"

    def test_frozen_it_is_asked_whether_the_guest_may_go_on_alone(self) -> None:
        """The job neither goes on nor ends before that."""
        asks = source(job=SENDING, drbd=frozen(), frozen_since_s=NOW - 60)
        assert task(asks) is Task.ASK_AGAIN
        assert rule(source(job=SENDING, drbd=frozen()), NOW, "") is None

    def test_without_its_own_disk_it_says_that_it_stands_still(self) -> None:
        """Nobody may go on alone here: it is for the controller to have it started there."""
        stands = {"drbd": NO_DATA, "frozen_since_s": NOW - 60, "without_data_since_s": NOW - 60}
        for known in (source(job=SENDING, **stands), source(OVER, **stands)):
            decision = rule(known, NOW, "")
            assert decision is not None
            assert decision.reason is Reason.DATA_UNREACHABLE
            assert decision.message.startswith("the guest stands still")
        blinks = {**stands, "without_data_since_s": NOW - 1}
        assert rule(source(job=SENDING, **blinks), NOW, "") is None

    def test_so_it_is_once_libvirt_was_told_to_give_up_what_is_over(self) -> None:
        stands = {"drbd": frozen(), "frozen_since_s": NOW - 60}
        told = replace(SENDING, given_up="it is over")
        assert task(source(OUT, standalone(), job=SENDING, **stands)) is Task.STOP_SENDING
        assert task(source(OUT, standalone(), job=told, **stands)) is Task.ASK_AGAIN
        assert task(source(OUT, standalone(), job=told)) is Task.STOP_SENDING

    def test_it_is_stopped_when_it_is_not_wanted_any_more(self) -> None:
        known = source(job=SENDING, guest=guest(BACK))
        assert task(known) is Task.STOP_SENDING
        assert stays(source(job=SENDING, guest=None)) is Reason.MIGRATING

    @pytest.mark.parametrize("allowed_s", [10, 600])
    def test_it_has_its_time_and_no_more(self, allowed_s: int) -> None:
        """A guest that changes its memory faster than the link takes it would be sent for ever."""
        limit = LiveMigration(timeout_seconds=allowed_s)
        made = guest(LIVE)
        spec = made.spec.model_copy(update={"migration": limit})
        known = made.model_copy(update={"spec": spec})
        sent = [replace(SENDING, since_s=NOW - allowed_s - more_s) for more_s in (0.0, 0.1)]
        assert stays(source(job=sent[0], guest=known)) is Reason.MIGRATING
        assert task(source(job=sent[1], guest=known)) is Task.STOP_SENDING
        assert f"not all of it was there within {allowed_s} s" in said(
            source(job=sent[1], guest=known)
        )

    @pytest.mark.parametrize("sent_at_s", [None, NOW - DEFAULT.self_fence_seconds - 0.1])
    def test_it_is_stopped_while_the_api_is_away(self, sent_at_s: float | None) -> None:
        """The guest would stand still there until the API is back."""
        known = source(job=SENDING, renewal_sent_at_s=sent_at_s)
        assert task(known) is Task.STOP_SENDING
        heard = source(job=SENDING, renewal_sent_at_s=NOW - DEFAULT.self_fence_seconds)
        assert stays(heard) is Reason.MIGRATING

    def test_it_is_put_off_then_and_no_move_has_failed(self) -> None:
        away = replace(SENDING, state=JobState.FAILED, given_up=CUT_OFF, why=CUT_OFF)
        for known in (
            source(job=away),
            source(mirror=telling(receives=M), renewal_sent_at_s=None),
        ):
            decision = decided(known)
            assert isinstance(decision, Start)
            assert (decision.task, decision.reason) == (Task.GIVE_UP, Reason.API_UNREACHABLE)
            assert decision.message == f"not sent to {B}: {CUT_OFF}"

    def test_what_has_arrived_meanwhile_has_arrived(self) -> None:
        known = source(job=SENT, domain=DomainState.ABSENT, renewal_sent_at_s=None)
        assert task(known) is Task.HAND_OVER

    def test_what_has_arrived_in_its_last_moment_has_arrived(self) -> None:
        late = replace(SENT, since_s=NOW - 1000.0, given_up="not all of it was there")
        assert task(source(job=late, domain=DomainState.ABSENT)) is Task.HAND_OVER

    def test_it_is_given_up_when_it_failed_in_libvirts_words(self) -> None:
        known = source(job=Job(M, NOW - 5, NOW, JobState.FAILED, "no such CPU"))
        assert task(known) is Task.GIVE_UP
        assert said(known) == f"not sent to {B}: no such CPU"

    def test_a_run_that_was_restarted_judges_by_the_job_that_it_knows(self) -> None:
        """It has none, so it gives up, and leaves what libvirt does to the domain to libvirt."""
        note = replace(OUT, run=EARLIER_RUN)
        assert task(source(note, mirror=telling(receives=M))) is Task.GIVE_UP


class TestSent:
    def test_nothing_is_left_here_so_it_hands_over(self) -> None:
        assert task(source(job=SENT, domain=DomainState.ABSENT)) is Task.HAND_OVER

    @pytest.mark.parametrize("domain", [DomainState.RUNNING, DomainState.PAUSED])
    def test_it_waits_until_libvirt_shows_nothing(self, domain: DomainState) -> None:
        known = source(job=SENT, domain=domain)
        assert stays(known) is Reason.MIGRATING

    def test_what_still_runs_after_a_while_was_not_sent(self) -> None:
        job = replace(SENT, ended_s=NOW - GONE_WITHIN_S - 0.1)
        assert task(source(job=job)) is Task.GIVE_UP
        assert stays(source(job=job, domain=DomainState.PAUSED)) is Reason.MIGRATING

    def test_unknown_is_not_absent(self) -> None:
        job = replace(SENT, ended_s=NOW - GONE_WITHIN_S - 0.1)
        assert stays(source(job=job, domain=DomainState.UNKNOWN)) is Reason.MIGRATING

    def test_not_wanted_any_more_comes_too_late(self) -> None:
        known = source(job=SENT, domain=DomainState.ABSENT, guest=guest(BACK))
        assert task(known) is Task.HAND_OVER

    def test_what_was_noted_as_gone_is_handed_over_by_the_next_run_too(self) -> None:
        note = replace(GONE, run=EARLIER_RUN)
        assert task(source(note, domain=DomainState.ABSENT)) is Task.HAND_OVER

    @pytest.mark.parametrize("state", [frozen(), drbd(Role.SECONDARY, peer_role=Role.PRIMARY)])
    def test_frozen_or_secondary_is_as_good_as_in_sync(self, state: DrbdState) -> None:
        known = source(GONE, domain=DomainState.ABSENT, drbd=state)
        assert task(known) is Task.HAND_OVER

    def test_who_went_on_alone_does_not_leave(self) -> None:
        """Rules before this one say more of it; none of them leads to the handover."""
        known = source(job=SENT, domain=DomainState.ABSENT, drbd=NO_DISK)
        assert task(known) is Task.SET_MARKER
        decision = rule(known, NOW, "")
        assert isinstance(decision, Start)
        assert (decision.task, decision.message) == (
            Task.GIVE_UP,
            f"not sent to {B}: {A} went on alone, so {B} may lack what it wrote last",
        )

    @pytest.mark.parametrize(
        "state",
        [ALONE, drbd(Role.PRIMARY, peer_role=Role.PRIMARY, peer_disk=DiskState.FAILED)],
        ids=["alone", "peer-failed"],
    )
    def test_whatever_became_of_the_target_since(self, state: DrbdState) -> None:
        known = source(GONE, domain=DomainState.ABSENT, drbd=state)
        assert task(known) is Task.HAND_OVER

    @pytest.mark.parametrize("state", [drbd(Role.SECONDARY, peer_role=Role.PRIMARY), lost()])
    def test_a_later_boot_does_so_too(self, state: DrbdState) -> None:
        booted = UNDER_WAY.model_copy(update={"owner_instance": EARLIER_BOOT})
        note = replace(GONE, run=EARLIER_BOOT)
        known = source(note, booted, domain=DomainState.ABSENT, drbd=state, guest=guest(BACK))
        assert task(known) is Task.HAND_OVER

    @pytest.mark.parametrize("owes", [True, False])
    def test_who_owes_a_copy_does_not_leave(self, owes: bool) -> None:
        known = source(job=SENT, domain=DomainState.ABSENT)
        known = replace(known, record=replace(known.record, owes_copy=owes))
        decision = rule(known, NOW, "")
        assert isinstance(decision, Start)
        assert decision.task is (Task.GIVE_UP if owes else Task.HAND_OVER)
