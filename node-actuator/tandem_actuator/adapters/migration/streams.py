"""Both ends of the pipe: bytes from here to there, and what ends one end ends the other."""

import asyncio
import contextlib
import socket
import ssl
from dataclasses import dataclass
from pathlib import Path

from tandem_actuator.adapters.migration.rpc import LENGTH, Frame, length_of

CHUNK = 1 << 18
SILENT_MS = 4000
"""So long what was sent over a dead link may go unacknowledged."""
LIBVIRT, QEMU = "libvirt", "qemu"


@dataclass(frozen=True)
class Ends:
    """A connection."""

    reader: asyncio.StreamReader
    writer: asyncio.StreamWriter

    def close(self) -> None:
        with contextlib.suppress(Exception):
            self.writer.transport.abort()


@dataclass(frozen=True)
class Tls:
    """How the hosts know each other: a folder with ca.crt, host.crt and host.key.

    A certificate holds its host's name as a DNS name, and is good for both ends.
    """

    folder: Path

    def context(self, *, server: bool) -> ssl.SSLContext:
        """Raises: OSError, which names the file that is missing."""
        for name in ("ca.crt", "host.crt", "host.key"):
            (self.folder / name).open().close()
        purpose = ssl.Purpose.CLIENT_AUTH if server else ssl.Purpose.SERVER_AUTH
        context = ssl.create_default_context(purpose, cafile=str(self.folder / "ca.crt"))
        context.load_cert_chain(self.folder / "host.crt", self.folder / "host.key")
        context.minimum_version = ssl.TLSVersion.TLSv1_3
        context.verify_mode = ssl.CERT_REQUIRED
        return context


def peer_names(ends: Ends) -> frozenset[str]:
    """The names in the certificate of who has connected."""
    found = ends.writer.get_extra_info("peercert") or {}
    return frozenset(value for kind, value in found.get("subjectAltName", ()) if kind == "DNS")


def watch_over(writer: asyncio.StreamWriter) -> None:
    """A link that has died ends the connection, also while nothing is sent."""
    raw = writer.get_extra_info("socket")
    if raw is None or raw.family not in (socket.AF_INET, socket.AF_INET6):
        return
    raw.setsockopt(socket.SOL_SOCKET, socket.SO_KEEPALIVE, 1)
    for option, value in (
        (socket.TCP_KEEPIDLE, 1),
        (socket.TCP_KEEPINTVL, 1),
        (socket.TCP_KEEPCNT, 3),
        (socket.TCP_USER_TIMEOUT, SILENT_MS),
    ):
        raw.setsockopt(socket.IPPROTO_TCP, option, value)


async def pour(source: Ends, into: Ends) -> None:
    """Until it ends, then the other is told that nothing more comes."""
    while data := await source.reader.read(CHUNK):
        into.writer.write(data)
        await into.writer.drain()
    if into.writer.can_write_eof():
        into.writer.write_eof()


async def joined(one: Ends, other: Ends) -> None:
    """Both ways, until both have ended or one has failed."""
    try:
        await asyncio.gather(pour(one, other), pour(other, one))
    except OSError:
        pass
    finally:
        one.close()
        other.close()


async def frame_from(reader: asyncio.StreamReader) -> Frame:
    """Raises: Refused, IncompleteReadError, OSError."""
    prefix = await reader.readexactly(LENGTH.size)
    return Frame.parse(prefix + await reader.readexactly(length_of(prefix) - LENGTH.size))
