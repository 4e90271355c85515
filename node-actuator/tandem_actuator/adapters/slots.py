"""So many calls at a time, each with a time limit, where a call may hang.

A call that is given up on keeps its slot until it ends by itself: its thread still waits, and may
still take effect. So a part that hangs costs so many threads and no more, and what comes after
waits in a queue. Called by the adapters whose ports may hang.
"""

import asyncio
from collections.abc import Callable, Coroutine
from typing import Any, TypeVar

T = TypeVar("T")


class Slots:
    """``count`` calls at a time, in the order in which they came."""

    def __init__(self, count: int) -> None:
        self._free = asyncio.Semaphore(count)
        self._under_way: set[asyncio.Task[Any]] = set()
        self._loop: asyncio.AbstractEventLoop | None = None

    async def run(self, work: Callable[[], Coroutine[Any, Any, T]], timeout_s: float) -> T:
        """Wait for a slot, then for the call; both within the limit.

        Raises:
            TimeoutError: no answer in time. A call that had no slot by then is never made; one
                that had goes on, and may still take effect.
        """
        loop = self._loop = asyncio.get_running_loop()
        deadline_s = loop.time() + timeout_s
        async with asyncio.timeout_at(deadline_s):
            await self._free.acquire()
        task = self._begin(work())
        task.add_done_callback(lambda _: self._free.release())
        await asyncio.wait({task}, timeout=max(0.0, deadline_s - loop.time()))
        if not task.done():
            raise TimeoutError
        return task.result()

    def later(self, work: Callable[[], Coroutine[Any, Any, None]]) -> None:
        """As soon as there is a slot, and nobody waits for it."""

        async def run() -> None:
            async with self._free:
                await work()

        # A generator may be tidied up once its loop has ended: so does everything that it held.
        if self._loop is not None and asyncio._get_running_loop() is self._loop:
            self._begin(run())

    def _begin(self, call: Coroutine[Any, Any, T]) -> "asyncio.Task[T]":
        task = asyncio.create_task(call)
        self._under_way.add(task)
        task.add_done_callback(self._ended)
        return task

    def _ended(self, task: "asyncio.Task[Any]") -> None:
        self._under_way.discard(task)
        if not task.cancelled():
            task.exception()  # seen: who waited for it has raised it, or has gone
