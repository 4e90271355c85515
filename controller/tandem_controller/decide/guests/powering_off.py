"""For which hosts' guests nothing is missing but proof that their owner has stopped. Pure.

Only these hosts are worth switching off. Called by ``plan``; whether one may be is judged by
``world/fence_agents``, again and again, by ``run/power``.
"""

from collections.abc import Iterator, Mapping

from tandem_api.meta import ObjectKey
from tandem_api.reasons import Reason
from tandem_controller.decide.guests.takeover import waits_for_proof_alone
from tandem_controller.decide.walls import Walls
from tandem_controller.decide.world.model import (
    Blocked,
    Decision,
    Freshness,
    HostView,
    Keep,
    World,
    case_of,
)
from tandem_controller.decide.world.pausing import paused_by

WAITING = (Reason.WAITING_FOR_LEASE, Reason.WAITING_FOR_FENCING_PROOF)


def wanted(
    world: World, decisions: Mapping[ObjectKey, Decision], walls: Walls
) -> Mapping[str, tuple[str, ...]]:
    """The hosts, each with the guests that wait for it to have stopped."""
    found = {}
    for name, view in world.hosts.items():
        with walls.around(view.host):
            silent = view.freshness in (Freshness.LATE, Freshness.LOST)
            if not silent or view.host.spec.fence_agent is None or _is_paused(view, world):
                continue
            guests = tuple(_waiting(name, world, decisions))
            if guests and not _another_is_paused(name, world):
                found[name] = guests
    return found


def _waiting(host: str, world: World, decisions: Mapping[ObjectKey, Decision]) -> Iterator[str]:
    for mirror in world.catalogue.mirrors_by_host.get(host, ()):
        for guest in world.catalogue.guests_by_mirror.get(mirror.key, ()):
            decision, case = decisions.get(guest.key), case_of(world.in_force(guest), world)
            waits = isinstance(decision, Keep | Blocked) and decision.reason in WAITING
            if case is None or not waits or case.authority.owner != host:
                continue
            target = mirror.peer_of(host)
            by = paused_by(case.guest, world, case, target)
            if not by and waits_for_proof_alone(case, target):
                yield str(guest.key)


def _is_paused(view: HostView, world: World) -> bool:
    """Hands are kept off all of a paused host."""
    site = view.site is not None and view.site.spec.paused
    return view.host.spec.paused or site or any(each.spec.paused for each in world.snapshot.tandems)


def _another_is_paused(host: str, world: World) -> bool:
    """A guest that may be there and is paused is to be left alone: so is the machine."""
    for mirror in world.catalogue.mirrors_by_host.get(host, ()):
        authority = mirror.status.authority
        if authority is None or authority.owner != host:
            continue
        guests = world.catalogue.guests_by_mirror.get(mirror.key, ())
        if mirror.spec.paused or any(guest.spec.paused for guest in guests):
            return True
    return any(kind in ("Mirror", "Guest") for kind, _ in world.catalogue.unreadable)
