"""Keeps the watchdog device open and fed in a small process of its own, up to a deadline.

A watchdog device that is closed stays armed, and a restart of the actuator takes longer than its
timeout: without this, every restart would reset the machine. So the device belongs to a process
that outlives the actuator. It feeds up to the last deadline that it was told, and not a moment
longer: an actuator that does not come back in time, or hangs, leaves the machine to the watchdog
exactly as the run predicate allows. With no guest here the deadline is infinite.

``KeptWatchdog`` is the Watchdog port for the actuator; it starts the keeper if there is none.
``python -m tandem_actuator.adapters.watchdog_keeper DEVICE SOCKET`` is the keeper. They talk JSON
lines over a Unix socket: ``{"arm": SECONDS}`` is answered by ``{"error": null or words}``,
``{"feed_until": SECONDS or null}`` (null: for ever) is not answered.
"""

import contextlib
import json
import logging
import math
import socket
import subprocess
import sys
import time
from pathlib import Path

from tandem_actuator.adapters.clock import SystemClock
from tandem_actuator.adapters.watchdog import DeviceWatchdog
from tandem_actuator.ports import PortError

log = logging.getLogger(__name__)

CALL_TIMEOUT_S = 1.0
START_TIMEOUT_S = 10.0
POLL_S = 0.05


class KeptWatchdog:
    """The Watchdog port through a keeper process."""

    def __init__(self, device: Path, socket_path: Path) -> None:
        self._device, self._socket_path = device, socket_path
        self._connection: socket.socket | None = None

    @property
    def armed(self) -> bool:
        """Whether a keeper that armed the device is there, as far as is known."""
        return self._connection is not None

    def arm(self, timeout_s: int) -> None:
        """Arm it, or set another timeout. Starts the keeper if there is none."""
        connection = self._connection or self._connect()
        try:
            connection.sendall(_line({"arm": timeout_s}))
            with connection.makefile("r") as answers:
                error = json.loads(answers.readline() or '{"error": "the keeper ended"}')["error"]
        except (OSError, ValueError, KeyError) as failure:
            self._drop()
            raise PortError(f"the watchdog's keeper does not answer: {failure}") from failure
        if error is not None:
            connection.close()
            self._connection = None
            raise PortError(error)
        self._connection = connection

    def feed_until(self, deadline_s: float) -> None:
        """Tell the deadline; a keeper that is gone makes this host unarmed, and is logged."""
        if self._connection is None:
            return
        try:
            told = None if math.isinf(deadline_s) else deadline_s
            self._connection.sendall(_line({"feed_until": told}))
        except OSError as error:
            log.critical("the watchdog's keeper is gone: %s", error)
            self._drop()

    def disarm(self) -> None:
        """The keeper goes on; only this connection ends."""
        self._drop()

    def _drop(self) -> None:
        if self._connection is not None:
            self._connection.close()
        self._connection = None

    def _connect(self) -> socket.socket:
        with contextlib.suppress(OSError):
            return self._try_connect()
        command = [sys.executable, "-m", __spec__.name, str(self._device), str(self._socket_path)]
        with contextlib.suppress(FileNotFoundError):
            self._socket_path.unlink()
        subprocess.Popen(command, stdin=subprocess.DEVNULL, start_new_session=True)
        deadline_s = time.monotonic() + START_TIMEOUT_S
        while time.monotonic() < deadline_s:
            with contextlib.suppress(OSError):
                return self._try_connect()
            time.sleep(POLL_S)
        raise PortError("the watchdog's keeper does not start")

    def _try_connect(self) -> socket.socket:
        connection = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
        connection.settimeout(CALL_TIMEOUT_S)
        try:
            connection.connect(str(self._socket_path))
        except OSError:
            connection.close()
            raise
        return connection


def _line(message: dict[str, object]) -> bytes:
    return json.dumps(message).encode() + b"\n"


def keep(watchdog: DeviceWatchdog, listener: socket.socket) -> None:
    """Serve one actuator after another, for ever."""
    while True:
        connection, _ = listener.accept()
        with connection, contextlib.suppress(OSError, ValueError):
            _serve(watchdog, connection)


def _serve(watchdog: DeviceWatchdog, connection: socket.socket) -> None:
    with connection.makefile("rw") as lines:
        for line in lines:
            answer = _obey(watchdog, json.loads(line))
            if answer is not None:
                lines.write(json.dumps(answer) + "\n")
                lines.flush()


def _obey(watchdog: DeviceWatchdog, message: dict[str, float | None]) -> dict[str, object] | None:
    if "arm" in message:
        try:
            watchdog.arm(int(message["arm"] or 0))
        except PortError as error:
            return {"error": str(error)}
        return {"error": None}
    until_s = message["feed_until"]
    watchdog.feed_until(math.inf if until_s is None else until_s)
    return None


def main() -> int:
    """The keeper's entry point."""
    device, socket_path = Path(sys.argv[1]), Path(sys.argv[2])
    listener = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
    listener.bind(str(socket_path))
    socket_path.chmod(0o600)
    listener.listen()
    keep(DeviceWatchdog(device, SystemClock()), listener)
    return 0


if __name__ == "__main__":
    sys.exit(main())
