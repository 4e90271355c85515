"""So many calls at a time, each with a time limit, where a call may hang.

A call that is given up on keeps its slot: its thread still waits, and may still take effect. So a
part that hangs costs so many threads, and what comes after waits in a queue. But a call may hang
for good while later ones would be answered: once one has hung for long, its slot is given to a
newcomer. The time until the next is given away doubles for as long as nothing is answered, so that
what hangs for days costs some tens of threads. Called by the adapters whose ports may hang.
"""

import asyncio
from collections import deque
from collections.abc import Callable, Coroutine
from typing import Any, TypeVar

T = TypeVar("T")

WRITE_OFF_AFTER_S = 15.0
WRITE_OFF_MAX_S = 3600.0


class Slots:
    """``count`` calls at a time, in the order in which they came.

    ``written_off``: called as a slot is given away: what the hung call holds is not to be used.
    """

    def __init__(self, count: int, written_off: Callable[[], None] = lambda: None) -> None:
        self._free = asyncio.Semaphore(count)
        self._written_off = written_off
        self._under_way: set[asyncio.Task[Any]] = set()
        self._hung: deque[tuple[float, asyncio.Task[Any]]] = deque()
        self._patience_s = WRITE_OFF_AFTER_S
        self._loop: asyncio.AbstractEventLoop | None = None

    async def run(self, work: Callable[[], Coroutine[Any, Any, T]], timeout_s: float) -> T:
        """Wait for a slot, then for the call; both within the limit.

        Raises:
            TimeoutError: no answer in time. A call that had no slot by then is never made; one
                that had goes on, and may still take effect.
        """
        loop = self._loop = asyncio.get_running_loop()
        deadline_s = loop.time() + timeout_s
        self._give_away(loop.time())
        async with asyncio.timeout_at(deadline_s):
            await self._free.acquire()
        task = self._begin(work())
        task.add_done_callback(self._answered)
        await asyncio.wait({task}, timeout=max(0.0, deadline_s - loop.time()))
        if not task.done():
            self._hung.append((loop.time(), task))
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

    async def idle(self, timeout_s: float) -> None:
        """Until every call has ended, or the time is over."""
        if self._under_way:
            await asyncio.wait(self._under_way, timeout=timeout_s)

    def _give_away(self, now_s: float) -> None:
        """The slot of the call that has hung longest, if that is long enough."""
        while self._hung and self._hung[0][1].done():
            self._hung.popleft()
        if not self._hung:
            return
        since_s, task = self._hung[0]
        if now_s - since_s >= self._patience_s:
            self._hung.popleft()
            self._patience_s = min(2 * self._patience_s, WRITE_OFF_MAX_S)
            task.remove_done_callback(self._answered)
            self._written_off()
            self._free.release()

    def _answered(self, task: "asyncio.Task[Any]") -> None:
        self._patience_s = WRITE_OFF_AFTER_S
        self._free.release()

    def _begin(self, call: Coroutine[Any, Any, T]) -> "asyncio.Task[T]":
        task = asyncio.create_task(call)
        self._under_way.add(task)
        task.add_done_callback(self._ended)
        return task

    def _ended(self, task: "asyncio.Task[Any]") -> None:
        self._under_way.discard(task)
        if not task.cancelled():
            task.exception()  # seen: who waited for it has raised it, or has gone
