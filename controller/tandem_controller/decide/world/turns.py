"""How many planned moves may be under way at a time, and whether there is room for another. Pure.

Called by the decision about a move, and by ``known``, which counts them.
"""

from collections.abc import Iterable

from tandem_api.kinds.guest import Guest
from tandem_api.kinds.tandem import NAME, Moves, Tandem
from tandem_api.reasons import Reason
from tandem_api.vocabulary import GuestPhase
from tandem_controller.decide.world.guestmoves import leaving_s
from tandem_controller.decide.world.model import Refusal, World
from tandem_controller.decide.world.moments import Now, elapsed_s

LIMITED = (Reason.MAINTENANCE, Reason.FAILBACK, Reason.MOVE_REQUESTED)
"""Moves of guests that run well where they are: so many at a time, and no more."""
STUCK_S = 300.0
"""A move that takes this much longer than its guest may take to leave holds no place any more."""


def limit(tandems: Iterable[Tandem]) -> int:
    found = (each.spec.moves for each in tandems if each.metadata.name == NAME)
    return next(found, Moves()).max_concurrent


def may_count(guest: Guest) -> bool:
    """Whether it is being moved, whether or not it gets on."""
    assignment = guest.status.assignment
    if assignment is None or assignment.reason not in LIMITED or assignment.proof is not None:
        return False
    return guest.status.phase == GuestPhase.MOVING


def counts(guest: Guest, now: Now) -> bool:
    """Whether it is being moved just now, and gets on."""
    assignment = guest.status.assignment
    if assignment is None or not may_count(guest):
        return False
    took_s = elapsed_s(assignment.since, now)
    return took_s < leaving_s(guest) + STUCK_S


def no_turn(world: World) -> Refusal | None:
    """Why no other move may begin now."""
    most = limit(world.snapshot.tandems)
    if world.moving < most:
        return None
    message = f"{world.moving} guests are being moved already, of at most {most} at a time"
    hint = f"its turn comes by priority (spec.moves.maxConcurrent of Tandem {NAME})"
    return Refusal(Reason.MOVE_WAITING, f"{message}; {hint}")
