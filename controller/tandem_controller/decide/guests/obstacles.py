"""What keeps a guest from being moved now, and for how long. Pure."""

from dataclasses import replace

from tandem_api.kinds.guest import Policy
from tandem_api.kinds.mirror import Protocol
from tandem_api.meta import condition
from tandem_api.reasons import Reason
from tandem_controller.decide.guests.placement import (
    cannot_run,
    no_room,
    refused_before,
    unusable_replica,
)
from tandem_controller.decide.mirrors.copies import override_hint
from tandem_controller.decide.world.hosts import unfit
from tandem_controller.decide.world.model import Case, Refusal
from tandem_controller.decide.world.moments import elapsed_s
from tandem_controller.decide.world.replicas import (
    bytes_known_to_differ,
    missing_volumes,
    reports,
)

TURN_S, TURN_MAX_S = 60, 300
"""So long a guest that neither host could start stays at one before the other tries again: each
time twice as long as before.
"""


def manual(case: Case) -> Refusal | None:
    if case.guest.spec.failover.policy is Policy.AUTOMATIC:
        return None
    return Refusal(
        Reason.FAILOVER_MANUAL,
        "failover is Manual: set spec.failover.policy to Automatic to have it moved",
    )


def lack(case: Case, target: str) -> Refusal | None:
    hint = override_hint(target, case.authority.epoch)
    return lacks_by(case, target, f"To give those up set on the mirror: {hint}")


def lacks_by(case: Case, target: str, what_to_do: str) -> Refusal | None:
    why = may_lack(case, target)
    return replace(why, message=f"{why.message}. {what_to_do}") if why is not None else None


def may_lack(case: Case, target: str) -> Refusal | None:
    """Why it may not have every acknowledged write. It has them without a connection, too, of a
    guest that writes none.
    """
    authority, protocol = case.authority, case.mirror.spec.protocol
    if authority.both_count and authority.may_own(target) and protocol is Protocol.C:
        return _known_to_differ(case)
    return Refusal(
        Reason.NOT_ELIGIBLE,
        f"it may lack acknowledged writes ({authority.mode} at epoch {authority.epoch}, protocol"
        f" {protocol})",
    )


def keeps_it_without_a_disk(case: Case) -> Refusal | None:
    """Why its owner would stop the guest, and keep the mirror all the same, or None: without
    protocol C it lets go only in sync, which it is not without its own disk.
    """
    owner, protocol = case.authority.owner, case.mirror.spec.protocol
    if protocol is Protocol.C or not missing_volumes(case.report(owner)):
        return None
    return Refusal(
        Reason.PROTOCOL_NOT_SYNCHRONOUS,
        f"with protocol {protocol} {owner} lets go of the mirror only while both replicas are in"
        f" sync: bring the disk of {owner} back first",
    )


def _known_to_differ(case: Case) -> Refusal | None:
    """DRBD may have found out since that it lacks something: as a verification does."""
    counted = reports(case.mirror, case.world).values()
    known = max((bytes_known_to_differ(report) for report in counted), default=0)
    if not known:
        return None
    return Refusal(Reason.NOT_YET_IN_SYNC, f"DRBD knows that {known} bytes differ")


def not_ready(case: Case, target: str) -> Refusal | None:
    return (
        unfit(case.view(target), target)
        or no_room(case, target)
        or unusable_replica(case, target)
        or cannot_run(case, target)
    )


def invalid(case: Case) -> Refusal | None:
    problems = case.world.obstacles_of(case.mirror)
    return Refusal(Reason.SPEC_INVALID, f"mirror: {problems[0]}") if problems else None


def redundant_since(case: Case) -> str | None:
    known = condition(case.mirror.status.conditions, "Redundant")
    return known.last_transition_time if known and known.status == "True" else None


def assigned_for_s(case: Case) -> float:
    """How long ago its last assignment was made."""
    assignment = case.guest.status.assignment
    return elapsed_s(assignment.since, case.world.snapshot) if assignment else 0.0


def had_its_turn(case: Case, owner: str, target: str) -> Refusal | None:
    """Why the target, which could not start it either, does not try again yet, or None."""
    refused, turn_s = refused_before(case, target), _turn_seconds(case) or TURN_S
    if refused is None or assigned_for_s(case) >= turn_s:
        return None
    itself = f"It goes there again by itself {turn_s} s after it came to {owner}"
    return replace(refused, message=f"{refused.message}. {itself}")


def next_turn_s(case: Case) -> int:
    """For the host that is to try it next. One that has had it for long begins anew."""
    turn_s = _turn_seconds(case) if assigned_for_s(case) < 2 * TURN_MAX_S else 0
    return min(2 * turn_s, TURN_MAX_S) or TURN_S


def _turn_seconds(case: Case) -> int:
    assignment = case.guest.status.assignment
    return assignment.turn_seconds if assignment is not None else 0
