"""Where the fence-peer program asks: a unix socket, one JSON line in, one JSON line out.

It takes the question to a callback and its answer back, and nothing else: a callback that fails is
answered with 1, which leaves DRBD frozen. Questions are answered side by side, because DRBD asks
again before its last question was answered. See ``tandem_actuator.fence_peer`` for the other end.
The socket itself stands behind ``Sockets``, which holds no decision.
"""

import asyncio
import contextlib
import json
import logging
import os
from collections.abc import Awaitable, Callable, Mapping
from pathlib import Path
from types import TracebackType
from typing import Protocol, Self

from tandem_actuator.ports import PortError

log = logging.getLogger(__name__)

Answer = Callable[[Mapping[str, str]], Awaitable[tuple[int, str]]]

EXIT_STAY_FROZEN = 1
QUESTION_TIMEOUT_S = 2.0
LINE_LIMIT_BYTES = 65536


class Reader(Protocol):
    """As asyncio's."""

    async def readline(self) -> bytes:
        """Up to a newline or the end. Raises: ValueError if it is too long, ConnectionError."""
        ...


class Writer(Protocol):
    """As asyncio's."""

    def write(self, data: bytes) -> None: ...

    async def drain(self) -> None:
        """Raises: ConnectionError."""
        ...

    def close(self) -> None: ...

    async def wait_closed(self) -> None:
        """Raises: ConnectionError."""
        ...


class Listener(Protocol):
    """Where questions come in. Questions that are being asked outlive it."""

    def close(self) -> None: ...


Serve = Callable[[Reader, Writer], Awaitable[None]]


class Sockets(Protocol):
    """Unix sockets of this host."""

    async def listen(self, path: Path, serve: Serve) -> Listener:
        """Call ``serve`` for everyone who connects; only root may. What is there is replaced.

        Raises:
            OSError: the socket cannot be made.
        """
        ...


class UnixSockets:
    """The machine's own."""

    async def listen(self, path: Path, serve: Serve) -> Listener:
        mask = os.umask(0o177)
        try:
            _make_room(path)
            server = await asyncio.start_unix_server(serve, path, limit=LINE_LIMIT_BYTES)
        finally:
            os.umask(mask)
        return UnixListener(server, path)


def _make_room(path: Path) -> None:
    path.parent.mkdir(mode=0o755, parents=True, exist_ok=True)
    path.unlink(missing_ok=True)


class UnixListener:
    """A server on a path."""

    def __init__(self, server: asyncio.Server, path: Path) -> None:
        self._server, self._path = server, path

    def close(self) -> None:
        self._server.close()
        self._path.unlink(missing_ok=True)


UNIX: Sockets = UnixSockets()


class FenceServer:
    """``async with FenceServer(path, answer):`` listens; only root may ask."""

    def __init__(self, path: Path, answer: Answer, sockets: Sockets = UNIX) -> None:
        self.path, self._sockets = path, sockets
        self._answer = answer
        self._listener: Listener | None = None
        self._questions: set[asyncio.Task[None]] = set()

    async def start(self) -> None:
        """Listen. What an earlier run left at the path is replaced: the host's lock is held.

        Raises:
            PortError: the socket cannot be made.
        """
        try:
            self._listener = await self._sockets.listen(self.path, self._serve)
        except OSError as error:
            raise PortError(f"cannot listen on {self.path}: {error}") from error

    async def stop(self) -> None:
        """Stop listening and drop what is being asked: the other end asks the next run."""
        if self._listener is not None:
            self._listener.close()
        for question in list(self._questions):
            question.cancel()
        await asyncio.gather(*self._questions, return_exceptions=True)

    async def __aenter__(self) -> Self:
        await self.start()
        return self

    async def __aexit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        await self.stop()

    async def _serve(self, reader: Reader, writer: Writer) -> None:
        task = asyncio.current_task()
        assert task is not None
        self._questions.add(task)
        try:
            code, message = await self._judge(reader)
            writer.write(json.dumps({"exit_code": code, "message": message}).encode() + b"\n")
            await writer.drain()
        except (ConnectionError, asyncio.CancelledError) as error:
            log.warning("fence-peer went without an answer: %r", error)
        finally:
            self._questions.discard(task)
            writer.close()
            with contextlib.suppress(ConnectionError):
                await writer.wait_closed()

    async def _judge(self, reader: Reader) -> tuple[int, str]:
        try:
            async with asyncio.timeout(QUESTION_TIMEOUT_S):
                question = json.loads(await reader.readline())
            environment = {str(key): str(value) for key, value in question.items()}
        except (ValueError, AttributeError, TimeoutError) as error:
            return EXIT_STAY_FROZEN, f"not a question: {error!r}"
        try:
            return await self._answer(environment)
        except Exception as error:
            log.exception("fence-peer cannot be answered")
            return EXIT_STAY_FROZEN, f"the actuator failed: {error!r}"
