"""Both hosts' ends of the way for a guest, on the loopback, with a daemon that only notes calls."""

import asyncio
import contextlib
import datetime
import ipaddress
import shutil
import socket
import tempfile
from collections.abc import AsyncIterator, Iterator
from dataclasses import dataclass, field
from pathlib import Path

from cryptography import x509
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.serialization import (
    Encoding,
    NoEncryption,
    PrivateFormat,
)
from cryptography.x509.oid import NameOID

from tandem_actuator.adapters.migration.gate import Gate
from tandem_actuator.adapters.migration.live import _Passage
from tandem_actuator.adapters.migration.rpc import REMOTE, REPLY, Expected, Frame
from tandem_actuator.adapters.migration.streams import LIBVIRT, QEMU, Ends, Tls, frame_from
from tandem_actuator.ports.migration import Destination

from .migration_frames import NAME, message

M, A, B = "m1", "a-1", "b-1"
SOON_S = 5.0


@contextlib.contextmanager
def short_folder() -> Iterator[Path]:
    """A socket's path has 108 bytes at most."""
    folder = Path(tempfile.mkdtemp(prefix="way"))
    try:
        yield folder
    finally:
        shutil.rmtree(folder, ignore_errors=True)


def free_port() -> int:
    with socket.socket() as one:
        one.bind(("127.0.0.1", 0))
        return int(one.getsockname()[1])


@dataclass
class Daemon:
    """At a socket: it answers each call, and notes what it was told and that a client has gone."""

    heard: list[Frame] = field(default_factory=list)
    connected: asyncio.Event = field(default_factory=asyncio.Event)
    gone: asyncio.Event = field(default_factory=asyncio.Event)
    says: list[bytes] = field(default_factory=list)

    async def serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.connected.set()
        try:
            while True:
                frame = await frame_from(reader)
                self.heard.append(frame)
                for raw in self.says:
                    writer.write(raw)
                if not frame.is_keepalive:
                    writer.write(message(frame.procedure, b"done", kind=REPLY, serial=frame.serial))
        except (OSError, asyncio.IncompleteReadError):
            return
        finally:
            writer.transport.abort()
            self.gone.set()


@dataclass
class Bench:
    """B's gate and its libvirtd, and A's end of the way."""

    folder: Path
    gate: Gate
    daemon: Daemon
    tls: Tls | None = None

    @property
    def qemu(self) -> Path:
        """Where B's QEMU is to listen."""
        return self.folder / M / QEMU

    def expect(self, differs: str = "", peer: str = A) -> None:
        expected = Expected(NAME, str(self.qemu), lambda sent: differs)
        self.gate.expect(M, peer, expected)

    @contextlib.asynccontextmanager
    async def way(
        self, name: str = NAME, migration: str = M, tls: Tls | None = None
    ) -> AsyncIterator[Path]:
        """A's two sockets."""
        here = self.folder / "source"
        passage = _Passage(
            name, migration, Destination(B, "127.0.0.1", self.gate.port), here, tls or self.tls
        )
        await passage.open()
        try:
            yield here
        finally:
            passage.close()

    async def client(self, here: Path, stream: str = LIBVIRT) -> Ends:
        return Ends(*await asyncio.open_unix_connection(here / stream))


@contextlib.asynccontextmanager
async def bench(tls: Tls | None = None, as_source: Tls | None = None) -> AsyncIterator[Bench]:
    with short_folder() as folder:
        libvirtd, daemon = folder / "libvirtd", Daemon()
        server = await asyncio.start_unix_server(daemon.serve, libvirtd)
        gate = Gate(free_port(), folder, libvirtd, tls)
        await gate.open()
        try:
            yield Bench(folder, gate, daemon, as_source)
        finally:
            await gate.close()
            server.close()


async def asked(ends: Ends, raw: bytes) -> Frame:
    """The answer."""
    ends.writer.write(raw)
    async with asyncio.timeout(SOON_S):
        return await frame_from(ends.reader)


async def ended(ends: Ends) -> bytes:
    """What came until it was closed by the other end."""
    try:
        async with asyncio.timeout(SOON_S):
            return await ends.reader.read()
    except ConnectionError:
        return b""


def is_reply(frame: Frame) -> bool:
    return (frame.program, frame.kind, frame.status) == (REMOTE, REPLY, 0)


# -- who is who


class Ca:
    """A certificate authority of the hosts."""

    def __init__(self) -> None:
        self._key = ec.generate_private_key(ec.SECP256R1())
        self.name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "migration")])
        self._own = self._signed(self.name, self._key.public_key(), ca=True)

    def folder(self, at: Path, host: str) -> Tls:
        """A host's, that holds its name."""
        at.mkdir(parents=True)
        key = ec.generate_private_key(ec.SECP256R1())
        subject = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, host)])
        certificate = self._signed(subject, key.public_key(), host=host)
        private = key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption())
        (at / "ca.crt").write_bytes(self._own.public_bytes(Encoding.PEM))
        (at / "host.crt").write_bytes(certificate.public_bytes(Encoding.PEM))
        (at / "host.key").write_bytes(private)
        return Tls(at)

    def _signed(
        self,
        subject: x509.Name,
        public: ec.EllipticCurvePublicKey,
        *,
        host: str = "",
        ca: bool = False,
    ) -> x509.Certificate:
        now = datetime.datetime.now(datetime.UTC)
        builder = (
            x509.CertificateBuilder()
            .subject_name(subject)
            .issuer_name(self.name)
            .public_key(public)
            .serial_number(x509.random_serial_number())
            .not_valid_before(now - datetime.timedelta(hours=1))
            .not_valid_after(now + datetime.timedelta(hours=1))
            .add_extension(x509.BasicConstraints(ca=ca, path_length=None), critical=True)
        )
        if host:
            names: list[x509.GeneralName] = [
                x509.DNSName(host),
                x509.IPAddress(ipaddress.ip_address("127.0.0.1")),
            ]
            builder = builder.add_extension(x509.SubjectAlternativeName(names), critical=False)
        return builder.sign(self._key, hashes.SHA256())
