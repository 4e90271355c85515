"""What is the same for all mirrors on a host."""

from collections.abc import Mapping
from dataclasses import dataclass, field

from tandem_actuator.run.counted import Counted
from tandem_api.authority import Instance
from tandem_api.timing import Timing

DEAF_AFTER_S = 5.0
"""So long the API answers other things without a heartbeat that is confirmed in time."""


@dataclass
class NodeFacts(Counted):
    """What is the same for all mirrors on this host. ``guarding``: this run stops what may not run,
    as it does once it has looked at everything, or for long enough. ``detection_s``: how soon DRBD
    is to notice a dead link; no later than what was published last. ``acknowledged``: it lives on a
    link by what has arrived at the peer, for ``link_lasts_s`` since. ``guests_listed``: the API has
    told this run of all guests. ``migration_ends``: by host, where it takes guests in as they run.
    """

    host: str
    instance: Instance
    timing: Timing
    watchdog_armed: bool = False
    watchdog_refused: bool = False
    watchdog_least_s: int | None = None
    watchdog_required: bool = True
    addresses: Mapping[str, str] = field(default_factory=dict)
    migration_ends: Mapping[str, tuple[str, int]] = field(default_factory=dict)
    peer_timings: Mapping[str, Timing] = field(default_factory=dict)
    renewal_sent_at_s: float | None = None
    renewal_confirmed_at_s: float = float("-inf")
    answered_since_s: float | None = None
    answered_at_s: float = float("-inf")
    deaf: bool = False
    steady_since_s: float = 0.0
    guarding: bool = False
    drbd_major: int = 8
    guests_listed: bool = False
    acknowledged: bool = True
    detection_s: float = field(init=False)
    link_lasts_s: float = field(init=False)

    def __post_init__(self) -> None:
        self.detection_s = self.timing.link_detection_seconds
        self.link_lasts_s = self.timing.link_lasts_s

    def renewed(self, sent_at_s: float, now_s: float) -> None:
        """The renewal that was sent then is confirmed. Has the one before it lapsed?"""
        before_s = self.renewal_sent_at_s
        if before_s is None or now_s - before_s > self.timing.self_fence_seconds:
            self.steady_since_s = sent_at_s
        self.renewal_sent_at_s, self.renewal_confirmed_at_s = sent_at_s, now_s
        if now_s - self.steady_since_s >= DEAF_AFTER_S:
            self.answered_since_s, self.deaf = None, False

    def answered(self, now_s: float) -> None:
        """The API has answered something else, while no heartbeat counts. After an outage one soon
        does, and goes on to; else its answers come too late for that.
        """
        sent_s = self.renewal_sent_at_s
        if sent_s is not None and now_s - sent_s <= self.timing.self_fence_seconds:
            return
        if self.answered_since_s is None or now_s - self.answered_at_s > DEAF_AFTER_S:
            self.answered_since_s = now_s  # the first answer, or the first after an outage
        self.answered_at_s = now_s
        self.deaf = now_s - self.answered_since_s >= DEAF_AFTER_S
