"""What a backing device keeps through every crash: the data and DRBD's metadata.

Data is the set of the numbers of all writes that it holds, so "a write is missing" is a question
of sets. Generations are numbers too; which side of a handshake has to copy from which follows from
them alone (``compare``), as in DRBD 8.4. Called by ``replica``.
"""

from copy import deepcopy
from dataclasses import dataclass, field
from enum import Enum, auto

from tandem_actuator.core.drbd import Generation, Metadata
from tandem_actuator.ports import CommandFailed
from tandem_api.vocabulary import DiskState

ORDER = (
    DiskState.DISKLESS,
    DiskState.ATTACHING,
    DiskState.DETACHING,
    DiskState.FAILED,
    DiskState.NEGOTIATING,
    DiskState.INCONSISTENT,
    DiskState.OUTDATED,
    DiskState.UNKNOWN,
    DiskState.CONSISTENT,
    DiskState.UP_TO_DATE,
)


def better(one: DiskState, other: DiskState) -> bool:
    """Whether the first state is above the second in DRBD's order."""
    return ORDER.index(one) > ORDER.index(other)


JUST_CREATED = 0


@dataclass
class Backing:
    """One device. ``broken``: it does not take I/O just now, so its metadata grows stale too.

    ``on_disk``: what is really there of one that does not answer; the rest is the kernel's alone.
    ``other_format``: its metadata are of another DRBD than the host's, V08 or V09.
    ``bits``: so many blocks differ from the peer's by the bitmap on the disk, since a verification.
    ``to_read``: its guest has to read from it before it can write. ``owes``: so many answers, also
    once it was given up.
    """

    data: set[int] = field(default_factory=set)
    has_metadata: bool = False
    other_format: Metadata | None = None
    current: int = JUST_CREATED
    bitmap: int = 0
    history: set[int] = field(default_factory=set)
    consistent: bool = False
    was_up_to_date: bool = False
    primary: bool = False
    peer_outdated: bool = False
    crashed_primary: bool = False
    broken: bool = False
    on_disk: "Backing | None" = None
    bits: int = 0
    to_read: bool = False
    owes: int = 0

    @property
    def hangs(self) -> bool:
        """It answers nothing, neither well nor with an error."""
        return self.on_disk is not None

    def forget(self, *, hangs: bool = False) -> None:
        """What the kernel alone had. ``hangs``: it does not answer after that either."""
        kept = self.on_disk
        if kept is not None:
            vars(self).update(vars(deepcopy(kept)), on_disk=kept if hangs else None)

    @property
    def metadata(self) -> Metadata:
        """What looking for it finds."""
        if self.broken:
            return Metadata.UNKNOWN
        if self.other_format is not None:
            return self.other_format
        return Metadata.PRESENT if self.has_metadata else Metadata.ABSENT

    @property
    def generation(self) -> Generation:
        """Its identifier as the kernels print it. Raises: CommandFailed."""
        if self.metadata is not Metadata.PRESENT:
            raise CommandFailed("no valid metadata found")
        return Generation(f"{2 * self.current:016X}", parted=self.bitmap != 0)

    def convert(self) -> None:
        """``create-md`` on another DRBD's metadata: of what differs nothing is kept."""
        self.other_format, self.bitmap, self.bits = None, 0, 0

    def create(self) -> None:
        """``create-md``: a replica without a past."""
        self.has_metadata, self.current, self.bitmap, self.bits = True, JUST_CREATED, 0, 0
        self.history.clear()
        self.consistent = self.was_up_to_date = self.primary = self.peer_outdated = False

    def attached_as(self) -> DiskState:
        """The disk state with which an attach begins."""
        if self.metadata is not Metadata.PRESENT:
            return DiskState.DISKLESS
        if not self.consistent:
            return DiskState.INCONSISTENT
        if not self.was_up_to_date:
            return DiskState.OUTDATED
        return DiskState.UP_TO_DATE if self.peer_outdated else DiskState.CONSISTENT

    def rotate(self, generation: int) -> None:
        """Begin a new generation, unless one was begun since the replicas parted."""
        if self.bitmap == 0 and not self.broken:
            self.history.add(self.current)
            self.bitmap, self.current = self.current, generation

    def rotate_again(self, generation: int) -> None:
        """Begin one in any case. The one that the peer has is not remembered then."""
        if not self.broken:
            self.history.discard(self.bitmap)
            self.bitmap, self.current = self.current, generation


class Direction(Enum):
    """What a handshake found, as one side sees it."""

    EQUAL = auto()
    SOURCE = auto()
    TARGET = auto()
    SPLIT_BRAIN = auto()


MIRRORED = {
    Direction.EQUAL: Direction.EQUAL,
    Direction.SOURCE: Direction.TARGET,
    Direction.TARGET: Direction.SOURCE,
    Direction.SPLIT_BRAIN: Direction.SPLIT_BRAIN,
}


def compare(
    mine: Backing, theirs: Backing, crashed: tuple[bool, bool], primary: bool | None = None
) -> Direction:
    """DRBD's rules on generation identifiers, those that two nodes can meet.

    ``crashed``: which side counts as a Primary that crashed. ``primary``: whether this side is the
    (one) Primary; None if none is. After a crash of both, which of them is copied is as good as
    chance: they differ only in what nobody was promised.
    """
    new = (mine.current == JUST_CREATED, theirs.current == JUST_CREATED)
    if any(new):
        return {
            (True, True): Direction.EQUAL,
            (True, False): Direction.TARGET,
            (False, True): Direction.SOURCE,
        }[new]
    if mine.current == theirs.current:
        ended = (mine.bitmap == 0, theirs.bitmap == 0)
        if ended[0] != ended[1]:  # one of them missed the end of a copy: it was the source
            return Direction.TARGET if ended[0] else Direction.SOURCE
        if not any(crashed):
            return Direction.EQUAL
        is_source = primary if primary is not None else crashed[0]
        return Direction.SOURCE if is_source else Direction.TARGET
    return _by_ancestry(mine, theirs)


def _by_ancestry(mine: Backing, theirs: Backing) -> Direction:
    """Different generations: who descends from whom, if anybody."""
    if mine.current == theirs.bitmap:
        return Direction.TARGET
    if theirs.current == mine.bitmap:
        return Direction.SOURCE
    forked = mine.bitmap != 0 and mine.bitmap == theirs.bitmap
    if not forked and mine.current in theirs.history:
        return Direction.TARGET
    if not forked and theirs.current in mine.history:
        return Direction.SOURCE
    return Direction.SPLIT_BRAIN
