"""Keeps the watchdog device open and fed, in a small process of its own, up to a deadline.

It serves one actuator after another and outlives them: a connection that ends leaves the deadline
as it was told last. It feeds up to that deadline and not a moment longer: an actuator that does
not come back in time, or hangs, leaves the machine to the watchdog exactly as the run predicate
allows. With no guest here the deadline is infinite. A keeper that ends leaves the device armed: the
machine is reset unless another opens it in time. One that is asked to end (SIGTERM, as the machine
is shut down) leaves more time to a machine that was fed for ever and has no actuator any more.

A timeout that the device refuses changes nothing: what was in force stays in force and is told, so
that the actuator publishes it. A device that is refused is closed again, but for one that would
reset the machine later: that is kept open and fed, and counts as not armed.

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

from tandem_actuator.ports import Clock, PortError
from tandem_actuator.ports.watchdog import (
    StreamListener,
    WatchdogDevice,
    WatchdogInfo,
    WatchdogTooSlow,
)
from tandem_actuator.run.lines import Lines
from tandem_api.timing import MAX_WATCHDOG_S

log = logging.getLogger(__name__)

# linux/watchdog.h
WDIOF_SETTIMEOUT = 0x0080
WDIOF_MAGICCLOSE = 0x0100
WDIOF_ALARMONLY = 0x0400

FEEDS_PER_TIMEOUT = 5
LEFT_ALONE_S = (600, 60)
"""How long a shutdown may take, if the device can do the first of them, else the second."""
ACCEPT_PAUSE_S = 0.5
NEVER_S = -math.inf


class Feeder:
    """The device: opened and set when somebody arms it, fed no further than it was told.

    ``timeout_s``: within which it resets the machine when it is not fed, and others may count on
    that; None: it is not armed. ``_held``: it is open all the same, and nobody counts on it.
    """

    def __init__(self, device: WatchdogDevice, clock: Clock) -> None:
        self._device, self._clock = device, clock
        self.timeout_s: int | None = None
        self.interval_s = 1.0
        self._held = False
        self._info = WatchdogInfo(options=0, identity="")
        self._deadline_s = NEVER_S
        self._failing = False

    @property
    def armed(self) -> bool:
        return self.timeout_s is not None

    @property
    def due(self) -> bool:
        """Whether a feed is allowed at this moment."""
        return self._held or (self.armed and self._clock.boottime_s() < self._deadline_s)

    def arm(self, timeout_s: int, until_s: float = NEVER_S) -> None:
        """Open and set it, or set another timeout if it is open. Raises: PortError.

        ``until_s``: how far it may be fed if this opens it; a deadline that was told stays.
        """
        if self.timeout_s is not None:
            self._change_timeout(self.timeout_s, timeout_s)
            return
        if not self._held:
            self._open()
        try:
            self._refuse_alarms()
            self.timeout_s = self._accepted(timeout_s)
        except PortError:
            self._let_go()
            raise
        self._held, self._deadline_s = False, until_s

    def feed_until(self, deadline_s: float) -> None:
        self._deadline_s = deadline_s

    def leave(self) -> None:
        """Before this process ends: disarm it, or have it wait, if it may be fed for ever."""
        if not self.armed or self._deadline_s < math.inf:
            return
        if self._can_be_disarmed and not self._device.no_way_out():
            self._close()
            self.timeout_s = None
            return
        for timeout_s in LEFT_ALONE_S:
            with contextlib.suppress(OSError):
                self._device.set_timeout(timeout_s)
                break

    def _change_timeout(self, before_s: int, timeout_s: int) -> None:
        """The one before stays in force until another is, and again if that is refused."""
        if timeout_s == before_s:
            return
        if self._deadline_s != NEVER_S and not self.due:
            # Drivers feed as they set a timeout, and nothing may be fed any more.
            raise PortError("the deadline is over: the timeout is not changed any more")
        try:
            self.timeout_s = self._accepted(timeout_s)
        except PortError:
            self.timeout_s = self._set(before_s)
            raise

    def _let_go(self) -> None:
        """Of a device that is not to be used, unless that would reset the machine later."""
        self._held = not self._can_be_disarmed or self._device.no_way_out()
        if not self._held:
            self._close()

    def _close(self) -> None:
        with contextlib.suppress(OSError):
            self._device.close(disarm=True)

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

    def _open(self) -> None:
        try:
            self._device.open()
        except OSError as error:
            raise PortError(f"cannot open the watchdog: {error}") from error
        try:
            self._info = self._device.info()
        except OSError as error:
            self._close()
            raise PortError(f"this is no watchdog: {error}") from error
        if not self._can_be_disarmed:
            log.warning("the watchdog (%s) cannot be disarmed", self._info.identity)

    @property
    def _can_be_disarmed(self) -> bool:
        return bool(self._info.options & WDIOF_MAGICCLOSE)

    def _refuse_alarms(self) -> None:
        if self._info.options & WDIOF_ALARMONLY:
            words = f"the watchdog ({self._info.identity}) only alarms, it does not reset"
            raise PortError(words)

    def _accepted(self, timeout_s: int) -> int:
        """The timeout that it has now. Refuse one with which it resets later than is counted on."""
        actual_s = self._set(timeout_s)
        if not 0 < actual_s <= timeout_s:
            words = f"the watchdog resets after {actual_s} s, not within {timeout_s} s"
            raise WatchdogTooSlow(words, self._least(timeout_s, actual_s))
        return actual_s

    def _set(self, timeout_s: int) -> int:
        """What it says that it has then."""
        try:
            self._device.set_timeout(timeout_s)
        except OSError as error:
            log.warning("the watchdog refuses %d s (%s); using what it has", timeout_s, error)
        try:
            actual_s = self._device.get_timeout()
        except OSError as error:
            raise PortError(f"the watchdog does not tell its timeout: {error}") from error
        self.interval_s = max(actual_s, 1) / FEEDS_PER_TIMEOUT
        return actual_s

    def _least(self, refused_s: int, actual_s: int) -> int | None:
        """The smallest timeout above the refused one that it takes; then it has the one before.

        Drivers do not tell it, and what they begin with may be far above it.
        """
        found_s = actual_s  # of a device whose timeout cannot be set
        for timeout_s in range(refused_s + 1, min(actual_s, MAX_WATCHDOG_S) + 1):
            with contextlib.suppress(OSError):
                self._device.set_timeout(timeout_s)
                found_s = self._device.get_timeout()
                break
        with contextlib.suppress(OSError):
            self._device.set_timeout(actual_s)
        return found_s if found_s > refused_s else None


@dataclass(frozen=True)
class Arm:
    """An order that is answered. ``until_s``: for who opens the device."""

    timeout_s: int
    until_s: float = NEVER_S


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

    def leave(self) -> None:
        """This process is asked to end. While an actuator is there, it may still start a guest."""
        self._hear()
        if self._actuator is None or self._actuator.ended:
            self._feeder.leave()

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
        least_s: int | None = None
        try:
            self._feeder.arm(order.timeout_s, order.until_s)
        except PortError as error:
            words = str(error)
            least_s = error.least_s if isinstance(error, WatchdogTooSlow) else None
        self._look.set()  # the next feed may be due much sooner now
        in_force = {"error": words, "timeout": self._feeder.timeout_s}
        answer = in_force if least_s is None else {**in_force, "least": least_s}
        actuator.send(json.dumps(answer).encode() + b"\n")


def _parse(line: bytes) -> Arm | FeedUntil:
    """Raises: ValueError."""
    match json.loads(line):
        case {"arm": int(timeout_s), "until": until}:
            return Arm(timeout_s, _deadline_s(until))
        case {"arm": int(timeout_s)}:
            return Arm(timeout_s)
        case {"feed_until": deadline}:
            return FeedUntil(_deadline_s(deadline))
        case other:
            raise ValueError(f"not an order: {other!r}")


def _deadline_s(said: object) -> float:
    """Raises: ValueError."""
    match said:
        case None:
            return math.inf
        case int(seconds) | float(seconds) if not math.isnan(seconds):
            return seconds
        case other:
            raise ValueError(f"not a deadline: {other!r}")
