"""Tells systemd that this run is ready and that it lives: sd_notify(3), without its library.

Called by ``assembly``. The address and the pace are in the environment; they are taken out of it,
so that nothing that the actuator starts speaks in its name.
"""

import logging
import math
import os
import socket
from collections.abc import MutableMapping

from tandem_actuator.ports import Clock
from tandem_actuator.ports.supervisor import Supervisor, Unsupervised

log = logging.getLogger(__name__)

SIGNS_PER_LIMIT = 4
"""sd_watchdog_enabled(3) asks for two: one of them may be late."""
MICROSECONDS = 1e6


class Systemd:
    """The Supervisor port on systemd's socket. Nothing here waits.

    ``interval_s``: between two signs of life; infinite where nobody counts them.
    """

    def __init__(self, address: str, interval_s: float, clock: Clock) -> None:
        # One that begins with @ is in the abstract namespace (unix(7)).
        self._address = "\0" + address[1:] if address.startswith("@") else address
        self._interval_s, self._clock = interval_s, clock
        self._socket = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM | socket.SOCK_CLOEXEC)
        self._socket.setblocking(False)
        self._told_ready = self._failing = False
        self._next_s = -math.inf

    def ready(self) -> None:
        if not self._told_ready:
            self._told_ready = self._tell(b"READY=1")

    def alive(self) -> None:
        now_s = self._clock.boottime_s()
        if now_s >= self._next_s and self._interval_s < math.inf and self._tell(b"WATCHDOG=1"):
            self._next_s = now_s + self._interval_s

    def _tell(self, words: bytes) -> bool:
        try:
            self._socket.sendto(words, self._address)
        except OSError as error:
            if not self._failing:
                log.warning("systemd is not told %s: %s", words.decode(), error)
            self._failing = True
            return False
        self._failing = False
        return True


def supervisor(environment: MutableMapping[str, str], clock: Clock) -> Supervisor:
    """Who is to be told. ``WATCHDOG_USEC`` counts for the process of ``WATCHDOG_PID`` alone."""
    address = environment.pop("NOTIFY_SOCKET", "")
    limit_us, of = (environment.pop(name, "") for name in ("WATCHDOG_USEC", "WATCHDOG_PID"))
    if not address.startswith(("/", "@")):
        return Unsupervised()
    counts = limit_us.isdecimal() and int(limit_us) > 0 and of in ("", str(os.getpid()))
    limit_s = int(limit_us) / MICROSECONDS if counts else math.inf
    return Systemd(address, limit_s / SIGNS_PER_LIMIT, clock)
