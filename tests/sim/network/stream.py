"""A connection between two programs on one machine, as a Unix socket is: the Stream port.

What one end sends is in the other's buffer at once; that its program wakes up takes a moment.
A program that dies closes its ends; what it had sent can still be read. One that stands still reads
nothing, until its buffer is full. All chance is the given one's. Called by ``watchdog``.
"""

import asyncio
import errno
import os
import random
from collections import deque

from sim.engine.kernel import Group, Kernel

WAKES_IN_S = (0.0, 0.002)
TORN_S = (0.001, 0.05)
BUFFER_BYTES = 200_000


class End:
    """The Stream port of one program. ``torn``: how likely a line comes in two pieces."""

    def __init__(self, kernel: Kernel, program: Group, chance: random.Random) -> None:
        self._kernel, self._program, self._chance = kernel, program, chance
        self.torn, self.room_bytes = 0.0, BUFFER_BYTES
        self.closed = not program.alive
        self._came = b""
        self._coming: deque[bytes] = deque()
        self._waiting: asyncio.Future[None] | None = None
        self._other = self
        program.told.append(self._program_told)

    def send(self, data: bytes) -> int:
        self._check()
        if self._other.closed:
            raise _error(errno.EPIPE)
        return self._other.take(data)

    def receive(self) -> bytes:
        self._check()
        if not self._came and not self._is_over:
            raise _error(errno.EAGAIN)
        came, self._came = self._came, b""
        return came

    async def readable(self) -> None:
        if self.closed:
            return
        self._waiting = waiting = asyncio.get_running_loop().create_future()
        if self._came or self._is_over:
            self._wake()
        try:
            await waiting
        finally:
            self._waiting = None

    def close(self) -> None:
        if not self.closed:
            self.closed = True
            self._program.told.remove(self._program_told)
            self._settle()
            self._other.wake_up()

    def join(self, other: "End") -> None:
        self._other, other._other = other, self

    def take(self, data: bytes) -> int:
        """The other end sends: how much of it there is room for."""
        room = self.room_bytes - len(self._came) - sum(map(len, self._coming))
        if room <= 0:
            raise _error(errno.EAGAIN)
        data = data[:room]
        cut = len(data)
        if self.torn and self._chance.random() < self.torn:
            cut = self._chance.randrange(len(data))
        if self._coming:
            self._coming.append(data)
            return len(data)
        self._came += data[:cut]
        if cut < len(data):
            self._coming.append(data[cut:])
            self._kernel.after(self._chance.uniform(*TORN_S), self._program, self._rest)
        self.wake_up()
        return len(data)

    def _rest(self) -> None:
        self._came += b"".join(self._coming)
        self._coming.clear()
        self.wake_up()

    def wake_up(self) -> None:
        """There is something to read, or the end of it."""
        if self._waiting is not None and (self._came or self._is_over):
            self._wake()

    @property
    def _is_over(self) -> bool:
        return self._other.closed and not self._coming

    def _wake(self) -> None:
        self._kernel.after(self._chance.uniform(*WAKES_IN_S), self._program, self._settle)

    def _settle(self) -> None:
        if self._waiting is not None and not self._waiting.done():
            self._waiting.set_result(None)

    def _check(self) -> None:
        if self.closed:
            raise _error(errno.EBADF)

    def _program_told(self) -> None:
        if not self._program.alive and not self.closed:
            self.closed, self._waiting = True, None
            self._other.wake_up()


def connected(kernel: Kernel, one: Group, other: Group, chance: random.Random) -> tuple[End, End]:
    """Both ends of a new connection."""
    ends = End(kernel, one, chance), End(kernel, other, chance)
    ends[0].join(ends[1])
    return ends


def _error(number: int) -> OSError:
    return OSError(number, os.strerror(number))
