"""What a guest's status says: phase, where it is, whether it is protected, and why.

Computed from the decision and the hosts' reports. It decides nothing. Called by ``plan``.
"""

from tandem_api.kinds.domain import Firmware
from tandem_api.kinds.guest import (
    Assignment,
    Guest,
    GuestReport,
    GuestStatus,
    MoveReference,
    Policy,
)
from tandem_api.kinds.mirror import Protocol
from tandem_api.meta import Condition
from tandem_api.reasons import Reason
from tandem_api.vocabulary import GuestPhase
from tandem_controller.decide.conditions import bad, good, judged, spec_valid, stamped, unknown
from tandem_controller.decide.guests.placement import (
    cannot_come_up,
    no_room,
    preferred_host,
    untried_hardware,
    unusable_replica,
)
from tandem_controller.decide.status.besides import besides
from tandem_controller.decide.status.takeovers import last_takeover, recent_takeovers
from tandem_controller.decide.world import replicas
from tandem_controller.decide.world.guestmoves import reference, under_way
from tandem_controller.decide.world.hosts import drbd_files_unreadable, runs, unfit
from tandem_controller.decide.world.model import (
    Assign,
    Blocked,
    Case,
    Decision,
    Freshness,
    Keep,
    Refusal,
    World,
)
from tandem_controller.decide.world.pausing import paused_by
from tandem_controller.decide.world.phases import MOVES, is_takeover
from tandem_controller.decide.world.proofs import (
    no_time_would_tell,
    proven_to_have_stopped,
    stop_unproven,
)

FAILURES = (
    Reason.START_FAILED,
    Reason.START_REFUSED,
    Reason.GUEST_PAUSED,
    Reason.PROTOCOL_NOT_SYNCHRONOUS,
    Reason.EFFECT_FAILED,
    Reason.METADATA_MISSING,
    Reason.METADATA_OF_OTHER_DRBD,
    Reason.FOREIGN_PRIMARY,
    Reason.SPLIT_BRAIN,
    Reason.INTERNAL_ERROR,
)
TRIES = (
    Reason.STARTING,
    Reason.BRINGING_UP,
    Reason.CONNECTING,
    Reason.DEMOTING,
    Reason.RELEASING,
    Reason.REJOINING,
)


def guest_status(guest: Guest, world: World, case: Case | None, decision: Decision) -> GuestStatus:
    """The guest's whole status after this decision; hosts' reports are left as they are.

    ``guest`` is what is in force of it, ``case`` what is known of it with its mirror.
    """
    old, assignment = guest.status, _assignment_after(guest, world, decision)
    phase = guest_phase(guest, assignment, case, decision, world)
    where = assignment.host if assignment else ""
    reason, message = besides(
        _why(guest, assignment, case, phase, decision), guest, case, phase, where, world
    )
    view = world.hosts.get(where)
    by = "" if _is_by_hand(decision) else paused_by(guest, world, case)
    since = (old.paused_since or world.wall) if by else ""
    protection = _protection(case, where) if case else _no_mirror(guest)
    conditions = (
        _running(phase, reason, message),
        judged("Protected", protection, Reason.PROTECTED, _as_protected(guest)),
        _placed(case, where),
        _paused(guest, case, by, since),
        spec_valid(world, guest),
    )
    generation = guest.metadata.generation
    return old.model_copy(
        update={
            "assignment": assignment,
            "phase": phase,
            "site": view.site_name if view else "",
            "host": where,
            "mirror": replicas.column(case.mirror, world) if case else "",
            "protected": "False" if protection else "True",
            "reason": reason,
            "message": message,
            "paused_by": by,
            "paused_since": since,
            "accepted": old.accepted if world.problems_of(guest) else guest.spec,
            "last_takeover": last_takeover(guest, assignment, decision, world),
            "recent_takeovers": recent_takeovers(guest, decision, world),
            "observed_generation": generation,
            "conditions": stamped(old.conditions, conditions, generation, world),
        }
    )


def _assignment_after(guest: Guest, world: World, decision: Decision) -> Assignment | None:
    """The assignment that the decision leads to: the same one, or the next."""
    old = guest.status.assignment
    if not isinstance(decision, Assign):
        return old
    view = world.hosts.get(decision.host)
    return Assignment(
        host=decision.host,
        site=view.site_name if view else "",
        mirror=guest.mirror_in_use,
        serial=(old.serial if old else 0) + 1,
        reason=decision.reason,
        message=decision.message,
        proof=decision.proof,
        move=decision.move or _carried_on(guest, world),
        live=decision.live,
        turn_seconds=decision.turn_seconds,
        undisturbed=decision.undisturbed,
        since=world.wall,
    )


def _is_by_hand(decision: Decision) -> bool:
    """Whether it begins a move by hand, or takes one back."""
    return isinstance(decision, Assign) and decision.move is not None


def _carried_on(guest: Guest, world: World) -> MoveReference | None:
    """A move that is under way ends with what comes instead of it."""
    move = under_way(guest, world)
    return reference(move) if move is not None else None


# -- phase


def guest_phase(
    guest: Guest, assignment: Assignment | None, case: Case | None, decision: Decision, world: World
) -> GuestPhase:
    """See GuestPhase."""
    if isinstance(decision, Blocked):
        alive = decision.reason is Reason.PEER_STILL_CONNECTED
        return GuestPhase.UNKNOWN if alive or decision.may_run else GuestPhase.BLOCKED
    if assignment is None:
        return GuestPhase.PENDING
    if not assignment.host:
        return _stopping(guest, assignment, case)
    return _assigned_phase(guest, assignment, case, world)


def _stopping(guest: Guest, assignment: Assignment, case: Case | None) -> GuestPhase:
    if not (guest.metadata.deletion_timestamp or not guest.spec.running):
        return GuestPhase.PENDING
    for host, report in guest.status.hosts.items():
        if _is_lost(case, host):
            owner = case.authority.owner if case else ""
            if case is not None and owner == host and not proven_to_have_stopped(case):
                return GuestPhase.UNKNOWN
            continue
        if not report.has_stopped(assignment):
            return GuestPhase.STOPPING
    return GuestPhase.STOPPED


def _is_lost(case: Case | None, host: str) -> bool:
    view = case.view(host) if case else None
    return view is not None and view.freshness in (Freshness.LOST, Freshness.NEVER)


def _not_stopped(guest: Guest, assignment: Assignment, case: Case | None) -> str:
    """Who has not stopped it yet, and what they say."""
    said = [
        f"{host}: {report.message or f'it is {report.state} there'}"
        for host, report in sorted(guest.status.hosts.items())
        if not (_is_lost(case, host) or report.has_stopped(assignment))
    ]
    return f". It has not stopped yet ({'; '.join(said)})" if said else ""


def _assigned_phase(
    guest: Guest, assignment: Assignment, case: Case | None, world: World
) -> GuestPhase:
    view, report = world.hosts.get(assignment.host), guest.status.hosts.get(assignment.host)
    if view is None or view.freshness in (Freshness.LOST, Freshness.NEVER):
        return GuestPhase.UNKNOWN
    if case is not None and report is not None and runs(report, view, case.authority.owner):
        return GuestPhase.RUNNING
    if report is not None and _has_failed(guest, assignment, report, case):
        return GuestPhase.FAILED
    if assignment.reason in MOVES:
        return GuestPhase.MOVING
    return GuestPhase.TAKING_OVER if is_takeover(assignment.proof) else GuestPhase.STARTING


def _has_failed(
    guest: Guest, assignment: Assignment, report: GuestReport, case: Case | None
) -> bool:
    """Whether its host cannot get on with it. Another try of the same order is no news yet."""
    if case is not None and cannot_come_up(case.report(assignment.host)):
        return True
    same = report.assignment_serial == assignment.serial
    tries_again = same and guest.status.phase == GuestPhase.FAILED and report.reason in TRIES
    return report.reason in FAILURES or tries_again


def _why(
    guest: Guest,
    assignment: Assignment | None,
    case: Case | None,
    phase: GuestPhase,
    decision: Decision,
) -> tuple[str, str]:
    """The decision's reason, or that of the host which cannot get on with it."""
    if phase is GuestPhase.STOPPING and assignment is not None:
        return decision.reason, f"{decision.message}{_not_stopped(guest, assignment, case)}"
    if phase is GuestPhase.UNKNOWN and case is not None and assignment and not assignment.host:
        return decision.reason, f"{decision.message}, but {stop_unproven(case)}"
    if isinstance(decision, Keep | Blocked) and phase in (GuestPhase.BLOCKED, GuestPhase.UNKNOWN):
        return decision.reason, decision.message
    if decision.reason is Reason.START_REFUSED and isinstance(decision, Keep):
        return decision.reason, decision.message
    report = guest.status.hosts.get(assignment.host) if assignment else None
    waiting = phase in (
        GuestPhase.STARTING,
        GuestPhase.TAKING_OVER,
        GuestPhase.MOVING,
        GuestPhase.FAILED,
    )
    if not (waiting and assignment and report and report.reason and report.message):
        return decision.reason, decision.message
    if report.assignment_serial != assignment.serial:
        return decision.reason, decision.message
    if phase is GuestPhase.FAILED and report.reason in TRIES:
        return guest.status.reason, guest.status.message  # another try is no news yet
    return report.reason, f"{assignment.message}. {assignment.host}: {report.message}"


# -- conditions


def _running(phase: GuestPhase, reason: str, message: str) -> Condition:
    if phase is GuestPhase.RUNNING:
        return good("Running", Reason.RUNNING, message)
    status = "Unknown" if phase is GuestPhase.UNKNOWN else "False"
    return Condition.model_validate(
        {"type": "Running", "status": status, "reason": reason, "message": message}
    )


def _no_mirror(guest: Guest) -> Refusal:
    return Refusal(Reason.MIRROR_NOT_READY, f"mirror {guest.mirror_in_use} is not set up")


def _protection(case: Case, where: str) -> Refusal | None:
    """Why no other host could take it over now, without loss, or None if one could."""
    here = case.authority.owner or where
    problems = case.world.faults_of(case.guest)
    if problems:
        # It goes on as it was started. The other host would have to start it anew.
        return Refusal(Reason.SPEC_INVALID, f"the other host could not start it: {problems[0]}")
    refusal = replicas.redundancy(case.mirror, case.world)
    if refusal is not None or not here:
        return refusal
    target = case.mirror.peer_of(here)
    by = paused_by(case.guest, case.world, case, target)
    if by:
        return Refusal(Reason.PAUSED, f"it would not be taken over: it is paused by {by}")
    other = case.view(target)
    late = other is not None and other.freshness in (Freshness.LATE, Freshness.UNKNOWN)
    refusal = (
        _asynchronous(case, target)
        or (None if late else unfit(other, target))
        or no_room(case, target)
        or unusable_replica(case, target)
        or _behind_a_wall(case, target)
        or (drbd_files_unreadable(other) if other is not None else None)
        or untried_hardware(case.guest, (target, here))
    )
    if refusal is not None:
        return refusal
    if case.guest.spec.failover.policy is Policy.MANUAL:
        return Refusal(Reason.FAILOVER_MANUAL, "failover is Manual")
    view = case.view(here)
    if view is None or view.heartbeat is None or not view.heartbeat.watchdog_armed:
        return Refusal(
            Reason.WATCHDOG_NOT_ARMED,
            f"{here} has no watchdog armed, so its silence would not prove that it stopped",
        )
    return no_time_would_tell(view, target)


def _asynchronous(case: Case, target: str) -> Refusal | None:
    protocol = case.mirror.spec.protocol
    if protocol is Protocol.C:
        return None
    return Refusal(
        Reason.PROTOCOL_NOT_SYNCHRONOUS,
        f"with protocol {protocol} {target} may lack acknowledged writes, so that it does not take"
        " over by itself",
    )


def _behind_a_wall(case: Case, host: str) -> Refusal | None:
    report = case.report(host)
    if report is None or report.reason is not Reason.INTERNAL_ERROR:
        return None
    return Refusal(Reason.INTERNAL_ERROR, f"{host}: {report.message}")


def _paused(guest: Guest, case: Case | None, by: str, since: str) -> Condition:
    """Unknown until the hosts that might start or stop it have said that they know."""
    if not by:
        return bad("Paused", Refusal(Reason.NOT_PAUSED, ""))
    unheard = _not_heard(guest, case, since)
    if unheard:
        words = " and ".join(f"{host} has not said yet that it knows" for host in unheard)
        return unknown("Paused", Reason.PAUSE_UNHEARD, f"by {by}, but {words}")
    return good("Paused", Reason.PAUSED, f"by {by}")


def _not_heard(guest: Guest, case: Case | None, since: str) -> list[str]:
    """A host that is lost starts nothing: that takes the API, which tells it of the pause first.
    What a host said of an earlier pause is no word about this one.
    """
    assignment = guest.status.assignment
    assigned = assignment.host if assignment is not None else ""
    found = []
    for host in dict.fromkeys((assigned, case.authority.owner if case is not None else "")):
        view, report = case.view(host) if case is not None else None, guest.status.hosts.get(host)
        lost = view is None or view.freshness in (Freshness.LOST, Freshness.NEVER)
        if not lost and (report is None or report.paused_since != since):
            found.append(host)
    return found


def _as_protected(guest: Guest) -> str:
    """What a takeover does not bring along is said before there is one."""
    lost = "; its UEFI variables begin anew there, as at every start"
    uefi = guest.spec.domain.firmware is Firmware.UEFI
    return f"the other host can take it over{lost if uefi else ''}"


def _placed(case: Case | None, where: str) -> Condition:
    preferred = preferred_host(case) if case else ""
    if not where:
        return unknown("Placed", Reason.NOT_ASSIGNED, "it is not placed anywhere")
    if preferred in ("", where):
        return good("Placed", Reason.AS_PREFERRED)
    view = case.view(preferred) if case else None
    site = view.site_name if view else preferred
    refusal = Refusal(Reason.NOT_PREFERRED, f"it prefers site {site} ({preferred})")
    return judged("Placed", refusal, Reason.NOT_PREFERRED)
