"""The Migrations port on the real parts: libvirt here, and the pipe to the other host's.

libvirt's library manages the migration from the source. The guest arrives paused; libvirt destroys
it here once all of it is there. Put in by ``assembly``.
"""

import asyncio
import contextlib
import logging
import shutil
from pathlib import Path

import libvirt

from tandem_actuator.adapters.libvirt.connection import (
    KEEPALIVE_COUNT,
    KEEPALIVE_INTERVAL_S,
    in_words,
    start_event_loop,
)
from tandem_actuator.adapters.migration.gate import Gate
from tandem_actuator.adapters.migration.rpc import DRIVER, Expected
from tandem_actuator.adapters.migration.streams import (
    LIBVIRT,
    QEMU,
    Ends,
    Tls,
    joined,
    watch_over,
)
from tandem_actuator.core.migration.arrival import refusal
from tandem_actuator.ports import CommandFailed
from tandem_actuator.ports.migration import Arrival, Destination

log = logging.getLogger(__name__)

CONNECT_S = 5.0
FLAGS = libvirt.VIR_MIGRATE_LIVE | libvirt.VIR_MIGRATE_PAUSED | libvirt.VIR_MIGRATE_AUTO_CONVERGE


class LiveMigrations:
    """One host's. ``folder``: for the sockets, the same path on every host."""

    def __init__(self, uri: str, gate: Gate, folder: Path, tls: Tls | None) -> None:
        self._uri, self._gate, self._folder, self._tls = uri, gate, folder, tls
        self._passages: dict[str, _Passage] = {}

    @property
    def port(self) -> int | None:
        return self._gate.port

    async def receive(self, arrival: Arrival) -> None:
        socket = str(self._folder / arrival.migration / QEMU)
        expected = Expected(arrival.name, socket, lambda sent: refusal(sent, arrival.xml))
        self._gate.expect(arrival.migration, arrival.peer, expected)

    async def stop_receiving(self, name: str) -> None:
        self._gate.forget(name)

    async def send(self, name: str, migration: str, to: Destination) -> None:
        folder = self._folder / migration
        passage = self._passages[name] = _Passage(name, migration, to, folder, self._tls)
        try:
            await passage.open()
            start_event_loop()
            await in_words(lambda: _migrate(self._uri, name, folder))
        except OSError as error:
            raise CommandFailed(f"cannot open the way to {to.peer}: {error}") from error
        finally:
            passage.close()
            if self._passages.get(name) is passage:
                del self._passages[name]

    async def stop_sending(self, name: str) -> None:
        """libvirt is not asked: its answer may be what is waited for."""
        if name in self._passages:
            self._passages[name].close()


class _Passage:
    """At the source: two sockets, and each connection to one is a stream to the target."""

    def __init__(
        self, name: str, migration: str, to: Destination, folder: Path, tls: Tls | None
    ) -> None:
        self._greeting = f"{name} {migration}\n"
        self._to, self._folder, self._tls = to, folder, tls
        self._servers: list[asyncio.Server] = []
        self._streams: set[asyncio.Task[None]] = set()

    async def open(self) -> None:
        """Raises: OSError."""
        self._folder.mkdir(mode=0o700, parents=True, exist_ok=True)
        for stream in (LIBVIRT, QEMU):
            path = self._folder / stream
            path.unlink(missing_ok=True)

            async def serve(
                reader: asyncio.StreamReader, writer: asyncio.StreamWriter, stream: str = stream
            ) -> None:
                await self._carry(stream, Ends(reader, writer))

            self._servers.append(await asyncio.start_unix_server(serve, path))
            path.chmod(0o600)

    def close(self) -> None:
        for server in self._servers:
            server.close()
        for stream in self._streams:
            stream.cancel()
        shutil.rmtree(self._folder, ignore_errors=True)

    async def _carry(self, stream: str, inner: Ends) -> None:
        task = asyncio.current_task()
        assert task is not None
        self._streams.add(task)
        try:
            outer = await self._connected()
            outer.writer.write(f"{stream} {self._greeting}".encode())
            await joined(inner, outer)
        except (OSError, TimeoutError) as error:
            log.warning("no way to %s: %s", self._to.peer, error or "it does not answer")
        finally:
            inner.close()
            self._streams.discard(task)

    async def _connected(self) -> Ends:
        context = self._tls.context(server=False) if self._tls else None
        name = self._to.peer if context else None
        async with asyncio.timeout(CONNECT_S):
            reader, writer = await asyncio.open_connection(
                self._to.address, self._to.port, ssl=context, server_hostname=name
            )
        watch_over(writer)
        return Ends(reader, writer)


def _migrate(uri: str, name: str, folder: Path) -> None:
    here = libvirt.open(uri)
    there = libvirt.open(_through(folder / LIBVIRT))
    there.setKeepAlive(KEEPALIVE_INTERVAL_S, KEEPALIVE_COUNT)
    parameters = {libvirt.VIR_MIGRATE_PARAM_URI: f"unix://{folder / QEMU}"}
    arrived = here.lookupByName(name).migrate3(there, parameters, FLAGS)
    del arrived  # it would keep the connection open
    for connection in (there, here):
        with contextlib.suppress(libvirt.libvirtError):
            connection.close()


def _through(socket: Path) -> str:
    driver, _, rest = DRIVER.decode().partition(":")
    return f"{driver}+unix:{rest}?socket={socket}"
