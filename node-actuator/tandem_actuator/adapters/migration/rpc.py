"""libvirt's RPC, as far as a migration needs it at the target; everything else is refused.

A frame is a 4-byte length, which counts itself, six big-endian numbers of 32 bits (program,
version, procedure, type, serial, status), and XDR. The numbers are those of libvirt's
src/remote/remote_protocol.x and src/rpc/virnetprotocol.x, which never change.
"""

import struct
from collections.abc import Callable
from dataclasses import dataclass
from typing import Final

HEADER: Final = struct.Struct(">6I")
LENGTH: Final = struct.Struct(">I")
FRAME_MAX: Final = 33554432 + 4
REMOTE, KEEPALIVE = 0x20008086, 0x6B656570
CALL, REPLY, EVENT = 0, 1, 2
ERROR = 1
ACCESS_DENIED, FROM_RPC, LEVEL_ERROR = 88, 7, 2

OPEN, CLOSE, SUPPORTS_FEATURE, AUTH_LIST, GET_URI = 1, 2, 60, 66, 110
REGISTER_CLOSE, UNREGISTER_CLOSE = 360, 361
PREPARE, FINISH = 303, 306
HARMLESS: Final = frozenset(
    {CLOSE, SUPPORTS_FEATURE, AUTH_LIST, GET_URI, REGISTER_CLOSE, UNREGISTER_CLOSE}
)
LIVE, PAUSED, AUTO_CONVERGE = 1, 32, 8192
PARAMETERS: Final = frozenset(
    {"destination_xml", "destination_name", "migrate_uri", "bandwidth"}
    | {"auto_converge.initial", "auto_converge.increment"}
)
DRIVER: Final = b"qemu:///system"


class Refused(Exception):
    """It is not for this migration; in words."""


@dataclass(frozen=True)
class Frame:
    """One message. ``raw``: with its length."""

    program: int
    version: int
    procedure: int
    kind: int
    serial: int
    status: int
    payload: bytes
    raw: bytes

    @classmethod
    def parse(cls, raw: bytes) -> "Frame":
        program, version, procedure, kind, serial, status = HEADER.unpack_from(raw, LENGTH.size)
        payload = raw[LENGTH.size + HEADER.size :]
        return cls(program, version, procedure, kind, serial, status, payload, raw)

    @property
    def is_keepalive(self) -> bool:
        known = self.version == 1 and self.procedure in (1, 2) and self.kind == EVENT
        return self.program == KEEPALIVE and known and not self.payload


def length_of(prefix: bytes) -> int:
    """How long the frame is that begins so. Raises: Refused."""
    (length,) = LENGTH.unpack(prefix)
    if not LENGTH.size + HEADER.size <= length <= FRAME_MAX:
        raise Refused(f"a frame of {length} bytes")
    return int(length)


@dataclass(frozen=True)
class Expected:
    """The one migration. ``socket``: where QEMU is to listen. ``differs``: of the description that
    is sent, why it is not the guest's; empty if it is.
    """

    name: str
    socket: str
    differs: Callable[[str], str]


def check(frame: Frame, expected: Expected) -> None:
    """Raises: Refused."""
    try:
        _check(frame, expected)
    except (struct.error, UnicodeDecodeError) as error:
        raise Refused(f"it cannot be read: {error}") from error


def _check(frame: Frame, expected: Expected) -> None:
    if (frame.program, frame.version, frame.kind, frame.status) != (REMOTE, 1, CALL, 0):
        raise Refused("no call of libvirt's")
    if frame.procedure in HARMLESS:
        return
    found = _Xdr(frame.payload)
    if frame.procedure == OPEN:
        name = found.opaque() if found.number() else b""
        if name != DRIVER:
            raise Refused(f"another driver: {name!r}")
    elif frame.procedure == PREPARE:
        parameters = found.parameters()
        found.opaque()
        _check_flags(parameters, found.number())
        if parameters.get("migrate_uri") != f"unix://{expected.socket}":
            raise Refused(f"QEMU is to listen at {parameters.get('migrate_uri')}")
        called = parameters.get("destination_name", expected.name)
        if called != expected.name:
            raise Refused(f"it is to be called {called}")
        differs = expected.differs(str(parameters.get("destination_xml", "")))
        if differs:
            raise Refused(differs)
    elif frame.procedure == FINISH:
        parameters = found.parameters()
        found.opaque()
        _check_flags(parameters, found.number())
        if parameters.get("destination_name") != expected.name:
            raise Refused(f"{parameters.get('destination_name')} is not {expected.name}")
    else:
        raise Refused(f"procedure {frame.procedure} is not for a migration")


def _check_flags(parameters: dict[str, int | str], flags: int) -> None:
    """Its processors begin when the actuator says so, and by nobody else's word."""
    if not flags & PAUSED or flags & ~(LIVE | PAUSED | AUTO_CONVERGE):
        raise Refused(f"flags {flags:#x}")
    unknown = sorted(parameters.keys() - PARAMETERS)
    if unknown:
        raise Refused(f"parameters {', '.join(unknown)}")


class _Xdr:
    """RFC 4506, as far as it is needed."""

    INTEGERS, LONGS, TEXT = (1, 2, 6), (3, 4, 5), 7

    def __init__(self, data: bytes) -> None:
        self._data, self._at = data, 0

    def number(self) -> int:
        (value,) = struct.unpack_from(">I", self._data, self._at)
        self._at += 4
        return int(value)

    def opaque(self) -> bytes:
        length = self.number()
        value = self._data[self._at : self._at + length]
        if len(value) != length:
            raise Refused("it is cut short")
        self._at += length + -length % 4
        return value

    def parameters(self) -> dict[str, int | str]:
        """virTypedParameters. Raises: Refused."""
        found: dict[str, int | str] = {}
        for _ in range(self.number()):
            name, kind = self.opaque().decode(), self.number()
            if name in found:
                raise Refused(f"parameter {name} twice")
            if kind in self.INTEGERS:
                found[name] = self.number()
            elif kind in self.LONGS:
                found[name] = (self.number() << 32) | self.number()
            elif kind == self.TEXT:
                found[name] = self.opaque().decode()
            else:
                raise Refused(f"parameter {name} of type {kind}")
        return found


def refusing(frame: Frame, words: str) -> bytes:
    """The answer that the caller's libvirt raises as an error, with these words."""
    some, none = LENGTH.pack(1), LENGTH.pack(0)
    body = b"".join(
        (
            struct.pack(">II", ACCESS_DENIED, FROM_RPC),
            *(some, _text(words), LENGTH.pack(LEVEL_ERROR), none),
            *(some, _text("%s"), some, _text(words), none, struct.pack(">ii", 0, 0), none),
        )
    )
    head = HEADER.pack(frame.program, frame.version, frame.procedure, REPLY, frame.serial, ERROR)
    return LENGTH.pack(LENGTH.size + len(head) + len(body)) + head + body


def _text(words: str) -> bytes:
    data = words.encode()
    return LENGTH.pack(len(data)) + data + b"\0" * (-len(data) % 4)
