"""What the owner says before it has DRBD copy anew: that the peer is out until that is done."""

from tandem_actuator.core.authority.ownership import affirm
from tandem_actuator.core.authority.verdicts import Facts, Proposal, Refusal, Verdict
from tandem_actuator.core.model import DrbdState
from tandem_api.authority import Mode
from tandem_api.kinds.mirror import Mirror
from tandem_api.reasons import Reason
from tandem_api.vocabulary import Role


def copy_again(mirror: Mirror, facts: Facts, request_id: str) -> Verdict:
    """Rule 9, before the owner parts from its peer so that DRBD makes a copy that it forgot.

    A Primary that disconnects writes alone, and DRBD asks nobody. So only as one who may: this is
    said once more, and no swap that was made before can land afterwards.
    """
    verdict, drbd = _part_as_primary(mirror, facts, request_id), facts.drbd
    if not isinstance(verdict, Proposal) or not isinstance(drbd, DrbdState):
        return verdict
    if not drbd.in_sync or not (drbd.out_of_sync_bytes or facts.record.owes_copy):
        return Refusal(Reason.STEADY, "no copy was forgotten")
    return verdict


def resync_again(mirror: Mirror, facts: Facts, request_id: str) -> Verdict:
    """Rule 9, before an owner parts from its peer because the peer's resync stands still."""
    verdict, drbd = _part_as_primary(mirror, facts, request_id), facts.drbd
    if not isinstance(verdict, Proposal) or not isinstance(drbd, DrbdState):
        return verdict
    if drbd.peer_up_to_date or not drbd.own_up_to_date:
        return Refusal(Reason.STEADY, f"{facts.peer} is not being copied to")
    return verdict


def _part_as_primary(mirror: Mirror, facts: Facts, request_id: str) -> Verdict:
    verdict = affirm(mirror, facts, request_id)
    authority, drbd = mirror.status.authority, facts.drbd
    if isinstance(verdict, Refusal) or authority is None:
        return verdict
    if authority.mode is not Mode.STANDALONE or authority.may_own(facts.peer):
        return Refusal(Reason.STEADY, f"{facts.peer} may still be promoted")
    if not isinstance(drbd, DrbdState) or drbd.role is not Role.PRIMARY:
        return Refusal(Reason.STEADY, "only a Primary that disconnects begins a generation")
    return verdict
