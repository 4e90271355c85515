"""One guest: what is decided about it, and all that is written because of that. Pure."""

from collections.abc import Iterator
from dataclasses import dataclass

from tandem_api.kinds.guest import Guest
from tandem_api.meta import (
    FINALIZER,
)
from tandem_api.reasons import Reason
from tandem_controller.decide.conditions import patch, transitions
from tandem_controller.decide.guests.placement import cannot_come_up
from tandem_controller.decide.guests.situations import decide
from tandem_controller.decide.mirrors.claimants import to_add
from tandem_controller.decide.others import judged, status_write
from tandem_controller.decide.status.guest import guest_status
from tandem_controller.decide.world.model import (
    Assign,
    Blocked,
    Case,
    Decision,
    Freshness,
    Keep,
    Load,
    Notice,
    World,
    Write,
    WriteAssignment,
    WriteFinalizers,
    WriteStatus,
    case_of,
)
from tandem_controller.decide.world.proofs import proven_to_have_stopped
from tandem_controller.decide.world.turns import LIMITED
from tandem_controller.decide.world.watched import Totals


@dataclass(frozen=True)
class GuestPlan:
    """What is decided, and what is written because of that."""

    decision: Decision
    writes: tuple[Write, ...] = ()
    statuses: tuple[WriteStatus, ...] = ()


def guest_plan(guest: Guest, world: World) -> GuestPlan:
    """``guest`` is what is in force of it. All follows from one look at it with its mirror."""
    case = case_of(guest, world)
    decision = decide(guest, world, case)
    writes = tuple(_writes(guest, world, case, decision))
    statuses = tuple(_status_write(guest, world, case, decision))
    return GuestPlan(decision, writes, statuses)


def counted(totals: Totals, guest: Guest, decision: Decision) -> None:
    """Count what was decided just now, for the guests that are decided after it."""
    if not isinstance(decision, Assign) or not decision.host:
        return
    load = totals.loads.get(decision.host, Load()).plus(guest.spec.domain.memory.bytes)
    totals.loads[decision.host] = load
    totals.moving += decision.reason in LIMITED and decision.proof is None


def _writes(guest: Guest, world: World, case: Case | None, decision: Decision) -> Iterator[Write]:
    finalizers = guest.metadata.finalizers
    deleting = guest.metadata.deletion_timestamp is not None
    if FINALIZER not in finalizers and not deleting:
        # First of all, so that no guest is ever started that could vanish unstopped.
        yield WriteFinalizers(guest, (*finalizers, FINALIZER))
        return
    if isinstance(decision, Assign):
        status = guest_status(guest, world, case, decision)
        assignment = status.assignment
        assert assignment is not None
        # The conditions that change with it would say the same; many guests may be taken over now.
        notice = Notice(False, decision.reason, decision.message)
        changes, claimant = patch(guest.status, status), to_add(guest, assignment, world)
        yield WriteAssignment(guest, assignment, changes, (notice,), claimant)
    elif FINALIZER in finalizers and deleting and _may_go(guest, world, case):
        yield WriteFinalizers(guest, tuple(f for f in finalizers if f != FINALIZER))


def _may_go(guest: Guest, world: World, case: Case | None) -> bool:
    """Whether a guest that is being deleted has certainly stopped everywhere."""
    assignment = guest.status.assignment
    if assignment is None:
        return True
    owner = case.authority.owner if case else ""
    for host, report in guest.status.hosts.items():
        view = world.hosts.get(host)
        # A lost host that owns nothing has stopped: somebody else was let have the mirror.
        gone = view is None or view.freshness in (Freshness.LOST, Freshness.NEVER)
        if gone and (host != owner or (case and proven_to_have_stopped(case))):
            continue
        if not report.has_stopped(assignment):
            return False
    return not owner or _keeps_it(owner, guest, world, case)


def _keeps_it(owner: str, guest: Guest, world: World, case: Case | None) -> bool:
    """Whether an owner that has stopped the guest is not going to release the mirror.

    Only it has the newest writes, or it cannot be asked, or something fails on its host. Any other
    owner is waited for: it releases what it was told to stop, and a guest that is gone tells it
    nothing any more.
    """
    view = world.hosts.get(owner)
    alone = case is not None and not case.authority.both_count
    silent = view is None or view.freshness in (Freshness.LOST, Freshness.NEVER)
    report = case.report(owner) if case is not None else None
    fails = report is not None and report.reason is Reason.EFFECT_FAILED
    broken = fails or cannot_come_up(report)
    return owner in guest.status.hosts and (alone or silent or broken)


def _status_write(
    guest: Guest, world: World, case: Case | None, decision: Decision
) -> Iterator[WriteStatus]:
    if isinstance(decision, Assign) or not judged(case.replicas if case else (), world):
        return
    waiting = isinstance(decision, Keep) and decision.reason is Reason.WAITING_FOR_LEASE
    if waiting and guest.status.phase:
        return  # It will soon be known what to say; a late heartbeat is the host's to tell.
    status = guest_status(guest, world, case, decision)
    notices = transitions(guest.status.conditions, status.conditions)
    if isinstance(decision, Blocked) and guest.status.reason != decision.reason:
        notices = (Notice(True, decision.reason, decision.message),)
    yield from status_write(guest, guest.status, status, notices)
