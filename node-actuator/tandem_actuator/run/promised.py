"""What this host may promise of its replication links, by what is known of all of them."""

from collections.abc import Iterable

from tandem_actuator.core.drbd import DrbdState
from tandem_actuator.run.node import NodeFacts
from tandem_actuator.run.workload import Unit


def detection_s(units: Iterable[Unit], node: NodeFacts) -> float:
    """How late a mirror here may notice a dead link. What an earlier run left is not known: it
    was no later than what it published.
    """
    before_s = node.timing.link_detection_seconds
    up = (unit for unit in units if isinstance(unit.drbd, DrbdState))
    known = (unit.applied_detection_s for unit in up)
    return max((before_s if one is None else one for one in known), default=0.0)


def acknowledged(units: Iterable[Unit]) -> bool:
    """Whether it lives by what has arrived at its peers: TCP tells that of every connection. It
    goes back to its looks only once it has affirmed that it owns all that it has lapsed for.
    """
    known = list(units)
    return any(unit.lapsed for unit in known) or not any(unit.packets.unseen for unit in known)
