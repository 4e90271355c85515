"""The actuator, put together from what it reaches of its host.

Knows no adapter: ``assembly`` gives it the real parts, the simulator its own.
"""

from collections.abc import Callable
from dataclasses import dataclass

from tandem_actuator.core.guest.domain_xml import DomainSettings
from tandem_actuator.core.migration import may_both_be_primary
from tandem_actuator.core.mirror import resource_file
from tandem_actuator.ports import PortError
from tandem_actuator.ports.watchdog import Watchdog
from tandem_actuator.run.driver import Driver
from tandem_actuator.run.loop import Actuator
from tandem_actuator.run.metrics import Metrics
from tandem_actuator.run.node import NodeFacts
from tandem_actuator.run.outside import Kept, Ports
from tandem_actuator.run.workload import Unit
from tandem_api.authority import Instance
from tandem_api.kinds.mirror import Mirror
from tandem_api.meta import ObjectKey
from tandem_api.timing import DEFAULT, drbd_timers


@dataclass(frozen=True)
class Outside:
    """The host, as this run of the actuator reaches it. ``fence_peer``: the command for DRBD."""

    instance: Instance
    ports: Ports
    watchdog: Watchdog
    kept: Kept
    domains: DomainSettings
    drbd_major: int
    fence_peer: str


def program(outside: Outside, metrics: Metrics, driver: type[Driver] = Driver) -> Actuator:
    """One run, not yet begun: it goes on from the permit that the last run on this boot left."""
    permit = outside.kept.permits.load()
    node = NodeFacts(
        host=outside.instance.node,
        instance=outside.instance,
        timing=permit.timing if permit else DEFAULT,
        renewal_sent_at_s=permit.renewal_sent_at_s if permit else None,
        drbd_major=outside.drbd_major,
    )
    text = _resource_text(node, outside.drbd_major, outside.fence_peer)
    return Actuator(
        node,
        outside.ports,
        driver(outside.ports, node, outside.domains, text),
        outside.watchdog,
        metrics,
        outside.kept,
    )


def _resource_text(node: NodeFacts, major: int, fence_peer: str) -> Callable[[Unit], str]:
    """Each mirror's file. It is asked for at a quick pace, and made anew if it says something else.

    What it is made of is never changed in place: not the addresses either.
    """
    made: dict[ObjectKey, tuple[tuple[object, ...], str]] = {}

    def rendered(mirror: Mirror, both: bool) -> str:
        numbers = mirror.status.device_numbers
        if numbers is None:
            raise PortError("the mirror has no device numbers yet")
        detection = {"link_detection_seconds": node.detection_s}
        timing = node.timing.model_copy(update=detection)
        try:
            return resource_file.render(
                mirror,
                node.addresses,
                numbers,
                drbd_timers(timing),
                version_major=major,
                fence_peer=fence_peer,
                two_primaries=both,
            )
        except ValueError as error:
            raise PortError(str(error)) from error

    def text(unit: Unit) -> str:
        mirror, status = unit.mirror, unit.mirror.status
        both = may_both_be_primary(status.authority, unit.record, node.instance)
        rest = (node.addresses, node.timing, node.detection_s, both)
        of = (mirror.spec, status.device_numbers, *rest)
        known = made.get(mirror.key)
        if known is None or known[0] != of:
            known = made[mirror.key] = of, rendered(mirror, both)
        return known[1]

    return text
