"""Which moves people have ordered (GuestMove): whose turn it is, and what has become of it. Pure.

Called by the decision about a guest, by who has it paused, and by the statuses.
"""

from tandem_api.kinds.guest import Guest, MoveReference
from tandem_api.kinds.guest_move import GuestMove
from tandem_api.reasons import Reason
from tandem_api.vocabulary import DomainState, MovePhase
from tandem_controller.decide.world.model import Case, Refusal, World
from tandem_controller.decide.world.moments import elapsed_s

PLUG_S = 30.0
"""So long after a guest's shutdown timeout its plug may take to be pulled."""
SETTLES_S = 300.0
"""So long after its time a move that was begun waits for the guest to run again, where it ends."""


def reference(move: GuestMove) -> MoveReference:
    return MoveReference(name=move.metadata.name, uid=move.metadata.uid)


def due(guest: Guest, world: World) -> GuestMove | None:
    """The move that is to be begun: the oldest, unless one is under way. One is begun once."""
    first = first_in_turn(guest, world)
    if under_way(guest, world) is not None or first is None or waited_in_vain(first, world):
        return None
    return first


def first_in_turn(guest: Guest, world: World) -> GuestMove | None:
    """The oldest that has not ended. One that is being deleted, and stays for somebody's finalizer,
    holds up no other.
    """
    waiting = (m for m in world.moves_of(guest) if m.metadata.deletion_timestamp is None)
    return next(waiting, None)


def due_to(target: str, case: Case) -> MoveReference | None:
    """The move to this host that is to be begun."""
    move = due(case.guest, case.world)
    return reference(move) if move is not None and destination(move, case) == target else None


def under_way(guest: Guest, world: World) -> GuestMove | None:
    """The move that the assignment carries out or has put an end to, until its status says so."""
    assignment = guest.status.assignment
    named = assignment.move if assignment is not None else None
    if named is None:
        return None
    return next((m for m in world.moves_of(guest) if m.metadata.uid == named.uid), None)


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


# -- its time


def waited_in_vain(move: GuestMove, world: World) -> bool:
    """Whether its time is over before it was begun. Counted since a controller has seen it: the API
    server's clock may be another.
    """
    seen = move.status.steps.get("seen")
    return elapsed_s(seen, world.snapshot) > move.spec.timeout_seconds


def leaving_s(guest: Guest) -> float:
    """How long its owner may take to let it go, as it is assigned: to stop it, or to send it."""
    assignment = guest.status.assignment
    if assignment is not None and assignment.live:
        return guest.spec.migration.timeout_seconds
    return guest.spec.shutdown_timeout_seconds


def allowed_s(move: GuestMove, guest: Guest) -> float:
    """How long the guest may take to leave, once the move was begun."""
    return max(move.spec.timeout_seconds, leaving_s(guest) + PLUG_S)


def begun_for_s(guest: Guest, world: World) -> float:
    """Since when it is assigned as it is."""
    assignment = guest.status.assignment
    return elapsed_s(assignment.since, world.snapshot) if assignment is not None else 0.0


def taken_back(guest: Guest, world: World) -> Refusal | None:
    """Why a move by hand that is under way is not to be gone on with."""
    assignment = guest.status.assignment
    if assignment is None or assignment.reason is not Reason.MOVE_REQUESTED:
        return None
    named = assignment.move
    if named is None:
        return None
    unread = next((each for each in world.snapshot.unreadable if each.uid == named.uid), None)
    if unread is not None:
        deleted = Refusal(Reason.MOVE_TAKEN_BACK, f"GuestMove {named.name} was deleted")
        return deleted if unread.deleting else None
    move = next((m for m in world.snapshot.guestmoves if m.metadata.uid == named.uid), None)
    if move is None or move.metadata.deletion_timestamp is not None:
        return Refusal(Reason.MOVE_TAKEN_BACK, f"GuestMove {named.name} was deleted")
    if move.status.phase == MovePhase.FAILED:
        return Refusal(Reason.MOVE_TAKEN_BACK, f"GuestMove {named.name} has failed")
    if begun_for_s(guest, world) > allowed_s(move, guest) and not move.ended:
        not_yet = "was not sent" if assignment.live else "has not stopped"
        within = f"within {allowed_s(move, guest):g} s"
        message = f"the guest {not_yet} for GuestMove {named.name} {within}"
        return Refusal(Reason.MOVE_TIMED_OUT, message)
    return None


# -- until the guest is where it is to be


def unsettled(guest: Guest, world: World) -> bool:
    """Whether a move by hand, or what has put an end to one, is still on its way: its hosts must
    stop and start the guest, also if it is paused. That ends, whatever becomes of the move.
    """
    assignment = guest.status.assignment
    if assignment is None or assignment.move is None or guest.status.paused_by:
        return False
    begun_s = begun_for_s(guest, world)
    return begun_s < _settling_s(guest) and not settled(guest, world)


def settled(guest: Guest, world: World) -> bool:
    """Whether it runs where it is assigned, and nothing that it was told before can end it.

    What was to be sent as it ran and was taken back stays once its host, knowing that, says that it
    runs and that nothing else is under way.
    """
    assignment = guest.status.assignment
    if assignment is None or not assignment.host:
        reports = guest.status.hosts.values()
        return assignment is None or all(report.has_stopped(assignment) for report in reports)
    report = guest.status.hosts.get(assignment.host)
    if report is None or report.assignment_serial < assignment.serial:
        return False
    if report.state != DomainState.RUNNING:
        return False
    outlived = begun_for_s(guest, world) > guest.spec.shutdown_timeout_seconds + PLUG_S
    stays = assignment.undisturbed and report.reason is Reason.RUNNING
    return outlived or stays or report.started_by >= assignment.serial


def _settling_s(guest: Guest) -> float:
    return leaving_s(guest) + PLUG_S + SETTLES_S
