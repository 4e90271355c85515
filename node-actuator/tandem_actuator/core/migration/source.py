"""The rules of the host that sends its guest to the other one as it runs. Pure.

Whatever happens, this host is the owner, and stays Primary, until it hands over. It hands over for
one reason alone: libvirt has said that all of the guest is at the target, and nothing of it is left
here. Once that is noted, nothing else comes of it, on whatever boot: the target may let the guest
go on as soon as it is told that this host is Secondary. So in any other ending this host stays
Primary until the target is not, and the guest goes on here, or starts here from its disk.
"""

from tandem_actuator.core import authority as rules
from tandem_actuator.core.authority import Proposal, Refusal
from tandem_actuator.core.decision import Decision, Start, Stay, Task, authority_of, drbd_of
from tandem_actuator.core.guest.rules import stands_still
from tandem_actuator.core.migration import keeps_primary, sending
from tandem_actuator.core.mirror import transaction
from tandem_actuator.core.model import Job, JobState, MigrationNote, View
from tandem_api.authority import Authority
from tandem_api.reasons import Reason
from tandem_api.vocabulary import DomainState, Role

READY_WITHIN_S = 30.0
"""So long the target may take to be ready for the guest."""
GONE_WITHIN_S = 10.0
"""So long libvirt may go on showing what it has sent."""
NOT_NOTED = "the API's answer was lost, or tandem-actuator ended, before it was noted"
ANOTHER = "the mirror's authority is another by now"
ASKED = "it was asked for another end of it"
NOT_WANTED = "it is not wanted any more"
CUT_OFF = "its heartbeat is not confirmed, and there it might wait for the API's word"
TIME_LIMIT = "spec.migration.timeoutSeconds of the Guest"


def source(view: View, now_s: float, wall: str) -> Decision | None:
    """What comes next of the migration that is under way from here; or that one is to begin."""
    authority, sent = authority_of(view), view.record.outgoing
    if sent is not None and sent.gone and authority.migrates_as(sent.id):
        return _leave(view, sent) if authority.owner == view.host else None
    under_way = authority.migration if _mine(authority, view) else None
    if under_way is None:
        return _forget(view) or _begin(view, now_s)
    note = view.runs_note(view.record.outgoing)
    if note is None or note.id != under_way.id:
        lost = MigrationNote(under_way.id, str(view.instance), now_s)
        return _give_up(view, lost, NOT_NOTED)
    return _taken_back(view, note, now_s) if note.over else _go_on(view, note, now_s)


def waits(view: View, now_s: float, wall: str) -> Decision | None:
    """Late: what keeps the guest from being sent is told."""
    if not _is_to_go(view):
        return None
    verdict = _verdict(view)
    if _is_cut_off(view, now_s):
        return Stay(Reason.API_UNREACHABLE, f"not sent to {view.peer} yet: {CUT_OFF}")
    if not isinstance(verdict, Refusal):
        return None
    return Stay(verdict.reason, f"not sent to {view.peer} yet: {verdict.message}")


def cannot_send(view: View) -> str:
    """Why the guest is not sent by this order, however long it is waited for; empty if it may be.

    The controller goes by what a mirror's spec says; what its kernel used, and may use yet, only
    this host knows.
    """
    verdict = _verdict(view) if _is_to_go(view) else None
    if not isinstance(verdict, Refusal) or verdict.reason is not Reason.PROTOCOL_NOT_SYNCHRONOUS:
        return ""
    return f"not sent to {view.peer}: {verdict.message}"


def _mine(authority: Authority, view: View) -> bool:
    mine = authority.owner == view.host and view.instance.same_boot(authority.owner_instance)
    migration = authority.migration
    return mine and migration is not None and authority.migrates_as(migration.id)


def _forget(view: View) -> Decision | None:
    """It is over, by whatever has become of the authority. DRBD forbids two Primaries again."""
    if view.record.outgoing is None:
        return None
    if view.job is not None and view.job.state is JobState.RUNNING:
        if view.job.given_up and drbd_of(view).frozen:
            return None  # it ends once the guest goes on, and that is asked for below
        return _stop(view, ANOTHER)
    if keeps_primary(view):
        return None if view.guest_may_run else _waits_for_the_target(view)
    return Start(
        Task.END_MIGRATION,
        Reason.MIGRATION_OVER,
        "the migration is over",
        sending.forget,
    )


def _begin(view: View, now_s: float) -> Decision | None:
    if not _is_to_go(view) or _is_cut_off(view, now_s):
        return None
    if not isinstance(_verdict(view), Proposal):
        return None
    return Start(
        Task.MIGRATE,
        Reason.MIGRATING,
        f"the guest is to go to {view.peer} as it runs",
        lambda: sending.begin(view),
    )


def _is_to_go(view: View) -> bool:
    assignment = view.guest.status.assignment if view.guest else None
    ordered = rules.sends_to(assignment, view.peer) and not (view.refused_move or view.paused_by)
    return ordered and view.domain is DomainState.RUNNING and view.fence is None


def _verdict(view: View) -> rules.Verdict:
    assignment = view.guest.status.assignment if view.guest else None
    return rules.begin(view.mirror, transaction.facts_of(view), assignment, "")


def _go_on(view: View, note: MigrationNote, now_s: float) -> Decision | None:
    job = view.job
    if job is None or job.migration != note.id:
        return _not_begun(view, note, now_s)
    if job.state is JobState.FAILED and job.given_up == CUT_OFF:
        return _put_off(view, note)
    if job.state is JobState.FAILED:
        return _give_up(view, note, job.why)
    if job.state is JobState.SUCCEEDED:
        return _sent(view, note, now_s - job.ended_s)
    return _is_sent(view, job, now_s)


def _is_sent(view: View, job: Job, now_s: float) -> Decision | None:
    if drbd_of(view).frozen:
        # Nor does it end: what comes first is that the guest goes on, here or from the disk there.
        return stands_still(view, now_s)
    if not _still_ordered(view):
        return _stop(view, NOT_WANTED)
    if _is_cut_off(view, now_s):
        return _stop(view, CUT_OFF)
    if view.guest is not None:
        allowed_s = view.guest.in_force.migration.timeout_seconds
        if now_s - job.since_s > allowed_s:
            return _stop(view, f"not all of it was there within {allowed_s} s ({TIME_LIMIT})")
    return Stay(Reason.MIGRATING, f"the guest is being sent to {view.peer}")


def _not_begun(view: View, note: MigrationNote, now_s: float) -> Decision:
    drbd = drbd_of(view)
    if note.run != str(view.instance):
        return _give_up(view, note, f"tandem-actuator was restarted on {view.host}")
    if not _still_ordered(view):
        return _give_up(view, note, NOT_WANTED)
    if not drbd.connected:
        return _give_up(view, note, f"the replication link to {view.peer} was lost")
    if _is_cut_off(view, now_s):
        return _put_off(view, note)
    report = view.mirror.status.replicas.get(view.peer)
    ready = report is not None and report.receives == note.id
    if ready and (drbd.in_sync or drbd.only_there) and drbd.peer_role is Role.PRIMARY:
        return Start(
            Task.SEND,
            Reason.MIGRATING,
            f"{view.peer} is ready: sending the guest",
            lambda: sending.send(note),
        )
    if now_s - note.since_s > READY_WITHIN_S:
        said = f": {report.message}" if report is not None and report.message else ""
        return _give_up(view, note, f"{view.peer} was not ready in {READY_WITHIN_S:g} s{said}")
    return Stay(Reason.MIGRATING, f"waiting until {view.peer} is ready for the guest")


def _still_ordered(view: View) -> bool:
    """An object that cannot be read is no order to give up."""
    assignment = view.guest.status.assignment if view.guest else None
    return assignment is None or rules.sends_to(assignment, view.peer)


def _is_cut_off(view: View, now_s: float) -> bool:
    """Then the guest might stand still at the target until the API is back, however long."""
    sent_s = view.renewal_sent_at_s
    return sent_s is None or now_s - sent_s > view.timing.self_fence_seconds


def _sent(view: View, note: MigrationNote, since_s: float) -> Decision:
    """All of it is there. What libvirt has said counts once it shows nothing here any more."""
    if view.domain is DomainState.ABSENT:
        return _leave(view, note)
    if since_s > GONE_WITHIN_S and view.domain is DomainState.RUNNING:
        return _give_up(view, note, "libvirt said that it was sent, and it still runs here")
    return Stay(Reason.MIGRATING, f"{view.peer} has all of the guest; libvirt still shows it here")


def _leave(view: View, note: MigrationNote) -> Decision:
    drbd = drbd_of(view)
    if not note.gone and drbd.role is Role.PRIMARY and not sending.has_all(drbd, view.record):
        why = f"{view.host} went on alone, so {view.peer} may lack what it wrote last"
        return _give_up(view, note, why)
    return Start(
        Task.HAND_OVER,
        Reason.HANDED_OVER,
        f"all of the guest is at {view.peer}: handing the mirror over",
        lambda: sending.leave(view, note),
    )


def _taken_back(view: View, note: MigrationNote, now_s: float) -> Decision | None:
    """The target has let its half go once it is Secondary. Without a link DRBD asks, as ever."""
    drbd = drbd_of(view)
    if view.job is not None and view.job.state is JobState.RUNNING:
        return stands_still(view, now_s) if drbd.frozen else _stop(view, ASKED)
    if _is_untold(view, note):
        return _give_up(view, note, ASKED)
    if view.domain is DomainState.PAUSED and view.fence is None:
        return Start(
            Task.RESUME,
            Reason.RESUMING,
            "the guest stands still since it was to be sent: it goes on here",
            sending.go_on,
        )
    if not drbd.connected:
        return stands_still(view, now_s)
    if drbd.peer_role is Role.SECONDARY:
        return Start(
            Task.TAKE_BACK,
            Reason.MIGRATION_OVER,
            "the migration came to nothing: both replicas are as before",
            lambda: sending.take_back(view, note),
        )
    return None if view.guest_may_run else _waits_for_the_target(view)


def _is_untold(view: View, note: MigrationNote) -> bool:
    """The target may hold all of the guest, and waits for as long as it does not hear of this."""
    job, restarted = view.job, note.run != str(view.instance)
    ended = restarted if job is None else job.given_up != CUT_OFF
    return ended and not view.refused_move and _still_ordered(view)


def _waits_for_the_target(view: View) -> Stay:
    return Stay(Reason.MIGRATION_OVER, f"waiting until {view.peer} has let the guest's half go")


def _stop(view: View, why: str) -> Start:
    return Start(
        Task.STOP_SENDING,
        Reason.MIGRATING,
        f"giving the migration up: {why}",
        lambda: sending.stop(why),
    )


def _give_up(
    view: View, note: MigrationNote, why: str, reason: Reason = Reason.MIGRATION_FAILED
) -> Start:
    message = f"not sent to {view.peer}: {why}"
    return Start(Task.GIVE_UP, reason, message, lambda: sending.give_up(note, reason, message))


def _put_off(view: View, note: MigrationNote) -> Start:
    """It is tried again, by the same order, once the API answers."""
    return _give_up(view, note, CUT_OFF, Reason.API_UNREACHABLE)
