"""Nobody owns the mirror: where its guest is placed, and what is said where it cannot be. Pure."""

from tandem_api.kinds.guest import Assignment, FencingProof, ProofKind
from tandem_api.meta import sentence
from tandem_api.reasons import Reason
from tandem_controller.decide.guests import moves, obstacles, placement
from tandem_controller.decide.mirrors import copies
from tandem_controller.decide.world.hosts import silence, unable, unfit
from tandem_controller.decide.world.model import (
    Assign,
    Blocked,
    Case,
    Decision,
    Freshness,
    Keep,
    Refusal,
)


def unowned(case: Case) -> Decision:
    """Place it; what was assigned stays while that host may still claim."""
    assignment = case.guest.status.assignment
    choice = placement.choose(case)
    if assignment is not None and assignment.host:
        better = _better_than(case, assignment.host)
        kept = None if better else _keep_assigned(case, assignment, choice)
        if kept is not None:
            return kept
        choice = better or choice
    undecided = placement.worth_waiting_for(case)
    if undecided is not None:
        return Keep(Reason.WAITING_FOR_LEASE, f"{silence(undecided)}; waiting to see if it does")
    nearly_ready = placement.preferred_but_nearly_ready(case) if assignment is None else None
    if nearly_ready is not None:
        return nearly_ready
    if isinstance(choice, Refusal):
        return _nobody(case, choice)
    problems = case.world.obstacles_of(case.mirror)
    if problems:
        message = f"mirror {case.mirror.key} is not valid: {sentence(problems)}"
        return Blocked(Reason.SPEC_INVALID, message)
    proof = _unowned_proof(case)
    if assignment is None or not assignment.host:
        return Assign(choice, Reason.INITIAL_PLACEMENT, f"It is started on {choice}", proof)
    why = _why_not(case, assignment.host)
    return Assign(choice, Reason.HOST_NOT_READY, f"It is started on {choice}: {why}", proof)


def _keep_assigned(case: Case, assignment: Assignment, choice: str | Refusal) -> Decision | None:
    view = case.view(assignment.host)
    eligible = case.authority.may_own(assignment.host)
    not_gone = view is not None and view.freshness is not Freshness.LOST
    usable = eligible and placement.unusable_replica(case, assignment.host) is None
    fit = unable if assignment.reason in moves.ANYWHERE else unfit
    if usable and not_gone and fit(view, assignment.host) is None:
        return _stuck(case, assignment) or Keep(assignment.reason, assignment.message)
    if usable and view is not None and not view.fresh and not_gone:
        return Keep(Reason.WAITING_FOR_LEASE, f"{silence(view)}; waiting for it to start the guest")
    return None if isinstance(choice, str) else _nobody(case, choice)


def _stuck(case: Case, assignment: Assignment) -> Keep | Blocked | None:
    """Its host says that it cannot start it, and the other one cannot either."""
    host, other = assignment.host, case.mirror.peer_of(assignment.host)
    refusal = placement.cannot_run(case, host)
    if refusal is None:
        return None
    refused = refusal.reason is Reason.START_REFUSED
    if not refused and obstacles.assigned_for_s(case) < moves.LIBVIRT_COMES_S:
        return None
    why = placement.cannot_start(case, other, True) or placement.cannot_run(case, other)
    message = neither_starts_it(case, host, refusal, why) if why else refusal.message
    return Keep(refusal.reason, message) if refused else Blocked(refusal.reason, message)


def neither_starts_it(case: Case, host: str, refusal: Refusal, why: Refusal) -> str:
    """That this host cannot start it, nor the other one, and what a person can do.

    If one of them has only its copy in doubt, it can be gone on with once the other one is off.
    """
    other = case.mirror.peer_of(host)
    pair = ((host, why), (other, refusal))
    unable = [each for each, told in pair if told.reason in copies.IN_DOUBT]
    hint = copies.beside(case.mirror, unable[0], case.world) if len(unable) == 1 else ""
    return f"{refusal.message}. It does not go to {other}: {why.message}{hint}"


def _nobody(case: Case, refusal: Refusal) -> Blocked:
    """No host can start it, and what a person can do with what is there."""
    mirror, world = case.mirror, case.world
    lacking = copies.lacking(mirror, world) or copies.both_doubted(mirror, world)
    hint = f". {lacking}" if lacking else what_helps(case)
    return Blocked(refusal.reason, f"{refusal.message}{hint}")


def what_helps(case: Case) -> str:
    hint = copies.doubted(case.mirror, case.world)
    return f". {hint}" if hint else ""


def _better_than(case: Case, host: str) -> str:
    """Another host, also one in maintenance, if this one says that it cannot; empty if none."""
    if placement.cannot_run(case, host) is None:
        return ""
    other = placement.choose(case, last_resort=True)
    if isinstance(other, Refusal) or placement.cannot_run(case, other) is not None:
        return ""
    return other


def _why_not(case: Case, host: str) -> str:
    refusal = (
        unfit(case.view(host), host)
        or placement.unusable_replica(case, host)
        or placement.cannot_run(case, host)
    )
    return refusal.message if refusal else f"{host} may lack acknowledged writes"


def _unowned_proof(case: Case) -> FencingProof:
    return FencingProof(kind=ProofKind.UNOWNED, at_epoch=case.authority.epoch)
