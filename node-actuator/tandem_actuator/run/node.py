"""What is the same for all mirrors on a host."""

from collections.abc import Mapping
from dataclasses import dataclass, field

from tandem_api.authority import Instance
from tandem_api.timing import Timing


@dataclass
class NodeFacts:
    """What is the same for all mirrors on this host. ``guarding``: this run stops what may not run,
    as it does once it has looked at everything, or for long enough. ``detection_s``: how soon DRBD
    is to notice a dead link; no later than what was published last.
    """

    host: str
    instance: Instance
    timing: Timing
    watchdog_armed: bool = False
    watchdog_refused: bool = False
    watchdog_least_s: int | None = None
    watchdog_required: bool = True
    addresses: Mapping[str, str] = field(default_factory=dict)
    peer_timings: Mapping[str, Timing] = field(default_factory=dict)
    renewal_sent_at_s: float | None = None
    renewal_confirmed_at_s: float = float("-inf")
    steady_since_s: float = 0.0
    guarding: bool = False
    drbd_major: int = 8
    detection_s: float = field(init=False)

    def __post_init__(self) -> None:
        self.detection_s = self.timing.link_detection_seconds

    def renewed(self, sent_at_s: float, now_s: float) -> None:
        """The renewal that was sent then is confirmed. Has the one before it lapsed?"""
        before_s = self.renewal_sent_at_s
        if before_s is None or now_s - before_s > self.timing.self_fence_seconds:
            self.steady_since_s = sent_at_s
        self.renewal_sent_at_s, self.renewal_confirmed_at_s = sent_at_s, now_s
