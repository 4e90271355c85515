"""``plan``: from all that is known to all that shall be written. Pure.

Guests are decided by priority, so that if there is not room for all, the important ones come
first. What cannot be judged yet, because this controller has not watched a host's heartbeat for
long enough, keeps the status it has. Called by ``loop`` on the leader.

Around every object stands a wall (``walls``): what raises while it is judged costs it alone.
"""

from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import replace
from functools import partial

from tandem_api.authority import Mode
from tandem_api.check.catalogue import Catalogue
from tandem_api.check.guests import guest_problems
from tandem_api.check.validation import host_problems, mirror_problems, site_problems
from tandem_api.kinds.guest import Guest, GuestStatus
from tandem_api.kinds.host import Host
from tandem_api.kinds.mirror import Mirror
from tandem_api.kinds.site import Site
from tandem_api.meta import (
    FINALIZER,
    Model,
    ObjectKey,
    Problem,
    Resource,
)
from tandem_api.reasons import Reason
from tandem_controller.decide.conditions import bad, patch, stamped, transitions
from tandem_controller.decide.guests.placement import cannot_come_up
from tandem_controller.decide.guests.situations import decide
from tandem_controller.decide.mirrors.claimants import Assignments, to_add, to_mend
from tandem_controller.decide.mirrors.override import Grant, override
from tandem_controller.decide.mirrors.setup import set_up
from tandem_controller.decide.status.guest import (
    assignment_after,
    case_of,
    guest_status,
)
from tandem_controller.decide.status.mirror import mirror_status
from tandem_controller.decide.status.site import host_status, site_status
from tandem_controller.decide.walls import JUDGED, Walls, least_status, message
from tandem_controller.decide.world.hosts import host_view
from tandem_controller.decide.world.model import (
    Assign,
    Blocked,
    Decision,
    Freshness,
    HostView,
    Keep,
    Load,
    Notice,
    Plan,
    Refusal,
    Snapshot,
    SwapAuthority,
    Unreadable,
    World,
    Write,
    WriteAssignment,
    WriteFinalizers,
    WriteStatus,
)
from tandem_controller.decide.world.proofs import proven_to_have_stopped

Problems = Mapping[tuple[str, ObjectKey], tuple[Problem, ...]]


def plan(snapshot: Snapshot) -> Plan:
    """Everything that should be written now, most urgent first."""
    walls = Walls(snapshot.bugs)
    world = world_of(snapshot, walls)
    urgent: list[Write] = []
    decisions: dict[ObjectKey, Decision] = {}
    statuses: list[WriteStatus] = []
    guests = [world.in_force(guest) for guest in snapshot.guests]
    for guest in sorted(guests, key=lambda g: (-g.spec.priority, str(g.key))):
        decision, world, writes, status = _guest(guest, world, walls)
        decisions[guest.key] = decision
        urgent += writes
        statuses += status
    overrides = _overrides(world, walls)
    refusals = {key: got for key, got in overrides.items() if isinstance(got, Refusal)}
    urgent += [
        SwapAuthority(mirror, got.authority, got.message)
        for mirror in snapshot.mirrors
        if isinstance(got := overrides.get(mirror.key), Grant)
    ]
    urgent += set_up(world, walls)
    new = {w.guest.key: w.assignment for w in urgent if isinstance(w, WriteAssignment)}
    urgent += to_mend(world, new, walls)
    statuses += _other_statuses(world, refusals, new, walls)
    told = _told(statuses, snapshot, walls)
    unread = (each.bug for each in snapshot.unreadable if each.bug is not None)
    return Plan(tuple(urgent), tuple(told), decisions, refusals, world, (*walls.bugs, *unread))


def _guest(
    guest: Guest, world: World, walls: Walls
) -> tuple[Decision, World, list[Write], list[WriteStatus]]:
    """One guest: all of it, or nothing but that it is behind a wall."""
    if walls.of(guest) is None:
        with walls.around(guest):
            decision = decide(guest, world)
            loaded = _with_load(world, guest, decision)
            writes = [*_guest_writes(guest, loaded, decision)]
            return decision, loaded, writes, [*_guest_status_write(guest, loaded, decision)]
    bug = walls.of(guest)
    assert bug is not None
    return Blocked(Reason.INTERNAL_ERROR, message(bug)), world, [], []


def _overrides(world: World, walls: Walls) -> dict[ObjectKey, Grant | Refusal | None]:
    found: dict[ObjectKey, Grant | Refusal | None] = {}
    for mirror in world.snapshot.mirrors:
        if walls.of(mirror) is None:
            with walls.around(mirror):
                found[mirror.key] = override(mirror, world)
    return found


def _told(
    statuses: Iterable[WriteStatus], snapshot: Snapshot, walls: Walls
) -> Iterator[WriteStatus]:
    """Of an object behind a wall that alone, whatever else of its status was worked out before."""
    behind = {bug.subject for bug in walls.bugs}
    yield from (each for each in statuses if (each.kind, each.key) not in behind)
    for obj in (*snapshot.sites, *snapshot.hosts, *snapshot.mirrors, *snapshot.guests):
        bug = walls.of(obj)
        told = least_status(obj, bug, snapshot.wall) if bug is not None else None
        if told is not None:
            yield told


# -- the world


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
    return World(snapshot, catalogue, views, problems, _loads(guests, walls), accepted)


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
            before = guest.model_copy(update={"spec": accepted})
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

    for site in snapshot.sites:
        add(site, partial(site_problems, site))
    for host in snapshot.hosts:
        add(host, partial(host_problems, host, catalogue))
    for mirror in snapshot.mirrors:
        add(mirror, partial(mirror_problems, mirror, catalogue))
    for guest in snapshot.guests:
        add(guest, partial(guest_problems, guest, catalogue))
    return found


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


def _with_load(world: World, guest: Guest, decision: Decision) -> World:
    """Count what was decided just now, for the guests that are decided after it."""
    if not isinstance(decision, Assign) or not decision.host:
        return world
    load = world.load(decision.host).plus(guest.spec.domain.memory.bytes)
    return replace(world, loads={**world.loads, decision.host: load})


# -- guests


def _guest_writes(guest: Guest, world: World, decision: Decision) -> Iterator[Write]:
    finalizers = guest.metadata.finalizers
    deleting = guest.metadata.deletion_timestamp is not None
    if FINALIZER not in finalizers and not deleting:
        # First of all, so that no guest is ever started that could vanish unstopped.
        yield WriteFinalizers(guest, (*finalizers, FINALIZER))
        return
    if isinstance(decision, Assign):
        status = guest_status(guest, world, decision)
        assignment = assignment_after(guest, world, decision)
        assert assignment is not None
        # The conditions that change with it would say the same; many guests may be taken over now.
        notice = Notice(False, decision.reason, decision.message)
        changes, claimant = patch(guest.status, status), to_add(guest, assignment, world)
        yield WriteAssignment(guest, assignment, changes, (notice,), claimant)
    elif FINALIZER in finalizers and deleting and _may_go(guest, world):
        yield WriteFinalizers(guest, tuple(f for f in finalizers if f != FINALIZER))


def _may_go(guest: Guest, world: World) -> bool:
    """Whether a guest that is being deleted has certainly stopped everywhere."""
    assignment = guest.status.assignment
    if assignment is None:
        return True
    case = case_of(guest, world)
    owner = case.authority.owner if case else ""
    for host, report in guest.status.hosts.items():
        view = world.hosts.get(host)
        # A lost host that owns nothing has stopped: somebody else was let have the mirror.
        gone = view is None or view.freshness in (Freshness.LOST, Freshness.NEVER)
        if gone and (host != owner or (case and proven_to_have_stopped(case))):
            continue
        if not report.has_stopped(assignment):
            return False
    return not owner or _keeps_it(owner, guest, world)


def _keeps_it(owner: str, guest: Guest, world: World) -> bool:
    """Whether an owner that has stopped the guest is not going to release the mirror.

    Only it has the newest writes, or it cannot be asked, or something fails on its host. Any other
    owner is waited for: it releases what it was told to stop, and a guest that is gone tells it
    nothing any more.
    """
    case, view = case_of(guest, world), world.hosts.get(owner)
    alone = case is not None and case.authority.mode is not Mode.MIRRORED
    silent = view is None or view.freshness in (Freshness.LOST, Freshness.NEVER)
    report = case.report(owner) if case is not None else None
    fails = report is not None and report.reason is Reason.EFFECT_FAILED
    broken = fails or cannot_come_up(report)
    return owner in guest.status.hosts and (alone or silent or broken)


def _guest_status_write(guest: Guest, world: World, decision: Decision) -> Iterator[WriteStatus]:
    if isinstance(decision, Assign) or not _judged(_hosts_of(guest, world), world):
        return
    waiting = isinstance(decision, Keep) and decision.reason is Reason.WAITING_FOR_LEASE
    if waiting and guest.status.phase:
        return  # It will soon be known what to say; a late heartbeat is the host's to tell.
    status = guest_status(guest, world, decision)
    notices = transitions(guest.status.conditions, status.conditions)
    if isinstance(decision, Blocked) and guest.status.reason != decision.reason:
        notices = (Notice(True, decision.reason, decision.message),)
    yield from _status_write(guest, guest.status, status, notices)


def _hosts_of(guest: Guest, world: World) -> Iterable[str]:
    case = case_of(guest, world)
    return case.replicas if case else ()


def _judged(hosts: Iterable[str], world: World) -> bool:
    """Whether it is known of all these hosts how their heartbeats do."""
    views = [world.hosts[host] for host in hosts if host in world.hosts]
    return all(view.freshness is not Freshness.UNKNOWN for view in views)


# -- the other kinds


def _other_statuses(
    world: World, refusals: Mapping[ObjectKey, Refusal], new: Assignments, walls: Walls
) -> Iterator[WriteStatus]:
    for mirror in world.snapshot.mirrors:
        with walls.around(mirror):
            yield from _of_mirror(mirror, world, refusals.get(mirror.key), new)
    for view in world.hosts.values():
        with walls.around(view.host):
            yield from _of_host(view, world)
    for site in world.snapshot.sites:
        with walls.around(site):
            yield from _of_site(site, world)
    for each in world.snapshot.unreadable:
        yield from _unreadable(each, world.wall)


def _of_mirror(
    mirror: Mirror, world: World, refusal: Refusal | None, new: Assignments
) -> Iterator[WriteStatus]:
    if not _judged((replica.host for replica in mirror.spec.replicas), world):
        return
    shown = mirror_status(mirror, world, refusal, new)
    notices = _mirror_notices(mirror, shown)
    for write in _status_write(mirror, mirror.status, shown, notices):
        # An entry is not taken away on top of one that somebody else has just added.
        narrows = "claimants" in write.patch
        version = mirror.metadata.resource_version if narrows else None
        yield replace(write, version=version)


def _of_host(view: HostView, world: World) -> Iterator[WriteStatus]:
    if view.freshness is not Freshness.UNKNOWN:
        status = host_status(view, world)
        notices = transitions(view.host.status.conditions, status.conditions)
        yield from _status_write(view.host, view.host.status, status, notices)


def _of_site(site: Site, world: World) -> Iterator[WriteStatus]:
    views = [view for view in world.hosts.values() if view.site_name == site.metadata.name]
    if _judged((view.name for view in views), world):
        status = site_status(site, world)
        notices = transitions(site.status.conditions, status.conditions)
        yield from _status_write(site, site.status, status, notices)


def _mirror_notices(mirror: Mirror, new: Model) -> tuple[Notice, ...]:
    old, status = mirror.status, new
    assert isinstance(status, type(old))
    notices = transitions(old.conditions, status.conditions)
    told = (Reason.OVERRIDE_STALE, Reason.OVERRIDE_WAITING, Reason.OVERRIDE_REFUSED)
    if status.reason in told and status.reason != old.reason:
        return (*notices, Notice(True, status.reason, status.message))
    return notices


def _status_write(
    obj: Resource, old: Model, new: Model, notices: tuple[Notice, ...]
) -> Iterator[WriteStatus]:
    difference = patch(old, new)
    if difference:
        kind = type(obj).__name__
        yield WriteStatus(kind, obj.key, obj.metadata.uid, difference, notices)


def _unreadable(each: Unreadable, wall: str) -> Iterator[WriteStatus]:
    """Say on the object itself why it cannot be read; nothing else about it is touched."""
    kind, reason, words = "SpecValid", Reason.SPEC_INVALID, "; ".join(map(str, each.problems))
    if each.bug is not None:
        kind, reason, words = JUDGED, Reason.INTERNAL_ERROR, message(each.bug)
    old = each.conditions
    wanted = bad(kind, Refusal(reason, words))
    others = tuple(condition for condition in old if condition.type != kind)
    (new,) = stamped(old, (wanted,), each.generation, wall)
    if new in old:
        return
    conditions = [condition.wire() for condition in (*others, new)]
    notice = Notice(True, reason, words)
    yield WriteStatus(each.kind, each.key, each.uid, {"conditions": conditions}, (notice,))


__all__ = ["GuestStatus", "plan", "world_of"]
