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

from tandem_actuator.adapters.libvirt.ports import LibvirtConnection, Libvirtd, LibvirtError
from tandem_actuator.adapters.libvirt.slots import Slots
from tandem_actuator.ports import CommandTimeout

T = TypeVar("T")
Work = Callable[[LibvirtConnection], Coroutine[Any, Any, T]]


class _Line:
    """A connection and the right to open it. What hangs in it keeps it, and a new one is made."""

    def __init__(self) -> None:
        self.opening = asyncio.Lock()
        self.connection: LibvirtConnection | None = None


class Calls:
    """One connection, ``slots`` calls at a time. One in which a call hangs for good is left."""

    def __init__(self, libvirtd: Libvirtd, slots: int) -> None:
        self._libvirtd, self._slots = libvirtd, Slots(slots, self._leave)
        self._line = _Line()

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
        line = self._line
        async with line.opening:
            if line.connection is not None and not await _is_alive(line.connection):
                await _drop(line)
            if line.connection is None:
                line.connection = await self._libvirtd.open()
            return line.connection

    def close(self, farewell: Work[None]) -> None:
        """Close it as soon as its calls are done, after ``farewell``; returns at once."""
        self._slots.later(partial(_close, self._line, farewell))

    async def idle(self, timeout_s: float) -> None:
        """Until no call is under way, or the time is over."""
        await self._slots.idle(timeout_s)

    def _leave(self) -> None:
        """libvirtd serves few calls of a connection at a time, and one of this hangs for good."""
        self._line = _Line()


async def _close(line: _Line, farewell: Work[None]) -> None:
    async with line.opening:
        if line.connection is not None:
            with contextlib.suppress(LibvirtError):
                await farewell(line.connection)
            await _drop(line)


async def _drop(line: _Line) -> None:
    connection, line.connection = line.connection, None
    if connection is not None:
        with contextlib.suppress(LibvirtError):
            await connection.close()


async def _is_alive(connection: LibvirtConnection) -> bool:
    try:
        return await connection.alive()
    except LibvirtError:
        return False
