"""What TCP tells of a replication link: what has arrived at the other end, and when something came.

DRBD's sockets, and nothing of what they carry: one a second of DRBD's pings goes each way. None is
an event of its own: what has passed is worked out whenever somebody looks, or the way has changed.
A socket that DRBD closes is there for a while if the other end does not answer, or it is gone at
once. Called by ``pair``.
"""

import math
from collections.abc import Callable
from dataclasses import dataclass, field

from sim.engine.kernel import Kernel
from tandem_actuator.core.sockets import Socket

PACKET_EVERY_S = 1.0
PACKET_BYTES = 8
GONE_AT_ONCE = 0.1
ORPHANED_S = 60.0


@dataclass
class End:
    """One socket. ``heard_s`` and ``gone_s`` are simulated time."""

    cookie: int
    heard_s: float
    receives: bool = True
    sent: int = 0
    arrived: int = 0
    gone_s: float = math.inf


@dataclass
class Tcp:
    """Both ends of a mirror's connections. ``hidden``: the hosts whose kernels tell of none."""

    kernel: Kernel
    passes: Callable[[str], bool]
    hidden: set[str] = field(default_factory=set)
    ends: dict[str, End] = field(default_factory=dict)
    orphans: dict[str, list[End]] = field(default_factory=dict)
    _flows: dict[str, bool] = field(default_factory=dict)
    _settled_s: float = 0.0

    def opened(self, hosts: tuple[str, str]) -> None:
        """A new connection, which has just carried its handshake."""
        self.settle()
        now_s = self.kernel.now_s
        self.ends = {host: End(self.kernel.number("socket"), now_s) for host in hosts}
        self._look_at_the_way()

    def closed(self, host: str) -> None:
        """This end is. The other one hears of it if the way is free, and then both are gone."""
        self.settle()
        end = self.ends.pop(host, None)
        if end is None:
            return
        end.receives = False
        answered = bool(self.ends) and all(map(self.passes, (host, *self.ends)))
        if not answered and self.kernel.random.random() >= GONE_AT_ONCE:
            end.gone_s = self.kernel.now_s + ORPHANED_S
            self.orphans.setdefault(host, []).append(end)

    def rebooted(self, host: str, *, hidden: bool) -> None:
        """Nothing of it is left there."""
        self.settle()
        self.hidden = self.hidden | {host} if hidden else self.hidden - {host}
        self.ends.pop(host, None)
        self.orphans.pop(host, None)

    def settle(self) -> None:
        """What has passed since the last time, by the way as it was; then by the way as it is."""
        since_s, now_s = self._settled_s, self.kernel.now_s
        packets = math.floor(now_s / PACKET_EVERY_S) - math.floor(since_s / PACKET_EVERY_S)
        if packets > 0:
            self._carry(packets, math.floor(now_s / PACKET_EVERY_S) * PACKET_EVERY_S)
        was, self._settled_s = self._flows, now_s
        self._look_at_the_way()
        if self._flows != was:
            self._carry(0, now_s)

    def _look_at_the_way(self) -> None:
        self._flows = {host: self.passes(host) for host in self.ends}

    def _carry(self, packets: int, at_s: float) -> None:
        """What is sent into a dead link is sent again, until it is known to have arrived."""
        for host, end in self.ends.items():
            end.sent += PACKET_BYTES * (packets if self._flows.get(host) else min(packets, 1))
            peer = next((one for name, one in self.ends.items() if name != host), None)
            if peer is None or not self._flows.get(host) or end.sent == end.arrived:
                continue
            peer.heard_s = max(peer.heard_s, at_s)
            if all(self._flows.values()):
                end.arrived = end.sent

    def sockets(
        self, host: str, peer: str, boottime_s: float, rate: float
    ) -> tuple[Socket, ...] | None:
        """What this host's kernel tells, on its own clock."""
        if host in self.hidden:
            return None
        self.settle()
        now_s = self.kernel.now_s
        kept = [one for one in self.orphans.get(host, ()) if one.gone_s > now_s]
        self.orphans[host] = kept
        end = self.ends.get(host)
        return tuple(
            Socket(
                cookie=one.cookie,
                peer=peer,
                receives=one.receives,
                arrived=one.arrived,
                sent=one.sent,
                heard_at_s=boottime_s - (now_s - one.heard_s) * rate,
            )
            for one in (*kept, *([end] if end else []))
        )
