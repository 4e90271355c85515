"""What a run leaves to the next one on this boot, which would else begin knowing less than it did.

It gets no more time than this run has. What cannot be kept costs only time after a restart.
"""

from collections.abc import Iterable, Mapping

from tandem_actuator.core import packets
from tandem_actuator.core.packets import Packets
from tandem_actuator.run.node import NodeFacts
from tandem_actuator.run.outside import Kept
from tandem_actuator.run.workload import Unit
from tandem_api.timing import Timing


class BetweenRuns:
    """``kept``: where the one leaves it, and the other finds it."""

    def __init__(self, node: NodeFacts, kept: Kept) -> None:
        self._node, self._kept = node, kept
        self._looks: Mapping[str, Packets] = {}
        self._kept_at_s = float("-inf")

    def take_looks(self, units: Iterable[Unit]) -> None:
        """The last run's, before this one has made any."""
        left = self._kept.looks.load()
        for unit in units:
            unit.packets = left.get(unit.mirror.drbd_name, unit.packets)

    def leave_heartbeat(self, units: Iterable[Unit], sent_at_s: float, timing: Timing) -> None:
        """One is confirmed. After a lapse it does not count, and the next run would not know."""
        if not any(unit.may_be_affirmed(self._node) for unit in units):
            self._kept.permits.store(sent_at_s, timing)

    def leave_looks(self, units: Iterable[Unit], now_s: float) -> None:
        """The last ones at links that guests live on, or may soon have to.

        Written as often as such links are looked at, and not while heartbeats are confirmed.
        """
        quick_s = self._node.timing.query_freshness_seconds / 3
        if now_s - self._kept_at_s < quick_s:
            return
        known = list(units)
        if not (self._heartbeat_is_late(now_s) or any(unit.lapsed for unit in known)):
            return
        looks = {
            unit.mirror.drbd_name: packets.to_go_on_from(unit.packets)
            for unit in known
            if unit.may_run and unit.packets.marks
        }
        if looks != self._looks:
            self._kept.looks.store(looks)
            self._looks, self._kept_at_s = looks, now_s

    def _heartbeat_is_late(self, now_s: float) -> bool:
        sent_s = self._node.renewal_sent_at_s
        return sent_s is None or now_s - sent_s > self._node.timing.self_fence_seconds / 2
