"""The machine's watchdog through the kernel's watchdog device.

A thread of its own feeds it, so that nothing that blocks elsewhere can starve the machine, and
only up to a deadline that others keep moving, so that nothing that hangs can keep it alive. A
process that ends in any way but ``disarm`` leaves the watchdog armed: the machine is reset unless
an actuator opens the device again in time.

Called by ``assembly`` (arm, disarm) and ``loop`` (feed_until). The ioctls are those of
Documentation/watchdog/watchdog-api.rst.
"""

import contextlib
import fcntl
import logging
import os
import struct
import threading
from pathlib import Path

from tandem_actuator.ports import Clock, PortError

log = logging.getLogger(__name__)

# linux/watchdog.h: _IOC(direction, 'W', number, size)
WDIOC_GETSUPPORT = 0x80285700
WDIOC_KEEPALIVE = 0x80045705
WDIOC_SETTIMEOUT = 0xC0045706
WDIOC_GETTIMEOUT = 0x80045707
WDIOF_SETTIMEOUT = 0x0080
WDIOF_MAGICCLOSE = 0x0100
WDIOF_ALARMONLY = 0x0400
WATCHDOG_INFO = struct.Struct("II32s")  # options, firmware_version, identity
MAGIC_CLOSE = b"V"

FEEDS_PER_TIMEOUT = 5
NEVER_S = float("-inf")


class DeviceWatchdog:
    """The Watchdog port on a device such as ``/dev/watchdog0``."""

    def __init__(self, device: Path, clock: Clock) -> None:
        self.device = device
        self._clock = clock
        self._descriptor: int | None = None
        self._deadline_s = NEVER_S
        self._interval_s = 1.0
        self._wake = threading.Condition()
        self._thread: threading.Thread | None = None

    @property
    def armed(self) -> bool:
        return self._descriptor is not None

    def arm(self, timeout_s: int) -> None:
        """Arm it, or set another timeout if it is armed already."""
        if self._descriptor is not None:
            self._set_timeout(self._descriptor, timeout_s)
            return
        try:
            descriptor = os.open(self.device, os.O_WRONLY | os.O_CLOEXEC)
        except OSError as error:
            raise PortError(f"cannot open the watchdog {self.device}: {error}") from error
        try:
            self._refuse_useless(descriptor)
            self._set_timeout(descriptor, timeout_s)
        except PortError:
            _close(descriptor)
            raise
        self._descriptor, self._deadline_s = descriptor, NEVER_S
        self._thread = threading.Thread(target=self._feed, name="watchdog", daemon=True)
        self._thread.start()

    def feed_until(self, deadline_s: float) -> None:
        with self._wake:
            was_hungry = self._deadline_s <= self._clock.boottime_s()
            self._deadline_s = deadline_s
            if was_hungry:
                self._wake.notify()

    def disarm(self) -> None:
        with self._wake:
            descriptor, self._descriptor = self._descriptor, None
            self._wake.notify()
        if self._thread is not None:
            self._thread.join()
            self._thread = None
        if descriptor is not None:
            _close(descriptor)

    def _refuse_useless(self, descriptor: int) -> None:
        options, _, identity = WATCHDOG_INFO.unpack(
            self._ioctl(descriptor, WDIOC_GETSUPPORT, bytes(WATCHDOG_INFO.size))
        )
        name = identity.rstrip(b"\0").decode(errors="replace")
        if options & WDIOF_ALARMONLY:
            raise PortError(f"the watchdog {self.device} ({name}) only alarms, it does not reset")
        if not options & WDIOF_MAGICCLOSE:
            log.warning("the watchdog %s (%s) cannot be disarmed", self.device, name)

    def _set_timeout(self, descriptor: int, timeout_s: int) -> None:
        """Refuse a device that would reset later than others count on."""
        try:
            self._ioctl(descriptor, WDIOC_SETTIMEOUT, struct.pack("i", timeout_s))
        except PortError as error:
            log.warning("%s; using the timeout that it has", error)
        answer = self._ioctl(descriptor, WDIOC_GETTIMEOUT, struct.pack("i", 0))
        (actual_s,) = struct.unpack("i", answer)
        if not 0 < actual_s <= timeout_s:
            raise PortError(
                f"the watchdog {self.device} resets after {actual_s} s, not within {timeout_s} s"
            )
        self._interval_s = actual_s / FEEDS_PER_TIMEOUT

    def _ioctl(self, descriptor: int, request: int, argument: bytes) -> bytes:
        try:
            return fcntl.ioctl(descriptor, request, argument)
        except OSError as error:
            raise PortError(f"the watchdog {self.device} refused {request:#x}: {error}") from error

    def _feed(self) -> None:
        """The feeding thread. It looks at the deadline right before each feed.

        A machine that is suspended between the look and the feed is fed once more when it wakes:
        its reset, if due, comes one timeout after that.
        """
        while True:
            with self._wake:
                descriptor = self._descriptor
                if descriptor is None:
                    return
                due = self._clock.boottime_s() < self._deadline_s
            if due:
                self._feed_once(descriptor)
            with self._wake:
                if self._descriptor is not None:
                    self._wake.wait(self._interval_s)

    def _feed_once(self, descriptor: int) -> None:
        # Outside the lock: whoever moves the deadline must not wait for a slow device.
        try:
            fcntl.ioctl(descriptor, WDIOC_KEEPALIVE, struct.pack("i", 0))
        except OSError as error:
            log.error("the watchdog %s was not fed: %s", self.device, error)


class NoWatchdog:
    """The Watchdog port where none is to be used."""

    armed = False

    def arm(self, timeout_s: int) -> None:
        raise PortError("no watchdog is configured (setting watchdog_device)")

    def feed_until(self, deadline_s: float) -> None:
        """Nothing to feed."""

    def disarm(self) -> None:
        """Nothing to disarm."""


def _close(descriptor: int) -> None:
    with contextlib.suppress(OSError):
        os.write(descriptor, MAGIC_CLOSE)
    with contextlib.suppress(OSError):
        os.close(descriptor)
