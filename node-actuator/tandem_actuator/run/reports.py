"""What this host says of its replicas, guests and itself, delivered when it has changed.

What one mirror's report runs into keeps no other's from being delivered. Called by ``loop``.
"""

import asyncio
import contextlib
import logging
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass
from operator import is_

from tandem_actuator.core.mirror.readings import is_at_rest, tells_the_same
from tandem_actuator.core.model import View
from tandem_actuator.core.report import (
    guest_report,
    guest_report_is_due,
    is_settled,
    least_replica_report,
    replica_report,
    replica_report_is_due,
)
from tandem_actuator.core.wall import Place
from tandem_actuator.ports import PortError
from tandem_actuator.ports.api import ApiGone, ApiRefused
from tandem_actuator.run.cluster import Cluster
from tandem_actuator.run.host_report import HostReport
from tandem_actuator.run.node import NodeFacts
from tandem_actuator.run.outside import Ports
from tandem_actuator.run.undelivered import Undelivered
from tandem_actuator.run.walls import Walls
from tandem_actuator.run.workload import Unit
from tandem_api.meta import ObjectKey

log = logging.getLogger(__name__)

INTERVAL_S = 0.2
LEAST_INTERVAL_S = 2.0
AT_A_TIME = 8
"""So many mirrors' reports are on their way: where hundreds have news, one after another would be
told many seconds later. An API that does not answer is asked for one at a time.
"""


@dataclass(frozen=True)
class _Settled:
    """What was known of a unit when all that is to be told of it was told, and shown."""

    stamp: tuple[object, ...]
    view: View
    rest: tuple[object, ...]
    steps: Mapping[str, str]


class Reports:
    """Of one host. Of hundreds of mirrors nearly all say what they said: they cost nothing."""

    def __init__(self, ports: Ports, node: NodeFacts, cluster: Cluster, walls: Walls) -> None:
        self.ports, self.node, self.walls = ports, node, walls
        self.cluster = cluster
        self.undelivered = Undelivered(node, ports.clock)
        cluster.on_heard = self.undelivered.heard
        self.host = HostReport(ports, node, cluster, self.undelivered)
        self._settled: dict[ObjectKey, _Settled] = {}
        self._unanswered = False

    async def run(self) -> None:
        """What one mirror's report runs into keeps no other's from being delivered."""
        while True:
            await asyncio.sleep(INTERVAL_S)
            known = self.cluster.units.items()
            self.undelivered.keep({self.node.host, *map(str, self.cluster.units)})
            units = [unit for key, unit in known if not self._is_settled(key, unit)]
            before, self._unanswered = self._unanswered, False
            while units:
                count = 1 if before or self._unanswered else AT_A_TIME
                batch, units = units[:count], units[count:]
                await self._all_of(batch)

    async def _all_of(self, units: list[Unit]) -> None:
        if len(units) == 1:
            await self._report(units[0])
            return
        async with asyncio.TaskGroup() as tasks:
            for unit in units:
                tasks.create_task(self._report(unit))

    async def _report(self, unit: Unit) -> None:
        known = self._known_of(unit)
        replica = await self._delivered(unit, Place.REPORT, self._replica)
        guest = await self._delivered(unit, Place.GUEST_REPORT, self._guest)
        if replica and guest and known is not None and is_at_rest(known.view):
            self._settled[unit.mirror.key] = known

    def _is_settled(self, key: ObjectKey, unit: Unit) -> bool:
        """Whether nothing has changed since all was told, but for what was looked at when."""
        settled = self._settled.get(key)
        if settled is None:
            return False
        if settled.stamp == unit.stamp(self.node) and settled.steps == unit.steps:
            return True
        known = self._known_of(unit)
        same = known is not None and (
            is_at_rest(known.view)
            and tells_the_same(known.view, settled.view)
            and all(map(is_, known.rest, settled.rest))
            and known.steps == settled.steps
        )
        if same and known is not None:
            self._settled[key] = known
        else:
            del self._settled[key]
        return same

    def _known_of(self, unit: Unit) -> _Settled | None:
        """All that its reports are made of. The steps are noted in place. None: a bug is in the
        way, which is met and told where the reports are made.
        """
        with contextlib.suppress(Exception):
            stamp, view = unit.stamp(self.node), unit.view(self.node)
            return _Settled(stamp, view, self._beside(unit), dict(unit.steps))
        return None

    @staticmethod
    def _beside(unit: Unit) -> tuple[object, ...]:
        return (
            unit.reason,
            unit.link_lost_wall,
            unit.device_bytes,
            unit.hardware,
            unit.sent_replica,
            unit.sent_guest,
        )

    async def _delivered(
        self, unit: Unit, place: Place, report: Callable[[Unit], Awaitable[bool]]
    ) -> bool:
        """What changed since the last delivered report, unless it was refused just now.

        → whether there was nothing to tell, and there will not be until something changes.
        """
        refused = unit.replica_refused if place is Place.REPORT else unit.guest_refused
        if self.ports.clock.boottime_s() < refused.not_before_s:
            return False
        name = str(unit.mirror.key)
        try:
            settled = await report(unit)
            refused.times = 0
            unit.wall.passes(place)
            self.undelivered.delivered(name, place)
            return settled
        except ApiGone:
            self.undelivered.delivered(name, place)
            return False
        except ApiRefused as error:
            refused.again(self.ports.clock.boottime_s())
            self.undelivered.failed(name, place, error)
            log.error("%s: report refused: %s", unit.mirror.key, error)
        except PortError as error:
            self.undelivered.failed(name, place, error)
            log.warning("reports not delivered: %s", error)
            self._unanswered = True
            await asyncio.sleep(1.0)
        except Exception as error:
            self.walls.met(unit, place, error)
            refused.again(self.ports.clock.boottime_s())
            if place is Place.REPORT:
                await self._tell_bug(unit)
        return False

    async def _replica(self, unit: Unit) -> bool:
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
            return False
        return is_settled(replica, unit.sent_replica, shown)

    async def _tell_bug(self, unit: Unit) -> bool:
        """The least that there is to report. What raises again is in the log already."""
        with contextlib.suppress(Exception):
            least = least_replica_report(self.node.instance, unit.record, unit.message)
            name = str(unit.mirror.key)
            try:
                await self.ports.api.report_replica(unit.mirror.key, self.node.host, least, None)
            except PortError as error:
                self.undelivered.failed(name, Place.REPORT, error)
                return False
            self.undelivered.delivered(name, Place.REPORT)
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

    async def _guest(self, unit: Unit) -> bool:
        now_s = self.ports.clock.boottime_s()
        guest = guest_report(unit.view(self.node), unit.reason, "", unit.steps, unit.hardware)
        if guest is None or unit.guest is None:
            return True
        known, age_s = unit.guest.status.hosts.get(self.node.host), now_s - unit.guest_sent_at_s
        if guest_report_is_due(guest, unit.sent_guest, known, age_s):
            told = guest.model_copy(update={"message": unit.message})
            await self.ports.api.report_guest(unit.guest.key, self.node.host, told, known)
            unit.sent_guest, unit.guest_sent_at_s = guest, now_s
            return False
        return is_settled(guest, unit.sent_guest, known)
