"""One look at DRBD for all who asked before it began."""

import asyncio
from collections.abc import Awaitable, Callable
from typing import Generic, TypeVar

from tandem_actuator.ports import Clock

T = TypeVar("T")


class SharedLook(Generic[T]):
    """One look at all resources, shared by those who ask while the last one runs.

    Whoever asks gets one that was begun after they asked, so that it is fresh for them.
    """

    def __init__(self, look: Callable[[], Awaitable[T]], clock: Clock) -> None:
        self._look, self._clock = look, clock
        self._running: asyncio.Lock = asyncio.Lock()
        self._seen: tuple[T, float] | None = None

    async def newer_than_now(self) -> tuple[T, float]:
        """A look begun after this call, and when it was begun (CLOCK_BOOTTIME).

        Raises:
            PortError, OSError, ValueError: DRBD did not answer, or nothing that can be read.
        """
        asked_at_s = self._clock.boottime_s()
        async with self._running:
            if self._seen is None or self._seen[1] <= asked_at_s:
                began_at_s = self._clock.boottime_s()
                self._seen = (await self._look(), began_at_s)
            return self._seen
