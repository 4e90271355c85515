"""The phases of a guest, and which assignments are takeovers or moves."""

from enum import StrEnum

from tandem_api.guest import FencingProof, ProofKind
from tandem_api.reasons import Reason


class Phase(StrEnum):
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


TAKEOVER_PROOFS = (
    ProofKind.LEASE_LOST,
    ProofKind.FENCED,
    ProofKind.REBOOTED,
    ProofKind.PERSON,
)
MOVES = (Reason.MAINTENANCE, Reason.FAILBACK, Reason.LOCAL_DISK_FAILED, Reason.START_REFUSED)


def is_takeover(proof: FencingProof | None) -> bool:
    """Whether an assignment with this proof takes a guest from another host."""
    return proof is not None and proof.kind in TAKEOVER_PROOFS
