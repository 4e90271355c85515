"""What became of a GuestMove: its status, from the guest's; and which old ones may go. Pure.

Nothing is decided here. What is begun, and taken back, is the guest's assignment. Called by
``others`` and ``plan``.
"""

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass

from tandem_api.kinds.guest import Assignment, Guest
from tandem_api.kinds.guest_move import HISTORY, GuestMove, GuestMoveStatus
from tandem_api.meta import Condition, ObjectKey
from tandem_api.reasons import Reason
from tandem_api.vocabulary import MovePhase
from tandem_controller.decide.conditions import bad, good, judged, spec_valid, stamped
from tandem_controller.decide.world.guestmoves import (
    SETTLES_S,
    allowed_s,
    begun_for_s,
    destination,
    first_in_turn,
    settled,
    waited_in_vain,
)
from tandem_controller.decide.world.hosts import runs
from tandem_controller.decide.world.model import (
    Case,
    Decision,
    Refusal,
    Unreadable,
    World,
    case_of,
)
from tandem_controller.decide.world.moments import elapsed_s

TARGETS_STEPS = ("promoted", "domainStarted")
"""Steps that the target reports; see ``GuestReport.steps``."""


@dataclass(frozen=True)
class _Said:
    phase: MovePhase
    reason: Reason
    message: str


def guest_of(move: GuestMove) -> ObjectKey:
    return ObjectKey(namespace=move.metadata.namespace, name=move.spec.guest)


def move_status(
    move: GuestMove, guest: Guest | None, world: World, decision: Decision | None
) -> GuestMoveStatus:
    """Its whole status. One that has ended stays as it is.

    ``guest``: as it is run, None if there is none that can be read. ``decision``: what was decided
    about it in this plan.
    """
    if move.ended:
        return move.status
    if guest is None:
        return _told(move, world, _absent(move, world), None, None)
    case = case_of(guest, world)
    named = _named(move, guest)
    if named is not None:
        said = _begun(move, guest, named, case, world)
    else:
        said = _not_begun(move, guest, case, world, decision)
    return _told(move, world, said, guest, case)


def _named(move: GuestMove, guest: Guest) -> Assignment | None:
    """The guest's assignment, if it is about this move."""
    assignment = guest.status.assignment
    about = assignment.move if assignment is not None else None
    return assignment if about is not None and about.uid == move.metadata.uid else None


def _absent(move: GuestMove, world: World) -> _Said:
    key, begun = guest_of(move), "assigned" in move.status.steps
    unreadable = any((each.kind, each.key) == ("Guest", key) for each in world.snapshot.unreadable)
    why = f"guest {key} cannot be read" if unreadable else f"there is no guest {key}"
    if begun and unreadable:
        return _Said(MovePhase.MOVING, Reason.MOVE_WAITING, why)
    if begun:
        return _Said(MovePhase.FAILED, Reason.MOVE_IMPOSSIBLE, f"{why} any more")
    return _waits(move, world, Reason.MOVE_WAITING, why)


def _waits(move: GuestMove, world: World, reason: Reason, why: str) -> _Said:
    if waited_in_vain(move, world):
        allowed_s = move.spec.timeout_seconds
        message = f"It was not begun within {allowed_s} s: {why}"
        return _Said(MovePhase.FAILED, Reason.MOVE_TIMED_OUT, message)
    return _Said(MovePhase.PENDING, reason, why)


def _not_begun(
    move: GuestMove, guest: Guest, case: Case | None, world: World, decision: Decision | None
) -> _Said:
    if move.metadata.deletion_timestamp is not None:
        return _Said(MovePhase.FAILED, Reason.MOVE_TAKEN_BACK, "It was deleted before it was begun")
    if guest.metadata.deletion_timestamp is not None:
        return _Said(MovePhase.FAILED, Reason.MOVE_IMPOSSIBLE, "the guest is being deleted")
    if not guest.spec.running:
        message = "the guest shall not run: set spec.running to true on it, and move it then"
        return _Said(MovePhase.FAILED, Reason.MOVE_IMPOSSIBLE, message)
    if case is None:
        why = f"mirror {guest.mirror_in_use} is not set up"
        return _waits(move, world, Reason.MOVE_WAITING, why)
    target = destination(move, case)
    if isinstance(target, Refusal):
        return _Said(MovePhase.FAILED, target.reason, target.message)
    first = first_in_turn(guest, world)
    if first is not None and first.metadata.uid != move.metadata.uid:
        why = f"GuestMove {first.metadata.name} comes first"
        return _waits(move, world, Reason.MOVE_WAITING, why)
    if _runs_on(target, guest, case):
        return _Said(MovePhase.SUCCEEDED, Reason.MOVED, f"It runs on {target} already")
    message = decision.message if decision is not None else guest.status.message
    return _waits(move, world, Reason.MOVE_WAITING, message)


def _begun(
    move: GuestMove, guest: Guest, assignment: Assignment, case: Case | None, world: World
) -> _Said:
    """The assignment carries it out, or has put an end to it."""
    if not assignment.host or guest.metadata.deletion_timestamp is not None:
        return _Said(MovePhase.FAILED, assignment.reason, assignment.message)
    arrives = case is not None and assignment.host == destination(move, case)
    there = case is not None and _runs_on(assignment.host, guest, case)
    if there and (arrives or settled(guest, world)):
        reason = Reason.MOVED if arrives else assignment.reason
        phase = MovePhase.SUCCEEDED if arrives else MovePhase.FAILED
        return _Said(phase, reason, assignment.message)
    told = guest.status.message or assignment.message
    if begun_for_s(guest, world) > allowed_s(move, guest) + SETTLES_S:
        message = f"It does not run on {assignment.host} yet, long after its time: {told}"
        return _Said(MovePhase.FAILED, Reason.MOVE_TIMED_OUT, message)
    return _Said(MovePhase.MOVING, assignment.reason, told)


def _runs_on(host: str, guest: Guest, case: Case) -> bool:
    view, report = case.view(host), guest.status.hosts.get(host)
    assignment = guest.status.assignment
    if view is None or report is None or assignment is None or assignment.host != host:
        return False
    heard = report.assignment_serial >= assignment.serial
    return heard and view.fresh and runs(report, view, case.authority.owner)


# -- what is told of it


def _told(
    move: GuestMove, world: World, said: _Said, guest: Guest | None, case: Case | None
) -> GuestMoveStatus:
    old, generation = move.status, move.metadata.generation
    steps = {**old.steps, **_steps(move, said, guest, world)}
    target = destination(move, case) if case is not None else old.target
    complete = (
        good("Complete", said.reason, said.message)
        if said.phase is MovePhase.SUCCEEDED
        else bad("Complete", Refusal(said.reason, said.message))
    )
    refusal = None if said.phase.ended else Refusal(said.reason, said.message)
    ended = judged("Ended", refusal, said.reason, said.message)
    conditions: tuple[Condition, ...] = (complete, ended, spec_valid(world, move))
    return old.model_copy(
        update={
            "phase": said.phase,
            "source": _source(move, guest, case) or old.source,
            "target": target if isinstance(target, str) else "",
            "reason": said.reason,
            "message": said.message,
            "steps": steps,
            "away_seconds": _away_s(old.steps.get("stopped"), steps, world),
            "observed_generation": generation,
            "conditions": stamped(old.conditions, conditions, generation, world),
        }
    )


def _source(move: GuestMove, guest: Guest | None, case: Case | None) -> str:
    """Where it is before it begins; then the host that is not its target."""
    if guest is None or case is None:
        return ""
    target = destination(move, case)
    if _named(move, guest) is not None and isinstance(target, str):
        return case.mirror.peer_of(target)
    return case.authority.owner


def _steps(move: GuestMove, said: _Said, guest: Guest | None, world: World) -> dict[str, str]:
    """What has been seen for the first time."""
    assignment = _named(move, guest) if guest is not None else None
    found = {"seen": move.status.steps.get("seen", world.wall)}
    if said.phase.ended:
        found["ended"] = world.wall
    if guest is None or assignment is None:
        return found
    if "assigned" not in move.status.steps:
        found["assigned"] = assignment.since
    source, target = move.status.source, guest.status.hosts.get(assignment.host)
    stopped = guest.status.hosts.get(source)
    if assignment.host != source and stopped is not None and stopped.has_stopped(assignment):
        found["stopped"] = move.status.steps.get("stopped", world.wall)
    if target is not None and target.assignment_serial == assignment.serial:
        found |= {step: target.steps[step] for step in TARGETS_STEPS if step in target.steps}
    if said.phase is MovePhase.SUCCEEDED:
        found["running"] = world.wall
    return found


def _away_s(stopped: str | None, steps: Mapping[str, str], world: World) -> float | None:
    """Once it runs again, which is first seen in this plan."""
    if stopped is None or "running" not in steps:
        return None
    return round(elapsed_s(stopped, world.snapshot), 1)


# -- what cannot be read


def unread(each: Unreadable, why: Refusal, world: World) -> dict[str, str]:
    """What is told of one that has not ended, beside its conditions: its order is not known, and so
    it is neither begun nor given up. ``why``: as SpecValid says.
    """
    begun = any(_is_named(guest, each.uid) for guest in world.snapshot.guests)
    what = (
        "It was begun, and what becomes of it tells the guest's status. To take it back, delete it"
        if begun
        else "It is not begun. Delete it and create another, or run a controller that can read it"
    )
    phase = MovePhase.MOVING if begun else MovePhase.PENDING
    message = f"This controller cannot read it: {why.message}. {what}"
    return {"phase": phase, "reason": why.reason, "message": message}


def _is_named(guest: Guest, uid: str) -> bool:
    assignment = guest.status.assignment
    return assignment is not None and assignment.move is not None and assignment.move.uid == uid


# -- history


def outdated(moves: Sequence[GuestMove]) -> Iterator[GuestMove]:
    """Those that have ended and are not among the last of their guest to do so: as the server has
    numbered the writes, since no clock says for sure what was first.
    """
    by_guest: dict[ObjectKey, list[GuestMove]] = {}
    for move in moves:
        if move.ended and move.metadata.deletion_timestamp is None:
            by_guest.setdefault(guest_of(move), []).append(move)
    for found in by_guest.values():
        yield from _oldest(found)


def _oldest(found: Iterable[GuestMove]) -> Iterable[GuestMove]:
    last_first = sorted(found, key=lambda m: (m.metadata.revision, m.metadata.name), reverse=True)
    return last_first[HISTORY:]
