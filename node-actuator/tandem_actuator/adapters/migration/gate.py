"""Where a host takes guests in: one TCP port, for nothing but the migrations that are expected.

Who connects says which guest, which migration and which of the two streams. A certificate must name
the host that the guest is expected from. What is not expected hears nothing.
"""

import asyncio
import contextlib
import logging
import os
import pwd
import shutil
from dataclasses import dataclass, field
from pathlib import Path

from tandem_actuator.adapters.migration.rpc import (
    CALL,
    REMOTE,
    REPLY,
    Expected,
    Refused,
    check,
    refusing,
)
from tandem_actuator.adapters.migration.streams import (
    LIBVIRT,
    QEMU,
    Ends,
    Tls,
    frame_from,
    joined,
    peer_names,
    watch_over,
)
from tandem_actuator.ports import PortError

log = logging.getLogger(__name__)

CUT_SHORT = (asyncio.IncompleteReadError, asyncio.LimitOverrunError)
GREETING_S = 5.0
QEMU_USERS = ("libvirt-qemu", "qemu")
"""By which name a distribution lets QEMU run. It makes its socket itself."""


@dataclass(eq=False)
class Awaited:
    """One migration that may come. ``peer``: the host it comes from."""

    migration: str
    peer: str
    expected: Expected
    streams: set[asyncio.Task[None]] = field(default_factory=set)


class Gate:
    """``folder``: where the streams' sockets are; ``libvirtd``: its own socket."""

    def __init__(self, port: int, folder: Path, libvirtd: Path, tls: Tls | None) -> None:
        self.port, self._folder, self._libvirtd, self._tls = port, folder, libvirtd, tls
        self._awaited: dict[str, Awaited] = {}
        self._server: asyncio.Server | None = None

    async def open(self) -> None:
        """Raises: PortError."""
        try:
            context = self._tls.context(server=True) if self._tls else None
            self._server = await asyncio.start_server(self._serve, None, self.port, ssl=context)
        except OSError as error:
            raise PortError(f"guests cannot be taken in at port {self.port}: {error}") from error

    async def close(self) -> None:
        if self._server is not None:
            self._server.close()
        for name in list(self._awaited):
            self.forget(name)

    def expect(self, migration: str, peer: str, expected: Expected) -> None:
        """Raises: PortError."""
        self.forget(expected.name)
        make_socket_folder(Path(expected.socket).parent)
        self._awaited[expected.name] = Awaited(migration, peer, expected)

    def forget(self, name: str) -> None:
        """What is under way of it ends."""
        known = self._awaited.pop(name, None)
        if known is not None:
            for stream in known.streams:
                stream.cancel()
            shutil.rmtree(Path(known.expected.socket).parent, ignore_errors=True)

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        ends = Ends(reader, writer)
        watch_over(writer)
        try:
            async with asyncio.timeout(GREETING_S):
                line = await reader.readuntil(b"\n")
            awaited, stream = self._known(line.decode(), ends)
            task = asyncio.current_task()
            assert task is not None
            awaited.streams.add(task)
            try:
                await self._carry(stream, awaited, ends)
            finally:
                awaited.streams.discard(task)
        except (Refused, OSError, ValueError, *CUT_SHORT) as error:
            log.warning("a guest was not let in: %s", str(error) or type(error).__name__)
        finally:
            ends.close()

    def _known(self, line: str, ends: Ends) -> tuple[Awaited, str]:
        """Raises: Refused."""
        stream, name, migration = line.split()
        awaited = self._awaited.get(name)
        if awaited is None or awaited.migration != migration or stream not in (LIBVIRT, QEMU):
            raise Refused(f"{name} is not expected")
        names = peer_names(ends)
        if self._tls is not None and awaited.peer not in names:
            who = ", ".join(sorted(names)) or "nobody"
            raise Refused(f"{name} is expected from {awaited.peer}; the certificate names {who}")
        return awaited, stream

    async def _carry(self, stream: str, awaited: Awaited, ends: Ends) -> None:
        path = awaited.expected.socket if stream == QEMU else str(self._libvirtd)
        inner = Ends(*await asyncio.open_unix_connection(path))
        if stream == QEMU:
            await joined(ends, inner)
            return
        calls, answers = _calls(ends, inner, awaited.expected), _answers(inner, ends)
        ways = [asyncio.ensure_future(way) for way in (calls, answers)]
        try:
            # Who has lost its client is told at once: a half that nobody asks for is removed.
            done, _ = await asyncio.wait(ways, return_when=asyncio.FIRST_COMPLETED)
            for way in done:
                error = way.exception()
                if isinstance(error, Refused):
                    raise error
        finally:
            for way in ways:
                way.cancel()
            inner.close()


async def _calls(client: Ends, daemon: Ends, expected: Expected) -> None:
    while True:
        frame = await frame_from(client.reader)
        if not frame.is_keepalive:
            try:
                check(frame, expected)
            except Refused as error:
                if frame.program != REMOTE or frame.kind != CALL:
                    raise
                log.error("%s: refused to its sender: %s", expected.name, error)
                client.writer.write(refusing(frame, f"the target's Tandem: {error}"))
                continue
        daemon.writer.write(frame.raw)
        await daemon.writer.drain()


async def _answers(daemon: Ends, client: Ends) -> None:
    """Events are not the source's business."""
    while True:
        frame = await frame_from(daemon.reader)
        if frame.is_keepalive or (frame.program == REMOTE and frame.kind == REPLY):
            client.writer.write(frame.raw)
            await client.writer.drain()


def make_socket_folder(folder: Path) -> None:
    """For QEMU's user alone, who makes the socket in it. Raises: PortError."""
    try:
        folder.parent.mkdir(mode=0o711, parents=True, exist_ok=True)
        folder.mkdir(mode=0o700, exist_ok=True)
        for user in QEMU_USERS:
            with contextlib.suppress(KeyError):
                os.chown(folder, pwd.getpwnam(user).pw_uid, -1)
                return
    except OSError as error:
        raise PortError(f"cannot make {folder}: {error}") from error
