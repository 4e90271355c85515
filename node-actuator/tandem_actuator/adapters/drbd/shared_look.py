"""One look at DRBD for all who asked before it began."""

import asyncio
from collections.abc import Awaitable, Callable
from typing import Generic, TypeVar

from tandem_actuator.ports import Clock

T = TypeVar("T")

GATHER_S = 0.002
"""A look is begun so long after it was asked for: of those who would look now some ask in a moment,
and it is for them too.
"""


class SharedLook(Generic[T]):
    """One look at all resources, shared by those who ask while the last one runs.

    Whoever asks gets one that was begun after they asked, so that it is fresh for them. Hundreds
    may wait for one: they are all told by its end, and none by another that waits.
    """

    def __init__(self, look: Callable[[], Awaitable[T]], clock: Clock) -> None:
        self._look, self._clock = look, clock
        self._under_way: asyncio.Event | None = None
        self._seen: tuple[T, float] | None = None

    async def newer_than_now(self) -> tuple[T, float]:
        """A look begun after this call, and when it was begun (CLOCK_BOOTTIME).

        Raises:
            PortError, OSError, ValueError: DRBD did not answer, or nothing that can be read.
        """
        asked_at_s = self._clock.boottime_s()
        while self._seen is None or self._seen[1] <= asked_at_s:
            if self._under_way is None:
                return await self._look_now()
            await self._under_way.wait()
        return self._seen

    async def _look_now(self) -> tuple[T, float]:
        """Who looks may be given up on: then the next of those who wait looks."""
        self._under_way = ended = asyncio.Event()
        try:
            await asyncio.sleep(GATHER_S)
            began_at_s = self._clock.boottime_s()
            self._seen = (await self._look(), began_at_s)
            return self._seen
        finally:
            self._under_way = None
            ended.set()
