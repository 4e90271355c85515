"""Which assignments are takeovers, and which are moves."""

from tandem_api.kinds.guest import TAKEOVER_PROOFS, FencingProof
from tandem_api.reasons import Reason

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
