"""DRBD, as the actuator needs it."""

from collections.abc import AsyncIterator, Collection, Mapping
from dataclasses import dataclass
from typing import Protocol

from tandem_actuator.core.drbd import DrbdView, Generation, Metadata
from tandem_api.kinds.mirror import Mirror
from tandem_api.vocabulary import Role


@dataclass(frozen=True)
class DrbdEvent:
    """One change of a resource.

    ``was_connected``: the event says that the link to the peer was up at that moment. A link that
    came and went between two queries would otherwise be counted as lost since the first loss.
    ``was_behind``: it says that the local disk was not current. ``role``, ``peer_role``: what this
    host's and the peer's are from then on, if it is about that. ``lost``: it says that the link was
    not up.
    """

    name: str
    was_connected: bool = False
    was_behind: bool = False
    role: Role | None = None
    peer_role: Role | None = None
    lost: bool = False


class Drbd(Protocol):
    """DRBD on this host, one resource at a time. Names are ``Mirror.drbd_name``.

    Volumes are numbered in the order of ``Mirror.volume_names``; results are keyed by volume name.
    """

    async def query(self, mirror: Mirror) -> DrbdView:
        """Ask the kernel now. Never raises: a failure or timeout is DrbdUnknown."""
        ...

    def events(self) -> AsyncIterator[DrbdEvent]:
        """Changes of resources, from ``drbdsetup events2``. Restarts by itself.

        In the order in which they happened. An empty name means "re-read everything" (events were
        skipped or the stream restarted): what was told before that may lack something.
        """
        ...

    async def configure(self, mirror: Mirror, text: str) -> bool:
        """Write the resource file (atomically, fsynced). True if its text changed."""
        ...

    async def adjust(self, mirror: Mirror) -> None:
        """Apply a changed file to a configured resource: options only, no connect or attach."""
        ...

    async def check_files(self) -> None:
        """Whether drbdadm can read what is configured: the kernel has it start each question.

        Raises: CommandFailed: with the file and the place.
        """
        ...

    async def forbid_two_primaries(self, mirror: Mirror) -> None:
        """At once, whatever the file says: in the kernel, and in the peer's while it is connected.

        Raises: CommandFailed: both are Primary.
        """
        ...

    async def metadata(self, mirror: Mirror) -> Mapping[str, Metadata]:
        """Whether each volume's device carries metadata; CommandFailed if one cannot be read."""
        ...

    async def generations(self, mirror: Mirror) -> Mapping[str, Generation]:
        """Each volume's data generation, by the kernel where it is attached, else by the disk.

        Raises:
            CommandFailed: one cannot be read; the message says why.
        """
        ...

    async def create_metadata(self, mirror: Mirror, volumes: Collection[str]) -> None:
        """``create-md`` on these, refusing (CommandFailed) devices that hold other data."""
        ...

    async def attach(self, mirror: Mirror) -> None:
        """Create the resource and attach its disks, without connecting."""
        ...

    async def connect(self, mirror: Mirror, *, discard_my_data: bool) -> None:
        """Connect (from StandAlone or not yet connected)."""
        ...

    async def disconnect(self, mirror: Mirror) -> None:
        """Disconnect. Callers have done rule 9's compare-and-swap."""
        ...

    async def copy_to_peer(self, mirror: Mirror, *, whole: bool) -> None:
        """On 9: what the bitmap says that it lacks, or all. Callers have done rule 9's swap."""
        ...

    async def skip_first_sync(self, mirror: Mirror, volumes: Collection[str]) -> None:
        """``new-current-uuid --clear-bitmap`` on these: brand-new connected disks only."""
        ...

    async def promote(self, mirror: Mirror, *, force: bool) -> None:
        """Make Primary. May call the fence-peer program, which asks this very actuator."""
        ...

    async def demote(self, mirror: Mirror) -> None:
        """Make Secondary; CommandFailed while a device is held open."""
        ...

    async def resume_io(self, mirror: Mirror) -> None:
        """Thaw. Only for a replica that is about to be discarded."""
        ...

    async def versions(self) -> Mapping[str, str]:
        """``{"drbd": …, "drbd-utils": …}``."""
        ...
