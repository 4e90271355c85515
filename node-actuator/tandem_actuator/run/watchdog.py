"""The actuator's side of the watchdog: it tells a keeper until when the machine may be fed.

A watchdog device that is closed stays armed, and a restart of the actuator takes longer than its
timeout: without a keeper every restart would reset the machine. So the device belongs to a process
that outlives the actuator (``keeper``), which this starts if there is none.

The guard calls ``feed_until`` from the event loop and must not wait for anybody. A line goes into
the kernel's buffer, which the keeper empties before each feed. One that does not fit says that the
keeper has not looked for hundreds of lines: it is given up, and this host is not armed.

They talk JSON lines: ``{"arm": SECONDS, "until": DEADLINE}`` is answered by
``{"error": null or words, "timeout": SECONDS or null}``, ``{"feed_until": DEADLINE}`` is not
answered. A deadline is in seconds, or null: for ever. ``until`` is for a keeper that nobody has
told any yet; ``timeout`` is what is in force, also after a refusal, null where the device is not
armed; ``least`` comes with the refusal of a timeout that is too short for the device. A keeper from
before an upgrade tells none. Called by ``loop``.
"""

import asyncio
import contextlib
import json
import logging
import math

from tandem_actuator.ports import PortError
from tandem_actuator.ports.watchdog import KeeperProcess, Stream, WatchdogTooSlow
from tandem_actuator.run.lines import Lines

log = logging.getLogger(__name__)

ANSWER_TIMEOUT_S = 10.0
"""A driver may take seconds to open a device or set it. Meanwhile deadlines are told on."""
START_TIMEOUT_S = 10.0
POLL_S = 0.05


class KeptWatchdog:
    """The Watchdog port through a keeper process."""

    def __init__(self, keeper: KeeperProcess) -> None:
        self._keeper = keeper
        self._link: _Link | None = None
        self._timeout_s = 0

    @property
    def armed(self) -> bool:
        """Whether a keeper that armed the device is there, as far as is known."""
        return self._link is not None and not self._link.ended

    @property
    def timeout_s(self) -> int | None:
        return self._timeout_s if self.armed else None

    async def arm(self, timeout_s: int, until_s: float = -math.inf) -> None:
        """Arm it, or set another timeout. Starts the keeper if there is none."""
        link = self._link if self._link and self.armed else _Link(await self._connect())
        # Until it has answered either may be in force.
        self._timeout_s = max(self._timeout_s if self.armed else 0, timeout_s)
        try:
            error, in_force_s = await link.ask(timeout_s, until_s)
        except (OSError, ValueError) as failure:  # TimeoutError is an OSError
            link.close()
            words = str(failure) or "no answer in time"
            raise PortError(f"the watchdog's keeper does not answer: {words}") from failure
        except asyncio.CancelledError:
            link.close()
            raise
        if in_force_s is None:
            link.close()
            raise error or PortError("the watchdog is not armed")
        self._link, self._timeout_s = link, in_force_s
        if error is not None:
            raise error

    def feed_until(self, deadline_s: float) -> None:
        """Tell the deadline, if it is another; a keeper that is gone makes this host unarmed."""
        if self._link is None or self._link.ended:
            return
        try:
            self._link.tell({"feed_until": _told(deadline_s)})
        except OSError as error:
            log.critical("the watchdog's keeper cannot be told: %s", error)
            self._link.close()

    async def _connect(self) -> Stream:
        try:
            stream = await self._try_connect()
            if stream is not None:
                return stream
            await self._keeper.start()
            async with asyncio.timeout(START_TIMEOUT_S):
                while stream is None:
                    await asyncio.sleep(POLL_S)
                    stream = await self._try_connect()
        except TimeoutError as error:
            raise PortError("the watchdog's keeper does not start") from error
        except OSError as error:
            raise PortError(f"the watchdog's keeper cannot be reached: {error}") from error
        return stream

    async def _try_connect(self) -> Stream | None:
        """None: there is no keeper. One that does not accept is there, and has the device."""
        with contextlib.suppress(ConnectionRefusedError, FileNotFoundError):
            return await self._keeper.connect()
        return None


class _Link:
    """One connection to a keeper. A task of its own listens, and so notices its end at once."""

    def __init__(self, stream: Stream) -> None:
        self._lines = Lines(stream)
        self._told = b""
        self._given_up = False
        self._answer: asyncio.Future[bytes] | None = None
        self._listening = asyncio.create_task(self._listen(), name="watchdog's keeper")

    @property
    def ended(self) -> bool:
        return self._lines.ended

    async def ask(self, timeout_s: int, until_s: float) -> tuple[PortError | None, int | None]:
        """What it has against it, and the timeout in force. Raises: OSError, ValueError."""
        until = {} if until_s == -math.inf else {"until": _told(until_s)}
        self._lines.send(_line({"arm": timeout_s, **until}))
        self._answer = asyncio.get_running_loop().create_future()
        async with asyncio.timeout(ANSWER_TIMEOUT_S):
            answer = json.loads(await self._answer)
        match answer:
            case {"error": None, "timeout": int(in_force_s)}:
                return None, in_force_s
            case {"error": str(words), "timeout": int() | None as in_force_s}:
                return _refusal(words, answer.get("least")), in_force_s
            case {"error": None}:
                return None, timeout_s
            case {"error": str(words)}:
                return PortError(words), None
        raise ValueError(f"not an answer: {answer!r}")

    def tell(self, message: dict[str, float | None]) -> None:
        """What it was told already goes without saying. Raises: OSError."""
        line = _line(message)
        if line != self._told:
            self._lines.send(line)
            self._told = line

    def close(self) -> None:
        self._given_up = True
        self._lines.close()

    async def _listen(self) -> None:
        while not self.ended:
            await self._lines.readable()
            for line in self._lines.received():
                if self._answer and not self._answer.done():
                    self._answer.set_result(line)
        if not self._given_up:
            log.critical("the watchdog's keeper is gone")
        if self._answer and not self._answer.done():
            self._answer.set_exception(ConnectionResetError("it is gone"))
        self._lines.close()


def _refusal(words: str, least_s: object) -> PortError:
    return WatchdogTooSlow(words, least_s) if isinstance(least_s, int) else PortError(words)


class NoWatchdog:
    """The Watchdog port where none is to be used."""

    armed, timeout_s = False, None

    async def arm(self, timeout_s: int, until_s: float = -math.inf) -> None:
        raise PortError("no watchdog is configured (setting watchdog_device)")

    def feed_until(self, deadline_s: float) -> None:
        """Nothing to feed."""


def _told(deadline_s: float) -> float | None:
    """JSON has no infinity. For ever is null; what may not be fed at all has always run out."""
    return None if deadline_s == math.inf else max(deadline_s, 0.0)


def _line(message: dict[str, float | None]) -> bytes:
    return json.dumps(message).encode() + b"\n"
