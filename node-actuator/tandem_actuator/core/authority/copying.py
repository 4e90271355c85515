"""What the owner says of a peer that DRBD does not copy to: that it is out until that is done."""

from tandem_actuator.core.authority.held import opened
from tandem_actuator.core.authority.migrating import handed_over_first
from tandem_actuator.core.authority.ownership import affirm
from tandem_actuator.core.authority.seen import follows
from tandem_actuator.core.authority.verdicts import Facts, Proposal, Refusal, Settled, Verdict
from tandem_actuator.core.drbd import DrbdState
from tandem_api.authority import Eligibility, Mode, next_epoch
from tandem_api.kinds.mirror import Mirror
from tandem_api.reasons import Reason
from tandem_api.vocabulary import DiskState, Role


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


def owed(mirror: Mirror, facts: Facts, request_id: str) -> Verdict:
    """Rule 1, by the owner's record: the peer lacks something that DRBD may have forgotten.

    Said at once, also after a reboot and before the replica is up: nobody else has owned the mirror
    since, so whatever is acknowledged is here. Who was the owner stays as it is, and which boot of
    it: that is a claim's to change. Not where this disk is known to have failed, or to be behind.
    """
    authority = opened(mirror, facts.record)
    if isinstance(authority, Refusal):
        return authority
    if authority.owner != facts.host:
        return Refusal(Reason.NOT_OWNER, f"owner is {authority.owner or 'nobody'}")
    if not authority.both_count:
        return Settled(authority)
    first = handed_over_first(authority, facts)
    if first is not None:
        return first
    if not facts.record.owes_copy or not _may_have_all(facts):
        return Refusal(Reason.STEADY, "nothing to say")
    same_boot = facts.instance.same_boot(authority.owner_instance)
    if not same_boot and not follows(mirror, facts):
        return Refusal(Reason.PEER_STILL_PRIMARY, f"{facts.peer} does not follow this authority")
    why = Reason.PEER_DISK_NOT_UP_TO_DATE
    eligible = {
        facts.host: Eligibility(eligible=True, reason=why),
        facts.peer: Eligibility(eligible=False, reason=why),
    }
    return Proposal(
        next_epoch(
            authority,
            request_id,
            why,
            mode=Mode.STANDALONE,
            eligible=eligible,
            migration=None,
        )
    )


def _may_have_all(facts: Facts) -> bool:
    """After a boot, and without the peer, a sound disk is only Consistent, and marked for that."""
    drbd, marker = facts.drbd, facts.record.marker
    if marker and marker.reason is not Reason.ATTACHED_NOT_UP_TO_DATE:
        return False
    if not isinstance(drbd, DrbdState):
        return True
    sound = {DiskState.UP_TO_DATE, DiskState.CONSISTENT}
    return all(volume.disk in sound for volume in drbd.volumes.values())


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
