"""A host becomes the owner of a mirror, to start its guest (rules 7, 9, 12 to 15)."""

from tandem_actuator.core.authority.held import opened
from tandem_actuator.core.authority.seen import link_long_lost, may_lack_the_last, peer_wrote_alone
from tandem_actuator.core.authority.verdicts import Facts, Proposal, Refusal, Verdict
from tandem_actuator.core.drbd import DrbdState
from tandem_api.authority import Authority, Eligibility, Instance, Mode, next_epoch
from tandem_api.kinds.guest import Assignment, FencingProof, ProofKind
from tandem_api.kinds.mirror import Mirror, Protocol
from tandem_api.lease import Heartbeat
from tandem_api.reasons import Reason
from tandem_api.vocabulary import DiskState, Role


def claim(
    mirror: Mirror,
    facts: Facts,
    assignment: Assignment | None,
    heartbeat: Heartbeat | None,
    request_id: str,
) -> Verdict:
    """Rules 6, 12, 13, 14: become the owner, so as to promote.

    ``heartbeat`` is the old owner's lease; None is accepted only for a first look at cached
    values, before the real one is read.
    """
    authority = opened(mirror, facts.record)
    if isinstance(authority, Refusal):
        return authority
    if not (authority.both_count or authority.mode is Mode.STANDALONE):
        return Refusal(Reason.HOLD_MODE, f"authority is in mode {authority.mode}")
    if assignment is None or assignment.host != facts.host:
        return Refusal(Reason.NOT_ASSIGNED, f"the guest is not assigned to {facts.host}")
    if authority.owner == facts.peer and authority.mode is Mode.STANDALONE:
        return peer_wrote_alone(authority, facts)
    if not authority.may_own(facts.host):
        entry = authority.eligible.get(facts.host)
        why = entry.reason if entry else Reason.NOT_INITIALISED
        return Refusal(
            Reason.NOT_ELIGIBLE,
            f"{facts.host} may lack acknowledged writes ({why} at epoch {authority.epoch})",
        )
    overridden = _overridden_for(authority, facts)
    unusable = _local_copy_unusable(facts, overridden=overridden)
    if unusable:
        return unusable
    not_stopped = _peer_may_run(mirror, authority, facts, assignment, heartbeat)
    if not_stopped:
        return not_stopped
    return _claimed(authority, facts, request_id, force=overridden)


def _overridden_for(authority: Authority, facts: Facts) -> bool:
    """A person's override for this host, until it was used: a later boot is not covered by it."""
    override = authority.override
    unused = authority.owner == "" or facts.instance.same_boot(authority.owner_instance)
    return (
        override is not None
        and override.accept_data_loss
        and override.host == facts.host
        and unused
    )


def _local_copy_unusable(facts: Facts, *, overridden: bool) -> Refusal | None:
    """The local half of rule 6: no marker, every disk readable and current as far as it knows."""
    drbd = facts.drbd
    if not isinstance(drbd, DrbdState):
        return Refusal(Reason.UNKNOWN_STATE, "DRBD's state is not known here")
    if facts.record.marker and not overridden:
        return Refusal(
            Reason.MARKED_STALE,
            f"{facts.host}'s replica is marked as possibly stale ({facts.record.marker.reason});"
            " it must be in sync with the peer once before it can be promoted",
        )
    usable = {DiskState.UP_TO_DATE, DiskState.CONSISTENT} | (
        {DiskState.OUTDATED} if overridden else set()
    )
    bad = {n: v.disk for n, v in drbd.volumes.items() if v.disk not in usable}
    if bad or not drbd.volumes:
        states = ", ".join(f"{name} is {disk}" for name, disk in sorted(bad.items()))
        return Refusal(Reason.DISK_NOT_USABLE, f"on {facts.host}: {states or 'no volume'}")
    if drbd.connected and drbd.peer_role is not Role.SECONDARY:
        return Refusal(
            Reason.PEER_STILL_PRIMARY,
            f"{facts.host} sees {facts.peer} as {drbd.peer_role} over the replication link",
        )
    return None


def _not_received(mirror: Mirror, authority: Authority, facts: Facts) -> Refusal | None:
    """With protocol A, what the last owner wrote last may be on its way, or lost with the link.

    Its being Secondary is told by DRBD in the same stream, behind all that it wrote.
    """
    last = max(authority.fenced, key=lambda host: authority.fenced[host].epoch, default="")
    complete = last in ("", facts.host) or _overridden_for(authority, facts)
    if complete or not may_lack_the_last(mirror, facts):
        return None
    if isinstance(facts.drbd, DrbdState) and facts.drbd.in_sync:
        return None
    return Refusal(
        Reason.PROTOCOL_NOT_SYNCHRONOUS,
        f"without protocol C {facts.host} may lack what {last} wrote last. It can be started here"
        f" as soon as both are connected and in sync. Else: on {last}, or with spec.override on the"
        " mirror, which gives those writes up",
    )


def _peer_may_run(
    mirror: Mirror,
    authority: Authority,
    facts: Facts,
    assignment: Assignment,
    heartbeat: Heartbeat | None,
) -> Refusal | None:
    """Rules 12 and 13 from the taker's side: is the proof about exactly this owner, still?"""
    if authority.owner == facts.host:
        return None
    if authority.owner == "":
        return _not_received(mirror, authority, facts)
    proof = assignment.proof
    if proof is None or proof.kind in (ProofKind.UNOWNED, ProofKind.SAME_HOST):
        return Refusal(Reason.PEER_OWNS, f"waiting for {facts.peer} to stop and release it")
    if (proof.at_epoch, proof.instance) != (authority.epoch, authority.owner_instance):
        return Refusal(
            Reason.ASSIGNMENT_OUTDATED,
            f"the assignment was decided at epoch {proof.at_epoch} about {proof.instance}; now it"
            f" is epoch {authority.epoch} and {authority.owner_instance}",
        )
    not_synchronous = _not_synchronous(mirror, facts)
    if not_synchronous is not None:
        return not_synchronous
    check = _PROOF_CHECKS.get(proof.kind, _check_unknown)
    return check(proof, authority, facts, heartbeat)


def _not_synchronous(mirror: Mirror, facts: Facts) -> Refusal | None:
    """What DRBD used counts, and not only what was written since."""
    assert isinstance(facts.drbd, DrbdState)
    used = facts.drbd.protocol or Protocol.C
    if mirror.spec.protocol is not Protocol.C:
        what = f"protocol {mirror.spec.protocol}"
    elif used is not Protocol.C:
        what = f"protocol {used}, which DRBD still uses,"
    elif facts.record.asynchronous:
        what = "protocol A or B, which DRBD used when the replicas were connected last,"
    else:
        return None
    return Refusal(
        Reason.PROTOCOL_NOT_SYNCHRONOUS,
        f"{what} may lose acknowledged writes in a takeover; only a person can order it, with"
        " spec.override on the mirror",
    )


def _check_lease_lost(
    proof: FencingProof, authority: Authority, facts: Facts, heartbeat: Heartbeat | None
) -> Refusal | None:
    if not proof.watchdog:
        return Refusal(
            Reason.WAITING_FOR_FENCING_PROOF,
            f"{facts.peer} has no watchdog: its silence does not prove that it stopped",
        )
    wait_s, acknowledged = facts.link_wait_s, proof.link_acknowledged
    if heartbeat is not None:
        if heartbeat.version != proof.lease_version:
            return Refusal(Reason.LEASE_CHANGED, f"{facts.peer} has sent a heartbeat again")
        if heartbeat.timing is None:
            return Refusal(
                Reason.UNKNOWN_STATE, f"{facts.peer}'s lease does not tell by which timing it lives"
            )
        wait_s = max(wait_s, heartbeat.timing.link_wait_s)
        acknowledged = heartbeat.link_acknowledged
    return link_long_lost(facts, wait_s, acknowledged=acknowledged)


def _check_fenced(
    proof: FencingProof, authority: Authority, facts: Facts, heartbeat: Heartbeat | None
) -> Refusal | None:
    record = authority.fenced.get(facts.peer)
    if record is None or record.instance != proof.instance:
        return Refusal(Reason.ASSIGNMENT_OUTDATED, f"{facts.peer} has no matching fenced record")
    return None


def _check_rebooted(
    proof: FencingProof, authority: Authority, facts: Facts, heartbeat: Heartbeat | None
) -> Refusal | None:
    if heartbeat is None:
        return None
    now = Instance.parse(heartbeat.instance)
    if now is None or now.same_boot(proof.instance):
        return Refusal(Reason.LEASE_CHANGED, f"{facts.peer} shows no new boot")
    return None


def _check_person(
    proof: FencingProof, authority: Authority, facts: Facts, heartbeat: Heartbeat | None
) -> Refusal | None:
    return None


def _check_powered_off(
    proof: FencingProof, authority: Authority, facts: Facts, heartbeat: Heartbeat | None
) -> Refusal | None:
    """The word of its fence agent. What that boot shows of itself since then, over either way, says
    that it was another machine that was switched off.
    """
    now = Instance.parse(heartbeat.instance) if heartbeat is not None else None
    if now is not None and not now.same_boot(proof.instance):
        return None
    if heartbeat is not None and heartbeat.version != proof.lease_version:
        return Refusal(Reason.LEASE_CHANGED, f"{facts.peer} has sent a heartbeat again")
    return link_long_lost(facts, 0.0)


def _check_unknown(
    proof: FencingProof, authority: Authority, facts: Facts, heartbeat: Heartbeat | None
) -> Refusal:
    return Refusal(
        Reason.WAITING_FOR_FENCING_PROOF,
        f"the controller says {proof.kind}, and this version does not know what that proves; run"
        f" one version of the controller and of {facts.host}'s actuator",
    )


_PROOF_CHECKS = {
    ProofKind.LEASE_LOST: _check_lease_lost,
    ProofKind.FENCED: _check_fenced,
    ProofKind.REBOOTED: _check_rebooted,
    ProofKind.PERSON: _check_person,
    ProofKind.POWERED_OFF: _check_powered_off,
}


def _claimed(authority: Authority, facts: Facts, request_id: str, *, force: bool) -> Proposal:
    """Own it: Mirrored if both disks are equal right now, else Standalone with the peer out.

    Always a swap, also if it already says so: an unanswered claim of the peer, made for this
    epoch, must not land after the guest was started here. Out of Standalone only restore() leads.
    """
    assert isinstance(facts.drbd, DrbdState)
    in_sync = facts.drbd.in_sync and authority.both_count
    in_sync = in_sync and not facts.record.owes_copy
    eligible = dict(authority.eligible)
    if not in_sync:
        eligible[facts.peer] = Eligibility(eligible=False, reason=Reason.TAKEN_OVER)
    claimed = next_epoch(
        authority,
        request_id,
        Reason.CLAIMED,
        owner=facts.host,
        owner_instance=str(facts.instance),
        mode=Mode.MIRRORED if in_sync else Mode.STANDALONE,
        eligible=eligible,
        fenced={},
        migration=None,
    )
    return Proposal(claimed, force)
