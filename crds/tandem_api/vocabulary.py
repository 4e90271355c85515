"""The words for what is seen of a device, a connection and a domain: once, for both programs.

A host reports them in its objects, where they are plain text: a program with a new word must be
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
