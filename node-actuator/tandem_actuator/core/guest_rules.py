"""The rules of ``decide`` about a guest: stop it, start it, let its mirror go. Pure.

Each is a rule as ``decide`` describes it; their place among the others is in its ``RULES``.
"""

from dataclasses import replace

from tandem_actuator.core import authority as rules
from tandem_actuator.core import procedures
from tandem_actuator.core.authority import Proposal, Refusal
from tandem_actuator.core.decision import Decision, Start, Stay, Task, drbd_of
from tandem_actuator.core.model import Role, View
from tandem_api.reasons import Reason


def unwanted_guest(view: View, now_s: float, wall: str) -> Decision | None:
    """Stop a guest that is assigned elsewhere or nowhere: ask, wait, pull the plug."""
    guest = view.guest
    if not view.guest_may_run or guest is None:
        return None
    assignment = guest.status.assignment
    if assignment is None or assignment.host == view.host:
        return None
    where = f"to {assignment.host}" if assignment.host else "nowhere"
    if assignment.host and assignment.proof is not None:
        # A takeover from this very host: it runs here and so can answer. Its own lease and the
        # run predicate decide; a planned move comes without a proof.
        return Stay(Reason.STEADY, f"assigned {where} by a takeover that has not happened")
    if view.shutdown_sent_at_s is None:
        return Start(
            Task.SHUT_DOWN,
            Reason.STOPPING,
            f"the guest is assigned {where}: asking it to stop",
            lambda: procedures.shut_down(view),
        )
    left_s = view.shutdown_sent_at_s + guest.spec.shutdown_timeout_seconds - now_s
    if left_s > 0:
        return Stay(Reason.STOPPING, "the guest was asked to stop")
    return Start(
        Task.PULL_PLUG,
        Reason.DESTROYING,
        f"the guest did not stop within {guest.spec.shutdown_timeout_seconds} s",
        lambda: procedures.pull_plug(view, Reason.DESTROYING, "pulled the plug"),
    )


def start(view: View, now_s: float, wall: str) -> Decision | None:
    """Run the guest here if it is assigned here. A first look at what is known saves the reads."""
    guest = view.guest
    assignment = guest.status.assignment if guest else None
    if guest is None or assignment is None or assignment.host != view.host:
        return None
    if view.guest_may_run:
        return Stay(Reason.RUNNING, "running")
    if view.fence is not None:
        return Stay(Reason.SELF_FENCING, "stopping what ran here comes first")
    if view.watchdog_required and not view.watchdog_armed:
        return Stay(
            Reason.WATCHDOG_NOT_ARMED,
            f"{view.host} requires a watchdog and has none armed; set spec.watchdog to Optional to"
            " run guests without (a takeover from it then needs other proof)",
        )
    facts = procedures.facts_of(view)
    glance = replace(facts, now_s=now_s)
    verdict = rules.claim(view.mirror, glance, assignment, None, "")
    if isinstance(verdict, Refusal):
        return Stay(verdict.reason, verdict.message)
    return Start(
        Task.START,
        Reason.STARTING,
        f"assigned to {view.host} ({assignment.reason}): claiming and starting",
        lambda: procedures.claim_and_start(view),
    )


def let_go(view: View, now_s: float, wall: str) -> Decision | None:
    """Not wanted here and not running: Secondary, then release."""
    assignment = view.guest.status.assignment if view.guest else None
    if view.guest_may_run or (assignment is not None and assignment.host == view.host):
        return None
    if view.guest is None or assignment is None:
        return None  # an object that is not there is no order to stop anything
    drbd = drbd_of(view)
    if drbd.role is Role.PRIMARY and view.record.owned_epoch:
        return Start(
            Task.DEMOTE, Reason.DEMOTING, "not in use here", lambda: procedures.demote(view)
        )
    verdict = rules.release(view.mirror, procedures.facts_of(view), "")
    if not isinstance(verdict, Proposal):
        return None
    return Start(
        Task.RELEASE,
        Reason.RELEASING,
        "stopped here: releasing it",
        lambda: procedures.change_authority(view, rules.release, Reason.RELEASED, "released"),
    )
