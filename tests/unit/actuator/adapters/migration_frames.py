"""Messages as libvirt's library sends them to a target, made by hand from its protocol's files."""

import struct

from tandem_actuator.adapters.migration.rpc import (
    CALL,
    DRIVER,
    FINISH,
    HEADER,
    KEEPALIVE,
    LENGTH,
    LIVE,
    OPEN,
    PAUSED,
    PREPARE,
    REMOTE,
    Expected,
)

NAME, SOCKET = "ns.g", "/run/tandem/migration/m1/qemu"
EXPECTED = Expected(NAME, SOCKET, lambda sent: "" if sent == "<domain/>" else "another guest")
Value = int | str


def message(
    procedure: int,
    payload: bytes = b"",
    *,
    program: int = REMOTE,
    version: int = 1,
    kind: int = CALL,
    serial: int = 7,
    status: int = 0,
) -> bytes:
    head = HEADER.pack(program, version, procedure, kind, serial, status)
    return LENGTH.pack(LENGTH.size + len(head) + len(payload)) + head + payload


def text(words: str) -> bytes:
    data = words.encode()
    return LENGTH.pack(len(data)) + data + b"\0" * (-len(data) % 4)


def parameter(name: str, value: Value, kind: int | None = None) -> bytes:
    """A virTypedParameter: text, or a number of 64 bits unless another type is given."""
    if isinstance(value, str):
        return text(name) + LENGTH.pack(kind or 7) + text(value)
    wide = kind in (None, 3, 4, 5)
    return text(name) + LENGTH.pack(kind or 4) + struct.pack(">Q" if wide else ">I", value)


def parameters(*encoded: bytes) -> bytes:
    return LENGTH.pack(len(encoded)) + b"".join(encoded)


def prepare(*more: bytes, flags: int = LIVE | PAUSED, **changes: str | None) -> bytes:
    """As for the guest that is expected; ``changes``: other values, or None for none at all."""
    told: dict[str, str | None] = {
        "destination_xml": "<domain/>",
        "migrate_uri": f"unix://{SOCKET}",
        **changes,
    }
    encoded = [parameter(name, value) for name, value in told.items() if value is not None]
    cookie = text("cookie")
    return message(PREPARE, parameters(*encoded, *more) + cookie + LENGTH.pack(flags))


def finish(name: str = NAME, flags: int = LIVE | PAUSED, cancelled: int = 0) -> bytes:
    told = parameters(parameter("destination_name", name))
    return message(FINISH, told + text("") + LENGTH.pack(flags) + LENGTH.pack(cancelled))


def opening(driver: bytes | None = DRIVER) -> bytes:
    if driver is None:
        return message(OPEN, LENGTH.pack(0) + LENGTH.pack(0))
    return message(OPEN, LENGTH.pack(1) + text(driver.decode()) + LENGTH.pack(0))


def keepalive(procedure: int = 1) -> bytes:
    return message(procedure, program=KEEPALIVE, kind=2, serial=0)
