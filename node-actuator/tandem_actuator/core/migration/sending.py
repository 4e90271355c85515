"""A host sends its guest to the other one as it runs: effects, step by step.

The order is the point: first the authority, then the note, then DRBD; and back the other way.
"""

from collections.abc import Generator
from dataclasses import replace

from tandem_actuator.core import authority as rules
from tandem_actuator.core.authority import Facts, Refusal, Verdict
from tandem_actuator.core.drbd import DrbdState
from tandem_actuator.core.effects import (
    Adjust,
    Configure,
    Demote,
    DomainRead,
    DrbdRead,
    Effect,
    Failed,
    Finished,
    ForbidTwo,
    Outcome,
    Procedure,
    QueryDomain,
    QueryDrbd,
    ResumeGuest,
    SendGuest,
    StopSending,
    UpdateRecord,
)
from tandem_actuator.core.mirror.procedures import sequence
from tandem_actuator.core.mirror.transaction import (
    UnexpectedOutcome,
    failed,
    refused,
    transact,
)
from tandem_actuator.core.model import MigrationNote, Record, View
from tandem_api.kinds.mirror import Mirror
from tandem_api.reasons import Reason
from tandem_api.vocabulary import DomainState, Role


def begin(view: View) -> Procedure:
    """The authority says so; then two may be Primary."""
    assignment = view.guest.status.assignment if view.guest else None

    def propose(mirror: Mirror, facts: Facts, request_id: str) -> Verdict:
        return rules.begin(mirror, facts, assignment, request_id)

    won = yield from transact(view, propose)
    if isinstance(won, Refusal):
        return refused(won)
    authority = won.mirror.status.authority
    assert authority is not None
    assert authority.migration is not None
    note = MigrationNote(authority.migration.id, str(view.instance), won.since_s)
    return (
        yield from sequence(
            Reason.MIGRATING,
            f"{view.peer} may be Primary beside it",
            ("the durable record", UpdateRecord(outgoing=note)),
            ("the resource file", Configure()),
            ("adjust", Adjust()),
        )
    )


def send(note: MigrationNote) -> Procedure:
    step = ("send", SendGuest(note.id))
    return (yield from sequence(Reason.MIGRATING, "libvirt sends it", step))


def stop(why: str) -> Procedure:
    step = ("give it up", StopSending(why))
    return (yield from sequence(Reason.MIGRATING, "told libvirt", step))


def leave(view: View, note: MigrationNote) -> Procedure:
    """Nothing of the guest is here: Secondary, one Primary alone, and then the target owns it.

    That libvirt has sent it is noted before anything comes of it, and counts for good, on later
    boots too. From when it is Secondary on the target may let the guest go on.
    """
    obstacle = None if note.gone else (yield from _is_gone())
    obstacle = obstacle or (yield from _secondary(view, note))
    if obstacle is not None:
        return obstacle

    def propose(mirror: Mirror, facts: Facts, request_id: str) -> Verdict:
        return rules.hand_over(mirror, facts, note.id, request_id)

    won = yield from transact(view, propose)
    if isinstance(won, Refusal):
        return refused(won)
    cleared = ("the durable record", UpdateRecord(outgoing=None))
    return (yield from sequence(Reason.HANDED_OVER, f"{view.peer} owns the mirror", cleared))


def _is_gone() -> Generator[Effect, Outcome, Finished | None]:
    read = yield QueryDomain()
    if isinstance(read, DomainRead) and read.domain is DomainState.ABSENT:
        return None
    why = "libvirt does not say that it is gone here"
    return Finished(Reason.UNKNOWN_STATE, why, progress=False, failed=True)


def has_all(drbd: DrbdState, record: Record) -> bool:
    """Whether the target has what this host, Primary, has acknowledged. Without a guest nothing is
    added to that.
    """
    same = drbd.in_sync and not drbd.out_of_sync_bytes
    return (same or drbd.only_there or drbd.frozen) and not record.owes_copy


def _secondary(view: View, note: MigrationNote) -> Generator[Effect, Outcome, Finished | None]:
    """Only if the target has all. Without a link it is that one that forbids two, for itself.

    The guest stands still meanwhile, so the kernels alone are told; the file follows by itself.
    """
    fresh = yield QueryDrbd()
    drbd = fresh.drbd if isinstance(fresh, DrbdRead) else None
    if not isinstance(drbd, DrbdState):
        return Finished(Reason.UNKNOWN_STATE, "DRBD does not tell its state", progress=False)
    if not note.gone and drbd.role is Role.PRIMARY and not has_all(drbd, view.record):
        return Finished(Reason.NOT_YET_IN_SYNC, "it has gone on alone", progress=False)
    steps: list[tuple[str, Effect]] = []
    if not note.gone:
        noted = replace(note, gone=True)
        steps.append(("the durable record", UpdateRecord(outgoing=noted)))
    if drbd.role is Role.PRIMARY:
        steps.append(("demote", Demote()))
    if drbd.connected:
        steps.append(("forbid two Primaries", ForbidTwo()))
    for what, effect in steps:
        outcome = yield effect
        if isinstance(outcome, Failed):
            return failed(what, outcome)
    return None


def go_on() -> Procedure:
    """Whatever the target holds: it lets nothing execute that it was not handed."""
    fresh = yield QueryDrbd()
    if not isinstance(fresh, DrbdRead):
        raise UnexpectedOutcome(fresh)
    step = ("resume", ResumeGuest(fresh.now_s))
    return (yield from sequence(Reason.RUNNING, "the guest goes on here", step))


def give_up(note: MigrationNote, reason: Reason, message: str) -> Procedure:
    """Two Primaries are forbidden as soon as the target has let go; it needs no word for that."""
    over = replace(note, gone=False, over=True)
    for what, effect in (
        ("the durable record", UpdateRecord(outgoing=over)),
        ("the resource file", Configure(apply=False)),
    ):
        outcome = yield effect
        if isinstance(outcome, Failed):
            return failed(what, outcome)
    return Finished(reason, message, progress=True)


def take_back(view: View, note: MigrationNote) -> Procedure:
    """The kernels forbid two before the authority says that there is one."""
    adjusted = yield Adjust()
    if isinstance(adjusted, Failed):
        return failed("adjust", adjusted)

    def propose(mirror: Mirror, facts: Facts, request_id: str) -> Verdict:
        return rules.take_back(mirror, facts, note.id, request_id)

    won = yield from transact(view, propose)
    if isinstance(won, Refusal):
        return refused(won)
    cleared = ("the durable record", UpdateRecord(outgoing=None))
    return (yield from sequence(Reason.MIGRATION_OVER, "as before", cleared))


def forget() -> Procedure:
    """What DRBD still allows is brought in line with the note by itself."""
    cleared = ("the durable record", UpdateRecord(outgoing=None))
    return (yield from sequence(Reason.MIGRATION_OVER, "noted", cleared))
