"""TCP sockets of this host, by port, from the kernel's sock_diag(7).

One dump for each family, of all of them: the kernel walks its table once, however many are asked
for. Their numbers are ``struct tcp_info`` and ``struct inet_diag_msg`` of linux/tcp.h and
linux/inet_diag.h. A general netlink library takes half a millisecond for each socket, ten times a
second for hundreds of mirrors; so these few fields are read here.
"""

import socket
import struct
from collections.abc import Iterator, Mapping

from tandem_actuator.core.sockets import Socket
from tandem_actuator.ports import Clock

ANSWER_TIMEOUT_S = 0.5
JIFFY_S = 0.01
"""The longest tick of a kernel's clock: receipts are dated by ticks."""

SOCK_DIAG_BY_FAMILY, NLMSG_ERROR, NLMSG_DONE = 20, 2, 3
NLM_F_REQUEST, NLM_F_DUMP = 0x1, 0x300
NETLINK_SOCK_DIAG = 4
INET_DIAG_INFO, INET_DIAG_SHUTDOWN = 2, 8
RCV_SHUTDOWN = 1
# ESTABLISHED, FIN_WAIT1, FIN_WAIT2, CLOSE_WAIT, LAST_ACK, CLOSING: those that have had a peer.
STATES = sum(1 << state for state in (1, 4, 5, 8, 9, 11))
FAMILIES = ((socket.AF_INET, 4), (socket.AF_INET6, 16))

_HEADER = struct.Struct("=IHHII")
_REQUEST = struct.Struct("=BBBBI48x")
_MESSAGE = struct.Struct("=BBBBHH16s16sIQIIIII")
_ATTRIBUTE = struct.Struct("=HH")
_INFO = {
    name: struct.Struct(f"={offset}x{kind}")
    for name, offset, kind in (
        ("snd_mss", 16, "I"),
        ("unacked", 24, "I"),
        ("last_data_recv", 52, "I"),
        ("advmss", 84, "I"),
        ("bytes_acked", 120, "Q"),
    )
}
_LEAST_INFO = 128


class LinuxSockets:
    """The kernel's TCP sockets."""

    def __init__(self, clock: Clock) -> None:
        self._clock = clock

    def by_port(self) -> Mapping[int, tuple[Socket, ...]]:
        """Those of each port, at whichever end it is. Blocks for a moment.

        Raises:
            OSError: the kernel did not tell; it has no ``tcp_diag``, or is older than 4.1.
        """
        found: dict[int, tuple[Socket, ...]] = {}
        for ports, one in self._all():
            for port in set(ports):
                found[port] = (*found.get(port, ()), one)
        return found

    def _all(self) -> Iterator[tuple[tuple[int, int], Socket]]:
        kind = socket.SOCK_RAW | socket.SOCK_CLOEXEC
        with socket.socket(socket.AF_NETLINK, kind, NETLINK_SOCK_DIAG) as channel:
            channel.settimeout(ANSWER_TIMEOUT_S)
            for family, _ in FAMILIES:
                yield from self._of_family(channel, family)

    def _of_family(
        self, channel: socket.socket, family: int
    ) -> Iterator[tuple[tuple[int, int], Socket]]:
        request = _REQUEST.pack(family, socket.IPPROTO_TCP, 1 << (INET_DIAG_INFO - 1), 0, STATES)
        size, flags = _HEADER.size + len(request), NLM_F_REQUEST | NLM_F_DUMP
        channel.send(_HEADER.pack(size, SOCK_DIAG_BY_FAMILY, flags, family, 0) + request)
        while True:
            answer = channel.recv(1 << 17)
            # Read after the kernel has dated what it tells, so no receipt is dated too early.
            now_s = self._clock.boottime_s()
            for kind, body in _messages(answer):
                if kind == NLMSG_DONE:
                    return
                if kind == NLMSG_ERROR:
                    raise OSError(-struct.unpack_from("=i", body)[0], "sock_diag refused")
                one = _socket(body, now_s)
                if one is not None:
                    yield one


def _messages(answer: bytes) -> Iterator[tuple[int, memoryview]]:
    whole, at = memoryview(answer), 0
    while at + _HEADER.size <= len(whole):
        size, kind, *_ = _HEADER.unpack_from(whole, at)
        yield kind, whole[at + _HEADER.size : at + size]
        at += (size + 3) & ~3


def _attributes(body: memoryview) -> Mapping[int, memoryview]:
    found: dict[int, memoryview] = {}
    at = _MESSAGE.size
    while at + _ATTRIBUTE.size <= len(body):
        size, kind = _ATTRIBUTE.unpack_from(body, at)
        found[kind] = body[at + _ATTRIBUTE.size : at + size]
        at += (size + 3) & ~3
    return found


def _socket(body: memoryview, now_s: float) -> tuple[tuple[int, int], Socket] | None:
    """None: the kernel tells nothing of it but that it was there."""
    family, _, _, _, sport, dport, _, dst, _, cookie, *counts = _MESSAGE.unpack_from(body)
    queued = counts[2]
    attributes = _attributes(body)
    info = attributes.get(INET_DIAG_INFO, memoryview(b""))
    shutdown = attributes.get(INET_DIAG_SHUTDOWN, memoryview(b""))
    if len(info) < _LEAST_INFO or not shutdown:
        return None
    of = {name: field.unpack_from(info)[0] for name, field in _INFO.items()}
    # What is queued was read first, so it is no less than what was unsent or under way then. Of
    # what waits in the queue only so much has been sent as can be in so many segments.
    on_its_way = min(queued, of["unacked"] * max(of["snd_mss"], of["advmss"]))
    size = dict(FAMILIES)[socket.AddressFamily(family)]
    one = Socket(
        cookie=cookie,
        peer=socket.inet_ntop(family, dst[:size]),
        receives=not shutdown[0] & RCV_SHUTDOWN,
        arrived=of["bytes_acked"],
        sent=of["bytes_acked"] + on_its_way,
        heard_at_s=now_s - of["last_data_recv"] / 1000 + JIFFY_S,
    )
    return (socket.ntohs(sport), socket.ntohs(dport)), one
