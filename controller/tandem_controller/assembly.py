"""Puts one replica together and runs it until it is told to stop.

Called by ``__main__``, and by the integration tests, which run several in one process.
"""

import asyncio
import contextlib
import logging
from collections.abc import AsyncIterator, Callable
from dataclasses import dataclass

from tandem_base.waits import cancelled
from tandem_controller.events import EventQueue
from tandem_controller.execute import Executor
from tandem_controller.handlers import Watching
from tandem_controller.health import HealthServer
from tandem_controller.kube import KubeApi
from tandem_controller.lead import Leadership
from tandem_controller.loop import Controller
from tandem_controller.metrics import Metrics
from tandem_controller.ports import Api
from tandem_controller.settings import Settings
from tandem_controller.store import Store
from tandem_kube import KubeClient

log = logging.getLogger(__name__)

KOPF_EXIT_TIMEOUT_S = 5.0


@dataclass
class Replica:
    """One replica's parts."""

    client: KubeClient
    store: Store
    watching: Watching
    leadership: Leadership
    events: EventQueue
    controller: Controller
    metrics: Metrics
    health: HealthServer

    async def run(self, stop: asyncio.Event) -> None:
        """Until ``stop`` is set, or a part fails. Then leadership is given up before all else.

        The watches end last: whoever still leads plans on what they bring.
        """
        unwatch = asyncio.Event()
        watching = asyncio.create_task(self.watching.run(unwatch, self.controller.reachable))
        parts = [
            asyncio.create_task(self.controller.run()),
            asyncio.create_task(self.events.run()),
        ]
        stopping = asyncio.create_task(stop.wait())
        try:
            done, _ = await asyncio.wait(
                [watching, stopping, *parts], return_when=asyncio.FIRST_COMPLETED
            )
            for task in done - {stopping}:
                task.result()
        finally:
            await self.leadership.resign()
            await cancelled([*parts, stopping])
            unwatch.set()
            await asyncio.wait([watching], timeout=KOPF_EXIT_TIMEOUT_S)
            await cancelled([watching])


@contextlib.asynccontextmanager
async def assembled(
    settings: Settings, version: str, elect: Callable[[Api, str], Leadership] = Leadership
) -> AsyncIterator[Replica]:
    """A replica that is ready to run; its connections end with the context.

    ``elect`` makes its part in the election from the API and the replica's name.
    """
    client = await KubeClient.load(settings.kubeconfig, component="tandem-controller")
    api, wake = KubeApi(client), asyncio.Event()
    store, metrics, events = Store(wake.set), Metrics(version), EventQueue(api)
    leadership = elect(api, settings.replica())
    executor = Executor(api, store, leadership.leads, metrics, events)
    watching = Watching(store, client.connection, metrics)
    controller = Controller(api, store, leadership, executor, metrics, wake, watching)
    health = HealthServer(metrics.registry, controller.unhealthy, controller.unready)
    await health.start(settings.metrics_address, settings.metrics_port)
    try:
        yield Replica(client, store, watching, leadership, events, controller, metrics, health)
    finally:
        await health.stop()
        await client.close()
