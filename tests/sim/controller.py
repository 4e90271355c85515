"""One run of the real controller on simulated time. Called by ``world``.

The program is the product's, from its assembly on, on an event loop of its own, and so are its
adapter and its client. Here is only what watches in kopf's stead.
"""

import asyncio
import random
from collections.abc import AsyncIterator, Callable, Mapping
from contextlib import asynccontextmanager
from dataclasses import dataclass
from typing import Any

from sim.apiserver import SimTransport
from sim.events import Log
from sim.kernel import Group, Kernel
from sim.loop import Loop
from tandem_controller.kube import KINDS, KubeApi
from tandem_controller.lead import Leadership
from tandem_controller.metrics import Metrics
from tandem_controller.ports import Opened, Told
from tandem_controller.program import Outside, program
from tandem_kube import Changed, Deleted, KubeClient, Synced
from tandem_kube.transport import Transport

Way = Callable[[Group], SimTransport]


@dataclass
class Clock:
    """The controller's clocks run as true time does."""

    kernel: Kernel
    log: Log

    def monotonic_s(self) -> float:
        return self.kernel.now_s

    def wall(self) -> str:
        return self.log.wall()


@dataclass
class Watchers:
    """In kopf's stead: it tells of objects, and not of those that vanished unseen."""

    transport: Transport
    log: Log
    chance: random.Random

    def begin(self, told: Told, opened: Opened) -> "Watcher":
        return Watcher(self, told, opened)


class Watcher:
    """One beginning."""

    def __init__(self, watchers: Watchers, told: Told, opened: Opened) -> None:
        self.ended: asyncio.Future[BaseException | None] = (
            asyncio.get_running_loop().create_future()
        )
        self._told = told
        transport = Telling(watchers.transport, opened)
        client = KubeClient(transport, "kopf", wall=watchers.log.moment, chance=watchers.chance)
        self._watching = asyncio.create_task(self._watch(client))
        self._watching.add_done_callback(self._end)

    async def _watch(self, client: KubeClient) -> None:
        async with asyncio.TaskGroup() as tasks:
            for kind in KINDS:
                tasks.create_task(self._follow(client, kind))

    async def _follow(self, client: KubeClient, kind: str) -> None:
        async for event in client.watch(KINDS[kind]):
            match event:
                case Synced(items):
                    for raw in items:
                        self._told(kind, False, raw)
                case Changed(raw):
                    self._told(kind, False, raw)
                case Deleted(raw):
                    self._told(kind, True, raw)

    def stop(self) -> None:
        self._watching.cancel()

    def _end(self, watching: "asyncio.Task[None]") -> None:
        error = None if watching.cancelled() else watching.exception()
        if not self.ended.done():
            self.ended.set_result(error)


class Telling:
    """A way to the server on which each watch that begins is told."""

    def __init__(self, transport: Transport, opened: Opened) -> None:
        self._transport, self._opened = transport, opened
        self.call, self.close = transport.call, transport.close
        self.connection = transport.connection

    @asynccontextmanager
    async def stream(
        self, path: str, query: Mapping[str, str], **limits: float
    ) -> AsyncIterator[AsyncIterator[Any]]:
        async with self._transport.stream(path, query, **limits) as lines:
            plural = path.rpartition("/")[2]
            self._opened(next(name for name, kind in KINDS.items() if kind.plural == plural))
            yield lines


class Stubborn(Leadership):
    """Believes that it leads, whatever the election says."""

    def leads(self) -> bool:
        return True


class Controller:
    """One run of one replica. ``stubborn``: the election binds it to nothing."""

    def __init__(
        self,
        kernel: Kernel,
        transport: Way,
        log: Log,
        name: str,
        ended: Callable[[BaseException | None], None],
        *,
        stubborn: bool = False,
    ) -> None:
        self.kernel, self.name = kernel, name
        self.group = Group(name)
        self.loop = Loop(kernel, self.group, lambda: kernel.now_s, ended)
        way, chance = transport(self.group), random.Random(kernel.random.getrandbits(64))
        client = KubeClient(way, "tandem-controller", wall=log.moment, chance=chance)
        self._outside = Outside(
            identity=name,
            api=KubeApi(client),
            watchers=Watchers(way, log, chance),
            clock=Clock(kernel, log),
            chance=chance,
        )
        self._elect = Stubborn if stubborn else Leadership

    def begin(self) -> None:
        self.loop.begin(self._run())

    async def _run(self) -> None:
        await program(self._outside, Metrics("simulated"), self._elect).run(asyncio.Event())
