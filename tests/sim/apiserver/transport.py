"""The client's port on the simulated server: what aiohttp and sockets do for the real one.

All time here is that of the loop that the program runs in: its timeouts, how long nothing came.
What is on the way is in the world's. Called by the world, which gives one to a ``KubeClient``.
"""

import asyncio
import json
from collections import deque
from collections.abc import AsyncIterator, Mapping, Sequence
from contextlib import asynccontextmanager
from typing import Any

from sim.apiserver.api import NO_CONNECTION, Wire
from sim.apiserver.handler import Request
from sim.apiserver.store import Raw
from sim.apiserver.stream import Stream
from tandem_kube.errors import KubeError, Stalled, Unavailable, error_of
from tandem_kube.transport import JSON, JSON_PATCH, Access

ROUNDING_S = 1e-6
Body = Mapping[str, Any] | Sequence[Any] | None


class SimTransport:
    """See ``tandem_kube.transport.Transport``."""

    def __init__(self, wire: Wire) -> None:
        self._wire = wire
        self._closed = False
        self._inboxes: set[_Inbox] = set()

    async def close(self) -> None:
        self._closed = True
        for inbox in list(self._inboxes):
            inbox.fail("this client was closed")

    def connection(self) -> Access:
        return Access("https://simulated", "", "", "", "", verify=True)

    async def call(
        self,
        method: str,
        path: str,
        *,
        query: Mapping[str, str] | None = None,
        body: Body = None,
        content_type: str = JSON,
        timeout_s: float,
    ) -> dict[str, Any]:
        request = self._request(method, path, query, body, content_type)
        answer: asyncio.Future[tuple[int, Raw]] = asyncio.get_running_loop().create_future()
        self._wire.send(request, _settles(answer))
        try:
            async with asyncio.timeout(timeout_s):
                code, found = await answer
        except TimeoutError as error:
            self._wire.gave_up()
            raise Unavailable(f"{method} {path}: TimeoutError") from error
        if code == NO_CONNECTION:
            raise Unavailable(f"{method} {path}: {found}")
        if code >= 400:
            raise error_of(code, found, json_patch=content_type == JSON_PATCH)
        return found

    def _request(
        self,
        method: str,
        path: str,
        query: Mapping[str, str] | None,
        body: Body,
        content_type: str = JSON,
    ) -> Request:
        if self._closed:
            raise Unavailable(f"{method} {path}: this client was closed")
        # Written as JSON, as on the real way: what cannot be is an error here, too.
        text = "" if body is None else json.dumps(self.reworded(path, body))
        return Request(method, path, query or {}, text, content_type)

    def reworded(self, path: str, body: Any) -> Any:
        """What is really sent. (A newer version of the program has other words.)"""
        return body

    @asynccontextmanager
    async def stream(
        self,
        path: str,
        query: Mapping[str, str],
        *,
        open_timeout_s: float,
        life_s: float,
        idle_s: float,
    ) -> AsyncIterator[AsyncIterator[Any]]:
        request = self._request("GET", path, query, None)
        inbox = _Inbox(path, life_s, idle_s)
        self._inboxes.add(inbox)
        try:
            await self._open(request, inbox, open_timeout_s)
            yield inbox.lines()
        finally:
            inbox.close()
            self._inboxes.discard(inbox)

    async def _open(self, request: Request, inbox: "_Inbox", timeout_s: float) -> None:
        answer: asyncio.Future[tuple[int, Any]] = asyncio.get_running_loop().create_future()

        def answered(code: int, found: Any) -> None:
            if isinstance(found, Stream):
                inbox.opened(found)
            if not answer.done():
                answer.set_result((code, found))

        self._wire.send(request, answered, inbox)
        try:
            async with asyncio.timeout(timeout_s):
                code, found = await answer
        except TimeoutError as error:
            self._wire.gave_up()
            raise Unavailable(f"GET {request.path}: TimeoutError") from error
        if code == NO_CONNECTION:
            raise Unavailable(f"GET {request.path}: {found}")
        if code >= 400:
            raise error_of(code, found)


def _settles(answer: "asyncio.Future[tuple[int, Raw]]") -> Any:
    def answered(code: int, body: Raw) -> None:
        if not answer.done():
            answer.set_result((code, body))

    return answered


class _Inbox:
    """What has arrived of one watch and was not read yet."""

    def __init__(self, path: str, life_s: float, idle_s: float) -> None:
        self._path, self._idle_s = path, idle_s
        self._loop = asyncio.get_running_loop()
        self._lines: deque[Raw] = deque()
        self._waiting: asyncio.Future[None] | None = None
        self._error: KubeError | None = None
        self._ended = self._closed = False
        self._stream: Stream | None = None
        self._heard_s = self._loop.time()
        self._life_s, self._ends_s = life_s, self._heard_s + life_s
        self._timer = self._loop.call_later(min(life_s, idle_s), self._look)

    def opened(self, stream: Stream) -> None:
        """The server has begun to answer."""
        self._stream, self._heard_s = stream, self._loop.time()
        if self._closed:
            stream.forget()

    # -- what comes from the network

    def deliver(self, lines: list[Raw]) -> None:
        self._lines.extend(lines)
        self._heard_s = self._loop.time()
        self._wake()

    def end(self) -> None:
        self._ended = True
        self._wake()

    def fail(self, why: str) -> None:
        self._raise(Unavailable(f"GET {self._path}: {why}"))

    # -- patience

    def _look(self) -> None:
        """Whether anything has come in time, and whether it goes on for too long."""
        now_s = self._loop.time()
        quiet_until_s = self._heard_s + self._idle_s
        if now_s > quiet_until_s - ROUNDING_S:
            self._raise(Stalled(f"GET {self._path}: nothing came for {self._idle_s:.0f} s"))
        elif now_s > self._ends_s - ROUNDING_S:
            self._raise(Unavailable(f"GET {self._path}: it goes on for more than {self._life_s} s"))
        else:
            left_s = min(quiet_until_s, self._ends_s) - now_s
            self._timer = self._loop.call_later(left_s, self._look)

    def _raise(self, error: KubeError) -> None:
        if not self._ended and self._error is None:
            self._error = error
            self._wake()

    def _wake(self) -> None:
        if self._waiting is not None and not self._waiting.done():
            self._waiting.set_result(None)

    # -- reading

    async def lines(self) -> AsyncIterator[Any]:
        while True:
            if self._error is not None:
                raise self._error
            if self._lines:
                yield self._lines.popleft()
            elif self._ended:
                return
            else:
                self._waiting = self._loop.create_future()
                await self._waiting

    def close(self) -> None:
        """Nobody reads any more."""
        self._closed = True
        self._timer.cancel()
        if self._stream is not None:
            self._stream.forget()
