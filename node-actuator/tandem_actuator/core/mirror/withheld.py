"""When a host's heartbeat would say more than is true: that it can do what it owes. Pure.

Leases may pass where nothing else does: a path that drops large packets, a webhook that hangs for
Tandem's objects alone, rights that were taken away. An owner whose writes are frozen then waits for
leave that it cannot be given, and its heartbeat keeps the other host from taking over. Not to send
one is always safe: that is an API that is away. ``run.heartbeat`` asks it, through ``run.loop``.
"""

from collections.abc import Iterable

from tandem_actuator.core.authority import Refusal, grant_link_loss
from tandem_actuator.core.mirror import transaction
from tandem_actuator.core.model import View
from tandem_api.kinds.guest import Guest, Policy

GRANT_PATIENCE_S = 15.0
"""Beyond the hold-off. An API server that restarts, or elects a leader, is back by then."""


def why_withheld(views: Iterable[View], now_s: float) -> str:
    """Why no heartbeat is to be sent; empty if there is no reason."""
    stuck = [str(view.mirror.key) for view in views if _asks_in_vain(view, now_s)]
    if not stuck:
        return ""
    return f"leave to go on alone was not to be had in time for {', '.join(sorted(stuck))}"


def _may_be_taken_over(guest: Guest | None) -> bool:
    """Whether the controller would. Else it would only be stopped for it."""
    if guest is None or guest.status.paused_since:
        return False
    return guest.in_force.failover.policy is Policy.AUTOMATIC


def _asks_in_vain(view: View, now_s: float) -> bool:
    """Frozen for long although nothing that is known speaks against leave; and the other host may
    take over, which is what this is for.
    """
    authority, since_s = view.mirror.status.authority, view.frozen_since_s
    if since_s is None or authority is None or not authority.both_count:
        return False
    if not _may_be_taken_over(view.guest):
        return False
    patience_s = view.mirror.spec.link_loss_holdoff_seconds + GRANT_PATIENCE_S
    if now_s - since_s < patience_s:
        return False
    return not isinstance(grant_link_loss(view.mirror, transaction.facts_of(view), ""), Refusal)
