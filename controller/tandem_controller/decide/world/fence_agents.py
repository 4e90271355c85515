"""Whether a host may be switched off by its fence agent now, and what its agent has said. Pure.

Switching off is no way to make a living host stop. It is asked for only when the host may run
nothing any more by its own rules: it counts both arms of its run predicate (rule 10) from before
what is counted from here. Whatever is not known speaks against it; then time goes on to prove what
it always did.

Called by ``powering_off`` with what is known, and by ``run/power`` with quorum reads of just now.
"""

from collections.abc import Mapping
from dataclasses import dataclass

from tandem_api.authority import Authority, Instance, Mode
from tandem_api.kinds.host import Host
from tandem_api.kinds.mirror import Mirror, ReplicaReport
from tandem_api.lease import Heartbeat
from tandem_api.meta import Condition, condition
from tandem_api.reasons import Reason
from tandem_api.timing import Timing
from tandem_controller.decide.world.clocks import ClockState
from tandem_controller.decide.world.delivery import undelivered
from tandem_controller.decide.world.model import Freshness, HostView, Refusal

WORKS = "FenceAgentWorks"
"""The condition of a host with a fence agent."""


@dataclass(frozen=True)
class Order:
    """Switch this host off: this boot of it, last heard of with this version of its Lease."""

    host: Host
    boot_id: str
    lease_version: str


@dataclass(frozen=True)
class NotYet:
    """It may be asked for after so much more time, if nothing changes."""

    left_s: float


def verdict(
    view: HostView, mirrors: tuple[Mirror, ...], views: Mapping[str, HostView], since_read_s: float
) -> Order | NotYet | Refusal:
    """May this host be switched off?

    ``mirrors``: all that name it. ``views``: of their other hosts. ``since_read_s``: how long ago
    the read began that these views are from.
    """
    why = _not_asked(view, mirrors) or _not_silent(view)
    if why is not None:
        return why
    beat, instance = view.heartbeat, _instance(view)
    assert beat is not None and beat.timing is not None
    assert instance is not None and view.silent_s is not None
    left_s = beat.timing.heartbeat_lasts_s - view.silent_s
    for mirror in mirrors:
        if _may_run_on(mirror, view.name):
            left = _link_left_s(mirror, view, beat.timing, views, since_read_s)
            if isinstance(left, Refusal):
                return left
            left_s = max(left_s, left)
    return NotYet(left_s) if left_s > 0 else Order(view.host, instance.boot_id, beat.version)


def _not_asked(view: HostView, mirrors: tuple[Mirror, ...]) -> Refusal | None:
    """Why its agent is not asked, however long it is silent."""
    told = told_of_agent(view.host)
    if view.host.spec.fence_agent is None:
        return _unknown(f"{view.name} has no fence agent")
    if told is not None and told.reason == Reason.FENCE_AGENT_ELSEWHERE:
        return _unknown(told.message)
    if view.maintenance:
        return _unknown(f"{view.maintenance} is in maintenance: somebody may be working there")
    by = _paused_by(view, mirrors)
    return _unknown(f"{by} is paused") if by else None


def _not_silent(view: HostView) -> Refusal | None:
    """Why nothing can be counted from its last heartbeat."""
    beat = view.heartbeat
    silent = view.freshness in (Freshness.LATE, Freshness.LOST) and view.silent_s is not None
    if not silent or beat is None or _instance(view) is None:
        return _unknown(f"{view.name} is not known to be silent")
    if beat.timing is None:
        return _unknown(f"{view.name} does not tell by which timing it lives")
    if view.clock.state is ClockState.TOO_SLOW:
        return _unknown(f"the clock of {view.name} is too slow to be counted upon")
    return None


def told_of_agent(host: Host) -> Condition | None:
    """What the host's status says of its agent."""
    return condition(host.status.conditions, WORKS)


def _paused_by(view: HostView, mirrors: tuple[Mirror, ...]) -> str:
    if view.host.spec.paused:
        return f"host {view.name}"
    if view.site is not None and view.site.spec.paused:
        return f"site {view.site_name}"
    paused = [mirror for mirror in mirrors if mirror.spec.paused and _may_run_on(mirror, view.name)]
    return f"mirror {paused[0].key}" if paused else ""


def _instance(view: HostView) -> Instance | None:
    return Instance.parse(view.heartbeat.instance) if view.heartbeat is not None else None


def _may_run_on(mirror: Mirror, host: str) -> bool:
    """Whether a guest may live there by this mirror's link: its owner's, or one on its way."""
    authority = mirror.status.authority
    return authority is not None and (authority.owner == host or _migrates(authority, host))


def _migrates(authority: Authority, host: str) -> bool:
    ends = authority.migration
    return authority.mode is Mode.MIGRATING and (ends is None or host in (ends.source, ends.target))


def _link_left_s(
    mirror: Mirror,
    view: HostView,
    timing: Timing,
    views: Mapping[str, HostView],
    since_read_s: float,
) -> float | Refusal:
    """Until this mirror's link can acquit the host no more, by its peer's word."""
    name = mirror.peer_of(view.name)
    peer, report = views.get(name), mirror.status.replicas.get(name)
    if peer is None or not peer.fresh or peer.heartbeat is None:
        return _unknown(f"{name} is not heard, so nothing is known of the link of {mirror.key}")
    if undelivered(peer) is not None or report is None:
        return _unknown(f"what {name} has said of the link of {mirror.key} may be old")
    if report.instance != peer.heartbeat.instance or not report.link_down:
        return _unknown(f"{name} does not say that the link of {mirror.key} is lost")
    if name in view.clock.outrun_by:
        return _unknown(f"the clock of {name} is too fast to be counted upon")
    since_s = _counts_from_s(report, view.heartbeat)
    if since_s is None or peer.heartbeat.clock_s is None or peer.silent_s is None:
        return _unknown(f"{name} does not say when it lost the link of {mirror.key}")
    # By its clock when it sent this heartbeat, and by this controller's since that was seen.
    passed_s = peer.heartbeat.clock_s - since_s + peer.silent_s + since_read_s
    return timing.link_acquits_s - passed_s


def _counts_from_s(report: ReplicaReport, owner: Heartbeat | None) -> float | None:
    """As the taker counts its own wait (``link_long_lost`` there)."""
    lost_s, last_s = report.link_lost_at_seconds, report.last_packet_at_seconds
    acknowledged = owner is not None and owner.link_acknowledged
    return last_s if acknowledged and lost_s is not None and last_s is not None else lost_s


def _unknown(why: str) -> Refusal:
    return Refusal(Reason.WAITING_FOR_FENCING_PROOF, f"Not switched off: {why}")
