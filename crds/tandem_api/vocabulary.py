"""The words for what is seen and told, once, for both programs: states and phases.

A host reports states in its objects, where they are plain text: a program with a new word must be
able to report while another is still the old one. "Unknown" is a state of its own everywhere: it is
never read as "no". Values only.
"""

from enum import StrEnum


class Role(StrEnum):
    """A DRBD role. 8.4 keeps it per volume; the adapter reports Unknown if volumes disagree."""

    PRIMARY = "Primary"
    SECONDARY = "Secondary"
    UNKNOWN = "Unknown"


class Connection(StrEnum):
    """A DRBD connection state, as ``drbdsetup events2`` names them."""

    STANDALONE = "StandAlone"
    DISCONNECTING = "Disconnecting"
    UNCONNECTED = "Unconnected"
    TIMEOUT = "Timeout"
    BROKEN_PIPE = "BrokenPipe"
    NETWORK_FAILURE = "NetworkFailure"
    PROTOCOL_ERROR = "ProtocolError"
    TEAR_DOWN = "TearDown"
    CONNECTING = "Connecting"
    CONNECTED = "Connected"
    UNKNOWN = "Unknown"


class DiskState(StrEnum):
    """A DRBD disk state."""

    DISKLESS = "Diskless"
    ATTACHING = "Attaching"
    DETACHING = "Detaching"
    FAILED = "Failed"
    NEGOTIATING = "Negotiating"
    INCONSISTENT = "Inconsistent"
    OUTDATED = "Outdated"
    UNKNOWN = "DUnknown"
    CONSISTENT = "Consistent"
    UP_TO_DATE = "UpToDate"


GONE_DISKS = frozenset({DiskState.DISKLESS, DiskState.DETACHING, DiskState.FAILED})
"""To these nothing goes any more. One that DRBD was made to give up is Failed on 8.4, Detaching on
9, until it has answered what it owes.
"""


class DomainState(StrEnum):
    """A guest's domain in libvirt."""

    ABSENT = "Absent"
    RUNNING = "Running"
    PAUSED = "Paused"
    SHUTTING_DOWN = "ShuttingDown"
    UNKNOWN = "Unknown"

    @property
    def may_run(self) -> bool:
        """Whether the guest may be executing or writing here: everything but a clear no."""
        return self is not DomainState.ABSENT


# What a host reports beside these, for what the kernel or libvirt has no word.
NOT_CONFIGURED = "NotConfigured"
"""A connection: the replica is not brought up there. The kernel has no such device."""
STARTING = "Starting"
"""A guest that it is about to start: it may run any moment."""


class GuestPhase(StrEnum):
    """Guest.status.phase.

    PENDING      no host was chosen yet.
    STARTING     a host was told to start it.
    RUNNING      its host says that it runs, and owns its mirror.
    TAKING_OVER  the other host was told to start it, because its host was lost.
    MOVING       it is stopped here to be started there, as planned.
    STOPPING     it shall not run, and a host has not confirmed that it stopped.
    STOPPED      it shall not run and does not.
    BLOCKED      something should be done and may not be; see the reason.
    FAILED       its host cannot start it; see the reason.
    UNKNOWN      its host cannot be asked; it may run.
    """

    PENDING = "Pending"
    STARTING = "Starting"
    RUNNING = "Running"
    TAKING_OVER = "TakingOver"
    MOVING = "Moving"
    STOPPING = "Stopping"
    STOPPED = "Stopped"
    BLOCKED = "Blocked"
    FAILED = "Failed"
    UNKNOWN = "Unknown"


class MovePhase(StrEnum):
    """GuestMove.status.phase.

    PENDING    it waits; the message says for what.
    MOVING     the guest is stopped where it was, and started at the other host, or brought back.
    SUCCEEDED  the guest runs where it was to go.
    FAILED     it does not; the message says why. Nothing more is done about this move.
    """

    PENDING = "Pending"
    MOVING = "Moving"
    SUCCEEDED = "Succeeded"
    FAILED = "Failed"

    @property
    def ended(self) -> bool:
        return self in (MovePhase.SUCCEEDED, MovePhase.FAILED)


class MirrorPhase(StrEnum):
    """Mirror.status.phase. The first that applies.

    INVALID          the spec is refused, and the mirror was never set up.
    HOLD             the authority is on hold until a person has looked.
    SPLIT_BRAIN      both replicas hold writes that the other lacks.
    NOT_INITIALISED  the replicas were never in sync.
    REDUNDANT        connected, in sync, Mirrored: the loss of either host costs nothing.
    RESYNCING        connected; one replica is being brought up to date.
    DEGRADED         one good copy only.
    """

    INVALID = "Invalid"
    HOLD = "Hold"
    SPLIT_BRAIN = "SplitBrain"
    NOT_INITIALISED = "NotInitialised"
    REDUNDANT = "Redundant"
    RESYNCING = "Resyncing"
    DEGRADED = "Degraded"


class HostPhase(StrEnum):
    """Host.status.phase. The first that applies.

    LOST         its heartbeat has been the same for its lease's duration.
    NEVER        no heartbeat of it was ever seen.
    READY        guests can be started there.
    MAINTENANCE  it is in maintenance, or its site.
    NOT_READY    nothing can be started there; its condition Ready says why.
    """

    LOST = "Lost"
    NEVER = "Never"
    READY = "Ready"
    MAINTENANCE = "Maintenance"
    NOT_READY = "NotReady"


class SitePhase(StrEnum):
    """Site.status.phase. The first that applies.

    EMPTY        it has no host.
    LOST         the newest heartbeat of its hosts is lost.
    NEVER        no heartbeat of its hosts was ever seen.
    MAINTENANCE  a person has asked for that.
    READY        every host is ready.
    DEGRADED     some host is ready, and some is not.
    NOT_READY    no host is.
    """

    EMPTY = "Empty"
    LOST = "Lost"
    NEVER = "Never"
    MAINTENANCE = "Maintenance"
    READY = "Ready"
    DEGRADED = "Degraded"
    NOT_READY = "NotReady"
