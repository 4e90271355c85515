"""Which assignments are takeovers, and which are moves."""

from tandem_api.kinds.guest import FencingProof, ProofKind
from tandem_api.reasons import Reason

TAKEOVER_PROOFS = (
    ProofKind.LEASE_LOST,
    ProofKind.FENCED,
    ProofKind.REBOOTED,
    ProofKind.PERSON,
    ProofKind.POWERED_OFF,
)
MOVES = (
    Reason.MAINTENANCE,
    Reason.FAILBACK,
    Reason.MOVE_REQUESTED,
    Reason.LOCAL_DISK_FAILED,
    Reason.START_REFUSED,
)


def is_takeover(proof: FencingProof | None) -> bool:
    """Whether an assignment with this proof takes a guest from another host."""
    return proof is not None and proof.kind in TAKEOVER_PROOFS
