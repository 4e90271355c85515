"""The words of DRBD's state, and what its rules ask of them.

Pure. Called by ``replica``, ``pair``.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass

from sim.drbd.disk import better
from tandem_actuator.core.drbd import Traffic, VolumeState
from tandem_api.vocabulary import GONE_DISKS, DiskState, Role

# What the handler's exit code says of the peer's disk. 5 counts only if the own disk is current.
PEER_DISK_BY_CODE = {
    3: DiskState.INCONSISTENT,
    4: DiskState.OUTDATED,
    5: DiskState.OUTDATED,
    7: DiskState.OUTDATED,
}
PEER_IS_PRIMARY = 6
BLOCK_BYTES = 4096
KNOWN_TO_BE_OUT = (*GONE_DISKS, DiskState.OUTDATED)


def attached(disk: DiskState) -> bool:
    """Whether writes go to this disk."""
    return better(disk, DiskState.NEGOTIATING)


def lost_contact(before: DiskState, now: DiskState) -> bool:
    """Whether a change of the peer's disk means that it no longer gets what is written."""
    had = (DiskState.INCONSISTENT, DiskState.CONSISTENT, DiskState.UP_TO_DATE)
    return (before in had and now not in had) or (
        before is DiskState.UNKNOWN and now in KNOWN_TO_BE_OUT
    )


def may_be_current(disk: DiskState) -> bool:
    """Whether a peer with this disk might be promoted: everything above Outdated."""
    return better(disk, DiskState.OUTDATED)


@dataclass
class Write:
    """One write of a guest. ``done`` is told whether it was acknowledged or failed. ``reads``: it
    waits for what the guest has to read before, from a disk that does not answer.
    """

    number: int
    volume: str
    done: Callable[[bool], None]
    waited_s: float = 0.0
    reads: bool = False

    def answer_early(self) -> None:
        """Protocol A: the guest hears now; DRBD itself waits for the peer as ever."""
        done, self.done = self.done, lambda _: None
        done(True)


@dataclass
class Volume:
    """What the kernel believes of one volume's two disks.

    ``ahead``: writes that the peer lacks, as long as it is not copied to.
    ``generation_due``: a new generation begins as soon as the freeze ends without the peer.
    ``begins_with_write``: one begins with the next write that the peer does not get. ``cold``:
    nothing was written since it became Primary, or copied. ``met``, ``follows``, of a Primary
    without a disk: it has met its peer again; it heard before that of the generation that the peer
    began.
    ``written``: writes that have ended; ``moved``: those, and what was sent or received.
    ``expects``: the generation that a Primary without a disk has last worked with. ``crashed``: a
    Primary that crashed; the metadata says so for longer, until it is written again.
    """

    disk: DiskState = DiskState.DISKLESS
    peer_disk: DiskState = DiskState.UNKNOWN
    resyncing: bool = False
    generation_due: bool = False
    begins_with_write: bool = False
    cold: bool = False
    met: bool = False
    follows: bool = False
    expects: int = 0
    ahead: int = 0
    crashed: bool = False
    written: int = 0
    moved: int = 0

    def view(self, traffic: Traffic) -> VolumeState:
        """As DRBD shows it."""
        out_of_sync = max(self.ahead, int(self.resyncing)) * BLOCK_BYTES
        return VolumeState(self.disk, self.peer_disk, out_of_sync, self.resyncing, traffic)


@dataclass(frozen=True)
class Moment:
    """A state, to compare with the one after it."""

    role: Role
    peer_role: Role
    connected: bool
    disks: Mapping[str, tuple[DiskState, DiskState]]

    def peer_disk(self, name: str) -> DiskState:
        return self.disks[name][1] if name in self.disks else DiskState.UNKNOWN

    @property
    def must_ask(self) -> bool:
        """A Primary with a disk, alone, whose peer may be current."""
        alone = self.role is Role.PRIMARY and not self.connected
        return alone and any(
            attached(disk) and may_be_current(peer) for disk, peer in self.disks.values()
        )

    @property
    def without_data(self) -> bool:
        """A Primary that reaches no current disk."""
        return self.role is Role.PRIMARY and any(
            DiskState.UP_TO_DATE not in pair for pair in self.disks.values()
        )
