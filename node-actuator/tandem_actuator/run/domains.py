"""What libvirt knows of the guests here: looked at again and again, and at each of its events."""

import asyncio
import logging

from tandem_actuator.core.guest.domain_xml import domain_name
from tandem_actuator.core.host.permission import IDLE_INTERVAL_S
from tandem_actuator.ports import PortError
from tandem_actuator.ports.libvirt import Libvirt
from tandem_actuator.run.cluster import Cluster
from tandem_api.vocabulary import DomainState

log = logging.getLogger(__name__)


class Domains:
    """``known``: whether libvirt answered the last look."""

    def __init__(self, libvirt: Libvirt, cluster: Cluster) -> None:
        self._libvirt, self._cluster = libvirt, cluster
        self.known = False

    async def follow(self) -> None:
        async for _ in self._libvirt.events():
            await self._look()

    async def watch(self) -> None:
        while True:
            await self._look()
            await asyncio.sleep(IDLE_INTERVAL_S if self.known else 0.5)

    async def _look(self) -> None:
        try:
            states = await self._libvirt.states()
            if not self.known:
                for unit in self._cluster.units.values():
                    unit.refusals = None  # it was away, and may start now what it refused
            self.known = True
        except PortError as error:
            if self.known:
                log.warning("libvirt does not answer: %s", error)
            states, self.known = None, False
        changed = False
        for unit in self._cluster.units.values():
            if states is None:
                state = DomainState.UNKNOWN
            elif unit.guest is None:
                state = DomainState.ABSENT
            else:
                state = states.get(domain_name(unit.guest), DomainState.ABSENT)
            if unit.observe_domain(state):
                unit.wake.set()
                changed = True
        if changed:
            self._cluster.match_guests()
