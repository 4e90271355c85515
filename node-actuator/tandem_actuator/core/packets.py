"""Which of this host's packets have arrived at the peer, and when the peer's last one came. Pure.

DRBD needs up to ``linkDetectionSeconds`` to notice that a link is dead. TCP knows more: what has
been sent, what the other end has received, and when something came last. So who lives on the link
counts from a look after which a packet of its own has arrived, and who takes over from the last
packet that came (docs/timing.md). Called by ``workload`` at every look.
"""

import ipaddress
import math
from collections.abc import Mapping
from dataclasses import dataclass, replace
from functools import lru_cache

from tandem_actuator.core.drbd import DrbdUnknown, DrbdView, NotConfigured
from tandem_actuator.core.sockets import Socket

MARKS = 32
"""So many looks wait for a packet to arrive; of more the oldest go, which would prove least."""
LEAST_BYTES = 2
"""An acknowledged SYN or FIN counts as a byte, and is no data."""
BLIND_LOOKS = 3
"""So many looks in a row at a connection without a socket, and it has none that TCP tells of."""


@dataclass(frozen=True)
class Mark:
    """A look that found the link well, and how much each socket had sent by then, by its cookie."""

    looked_at_s: float
    sent: Mapping[int, int]


@dataclass(frozen=True)
class Packets:
    """What is known of one connection. Times are on the host's CLOCK_BOOTTIME.

    ``marks``: looks after which nothing has arrived yet. ``arrived_after_s``: the latest look after
    which something of this host's has. ``receiving``: the sockets that took in what came at the
    last look; None if that is not known. ``last_at_s``: the peer's last packet came no later; None
    while more may come, or if that is not known. ``blind``: so many looks in a row showed a
    connection, and no socket.
    """

    marks: tuple[Mark, ...] = ()
    arrived_after_s: float = -math.inf
    receiving: frozenset[int] | None = None
    last_at_s: float | None = None
    blind: int = 0

    @property
    def unseen(self) -> bool:
        """Whether the connection is none that TCP tells of."""
        return self.blind >= BLIND_LOOKS

    def interrupted(self) -> "Packets":
        """The link may have been up, by other sockets, since the last look."""
        return replace(self, receiving=None, last_at_s=None)


def followed(
    before: Packets, drbd: DrbdView, address: str | None, *, acquits: bool, now_s: float
) -> Packets:
    """What is known after this look.

    ``address``: the peer's, if it is known. ``acquits``: the look shows a link that this host may
    live on. ``now_s``: after the look.
    """
    if isinstance(drbd, DrbdUnknown):
        return before
    if isinstance(drbd, NotConfigured):
        return Packets()
    sockets = _of_peer(drbd.sockets, address)
    if drbd.connected:
        return _connected(before, drbd.queried_at_s, sockets, acquits=acquits)
    return _parted(before, sockets, now_s)


def to_go_on_from(known: Packets) -> Packets:
    """What the next run of this program on this boot needs of it: the last look, which a packet
    proves that was sent after it, and the last one that is proven.
    """
    return Packets(marks=known.marks[-1:], arrived_after_s=known.arrived_after_s)


def _of_peer(
    sockets: tuple[Socket, ...] | None, address: str | None
) -> Mapping[int, Socket] | None:
    """A run that has just begun without the API knows no address. DRBD's sockets are there while it
    is connected, so if all lead to one peer they are DRBD's.
    """
    if sockets is None:
        return None
    peers = {_written_alike(address)} if address else {one.peer for one in sockets}
    if len(peers) > 1:
        return None
    return {one.cookie: one for one in sockets if one.peer in peers}


@lru_cache(maxsize=1024)
def _written_alike(address: str) -> str:
    try:
        return str(ipaddress.ip_address(address))
    except ValueError:
        return address


def _connected(
    before: Packets, looked_at_s: float, sockets: Mapping[int, Socket] | None, *, acquits: bool
) -> Packets:
    receiving = {key: one for key, one in (sockets or {}).items() if one.receives}
    if not acquits:
        before = Packets(blind=before.blind)
    if not receiving:
        return Packets(arrived_after_s=before.arrived_after_s, blind=before.blind + 1)
    if not acquits:
        return Packets(receiving=frozenset(receiving))
    arrived = [mark.looked_at_s for mark in before.marks if _has_arrived_since(mark, receiving)]
    arrived_after_s = max((*arrived, before.arrived_after_s))
    waiting = [mark for mark in before.marks if mark.looked_at_s > arrived_after_s]
    mark = Mark(looked_at_s, {key: one.sent for key, one in receiving.items()})
    return Packets(
        marks=(*waiting, mark)[-MARKS:],
        arrived_after_s=arrived_after_s,
        receiving=frozenset(receiving),
    )


def _has_arrived_since(mark: Mark, sockets: Mapping[int, Socket]) -> bool:
    """Whether the peer has received something that was sent after that look, by the same socket."""
    return any(
        one.arrived >= mark.sent[key] + LEAST_BYTES
        for key, one in sockets.items()
        if key in mark.sent
    )


def _parted(before: Packets, sockets: Mapping[int, Socket] | None, now_s: float) -> Packets:
    """DRBD has noticed that the link is lost, and closes its sockets a moment later.

    One that is still open may receive something, and one that has vanished may have received
    something until now.
    """
    if sockets is None:
        return Packets()
    receiving = frozenset(key for key, one in sockets.items() if one.receives)
    known = before.receiving
    heard_s = [one.heard_at_s for one in sockets.values()]
    if known is not None and not known and before.last_at_s is not None:
        heard_s.append(before.last_at_s)
    if receiving or known is None or known - sockets.keys() or not heard_s:
        last_at_s = now_s
    else:
        last_at_s = min(max(heard_s), now_s)
    return Packets(receiving=receiving, last_at_s=last_at_s)
