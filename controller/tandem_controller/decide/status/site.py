"""What the status of a host and of a site says: heartbeat, readiness, and what would not fit.

Called by ``plan``. Of a host it leaves what the host itself wrote as it is.
"""

from tandem_api.kinds.host import HostStatus, WatchdogPolicy
from tandem_api.kinds.site import Site, SiteStatus
from tandem_api.meta import Condition, condition
from tandem_api.reasons import Reason
from tandem_api.vocabulary import HostPhase, SitePhase
from tandem_controller.decide.conditions import bad, good, judged, spec_valid, stamped
from tandem_controller.decide.status.draining import NOBODY, Kept, drained
from tandem_controller.decide.world import delivery
from tandem_controller.decide.world.clocks import ClockState
from tandem_controller.decide.world.fence_agents import WORKS, told_of_agent
from tandem_controller.decide.world.hosts import (
    CLOCK_RATE,
    clock_told,
    drbd_files_unreadable,
    silence,
    unarmed,
    unfit,
)
from tandem_controller.decide.world.model import Freshness, HostView, Refusal, World
from tandem_controller.decide.world.moments import ahead

_HEARTBEAT_REASONS = {
    Freshness.LATE: Reason.HEARTBEAT_LATE,
    Freshness.LOST: Reason.HEARTBEAT_LOST,
    Freshness.NEVER: Reason.HEARTBEAT_NEVER_SEEN,
}
REPORTS, DRBD_FILES = "ReportsDelivered", "DrbdFilesReadable"
GIBIBYTE = 2**30


def host_status(view: HostView, world: World, kept: Kept = NOBODY) -> HostStatus:
    """A host's whole status. Only for a host whose heartbeat has been judged. ``kept``: which
    guests cannot leave, see ``stuck``.
    """
    old, generation = view.host.status, view.host.metadata.generation
    refusal = unfit(view, view.name)
    conditions = (
        judged("Ready", refusal, Reason.READY),
        _heartbeat(view.freshness, silence(view)),
        _watchdog(view),
        *_clock(view, world),
        *_reports(view),
        *_drbd_files(view),
        *_fence_agent(view, world),
        spec_valid(world, view.host),
        *([drained([view], world, kept)] if view.maintenance else ()),
    )
    return old.model_copy(
        update={
            "phase": _host_phase(view, refusal),
            "lease": str(view.freshness),
            "lease_since": _since(old.lease, old.lease_since, view.freshness, world),
            "guests": world.load(view.name).guests,
            "powered_off": None if view.fresh else old.powered_off,
            "observed_generation": generation,
            "conditions": stamped(old.conditions, conditions, generation, world),
        }
    )


def _since(old: str, since: str | None, new: Freshness, world: World) -> str | None:
    return since if old == new and not ahead(since, world.snapshot) else world.wall


def _host_phase(view: HostView, refusal: Refusal | None) -> HostPhase:
    if view.freshness in (Freshness.LOST, Freshness.NEVER):
        return HostPhase(view.freshness)
    if refusal is None:
        return HostPhase.READY
    maintenance = refusal.reason is Reason.MAINTENANCE
    return HostPhase.MAINTENANCE if maintenance else HostPhase.NOT_READY


def _heartbeat(freshness: Freshness, message: str) -> Condition:
    if freshness is Freshness.FRESH:
        return good("HeartbeatFresh", Reason.HEARTBEAT_FRESH)
    return bad("HeartbeatFresh", Refusal(_HEARTBEAT_REASONS[freshness], message))


def _watchdog(view: HostView) -> Condition:
    if view.heartbeat is not None and view.heartbeat.watchdog_armed:
        return good("WatchdogArmed", Reason.WATCHDOG_ARMED)
    required = unarmed(view)
    if required is not None:
        return bad("WatchdogArmed", required)
    none = view.host.spec.watchdog is WatchdogPolicy.NONE
    message = f"{view.name} {'uses no watchdog' if none else 'has no watchdog armed'}"
    return bad(
        "WatchdogArmed",
        Refusal(Reason.WATCHDOG_NOT_ARMED, f"{message}: a takeover from it needs other proof"),
    )


def _clock(view: HostView, world: World) -> tuple[Condition, ...]:
    """Of its clock's rate; as it was told while there is nothing newer."""
    state, about = view.clock.state, view.clock.about
    if state is ClockState.IN_BOUND:
        return (good(CLOCK_RATE, Reason.CLOCK_RATE_IN_BOUND),)
    if not about:
        told = clock_told(view.host)
        return (told,) if told is not None else ()
    measured = [
        each.clock.state
        for each in world.hosts.values()
        if each.clock.state is not ClockState.UNMEASURED
    ]
    all_are = len(measured) > 1 and set(measured) == {state}
    what = f"the clock of {view.name} runs at {about} of this controller's"
    if all_are:
        what += ", and all others are so, too: see to that of the controller's node"
    if state is ClockState.TOO_FAST:
        message = f"{what}. Takeovers from it are safe; none that it counts by its clock is made"
        return (bad(CLOCK_RATE, Refusal(Reason.CLOCK_TOO_FAST, message)),)
    helps = f"to have its guests safe meanwhile, drain it (spec.maintenance on host {view.name})"
    message = f"{what}, so its silence will not prove that it stopped. See to its clock; {helps}"
    return (bad(CLOCK_RATE, Refusal(Reason.CLOCK_TOO_SLOW, message)),)


def _reports(view: HostView) -> tuple[Condition, ...]:
    """Whether its reports arrive, if it tells. What it has said last stands while it is lost."""
    if view.heartbeat is None or view.heartbeat.delivery is None:
        return ()
    if view.freshness not in delivery.HEARD:
        told = condition(view.host.status.conditions, REPORTS)
        return (told,) if told is not None else ()
    return (judged(REPORTS, delivery.of_host(view), Reason.REPORTS_DELIVERED),)


def _drbd_files(view: HostView) -> tuple[Condition, ...]:
    """Whether drbdadm reads its files there, if it tells."""
    if view.host.status.drbd_files is None:
        return ()
    return (judged(DRBD_FILES, drbd_files_unreadable(view), Reason.DRBD_FILES_READABLE),)


def _fence_agent(view: HostView, world: World) -> tuple[Condition, ...]:
    """Whether its fence agent works, if it has one; as it was told while nobody has tried it."""
    if view.host.spec.fence_agent is None:
        return ()
    if view.name not in world.snapshot.agents:
        told = told_of_agent(view.host)
        return (told,) if told is not None else ()
    return (judged(WORKS, world.snapshot.agents[view.name], Reason.FENCE_AGENT_WORKS),)


# -- site


def site_status(site: Site, world: World, kept: Kept = NOBODY) -> SiteStatus:
    """A site's whole status. Only once the heartbeats of all its hosts have been judged. ``kept``:
    as of ``host_status``.
    """
    old, name, generation = site.status, site.metadata.name, site.metadata.generation
    views = [view for view in world.hosts.values() if view.site_name == name]
    ready = [view for view in views if unfit(view, view.name) is None]
    newest = _newest(views)
    phase = _site_phase(site, views, ready, newest)
    refusal = None if phase is SitePhase.READY else _not_ready(views)
    conditions = (
        judged("Ready", refusal, Reason.READY),
        _heartbeat(newest, "; ".join(silence(view) for view in views) or "it has no host"),
        spec_valid(world, site),
        *([drained(views, world, kept)] if site.spec.maintenance else ()),
    )
    return old.model_copy(
        update={
            "phase": phase,
            "lease": str(newest),
            "lease_since": _since(old.lease, old.lease_since, newest, world),
            "hosts": f"{len(ready)}/{len(views)}",
            "guests": sum(world.load(view.name).guests for view in views),
            "if_peer_fails": _if_peer_fails(world, ready),
            "observed_generation": generation,
            "conditions": stamped(old.conditions, conditions, generation, world),
        }
    )


def _newest(views: list[HostView]) -> Freshness:
    """A site's heartbeat is the newest of its hosts'."""
    order = (Freshness.FRESH, Freshness.LATE, Freshness.LOST, Freshness.NEVER)
    found = {view.freshness for view in views}
    return next((freshness for freshness in order if freshness in found), Freshness.NEVER)


def _site_phase(
    site: Site, views: list[HostView], ready: list[HostView], newest: Freshness
) -> SitePhase:
    if not views:
        return SitePhase.EMPTY
    if newest in (Freshness.LOST, Freshness.NEVER):
        return SitePhase(newest)
    if site.spec.maintenance:
        return SitePhase.MAINTENANCE
    if len(ready) == len(views):
        return SitePhase.READY
    return SitePhase.DEGRADED if ready else SitePhase.NOT_READY


def _not_ready(views: list[HostView]) -> Refusal:
    refusals = [refusal for view in views if (refusal := unfit(view, view.name))]
    if not refusals:
        return Refusal(Reason.HOST_NOT_READY, "it has no host")
    return Refusal(refusals[0].reason, "; ".join(each.message for each in refusals))


def _if_peer_fails(world: World, ready: list[HostView]) -> str:
    """Whether what runs at other sites would fit here beside what runs here already."""
    if not ready:
        return "–"
    lacking = [_lacking_bytes(world, view) for view in ready]
    short = sum(each for each in lacking if each > 0)
    return "all fit" if not short else f"{short / GIBIBYTE:.1f} GiB too little"


def _lacking_bytes(world: World, view: HostView) -> int:
    if view.host.spec.capacity is None:
        return 0
    would = world.load(view.name).memory_bytes + _would_come(world, view.name)
    return would - view.host.spec.capacity.memory.bytes


def _would_come(world: World, host: str) -> int:
    """Memory of the guests elsewhere whose mirror has its other replica on this host."""
    total = 0
    for mirror in world.catalogue.mirrors_by_host.get(host, ()):
        for guest in world.catalogue.guests_by_mirror.get(mirror.key, ()):
            assignment = guest.status.assignment
            if assignment and assignment.host and assignment.host != host:
                total += world.in_force(guest).spec.domain.memory.bytes
    return total
