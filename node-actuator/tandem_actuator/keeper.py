"""Keeps the watchdog device open and fed, in a small process of its own, up to a deadline.

It serves one actuator after another and outlives them: a connection that ends leaves the deadline
as it was told last. It feeds up to that deadline and not a moment longer: an actuator that does
not come back in time, or hangs, leaves the machine to the watchdog exactly as the run predicate
allows. With no guest here the deadline is infinite. A keeper that ends in any way leaves the device
armed: the machine is reset unless another opens it in time.

One event loop does it all. A feed that hangs in the driver stops everything here, so the machine
is reset: a thread for it would only hide that. Whatever was said before a feed counts for it, also
if this process stood still in between. Run by ``adapters.watchdog_keeper``; ``watchdog`` has the
other end, and the language.
"""

import asyncio
import contextlib
import json
import logging
import math
from dataclasses import dataclass

from tandem_actuator.lines import Lines
from tandem_actuator.ports import Clock, PortError, StreamListener, WatchdogDevice

log = logging.getLogger(__name__)

# linux/watchdog.h
WDIOF_SETTIMEOUT = 0x0080
WDIOF_MAGICCLOSE = 0x0100
WDIOF_ALARMONLY = 0x0400

FEEDS_PER_TIMEOUT = 5
ACCEPT_PAUSE_S = 0.5
NEVER_S = -math.inf


class Feeder:
    """The device: opened and set when somebody arms it, fed no further than it was told."""

    def __init__(self, device: WatchdogDevice, clock: Clock) -> None:
        self._device, self._clock = device, clock
        self.armed = False
        self.interval_s = 1.0
        self._deadline_s = NEVER_S
        self._failing = False

    @property
    def due(self) -> bool:
        """Whether a feed is allowed at this moment."""
        return self.armed and self._clock.boottime_s() < self._deadline_s

    def arm(self, timeout_s: int) -> None:
        """Open and set it, or set another timeout if it is open. Raises: PortError."""
        if self.armed:
            self._set_timeout(timeout_s)
            return
        try:
            self._device.open()
        except OSError as error:
            raise PortError(f"cannot open the watchdog: {error}") from error
        try:
            self._refuse_useless()
            self._set_timeout(timeout_s)
        except PortError:
            with contextlib.suppress(OSError):
                self._device.close(disarm=True)
            raise
        self.armed, self._deadline_s = True, NEVER_S

    def feed_until(self, deadline_s: float) -> None:
        self._deadline_s = deadline_s

    def feed(self) -> bool:
        """Feed it if it is allowed; whether it is.

        A machine that is suspended between the look at the clock and the feed is fed once more
        when it wakes: its reset, if due, comes one timeout after that.
        """
        if not self.due:
            return False
        try:
            self._device.keepalive()
        except OSError as error:
            if not self._failing:
                log.error("the watchdog is not fed: %s", error)
            self._failing = True
        else:
            self._failing = False
        return True

    def _refuse_useless(self) -> None:
        try:
            info = self._device.info()
        except OSError as error:
            raise PortError(f"this is no watchdog: {error}") from error
        if info.options & WDIOF_ALARMONLY:
            raise PortError(f"the watchdog ({info.identity}) only alarms, it does not reset")
        if not info.options & WDIOF_MAGICCLOSE:
            log.warning("the watchdog (%s) cannot be disarmed", info.identity)

    def _set_timeout(self, timeout_s: int) -> None:
        """Refuse a device that would reset later than others count on."""
        try:
            self._device.set_timeout(timeout_s)
        except OSError as error:
            log.warning("the watchdog refuses %d s (%s); using what it has", timeout_s, error)
        try:
            actual_s = self._device.get_timeout()
        except OSError as error:
            raise PortError(f"the watchdog does not tell its timeout: {error}") from error
        if not 0 < actual_s <= timeout_s:
            raise PortError(f"the watchdog resets after {actual_s} s, not within {timeout_s} s")
        self.interval_s = actual_s / FEEDS_PER_TIMEOUT


@dataclass(frozen=True)
class Arm:
    """An order that is answered."""

    timeout_s: int


@dataclass(frozen=True)
class FeedUntil:
    """An order that is not."""

    deadline_s: float


class Keeper:
    """The keeper's loops."""

    def __init__(self, device: WatchdogDevice, listener: StreamListener, clock: Clock) -> None:
        self._feeder = Feeder(device, clock)
        self._listener = listener
        self._actuator: Lines | None = None
        self._look = asyncio.Event()
        self._starving = True

    async def run(self) -> None:
        """For ever."""
        async with asyncio.TaskGroup() as tasks:
            tasks.create_task(self._serve(), name="serve")
            tasks.create_task(self._feed(), name="feed")

    async def _serve(self) -> None:
        """One actuator after another: the next is heard when the one before has ended."""
        while True:
            try:
                stream = await self._listener.accept()
            except OSError as error:
                log.error("no actuator can be accepted: %s", error)
                await asyncio.sleep(ACCEPT_PAUSE_S)
                continue
            self._actuator = Lines(stream)
            try:
                while not self._actuator.ended:
                    await self._actuator.readable()
                    self._hear()
            finally:
                self._actuator.close()

    async def _feed(self) -> None:
        while True:
            self._look.clear()
            self._hear()
            self._starving = not self._feeder.feed()
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(None if self._starving else self._feeder.interval_s):
                    await self._look.wait()

    def _hear(self) -> None:
        """Obey what the actuator has said up to now."""
        if self._actuator is None:
            return
        try:
            for line in self._actuator.received():
                self._obey(_parse(line), self._actuator)
        except (OSError, ValueError) as error:
            log.error("the connection to the actuator is given up: %s", error)
            self._actuator.close()

    def _obey(self, order: Arm | FeedUntil, actuator: Lines) -> None:
        if isinstance(order, FeedUntil):
            self._feeder.feed_until(order.deadline_s)
            if self._starving and self._feeder.due:
                self._look.set()
            return
        words: str | None = None
        try:
            self._feeder.arm(order.timeout_s)
        except PortError as error:
            words = str(error)
        self._look.set()  # the next feed may be due much sooner now
        actuator.send(json.dumps({"error": words}).encode() + b"\n")


def _parse(line: bytes) -> Arm | FeedUntil:
    """Raises: ValueError."""
    match json.loads(line):
        case {"arm": int(timeout_s)}:
            return Arm(timeout_s)
        case {"feed_until": None}:
            return FeedUntil(math.inf)
        case {"feed_until": int(deadline_s) | float(deadline_s)} if not math.isnan(deadline_s):
            return FeedUntil(deadline_s)
        case other:
            raise ValueError(f"not an order: {other!r}")
