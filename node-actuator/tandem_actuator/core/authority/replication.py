"""Who may write alone, and when both replicas count again (rules 1, 4 to 8)."""

from tandem_actuator.core.authority.held import opened, owned
from tandem_actuator.core.authority.migrating import handed_over_first
from tandem_actuator.core.authority.seen import (
    follows,
    is_secondary,
    not_in_sync,
    peer_wrote_alone,
    unfit_for_the_peer,
)
from tandem_actuator.core.authority.verdicts import Facts, Proposal, Refusal, Settled, Verdict
from tandem_actuator.core.drbd import DrbdState
from tandem_api.authority import Authority, Eligibility, Mode, next_epoch
from tandem_api.kinds.mirror import Mirror
from tandem_api.reasons import Reason
from tandem_api.vocabulary import Role


def grant_link_loss(mirror: Mirror, facts: Facts, request_id: str) -> Verdict:
    """Rule 4: the frozen owner asks to go on alone.

    Always a swap, also if the authority already says Standalone: an own swap back to Mirrored
    that is still on its way must fail. A short-cut here loses writes.
    """
    authority = opened(mirror, facts.record)
    if isinstance(authority, Refusal):
        return authority
    if authority.owner != facts.host or not facts.instance.same_boot(authority.owner_instance):
        return Refusal(
            Reason.PEER_OWNS if authority.owner == facts.peer else Reason.NOT_OWNER,
            f"owner is {authority.owner or 'nobody'} ({authority.owner_instance}), epoch"
            f" {authority.epoch}; {facts.host} must not go on",
        )
    if authority.mode is Mode.HOLD:
        return Refusal(Reason.HOLD_MODE, "authority is on hold")
    drbd = facts.drbd
    if isinstance(drbd, DrbdState):
        if drbd.role is not Role.PRIMARY:
            return Refusal(Reason.NOT_OWNER, "not Primary: a promotion asks for itself")
        if drbd.connected:
            return Refusal(Reason.LINK_IS_BACK, "the replication link is back")
        if not drbd.own_up_to_date:
            return Refusal(
                Reason.DISK_NOT_USABLE, f"{facts.host}'s own disk is not UpToDate: the data is away"
            )
    return Proposal(_standalone(authority, facts, request_id, Reason.LINK_LOST))


def _standalone(authority: Authority, facts: Facts, request_id: str, why: Reason) -> Authority:
    eligible = {
        facts.host: Eligibility(eligible=True, reason=why),
        facts.peer: Eligibility(eligible=False, reason=why),
    }
    return next_epoch(
        authority,
        request_id,
        why,
        mode=Mode.STANDALONE,
        owner_instance=str(facts.instance),
        eligible=eligible,
        migration=None,
    )


def confirm_promotion(mirror: Mirror, facts: Facts) -> Verdict:
    """Rule 5: the promotion that is under way here may go on; the swap was made before it."""
    authority = opened(mirror, facts.record)
    if isinstance(authority, Refusal):
        return authority
    if authority.owner == facts.peer and authority.mode is Mode.STANDALONE:
        return peer_wrote_alone(authority, facts)
    if authority.owner != facts.host or authority.owner_instance != str(facts.instance):
        return Refusal(Reason.NOT_OWNER, f"owner is {authority.owner or 'nobody'}")
    if authority.mode is not Mode.STANDALONE or authority.may_own(facts.peer):
        return Refusal(
            Reason.CONFLICT,
            f"the link was lost after {facts.host} claimed; it must claim to go on alone first",
        )
    return Settled(authority)


def restore(mirror: Mirror, facts: Facts, request_id: str) -> Verdict:
    """Rule 7: back to Mirrored, by the owner; without an owner, by either host.

    A later boot of the owner may, too, where nobody is Primary: what it sees in sync holds all.
    """
    authority = opened(mirror, facts.record)
    if isinstance(authority, Refusal):
        return authority
    if authority.owner not in ("", facts.host):
        return Refusal(Reason.NOT_OWNER, f"owner is {authority.owner}")
    same_boot = not authority.owner or facts.instance.same_boot(authority.owner_instance)
    if not same_boot and not is_secondary(facts.drbd):
        return Refusal(Reason.NOT_OWNER, "Primary, and owned by an earlier boot of this host")
    if not same_boot and not follows(mirror, facts):
        return Refusal(Reason.PEER_STILL_PRIMARY, f"{facts.peer} does not follow this authority")
    if authority.mode not in (Mode.MIRRORED, Mode.STANDALONE):
        return Refusal(Reason.HOLD_MODE, f"authority is in mode {authority.mode}")
    if authority.mode is Mode.MIRRORED and all(
        authority.may_own(host) for host in (facts.host, facts.peer)
    ):
        return Settled(authority)
    refusal = not_in_sync(mirror, facts)
    if refusal:
        return refusal
    both = Eligibility(eligible=True, reason=Reason.IN_SYNC)
    return Proposal(
        next_epoch(
            authority,
            request_id,
            Reason.IN_SYNC,
            mode=Mode.MIRRORED,
            eligible={facts.host: both, facts.peer: both},
            override=None,
        )
    )


def withdraw(mirror: Mirror, facts: Facts, request_id: str) -> Verdict:
    """Rule 7 without the peer: a grant of an earlier boot that DRBD was never told of.

    Before DRBD acknowledges a write alone it begins a new generation of the data. So if it is still
    the one of when both replicas counted, the peer has every acknowledged write and may be
    promoted. This replica may have been overtaken unseen; its marker says so.
    """
    authority = opened(mirror, facts.record)
    if isinstance(authority, Refusal):
        return authority
    drbd = facts.drbd
    lost = authority.eligible.get(facts.peer)
    granted = lost is not None and not lost.eligible and lost.reason is Reason.LINK_LOST
    if authority.owner != facts.host or authority.mode is not Mode.STANDALONE or not granted:
        return Refusal(Reason.NOT_OWNER, f"{facts.host} was not allowed to write alone")
    if facts.instance.same_boot(authority.owner_instance) or authority.override is not None:
        return Refusal(Reason.STEADY, "the grant is not of an earlier boot")
    if facts.record.unparted_boot_id != facts.instance.boot_id or not facts.record.marker:
        return Refusal(Reason.STEADY, f"{facts.host} may have written alone, or is current")
    if facts.record.owes_copy:
        return Refusal(Reason.NOT_YET_IN_SYNC, f"{facts.peer} lacks what was not copied to it")
    if not is_secondary(drbd):
        return Refusal(Reason.UNKNOWN_STATE, "the device is not known to be Secondary")
    not_for_the_peer = unfit_for_the_peer(mirror, facts)
    if not_for_the_peer is not None:
        return not_for_the_peer
    both = Eligibility(eligible=True, reason=Reason.GRANT_NOT_USED)
    return Proposal(
        next_epoch(
            authority,
            request_id,
            Reason.GRANT_NOT_USED,
            mode=Mode.MIRRORED,
            eligible={facts.host: both, facts.peer: both},
        )
    )


def degrade(mirror: Mirror, facts: Facts, request_id: str) -> Verdict:
    """Say Standalone as soon as the peer's disk is not current, although DRBD asked nobody.

    DRBD freezes and asks only when a connected, current peer is lost. When the peer's disk fails
    or is being resynchronised, it goes on alone without a word. And it may call both current and
    know, as after a verification, that they differ: then the peer is copied to once more.
    """
    authority = owned(mirror, facts)
    if isinstance(authority, Refusal):
        return authority
    if not authority.both_count:
        return Settled(authority)
    first = handed_over_first(authority, facts)
    if first is not None:
        return first
    drbd = facts.drbd
    if not isinstance(drbd, DrbdState) or not drbd.own_up_to_date:
        return Refusal(Reason.STEADY, "nothing to say")
    if drbd.in_sync and not (drbd.out_of_sync_bytes or facts.record.owes_copy):
        return Refusal(Reason.STEADY, "nothing to say")
    return Proposal(_standalone(authority, facts, request_id, Reason.PEER_DISK_NOT_UP_TO_DATE))
