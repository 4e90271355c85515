"""What passes through a volume, and what of it does not get on: values only.

``core.mirror.standstill`` makes the latter of the former.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field
from types import MappingProxyType


@dataclass(frozen=True)
class Traffic:
    """Of one volume, at one moment.

    ``asked``: requests of the guest that DRBD has not answered. By the kernel's block layer, and 0
    if nothing was asked: ``reads`` and ``writes`` that are under way, ``read`` and ``written``, how
    many have ended since the device was made. ``at_disk``: requests that this host's own disk has
    not answered; 0 during a verification, whose reads are counted nowhere. ``moved``: changes with
    everything that is written, read, sent or received.
    """

    asked: int = 0
    reads: int = 0
    read: int = 0
    writes: int = 0
    written: int = 0
    at_disk: int = 0
    moved: int = 0


@dataclass(frozen=True)
class Still:
    """Something that is under way and does not get on. ``at``: what was counted when it was seen
    first, at ``since_s`` on CLOCK_BOOTTIME; ``since``: the same, RFC 3339.
    """

    at: int
    since_s: float
    since: str


@dataclass(frozen=True)
class Standstill:
    """What does not get on, by volume: the guest's reads, its writes, and this host's own disk."""

    reads: Mapping[str, Still] = field(default_factory=lambda: MappingProxyType({}))
    writes: Mapping[str, Still] = field(default_factory=lambda: MappingProxyType({}))
    disks: Mapping[str, Still] = field(default_factory=lambda: MappingProxyType({}))
