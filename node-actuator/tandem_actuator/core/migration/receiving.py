"""A host is sent a guest as it runs: effects, step by step. The order is the point."""

from dataclasses import replace

from tandem_actuator.core import authority as rules
from tandem_actuator.core.authority import Refusal
from tandem_actuator.core.drbd import DrbdState, DrbdView
from tandem_actuator.core.effects import (
    Adjust,
    Configure,
    Demote,
    DestroyGuest,
    Disconnect,
    DomainRead,
    DrbdRead,
    Effect,
    Failed,
    Finished,
    MirrorRead,
    Procedure,
    Promote,
    QueryDomain,
    QueryDrbd,
    ReadMirror,
    ReceiveGuest,
    ResumeGuest,
    StopReceiving,
    UpdateRecord,
)
from tandem_actuator.core.mirror.procedures import sequence
from tandem_actuator.core.mirror.transaction import (
    UnexpectedOutcome,
    facts_of,
    failed,
    refused,
    words,
)
from tandem_actuator.core.model import MigrationNote, View
from tandem_api.reasons import Reason
from tandem_api.vocabulary import Connection, DomainState, Role


def receive(view: View, note: MigrationNote) -> Procedure:
    """A quorum says that it is under way, the owner that it has noted it; then both are Primary.

    It looks once more when it is. Who was the source of a copy, and has not heard yet that it has
    ended, would go on alone without being asked.
    """
    read = yield ReadMirror()
    if not isinstance(read, MirrorRead):
        return Finished(Reason.API_UNREACHABLE, words(read), progress=False, failed=True)
    hold = rules.held(read.mirror, read.record)
    if hold is not None:
        return refused(hold)
    authority = read.mirror.status.authority
    if authority is None or not authority.migrates_as(note.id):
        return Finished(Reason.MIGRATION_OVER, "that migration is over", progress=False)
    if authority.migration is None or not rules.is_noted(read.mirror, authority.migration):
        why = f"{view.peer} does not say that it sends it"
        return Finished(Reason.MIGRATION_OVER, why, progress=False)
    for what, effect in (
        ("the durable record", UpdateRecord(epoch=authority.epoch, incoming=note)),
        ("the resource file", Configure()),
        ("adjust", Adjust()),
        ("promote", Promote()),
    ):
        outcome = yield effect
        if isinstance(outcome, Failed):
            return failed(what, outcome)
    fresh = yield QueryDrbd()
    if not isinstance(fresh, DrbdRead):
        raise UnexpectedOutcome(fresh)
    drbd = fresh.drbd
    alike = isinstance(drbd, DrbdState) and (drbd.in_sync or drbd.only_here)
    if not isinstance(drbd, DrbdState) or not alike or drbd.role is not Role.PRIMARY:
        return Finished(Reason.NOT_YET_IN_SYNC, "not in sync beside it", progress=True, failed=True)
    ready = ("receive", ReceiveGuest(note.id))
    return (yield from sequence(Reason.RECEIVING, "ready for the guest", ready))


def resume(view: View, note: MigrationNote) -> Procedure:
    """The mirror is this host's, by a quorum. What may run is noted before it does."""
    read = yield ReadMirror()
    if not isinstance(read, MirrorRead):
        return Finished(Reason.API_UNREACHABLE, words(read), progress=False, failed=True)
    fresh = yield QueryDrbd()
    if not isinstance(fresh, DrbdRead):
        raise UnexpectedOutcome(fresh)
    facts = facts_of(replace(view, record=read.record), fresh)
    verdict = rules.handed_to(read.mirror, facts, note.id)
    if isinstance(verdict, Refusal):
        return refused(verdict)
    authority = verdict.authority
    noted = UpdateRecord(
        epoch=authority.epoch,
        owned_epoch=authority.epoch,
        incarnation=authority.incarnation,
        started_boot_id=view.instance.boot_id,
        incoming=replace(note, resumed=True),
    )
    return (
        yield from sequence(
            Reason.RUNNING,
            "the guest goes on here",
            ("the durable record", noted),
            ("resume", ResumeGuest(fresh.now_s)),
            ("the durable record", UpdateRecord(incoming=None)),
            ("stop receiving", StopReceiving()),
        )
    )


def resume_as_told(view: View, note: MigrationNote) -> Procedure:
    """The source is Secondary, in the connection that it promised that in; the authority follows.

    Nobody can have taken over from here, if this host's heartbeat has never lapsed since it was
    told to take the guest in.
    """
    fresh = yield QueryDrbd()
    if not isinstance(fresh, DrbdRead):
        raise UnexpectedOutcome(fresh)
    if not is_let_go(fresh.drbd):
        why = f"{view.peer} is not seen as Secondary any more"
        return Finished(Reason.UNKNOWN_STATE, why, progress=False, failed=True)
    noted = UpdateRecord(
        started_boot_id=view.instance.boot_id, incoming=replace(note, resumed=True)
    )
    return (
        yield from sequence(
            Reason.RUNNING,
            f"the guest goes on here; {view.peer} hands the mirror over",
            ("the durable record", noted),
            ("resume", ResumeGuest(note.since_s)),
            ("stop receiving", StopReceiving()),
        )
    )


def own(view: View, note: MigrationNote) -> Procedure:
    """It goes on here already, and the mirror is this host's by now."""
    read = yield ReadMirror()
    if not isinstance(read, MirrorRead):
        return Finished(Reason.API_UNREACHABLE, words(read), progress=False, failed=True)
    verdict = rules.handed_to(read.mirror, facts_of(replace(view, record=read.record)), note.id)
    if isinstance(verdict, Refusal):
        return refused(verdict)
    authority = verdict.authority
    noted = UpdateRecord(
        epoch=authority.epoch,
        owned_epoch=authority.epoch,
        incarnation=authority.incarnation,
        incoming=None,
    )
    return (
        yield from sequence(Reason.RUNNING, "the mirror is its own", ("the durable record", noted))
    )


def is_let_go(drbd: DrbdView) -> bool:
    """Whether this host alone is Primary, connected, and has its data."""
    if not isinstance(drbd, DrbdState) or not drbd.connected or drbd.without_data:
        return False
    return drbd.role is Role.PRIMARY and drbd.peer_role is Role.SECONDARY


def drop(view: View, note: MigrationNote) -> Procedure:
    """Nothing of it may ever go on: the half first, then the device. The source waits for that."""
    steps: list[tuple[str, Effect]] = [("stop receiving", StopReceiving())]
    if view.holds_half:
        steps.append(("destroy its half", DestroyGuest()))
    if isinstance(view.drbd, DrbdState) and view.drbd.role is Role.PRIMARY:
        steps.append(("demote", Demote()))
    steps.append(("the durable record", UpdateRecord(incoming=note)))
    steps.append(("the resource file", Configure(apply=False)))
    return (yield from sequence(Reason.MIGRATION_OVER, "let the guest's half go", *steps))


def step_back(view: View) -> Procedure:
    """A half that libvirt does not tell of may hold the device: then no link makes it count."""
    outcome = yield Demote()
    if not isinstance(outcome, Failed):
        return Finished(Reason.MIGRATION_OVER, "device is Secondary", progress=True)
    parted = isinstance(view.drbd, DrbdState) and view.drbd.connection is Connection.STANDALONE
    if parted or not isinstance(view.drbd, DrbdState) or view.drbd.connected:
        return failed("demote", outcome)
    return (
        yield from sequence(
            Reason.MIGRATION_OVER, "no link leads to it any more", ("disconnect", Disconnect())
        )
    )


def forget() -> Procedure:
    """By a look of its own: what arrived a moment ago is not in the last one yet."""
    read = yield QueryDomain()
    if not isinstance(read, DomainRead) or read.domain in (DomainState.PAUSED, DomainState.UNKNOWN):
        why = "libvirt does not say that nothing which was sent waits here"
        return Finished(Reason.UNKNOWN_STATE, why, progress=False, failed=True)
    cleared = ("the durable record", UpdateRecord(incoming=None))
    return (yield from sequence(Reason.MIGRATION_OVER, "noted", cleared))
