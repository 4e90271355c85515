"""Puts one replica together from the real parts and runs it until it is told to stop.

Called by ``__main__``, and by the integration tests, which run several in one process.
"""

import asyncio
import contextlib
import random
from collections.abc import AsyncIterator
from dataclasses import dataclass

from tandem_controller.clock import SystemClock
from tandem_controller.edge.fence_agents import FenceAgentPrograms
from tandem_controller.edge.handlers import KopfWatchers
from tandem_controller.edge.health import HealthServer
from tandem_controller.edge.kube import KubeApi
from tandem_controller.edge.metrics import Metrics
from tandem_controller.ports import Outside, Planner
from tandem_controller.run.lead import Leadership
from tandem_controller.run.planning import ThreadPlanner
from tandem_controller.run.program import Elect, Program, program
from tandem_controller.settings import Settings
from tandem_kube import KubeClient


@dataclass
class ControllerReplica:
    """One replica: its program, its client, and its health over HTTP."""

    client: KubeClient
    program: Program
    health: HealthServer

    async def run(self, stop: asyncio.Event) -> None:
        """See ``Program.run``."""
        await self.program.run(stop)


@contextlib.asynccontextmanager
async def assembled(
    settings: Settings, version: str, elect: Elect = Leadership, planner: Planner | None = None
) -> AsyncIterator[ControllerReplica]:
    """A replica that is ready to run; its connections end with the context.

    ``planner``: who makes its plans, if not a thread.
    """
    client = await KubeClient.load(settings.kubeconfig, component="tandem-controller")
    metrics = Metrics(version)
    outside = Outside(
        identity=settings.replica(),
        api=KubeApi(client),
        watchers=KopfWatchers(client.connection),
        clock=SystemClock(),
        chance=random.SystemRandom(),
        planner=planner or ThreadPlanner(),
        agents=FenceAgentPrograms(settings.fence_agents_dir),
    )
    made = program(outside, metrics, elect)
    health = HealthServer(metrics.registry, made.controller.unhealthy, made.controller.unready)
    await health.start(settings.metrics_address, settings.metrics_port)
    try:
        yield ControllerReplica(client, made, health)
    finally:
        await health.stop()
        await client.close()
