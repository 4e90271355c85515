"""Whether this host may run guests right now (rules 10 and 11), and until when.

Pure. ``loop`` asks before every start and at every tick while a guest is here, feeds the watchdog
up to the answer's deadline, and fences what it may no longer run.
"""

from dataclasses import dataclass

from tandem_actuator.core.authority import held
from tandem_actuator.core.model import DrbdState, Role, View
from tandem_api.authority import Mode
from tandem_api.reasons import Reason
from tandem_api.timing import Timing


@dataclass(frozen=True)
class RunPermission:
    """``until_s`` is on the host's CLOCK_BOOTTIME: the answer is worth nothing after it."""

    allowed: bool
    until_s: float
    reason: Reason
    message: str


def run_permission(view: View, renewal_sent_at_s: float | None, now_s: float) -> RunPermission:
    """Rule 10: a confirmed lease, or a fresh sight of the peer as Secondary; and not taken over.

    ``renewal_sent_at_s`` is from before the last *confirmed* renewal was sent.
    """
    owner = _owned_by_another(view)
    if owner is not None:
        return RunPermission(
            False, now_s, Reason.PEER_OWNS, f"{owner or 'nobody'} owns the mirror now"
        )
    lease_until_s = _lease_until_s(renewal_sent_at_s, view.timing)
    link_until_s = _link_until_s(view)
    if lease_until_s >= max(now_s, link_until_s):
        return RunPermission(
            True, lease_until_s, Reason.RUN_CONFIRMED_BY_LEASE, "own heartbeat is confirmed"
        )
    if link_until_s > now_s:
        return RunPermission(
            True,
            link_until_s,
            Reason.RUN_CONFIRMED_BY_PEER,
            f"{view.peer} is connected and Secondary",
        )
    return RunPermission(
        False,
        max(lease_until_s, link_until_s),
        Reason.SELF_FENCING,
        f"no heartbeat confirmed for {view.timing.self_fence_seconds:g} s, and {view.peer} is not"
        " seen as Secondary over the replication link: it may have taken over",
    )


def _owned_by_another(view: View) -> str | None:
    """The owner's name if the authority says it is not this host; None if it is, or unclear.

    A held mirror says nothing: rule 2, touch nothing.
    """
    authority = view.mirror.status.authority
    if authority is None or held(view.mirror, view.record) or authority.mode is Mode.HOLD:
        return None
    return None if authority.owner == view.host else authority.owner


def _lease_until_s(renewal_sent_at_s: float | None, timing: Timing) -> float:
    return (
        float("-inf")
        if renewal_sent_at_s is None
        else renewal_sent_at_s + timing.self_fence_seconds
    )


def _link_until_s(view: View) -> float:
    drbd = view.drbd
    if (
        not isinstance(drbd, DrbdState)
        or not drbd.connected
        or drbd.peer_role is not Role.SECONDARY
    ):
        return float("-inf")
    return drbd.queried_at_s + view.timing.query_freshness_seconds
