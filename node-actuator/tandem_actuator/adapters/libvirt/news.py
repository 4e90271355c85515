"""What libvirt tells of domains by itself: its events, as names of domains to look at.

Called by ``host``.
"""

import asyncio
import contextlib

from tandem_actuator.adapters.libvirt.ports import LibvirtConnection, LibvirtError


class Told:
    """Names of domains with news: who listens reads the newest state anyway, of all of them, so
    what has come meanwhile is told at once.
    """

    def __init__(self) -> None:
        self._names: dict[str, None] = {}
        self._closed = False
        self._news = asyncio.Event()

    def tell(self, name: str) -> None:
        self._names[name] = None
        self._news.set()

    def close(self) -> None:
        self._closed = True
        self._news.set()

    async def next(self) -> str | None:
        """Empty: of several. None: nothing more will be told."""
        while not self._names and not self._closed:
            self._news.clear()
            await self._news.wait()
        names, self._names = list(self._names), {}
        if not names:
            return None
        return names[0] if len(names) == 1 else ""


async def register(connection: LibvirtConnection, *, told: Told, numbers: list[int]) -> None:
    with contextlib.suppress(LibvirtError):  # the test driver never closes
        await connection.on_close(told.close)
    numbers.append(await connection.on_lifecycle(told.tell))


async def unregister(connection: LibvirtConnection, *, numbers: list[int]) -> None:
    """A connection that is closed with a registration lives on and goes on telling."""
    for number in numbers:
        await connection.forget_lifecycle(number)
    await connection.forget_close()
