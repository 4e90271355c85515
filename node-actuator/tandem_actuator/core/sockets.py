"""TCP's view of a replication link, as this host's kernel has it. Values only."""

from dataclasses import dataclass


@dataclass(frozen=True)
class Socket:
    """One of DRBD's sockets at one moment.

    ``cookie``: the kernel's number for it, which no other socket of this boot has. ``peer``: the
    address at its other end, as ``ipaddress`` writes it. ``receives``: whether it still takes in
    what comes; one that DRBD has closed does not, and acknowledges nothing either.

    ``arrived``: how many bytes the other end's TCP has said it received. ``sent``: no less than had
    been sent before the look began, counted alike. ``heard_at_s``: no data came later, up to
    the look; on the host's CLOCK_BOOTTIME.
    """

    cookie: int
    peer: str
    receives: bool
    arrived: int
    sent: int
    heard_at_s: float
