"""The controller's numbers for Prometheus, and its health, over HTTP.

Gauges about objects are made at each scrape from the newest plan, and only by the leader: two
replicas must not tell two stories. Counters and histograms are fed by ``execute`` and ``loop``.
"""

from collections import Counter as Tally
from collections.abc import Callable, Iterator, Mapping
from datetime import datetime
from typing import Any

from prometheus_client import CollectorRegistry, Counter, Histogram
from prometheus_client.core import GaugeMetricFamily, Metric
from prometheus_client.registry import Collector

from tandem_api.kinds.guest import Assignment
from tandem_api.kinds.mirror import Mirror
from tandem_api.vocabulary import GuestPhase
from tandem_base.bugs import Bug, wall
from tandem_controller.decide.world import replicas
from tandem_controller.decide.world.clocks import ClockState
from tandem_controller.decide.world.delivery import HEARD, undelivered
from tandem_controller.decide.world.fence_agents import told_of_agent
from tandem_controller.decide.world.hosts import unfit
from tandem_controller.decide.world.lawful import doubt
from tandem_controller.decide.world.leases import LeaseTracker
from tandem_controller.decide.world.model import Blocked, Freshness, HostView, Plan, World
from tandem_controller.decide.world.phases import is_takeover
from tandem_controller.decide.world.standstill import stalled_since

CLOCKS_DIFFER_S, LONGEST_TAKEOVER_S = 60, 86400
STEP_BUCKETS_S = (0.1, 0.25, 0.5, 1, 2, 3, 5, 7.5, 10, 15, 20, 30, 45, 60, 120, 300)
Met = Callable[[Bug], None]


class Metrics:
    """One registry per controller, so that tests can run several in a process."""

    def __init__(self, version: str) -> None:
        self.registry = CollectorRegistry()
        self.objects = ObjectMetrics(version)
        self.registry.register(self.objects)
        self._takeovers = Counter(
            "tandem_takeovers_total",
            "Takeovers, by how they went and why they were begun.",
            ["result", "reason"],
            registry=self.registry,
        )
        self._durations = Histogram(
            "tandem_takeover_duration_seconds",
            "From the loss of a host's lease to each step of the takeover of a guest.",
            ["step"],
            registry=self.registry,
            buckets=STEP_BUCKETS_S,
        )
        self._refused = Counter(
            "tandem_decisions_refused_total",
            "How often something that should be done began to be refused, by reason.",
            ["reason"],
            registry=self.registry,
        )
        self._writes = Counter(
            "tandem_status_writes_total", "Statuses written.", ["kind"], registry=self.registry
        )
        self._refused_writes = _refused_writes(self.registry)
        self._watches = Counter(
            "tandem_watch_restarts_total",
            "Watches of the API that had to be begun anew, by kind and why.",
            ["kind", "reason"],
            registry=self.registry,
        )
        self._internal_errors = Counter(
            "tandem_internal_errors_total",
            "How often Tandem failed on an object, which costs that object alone.",
            ["kind", "namespace", "name"],
            registry=self.registry,
        )
        self._agent_calls = _agent_calls(self.registry)
        self._plans = Histogram(
            "tandem_plan_duration_seconds",
            "Time to make one plan.",
            registry=self.registry,
            buckets=(0.001, 0.003, 0.01, 0.03, 0.1, 0.3, 1, 3),
        )

    def watch_restarted(self, kind: str, reason: str) -> None:
        self._watches.labels(kind, reason).inc()

    def internal_error(self, bug: Bug) -> None:
        self._internal_errors.labels(bug.kind, bug.key.namespace, bug.key.name).inc()

    def agent_asked(self, host: str, action: str, outcome: str) -> None:
        self._agent_calls.labels(host, action, outcome).inc()

    def planned(self, duration_s: float) -> None:
        self._plans.observe(duration_s)

    def refused(self, reason: str) -> None:
        self._refused.labels(reason).inc()

    def status_written(self, kind: str) -> None:
        self._writes.labels(kind).inc()

    def write_refused(self, kind: str) -> None:
        self._refused_writes.labels(kind).inc()

    def assigned(self, assignment: Assignment) -> None:
        """An assignment was written."""
        if is_takeover(assignment.proof):
            self._takeovers.labels("Begun", assignment.reason).inc()

    def takeover_steps(self, guest: Mapping[str, Any], patch: Mapping[str, Any]) -> None:
        """Count the steps of a takeover that this patch has added to the (raw) guest's status."""
        added = (patch.get("lastTakeover") or {}).get("steps") or {}
        takeover = (guest.get("status") or {}).get("lastTakeover") or {}
        for step, at in added.items():
            took_s = _seconds(takeover.get("leaseLostAt"), at)
            if took_s is not None and step != "lastHeartbeat":
                self._durations.labels(step).observe(took_s)
            if at is not None and step == "domainStarted":
                self._takeovers.labels("Succeeded", takeover.get("reason", "")).inc()


def _refused_writes(registry: CollectorRegistry) -> Counter:
    return Counter(
        "tandem_writes_refused_total",
        "Writes of the controller that the API server refused, by kind.",
        ["kind"],
        registry=registry,
    )


def _agent_calls(registry: CollectorRegistry) -> Counter:
    return Counter(
        "tandem_fence_agent_calls_total",
        "Calls of hosts' fence agents, by what was asked and how it ended.",
        ["host", "action", "outcome"],
        registry=registry,
    )


def _seconds(since: object, until: object) -> float | None:
    """Between two RFC 3339 moments, perhaps of two machines' clocks: for people only. None if no
    takeover took so long: rather one of the clocks was set, and one such value spoils every mean.
    """
    try:
        span = datetime.fromisoformat(str(until)) - datetime.fromisoformat(str(since))
        took_s = span.total_seconds()
    except (TypeError, ValueError):
        return None
    return max(0.0, took_s) if -CLOCKS_DIFFER_S < took_s < LONGEST_TAKEOVER_S else None


class ObjectMetrics(Collector):
    """Gauges about objects, from the newest plan."""

    def __init__(self, version: str) -> None:
        self._version = version
        self.plan: Plan | None = None
        self.leases = LeaseTracker()
        self.leads = False
        self.reachable = False
        self.met: Callable[[Bug], None] = lambda bug: None
        """Told of an object of which a number could not be made; its rows are missing then."""

    def collect(self) -> Iterator[Metric]:
        build = GaugeMetricFamily("tandem_build_info", "What runs.", labels=["version"])
        build.add_metric([self._version], 1)
        yield build
        yield _single("tandem_leader", "Whether this replica decides.", self.leads)
        yield _single("tandem_arbiter_reachable", "Whether the API server answers.", self.reachable)
        if self.plan is not None and self.leads:
            yield from _hosts(self.plan.world, self.leases, self.met)
            yield from _mirrors(self.plan.world, self.met)
            yield from _guests(self.plan, self.met)


def _single(name: str, text: str, value: float) -> GaugeMetricFamily:
    return GaugeMetricFamily(name, text, value=float(value))


class _Family:
    """Gauges that share their labels, filled row by row."""

    def __init__(self, labels: list[str], gauges: Mapping[str, str]) -> None:
        self._gauges = {
            name: GaugeMetricFamily(f"tandem_{name}", text, labels=labels)
            for name, text in gauges.items()
        }

    def add(self, labels: list[str], **values: Any) -> None:
        for name, value in values.items():
            if value is not None:
                self._gauges[name].add_metric(labels, float(value))

    def __iter__(self) -> Iterator[GaugeMetricFamily]:
        return iter(self._gauges.values())


_IN_BOUND = {
    ClockState.UNMEASURED: None,
    ClockState.IN_BOUND: True,
    ClockState.TOO_SLOW: False,
    ClockState.TOO_FAST: False,
}


def _hosts(world: World, leases: LeaseTracker, met: Met) -> Iterator[Metric]:
    hosts = _Family(
        ["host", "site"],
        {
            "host_lease_age_seconds": "How long the host has been silent.",
            "host_lease_duration_seconds": "How long it may be before it counts as lost.",
            "host_up": "Whether it sends its heartbeat and may run guests.",
            "host_clock_rate": "Seconds of its clock in one of the controller's, over two minutes.",
            "host_clock_rate_in_bound": "Whether clockRateRatio allows for that.",
            "host_reports_delivered": "Whether what it reports arrives, if it tells.",
            "host_drbd_files_readable": "Whether drbdadm reads its files there, if it tells.",
            "host_fence_agent_works": "Whether its fence agent, if it has one, answered last.",
        },
    )
    up: dict[str, bool] = dict.fromkeys(world.sites, False)
    for view in world.hosts.values():
        with wall("Host", view.host.key, met):
            timing = view.heartbeat.timing if view.heartbeat else None
            ready = unfit(view, view.name) is None
            count = leases.counts.get(view.name)
            up[view.site_name] = up.get(view.site_name, False) or view.fresh
            hosts.add(
                [view.name, view.site_name],
                host_lease_age_seconds=leases.silent_s(view.name),
                host_lease_duration_seconds=timing.lost_after_s if timing else None,
                host_up=ready or view.freshness is Freshness.FRESH,
                host_clock_rate=count.clock.about if count else None,
                host_clock_rate_in_bound=_IN_BOUND[view.clock.state],
                host_reports_delivered=_delivers(view),
                host_drbd_files_readable=_reads_drbd_files(view),
                host_fence_agent_works=_fence_agent_works(view),
            )
    yield from hosts
    sites = _Family(["site"], {"site_up": "Whether any host of the site sends its heartbeat."})
    for name, value in up.items():
        sites.add([name], site_up=value)
    yield from sites


def _delivers(view: HostView) -> bool | None:
    """None: it does not tell, or is lost, which is another matter."""
    beat = view.heartbeat
    if beat is None or beat.delivery is None or view.freshness not in HEARD:
        return None
    return undelivered(view) is None


def _reads_drbd_files(view: HostView) -> bool | None:
    files = view.host.status.drbd_files
    return files.readable if files is not None else None


def _fence_agent_works(view: HostView) -> bool | None:
    told = told_of_agent(view.host)
    return told.status == "True" if told is not None else None


def _mirrors(world: World, met: Met) -> Iterator[Metric]:
    family = _Family(
        ["namespace", "mirror"],
        {
            "mirror_connected": "Whether the replicas are connected.",
            "mirror_in_sync": "Whether both replicas hold the same.",
            "mirror_resync_stalled": "Whether a resync runs and copies nothing.",
            "mirror_stalled": "Whether its guest reads or writes, and nothing ends.",
            "mirror_lawful": "Whether its authority came about by the rules.",
            "mirror_redundant": "Whether the loss of either host would cost nothing.",
            "mirror_out_of_sync_bytes": "How much the replicas differ by.",
            "mirror_authority_epoch": "The version of its authority.",
        },
    )
    for mirror in world.snapshot.mirrors:
        with wall("Mirror", mirror.key, met):
            authority = mirror.status.authority
            family.add(
                [mirror.metadata.namespace, mirror.metadata.name],
                mirror_connected=replicas.connected(mirror, world) is True,
                mirror_in_sync=replicas.in_sync(mirror, world) is True,
                mirror_resync_stalled=replicas.resync_stalled(mirror, world) is not None,
                mirror_stalled=_stalled(mirror, world),
                mirror_lawful=doubt(mirror, world) is None,
                mirror_redundant=replicas.redundancy(mirror, world) is None,
                mirror_out_of_sync_bytes=_out_of_sync_bytes(mirror, world),
                mirror_authority_epoch=authority.epoch if authority else None,
            )
    yield from family


def _stalled(mirror: Mirror, world: World) -> bool:
    return any(map(stalled_since, replicas.reports(mirror, world).values()))


def _out_of_sync_bytes(mirror: Mirror, world: World) -> int:
    counted = replicas.reports(mirror, world).values()
    return max(map(replicas.bytes_known_to_differ, counted), default=0)


def _guests(plan: Plan, met: Met) -> Iterator[Metric]:
    family = _Family(
        ["namespace", "guest"],
        {
            "guest_paused": "Whether somebody has it paused, or what it is on.",
            "guest_protected": "Whether another host could take it over now, without loss.",
            "guest_running": "Whether it runs.",
            "guest_wanted": "Whether it shall run.",
        },
    )
    blocked = _Family(
        ["namespace", "guest", "reason"],
        {"takeover_blocked": "1 while its host is lost and it may not be started elsewhere."},
    )
    tally: Tally[tuple[str, str]] = Tally()
    for guest in plan.world.snapshot.guests:
        with wall("Guest", guest.key, met):
            labels = [guest.metadata.namespace, guest.metadata.name]
            status = guest.status
            tally[status.site, status.phase or GuestPhase.PENDING] += 1
            family.add(
                labels,
                guest_paused=bool(status.paused_by),
                guest_protected=status.protected == "True",
                guest_running=status.phase == GuestPhase.RUNNING,
                guest_wanted=plan.world.in_force(guest).spec.running
                and guest.metadata.deletion_timestamp is None,
            )
            decision = plan.decisions.get(guest.key)
            if isinstance(decision, Blocked) and decision.takeover:
                blocked.add([*labels, decision.reason], takeover_blocked=1)
    yield from family
    yield from blocked
    counts = _Family(["site", "phase"], {"guests": "Guests, by site and phase."})
    for (site, phase), number in tally.items():
        counts.add([site, phase], guests=number)
    yield from counts
