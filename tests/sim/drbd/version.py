"""What the versions of DRBD do differently: a value for each, with an answer to each question.

Every field is held by recordings of real kernels (``conformance``). Called by ``replica``,
``pair``, and by whoever makes a replica.
"""

from dataclasses import dataclass

from tandem_api.vocabulary import DiskState


@dataclass(frozen=True)
class Version:
    """One DRBD. ``name`` is what its kernel module says of itself."""

    name: str
    shown_in_proc: bool
    """Whether /proc/drbd tells what role a device has."""
    tells_protocol: bool
    """Whether a look shows the protocol that is in use."""
    asks_per_promotion: int
    """How often a promotion calls the handler before it gives up."""
    promotion_holds_handshake: bool
    """Whether nothing connects while a promotion waits for the handler."""
    force_asks_for_consistent: bool
    """Whether ``--force`` on a disk that is only Consistent calls the handler all the same."""
    force_begins_two_generations: bool
    """The one that the peer has is forgotten then: a split brain at the next handshake."""
    begins_with_next_write: bool
    """Whether who is alone without having been frozen begins a generation only as it writes."""
    meeting_clears_bits: bool
    """Whether replicas of the same generation forget their bits as they connect."""
    forgets_copies: bool
    """Whether a link that is lost as a copy between equal generations begins makes it forget."""
    copies_when_told: bool
    """Whether a Primary can be told to copy what its bits say, while it is connected."""
    survivor_doubts_s: tuple[float, float] | None
    """How long who has lost a Primary is only Consistent."""
    panics_without_a_disk: bool
    """Whether a frozen Primary whose disk has failed writes to it as it meets a rebooted peer."""
    commit_timeout_s: float | None
    """How long a change of state waits for a peer that does not agree; None: it does not."""
    leaves_diskless: bool
    """Whether a Primary and a peer without a disk may part."""
    primary_without_any_disk_parts: bool
    """Whether who is Primary gives up the connection as the last of both disks fails."""
    thaws_without_data: bool
    """Whether a Primary that meets its peer goes on although there is no disk at either end."""
    outdates_while_connected: bool
    """Whether ``outdate`` does something then: between two Secondaries."""
    rebooted_counts_beside_diskless: bool
    """Whether who has rebooted is UpToDate beside a peer without a disk, whatever that knows."""
    frozen_asks_beside_diskless: bool
    """Whether a frozen Primary with pending writes asks once more as it meets a failed disk."""
    unheard_write_waits_s: float | None
    """How long a write waits before it goes to the own disk, while the peer is connected and does
    not answer; the first one to a part of the disk waits until that is over. None: it does not."""
    refused_by_either: bool
    """Whether any side of a handshake that fails may end it, not just the one that objects."""
    glimpses: bool
    """Whether one side may take itself for connected before the other refuses."""
    remembers_crash_after_copy: bool
    """Whether who was a Primary that crashed, and was copied to since, still counts as one."""
    frozen_writes_part: bool
    """Whether two Primaries that froze with a write waiting each are a split brain."""
    parts_twice: bool
    """Whether ``disconnect`` may be repeated."""
    keeps_connection_options: bool
    """Whether who stands alone has a connection with options, or is given them as it connects."""
    given_up: DiskState
    """What a disk is that was detached by force and owes an answer."""

    @property
    def major(self) -> int:
        return int(self.name.split(".")[0])


EIGHT = Version(
    name="8.4.11",
    shown_in_proc=True,
    tells_protocol=True,
    asks_per_promotion=4,
    promotion_holds_handshake=True,
    force_asks_for_consistent=True,
    force_begins_two_generations=True,
    begins_with_next_write=False,
    meeting_clears_bits=False,
    forgets_copies=True,
    copies_when_told=False,
    survivor_doubts_s=None,
    panics_without_a_disk=True,
    commit_timeout_s=None,
    leaves_diskless=True,
    primary_without_any_disk_parts=False,
    thaws_without_data=True,
    outdates_while_connected=False,
    rebooted_counts_beside_diskless=True,
    frozen_asks_beside_diskless=False,
    unheard_write_waits_s=None,
    refused_by_either=False,
    glimpses=True,
    remembers_crash_after_copy=True,
    frozen_writes_part=False,
    parts_twice=False,
    keeps_connection_options=False,
    given_up=DiskState.FAILED,
)
NINE = Version(
    name="9.2.19",
    shown_in_proc=False,
    tells_protocol=False,
    asks_per_promotion=1,
    promotion_holds_handshake=False,
    force_asks_for_consistent=False,
    force_begins_two_generations=False,
    begins_with_next_write=True,
    meeting_clears_bits=True,
    forgets_copies=False,
    copies_when_told=True,
    survivor_doubts_s=(0.01, 0.2),
    panics_without_a_disk=False,
    commit_timeout_s=5.0,
    leaves_diskless=False,
    primary_without_any_disk_parts=True,
    thaws_without_data=False,
    outdates_while_connected=True,
    rebooted_counts_beside_diskless=False,
    frozen_asks_beside_diskless=True,
    unheard_write_waits_s=0.5,
    refused_by_either=True,
    glimpses=False,
    remembers_crash_after_copy=False,
    frozen_writes_part=True,
    parts_twice=True,
    keeps_connection_options=True,
    given_up=DiskState.DETACHING,
)
VERSIONS = {version.major: version for version in (EIGHT, NINE)}
