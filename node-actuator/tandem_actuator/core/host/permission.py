"""Whether this host may run guests right now (rules 10 and 11), and until when.

Pure. ``loop`` asks before every start and at every tick while a guest is here (``judge``), feeds
the watchdog up to the answer's deadline, and fences what it may no longer run. How soon it must
look at a resource again follows from the same deadlines (``look_again_in_s``).
"""

import math
from collections.abc import Iterable
from dataclasses import dataclass

from tandem_actuator.core.authority import held
from tandem_actuator.core.drbd import DrbdState, DrbdView
from tandem_actuator.core.model import View
from tandem_api.authority import Authority, Mode
from tandem_api.meta import ObjectKey
from tandem_api.reasons import Reason
from tandem_api.timing import Timing, drbd_timers
from tandem_api.vocabulary import Role

IDLE_INTERVAL_S = 2.0
SETTLING_INTERVAL_S = 0.5
ANSWER_S = 0.2
"""What a packet, its acknowledgement and the look at it may take."""
EAGER_INTERVAL_S = 0.1
"""Where a wait of known length or a guest's stop holds something up."""


@dataclass(frozen=True)
class RunPermission:
    """``until_s`` is on the host's CLOCK_BOOTTIME: the answer is worth nothing after it."""

    allowed: bool
    until_s: float
    reason: Reason
    message: str


def run_permission(view: View, renewal_sent_at_s: float | None, now_s: float) -> RunPermission:
    """Rule 10: a confirmed lease, or a fresh sight of the peer as Secondary; and not taken over.

    ``renewal_sent_at_s`` is from before the last *confirmed* renewal was sent. It counts for
    nothing while ``view.lapsed``: the lost time may have been enough for another to take over.
    """
    lease_until_s = _heartbeat_counts_until_s(view, renewal_sent_at_s)
    link_until_s = _link_until_s(view)
    owner = _owned_by_another(view)
    if owner is not None:
        # What had turned false before this was heard is not good until now by being heard.
        until_s = min(now_s, max(lease_until_s, link_until_s))
        why = f"{owner or 'nobody'} owns the mirror now"
        return RunPermission(False, until_s, Reason.PEER_OWNS, why)
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
        f"no heartbeat confirmed for {view.timing.self_fence_seconds:g} s, and {_no_link(view)}: it"
        " may have taken over",
    )


def _no_link(view: View) -> str:
    if may_yet_be_acquitted(view):
        return f"nothing of this host has arrived at {view.peer} for {view.link_lasts_s:g} s"
    return f"{view.peer} is not seen as Secondary over the replication link"


def has_lapsed(view: View, renewal_sent_at_s: float | None, now_s: float) -> bool:
    """Whether a guest may have run without permission for a while before this moment.

    Asked before a new look or heartbeat is taken in, which would hide it: after a standstill of
    the host it is chance which of its tasks goes on first.
    """
    if not view.guest_may_run or view.fence is not None:
        return False
    return not run_permission(view, renewal_sent_at_s, now_s).allowed


def start_permission(
    view: View,
    renewal_sent_at_s: float | None,
    steady_since_s: float,
    claimed_at_s: float,
    now_s: float,
) -> RunPermission:
    """Rule 14: the predicate, and a heartbeat that never lapsed since before the claim.

    A claim is worth nothing once this host has stood still for so long that another may have taken
    over: it may have been told so, or not yet. A heartbeat that came back since proves nothing.
    """
    permission = run_permission(view, renewal_sent_at_s, now_s)
    lapsed = _lease_until_s(renewal_sent_at_s, view.timing) < now_s
    if permission.allowed and (lapsed or claimed_at_s < steady_since_s):
        why = "the heartbeat has lapsed since the claim: it must be made again"
        return RunPermission(False, now_s, Reason.SELF_FENCING, why)
    return permission


def may_lose_link(view: View, renewal_sent_at_s: float | None, now_s: float) -> bool:
    """Whether a guest goes on if the link is given up now: until the next heartbeat is due, too."""
    until_s = _heartbeat_counts_until_s(view, renewal_sent_at_s)
    return view.fence is None and until_s - now_s > view.timing.renew_interval_seconds


def _owned_by_another(view: View) -> str | None:
    """The owner's name if the authority says it is not this host; None if it is, or unclear.

    A held mirror says nothing: rule 2, touch nothing. But one that is held for its protocol alone
    is true, and who took over says so in every protocol: a host that stood still while that
    happened would else wake up, renew its heartbeat and go on beside its successor.
    """
    authority = view.mirror.status.authority
    if authority is None or authority.mode is Mode.HOLD or authority.owner == view.host:
        return None
    if view.was_sent is not None and authority.migrates_as(view.was_sent.id):
        return None  # the owner has sent it, and runs nothing until this host has been the owner
    refusal = held(view.mirror, view.record)
    if refusal is not None and not (authority.owner and _held_for_its_protocol(view, authority)):
        return None
    return authority.owner


def _held_for_its_protocol(view: View, authority: Authority) -> bool:
    """Whether nothing else speaks against the mirror."""
    readable = authority.model_copy(update={"min_protocol": 0})
    status = view.mirror.status.model_copy(update={"authority": readable})
    return held(view.mirror.model_copy(update={"status": status}), view.record) is None


def _lease_until_s(renewal_sent_at_s: float | None, timing: Timing) -> float:
    return (
        float("-inf")
        if renewal_sent_at_s is None
        else renewal_sent_at_s + timing.self_fence_seconds
    )


def _heartbeat_counts_until_s(view: View, renewal_sent_at_s: float | None) -> float:
    return float("-inf") if view.lapsed else _lease_until_s(renewal_sent_at_s, view.timing)


def acquits(view: View, drbd: DrbdView) -> bool:
    """Whether a look shows a link that a guest may live on: the peer is connected, and Secondary.

    Beside a target that is Primary for it, a source may go on: that host lets nothing execute
    unless it was handed the mirror.
    """
    note = view.runs_note(view.record.outgoing)
    sends = note is not None and not note.gone
    if not isinstance(drbd, DrbdState) or not drbd.connected:
        return False
    return drbd.peer_role is Role.SECONDARY or (sends and drbd.peer_role is Role.PRIMARY)


def _link_until_s(view: View) -> float:
    """A look counts for Q: it may be at a link that is dead already. A host that others take to
    live by what has arrived also counts from a look after which something has. Both, since its
    peer may have noticed the loss, and have a socket open still.
    """
    drbd = view.drbd
    if not isinstance(drbd, DrbdState) or not acquits(view, drbd):
        return float("-inf")
    until_s = drbd.queried_at_s + view.timing.query_freshness_seconds
    if view.acknowledged:
        return min(until_s, view.packets.arrived_after_s + view.link_lasts_s)
    return until_s


def awaits_its_first_packet(
    view: View, renewal_sent_at_s: float | None, began_s: float, now_s: float
) -> bool:
    """Whether this run, which began then, has nothing but the link, and nothing that it has sent
    has arrived. Until then the guest lives by the last run's looks.
    """
    if not (view.guest_may_run and may_yet_be_acquitted(view)):
        return False
    if view.packets.arrived_after_s >= began_s:
        return False
    permission = run_permission(view, renewal_sent_at_s, now_s)
    return permission.reason is not Reason.RUN_CONFIRMED_BY_LEASE


def may_yet_be_acquitted(view: View) -> bool:
    """Whether the link looks well, and nothing has arrived yet since it did."""
    return view.acknowledged and acquits(view, view.drbd)


@dataclass(frozen=True)
class Judgement:
    """``feed_until_s``: how far the watchdog may be fed, on CLOCK_BOOTTIME; for ever without a
    guest that may execute. ``fence``: the mirrors whose guests must be stopped now.
    """

    feed_until_s: float
    fence: tuple[ObjectKey, ...]


def judge(views: Iterable[View], renewal_sent_at_s: float | None, now_s: float) -> Judgement:
    """Rule 11 for every guest that may run here.

    A fence has F from the moment at which the predicate turned false; it is latched, so a guest
    that is being fenced earns no feeding by what comes back meanwhile. One that is dead is what a
    fence is for: others go on beside it, while its process is held and it is tried again to end it.
    """
    feed_until_s, fence = math.inf, list[ObjectKey]()
    for view in views:
        if not view.guest_may_run:
            continue
        permission = run_permission(view, renewal_sent_at_s, now_s)
        allowed_until_s = permission.until_s
        if not permission.allowed or view.fence is not None:
            fence.append(view.mirror.key)
            allowed_until_s = view.fence.since_s if view.fence else permission.until_s
        if not view.guest_is_dead:
            feed_until_s = min(feed_until_s, allowed_until_s + view.timing.fencing_seconds)
    return Judgement(feed_until_s, tuple(fence))


def lapse_must_be_judged(
    guarding: bool, renewal_sent_at_s: float | None, timing: Timing, now_s: float
) -> bool:
    """Whether a lapse counts before a heartbeat that is about to be confirmed, or a look, does.

    What lapsed before it must not be forgotten. A run that has just started (not ``guarding`` yet)
    may take F for it: nobody was fenced yet, the watchdog is fed no further than the last run's
    deadline, and others wait for R + F + W at least.
    """
    allowed_s = timing.self_fence_seconds + timing.fencing_seconds
    return guarding or renewal_sent_at_s is None or now_s - renewal_sent_at_s > allowed_s


def _before_it_must_have_arrived_s(view: View) -> float:
    """So soon another look must follow for its packet to arrive before the last one's date is over.

    An idle link carries one each ping-int, which an answer and the look at it follow.
    """
    if not view.acknowledged:
        return IDLE_INTERVAL_S
    arrives_s = drbd_timers(view.timing).ping_int_s + ANSWER_S
    return max(view.link_lasts_s - arrives_s, view.timing.query_freshness_seconds / 3)


def look_again_in_s(
    view: View, reason: Reason, failures: int, renewal_sent_at_s: float | None, now_s: float
) -> float:
    """The pace at which a resource is looked at: soon if the link keeps a guest alive.

    ``reason``: what was decided last. ``failures``: how often it failed in a row.
    """
    if view.guest_may_run:
        # Looks must be at their quick pace before the heartbeat's arm ends, not after.
        quick_s = view.timing.query_freshness_seconds / 3
        lease_until_s = _heartbeat_counts_until_s(view, renewal_sent_at_s)
        calm_s = lease_until_s - now_s - view.timing.renew_interval_seconds
        return min(max(quick_s, calm_s), IDLE_INTERVAL_S, _before_it_must_have_arrived_s(view))
    if reason in (Reason.WAITING_FOR_LINK, Reason.STOPPING) or failures:
        return EAGER_INTERVAL_S
    settling = isinstance(view.drbd, DrbdState) and not view.drbd.in_sync
    return SETTLING_INTERVAL_S if settling else IDLE_INTERVAL_S
