"""The actuator's own numbers, for Prometheus. Names: ``tandem_``, base units."""

from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram

from tandem_api.reasons import Reason
from tandem_base.bugs import Bug


class Metrics:
    """One registry per actuator, so that tests can run several in a process."""

    def __init__(self) -> None:
        self.registry = CollectorRegistry()
        self._renew = Histogram(
            "tandem_lease_renew_duration_seconds",
            "Time from sending a heartbeat to its answer.",
            ["confirmed"],
            registry=self.registry,
            buckets=(0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.0),
        )
        self._fences = Counter(
            "tandem_self_fences_total",
            "Guests stopped because this host could not be sure that it may run them.",
            ["reason"],
            registry=self.registry,
        )
        self._fed = Gauge(
            "tandem_watchdog_fed_timestamp_seconds",
            "When the watchdog was last allowed to be fed, on the host's boot-time clock.",
            registry=self.registry,
        )
        self._calls = Counter(
            "tandem_fence_peer_calls_total",
            "Answers to DRBD's fence-peer calls, by exit code.",
            ["verdict"],
            registry=self.registry,
        )
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

        self._reduced = Gauge(
            "tandem_actuator_reduced",
            "1 in a run that does nothing but guard since it met a bug; else 0.",
            registry=self.registry,
        )

    def is_reduced(self) -> None:
        self._reduced.set(1)

    def internal_error(self, bug: Bug) -> None:
        self._internal_errors.labels(bug.kind, bug.key.namespace, bug.key.name).inc()

    def watch_restarted(self, kind: str, reason: str) -> None:
        self._watches.labels(kind, reason).inc()

    def renewed(self, duration_s: float, confirmed: bool) -> None:
        self._renew.labels(str(confirmed).lower()).observe(duration_s)

    def self_fenced(self, reason: Reason) -> None:
        self._fences.labels(reason).inc()

    def watchdog_fed(self, now_s: float) -> None:
        self._fed.set(now_s)

    def fence_peer_answered(self, code: int) -> None:
        self._calls.labels(str(code)).inc()
