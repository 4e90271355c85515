"""A look at everything, for all who ask for one while another is under way.

When hundreds of guests are stopped at once, each asks again and again what runs here. While few
look, who asks looks at once. Who finds several looks under way, which may be too old for it, joins
the next: that begins when the newest of these has ended, or soon, since a look may hang. Called by
``adapters.libvirt`` only.
"""

import asyncio
from collections.abc import Awaitable, Callable
from contextlib import suppress
from typing import Generic, TypeVar

T = TypeVar("T")

LOOKS = 2
"""So many may be under way before others join."""
PATIENCE_S = 0.02
"""A look that takes longer is not waited for."""


class Joined(Generic[T]):
    """Whoever asks gets what a look saw that was begun after they asked."""

    def __init__(self, look: Callable[[], Awaitable[T]]) -> None:
        self._make = look
        self._under_way: list[asyncio.Event] = []
        self._next: asyncio.Task[T] | None = None

    async def look(self) -> T:
        """Raises: what the look does."""
        if len(self._under_way) < LOOKS:
            return await self._look()
        if self._next is None:
            self._next = asyncio.create_task(self._after(self._under_way[-1]))
            self._next.add_done_callback(_seen)
        return await asyncio.shield(self._next)

    async def _look(self) -> T:
        ended = asyncio.Event()
        self._under_way.append(ended)
        try:
            return await self._make()
        finally:
            self._under_way.remove(ended)
            ended.set()

    async def _after(self, ended: asyncio.Event) -> T:
        with suppress(TimeoutError):
            async with asyncio.timeout(PATIENCE_S):
                await ended.wait()
        self._next = None  # from here on it is too old for who asks
        return await self._look()


def _seen(look: "asyncio.Task[T]") -> None:
    """Who waited for it has raised it, or waits no more."""
    if not look.cancelled():
        look.exception()
