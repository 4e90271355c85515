"""Why: the closed set of reasons that Tandem gives, for acting and for not acting.

Every decision, condition, event and refusal carries one. Grep a reason seen in ``kubectl`` here
and then in ``decide``/``core``: it is set in one place.
"""

import re
from enum import StrEnum
from typing import Self

PATTERN = r"^[A-Za-z0-9]*$"
MAX_LENGTH = 128


class OpenWords(StrEnum):
    """The members are all that this version gives. One that another version gave is read as it is
    and written back as it is, and equals no member: an object must not become unreadable, and a
    guest's writes stay frozen, because one of several programs was upgraded first, or put back.
    """

    @classmethod
    def _missing_(cls, value: object) -> "Self | None":
        if not isinstance(value, str) or len(value) > MAX_LENGTH or not re.match(PATTERN, value):
            return None
        other = str.__new__(cls, value)
        other._name_, other._value_ = "OF_ANOTHER_VERSION", value
        return other


class Reason(OpenWords):
    """CamelCase, as Kubernetes writes condition reasons."""

    # Authority: why a host may or may not own a mirror, and why authority changed
    INITIAL = "Initial"
    NOT_INITIALISED = "NotInitialised"
    IN_SYNC = "InSync"
    LINK_LOST = "LinkLost"
    PEER_DISK_NOT_UP_TO_DATE = "PeerDiskNotUpToDate"
    TAKEN_OVER = "TakenOver"
    CLAIMED = "Claimed"
    RELEASED = "Released"
    ADOPTED = "Adopted"
    OVERRIDDEN = "Overridden"
    MIGRATING = "Migrating"
    HANDED_OVER = "HandedOver"
    MIGRATION_OVER = "MigrationOver"

    # Refusals by a host
    HOLD_EPOCH_REGRESSED = "HoldEpochRegressed"
    HOLD_IDENTITY_CHANGED = "HoldIdentityChanged"
    HOLD_PROTOCOL_TOO_NEW = "HoldProtocolTooNew"
    HOLD_RECORD_UNREADABLE = "HoldRecordUnreadable"
    HOLD_MODE = "HoldMode"
    API_UNREACHABLE = "ApiUnreachable"
    CONFLICT = "Conflict"
    OUTCOME_UNKNOWN = "OutcomeUnknown"
    PEER_HOLDS_STANDALONE = "PeerHoldsStandalone"
    PEER_OWNS = "PeerOwns"
    NOT_OWNER = "NotOwner"
    NOT_ELIGIBLE = "NotEligible"
    MARKED_STALE = "MarkedStale"
    DISK_NOT_USABLE = "DiskNotUsable"
    PROTOCOL_NOT_SYNCHRONOUS = "ProtocolNotSynchronous"
    NOT_ASSIGNED = "NotAssigned"
    ASSIGNMENT_OUTDATED = "AssignmentOutdated"
    LEASE_CHANGED = "LeaseChanged"
    WAITING_FOR_LINK = "WaitingForLink"
    PEER_STILL_CONNECTED = "PeerStillConnected"
    PEER_STILL_PRIMARY = "PeerStillPrimary"
    NOT_YET_IN_SYNC = "NotYetInSync"
    PEER_MARKER_SET = "PeerMarkerSet"
    LINK_IS_BACK = "LinkIsBack"
    UNKNOWN_STATE = "UnknownState"
    FOREIGN_PRIMARY = "ForeignPrimary"
    SPLIT_BRAIN = "SplitBrain"

    # What a host does with a mirror or guest
    STEADY = "Steady"
    BRINGING_UP = "BringingUp"
    METADATA_MISSING = "MetadataMissing"
    METADATA_OF_OTHER_DRBD = "MetadataOfOtherDrbd"
    FIRST_SYNC = "FirstSync"
    CONNECTING = "Connecting"
    REJOINING = "Rejoining"
    RESYNC_STALLED = "ResyncStalled"
    LINK_UNUSABLE = "LinkUnusable"
    DRBD_STALLED = "DrbdStalled"
    DISK_STALLED = "DiskStalled"
    GRANT_NOT_USED = "GrantNotUsed"
    PROMOTING = "Promoting"
    DEMOTING = "Demoting"
    DATA_UNREACHABLE = "DataUnreachable"
    GUEST_PAUSED = "GuestPaused"
    STARTING = "Starting"
    STOPPING = "Stopping"
    DESTROYING = "Destroying"
    RELEASING = "Releasing"
    MIGRATION_FAILED = "MigrationFailed"
    RECEIVING = "Receiving"
    RESUMING = "Resuming"
    START_FAILED = "StartFailed"
    START_REFUSED = "StartRefused"
    EFFECT_FAILED = "EffectFailed"
    RUN_CONFIRMED_BY_LEASE = "RunConfirmedByLease"
    RUN_CONFIRMED_BY_PEER = "RunConfirmedByPeer"
    SELF_FENCED = "SelfFenced"
    SELF_FENCING = "SelfFencing"

    # Marker (rule 8)
    ATTACHED_NOT_UP_TO_DATE = "AttachedNotUpToDate"
    DIFFERENCE_FOUND = "DifferenceFound"
    LOCAL_DISK_FAILED = "LocalDiskFailed"
    RECORD_MISSING = "RecordMissing"

    # The controller
    RUNNING = "Running"
    SPEC_VALID = "SpecValid"
    SPEC_INVALID = "SpecInvalid"
    NOT_REQUESTED = "NotRequested"
    MIRROR_NOT_FOUND = "MirrorNotFound"
    MIRROR_NOT_READY = "MirrorNotReady"
    INITIAL_PLACEMENT = "InitialPlacement"
    HOST_NOT_READY = "HostNotReady"
    NO_ROOM = "NoRoom"
    WAITING_FOR_LEASE = "WaitingForLease"
    WAITING_FOR_FENCING_PROOF = "WaitingForFencingProof"
    LEASE_LOST = "LeaseLost"
    HOST_FENCED = "HostFenced"
    HOST_REBOOTED = "HostRebooted"
    CONFIRMED_BY_PERSON = "ConfirmedByPerson"
    POWERED_OFF = "PoweredOff"
    POWERING_OFF = "PoweringOff"
    BOTH_SITES_STALE = "BothSitesStale"
    FAILOVER_MANUAL = "FailoverManual"
    FAILBACK = "Failback"
    FAILBACK_MANUAL = "FailbackManual"
    MAINTENANCE = "Maintenance"
    MOVE_REQUESTED = "MoveRequested"
    MOVE_WAITING = "MoveWaiting"
    MOVE_TAKEN_BACK = "MoveTakenBack"
    MOVE_TIMED_OUT = "MoveTimedOut"
    MOVE_IMPOSSIBLE = "MoveImpossible"
    MOVED = "Moved"
    DRAINING = "Draining"
    DRAIN_BLOCKED = "DrainBlocked"
    DRAINED = "Drained"
    PAUSED = "Paused"
    PAUSE_UNHEARD = "PauseUnheard"
    NOT_PAUSED = "NotPaused"
    AS_PREFERRED = "AsPreferred"
    NOT_PREFERRED = "NotPreferred"
    PROTECTED = "Protected"
    RESYNCING = "Resyncing"
    HARDWARE_UNCHECKED = "HardwareUnchecked"
    HARDWARE_REFUSED = "HardwareRefused"
    DEVICE_TOO_SMALL = "DeviceTooSmall"
    DEVICES_DIFFER = "DevicesDiffer"
    LARGE_ENOUGH = "LargeEnough"
    CONNECTED = "Connected"
    NOT_CONNECTED = "NotConnected"
    HEARTBEAT_FRESH = "HeartbeatFresh"
    HEARTBEAT_LATE = "HeartbeatLate"
    HEARTBEAT_LOST = "HeartbeatLost"
    HEARTBEAT_NEVER_SEEN = "HeartbeatNeverSeen"
    WATCHDOG_ARMED = "WatchdogArmed"
    WATCHDOG_NOT_ARMED = "WatchdogNotArmed"
    REPORTS_DELIVERED = "ReportsDelivered"
    REPORTS_UNDELIVERED = "ReportsUndelivered"
    DRBD_FILES_READABLE = "DrbdFilesReadable"
    DRBD_FILES_UNREADABLE = "DrbdFilesUnreadable"
    CLOCK_RATE_IN_BOUND = "ClockRateInBound"
    CLOCK_TOO_SLOW = "ClockTooSlow"
    CLOCK_TOO_FAST = "ClockTooFast"
    FENCE_AGENT_WORKS = "FenceAgentWorks"
    FENCE_AGENT_FAILS = "FenceAgentFails"
    FENCE_AGENT_ELSEWHERE = "FenceAgentElsewhere"
    READY = "Ready"
    AUTHORITY_UNLAWFUL = "AuthorityUnlawful"
    DELETING = "Deleting"
    OVERRIDE_STALE = "OverrideStale"
    OVERRIDE_WAITING = "OverrideWaiting"
    OVERRIDE_REFUSED = "OverrideRefused"

    # Either program
    INTERNAL_ERROR = "InternalError"
