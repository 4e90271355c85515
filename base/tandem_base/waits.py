"""Waiting for an event, and for the end of tasks, so that no cancellation is lost.

Before Python 3.12 ``asyncio.wait_for`` drops a cancellation that comes in the moment in which what
it waits for is done. A loop round it then goes on for ever, and whoever waits for its end, too.
"""

import asyncio
from collections.abc import Iterable
from typing import Any

AGAIN_S = 0.5


async def set_within(event: asyncio.Event, timeout_s: float) -> bool:
    """Whether the event was set in time."""
    try:
        async with asyncio.timeout(timeout_s):
            await event.wait()
    except TimeoutError:
        return False
    return True


async def cancelled(tasks: Iterable[asyncio.Task[Any]]) -> None:
    """End the tasks, whatever they raise. One that swallows a cancellation gets another."""
    pending = set(tasks)
    while pending:
        for task in pending:
            task.cancel()
        done, pending = await asyncio.wait(pending, timeout=AGAIN_S)
        for task in done:
            if not task.cancelled():
                task.exception()  # looked at, so that nobody complains that nobody did
