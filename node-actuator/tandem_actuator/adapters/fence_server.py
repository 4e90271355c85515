"""Where the fence-peer program asks: a unix socket, one JSON line in, one JSON line out.

It takes the question to a callback and its answer back, and nothing else: a callback that fails is
answered with 1, which leaves DRBD frozen. Questions are answered side by side, because DRBD asks
again before its last question was answered. See ``tandem_actuator.fence_peer`` for the other end.
"""

import asyncio
import contextlib
import json
import logging
import os
from collections.abc import Awaitable, Callable, Mapping
from pathlib import Path
from types import TracebackType
from typing import Self

from tandem_actuator.ports import PortError

log = logging.getLogger(__name__)

Answer = Callable[[Mapping[str, str]], Awaitable[tuple[int, str]]]

EXIT_STAY_FROZEN = 1
QUESTION_TIMEOUT_S = 2.0
LINE_LIMIT_BYTES = 65536


class FenceServer:
    """``async with FenceServer(path, answer):`` listens; only root may ask."""

    def __init__(self, path: Path, answer: Answer) -> None:
        self.path = path
        self._answer = answer
        self._server: asyncio.Server | None = None
        self._questions: set[asyncio.Task[None]] = set()

    async def start(self) -> None:
        """Listen. What an earlier run left at the path is replaced: the host's lock is held.

        Raises:
            PortError: the socket cannot be made.
        """
        mask = os.umask(0o177)
        try:
            self.path.parent.mkdir(mode=0o755, parents=True, exist_ok=True)
            self.path.unlink(missing_ok=True)
            self._server = await asyncio.start_unix_server(
                self._serve, self.path, limit=LINE_LIMIT_BYTES
            )
        except OSError as error:
            raise PortError(f"cannot listen on {self.path}: {error}") from error
        finally:
            os.umask(mask)

    async def stop(self) -> None:
        """Stop listening and drop what is being asked: the other end asks the next run."""
        if self._server is not None:
            self._server.close()
            self.path.unlink(missing_ok=True)
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

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
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

    async def _judge(self, reader: asyncio.StreamReader) -> tuple[int, str]:
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
