"""What a host's heartbeat says, and whether a guest may be given to a host.

Turns the lease counts into ``HostView``. Called by ``plan``; ``unfit`` by every placement rule.
"""

from collections.abc import Mapping
from types import MappingProxyType

from tandem_api.authority import Instance
from tandem_api.kinds.guest import GuestReport
from tandem_api.kinds.host import Host, WatchdogPolicy
from tandem_api.kinds.site import Site
from tandem_api.lease import unarmed_host
from tandem_api.meta import Condition, Problem, condition
from tandem_api.reasons import Reason
from tandem_api.timing import LEAST_CLOCK_RATE_RATIO
from tandem_api.vocabulary import DomainState
from tandem_controller.decide.world import clocks
from tandem_controller.decide.world.clocks import ClockState, ClockView
from tandem_controller.decide.world.leases import Count, LeaseTracker
from tandem_controller.decide.world.model import Freshness, HostView, Refusal, World

ARMED_WITHIN_S = 5.0
"""An actuator that has just started arms its watchdog within this time, or cannot."""
CLOCK_RATE = "ClockRateInBound"
"""The condition of a host that tells of its clock's rate."""
_STATE_OF: Mapping[str, ClockState] = {
    Reason.CLOCK_TOO_SLOW: ClockState.TOO_SLOW,
    Reason.CLOCK_TOO_FAST: ClockState.TOO_FAST,
}


def host_view(
    host: Host,
    site: Site | None,
    leases: LeaseTracker,
    now_s: float,
    problems: tuple[Problem, ...] = (),
    outrun: Mapping[str, frozenset[str]] = MappingProxyType({}),
) -> HostView:
    """One host with its heartbeat judged at ``now_s``. ``outrun``: see ``clocks``."""
    name = host.metadata.name
    count = leases.counts.get(name)
    return HostView(
        host=host,
        site=site,
        freshness=freshness(leases, name, now_s),
        silent_s=leases.silent_s(name),
        last_seen=count.seen_at if count else "",
        heartbeat=count.heartbeat if count else None,
        run_s=now_s - count.run_since_s if count else 0.0,
        problems=problems,
        clock=_clock_view(host, count, outrun.get(name, frozenset())),
    )


def clock_rate_ratio(count: Count | None) -> float:
    """The one that the host itself published."""
    timing = count.heartbeat.timing if count is not None else None
    return timing.clock_rate_ratio if timing is not None else LEAST_CLOCK_RATE_RATIO


def outrun(leases: LeaseTracker) -> Mapping[str, frozenset[str]]:
    """Of all hosts, whose clock was outrun by which others'."""
    watches = {host: count.clock for host, count in leases.counts.items()}
    ratios = {host: clock_rate_ratio(count) for host, count in leases.counts.items()}
    return clocks.outrun(watches, ratios)


def clock_told(host: Host) -> Condition | None:
    """What the host's status says of its clock."""
    return condition(host.status.conditions, CLOCK_RATE)


def _clock_view(host: Host, count: Count | None, outrun_by: frozenset[str]) -> ClockView:
    """What was found before this controller began to measure stands until it has."""
    watch = count.clock if count is not None else clocks.Watch()
    state = clocks.state(watch, clock_rate_ratio(count))
    if state is ClockState.UNMEASURED:
        told = clock_told(host)
        known = _STATE_OF.get(told.reason) if told is not None else None
        return ClockView(known or state, "", outrun_by)
    about = "" if state is ClockState.IN_BOUND else f"{watch.about:.2f}"
    return ClockView(state, about, outrun_by)


def freshness(leases: LeaseTracker, host: str, now_s: float) -> Freshness:
    """See Freshness. The timing that counts is the one the host itself published."""
    count, silent_s = leases.counts.get(host), leases.silent_s(host)
    if not leases.covers(now_s):
        return Freshness.UNKNOWN
    if count is None or silent_s is None:
        return Freshness.NEVER
    timing = count.heartbeat.timing
    if timing is None:
        return Freshness.LATE
    if silent_s >= timing.lost_after_s:
        return Freshness.LOST
    if not count.renewed:
        return Freshness.UNKNOWN
    return Freshness.FRESH if silent_s < timing.self_fence_seconds else Freshness.LATE


def runs(report: GuestReport, view: HostView, owner: str) -> bool:
    """Whether a host says that the guest runs there, on its present boot and as the owner."""
    said, now = Instance.parse(report.instance), view.heartbeat
    same_boot = said is not None and now is not None and said.same_boot(now.instance)
    return report.state == DomainState.RUNNING and same_boot and owner == view.name


def unfit(view: HostView | None, name: str) -> Refusal | None:
    """Why a guest may not be given to this host now, or None."""
    if view is not None and view.fresh and not view.problems and view.maintenance:
        return Refusal(
            Reason.MAINTENANCE, f"{name} is not used: {view.maintenance} is in maintenance"
        )
    return unable(view, name)


def unable(view: HostView | None, name: str) -> Refusal | None:
    """Why nothing can be started on this host now, or None. Maintenance keeps a guest from being
    put somewhere, not from staying up.
    """
    if view is None:
        return Refusal(Reason.HOST_NOT_READY, f"there is no host {name}")
    if not view.fresh:
        return Refusal(Reason.HOST_NOT_READY, silence(view))
    if view.problems:
        return Refusal(Reason.HOST_NOT_READY, f"host {name} is not valid: {view.problems[0]}")
    return unarmed(view)


def unarmed(view: HostView) -> Refusal | None:
    """Why the host's watchdog keeps guests from starting there, or None."""
    if not _lacks_watchdog(view):
        return None
    if arms(view):
        return Refusal(Reason.HOST_NOT_READY, f"the watchdog of {view.name} is being armed")
    least_s = view.heartbeat.watchdog_least_s if view.heartbeat is not None else None
    timing = view.site.spec.timing if view.site is not None else None
    return Refusal(Reason.WATCHDOG_NOT_ARMED, unarmed_host(view.name, least_s, timing))


def arms(view: HostView | None) -> bool:
    """Whether the host has just begun to arm the watchdog that it requires."""
    return view is not None and view.fresh and _lacks_watchdog(view) and view.run_s < ARMED_WITHIN_S


def _lacks_watchdog(view: HostView) -> bool:
    armed = view.heartbeat is not None and view.heartbeat.watchdog_armed
    return not armed and view.host.spec.watchdog is WatchdogPolicy.REQUIRED


def drbd_files_unreadable(view: HostView) -> Refusal | None:
    """Why DRBD could ask nothing on this host, by its own word, or None; None if it does not tell.

    Nothing comes of it before the link is lost, or a guest is to be started there without the peer.
    """
    files = view.host.status.drbd_files
    if files is None or files.readable:
        return None
    return Refusal(
        Reason.DRBD_FILES_UNREADABLE,
        f"drbdadm cannot read its files on {view.name}, so nothing could be started there without"
        f" the other host, and what runs there could not go on alone: {files.message}. Correct or"
        " remove what is named, until drbdadm sh-nop says nothing there",
    )


def silence(view: HostView) -> str:
    """A host's heartbeat in words. They change only when what it says changes."""
    match view.freshness:
        case Freshness.FRESH:
            return f"{view.name} sends its heartbeat"
        case Freshness.LATE | Freshness.LOST if view.last_seen:
            return f"{view.name} has sent no heartbeat since {view.last_seen}"
        case Freshness.LATE | Freshness.LOST:
            return f"{view.name} has sent no heartbeat for as long as this controller has watched"
        case Freshness.NEVER:
            return f"{view.name} has never sent a heartbeat"
        case Freshness.UNKNOWN:
            return f"{view.name}'s heartbeat has not been watched for long enough yet"


def rebooted(view: HostView, instance: str) -> bool:
    """Whether the host's heartbeat comes from another boot than that instance's."""
    heartbeat = view.heartbeat
    if heartbeat is None or heartbeat.instance == instance:
        return False
    now = Instance.parse(heartbeat.instance)
    return now is not None and Instance.parse(instance) is not None and not now.same_boot(instance)


def drbd_version(host: str, world: World) -> str:
    """Of the DRBD that it says it runs; empty if it does not say."""
    view = world.hosts.get(host)
    return view.host.status.versions.get("drbd", "") if view is not None else ""
