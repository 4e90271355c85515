"""Whether a host or a site that is in maintenance has been emptied, and what holds it up. Pure.

What cannot leave as things are is foreseen from the beginning, also where that is because of those
that leave before it. Called by ``others``, and by the statuses of both.
"""

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import replace
from types import MappingProxyType

from tandem_api.kinds.guest import Guest
from tandem_api.meta import Condition, ObjectKey
from tandem_api.reasons import Reason
from tandem_controller.decide.conditions import bad, good
from tandem_controller.decide.guests.placement import no_room
from tandem_controller.decide.world.model import (
    Assign,
    Blocked,
    Decision,
    HostView,
    Load,
    Refusal,
    World,
    case_of,
)

NAMED = 3
"""So many guests are named; of the others there is only the number."""
Kept = Mapping[ObjectKey, str]
"""Guests that cannot leave as things are, and why."""
NOBODY: Kept = MappingProxyType({})


def stuck(world: World, decisions: Mapping[ObjectKey, Decision]) -> Kept:
    """Which guests of a host in maintenance cannot leave it as things are, and why.

    ``decisions``: about each guest, in their turns, as made in this plan. Who only waits for a turn
    takes the room that there is before those whose turn comes later.
    """
    if not any(view.maintenance for view in world.hosts.values()):
        return {}
    guests = {guest.key: guest for guest in world.snapshot.guests}
    loads = dict(world.loads)
    ahead, found = replace(world, loads=loads), dict[ObjectKey, str]()
    for key, decision in decisions.items():
        guest = world.in_force(guests[key])
        assignment = guest.status.assignment
        view = world.hosts.get(assignment.host) if assignment is not None else None
        empties = view is not None and bool(view.maintenance)
        if isinstance(decision, Assign):
            continue
        if decision.reason is Reason.MOVE_WAITING:
            why = _without_room(guest, ahead, loads)
        else:
            why = decision.message if empties or isinstance(decision, Blocked) else ""
        if why:
            found[key] = why
    return found


def _without_room(guest: Guest, ahead: World, loads: dict[str, Load]) -> str:
    """Why it will not fit once its turn comes; empty if it will, and then it has the room."""
    case = case_of(guest, ahead)
    if case is None or not case.assigned:
        return ""
    target = case.mirror.peer_of(case.assigned)
    obstacle = no_room(case, target)
    if obstacle is not None:
        return obstacle.message
    loads[target] = loads.get(target, Load()).plus(guest.spec.domain.memory.bytes)
    return ""


def drained(views: Iterable[HostView], world: World, kept: Kept = NOBODY) -> Condition:
    """Of what is in maintenance. A guest is there until its host says that it has stopped: one that
    is silent may run it all the same, as where only its way to the API is cut. ``kept``: as of
    ``stuck``.
    """
    names = {view.name for view in views}
    left = [(guest, why) for guest in world.snapshot.guests if (why := _stays(guest, names))]
    unread = [str(each.key) for each in world.snapshot.unreadable if each.kind == "Guest"]
    if not left and unread:
        why = f"guest {unread[0]} cannot be read, and may be here"
        return bad("Drained", Refusal(Reason.DRAINING, why))
    if not left:
        return good("Drained", Reason.DRAINED)
    count = f"{len(left)} guest{'s are' if len(left) > 1 else ' is'} still here"
    cannot = [(guest, kept[guest.key]) for guest, _ in left if guest.key in kept]
    if not cannot:
        return bad("Drained", Refusal(Reason.DRAINING, f"{count} ({_named(left)})"))
    which = f"{len(cannot)} of them cannot leave"
    if len(cannot) == len(left):
        which = "none of them can leave" if len(left) > 1 else "it cannot leave"
    message = f"{count}, and {which} as things are ({_named(cannot)})"
    return bad("Drained", Refusal(Reason.DRAIN_BLOCKED, message))


def _named(guests: list[tuple[Guest, str]]) -> str:
    told = "; ".join(f"{guest.key}: {why}" for guest, why in guests[:NAMED])
    return f"{told}; and {len(guests) - NAMED} more" if len(guests) > NAMED else told


def _stays(guest: Guest, names: set[str]) -> str:
    """Why it is still on one of these hosts; empty if it is not."""
    assignment = guest.status.assignment
    if assignment is None:
        return ""
    if assignment.host in names:
        return guest.status.message or "it is assigned here"
    return next(_not_stopped(guest, names), "")


def _not_stopped(guest: Guest, names: set[str]) -> Iterator[str]:
    assignment = guest.status.assignment
    for host, report in sorted(guest.status.hosts.items()):
        if assignment is not None and host in names and not report.has_stopped(assignment):
            yield f"{host} has not said yet that it has stopped there"
