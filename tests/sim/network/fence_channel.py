"""Between the fence-peer program and the actuator: a host's unix sockets, and the program's host.

``SimSockets`` are the sockets of one host: who listens is found by its path. Each end of a
connection lives on the loop of its own program; when the one that listens is killed, every
connection to it ends. ``Outside`` is what ``tandem_actuator.fence_peer`` needs: its coroutine runs
unchanged, on the loop of the handler's process. Called by ``world`` and by tests.
"""

import asyncio
import random
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from pathlib import Path

from tandem_actuator.adapters.fence_server import LINE_LIMIT_BYTES, Serve

DELAY_S = (0.0002, 0.002)
"""Before each step of the program: it is one process among others."""
CHUNK_BYTES = 4096


class _End:
    """One end of a connection: what has arrived there, and the other end."""

    other: "_End"

    def __init__(self, loop: asyncio.AbstractEventLoop) -> None:
        self.arrived = asyncio.StreamReader(LINE_LIMIT_BYTES, loop)
        self.closed = False
        self._lost = False

    async def readline(self) -> bytes:
        return await self.arrived.readline()

    def write(self, data: bytes) -> None:
        """It is there at once, unless nobody is."""
        self._lost = self.other.closed
        if not self.closed and not self._lost:
            self.other.arrived.feed_data(data)

    async def drain(self) -> None:
        await asyncio.sleep(0)
        if self._lost:
            raise BrokenPipeError("the other end is closed")

    def close(self) -> None:
        if not self.closed:
            self.closed = True
            if not self.other.closed:
                self.other.arrived.feed_eof()

    async def wait_closed(self) -> None:
        await asyncio.sleep(0)


class _Listener:
    """A program that listens. Its questions run on its own loop."""

    def __init__(self, sockets: "SimSockets", path: Path, serve: Serve) -> None:
        self._sockets, self._path, self._serve = sockets, path, serve
        self.loop = asyncio.get_running_loop()
        self._ends: list[_End] = []
        self._tasks: set[asyncio.Task[None]] = set()

    def accept(self, client: _End) -> None:
        end = _End(self.loop)
        end.other, client.other = client, end
        self._ends = [each for each in self._ends if not each.closed] + [end]
        task = self.loop.create_task(self._served(end))
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)

    async def _served(self, end: _End) -> None:
        await self._serve(end, end)

    def close(self) -> None:
        """No new questions. Those that are being asked are its program's to end."""
        self._sockets.forget(self._path, self)

    def killed(self) -> None:
        """The kernel closes what it had open."""
        for end in self._ends:
            end.close()


class SimSockets:
    """Of one host."""

    def __init__(self) -> None:
        self._listeners: dict[Path, _Listener] = {}

    async def listen(self, path: Path, serve: Serve) -> _Listener:
        await asyncio.sleep(0)
        self._listeners[path] = _Listener(self, path, serve)
        return self._listeners[path]

    def connect(self, path: Path) -> _End:
        """Raises: OSError if nobody listens."""
        listener = self._listeners.get(path)
        if listener is None:
            raise ConnectionRefusedError(f"nobody listens on {path}")
        client = _End(asyncio.get_running_loop())
        listener.accept(client)
        return client

    def forget(self, path: Path, listener: _Listener) -> None:
        if self._listeners.get(path) is listener:
            del self._listeners[path]

    def program_ends(self, loop: asyncio.AbstractEventLoop) -> None:
        """The one that listens on this loop is killed, in whatever it was doing. Its successor may
        listen on the same path by the time that this is told, or told again.
        """
        for path, listener in list(self._listeners.items()):
            if listener.loop is loop:
                del self._listeners[path]
                listener.killed()


class _Channel:
    """The fence-peer program's end."""

    def __init__(self, end: _End, steps: "Outside") -> None:
        self._end, self._steps = end, steps

    async def send(self, content: bytes, timeout_s: float) -> None:
        await self._steps.pass_time()
        self._end.write(content)
        async with asyncio.timeout(timeout_s):
            await self._end.drain()

    async def receive(self, timeout_s: float) -> bytes:
        async with asyncio.timeout(timeout_s):
            return await self._end.arrived.read(CHUNK_BYTES)

    def close(self) -> None:
        self._end.close()


def _nothing(resource: str) -> str:
    raise FileNotFoundError("drbdsetup")


@dataclass(frozen=True)
class Roles:
    """``devices``: what /proc/drbd shows just now. ``of``: what drbdsetup says of a resource, which
    DRBD 9 alone needs.
    """

    devices: Callable[[], str]
    of: Callable[[str], str] = _nothing


class Outside:
    """The host of one fence-peer program."""

    def __init__(
        self,
        sockets: SimSockets,
        path: Path,
        chance: random.Random,
        roles: Roles,
    ) -> None:
        self._sockets, self._path, self._chance = sockets, path, chance
        self.devices, self.role = roles.devices, roles.of

    def now_s(self) -> float:
        return asyncio.get_running_loop().time()

    async def sleep(self, seconds: float) -> None:
        await asyncio.sleep(seconds)

    async def pass_time(self) -> None:
        await asyncio.sleep(self._chance.uniform(*DELAY_S))

    async def connect(self, timeout_s: float) -> _Channel:
        await self.pass_time()
        return _Channel(self._sockets.connect(self._path), self)


def proc_drbd(roles: Iterable[tuple[int, str]], version: str = "8.4.11") -> str:
    """As much of /proc/drbd as the program reads. ``roles``: by minor number; 9 shows none."""
    lines = [f"version: {version} (api:1/proto:86-101)", ""]
    lines += [f"{minor:>3}: cs:WFConnection ro:{role}/Unknown ds: C" for minor, role in roles]
    return "\n".join(lines) + "\n"
