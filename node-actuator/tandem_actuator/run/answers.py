"""DRBD's questions, through the fence-peer program (rules 4 and 5)."""

import logging
from collections.abc import Mapping

from tandem_actuator.core.mirror import handler
from tandem_actuator.core.wall import Place
from tandem_actuator.run.cluster import Cluster
from tandem_actuator.run.driver import Driver
from tandem_actuator.run.metrics import Metrics
from tandem_actuator.run.node import NodeFacts
from tandem_actuator.run.workload import Unit

log = logging.getLogger(__name__)


class Answers:
    """Whatever cannot be answered is: stay frozen."""

    def __init__(self, node: NodeFacts, cluster: Cluster, driver: Driver, metrics: Metrics) -> None:
        self._node, self._cluster = node, cluster
        self._driver, self._metrics = driver, metrics
        self._walls = driver.walls

    async def fence_peer(self, env: Mapping[str, str]) -> tuple[int, str]:
        """The handler's environment → its exit code, and why."""
        resource = env.get("DRBD_RESOURCE", "")
        unit = self._cluster.named(resource)
        if unit is None:
            return handler.EXIT_STAY_FROZEN, f"no such mirror here: {resource!r}"
        why = self._walls.why(unit)
        if why:
            log.warning("%s: fence-peer asks, and is told to stay frozen: %s", resource, why)
            return handler.EXIT_STAY_FROZEN, why
        with self._walls.around(unit, Place.ANSWER):
            return await self._answer(unit)
        return handler.EXIT_STAY_FROZEN, unit.message

    async def _answer(self, unit: Unit) -> tuple[int, str]:
        ask = handler.promotion if unit.promoting else handler.link_loss
        log.warning("%s: fence-peer asks: %s", unit.mirror.key, ask.__name__)
        with unit.being_asked():
            finished = await self._driver.run(unit, ask(unit.view(self._node)))
        code = handler.exit_code(finished)
        said = f"exit {code}: {finished.reason} {finished.message}"
        log.warning("%s: fence-peer → %s", unit.mirror.key, said)
        self._metrics.fence_peer_answered(code)
        unit.wake.set()
        return code, finished.message
