"""The rules of the host to which a guest is sent as it runs. Pure.

It holds a half of the guest, paused, and is Primary for it. It lets the guest go on for two reasons
alone: DRBD's events have told, in their order, that the source has become Secondary in the very
connection in which this host was promoted; or it owns the mirror, handed over by this migration. In
any other ending it destroys its half and is Secondary again: a takeover never goes on with memory,
but starts from the disk. What goes on for the first reason becomes this host's own by the source's
swap; if the source is lost before that, by a claim with the proofs of any takeover.
"""

from dataclasses import replace

from tandem_actuator.core import authority as rules
from tandem_actuator.core.decision import (
    UNTOLD,
    Decision,
    Start,
    Stay,
    Task,
    authority_of,
    drbd_of,
)
from tandem_actuator.core.guest import starting
from tandem_actuator.core.migration import receiving
from tandem_actuator.core.mirror import transaction
from tandem_actuator.core.model import MigrationNote, View
from tandem_api.authority import Authority
from tandem_api.reasons import Reason
from tandem_api.vocabulary import DomainState, Role

SENT_WITHIN_S = 60.0
"""So long nothing of the guest may come."""


def target(view: View, now_s: float, wall: str) -> Decision | None:
    """What comes next of a guest that is sent here, or of what is left of one."""
    authority, note = authority_of(view), view.record.incoming
    if note is None:
        return _receive(view, authority)
    if view.domain is DomainState.UNKNOWN:
        return _step_back(view, authority, note) or UNTOLD
    if authority.owner == view.host and authority.handed_over == note.id:
        return _mine(view, note)
    under_way = authority.migrates_as(note.id)
    by_events = authority.migration is not None and authority.migration.by_events
    if under_way and by_events and _is_handed(view, note):
        return Start(
            Task.RESUME,
            Reason.RESUMING,
            f"{view.peer} has become Secondary: the guest goes on here",
            lambda: receiving.resume_as_told(view, note),
        )
    if view.guest_may_run:
        # what executes here is judged like any guest
        return _own(view, authority, now_s) if view.was_sent is not None else None
    if view.runs_note(note) is not None and not note.over and under_way:
        return _wait(view, note, now_s)
    return _let_go(view, authority, note)


def _step_back(view: View, authority: Authority, note: MigrationNote) -> Decision | None:
    """What was sent has never gone on here, and never will: nothing needs this Primary.

    If the owner reboots beside it, DRBD would overwrite the owner's data with what is here.
    """
    over = authority.owner == view.peer and not authority.migrates_as(note.id)
    if not over or view.guest_may_run or drbd_of(view).role is not Role.PRIMARY:
        return None
    return Start(
        Task.STEP_BACK,
        Reason.MIGRATION_OVER,
        "libvirt does not answer, and the migration is over: the device is not to be Primary",
        lambda: receiving.step_back(view),
    )


def _is_handed(view: View, note: MigrationNote) -> bool:
    """The half waits, and this run has heard that the source has let go of it. Once more, if
    libvirt was told and it stands still.
    """
    waits = view.domain is DomainState.PAUSED and view.fence is None and not note.over
    heard = note.run == str(view.instance) and view.session.handed
    return waits and heard and receiving.is_let_go(view.drbd)


def _own(view: View, authority: Authority, now_s: float) -> Decision | None:
    """It executes here. The mirror is handed over a moment later, or claimed as in a takeover."""
    if authority.owner == view.host:
        return _forget(view)
    assignment = view.guest.status.assignment if view.guest else None
    if assignment is None or assignment.proof is None or view.fence is not None:
        return None
    glance = replace(transaction.facts_of(view), now_s=now_s)
    verdict = rules.claim(view.mirror, glance, assignment, None, "")
    if not isinstance(verdict, rules.Proposal):
        return None
    return Start(
        Task.CLAIM,
        Reason.CLAIMED,
        f"{view.peer} is lost, and the guest that it has sent runs here: claiming the mirror",
        lambda: starting.claim_what_runs(view),
    )


def _receive(view: View, authority: Authority) -> Decision | None:
    migration, drbd = authority.migration, drbd_of(view)
    if migration is None or not authority.migrates_as(migration.id):
        return None
    if migration.target != view.host or not _ordered(view) or view.paused_by:
        return None
    if not rules.is_noted(view.mirror, migration):
        return None
    if view.domain is not DomainState.ABSENT or view.fence is not None or view.record.marker:
        return None
    if not (drbd.role is Role.SECONDARY and drbd.peer_role is Role.PRIMARY):
        return None
    if not (drbd.in_sync or drbd.only_here):
        return None
    note = MigrationNote(migration.id, str(view.instance), drbd.queried_at_s)
    return Start(
        Task.RECEIVE,
        Reason.RECEIVING,
        f"{view.peer} is to send the guest as it runs",
        lambda: receiving.receive(view, note),
    )


def _ordered(view: View) -> bool:
    """To take it in is what the guest's order says, and the source has not given it up.

    A takeover is no such order.
    """
    assignment = view.guest.status.assignment if view.guest else None
    if view.guest is None or not rules.sends_to(assignment, view.host):
        return False
    said, serial = view.guest.status.hosts.get(view.peer), assignment.serial if assignment else 0
    return said is None or said.assignment_serial != serial or not said.refused_move


def _mine(view: View, note: MigrationNote) -> Decision | None:
    """Once more, if libvirt was told and it stands still. What is being fenced is left alone."""
    stands = view.domain is DomainState.PAUSED and view.runs_note(note) is not None
    if stands and view.fence is not None:
        return Stay(Reason.SELF_FENCING, "what was sent here is being stopped")
    if stands:
        return Start(
            Task.RESUME,
            Reason.RESUMING,
            f"{view.peer} has handed the mirror over: the guest goes on here",
            lambda: receiving.resume(view, note),
        )
    if view.was_sent is not None and view.domain is DomainState.RUNNING:
        return Start(
            Task.END_MIGRATION,
            Reason.RUNNING,
            f"{view.peer} has handed the mirror over, and the guest goes on here",
            lambda: receiving.own(view, note),
        )
    return _forget(view)


def _wait(view: View, note: MigrationNote, now_s: float) -> Decision | None:
    """Without its half, or an order, nothing comes of it: it lets go unasked."""
    if not _ordered(view):
        return _drop(view, note, "it is not wanted here any more")
    if view.holds_half:
        return Stay(Reason.RECEIVING, f"the guest waits until {view.peer} hands the mirror over")
    ready = view.receiving
    if ready is None or ready.migration != note.id:
        return _drop(view, note, f"tandem-actuator was restarted on {view.host}")
    if ready.seen:
        return _drop(view, note, "what was sent of the guest is gone")
    if not drbd_of(view).connected:
        return _drop(view, note, f"the replication link to {view.peer} was lost")
    if now_s - ready.since_s > SENT_WITHIN_S:
        return _drop(view, note, f"{view.peer} has sent nothing for {SENT_WITHIN_S:g} s")
    return Stay(Reason.RECEIVING, f"ready for the guest: {view.peer} may send it")


def _let_go(view: View, authority: Authority, note: MigrationNote) -> Decision | None:
    """The authority has gone on without this migration, or it is over here."""
    primary = drbd_of(view).role is Role.PRIMARY and authority.owner != view.host
    if view.holds_half or primary:
        return _drop(view, note, "it is over")
    if authority.migrates_as(note.id) and view.runs_note(note) is not None:
        return None  # it is not taken in a second time
    return _forget(view)


def _drop(view: View, note: MigrationNote, why: str) -> Start:
    return Start(
        Task.DROP,
        Reason.MIGRATION_OVER,
        f"letting the guest's half go: {why}",
        lambda: receiving.drop(view, replace(note, over=True)),
    )


def _forget(view: View) -> Start:
    return Start(
        Task.END_MIGRATION,
        Reason.MIGRATION_OVER,
        "the migration is over",
        receiving.forget,
    )
