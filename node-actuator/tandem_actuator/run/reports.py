"""What this host says of its replicas, guests and itself, delivered when it has changed.

What one mirror's report runs into keeps no other's from being delivered. Called by ``loop``.
"""

import asyncio
import contextlib
import logging
from collections.abc import Awaitable, Callable

from tandem_actuator.core.report import (
    guest_report,
    guest_report_is_due,
    least_replica_report,
    replica_report,
    replica_report_is_due,
)
from tandem_actuator.core.wall import Place
from tandem_actuator.ports import PortError
from tandem_actuator.ports.api import ApiGone, ApiRefused
from tandem_actuator.run.cluster import Cluster
from tandem_actuator.run.node import NodeFacts
from tandem_actuator.run.outside import Ports
from tandem_actuator.run.walls import Walls
from tandem_actuator.run.workload import Unit

log = logging.getLogger(__name__)

INTERVAL_S = 0.2
LEAST_INTERVAL_S = 2.0


class Reports:
    """Of one host."""

    def __init__(self, ports: Ports, node: NodeFacts, cluster: Cluster, walls: Walls) -> None:
        self.ports, self.node, self.walls = ports, node, walls
        self.cluster = cluster

    async def run(self) -> None:
        """What one mirror's report runs into keeps no other's from being delivered."""
        while True:
            await asyncio.sleep(INTERVAL_S)
            for unit in list(self.cluster.units.values()):
                await self._delivered(unit, Place.REPORT, self._replica)
                await self._delivered(unit, Place.GUEST_REPORT, self._guest)

    async def _delivered(
        self, unit: Unit, place: Place, report: Callable[[Unit], Awaitable[None]]
    ) -> None:
        """What changed since the last delivered report, unless it was refused just now."""
        refused = unit.replica_refused if place is Place.REPORT else unit.guest_refused
        if self.ports.clock.boottime_s() < refused.not_before_s:
            return
        try:
            await report(unit)
            refused.times = 0
            unit.wall.passes(place)
        except ApiGone:
            return
        except ApiRefused as error:
            refused.again(self.ports.clock.boottime_s())
            log.error("%s: report refused: %s", unit.mirror.key, error)
        except PortError as error:
            log.warning("reports not delivered: %s", error)
            await asyncio.sleep(1.0)
        except Exception as error:
            self.walls.met(unit, place, error)
            refused.again(self.ports.clock.boottime_s())
            if place is Place.REPORT:
                await self._tell_bug(unit)

    async def _replica(self, unit: Unit) -> None:
        now_s = self.ports.clock.boottime_s()
        view = unit.view(self.node)
        replica = replica_report(
            view, unit.reason, "", unit.link_lost_wall, now_s, unit.device_bytes
        )
        shown = unit.mirror.status.replicas.get(self.node.host)
        age_s = now_s - unit.replica_sent_at_s
        if replica_report_is_due(replica, unit.sent_replica, shown, age_s):
            worded = replica.model_copy(update={"message": unit.message})
            await self.ports.api.report_replica(unit.mirror.key, self.node.host, worded, shown)
            unit.sent_replica, unit.replica_sent_at_s = replica, now_s

    async def _tell_bug(self, unit: Unit) -> bool:
        """The least that there is to report. What raises again is in the log already."""
        with contextlib.suppress(Exception):
            least = least_replica_report(self.node.instance, unit.record, unit.message)
            await self.ports.api.report_replica(unit.mirror.key, self.node.host, least, None)
            unit.sent_replica = None
            return True
        return False

    async def run_least(self) -> None:
        """Of a reduced run: each mirror's bug, once, and again if that was not delivered."""
        told: set[str] = set()
        while True:
            for unit in list(self.cluster.units.values()):
                uid = unit.mirror.metadata.uid
                if uid not in told and await self._tell_bug(unit):
                    told.add(uid)
            await asyncio.sleep(LEAST_INTERVAL_S)

    async def _guest(self, unit: Unit) -> None:
        now_s = self.ports.clock.boottime_s()
        guest = guest_report(unit.view(self.node), unit.reason, "", unit.steps, unit.hardware)
        if guest is None or unit.guest is None:
            return
        known, age_s = unit.guest.status.hosts.get(self.node.host), now_s - unit.guest_sent_at_s
        if guest_report_is_due(guest, unit.sent_guest, known, age_s):
            told = guest.model_copy(update={"message": unit.message})
            await self.ports.api.report_guest(unit.guest.key, self.node.host, told, known)
            unit.sent_guest, unit.guest_sent_at_s = guest, now_s

    async def run_host(self) -> None:
        """Of the host: once, as soon as its object is there."""
        versions = {**await self.ports.drbd.versions(), **await self.ports.libvirt.versions()}
        while True:
            if self.cluster.me is not None:
                try:
                    await self.ports.api.report_host(
                        self.node.host, self.node.instance, versions, self.ports.migrations.port
                    )
                    return
                except PortError as error:
                    log.warning("host not reported: %s", error)
            await asyncio.sleep(1.0)
