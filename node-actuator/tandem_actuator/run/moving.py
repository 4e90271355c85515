"""Performs what a migration asks of this host. A guest is sent beside the loop that asks for it."""

import asyncio
import logging
from collections.abc import Callable

from tandem_actuator.core import effects as fx
from tandem_actuator.core.guest.domain_xml import domain_name
from tandem_actuator.core.migration import keeps_primary
from tandem_actuator.core.model import Receiving
from tandem_actuator.ports import PortError
from tandem_actuator.ports.migration import Arrival, Destination
from tandem_actuator.run.node import NodeFacts
from tandem_actuator.run.outside import Ports
from tandem_actuator.run.workload import Unit

log = logging.getLogger(__name__)


class Moving:
    """For the driver. ``description``: of the guest, as this host would start it."""

    def __init__(self, ports: Ports, node: NodeFacts, description: Callable[[Unit], str]) -> None:
        self.ports, self.node, self.description = ports, node, description
        self._jobs: set[asyncio.Task[None]] = set()

    async def act(self, unit: Unit, effect: fx.Effect) -> bool:
        """True if it was one of these. Raises: PortError."""
        guest, port = unit.guest, self.ports.migrations
        if guest is None:
            return False
        name, now_s = domain_name(guest), self.ports.clock.boottime_s()
        match effect:
            case fx.SendGuest(migration):
                self._send(unit, name, migration)
            case fx.StopSending(why):
                unit.transit.given_up(why)
                await port.stop_sending(name)
            case fx.ReceiveGuest(migration):
                peer = unit.mirror.peer_of(self.node.host)
                await port.receive(Arrival(name, migration, peer, self.description(unit)))
                unit.transit.receiving = Receiving(migration, now_s)
            case fx.StopReceiving():
                await port.stop_receiving(name)
            case _:
                return False
        return True

    async def demote(self, unit: Unit) -> None:
        """Unless the peer would take it for the handover of a guest. Raises: PortError."""
        if keeps_primary(unit.view(self.node)):
            peer = unit.mirror.peer_of(self.node.host)
            raise PortError(f"not before {peer} is Secondary: it would let the guest go on")
        await self.ports.drbd.demote(unit.mirror)

    def _send(self, unit: Unit, name: str, migration: str) -> None:
        peer = unit.mirror.peer_of(self.node.host)
        end = self.node.migration_ends.get(peer)
        if end is None:
            raise PortError(f"{peer} takes no guests in")
        unit.transit.begun(migration, self.ports.clock.boottime_s())
        job = asyncio.create_task(self._until_sent(unit, name, migration, Destination(peer, *end)))
        self._jobs.add(job)
        job.add_done_callback(self._jobs.discard)

    async def _until_sent(self, unit: Unit, name: str, migration: str, to: Destination) -> None:
        why = ""
        try:
            await self.ports.migrations.send(name, migration, to)
        except PortError as error:
            why = str(error) or "libvirt does not say why"
            log.warning("%s: not sent: %s", unit.mirror.key, why)
        unit.transit.ended(migration, self.ports.clock.boottime_s(), why)
        unit.wake.set()
