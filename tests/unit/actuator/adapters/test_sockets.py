"""What is read of a kernel's answer about a socket. That one answers so is for a contract test."""

import struct

import pytest

from tandem_actuator.adapters.linux import sockets
from tandem_actuator.adapters.linux.sockets import INET_DIAG_INFO, INET_DIAG_SHUTDOWN, JIFFY_S

NOW_S = 1000.0
MSS = 1448


def message(
    *,
    queued: int = 0,
    unacked: int = 0,
    acked: int = 5000,
    quiet_ms: int = 0,
    shutdown: int | None = 0,
    info_bytes: int = 192,
    mss: int = MSS,
    advmss: int = MSS,
) -> memoryview:
    """``struct inet_diag_msg`` of an IPv4 socket, and its attributes."""
    ports = struct.pack(">HH", 7789, 40000)
    addresses = bytes([192, 0, 2, 1]).ljust(16, b"\0") + bytes([192, 0, 2, 2]).ljust(16, b"\0")
    numbers = struct.pack("=IQIIIII", 0, 77, 0, 0, queued, 0, 0)
    head = bytes([2, 1, 0, 0]) + ports + addresses + numbers
    info = bytearray(192)
    for offset, kind, value in (
        (16, "I", mss),
        (24, "I", unacked),
        (52, "I", quiet_ms),
        (84, "I", advmss),
        (120, "Q", acked),
    ):
        struct.pack_into(f"={kind}", info, offset, value)
    body = head + _attribute(INET_DIAG_INFO, bytes(info[:info_bytes]))
    if shutdown is not None:
        body += _attribute(INET_DIAG_SHUTDOWN, bytes([shutdown]))
    return memoryview(body)


def _attribute(kind: int, value: bytes) -> bytes:
    return struct.pack("=HH", 4 + len(value), kind) + value.ljust(-(-len(value) // 4) * 4, b"\0")


def test_a_socket_is_at_its_ports_with_its_peer() -> None:
    found = sockets._socket(message(), NOW_S)
    assert found is not None
    ports, one = found
    assert ports == (7789, 40000)
    assert (one.cookie, one.peer, one.receives) == (77, "192.0.2.2", True)


@pytest.mark.parametrize(
    ("queued", "unacked", "sent"),
    [
        (0, 0, 5000),
        (8, 1, 5008),
        (100_000, 3, 5000 + 3 * MSS),
        (100_000, 0, 5000),
    ],
)
def test_what_is_on_its_way_counts_as_sent(queued: int, unacked: int, sent: int) -> None:
    """Of what waits in the queue only so much as so many segments can hold."""
    found = sockets._socket(message(queued=queued, unacked=unacked), NOW_S)
    assert found is not None
    assert (found[1].arrived, found[1].sent) == (5000, sent)


def test_a_segment_may_be_as_large_as_the_interface_takes() -> None:
    """Some may have been sent before the path turned out to take less."""
    found = sockets._socket(message(queued=10**6, unacked=2, mss=1200, advmss=8948), NOW_S)
    assert found is not None
    assert found[1].sent == 5000 + 2 * 8948


def test_a_receipt_is_dated_by_ticks_and_no_earlier_than_it_was() -> None:
    found = sockets._socket(message(quiet_ms=2500), NOW_S)
    assert found is not None
    assert found[1].heard_at_s == NOW_S - 2.5 + JIFFY_S


@pytest.mark.parametrize(("shutdown", "receives"), [(0, True), (1, False), (2, True), (3, False)])
def test_one_that_is_closed_for_reading_receives_nothing(shutdown: int, receives: bool) -> None:
    found = sockets._socket(message(shutdown=shutdown), NOW_S)
    assert found is not None
    assert found[1].receives is receives


@pytest.mark.parametrize("raw", [message(info_bytes=104), message(shutdown=None)])
def test_one_of_which_the_kernel_tells_too_little_is_none(raw: memoryview) -> None:
    """Before Linux 4.1, or half gone."""
    assert sockets._socket(raw, NOW_S) is None
