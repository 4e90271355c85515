"""``plan``: from all that is known to all that shall be written. Pure.

Guests that do not run are decided first, then those with a GuestMove, each by priority: if there is
not room or turn for all, the important ones have it. What cannot be judged yet, because this
controller has not watched a host's heartbeat for long enough, keeps the status it has. Called by
``loop`` on the leader.

Around every object stands a wall (``walls``): what raises while it is judged costs it alone.
"""

from collections.abc import Iterable, Iterator
from dataclasses import replace

from tandem_api.kinds.guest import Guest
from tandem_api.kinds.mirror import Mirror
from tandem_api.meta import (
    ObjectKey,
)
from tandem_api.reasons import Reason
from tandem_controller.decide.guests.powering_off import wanted
from tandem_controller.decide.known import world_of
from tandem_controller.decide.memory import Memory, Recall, Told
from tandem_controller.decide.mirrors.claimants import to_mend
from tandem_controller.decide.mirrors.override import Grant, override
from tandem_controller.decide.mirrors.setup import set_up
from tandem_controller.decide.one_guest import GuestPlan, counted, guest_plan
from tandem_controller.decide.others import move_statuses, other_statuses
from tandem_controller.decide.status.move import outdated
from tandem_controller.decide.walls import Walls, least_status, message
from tandem_controller.decide.world.hosts import runs
from tandem_controller.decide.world.model import (
    Blocked,
    Decision,
    DeleteMove,
    Plan,
    Refusal,
    Snapshot,
    SwapAuthority,
    World,
    Write,
    WriteAssignment,
    WriteStatus,
    mirror_of,
)
from tandem_controller.decide.world.watched import (
    Totals,
    WatchedMapping,
    WatchedWorld,
    changed,
)


def plan(snapshot: Snapshot) -> Plan:
    """Everything that should be written now, most urgent first."""
    return plan_again(snapshot, Memory())[0]


def plan_again(snapshot: Snapshot, memory: Memory) -> tuple[Plan, Memory]:
    """The same, however much of it ``memory`` spares; and what the next plan is spared by this."""
    walls = Walls(snapshot.bugs)
    recall = Recall(memory, walls)
    world = world_of(snapshot, walls, recall)
    recall.totals = Totals(world.loads, world.moving)
    watched = WatchedWorld(world, recall.note, recall.totals, recall.kept)
    urgent: list[Write] = []
    decisions: dict[ObjectKey, Decision] = {}
    statuses: list[WriteStatus] = []
    for guest in _in_turn(world, watched, recall):
        made = recall.again("guest", guest, _guest, watched, walls)
        counted(recall.totals, guest, made.decision)
        decisions[guest.key] = made.decision
        urgent += made.writes
        statuses += made.statuses
    world = replace(world, loads=recall.totals.loads, moving=recall.totals.moving)
    overrides = _overrides(watched, walls, recall)
    refusals = {key: got for key, got in overrides.items() if isinstance(got, Refusal)}
    urgent += [
        SwapAuthority(mirror, got.authority, got.message)
        for mirror in (snapshot.mirrors if overrides else ())
        if isinstance(got := overrides.get(mirror.key), Grant)
    ]
    urgent += set_up(world, watched, walls, recall)
    new = {w.guest.key: w.assignment for w in urgent if isinstance(w, WriteAssignment)}
    told: Told = {"new": new, "refusals": refusals}
    for part, each in told.items():
        recall.differ(changed(part, memory.told.get(part, {}), each))
    urgent += to_mend(watched, WatchedMapping("new", new, recall.note), walls, recall)
    statuses += other_statuses(world, watched, told, walls, recall, decisions)
    statuses += move_statuses(world, decisions, walls)
    urgent += map(DeleteMove, outdated(snapshot.guestmoves))
    unread = (each.bug for each in snapshot.unreadable if each.bug is not None)
    made_plan = Plan(
        tuple(urgent),
        tuple(_told(statuses, snapshot, walls)),
        decisions,
        refusals,
        world,
        (*walls.bugs, *unread),
        wanted(world, decisions, walls),
    )
    return made_plan, recall.left(world, told)


def _in_turn(world: World, watched: World, recall: Recall) -> list[Guest]:
    guests = [world.in_force(guest) for guest in world.snapshot.guests]
    turns = [recall.again("turn", guest, _turn, watched) for guest in guests]
    order = sorted(range(len(guests)), key=turns.__getitem__)
    return [guests[at] for at in order]


def _turn(guest: Guest, world: World) -> tuple[int, int, str]:
    """Who is down comes before who is only to be moved, and an order before what is not ordered."""
    mirror = mirror_of(guest, world)
    authority = mirror.status.authority if mirror is not None else None
    owner = authority.owner if authority is not None else ""
    view, report = world.hosts.get(owner), guest.status.hosts.get(owner)
    heard = view is not None and view.fresh
    well = heard and view is not None and report is not None and runs(report, view, owner)
    rank = (1 if world.moves_of(guest) else 2) if well else 0
    return rank, -guest.spec.priority, str(guest.key)


def _guest(guest: Guest, world: World, walls: Walls) -> GuestPlan:
    """One guest: all of it, or nothing but that it is behind a wall."""
    if walls.of(guest) is None:
        with walls.around(guest):
            return guest_plan(guest, world)
    bug = walls.of(guest)
    assert bug is not None
    return GuestPlan(Blocked(Reason.INTERNAL_ERROR, message(bug)))


def _overrides(
    world: World, walls: Walls, recall: Recall
) -> dict[ObjectKey, Grant | Refusal | None]:
    """Of the mirrors with an order."""
    found: dict[ObjectKey, Grant | Refusal | None] = {}
    for mirror in world.snapshot.mirrors:
        if walls.of(mirror) is None:
            got = recall.again("override", mirror, _override, world, walls)
            if got is not None:
                found[mirror.key] = got
    return found


def _override(mirror: Mirror, world: World, walls: Walls) -> Grant | Refusal | None:
    with walls.around(mirror):
        return override(mirror, world)
    return None


def _told(
    statuses: Iterable[WriteStatus], snapshot: Snapshot, walls: Walls
) -> Iterator[WriteStatus]:
    """Of an object behind a wall that alone, whatever else of its status was worked out before."""
    if not walls.bugs:
        yield from statuses
        return
    behind = {bug.subject for bug in walls.bugs}
    yield from (each for each in statuses if (each.kind, each.key) not in behind)
    cluster = (*snapshot.tandems, *snapshot.sites, *snapshot.hosts)
    for obj in (*cluster, *snapshot.mirrors, *snapshot.guests, *snapshot.guestmoves):
        bug = walls.of(obj)
        told = least_status(obj, bug, snapshot) if bug is not None else None
        if told is not None:
            yield told
