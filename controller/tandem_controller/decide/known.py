"""What is known of all objects: indexed, checked, and with the heartbeats judged. Pure.

What the last plan has worked out of the same objects stands (``memory``).
"""

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import replace
from typing import NamedTuple, cast

from tandem_api.check.catalogue import Around, Catalogue, K, R, index
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
from tandem_api.kinds.mirror import Mirror
from tandem_api.kinds.site import Site
from tandem_api.kinds.tandem import Tandem
from tandem_api.meta import (
    ObjectKey,
    Problem,
    Resource,
)
from tandem_api.vocabulary import DomainState
from tandem_controller.decide.memory import Memory, Recall
from tandem_controller.decide.walls import Walls
from tandem_controller.decide.world import turns
from tandem_controller.decide.world.hosts import host_view, outrun
from tandem_controller.decide.world.model import (
    Freshness,
    HostView,
    Load,
    Snapshot,
    World,
)
from tandem_controller.decide.world.watched import (
    WatchedMapping,
    changed,
    changed_catalogue,
    changed_world,
    watched_catalogue,
)

Found = Sequence[tuple[Resource, tuple[Problem, ...]]]
Problems = Mapping[tuple[str, ObjectKey], tuple[Problem, ...]]


def world_of(snapshot: Snapshot, walls: Walls, recall: Recall | None = None) -> World:
    """The snapshot, indexed, checked, and with the heartbeats judged.

    ``recall`` knows afterwards what of it is another than in the last plan.
    """
    recall = recall or Recall(Memory(), walls)
    before = recall.memory.world
    catalogue = _catalogue(snapshot, walls, recall)
    if before is not None:
        recall.differ(changed_catalogue(before.catalogue, catalogue))
    fields_before = before.snapshot.unknown_fields if before is not None else {}
    recall.differ(changed("unknown_fields", fields_before, snapshot.unknown_fields))
    found = _problems(snapshot, catalogue, walls, recall)
    problems = {(type(obj).__name__, obj.key): each for obj, each in found}
    by_whom = outrun(snapshot.leases)
    views = {
        host.metadata.name: _host_view(host, snapshot, catalogue, problems, walls, by_whom)
        for host in snapshot.hosts
    }
    accepted = dict(_accepted(found, catalogue, walls, recall))
    guests = _in_force(snapshot.guests, accepted)
    facts = [recall.again("facts", guest, _facts, walls) for guest in guests]
    world = World(
        snapshot=snapshot,
        catalogue=catalogue,
        hosts=views,
        problems=problems,
        loads=_loads(facts),
        accepted=accepted,
        moves=_moves(snapshot, walls),
        users=_users(guests, facts),
        moving=_moving(guests, facts, snapshot, walls),
    )
    if before is not None:
        recall.differ(changed_world(before, world))
    return world


def _catalogue(snapshot: Snapshot, walls: Walls, recall: Recall) -> Catalogue:
    """With what is behind a wall among what cannot be read."""

    def indexer(
        name: str, objects: Sequence[R], claims: Callable[[R], Iterable[K]], around: Around
    ) -> Mapping[K, tuple[R, ...]]:
        made = index(objects, claims, around, recall.memory.indices.get(name))
        recall.indices[name] = made
        return made.found

    catalogue = Catalogue.of(
        sites=snapshot.sites,
        hosts=snapshot.hosts,
        mirrors=snapshot.mirrors,
        guests=snapshot.guests,
        unreadable=((each.kind, each.key) for each in snapshot.unreadable),
        around=walls.around,
        indexer=indexer,
    )
    behind = (bug.subject for bug in walls.bugs)
    return replace(catalogue, unreadable=catalogue.unreadable.union(behind))


def _host_view(
    host: Host,
    snapshot: Snapshot,
    catalogue: Catalogue,
    problems: Problems,
    walls: Walls,
    by_whom: Mapping[str, frozenset[str]],
) -> HostView:
    """Behind a wall it is not absent: nobody knows how it is, so nothing comes to it or from it."""
    found = problems.get(("Host", host.key), ())
    with walls.around(host):
        site = catalogue.sites.get(host.spec.site)
        return host_view(host, site, snapshot.leases, snapshot.now_s, found, by_whom)
    return HostView(host, None, Freshness.UNKNOWN, problems=found)


def _accepted(
    found: Found, catalogue: Catalogue, walls: Walls, recall: Recall
) -> Iterator[tuple[ObjectKey, tuple[Guest, tuple[Problem, ...]]]]:
    watched = watched_catalogue(catalogue, recall.note)
    kind = Guest.__name__
    guests = (cast(Guest, obj) for obj, _ in found if type(obj).__name__ == kind)
    for guest in guests:
        if walls.of(guest) is None and guest.status.accepted is not None:
            known = recall.again("accepted", guest, _as_accepted, watched, walls)
            if known is not None:
                yield guest.key, known


def _as_accepted(
    guest: Guest, catalogue: Catalogue, walls: Walls
) -> tuple[Guest, tuple[Problem, ...]] | None:
    accepted = guest.status.accepted
    assert accepted is not None
    with walls.around(guest):
        paused = {"paused": guest.spec.paused}  # a switch works whatever else is wrong
        before = guest.model_copy(update={"spec": accepted.model_copy(update=paused)})
        return before, tuple(guest_problems(before, catalogue))
    return None


def _in_force(
    guests: Sequence[Guest], accepted: Mapping[ObjectKey, tuple[Guest, tuple[Problem, ...]]]
) -> Sequence[Guest]:
    if not accepted:
        return guests
    return [accepted[guest.key][0] if guest.key in accepted else guest for guest in guests]


def _problems(snapshot: Snapshot, catalogue: Catalogue, walls: Walls, recall: Recall) -> Found:
    """What is wrong with each object that has anything. One that cannot be judged is as good as
    refused.
    """
    watched = watched_catalogue(catalogue, recall.note)
    unknown = WatchedMapping("unknown_fields", snapshot.unknown_fields, recall.note)
    cluster = (*snapshot.tandems, *snapshot.sites, *snapshot.hosts)
    every = (*cluster, *snapshot.mirrors, *snapshot.guests, *snapshot.guestmoves)
    found = []
    for obj in every:
        wrong = recall.again("problems", obj, _problems_of, watched, unknown, walls)
        if wrong:
            found.append((obj, wrong))
    return found


def _problems_of(
    obj: Resource, catalogue: Catalogue, unknown: Problems, walls: Walls
) -> tuple[Problem, ...]:
    problems = list(unknown.get((type(obj).__name__, obj.key), ()))
    with walls.around(obj):
        problems += _checked(obj, catalogue)
    bug = walls.of(obj)
    if bug is not None:
        problems.append(Problem("", f"Tandem failed on it ({bug.where}): a bug in Tandem"))
    return tuple(problems)


def _checked(obj: Resource, catalogue: Catalogue) -> Iterable[Problem]:
    match obj:
        case Guest():
            return guest_problems(obj, catalogue)
        case Mirror():
            return mirror_problems(obj, catalogue)
        case Host():
            return host_problems(obj, catalogue)
        case Site():
            return site_problems(obj)
        case Tandem():
            return tandem_problems(obj)
    return ()  # of a GuestMove: its own fields are the server's to check


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


class _Facts(NamedTuple):
    """What a guest by itself adds to what is counted. ``host``: that it is assigned to; ``uses``:
    those that do not say that it is not there; ``may_move``: whether a move may be under way.
    """

    host: str
    memory_bytes: int
    uses: tuple[str, ...]
    may_move: bool


def _facts(guest: Guest, walls: Walls) -> _Facts:
    """Of one in force. One behind a wall may run like any other."""
    assignment = guest.status.assignment
    memory_bytes, uses, may_move = 0, list[str](), False
    with walls.around(guest):
        memory_bytes = guest.spec.domain.memory.bytes
    with walls.around(guest):
        for host, report in guest.status.hosts.items():
            if report.state not in ("", DomainState.ABSENT):
                uses.append(host)
    with walls.around(guest):
        may_move = turns.may_count(guest)
    host = assignment.host if assignment is not None else ""
    return _Facts(host, memory_bytes, tuple(uses), may_move)


def _moving(guests: Sequence[Guest], facts: Sequence[_Facts], now: Snapshot, walls: Walls) -> int:
    count = 0
    for guest, fact in zip(guests, facts, strict=True):
        if fact.may_move:
            with walls.around(guest):
                count += turns.counts(guest, now)
    return count


def _users(guests: Sequence[Guest], facts: Sequence[_Facts]) -> dict[str, tuple[Guest, ...]]:
    found: dict[str, list[Guest]] = {}
    for guest, fact in zip(guests, facts, strict=True):
        for host in fact.uses:
            found.setdefault(host, []).append(guest)
    return {host: tuple(each) for host, each in found.items()}


def _loads(facts: Iterable[_Facts]) -> dict[str, Load]:
    guests: dict[str, int] = {}
    memory_bytes: dict[str, int] = {}
    for fact in facts:
        if fact.host:
            guests[fact.host] = guests.get(fact.host, 0) + 1
            memory_bytes[fact.host] = memory_bytes.get(fact.host, 0) + fact.memory_bytes
    return {host: Load(count, memory_bytes[host]) for host, count in guests.items()}
