"""What a host keeps in files."""

from collections.abc import Mapping, Sequence
from typing import Protocol

from tandem_actuator.core.model import Record
from tandem_actuator.core.packets import Packets
from tandem_api.kinds.guest import Guest
from tandem_api.kinds.mirror import Mirror
from tandem_api.timing import Timing


class ObjectCache(Protocol):
    """The last seen mirrors and guests of this host, kept across restarts but not across boots."""

    def load(self) -> Sequence[tuple[Mirror, Guest | None]]:
        """All copies that can be read."""
        ...

    def store(self, mirror: Mirror, guest: Guest | None) -> None:
        """Replace the copy. One that cannot be kept costs only sight after a restart."""
        ...


class Records(Protocol):
    """The durable record of each mirror: one small file, replaced atomically, fsynced."""

    def load(self, uid_or_name: str) -> Record | None:
        """The record of a DRBD resource name. PortError if it is there and unreadable."""
        ...

    def store(self, name: str, record: Record) -> None:
        """Durable when it returns."""
        ...


class Permit(Protocol):
    """Until when this boot may run guests, as the last run left it."""

    @property
    def renewal_sent_at_s(self) -> float:
        """On CLOCK_BOOTTIME, from before the last confirmed heartbeat was sent."""
        ...

    @property
    def timing(self) -> Timing:
        """What that heartbeat published."""
        ...


class Permits(Protocol):
    """The permit, kept across restarts of the actuator but not across boots."""

    def load(self) -> Permit | None:
        """What the last run of this boot left; None if there is nothing of this boot."""
        ...

    def store(self, renewal_sent_at_s: float, timing: Timing) -> None:
        """Replace it. One that cannot be kept costs only time after a restart."""
        ...


class Looks(Protocol):
    """The last looks at links that guests live on, kept across restarts but not across boots."""

    def load(self) -> Mapping[str, Packets]:
        """What the last run of this boot left, by the names of DRBD's resources."""
        ...

    def store(self, packets: Mapping[str, Packets]) -> None:
        """Replace all of it. What cannot be kept costs only time after a restart."""
        ...


class Starts(Protocol):
    """How many quick exits of the actuator there were in a row, on this boot."""

    def load(self) -> int: ...

    def store(self, quick_exits: int) -> None:
        """Replace it. One that cannot be kept is lost."""
        ...
