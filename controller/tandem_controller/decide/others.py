"""The statuses of mirrors, hosts, sites, Tandem, GuestMoves, and of what cannot be read. Pure."""

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import replace

from tandem_api.kinds.guest_move import GuestMove, GuestMoveStatus
from tandem_api.kinds.mirror import Mirror
from tandem_api.kinds.site import Site
from tandem_api.meta import (
    Model,
    ObjectKey,
    Resource,
    is_true,
)
from tandem_api.reasons import Reason
from tandem_api.vocabulary import MovePhase
from tandem_controller.decide.conditions import bad, patch, stamped, transitions
from tandem_controller.decide.memory import Recall, Told
from tandem_controller.decide.mirrors.claimants import Assignments
from tandem_controller.decide.status.draining import Kept, stuck
from tandem_controller.decide.status.mirror import mirror_status
from tandem_controller.decide.status.move import guest_of, move_status, unread
from tandem_controller.decide.status.site import host_status, site_status
from tandem_controller.decide.status.tandem import tandem_status
from tandem_controller.decide.walls import JUDGED, Walls, message
from tandem_controller.decide.world.model import (
    Decision,
    Freshness,
    HostView,
    Notice,
    Refusal,
    Unreadable,
    World,
    WriteStatus,
)
from tandem_controller.decide.world.watched import WatchedMapping


def other_statuses(
    world: World,
    watched: World,
    told: Told,
    walls: Walls,
    recall: Recall,
    decisions: Mapping[ObjectKey, Decision],
) -> Iterator[WriteStatus]:
    """``watched``: the same world, for what is said of each mirror by itself. ``told``: what this
    plan has come to, ``refusals`` by the mirror and ``new`` assignments by the guest.
    ``decisions``: about each guest, in their turns.
    """
    refusals = WatchedMapping("refusals", told["refusals"], recall.note)
    new = WatchedMapping("new", told["new"], recall.note)
    for mirror in world.snapshot.mirrors:
        yield from recall.again("mirror", mirror, _mirror, watched, refusals, new, walls)
    kept = stuck(world, decisions)
    for view in world.hosts.values():
        with walls.around(view.host):
            yield from _of_host(view, world, kept)
    for site in world.snapshot.sites:
        with walls.around(site):
            yield from _of_site(site, world, kept)
    for tandem in world.snapshot.tandems:
        with walls.around(tandem):
            status = tandem_status(tandem, world)
            notices = transitions(tandem.status.conditions, status.conditions)
            yield from status_write(tandem, tandem.status, status, notices)
    for each in world.snapshot.unreadable:
        yield from _unreadable(each, world)


def move_statuses(
    world: World, decisions: Mapping[ObjectKey, Decision], walls: Walls
) -> Iterator[WriteStatus]:
    """``decisions``: about each guest."""
    moves = [move for move in world.snapshot.guestmoves if not move.ended]
    guests = {guest.key: guest for guest in world.snapshot.guests} if moves else {}
    for move in moves:
        with walls.around(move):
            found, key = guests.get(guest_of(move)), guest_of(move)
            guest = world.in_force(found) if found is not None else None
            status = move_status(move, guest, world, decisions.get(key))
            yield from _of_move(move, status)


def _of_move(move: GuestMove, status: GuestMoveStatus) -> Iterator[WriteStatus]:
    """That it has ended is never taken back, so it is said of this very object alone."""
    ended = status.phase in tuple(MovePhase) and MovePhase(status.phase).ended
    version = move.metadata.resource_version if ended else None
    for write in status_write(move, move.status, status, _move_notices(move, status)):
        yield replace(write, version=version)


def _move_notices(move: GuestMove, status: GuestMoveStatus) -> tuple[Notice, ...]:
    if status.phase == move.status.phase:
        return ()
    failed = status.phase == MovePhase.FAILED
    return (Notice(failed, Reason(status.reason), f"{status.phase}: {status.message}"),)


def _mirror(
    mirror: Mirror,
    world: World,
    refusals: Mapping[ObjectKey, Refusal],
    new: Assignments,
    walls: Walls,
) -> tuple[WriteStatus, ...]:
    found = []
    with walls.around(mirror):
        for each in _of_mirror(mirror, world, refusals.get(mirror.key), new):
            found.append(each)
    return tuple(found)


def _of_mirror(
    mirror: Mirror, world: World, refusal: Refusal | None, new: Assignments
) -> Iterator[WriteStatus]:
    if not judged((replica.host for replica in mirror.spec.replicas), world):
        return
    shown = mirror_status(mirror, world, refusal, new)
    notices = _mirror_notices(mirror, shown)
    for write in status_write(mirror, mirror.status, shown, notices):
        # An entry is not taken away on top of one that somebody else has just added.
        narrows = "claimants" in write.patch
        version = mirror.metadata.resource_version if narrows else None
        yield replace(write, version=version)


def _of_host(view: HostView, world: World, kept: Kept) -> Iterator[WriteStatus]:
    if view.freshness is not Freshness.UNKNOWN:
        status = host_status(view, world, kept)
        notices = transitions(view.host.status.conditions, status.conditions)
        yield from status_write(view.host, view.host.status, status, notices)


def _of_site(site: Site, world: World, kept: Kept) -> Iterator[WriteStatus]:
    views = [view for view in world.hosts.values() if view.site_name == site.metadata.name]
    if judged((view.name for view in views), world):
        status = site_status(site, world, kept)
        notices = transitions(site.status.conditions, status.conditions)
        yield from status_write(site, site.status, status, notices)


def _mirror_notices(mirror: Mirror, new: Model) -> tuple[Notice, ...]:
    old, status = mirror.status, new
    assert isinstance(status, type(old))
    notices = transitions(old.conditions, status.conditions)
    told = (Reason.OVERRIDE_STALE, Reason.OVERRIDE_WAITING, Reason.OVERRIDE_REFUSED)
    if status.reason in told and status.reason != old.reason:
        return (*notices, Notice(True, status.reason, status.message))
    return notices


def status_write(
    obj: Resource, old: Model, new: Model, notices: tuple[Notice, ...]
) -> Iterator[WriteStatus]:
    difference = patch(old, new)
    if difference:
        kind = type(obj).__name__
        yield WriteStatus(kind, obj.key, obj.metadata.uid, difference, notices)


def _unreadable(each: Unreadable, world: World) -> Iterator[WriteStatus]:
    """Say on the object itself why it cannot be read; nothing else about it is touched, but for
    what people wait for on a GuestMove.
    """
    kind, why = "SpecValid", Refusal(Reason.SPEC_INVALID, "; ".join(map(str, each.problems)))
    if each.bug is not None:
        kind, why = JUDGED, Refusal(Reason.INTERNAL_ERROR, message(each.bug))
    wanted, said = [bad(kind, why)], dict[str, str]()
    if each.kind == GuestMove.__name__ and not is_true(each.conditions, "Ended"):
        said = unread(each, why, world)
        told = Refusal(why.reason, said["message"])
        wanted += [bad("Complete", told), bad("Ended", told)]
    old, types = each.conditions, {condition.type for condition in wanted}
    others = tuple(condition for condition in old if condition.type not in types)
    new = stamped(old, tuple(wanted), each.generation, world)
    if all(condition in old for condition in new):
        return
    conditions = [condition.wire() for condition in (*others, *new)]
    changes = {**said, "conditions": conditions}
    notice = Notice(True, why.reason, why.message)
    yield WriteStatus(each.kind, each.key, each.uid, changes, (notice,))


def judged(hosts: Iterable[str], world: World) -> bool:
    """Whether it is known of all these hosts how their heartbeats do."""
    views = [world.hosts[host] for host in hosts if host in world.hosts]
    return all(view.freshness is not Freshness.UNKNOWN for view in views)
