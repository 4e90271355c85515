"""What a procedure may ask of the outside, and what it may hear back: two closed sets.

A procedure (see ``procedures``) is a generator: it yields one effect, is sent its outcome, and
decides what comes next. So every effect is data, and a crash between two effects is a generator
that is never resumed. ``loop`` performs effects on the real parts, the simulator on its own.
All effects speak of the one mirror (and its guest) that the procedure was started for.
"""

from collections.abc import Generator, Mapping
from dataclasses import dataclass
from typing import Final

from tandem_actuator.core.drbd import DrbdView, Generation, Metadata
from tandem_actuator.core.model import MigrationNote, Record
from tandem_api.authority import Authority
from tandem_api.kinds.mirror import Marker, Mirror
from tandem_api.lease import Heartbeat
from tandem_api.reasons import Reason
from tandem_api.vocabulary import DomainState


class Keep:
    """Leave the marker as it is."""

    def __repr__(self) -> str:
        return "KEEP"  # logs hold it, and one seed gives one log


KEEP: Final = Keep()


@dataclass(frozen=True)
class ReadMirror:
    """A quorum read of the mirror. → MirrorRead | Unreachable"""


@dataclass(frozen=True)
class ReadHeartbeat:
    """A quorum read of a host's lease. → HeartbeatRead | Unreachable"""

    host: str


@dataclass(frozen=True)
class QueryDrbd:
    """Ask the kernel now. → DrbdRead"""


@dataclass(frozen=True)
class Swap:
    """Compare-and-swap the authority. → Swapped | SwapLost | SwapUnclear"""

    expected_epoch: int
    authority: Authority


@dataclass(frozen=True)
class UpdateRecord:
    """Change the durable record; fsynced before the outcome. → Done | Failed

    Epochs only rise. It is a change and not a value because a handler's procedure may run beside
    the main one, and neither may undo what the other wrote.
    """

    epoch: int = 0
    owned_epoch: int = 0
    incarnation: str = ""
    marker: Marker | Keep | None = KEEP
    attached: bool = False
    started_boot_id: str = ""
    asynchronous: bool | None = None
    generations: Mapping[str, str] | None = None
    unparted_boot_id: str | None = None
    owes_copy: bool | None = None
    bits_gone: bool | None = None
    copied_for: str | None = None
    outgoing: MigrationNote | Keep | None = KEEP
    incoming: MigrationNote | Keep | None = KEEP


@dataclass(frozen=True)
class Configure:
    """Write the resource file and apply it if the resource exists. → Done | Failed

    ``apply`` not: what the kernel does not take yet. It is applied as soon as that does.
    """

    apply: bool = True


@dataclass(frozen=True)
class Adjust:
    """What the file says is in force again, whatever was changed by hand. → Done | Failed"""


@dataclass(frozen=True)
class CheckFiles:
    """Whether drbdadm, which DRBD's own questions need, can read its files. → Done | Failed"""


@dataclass(frozen=True)
class ForbidTwo:
    """Not both may be Primary any more, says the kernel of each end. → Done | Failed"""


@dataclass(frozen=True)
class InspectMetadata:
    """→ MetadataRead | Failed"""


@dataclass(frozen=True)
class ReadGenerations:
    """→ GenerationsRead | Failed"""


@dataclass(frozen=True)
class CreateMetadata:
    """On these volumes. → Done | Failed"""

    volumes: tuple[str, ...]


@dataclass(frozen=True)
class Attach:
    """→ Done | Failed"""


@dataclass(frozen=True)
class Connect:
    """→ Done | Failed"""

    discard_my_data: bool = False


@dataclass(frozen=True)
class Disconnect:
    """→ Done | Failed. ``needs_heartbeat``: only while the guest may go on without the link."""

    needs_heartbeat: bool = False


@dataclass(frozen=True)
class CopyToPeer:
    """What the bitmap says that it lacks, without parting; on DRBD 9 only. → Done | Failed

    ``whole``: everything, since the bitmap has forgotten what.
    """

    whole: bool = False


@dataclass(frozen=True)
class SkipFirstSync:
    """→ Done | Failed"""

    volumes: tuple[str, ...]


@dataclass(frozen=True)
class Promote:
    """→ Done | Failed"""

    force: bool = False


@dataclass(frozen=True)
class Demote:
    """→ Done | Failed. Refused where the peer would take it for the handover of a guest."""


@dataclass(frozen=True)
class ResumeIo:
    """→ Done | Failed"""


@dataclass(frozen=True)
class StartGuest:
    """→ Done | Failed. The driver refuses it while the run predicate is false, or if the heartbeat
    has lapsed since the claim was made, which was no earlier than ``claimed_at_s``.
    """

    claimed_at_s: float


@dataclass(frozen=True)
class ShutDownGuest:
    """→ Done | Failed"""


@dataclass(frozen=True)
class DestroyGuest:
    """→ Done | Failed"""


@dataclass(frozen=True)
class QueryDomain:
    """Ask libvirt now. → DomainRead"""


@dataclass(frozen=True)
class SendGuest:
    """Have libvirt begin to send the guest to the peer, for this migration. → Done | Failed"""

    migration: str


@dataclass(frozen=True)
class StopSending:
    """Have libvirt give that up, if it still can. → Done | Failed"""

    why: str


@dataclass(frozen=True)
class ReceiveGuest:
    """Be ready to be sent the guest, for this migration. → Done | Failed"""

    migration: str


@dataclass(frozen=True)
class StopReceiving:
    """Take nothing in any more. → Done"""


@dataclass(frozen=True)
class ResumeGuest:
    """Let the guest go on that was sent here. → Done | Failed. Refused as a start would be."""

    claimed_at_s: float


@dataclass(frozen=True)
class CutNetwork:
    """→ Done | Failed"""


@dataclass(frozen=True)
class Wait:
    """Let time pass. → Done"""

    seconds: float


Effect = (
    ReadMirror
    | ReadHeartbeat
    | QueryDrbd
    | Swap
    | UpdateRecord
    | Configure
    | Adjust
    | CheckFiles
    | ForbidTwo
    | InspectMetadata
    | ReadGenerations
    | CreateMetadata
    | Attach
    | Connect
    | Disconnect
    | CopyToPeer
    | SkipFirstSync
    | Promote
    | Demote
    | ResumeIo
    | StartGuest
    | ShutDownGuest
    | DestroyGuest
    | QueryDomain
    | SendGuest
    | StopSending
    | ReceiveGuest
    | StopReceiving
    | ResumeGuest
    | CutNetwork
    | Wait
)


@dataclass(frozen=True)
class MirrorRead:
    """The mirror as a quorum had it, and a fresh id to mark an own swap with. ``record``: what this
    host had noted before it asked; another procedure may have noted more since this one began.
    """

    mirror: Mirror
    request_id: str
    record: Record


@dataclass(frozen=True)
class HeartbeatRead:
    """The lease as a quorum had it; None if there is none."""

    heartbeat: Heartbeat | None


@dataclass(frozen=True)
class Unreachable:
    """The API gave no usable answer."""

    message: str


@dataclass(frozen=True)
class DrbdRead:
    """What the kernel said, and the host's CLOCK_BOOTTIME afterwards. See ``Packets.last_at_s``."""

    drbd: DrbdView
    now_s: float
    link_lost_at_s: float | None
    last_packet_at_s: float | None = None


@dataclass(frozen=True)
class DomainRead:
    """What libvirt said; Unknown if it said nothing."""

    domain: DomainState


@dataclass(frozen=True)
class Swapped:
    """It is ours."""

    mirror: Mirror


@dataclass(frozen=True)
class SwapLost:
    """Somebody else wrote first; nothing was changed."""


@dataclass(frozen=True)
class SwapUnclear:
    """No answer: it may have landed, or may still land."""

    message: str


@dataclass(frozen=True)
class MetadataRead:
    """By volume."""

    metadata: Mapping[str, Metadata]


@dataclass(frozen=True)
class GenerationsRead:
    """By volume."""

    generations: Mapping[str, Generation]


@dataclass(frozen=True)
class Done:
    """It took effect."""


@dataclass(frozen=True)
class Failed:
    """It was refused or failed; the message is for people.

    ``killed``: the guest executes nothing any more, but the kernel still holds its process.
    ``refused``: libvirt did not start the guest, or this host could not note that it owns the
    mirror. It may the next time, or never.
    """

    message: str
    killed: bool = False
    refused: bool = False


Outcome = (
    MirrorRead
    | HeartbeatRead
    | Unreachable
    | DrbdRead
    | DomainRead
    | Swapped
    | SwapLost
    | SwapUnclear
    | MetadataRead
    | GenerationsRead
    | Done
    | Failed
)


@dataclass(frozen=True)
class Finished:
    """How a procedure ended. ``progress`` says whether anything was changed."""

    reason: Reason
    message: str
    progress: bool
    failed: bool = False


Procedure = Generator[Effect, Outcome, Finished]
