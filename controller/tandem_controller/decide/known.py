"""What is known of all objects: indexed, checked, and with the heartbeats judged. Pure."""

from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import replace
from functools import partial

from tandem_api.check.catalogue import Catalogue
from tandem_api.check.guests import guest_problems
from tandem_api.check.validation import (
    host_problems,
    mirror_problems,
    site_problems,
    tandem_problems,
)
from tandem_api.kinds.guest import Guest
from tandem_api.kinds.guest_move import GuestMove
from tandem_api.kinds.host import Host
from tandem_api.meta import (
    ObjectKey,
    Problem,
    Resource,
)
from tandem_api.vocabulary import DomainState
from tandem_controller.decide.walls import Walls
from tandem_controller.decide.world import turns
from tandem_controller.decide.world.hosts import host_view
from tandem_controller.decide.world.model import (
    Freshness,
    HostView,
    Load,
    Snapshot,
    World,
)

Problems = Mapping[tuple[str, ObjectKey], tuple[Problem, ...]]


def world_of(snapshot: Snapshot, walls: Walls) -> World:
    """The snapshot, indexed, checked, and with the heartbeats judged."""
    catalogue = Catalogue.of(
        sites=snapshot.sites,
        hosts=snapshot.hosts,
        mirrors=snapshot.mirrors,
        guests=snapshot.guests,
        unreadable=((each.kind, each.key) for each in snapshot.unreadable),
        around=walls.around,
    )
    behind = (bug.subject for bug in walls.bugs)
    catalogue = replace(catalogue, unreadable=catalogue.unreadable.union(behind))
    problems = _problems(snapshot, catalogue, walls)
    views = {
        host.metadata.name: _host_view(host, snapshot, catalogue, problems, walls)
        for host in snapshot.hosts
    }
    accepted = dict(_accepted(snapshot, catalogue, problems, walls))
    guests = [accepted[g.key][0] if g.key in accepted else g for g in snapshot.guests]
    return World(
        snapshot=snapshot,
        catalogue=catalogue,
        hosts=views,
        problems=problems,
        loads=_loads(guests, walls),
        accepted=accepted,
        moves=_moves(snapshot, walls),
        users=_users(guests, walls),
        moving=_moving(guests, snapshot, walls),
    )


def _host_view(
    host: Host, snapshot: Snapshot, catalogue: Catalogue, problems: Problems, walls: Walls
) -> HostView:
    """Behind a wall it is not absent: nobody knows how it is, so nothing comes to it or from it."""
    found = problems.get(("Host", host.key), ())
    with walls.around(host):
        site = catalogue.sites.get(host.spec.site)
        return host_view(host, site, snapshot.leases, snapshot.now_s, found)
    return HostView(host, None, Freshness.UNKNOWN, problems=found)


def _accepted(
    snapshot: Snapshot, catalogue: Catalogue, problems: Problems, walls: Walls
) -> Iterator[tuple[ObjectKey, tuple[Guest, tuple[Problem, ...]]]]:
    for guest in snapshot.guests:
        accepted = guest.status.accepted
        if accepted is None or not problems.get(("Guest", guest.key)) or walls.of(guest):
            continue
        with walls.around(guest):
            paused = {"paused": guest.spec.paused}  # a switch works whatever else is wrong
            before = guest.model_copy(update={"spec": accepted.model_copy(update=paused)})
            found = tuple(guest_problems(before, catalogue))
            yield guest.key, (before, found)


def _problems(
    snapshot: Snapshot, catalogue: Catalogue, walls: Walls
) -> dict[tuple[str, ObjectKey], tuple[Problem, ...]]:
    """What is wrong with each object. One that cannot be judged is as good as refused."""
    found: dict[tuple[str, ObjectKey], tuple[Problem, ...]] = {}

    def add(obj: Resource, check: Callable[[], Iterable[Problem]]) -> None:
        key = (type(obj).__name__, obj.key)
        problems = list(snapshot.unknown_fields.get(key, ()))
        with walls.around(obj):
            problems += check()
        bug = walls.of(obj)
        if bug is not None:
            problems.append(Problem("", f"Tandem failed on it ({bug.where}): a bug in Tandem"))
        if problems:
            found[key] = tuple(problems)

    for tandem in snapshot.tandems:
        add(tandem, partial(tandem_problems, tandem))
    for site in snapshot.sites:
        add(site, partial(site_problems, site))
    for host in snapshot.hosts:
        add(host, partial(host_problems, host, catalogue))
    for mirror in snapshot.mirrors:
        add(mirror, partial(mirror_problems, mirror, catalogue))
    for guest in snapshot.guests:
        add(guest, partial(guest_problems, guest, catalogue))
    for move in snapshot.guestmoves:
        add(move, list)  # its own fields are the server's to check
    return found


def _moves(snapshot: Snapshot, walls: Walls) -> dict[ObjectKey, tuple[GuestMove, ...]]:
    """Those that have not ended, by guest. The oldest first: it was ordered first."""
    found: dict[ObjectKey, list[GuestMove]] = {}
    for move in snapshot.guestmoves:
        if not move.ended and walls.of(move) is None:
            guest = ObjectKey(namespace=move.metadata.namespace, name=move.spec.guest)
            found.setdefault(guest, []).append(move)
    return {guest: tuple(sorted(each, key=_age)) for guest, each in found.items()}


def _age(move: GuestMove) -> tuple[str, str]:
    return move.metadata.creation_timestamp, move.metadata.name


def _moving(guests: Iterable[Guest], snapshot: Snapshot, walls: Walls) -> int:
    count = 0
    for guest in guests:
        with walls.around(guest):
            count += turns.counts(guest, snapshot.wall)
    return count


def _users(guests: Iterable[Guest], walls: Walls) -> dict[str, tuple[Guest, ...]]:
    """One behind a wall may run like any other."""
    found: dict[str, list[Guest]] = {}
    for guest in guests:
        with walls.around(guest):
            for host, report in guest.status.hosts.items():
                if report.state not in ("", DomainState.ABSENT):
                    found.setdefault(host, []).append(guest)
    return {host: tuple(each) for host, each in found.items()}


def _loads(guests: Iterable[Guest], walls: Walls) -> dict[str, Load]:
    loads: dict[str, Load] = {}
    for guest in guests:
        assignment = guest.status.assignment
        if assignment is not None and assignment.host:
            memory_bytes = 0
            with walls.around(guest):
                memory_bytes = guest.spec.domain.memory.bytes
            loads[assignment.host] = loads.get(assignment.host, Load()).plus(memory_bytes)
    return loads
