"""The controller, put together from what it reaches.

Knows no adapter: ``assembly`` gives it the real parts, the simulator its own.
"""

import asyncio
from collections.abc import Callable
from dataclasses import dataclass

from tandem_base.waits import cancelled
from tandem_controller.edge.metrics import Metrics
from tandem_controller.edge.watching import Watching
from tandem_controller.ports import Api, Clock, Outside
from tandem_controller.run.events import EventQueue
from tandem_controller.run.execute import Executor
from tandem_controller.run.lead import Leadership
from tandem_controller.run.loop import Controller
from tandem_controller.run.power import Power
from tandem_controller.run.store import Store

WATCHES_EXIT_TIMEOUT_S = 5.0
Elect = Callable[[Api, str, Clock], Leadership]


@dataclass
class Program:
    """One replica's parts."""

    store: Store
    watching: Watching
    leadership: Leadership
    events: EventQueue
    controller: Controller
    metrics: Metrics

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
            await asyncio.wait([watching], timeout=WATCHES_EXIT_TIMEOUT_S)
            await cancelled([watching])


def program(outside: Outside, metrics: Metrics, elect: Elect = Leadership) -> Program:
    """One run of a replica, not yet begun.

    ``elect`` makes its part in the election from the API, the replica's name and its clock.
    """
    api, clock, wake = outside.api, outside.clock, asyncio.Event()
    store, events = Store(wake.set), EventQueue(api)
    leadership = elect(api, outside.identity, clock)
    executor = Executor(api, store, leadership.leads, metrics, events, clock, outside.chance)
    watching = Watching(store, outside.watchers, metrics, clock)
    power = Power(outside, store, leadership.leads, metrics, events, wake.set)
    controller = Controller(outside, store, leadership, executor, metrics, wake, watching, power)
    return Program(store, watching, leadership, events, controller, metrics)
