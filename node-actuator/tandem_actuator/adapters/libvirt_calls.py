"""Calls to libvirt over a connection that is opened when first needed and again after it broke.

libvirtd serves a few calls per connection at a time (max_client_requests, 5): calls that may hang
get connections of their own, so that they cannot keep a look at the domains from being answered.
Called by ``adapters.libvirt`` only.
"""

import asyncio
import contextlib
from collections.abc import Callable, Coroutine
from functools import partial
from typing import Any, TypeVar

from tandem_actuator.adapters.libvirt_ports import LibvirtConnection, Libvirtd, LibvirtError
from tandem_actuator.adapters.slots import Slots
from tandem_actuator.ports import CommandTimeout

T = TypeVar("T")
Work = Callable[[LibvirtConnection], Coroutine[Any, Any, T]]


class Calls:
    """One connection, ``slots`` calls at a time."""

    def __init__(self, libvirtd: Libvirtd, slots: int) -> None:
        self._libvirtd, self._slots = libvirtd, Slots(slots)
        self._opening = asyncio.Lock()
        self._connection: LibvirtConnection | None = None

    async def call(self, work: Work[T], timeout_s: float) -> T:
        """What ``work`` makes of the connection.

        Raises:
            LibvirtError: libvirt refused, with its words.
            CommandTimeout: no answer in time; the call may still take effect.
        """
        try:
            return await self._slots.run(partial(self._run, work), timeout_s)
        except TimeoutError:
            raise CommandTimeout(f"libvirt did not answer within {timeout_s:g} s") from None

    async def _run(self, work: Work[T]) -> T:
        return await work(await self._open())

    async def _open(self) -> LibvirtConnection:
        async with self._opening:
            if self._connection is not None and not await _is_alive(self._connection):
                await self._drop(self._connection)
            if self._connection is None:
                self._connection = await self._libvirtd.open()
            return self._connection

    def close(self, farewell: Work[None]) -> None:
        """Close it as soon as its calls are done, after ``farewell``; returns at once."""
        self._slots.later(partial(self._close, farewell))

    async def _close(self, farewell: Work[None]) -> None:
        async with self._opening:
            if self._connection is not None:
                with contextlib.suppress(LibvirtError):
                    await farewell(self._connection)
                await self._drop(self._connection)

    async def _drop(self, connection: LibvirtConnection) -> None:
        with contextlib.suppress(LibvirtError):
            await connection.close()
        self._connection = None


async def _is_alive(connection: LibvirtConnection) -> bool:
    try:
        return await connection.alive()
    except LibvirtError:
        return False
