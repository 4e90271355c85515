"""``plan``: from all that is known to all that shall be written. Pure.

Guests that do not run are decided first, then those with a GuestMove, each by priority: if there is
not room or turn for all, the important ones have it. What cannot be judged yet, because this
controller has not watched a host's heartbeat for long enough, keeps the status it has. Called by
``loop`` on the leader.

Around every object stands a wall (``walls``): what raises while it is judged costs it alone.
"""

from collections.abc import Iterable, Iterator
from functools import partial

from tandem_api.kinds.guest import Guest
from tandem_api.meta import (
    ObjectKey,
)
from tandem_api.reasons import Reason
from tandem_controller.decide.known import world_of
from tandem_controller.decide.mirrors.claimants import to_mend
from tandem_controller.decide.mirrors.override import Grant, override
from tandem_controller.decide.mirrors.setup import set_up
from tandem_controller.decide.one_guest import GuestPlan, guest_plan
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


def plan(snapshot: Snapshot) -> Plan:
    """Everything that should be written now, most urgent first."""
    walls = Walls(snapshot.bugs)
    world = world_of(snapshot, walls)
    urgent: list[Write] = []
    decisions: dict[ObjectKey, Decision] = {}
    statuses: list[WriteStatus] = []
    guests = [world.in_force(guest) for guest in snapshot.guests]
    for guest in sorted(guests, key=partial(_turn, world)):
        made = _guest(guest, world, walls)
        world, decisions[guest.key] = made.world, made.decision
        urgent += made.writes
        statuses += made.statuses
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
    statuses += other_statuses(world, refusals, new, walls)
    statuses += move_statuses(world, decisions, walls)
    urgent += map(DeleteMove, outdated(snapshot.guestmoves))
    told = _told(statuses, snapshot, walls)
    unread = (each.bug for each in snapshot.unreadable if each.bug is not None)
    return Plan(tuple(urgent), tuple(told), decisions, refusals, world, (*walls.bugs, *unread))


def _turn(world: World, guest: Guest) -> tuple[int, int, str]:
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
    return GuestPlan(Blocked(Reason.INTERNAL_ERROR, message(bug)), world)


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
    cluster = (*snapshot.tandems, *snapshot.sites, *snapshot.hosts)
    for obj in (*cluster, *snapshot.mirrors, *snapshot.guests, *snapshot.guestmoves):
        bug = walls.of(obj)
        told = least_status(obj, bug, snapshot.wall) if bug is not None else None
        if told is not None:
            yield told
