"""What a run that has just begun knows: it must not judge what it has not seen."""

from tandem_actuator.core.drbd import DrbdUnknown
from tandem_actuator.core.host.permission import awaits_its_first_packet
from tandem_actuator.ports import Clock
from tandem_actuator.run.cluster import Cluster
from tandem_actuator.run.domains import Domains
from tandem_actuator.run.node import NodeFacts

FIRST_LOOK_S = 1.5


class Beginning:
    """Made as the run begins."""

    def __init__(self, node: NodeFacts, cluster: Cluster, domains: Domains, clock: Clock) -> None:
        self._node, self._cluster, self._domains = node, cluster, domains
        self._began_s = clock.boottime_s()

    def lasts(self, now_s: float) -> bool:
        """Whether what it has not seen yet is still waited for."""
        return now_s <= self._began_s + FIRST_LOOK_S

    def looked(self) -> bool:
        """Whether every device and domain was."""
        units = self._cluster.units.values()
        return (
            self._domains.known
            and bool(units)
            and not any(isinstance(unit.drbd, DrbdUnknown) for unit in units)
        )

    def awaits_a_packet(self, now_s: float) -> bool:
        """Whether a guest lives on the link, and nothing that this run has sent has arrived."""
        sent_s, began_s = self._node.renewal_sent_at_s, self._began_s
        views = self._cluster.views()
        return any(awaits_its_first_packet(view, sent_s, began_s, now_s) for view in views)
