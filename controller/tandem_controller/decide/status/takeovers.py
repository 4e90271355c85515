"""What a guest's status says of its takeovers: the last one, step by step, and those of a day.

Called by ``guest``.
"""

from tandem_api.kinds.guest import Assignment, Guest, PastTakeover, Takeover
from tandem_controller.decide.world.model import Assign, Decision, World
from tandem_controller.decide.world.moments import elapsed_s
from tandem_controller.decide.world.phases import is_takeover

STEPS = ("authorityWon", "promoted", "domainStarted")
DAY_S = 86400
MOST_TAKEOVERS = 16
"""So many of the last day are kept: the wait for failback has reached its longest by then."""


def last_takeover(
    guest: Guest, assignment: Assignment | None, decision: Decision, world: World
) -> Takeover | None:
    """A new one if the decision begins one; else the known one with the steps reported since."""
    known = guest.status.last_takeover
    if isinstance(decision, Assign) and is_takeover(decision.proof):
        return _begun(decision, world)
    if known is None or assignment is None or assignment.host != known.target:
        return known
    report = guest.status.hosts.get(assignment.host)
    if not is_takeover(assignment.proof) or report is None:
        return known
    if report.assignment_serial != assignment.serial:
        return known
    steps = {step: report.steps[step] for step in STEPS if step in report.steps}
    return known.model_copy(update={"steps": {**known.steps, **steps}})


def _begun(decision: Assign, world: World) -> Takeover:
    assert decision.proof is not None
    source = decision.proof.host
    view = world.hosts.get(source)
    last = {"lastHeartbeat": view.last_seen} if view and view.last_seen else {}
    return Takeover(
        source=source,
        target=decision.host,
        reason=decision.reason,
        lease_lost_at=world.wall,
        steps={**last, "leaseLost": world.wall, "assigned": world.wall},
    )


def recent_takeovers(guest: Guest, decision: Decision, world: World) -> tuple[PastTakeover, ...]:
    """Those of the last day, and the one that the decision begins."""
    known = guest.status.recent_takeovers
    if not (isinstance(decision, Assign) and is_takeover(decision.proof)):
        return known
    assert decision.proof is not None
    if _the_same_loss(guest, decision):
        return known
    view = world.hosts.get(decision.proof.host)
    kept = [each for each in known if elapsed_s(each.at, world.snapshot) < DAY_S]
    site = view.site_name if view is not None else ""
    return (*kept, PastTakeover(site=site, at=world.wall))[-MOST_TAKEOVERS:]


def _the_same_loss(guest: Guest, decision: Assign) -> bool:
    """Another proof of what is being taken over already."""
    assignment = guest.status.assignment
    if assignment is None or not is_takeover(assignment.proof):
        return False
    assert assignment.proof is not None and decision.proof is not None
    same_epoch = assignment.proof.at_epoch == decision.proof.at_epoch
    return assignment.host == decision.host and same_epoch
