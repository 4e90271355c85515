"""What libvirt knows of the guests here: looked at again and again, and at each of its events.

And what the kernel knows of those that are being stopped: whether they are dead, although their
processes are still there. A run that has just begun asks that of all, since an earlier one may have
killed them. Called by ``loop``.
"""

import asyncio
import logging
from collections.abc import Iterable

from tandem_actuator.core.guest.domain_xml import domain_name
from tandem_actuator.core.host.permission import IDLE_INTERVAL_S
from tandem_actuator.ports import Clock, PortError
from tandem_actuator.ports.libvirt import Libvirt
from tandem_actuator.run.cluster import Cluster
from tandem_actuator.run.workload import Unit
from tandem_api.vocabulary import DomainState

log = logging.getLogger(__name__)


DYING_INTERVAL_S, DEAD_INTERVAL_S = 0.1, 1.5
"""Between looks at a guest that is being stopped, and at least between those at a dead one."""


class Domains:
    """``known``: whether libvirt answered the last look. ``being_stopped``: some guest is."""

    def __init__(self, libvirt: Libvirt, cluster: Cluster, clock: Clock) -> None:
        self._libvirt, self._cluster, self._clock = libvirt, cluster, clock
        self.known = False
        self.being_stopped = asyncio.Event()

    async def follow(self) -> None:
        async for _ in self._libvirt.events():
            await self._look()

    async def watch(self) -> None:
        while True:
            await self._look()
            await asyncio.sleep(IDLE_INTERVAL_S if self.known else 0.5)

    async def watch_who_is_stopped(self) -> None:
        """Soon after the kill, and now and then while a dead one is held."""
        while True:
            await self.being_stopped.wait()
            self.being_stopped.clear()
            since_s = self._clock.boottime_s() - DEAD_INTERVAL_S
            stopped = [unit for unit in self._units if unit.is_being_stopped]
            await self._see_who_is_dead(u for u in stopped if not _is_dead_since(u, since_s))
            all_dead = stopped and all(unit.dead_at_s is not None for unit in stopped)
            await asyncio.sleep(IDLE_INTERVAL_S if all_dead else DYING_INTERVAL_S)

    @property
    def _units(self) -> list[Unit]:
        return list(self._cluster.units.values())

    async def _see_who_is_dead(self, units: Iterable[Unit]) -> None:
        node = self._cluster.node
        asked = {
            domain_name(unit.guest): unit
            for unit in units
            if unit.guest and unit.view(node).guest_may_run
        }
        if not asked:
            return
        began_s = self._clock.boottime_s()
        try:
            dead = await self._libvirt.dead(asked)
        except PortError as error:
            log.warning("it cannot be told who is dead: %s", error)
            return
        for name, is_dead in dead.items():  # who is gone stays dead until libvirt notices
            asked[name].observe_death(dead=is_dead, began_s=began_s)

    async def _look(self) -> None:
        if not self.known:
            await self._see_who_is_dead(self._units)
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


def _is_dead_since(unit: Unit, since_s: float) -> bool:
    """By a look that is no older. What is dead stays so, and may have another beside it."""
    return unit.dead_at_s is not None and unit.dead_at_s > since_s
