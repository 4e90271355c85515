"""What there is to say of a guest besides what was decided: of its disk, its host, its last edit.

It decides nothing. Called by ``guest``.
"""

from tandem_api.kinds.guest import Guest
from tandem_api.reasons import Reason
from tandem_api.vocabulary import GuestPhase
from tandem_controller.decide.world import delivery
from tandem_controller.decide.world.model import Case, Refusal, World
from tandem_controller.decide.world.pausing import held_by, paused_by
from tandem_controller.decide.world.standstill import (
    held_open,
    held_up,
    silent_disk,
    stands_for_its_link,
    unless_parted,
)

Why = tuple[str, str]


def besides(
    why: Why, guest: Guest, case: Case | None, phase: GuestPhase, where: str, world: World
) -> Why:
    """Reason and message with all of it. ``where``: the host that it is assigned to."""
    if case is not None:
        told = _as_of(_standing(why, case, phase), case, phase, where)
        why = told if told == why else _while_paused(told, guest, case)
    return _beside_an_edit(why, guest, phase, world)


def _and(message: str, more: str) -> str:
    """One more sentence, unless it is there: the message may be the one that was told already."""
    sentence = f"{more[:1].upper()}{more[1:]}"
    return message if sentence in message or more in message else f"{message}. {sentence}"


def _standing(why: Why, case: Case, phase: GuestPhase) -> Why:
    """What there is to say first, or besides, of a guest that waits for the disk of its owner."""
    if phase in (GuestPhase.PENDING, GuestPhase.STOPPED):
        return why
    owner = case.authority.owner
    held = held_up(case.mirror, owner, case.world)
    if phase is GuestPhase.RUNNING:
        return _first(held, why) if held is not None else why
    held = held or silent_disk(case.mirror, owner, case.world) or _holds_the_other(case)
    if held is None:
        return why
    report = case.report(owner)
    told = report is not None and stands_for_its_link(report) and report.message in why[1]
    helps = unless_parted(case.mirror, owner, case.world)
    return why[0], _and(why[1], f"It stands still: {helps}" if told else held.message)


def _holds_the_other(case: Case) -> Refusal | None:
    """Its owner cannot be Primary beside a device that a silent disk keeps open."""
    report = case.report(case.authority.owner)
    if report is None or report.reason is not Reason.PEER_STILL_PRIMARY:
        return None
    return held_open(case.mirror, case.mirror.peer_of(case.authority.owner), case.world)


def _first(held: Refusal, why: Why) -> Why:
    """And then what was decided, if that is more than that it belongs there."""
    decided = "" if why[0] == Reason.RUNNING else f". {why[1]}"
    return held.reason, f"{held.message}{decided}"


def _while_paused(why: Why, guest: Guest, case: Case) -> Why:
    """Who does what the message says must not wait in vain for what shall come of it."""
    by = paused_by(guest, case.world, case, *case.replicas)
    return (why[0], _and(why[1], held_by(by))) if by else why


def _as_of(why: Why, case: Case, phase: GuestPhase, where: str) -> Why:
    """That what is told is of a while ago, where the host that has the guest cannot tell more."""
    here = case.authority.owner or where
    old = delivery.refusal(case.mirror, here, case.world)
    if old is None:
        return why
    helps = ""
    if case.authority.owner == here and phase is not GuestPhase.STOPPED:
        helps = f". {delivery.stands_still(case.mirror, here, case.world)}"
    reason = old.reason if phase is GuestPhase.RUNNING else why[0]
    return reason, _and(why[1], f"{old.message}{helps}")


def _beside_an_edit(why: Why, guest: Guest, phase: GuestPhase, world: World) -> Why:
    """What there is to say besides, while the newest edit of the spec does not pass."""
    if guest.key not in world.accepted:
        return why
    reason, message = why
    problems = "; ".join(map(str, world.problems_of(guest)))
    edit = (
        f"the last edit (generation {guest.metadata.generation}) is not in force, no field of it:"
        f" {problems}. The guest is run as it was accepted before; correct it, or take it back"
    )
    if phase in (GuestPhase.RUNNING, GuestPhase.STOPPED):
        return Reason.SPEC_INVALID, f"{message}, but {edit}"
    return reason, _and(message, f"besides, {edit}")
