"""DRBD on this host, as its kernel has it: states, what passes through a device, metadata.

Values only, parsed at the edge by ``adapters.drbd``. "Unknown" is a state of its own everywhere: it
is never read as "no".
"""

from collections.abc import Collection, Mapping
from dataclasses import dataclass, field
from enum import StrEnum
from types import MappingProxyType

from tandem_actuator.core.sockets import Socket
from tandem_api.kinds.mirror import Protocol
from tandem_api.vocabulary import GONE_DISKS, Connection, DiskState, Role


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
class VolumeState:
    """One volume of a resource."""

    disk: DiskState
    peer_disk: DiskState
    out_of_sync_bytes: int = 0
    resyncing: bool = False
    traffic: Traffic = field(default_factory=Traffic, compare=False)

    @property
    def blank(self) -> bool:
        """New at both hosts, if the mirror has never been in sync."""
        return self.disk is DiskState.INCONSISTENT and self.peer_disk is DiskState.INCONSISTENT


@dataclass(frozen=True)
class DrbdState:
    """A resource as the kernel has it.

    ``volumes`` is keyed by the volume's name in the Mirror. ``queried_at_s`` is the host's
    CLOCK_BOOTTIME from *before* the query was sent, in seconds. ``sockets``: those of its
    connection, from a look begun after the query was answered; None if the kernel did not tell.
    """

    role: Role
    connection: Connection
    peer_role: Role
    volumes: Mapping[str, VolumeState]
    queried_at_s: float
    protocol: Protocol | None = None
    suspended: frozenset[str] = frozenset()
    sockets: tuple[Socket, ...] | None = field(default=None, compare=False)

    @property
    def connected(self) -> bool:
        return self.connection is Connection.CONNECTED

    @property
    def frozen(self) -> bool:
        """Primary, writes suspended, no peer: DRBD has asked, or should, whether to go on."""
        return self.role is Role.PRIMARY and bool(self.suspended) and not self.connected

    @property
    def without_data(self) -> bool:
        """No current disk can be reached of some volume, here or over the link: writes stand still,
        or fail. A connection ends DRBD's suspension for want of data, also one that brings none.
        """
        if self.role is not Role.PRIMARY:
            return False
        return self.nobody_current if self.connected else not self.own_up_to_date

    @property
    def own_up_to_date(self) -> bool:
        return bool(self.volumes) and all(
            v.disk is DiskState.UP_TO_DATE for v in self.volumes.values()
        )

    @property
    def peer_up_to_date(self) -> bool:
        return bool(self.volumes) and all(
            v.peer_disk is DiskState.UP_TO_DATE for v in self.volumes.values()
        )

    @property
    def nobody_current(self) -> bool:
        """Connected, and of some volume neither side has a current disk."""
        return self.connected and any(
            DiskState.UP_TO_DATE not in (v.disk, v.peer_disk) for v in self.volumes.values()
        )

    @property
    def in_sync(self) -> bool:
        """Connected, and every volume UpToDate on both sides with no resync running."""
        return self.own_up_to_date and self.peer_up_to_date and self._joined

    @property
    def only_there(self) -> bool:
        """A volume has no disk here: the peer has every write that this host acknowledges."""
        disks = [v.disk for v in self.volumes.values()]
        return self.peer_up_to_date and _lacks_a_disk(disks) and self._joined

    @property
    def only_here(self) -> bool:
        """A volume has no disk at the peer: this host has every write that it acknowledges."""
        disks = [v.peer_disk for v in self.volumes.values()]
        return self.own_up_to_date and _lacks_a_disk(disks) and self._joined

    @property
    def _joined(self) -> bool:
        return self.connected and not any(v.resyncing for v in self.volumes.values())

    @property
    def out_of_sync_bytes(self) -> int:
        """What DRBD's bitmap says that one replica lacks.

        As good as in sync, it can still be more than 0: a kernel that missed the end of a copy, and
        loses the link just as it meets its peer again, forgets to copy what it knows.
        """
        return sum(volume.out_of_sync_bytes for volume in self.volumes.values())


def _lacks_a_disk(disks: Collection[DiskState]) -> bool:
    """And is current where it has one. Nothing goes to one that is given up, though it may last."""
    current_or_gone = GONE_DISKS | {DiskState.UP_TO_DATE}
    return not GONE_DISKS.isdisjoint(disks) and set(disks) <= current_or_gone


@dataclass(frozen=True)
class NotConfigured:
    """The kernel knows no such resource."""

    queried_at_s: float


@dataclass(frozen=True)
class DrbdUnknown:
    """The query failed or timed out. Nothing follows from it."""

    message: str


DrbdView = DrbdState | NotConfigured | DrbdUnknown


class Metadata(StrEnum):
    """Whether a backing device carries DRBD metadata.

    ``V08``, ``V09``: in the format of DRBD 8.4, or of 9, and this host's DRBD is the other one.
    """

    PRESENT = "Present"
    ABSENT = "Absent"
    V08 = "v08"
    V09 = "v09"
    UNKNOWN = "Unknown"


@dataclass(frozen=True)
class Generation:
    """Of a volume's data, by DRBD's metadata. ``current``: its identifier, 16 hexadecimal digits;
    the last bit, which tells only whether this side is Primary, is cleared. ``parted``: it was
    begun without the peer, and the peer has not been copied to to the end since.
    """

    current: str
    parted: bool


@dataclass(frozen=True)
class Still:
    """Something that is under way and does not get on. ``at``: what was counted when it was seen
    first, at ``since_s`` on CLOCK_BOOTTIME; ``since``: the same, RFC 3339.
    """

    at: int
    since_s: float
    since: str


@dataclass(frozen=True)
class Fruitless:
    """Connections that were lost without one write that has ended, in a row. Seconds are on
    CLOCK_BOOTTIME.

    ``since``: when the first of them was lost, RFC 3339. ``kept``: why it has not parted, in words,
    while nothing gets on.
    ``connected_at_s``: the first look at the present one, None without one; ``written``: what had
    ended by then; ``asked``: writes were under way at the last look; ``fruitful``: some have ended
    on it. ``parted_at_s``: since when this side does not connect; ``rests``: how often it has
    parted; ``answered``: how many they were when it did.
    """

    in_a_row: int = 0
    since: str = ""
    kept: str = ""
    connected_at_s: float | None = None
    written: int = 0
    asked: bool = False
    fruitful: bool = False
    parted_at_s: float | None = None
    rests: int = 0
    answered: int = 0


@dataclass(frozen=True)
class Standstill:
    """What does not get on, by volume: the guest's reads, its writes, and this host's own disk.
    ``link``: connections on which nothing did.
    """

    reads: Mapping[str, Still] = field(default_factory=lambda: MappingProxyType({}))
    writes: Mapping[str, Still] = field(default_factory=lambda: MappingProxyType({}))
    disks: Mapping[str, Still] = field(default_factory=lambda: MappingProxyType({}))
    link: Fruitless = field(default_factory=Fruitless)

    @property
    def is_under_way(self) -> bool:
        """Whether there is anything that may turn out not to get on."""
        return bool(self.reads or self.writes or self.disks)
