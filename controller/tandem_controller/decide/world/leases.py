"""How long each host has been silent, as this controller counts it (rule 12).

Fed by the controller's own quorum reads of the Leases. A host's silence begins when a read first
shows the present version of its Lease and lasts until the start of the newest read that still
shows it: only what reads have covered counts. **A gap in the controller's own access to the API
starts every count again**: an outage of the API is nobody's silence. All times are on one
monotonic clock of this process, in seconds; renewTime is shown to people, and decides nothing.

Called by ``run/loop`` after each read, and by ``hosts`` to look at the counts.
"""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field, replace

from tandem_api.lease import Heartbeat
from tandem_api.timing import LEAST_CLOCK_RATE_RATIO, RENEW_TIMEOUT_S
from tandem_controller.decide.world import clocks
from tandem_controller.decide.world.clocks import Reading, Watch

POLL_INTERVAL_S = 0.5
READ_TIMEOUT_S = 1.4
GAP_S = 1.5
"""Two successful reads that start further apart than this have a gap between them. It leaves room
for one read that takes as long as it may.

This is about needless takeovers, not about safety: two reads that show the same version prove that
no renewal came between them, however far apart they are."""

# A host has its renewal confirmed within RENEW_TIMEOUT_S of its own clock, and it is seen by the
# end of the next read that starts.
assert clocks.DELAY_S > LEAST_CLOCK_RATE_RATIO * RENEW_TIMEOUT_S + GAP_S + READ_TIMEOUT_S


@dataclass(frozen=True)
class Count:
    """One host's newest heartbeat, and since when it is unchanged.

    ``renewed``: a renewal was seen since counting began. Before that, that a Lease is there says
    nothing about its host. ``seen_at`` is RFC 3339, for people. ``run_since_s``: when the run of
    the actuator that sends it was first seen. ``clock``: of its host's.
    """

    heartbeat: Heartbeat
    since_s: float
    seen_at: str
    renewed: bool
    run_since_s: float = float("-inf")
    clock: Watch = field(default_factory=Watch)


@dataclass(frozen=True)
class LeaseTracker:
    """All counts. ``read_s``: when the newest read was started; None if there is a gap now."""

    counts: Mapping[str, Count] = field(default_factory=dict)
    read_s: float | None = None

    def silent_s(self, host: str) -> float | None:
        """How long a host is known to have been silent; None if it was never seen."""
        count = self.counts.get(host)
        if count is None or self.read_s is None:
            return None
        return max(0.0, self.read_s - count.since_s)

    def covers(self, now_s: float) -> bool:
        """Whether the counts are good for a decision at this moment."""
        return self.read_s is not None and now_s - self.read_s <= GAP_S


def observe(
    tracker: LeaseTracker,
    started_s: float,
    finished_s: float,
    heartbeats: Iterable[Heartbeat],
    wall: str,
) -> LeaseTracker:
    """Take in one successful quorum read of all Leases, started and finished at these times.

    A Lease that is missing counts as unchanged: taking it away is no sign of life.
    """
    assert started_s <= finished_s
    anew = tracker.read_s is None or started_s - tracker.read_s > GAP_S
    if anew:
        tracker = _restarted(tracker, finished_s)
    counts = dict(tracker.counts)
    for heartbeat in heartbeats:
        known = counts.get(heartbeat.host)
        if known is None or known.heartbeat.version != heartbeat.version:
            # The renewal was sent before this read was answered, so the host's own count of R
            # began no later than finished_s. One that lies in a gap may be old: no sign of life.
            seen = known is not None and not anew
            at = wall if known is not None else heartbeat.renewed_at
            same = known is not None and known.heartbeat.instance == heartbeat.instance
            run_s = known.run_since_s if known is not None and same else finished_s
            clock = _clock(known, heartbeat, finished_s)
            counts[heartbeat.host] = Count(heartbeat, finished_s, at, seen, run_s, clock)
    return LeaseTracker(counts, read_s=started_s)


def _clock(known: Count | None, heartbeat: Heartbeat, now_s: float) -> Watch:
    """With what this heartbeat says of its host's clock, which begins anew with each boot."""
    watch = known.clock if known is not None else Watch()
    if known is not None and known.heartbeat.instance != heartbeat.instance:
        watch = clocks.interrupted(watch)
    if heartbeat.clock_s is None:
        return watch
    return clocks.observe(watch, Reading(now_s, heartbeat.clock_s))


def interrupted(tracker: LeaseTracker) -> LeaseTracker:
    """A read failed, or its answer is not known: no count holds any more."""
    return replace(tracker, read_s=None)


def _restarted(tracker: LeaseTracker, now_s: float) -> LeaseTracker:
    """Every count from zero."""
    fresh = {
        host: replace(count, since_s=now_s, renewed=False, clock=clocks.interrupted(count.clock))
        for host, count in tracker.counts.items()
    }
    return LeaseTracker(fresh, read_s=None)
