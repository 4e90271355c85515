"""Runs a blocking call in a thread of its own, so that the loop goes on.

A thread cannot be stopped: who stops waiting leaves it behind, and whatever it does may still take
effect. It is a daemon, since a call that hangs must not keep the program from ending. How many run
at a time is for the callers to say (``slots``). Called by the adapters that have no other way.
"""

import asyncio
import contextlib
import threading
from collections.abc import Callable
from functools import partial
from typing import TypeVar

from tandem_actuator.ports import PortError

T = TypeVar("T")


async def in_thread(work: Callable[[], T], name: str) -> T:
    """What ``work`` returns or raises.

    Raises:
        PortError: the machine has no more threads.
    """
    loop = asyncio.get_running_loop()
    answer: asyncio.Future[T] = loop.create_future()

    def run() -> None:
        settle: Callable[[], None]
        try:
            settle = partial(_answer, answer, work())
        except Exception as error:
            settle = partial(_fail, answer, error)
        with contextlib.suppress(RuntimeError):  # the loop is closed: we are on our way out
            loop.call_soon_threadsafe(settle)

    try:
        threading.Thread(target=run, name=name, daemon=True).start()
    except RuntimeError as error:
        raise PortError(f"cannot start a thread: {error}") from error
    return await answer


class Stores:
    """So many stores to a disk at a time. None has a limit: one that was begun ends on its own."""

    def __init__(self, count: int) -> None:
        self._free = asyncio.Semaphore(count)

    async def run(self, work: Callable[[], None]) -> None:
        async with self._free:
            await in_thread(work, "store")


def _answer(future: "asyncio.Future[T]", result: T) -> None:
    if not future.done():
        future.set_result(result)


def _fail(future: "asyncio.Future[T]", error: Exception) -> None:
    if not future.done():
        future.set_exception(error)
