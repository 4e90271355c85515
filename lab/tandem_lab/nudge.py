"""Keeps site hosts from sleeping through a frame.

The tun driver of the machine's kernel signals a user-mode Linux that a frame is there just
before it says so to epoll. If the host looks in between, on another processor, it sees nothing
and sleeps on; the frame lies there until the next one arrives. Seen as one replicated write in
a hundred that took 200 ms, the time until TCP sent it again. Any later signal makes a host look
at all its cables, so a frame that nobody listens to, sent on the out-of-band link every few
milliseconds, bounds the wait.

Run by the attendant.
"""

from __future__ import annotations

import socket

from tandem_lab.namespace import inside
from tandem_lab.topology import OUT_OF_BAND

BROADCAST = b"\xff" * 6
SENDER = bytes.fromhex("027affffffff")
# Reserved by IEEE 802 for local experiments: nothing answers to it.
ETHERTYPE = 0x88B5
FRAME = (BROADCAST + SENDER + ETHERTYPE.to_bytes(2, "big")).ljust(60, b"\0")


class Nudger:
    """Sends the frame; OSError from the constructor if the namespace is not there."""

    def __init__(self, namespace: str) -> None:
        with inside(namespace):
            # Protocol 0: it only sends, and must not be handed every frame of the link.
            self._socket = socket.socket(socket.AF_PACKET, socket.SOCK_RAW, 0)
            self._socket.bind((OUT_OF_BAND.bridge, 0))
        self._socket.setblocking(False)

    def nudge(self) -> None:
        """Make every host look at its cables."""
        try:
            self._socket.send(FRAME)
        except OSError:
            # A full queue: hosts have been signalled enough. A link that is gone: so are they.
            return
