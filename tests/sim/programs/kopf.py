"""What feeds a controller's store in kopf's stead, on the simulated way to the API server.

kopf itself runs in a thread of its own, with an HTTP client of its own, so the simulator plays its
part as kopf 1.45 does it, with the settings of ``tandem_controller.edge.handlers``: it lists a kind
once, then watches from that version; a watch that ends, or breaks, or on which nothing came, goes
on from the last version, whatever became of the server meanwhile; after 410 it lists again. An
object that vanished while no watch was open is told by nobody. Called by ``controller``.
"""

import asyncio
import random
from collections import deque
from collections.abc import AsyncGenerator, AsyncIterator, Awaitable, Callable
from contextlib import AsyncExitStack, aclosing
from typing import Any, TypeVar

from tandem_api.registry import Component, watched_by
from tandem_controller.decide.watches import IDLE_S, LIFE_S
from tandem_controller.ports import Opened, Raw, Told
from tandem_kube import (
    OWN,
    Forbidden,
    Kind,
    Transport,
    Unavailable,
)

T = TypeVar("T")
WATCHED: tuple[Kind[Any], ...] = tuple(OWN[info.kind] for info in watched_by(Component.CONTROLLER))
REQUEST_TIMEOUT_S = 10.0
CONNECT_TIMEOUT_S = 5.0
BACKOFFS_S = (0.3, 0.5, 1.0, 1.0, 2.0, 2.0, 3.0, 3.0, 5.0, 5.0)
RECONNECT_S = 0.1
EXIT_S = 0.2
FOR_EVER_S = 1e9


class Watchers:
    """The Watchers port. ``begun``: every beginning, so that a scenario can reach into it.

    ``lag_s``: what a watch has told is passed on up to so much later, in its order.
    """

    def __init__(self, transport: Transport, chance: random.Random) -> None:
        self._transport, self.chance = transport, chance
        self.lag_s = 0.0
        self.begun: list[Watcher] = []

    def begin(self, told: Told, opened: Opened) -> "Watcher":
        made = Watcher(self._transport, told, opened, self)
        self.begun.append(made)
        return made


class Watcher:
    """One beginning: a task for each kind. One that fails ends all."""

    def __init__(self, transport: Transport, told: Told, opened: Opened, every: Watchers) -> None:
        self._transport, self._told_now, self._opened = transport, told, opened
        self._every = every
        self._passed_on: deque[tuple[str, bool, Raw]] = deque()
        self._passed_on_until_s = 0.0
        self._loop = asyncio.get_running_loop()
        self.ended: asyncio.Future[BaseException | None] = self._loop.create_future()
        self.tasks = {kind.name: self._loop.create_task(self._follow(kind)) for kind in WATCHED}
        for task in self.tasks.values():
            task.add_done_callback(self._task_ended)

    def stop(self) -> None:
        self._loop.call_later(EXIT_S, self._end, None)

    def give_up(self, kind: str) -> None:
        """kopf's own timer has cancelled this task, and nobody begins another."""
        self.tasks[kind].cancel()

    def die(self) -> None:
        """kopf ends by an error of its own."""
        self._end(RuntimeError("kopf has ended"))

    @property
    def behind(self) -> int:
        """How much it has heard and not passed on yet."""
        return len(self._passed_on)

    def _told(self, kind: str, gone: bool, raw: Raw) -> None:
        lag_s = self._every.lag_s
        if not lag_s and not self._passed_on:
            self._told_now(kind, gone, raw)
            return
        self._passed_on.append((kind, gone, raw))
        at_s = self._loop.time() + self._every.chance.uniform(0.0, lag_s)
        self._passed_on_until_s = max(self._passed_on_until_s, at_s)
        self._loop.call_at(self._passed_on_until_s, self._pass_on)

    def _pass_on(self) -> None:
        """What was told first."""
        self._told_now(*self._passed_on.popleft())

    def _task_ended(self, task: "asyncio.Task[None]") -> None:
        if not task.cancelled():
            self._end(task.exception())

    def _end(self, why: BaseException | None) -> None:
        for task in self.tasks.values():
            task.cancel()
        if not self.ended.done():
            self.ended.set_result(why)

    # -- one kind

    async def _follow(self, kind: Kind[Any]) -> None:
        while True:
            await self._once(kind)
            await asyncio.sleep(RECONNECT_S)

    async def _once(self, kind: Kind[Any]) -> None:
        """A list, and watches from there, until the server no longer keeps the version."""
        try:
            version = await self._list(kind)
        except Unavailable:
            return
        while True:
            try:
                async with aclosing(self._lines(kind, version)) as lines:
                    async for line in lines:
                        raw = line["object"]
                        if line["type"] == "ERROR":
                            if raw["code"] == 410:
                                return
                            raise RuntimeError(f"error in the watch: {raw}")
                        version = raw["metadata"].get("resourceVersion", version)
                        if line["type"] != "BOOKMARK":
                            self._told(kind.name, line["type"] == "DELETED", dict(raw))
            except Unavailable:
                continue

    async def _list(self, kind: Kind[Any]) -> str:
        async def listed() -> Raw:
            return await self._transport.call("GET", kind.path(), timeout_s=REQUEST_TIMEOUT_S)

        found = await self._tried(listed)
        for raw in found["items"]:
            self._told(kind.name, False, dict(raw))
        return str(found["metadata"]["resourceVersion"])

    async def _tried(self, request: Callable[[], Awaitable[T]]) -> T:
        """With kopf's pauses; the last failure is raised."""
        for pause_s in BACKOFFS_S:
            try:
                return await request()
            except (Unavailable, Forbidden):
                await asyncio.sleep(pause_s)
        return await request()

    async def _lines(self, kind: Kind[Any], version: str) -> AsyncGenerator[Raw, None]:
        query = {
            "watch": "true",
            "allowWatchBookmarks": "true",
            "resourceVersion": version,
            "timeoutSeconds": str(LIFE_S),
        }

        async with AsyncExitStack() as stack:

            async def opened() -> AsyncIterator[Raw]:
                stream = self._transport.stream(
                    kind.path(),
                    query,
                    open_timeout_s=CONNECT_TIMEOUT_S,
                    life_s=FOR_EVER_S,
                    idle_s=IDLE_S,
                )
                return await stack.enter_async_context(stream)

            lines = await self._tried(opened)
            self._opened(kind.name)
            async for line in lines:
                yield line
