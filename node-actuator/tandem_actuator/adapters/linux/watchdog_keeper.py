"""The watchdog's keeper as a process, and the Unix socket between it and the actuator.

``python -m tandem_actuator.adapters.linux.watchdog_keeper DEVICE SOCKET`` is the keeper. What it
does is in ``tandem_actuator.run.keeper``, what the actuator says to it in
``tandem_actuator.run.watchdog``; here are system calls only. Called by ``assembly``.
"""

import asyncio
import contextlib
import signal
import socket
import subprocess
import sys
from pathlib import Path

from tandem_actuator.adapters.linux.clock import SystemClock
from tandem_actuator.adapters.linux.memory import lock_memory
from tandem_actuator.adapters.linux.watchdog import Device
from tandem_actuator.run.keeper import Keeper
from tandem_base import logs
from tandem_base.logs import Format, Level

CHUNK_BYTES = 65536


class UnixStream:
    """The Stream port on a connected socket."""

    def __init__(self, connection: socket.socket) -> None:
        connection.setblocking(False)
        self._connection = connection
        self._came: asyncio.Future[None] | None = None

    def send(self, data: bytes) -> int:
        return self._connection.send(data)

    def receive(self) -> bytes:
        return self._connection.recv(CHUNK_BYTES)

    async def readable(self) -> None:
        if self._connection.fileno() < 0:
            return
        loop = asyncio.get_running_loop()
        self._came = came = loop.create_future()
        loop.add_reader(self._connection, self._settle)
        try:
            await came
        finally:
            self._settle()

    def close(self) -> None:
        self._settle()  # before its number can belong to another file
        self._connection.close()

    def _settle(self) -> None:
        """Whoever waits goes on, and the event loop looks at this socket no more."""
        came, self._came = self._came, None
        if came is not None:
            came.get_loop().remove_reader(self._connection)
            if not came.done():
                came.set_result(None)


class UnixListener:
    """The StreamListener port: only root connects."""

    def __init__(self, path: Path) -> None:
        self._listener = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
        self._listener.setblocking(False)
        self._listener.bind(str(path))
        path.chmod(0o600)
        self._listener.listen()

    async def accept(self) -> UnixStream:
        connection, _ = await asyncio.get_running_loop().sock_accept(self._listener)
        return UnixStream(connection)

    def close(self) -> None:
        self._listener.close()


class UnixKeeper:
    """The KeeperProcess port."""

    def __init__(
        self, device: Path, socket_path: Path, level: Level = Level.INFO, form: Format = Format.TEXT
    ) -> None:
        """``level``, ``form``: what a keeper that is started logs, and how."""
        self._device, self._socket_path = device, socket_path
        self._logs = (level.value, form.value)
        self.process: subprocess.Popen[bytes] | None = None

    async def connect(self) -> UnixStream:
        connection = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
        try:
            connection.setblocking(False)
            connection.connect(str(self._socket_path))
        except OSError:
            connection.close()
            raise
        return UnixStream(connection)

    async def start(self) -> None:
        await asyncio.to_thread(self._start)

    def _start(self) -> None:
        """What an earlier one left at the path is replaced: nobody listens there."""
        places = (str(self._device), str(self._socket_path))
        command = [sys.executable, "-m", __spec__.name, *places, *self._logs]
        with contextlib.suppress(FileNotFoundError):
            self._socket_path.unlink()
        self.process = subprocess.Popen(command, stdin=subprocess.DEVNULL, start_new_session=True)


def main() -> int:
    """The keeper's entry point."""
    path, socket_path, level, form = sys.argv[1:]
    logs.begin(Level(level), Format(form))
    lock_memory()
    device, listener = Device(Path(path)), UnixListener(Path(socket_path))
    asyncio.run(_until_asked(Keeper(device, listener, SystemClock())))
    return 0


async def _until_asked(keeper: Keeper) -> None:
    """Until SIGTERM, as every process gets it when the machine is shut down."""
    keeping = asyncio.create_task(keeper.run())

    def end() -> None:
        keeper.leave()
        keeping.cancel()

    asyncio.get_running_loop().add_signal_handler(signal.SIGTERM, end)
    with contextlib.suppress(asyncio.CancelledError):
        await keeping


if __name__ == "__main__":
    sys.exit(main())
