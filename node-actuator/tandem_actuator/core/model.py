"""What a host knows of a mirror and its guest: all of it in one ``View``, frozen for a decision.

Values only. What its kernel says of DRBD is in ``core.drbd``. "Unknown" is a state of its own
everywhere: it is never read as "no".
"""

import math
from collections.abc import Mapping
from dataclasses import dataclass, field
from enum import StrEnum
from functools import cached_property

from tandem_actuator.core.drbd import DrbdView, Standstill
from tandem_actuator.core.packets import Packets
from tandem_actuator.core.session import Session
from tandem_api.authority import Instance
from tandem_api.kinds.guest import Guest
from tandem_api.kinds.mirror import Marker, Mirror
from tandem_api.timing import Timing
from tandem_api.vocabulary import DomainState


@dataclass(frozen=True)
class MigrationNote:
    """A host's part in a migration. ``run``: the instance of the actuator that began it.
    ``since_s``: when, on that boot's CLOCK_BOOTTIME.

    At the source, ``gone``: libvirt has said that all of the guest is at the target and nothing of
    it here. At the target, ``resumed``: libvirt was told to let it go on; whatever it answered, the
    guest may execute from then on. At either, ``over``: it comes to nothing, and two Primaries are
    forbidden again.
    """

    id: str
    run: str
    since_s: float
    gone: bool = False
    resumed: bool = False
    over: bool = False


@dataclass(frozen=True)
class Record:
    """What a host remembers of a mirror, fsynced, off the mirror.

    ``max_epoch``: the highest authority epoch it has seen. ``owned_epoch``: the epoch of the last
    authority that made it the owner, 0 if never. ``marker``: why its replica must not be promoted.
    ``attached``: whether this replica was ever part of the mirror, so that metadata that is
    missing later is a fault and not a new disk. ``started_boot_id``: the boot on which a guest was
    last started here, noted before it is: on any other boot, none can be running. ``unreadable``:
    why its file cannot be read; then nothing else in here is known.
    ``asynchronous``: writes may have been acknowledged that this replica lacks, since the last
    connection that was seen did not use protocol C, or used it before the replicas were in sync.
    ``generations``: each volume's data generation when this host, as the owner, last said that
    both replicas count; before a host acknowledges a write alone, DRBD begins another.
    ``unparted_boot_id``: the boot on which the disks were attached with just these, and so without
    a write that the peer may lack.
    ``owes_copy``: DRBD knew, as this host was the owner, that the peer lacks something that it was
    not copying. DRBD 9 may forget that; so what is noted here counts until a copy was begun.
    ``bits_gone``: since then it was seen to have forgotten; what its bits say later is not all.
    ``copied_for``: the ``since`` of the peer's marker that the last copy which this host has told
    DRBD to make has answered.
    ``outgoing``, ``incoming``: the guest is being sent from here, or to here, as it runs.
    """

    uid: str
    incarnation: str = ""
    max_epoch: int = 0
    owned_epoch: int = 0
    marker: Marker | None = None
    attached: bool = False
    started_boot_id: str = ""
    asynchronous: bool = False
    generations: Mapping[str, str] = field(default_factory=dict)
    unparted_boot_id: str = ""
    owes_copy: bool = False
    bits_gone: bool = False
    copied_for: str = ""
    outgoing: MigrationNote | None = None
    incoming: MigrationNote | None = None
    unreadable: str = ""


@dataclass(frozen=True)
class FenceProgress:
    """How far a self-fence came. ``since_s`` is when the run predicate turned false.

    ``killed``: SIGKILL was delivered to the guest, which executes nothing any more, although the
    kernel may still hold its process.
    """

    since_s: float
    killed: bool = False


@dataclass(frozen=True)
class Resync:
    """A resync, from the look that found it first until both are in sync.

    ``left_bytes``: the least that it had still to copy; None while it is interrupted.
    ``moved_at_s``: when that last got less, on CLOCK_BOOTTIME; ``moved_at``: the same, RFC 3339.
    ``renewals``: how often this host has connected anew because it stood still.
    """

    left_bytes: int | None
    moved_at_s: float
    moved_at: str
    renewals: int = 0


@dataclass(frozen=True)
class Refusals:
    """Starts of a guest that failed here in a row, by one order (``serial``): how many rounds of
    tries, the last of them when and why.
    """

    rounds: int
    serial: int
    at_s: float
    why: str


class JobState(StrEnum):
    """How far libvirt is with sending a guest."""

    RUNNING = "Running"
    SUCCEEDED = "Succeeded"
    FAILED = "Failed"


@dataclass(frozen=True)
class Job:
    """libvirt sends the guest away, for one migration. ``since_s``, ``ended_s``: CLOCK_BOOTTIME.
    ``why`` it has failed, in libvirt's words or those of who gave it up: then the guest goes on
    here, or is gone and nobody has heard of that. ``given_up``: why that was asked for.
    """

    migration: str
    since_s: float
    ended_s: float = math.inf
    state: JobState = JobState.RUNNING
    why: str = ""
    given_up: str = ""


@dataclass(frozen=True)
class Receiving:
    """This run is ready to be sent the guest. ``seen``: something of it was here."""

    migration: str
    since_s: float
    seen: bool = False


@dataclass(frozen=True)
class View:
    """Everything a host knows about one mirror and its guest at one moment.

    ``link_lost_at_s``: when this host itself saw the link go, on its CLOCK_BOOTTIME; None while
    connected. An actuator that has just started counts from its own start. ``in_sync_since_s``:
    since when every look found the replicas in sync. ``was_behind``: an event since the last look
    told that this replica lagged behind, even if it does no more. ``frozen_since_s``: since when
    every look found a Primary whose writes are suspended, without a peer or without data, counted
    anew after each question of DRBD's. ``without_data_since_s``: since when every look found that
    no current disk could be reached, here or over the link, whatever was asked. ``standstill``:
    what does not get on.
    ``dead_at_s``: before the look began that found the guest killed, and that it executes nothing
    any more; None if none did, or something was started since.
    ``shutdown_sent_at_s``: when the guest was first asked to stop, ``shutdown_heard``: libvirt has
    taken that.
    ``renewal_sent_at_s``: before the last confirmed heartbeat of this host was sent.
    ``deaf``: the API answers, and too late for any heartbeat of this host to be confirmed.
    ``lapsed``: the run predicate was false for some time, and since then this host has not made a
    swap that says that it is still the owner. ``heard_since_lapse``: a heartbeat has been confirmed
    since the last lapse.
    ``failures``: how often in a row what was tried did not help. ``refusals``: of its starts here.
    ``watchdog_refused``: there is none, or it could not be armed when that was last tried.
    ``unrecorded``: why this host can keep no record of the mirror, tried several times.
    ``drbd_major``: the kernel's DRBD, 8 for 8.4.
    ``acknowledged``: this host lives on the link by what has arrived at the peer (``packets``), for
    ``link_lasts_s`` since then; else by its looks alone.
    ``peer_timing``: the timing with which the peer last published its heartbeat, if it is known.
    ``job``: this run has libvirt send the guest away. ``receiving``: this run takes it in.
    ``session``: what DRBD's events have told since this run has promoted the device.
    ``refused_move``: why it could not be sent by the order that stands. ``started_by``: the serial
    of the assignment by which this run has started the guest, or taken it in; 0 if it has not.
    ``listed``: this run has been told of all guests, so that ``guest`` is more than what an earlier
    run knew.
    ``mirror`` and ``guest`` come from a watch and may be stale; whatever is irreversible starts
    with a quorum read.
    """

    host: str
    instance: Instance
    mirror: Mirror
    guest: Guest | None
    record: Record
    drbd: DrbdView
    domain: DomainState
    timing: Timing
    peer_timing: Timing | None
    watchdog_armed: bool
    watchdog_required: bool
    addresses: Mapping[str, str]
    link_lost_at_s: float | None = None
    packets: Packets = field(default_factory=Packets)
    acknowledged: bool = False
    link_lasts_s: float = 0.0
    in_sync_since_s: float | None = None
    was_behind: bool = False
    resync: Resync | None = None
    frozen_since_s: float | None = None
    without_data_since_s: float | None = None
    standstill: Standstill = field(default_factory=Standstill)
    starting: bool = False
    handler_running: bool = False
    shutdown_sent_at_s: float | None = None
    shutdown_heard: bool = False
    fence: FenceProgress | None = None
    dead_at_s: float | None = None
    failures: int = 0
    refusals: Refusals | None = None
    unrecorded: str = ""
    watchdog_refused: bool = True
    watchdog_least_s: int | None = None
    renewal_sent_at_s: float | None = None
    deaf: bool = False
    lapsed: bool = False
    heard_since_lapse: bool = False
    drbd_major: int = 8
    listed: bool = True
    job: Job | None = None
    receiving: Receiving | None = None
    session: Session = field(default_factory=Session)
    refused_move: str = ""
    started_by: int = 0

    @property
    def paused_by(self) -> str:
        """The objects that have the guest paused, in words: it is neither started nor stopped."""
        return self.guest.status.paused_by if self.guest is not None else ""

    @cached_property
    def peer(self) -> str:
        return self.mirror.peer_of(self.host)

    def runs_note(self, note: MigrationNote | None) -> MigrationNote | None:
        """The note, if it is of this boot: a reboot ends whatever was sent."""
        return note if note is not None and self.instance.same_boot(note.run) else None

    @property
    def was_sent(self) -> MigrationNote | None:
        """By which migration libvirt was told to let go on what was sent here, on this boot."""
        note = self.runs_note(self.record.incoming)
        return note if note is not None and note.resumed and not note.over else None

    @property
    def holds_half(self) -> bool:
        """libvirt has here what was sent of a guest; it executes nothing until it is resumed."""
        note = self.runs_note(self.record.incoming)
        return self.domain is DomainState.PAUSED and note is not None and not note.resumed

    @cached_property
    def guest_may_run(self) -> bool:
        """Whether the guest may be executing here, or holds its device although it is dead.

        A start that is under way counts. If libvirt does not tell, what this boot's record tells
        counts: a guest that was never started on this boot is not running on it, unless the record
        cannot be read.
        """
        if self.starting:
            return True
        if self.domain is DomainState.UNKNOWN:
            here = self.record.started_boot_id == self.instance.boot_id
            return here or bool(self.record.unreadable)
        return self.domain is not DomainState.ABSENT and not self.holds_half

    @property
    def guest_is_dead(self) -> bool:
        """It was killed and executes nothing any more, and the kernel holds its process."""
        return self.guest_may_run and not self.starting and self.dead_at_s is not None


def serial_of(guest: Guest | None) -> int:
    """Of its assignment; 0 if it has none."""
    assignment = guest.status.assignment if guest else None
    return assignment.serial if assignment else 0
