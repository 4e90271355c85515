"""What becomes of a decision about a guest that is paused: it is said, and not carried out. Pure.

Called by ``decide`` with what would be decided otherwise.
"""

from dataclasses import replace

from tandem_api.kinds.guest import Assignment, Guest
from tandem_controller.decide.world.hosts import runs
from tandem_controller.decide.world.model import (
    Assign,
    Blocked,
    Case,
    Decision,
    Keep,
    Refusal,
    World,
)
from tandem_controller.decide.world.pausing import held_by, pause, paused_by
from tandem_controller.decide.world.phases import is_takeover


def unless_paused(decision: Decision, guest: Guest, world: World, case: Case | None) -> Decision:
    """The same, or what is said instead. Nobody is told anything new of what runs and stays."""
    if isinstance(decision, Assign):
        if decision.move is not None:
            return decision  # by hand: what Tandem does by itself is paused
        by = paused_by(guest, world, case, decision.host)
        if not by:
            return decision
        return _said(pause(by, _would(decision)), guest, case, takeover=is_takeover(decision.proof))
    if isinstance(decision, Blocked):
        return _besides(decision, paused_by(guest, world, case, *(case.replicas if case else ())))
    by, host = paused_by(guest, world, case), _down_on(guest, case)
    return _said(pause(by, f"start it on {host}"), guest, case) if by and host else decision


def _besides(decision: Blocked, by: str) -> Blocked:
    """Who does what the message says must not wait in vain. It may be what was told already."""
    if not by or held_by(by) in decision.message:
        return decision
    return replace(decision, message=f"{decision.message}. {held_by(by)}")


def _would(decision: Assign) -> str:
    what = f"assign it to {decision.host}" if decision.host else "stop it"
    return f"{what} ({decision.reason}: {decision.message})"


def _said(
    refusal: Refusal, guest: Guest, case: Case | None, *, takeover: bool = False
) -> Keep | Blocked:
    """What runs goes on: its phase stays."""
    if case is not None and _runs(guest, case):
        return Keep(refusal.reason, refusal.message)
    return Blocked(refusal.reason, refusal.message, takeover=takeover)


def _runs(guest: Guest, case: Case) -> bool:
    owner = case.authority.owner
    view, report = case.view(owner), guest.status.hosts.get(owner)
    fresh = view is not None and view.fresh
    return view is not None and fresh and report is not None and runs(report, view, owner)


def _down_on(guest: Guest, case: Case | None) -> str:
    """The host that would start it, and says that it does not run there; empty if there is none."""
    assignment = guest.status.assignment
    if assignment is None or not assignment.host or case is None:
        return ""
    view = case.view(assignment.host)
    return assignment.host if view is not None and view.fresh and _down(guest, assignment) else ""


def _down(guest: Guest, assignment: Assignment) -> bool:
    report = guest.status.hosts.get(assignment.host)
    return report is not None and report.has_stopped(assignment)
