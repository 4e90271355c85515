"""Back to the preferred site: whether, and after how long. Pure.

Called by ``moves``, of a guest that could stay where it is.
"""

from datetime import timedelta

from tandem_api.kinds.guest import Policy
from tandem_api.meta import moment
from tandem_api.reasons import Reason
from tandem_controller.decide.guests.obstacles import redundant_since
from tandem_controller.decide.guests.placement import preferred_host
from tandem_controller.decide.world.model import Assign, Case, Keep
from tandem_controller.decide.world.moments import elapsed_s
from tandem_controller.decide.world.replicas import redundancy

DAY_S = 86400
LEAST_WAIT_S = 60
"""From the second takeover from a site within a day, whatever ``afterSeconds`` says."""


def failback(case: Case, owner: str, target: str) -> Assign | Keep | None:
    if preferred_host(case) != target:
        return None
    view, policy = case.view(target), case.guest.spec.failback.policy
    if view is None or view.maintenance:
        return None
    assignment = case.guest.status.assignment
    if assignment is not None and assignment.move is not None and assignment.proof is None:
        return Keep(
            Reason.MOVE_REQUESTED,
            f"It runs on {owner}, as GuestMove {assignment.move.name} has moved it there, and stays"
            f" although it prefers {view.site_name}; another GuestMove takes it there",
        )
    if policy is Policy.MANUAL:
        return Keep(
            Reason.FAILBACK_MANUAL,
            f"It runs on {owner} and prefers {view.site_name}; failback is Manual: set"
            " spec.failback.policy to Automatic to have it moved",
        )
    since = redundant_since(case)
    if since is None:
        lacking = redundancy(case.mirror, case.world)
        return Keep(
            Reason.FAILBACK,
            f"It stays on {owner} although it prefers site {view.site_name}:"
            f" {lacking.message if lacking else 'its mirror has only just become redundant'}",
        )
    wait_s, why = _wait(case, view.site_name, since)
    if wait_s > elapsed_s(since, case.world.snapshot):
        return Keep(
            Reason.FAILBACK,
            f"It moves to {target} once the mirror has been redundant for {wait_s} s (since"
            f" {since}){why}",
        )
    return Assign(target, Reason.FAILBACK, f"it prefers site {view.site_name}")


def _wait(case: Case, site: str, since: str) -> tuple[int, str]:
    """How long the mirror must have been redundant, in seconds; and why so long, if it is longer
    than ``afterSeconds``: a site that flaps gets nothing back for a while.
    """
    after_s = case.guest.spec.failback.after_seconds
    taken = [each for each in case.guest.status.recent_takeovers if each.site == site]
    times = sum(elapsed_s(each.at, case.world.snapshot) < DAY_S for each in taken)
    if times < 2:
        return after_s, ""
    longest_s = max(after_s, DAY_S)
    wait_s = min(longest_s, max(after_s, LEAST_WAIT_S) * 2 ** (times - 1))
    until = _after(since, wait_s)
    taken_over = f"it was taken over from {site} {times} times within a day"
    why = f", as {taken_over}: as it stands not before {until}"
    return wait_s, why


def _after(since: str, wait_s: int) -> str:
    begun = moment(since)
    return (begun + timedelta(seconds=wait_s)).isoformat() if begun is not None else since
