"""Which moves people have ordered (GuestMove): whose turn it is, and what has become of it. Pure.

Called by the decision about a guest, by who has it paused, and by the statuses.
"""

from datetime import timedelta

from tandem_api.kinds.guest import Guest, MoveReference
from tandem_api.kinds.guest_move import GuestMove
from tandem_api.meta import moment
from tandem_api.reasons import Reason
from tandem_controller.decide.world.model import Case, Refusal, World


def reference(move: GuestMove) -> MoveReference:
    return MoveReference(name=move.metadata.name, uid=move.metadata.uid)


def due(guest: Guest, world: World) -> GuestMove | None:
    """The move that is to be begun: the oldest, unless one is under way. One is begun once."""
    waiting = world.moves_of(guest)
    if under_way(guest, world) is not None or not waiting or expired(waiting[0], world.wall):
        return None
    return waiting[0] if waiting[0].metadata.deletion_timestamp is None else None


def under_way(guest: Guest, world: World) -> GuestMove | None:
    """The move that the assignment carries out or has put an end to, until its status says so."""
    assignment = guest.status.assignment
    named = assignment.move if assignment is not None else None
    if named is None:
        return None
    return next((m for m in world.moves_of(guest) if m.metadata.uid == named.uid), None)


def expired(move: GuestMove, wall: str) -> bool:
    """Whether its time is over. One of which nobody can tell when it was made has time."""
    created, now = moment(move.metadata.creation_timestamp), moment(wall)
    if created is None or now is None:
        return False
    return now - created > timedelta(seconds=move.spec.timeout_seconds)


def destination(move: GuestMove, case: Case) -> str | Refusal:
    """The host that it names."""
    to = move.spec.to
    for host in case.replicas:
        view = case.view(host)
        if host == to.host or (view is not None and view.site_name == to.site):
            return host
    kept = " and ".join(
        f"{host} (site {view.site_name})" if (view := case.view(host)) else host
        for host in case.replicas
    )
    message = f"spec.to: {to} keeps no replica of mirror {case.mirror.key}; {kept} do"
    return Refusal(Reason.MOVE_IMPOSSIBLE, message)


def taken_back(guest: Guest, world: World) -> Refusal | None:
    """Why a move by hand that is under way is not to be gone on with."""
    assignment = guest.status.assignment
    if assignment is None or assignment.reason is not Reason.MOVE_REQUESTED:
        return None
    named = assignment.move
    if named is None or any(each.uid == named.uid for each in world.snapshot.unreadable):
        return None
    move = next((m for m in world.snapshot.guestmoves if m.metadata.uid == named.uid), None)
    if move is None or move.metadata.deletion_timestamp is not None:
        return Refusal(Reason.MOVE_TAKEN_BACK, f"GuestMove {named.name} was deleted")
    if expired(move, world.wall) and not move.ended:
        allowed_s = move.spec.timeout_seconds
        message = f"GuestMove {named.name} allows {allowed_s} s, and the guest has not stopped"
        return Refusal(Reason.MOVE_TIMED_OUT, message)
    return None
