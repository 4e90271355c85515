"""``plan``: from all that is known to all that shall be written. Pure.

Guests are decided by priority, so that if there is not room for all, the important ones come
first. What cannot be judged yet, because this controller has not watched a host's heartbeat for
long enough, keeps the status it has. Called by ``loop`` on the leader.
"""

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import replace

from tandem_api.authority import Mode
from tandem_api.guest import Guest, GuestStatus
from tandem_api.meta import (
    FINALIZER,
    Model,
    ObjectKey,
    Problem,
    Resource,
    quantity_bytes,
)
from tandem_api.mirror import Mirror
from tandem_api.reasons import Reason
from tandem_api.validation import (
    Catalogue,
    guest_problems,
    host_problems,
    mirror_problems,
    site_problems,
)
from tandem_controller.decide.claimants import Assignments, to_add, to_mend
from tandem_controller.decide.conditions import bad, patch, stamped, transitions
from tandem_controller.decide.guest_status import (
    assignment_after,
    case_of,
    guest_status,
    has_stopped,
)
from tandem_controller.decide.guests import decide
from tandem_controller.decide.hosts import host_view
from tandem_controller.decide.mirror_status import mirror_status
from tandem_controller.decide.model import (
    Assign,
    Blocked,
    Decision,
    Freshness,
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
from tandem_controller.decide.override import Grant, override
from tandem_controller.decide.setup import set_up
from tandem_controller.decide.site_status import host_status, site_status
from tandem_controller.decide.takeover import proven_to_have_stopped


def plan(snapshot: Snapshot) -> Plan:
    """Everything that should be written now, most urgent first."""
    world = world_of(snapshot)
    urgent: list[Write] = []
    decisions: dict[ObjectKey, Decision] = {}
    statuses: list[WriteStatus] = []
    guests = [world.in_force(guest) for guest in snapshot.guests]
    for guest in sorted(guests, key=lambda g: (-g.spec.priority, str(g.key))):
        decision = decide(guest, world)
        decisions[guest.key] = decision
        world = _with_load(world, guest, decision)
        urgent += _guest_writes(guest, world, decision)
        statuses += _guest_status_write(guest, world, decision)
    overrides = {mirror.key: override(mirror, world) for mirror in snapshot.mirrors}
    refusals = {key: got for key, got in overrides.items() if isinstance(got, Refusal)}
    urgent += [
        SwapAuthority(mirror, got.authority, got.message)
        for mirror in snapshot.mirrors
        if isinstance(got := overrides[mirror.key], Grant)
    ]
    urgent += set_up(world)
    new = {w.guest.key: w.assignment for w in urgent if isinstance(w, WriteAssignment)}
    urgent += to_mend(world, new)
    statuses += _other_statuses(world, refusals, new)
    return Plan(tuple(urgent), tuple(statuses), decisions, refusals, world)


# -- the world


def world_of(snapshot: Snapshot) -> World:
    """The snapshot, indexed, checked, and with the heartbeats judged."""
    catalogue = Catalogue.of(
        sites=snapshot.sites,
        hosts=snapshot.hosts,
        mirrors=snapshot.mirrors,
        guests=snapshot.guests,
        unreadable=((each.kind, each.key) for each in snapshot.unreadable),
    )
    problems = _problems(snapshot, catalogue)
    views = (
        host_view(
            host,
            catalogue.sites.get(host.spec.site),
            snapshot.leases,
            snapshot.now_s,
            problems.get(("Host", host.key), ()),
        )
        for host in snapshot.hosts
    )
    accepted = dict(_accepted(snapshot, catalogue, problems))
    guests = [accepted[g.key][0] if g.key in accepted else g for g in snapshot.guests]
    by_name = {view.name: view for view in views}
    return World(snapshot, catalogue, by_name, problems, _loads(guests), accepted)


def _accepted(
    snapshot: Snapshot,
    catalogue: Catalogue,
    problems: Mapping[tuple[str, ObjectKey], tuple[Problem, ...]],
) -> Iterator[tuple[ObjectKey, tuple[Guest, tuple[Problem, ...]]]]:
    for guest in snapshot.guests:
        accepted = guest.status.accepted
        if accepted is not None and problems.get(("Guest", guest.key)):
            before = guest.model_copy(update={"spec": accepted})
            yield guest.key, (before, tuple(guest_problems(before, catalogue)))


def _problems(
    snapshot: Snapshot, catalogue: Catalogue
) -> dict[tuple[str, ObjectKey], tuple[Problem, ...]]:
    found: dict[tuple[str, ObjectKey], tuple[Problem, ...]] = {}

    def add(obj: Resource, problems: Iterable[Problem]) -> None:
        key = (type(obj).__name__, obj.key)
        every = (*snapshot.unknown_fields.get(key, ()), *problems)
        if every:
            found[key] = every

    for site in snapshot.sites:
        add(site, site_problems(site))
    for host in snapshot.hosts:
        add(host, host_problems(host, catalogue))
    for mirror in snapshot.mirrors:
        add(mirror, mirror_problems(mirror, catalogue))
    for guest in snapshot.guests:
        add(guest, guest_problems(guest, catalogue))
    return found


def _loads(guests: Iterable[Guest]) -> dict[str, Load]:
    loads: dict[str, Load] = {}
    for guest in guests:
        assignment = guest.status.assignment
        if assignment is not None and assignment.host:
            load = loads.get(assignment.host, Load())
            loads[assignment.host] = load.plus(quantity_bytes(guest.spec.domain.memory))
    return loads


def _with_load(world: World, guest: Guest, decision: Decision) -> World:
    """Count what was decided just now, for the guests that are decided after it."""
    if not isinstance(decision, Assign) or not decision.host:
        return world
    load = world.load(decision.host).plus(quantity_bytes(guest.spec.domain.memory))
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
        if not has_stopped(report, assignment):
            return False
    return not owner or _keeps_it(owner, guest, world)


def _keeps_it(owner: str, guest: Guest, world: World) -> bool:
    """Whether an owner that has stopped the guest is not going to release the mirror.

    Only it has the newest writes, or it cannot be asked. Any other owner is waited for: it
    releases what it was told to stop, and a guest that is gone tells it nothing any more.
    """
    case, view = case_of(guest, world), world.hosts.get(owner)
    alone = case is not None and case.authority.mode is not Mode.MIRRORED
    silent = view is None or view.freshness in (Freshness.LOST, Freshness.NEVER)
    return owner in guest.status.hosts and (alone or silent)


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
    world: World, refusals: dict[ObjectKey, Refusal], new: Assignments
) -> Iterator[WriteStatus]:
    for mirror in world.snapshot.mirrors:
        if _judged((replica.host for replica in mirror.spec.replicas), world):
            shown = mirror_status(mirror, world, refusals.get(mirror.key), new)
            notices = _mirror_notices(mirror, shown)
            for write in _status_write(mirror, mirror.status, shown, notices):
                # An entry is not taken away on top of one that somebody else has just added.
                narrows = "claimants" in write.patch
                version = mirror.metadata.resource_version if narrows else None
                yield replace(write, version=version)
    for view in world.hosts.values():
        if view.freshness is not Freshness.UNKNOWN:
            status = host_status(view, world)
            notices = transitions(view.host.status.conditions, status.conditions)
            yield from _status_write(view.host, view.host.status, status, notices)
    for site in world.snapshot.sites:
        views = [view for view in world.hosts.values() if view.site_name == site.metadata.name]
        if _judged((view.name for view in views), world):
            status_of_site = site_status(site, world)
            notices = transitions(site.status.conditions, status_of_site.conditions)
            yield from _status_write(site, site.status, status_of_site, notices)
    for each in world.snapshot.unreadable:
        yield from _unreadable(each, world.wall)


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
    message = "; ".join(map(str, each.problems))
    old = each.conditions
    wanted = bad("SpecValid", Refusal(Reason.SPEC_INVALID, message))
    others = tuple(condition for condition in old if condition.type != "SpecValid")
    (new,) = stamped(old, (wanted,), each.generation, wall)
    if new in old:
        return
    conditions = [condition.wire() for condition in (*others, new)]
    notice = Notice(True, Reason.SPEC_INVALID, message)
    yield WriteStatus(each.kind, each.key, each.uid, {"conditions": conditions}, (notice,))


__all__ = ["GuestStatus", "plan", "world_of"]
