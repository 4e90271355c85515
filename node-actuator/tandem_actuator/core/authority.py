"""The transitions of a mirror's authority that a host may make, as pure functions.

Each takes the authority as a quorum has it and what the host knows first-hand, and returns the
authority to swap in, or that nothing needs to change, or why not. Nothing here acts. The callers
are in ``procedures``; the order quorum read → fresh local facts → swap (rule 3) is kept there.

**Invariant** (rule 1): a write that the peer lacks is acknowledged only while the mode is
Standalone with this owner, or while the peer is locally and durably unpromotable. Every function
keeps it: the owner is Standalone *before* DRBD may go on alone, and Mirrored again only *after*
both disks were seen to be equal.
"""

from dataclasses import dataclass
from typing import TypeGuard

from tandem_actuator.core.model import DrbdState, DrbdView, Record
from tandem_api.authority import (
    PROTOCOL,
    Authority,
    Eligibility,
    Fenced,
    Instance,
    Mode,
    next_epoch,
)
from tandem_api.guest import Assignment, FencingProof, ProofKind
from tandem_api.lease import Heartbeat
from tandem_api.mirror import Mirror, Protocol
from tandem_api.reasons import Reason
from tandem_api.vocabulary import Connection, DiskState, Role

HELD = (
    Reason.HOLD_EPOCH_REGRESSED,
    Reason.HOLD_IDENTITY_CHANGED,
    Reason.HOLD_PROTOCOL_TOO_NEW,
    Reason.HOLD_RECORD_UNREADABLE,
)
"""What a host says of a mirror that it does not touch."""


@dataclass(frozen=True)
class Proposal:
    """Swap this in. ``force`` is true only where a person's override allows it."""

    authority: Authority
    force: bool = False


@dataclass(frozen=True)
class Settled:
    """Nothing to swap: the authority already says it. ``force`` as in Proposal."""

    authority: Authority
    force: bool = False


@dataclass(frozen=True)
class Refusal:
    """Not now, and why."""

    reason: Reason
    message: str


Verdict = Proposal | Settled | Refusal


@dataclass(frozen=True)
class Facts:
    """What a host knows first-hand, gathered after the quorum read.

    ``now_s`` and ``link_lost_at_s`` are on the host's CLOCK_BOOTTIME. ``heartbeat`` is the old
    owner's lease from a quorum read, where the transition needs it.
    """

    host: str
    peer: str
    instance: Instance
    record: Record
    drbd: DrbdView
    now_s: float
    link_lost_at_s: float | None = None
    link_wait_s: float = 0.0


def held(mirror: Mirror, record: Record) -> Refusal | None:
    """Rule 2: why this mirror must not be touched, or None."""
    authority = mirror.status.authority
    name = mirror.key
    if record.unreadable:
        return Refusal(
            Reason.HOLD_RECORD_UNREADABLE,
            f"{record.unreadable}. What runs here goes on, and nothing else is touched. If it is"
            " newer, upgrade tandem-actuator. If it is damaged and no guest runs here, stop"
            f" tandem-actuator, run: tandem-actuator forget {mirror.drbd_name} and start it again:"
            " this replica is then copied from the other",
        )
    if record.uid != mirror.metadata.uid:
        return Refusal(
            Reason.HOLD_IDENTITY_CHANGED,
            f"{name} is not the mirror that this host knows (uid {record.uid}): it was deleted and"
            " made again. If that is wanted, run: tandem-actuator forget " + mirror.drbd_name,
        )
    if authority is None:
        if record.max_epoch:
            return _regressed(mirror, record, "has no authority")
        return None
    if authority.min_protocol > PROTOCOL:
        return Refusal(
            Reason.HOLD_PROTOCOL_TOO_NEW,
            f"{name} needs protocol {authority.min_protocol}, this actuator speaks {PROTOCOL}:"
            " upgrade it",
        )
    if record.incarnation and record.incarnation != authority.incarnation:
        return Refusal(
            Reason.HOLD_IDENTITY_CHANGED,
            f"{name} has another incarnation than this host knows: the API was restored or its"
            " status rewritten",
        )
    if authority.epoch < record.max_epoch:
        return _regressed(mirror, record, f"is at epoch {authority.epoch}")
    return None


def opened(mirror: Mirror, record: Record) -> Authority | Refusal:
    """The authority that a transition may go on from, or why there is none."""
    hold = held(mirror, record)
    if hold is not None:
        return hold
    authority = mirror.status.authority
    if authority is None:
        return Refusal(Reason.NOT_INITIALISED, "the controller has not set it up yet")
    return authority


def _regressed(mirror: Mirror, record: Record, what: str) -> Refusal:
    return Refusal(
        Reason.HOLD_EPOCH_REGRESSED,
        f"{mirror.key} {what} but this host has seen epoch {record.max_epoch}: the API lost"
        " writes (restored from a backup?). Nothing is touched until a person has looked",
    )


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
    if authority.mode not in (Mode.MIRRORED, Mode.STANDALONE):
        return Refusal(Reason.HOLD_MODE, f"authority is in mode {authority.mode}")
    if assignment is None or assignment.host != facts.host:
        return Refusal(Reason.NOT_ASSIGNED, f"the guest is not assigned to {facts.host}")
    if authority.owner == facts.peer and authority.mode is Mode.STANDALONE:
        return _peer_wrote_alone(authority, facts)
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


def _peer_wrote_alone(authority: Authority, facts: Facts) -> Refusal:
    return Refusal(
        Reason.PEER_HOLDS_STANDALONE,
        f"{facts.peer} was allowed to write alone (epoch {authority.epoch}); starting here would"
        f" lose those writes. Bring {facts.peer} back; see the guest's message",
    )


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


def _may_lack_the_last(mirror: Mirror, facts: Facts) -> bool:
    """Whether DRBD may have acknowledged what had not arrived. What it used counts, too."""
    used = facts.drbd.protocol if isinstance(facts.drbd, DrbdState) else None
    changed = mirror.spec.protocol is Protocol.C and facts.record.asynchronous
    return Protocol.A in (mirror.spec.protocol, used) or changed


def _not_received(mirror: Mirror, authority: Authority, facts: Facts) -> Refusal | None:
    """With protocol A, what the last owner wrote last may be on its way, or lost with the link.

    Its being Secondary is told by DRBD in the same stream, behind all that it wrote.
    """
    last = max(authority.fenced, key=lambda host: authority.fenced[host].epoch, default="")
    complete = last in ("", facts.host) or _overridden_for(authority, facts)
    if complete or not _may_lack_the_last(mirror, facts):
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
    check = _PROOF_CHECKS[proof.kind]
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
    wait_s = facts.link_wait_s
    if heartbeat is not None:
        if heartbeat.version != proof.lease_version:
            return Refusal(Reason.LEASE_CHANGED, f"{facts.peer} has sent a heartbeat again")
        if heartbeat.timing is None:
            return Refusal(
                Reason.UNKNOWN_STATE, f"{facts.peer}'s lease does not tell by which timing it lives"
            )
        wait_s = max(wait_s, heartbeat.timing.link_wait_s)
    return _link_long_lost(facts, wait_s)


def _link_long_lost(facts: Facts, wait_s: float) -> Refusal | None:
    assert isinstance(facts.drbd, DrbdState)
    if facts.drbd.connected or facts.link_lost_at_s is None:
        return Refusal(
            Reason.PEER_STILL_CONNECTED,
            f"{facts.host} is still connected to {facts.peer} over the replication link",
        )
    left_s = facts.link_lost_at_s + wait_s - facts.now_s
    if left_s > 0:
        return Refusal(
            Reason.WAITING_FOR_LINK,
            f"waiting {left_s:.1f} s more until {facts.peer} must have stopped (it may have lived"
            f" on the replication link until {facts.host} lost it)",
        )
    return None


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


_PROOF_CHECKS = {
    ProofKind.LEASE_LOST: _check_lease_lost,
    ProofKind.FENCED: _check_fenced,
    ProofKind.REBOOTED: _check_rebooted,
    ProofKind.PERSON: _check_person,
}


def _claimed(authority: Authority, facts: Facts, request_id: str, *, force: bool) -> Proposal:
    """Own it: Mirrored if both disks are equal right now, else Standalone with the peer out.

    Always a swap, also if it already says so: an unanswered claim of the peer, made for this
    epoch, must not land after the guest was started here. Out of Standalone only restore() leads.
    """
    assert isinstance(facts.drbd, DrbdState)
    in_sync = facts.drbd.in_sync and authority.mode is Mode.MIRRORED
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
    )
    return Proposal(claimed, force)


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
        return _peer_wrote_alone(authority, facts)
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
    if not same_boot and not _is_secondary(facts.drbd):
        return Refusal(Reason.NOT_OWNER, "Primary, and owned by an earlier boot of this host")
    if not same_boot and not _follows(mirror, facts):
        return Refusal(Reason.PEER_STILL_PRIMARY, f"{facts.peer} does not follow this authority")
    if authority.mode not in (Mode.MIRRORED, Mode.STANDALONE):
        return Refusal(Reason.HOLD_MODE, f"authority is in mode {authority.mode}")
    if authority.mode is Mode.MIRRORED and all(
        authority.may_own(host) for host in (facts.host, facts.peer)
    ):
        return Settled(authority)
    refusal = _not_in_sync(mirror, facts)
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
    if not _is_secondary(drbd):
        return Refusal(Reason.UNKNOWN_STATE, "the device is not known to be Secondary")
    not_for_the_peer = _not_for_the_peer(mirror, facts)
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


def _not_for_the_peer(mirror: Mirror, facts: Facts) -> Refusal | None:
    """Why the peer is not to be let have what it was kept from, although nobody wrote alone."""
    if mirror.spec.protocol is not Protocol.C or _may_lack_the_last(mirror, facts):
        return Refusal(Reason.PROTOCOL_NOT_SYNCHRONOUS, f"{facts.peer} may lack the last writes")
    if not _follows(mirror, facts):
        return Refusal(Reason.PEER_STILL_PRIMARY, f"{facts.peer} does not follow this authority")
    return _link_long_lost(facts, facts.link_wait_s)


def _follows(mirror: Mirror, facts: Facts) -> bool:
    """Whether the peer goes by this authority: not if it is Primary beside this owner, or holds the
    mirror. Then the API was restored.
    """
    said = mirror.status.replicas.get(facts.peer)
    seen = isinstance(facts.drbd, DrbdState) and facts.drbd.peer_role is Role.PRIMARY
    return not seen and (said is None or (said.role != Role.PRIMARY and said.reason not in HELD))


def _is_secondary(drbd: DrbdView) -> TypeGuard[DrbdState]:
    return isinstance(drbd, DrbdState) and drbd.role is Role.SECONDARY


def _not_in_sync(mirror: Mirror, facts: Facts) -> Refusal | None:
    if not isinstance(facts.drbd, DrbdState) or not facts.drbd.in_sync:
        return Refusal(Reason.NOT_YET_IN_SYNC, "the replicas are not in sync")
    if facts.drbd.out_of_sync_bytes:
        return Refusal(Reason.NOT_YET_IN_SYNC, not_copied(facts.drbd))
    if facts.record.marker:
        return Refusal(Reason.MARKED_STALE, f"{facts.host}'s marker is still set")
    report = mirror.status.replicas.get(facts.peer)
    if report is None or report.marker or report.connection != Connection.CONNECTED:
        return Refusal(
            Reason.PEER_MARKER_SET, f"{facts.peer} has not confirmed yet that its marker is clear"
        )
    return None


def not_copied(drbd: DrbdState) -> str:
    """What to tell if DRBD takes both for current, but knows that they differ."""
    return f"DRBD calls both replicas current, but {drbd.out_of_sync_bytes} bytes differ"


def degrade(mirror: Mirror, facts: Facts, request_id: str) -> Verdict:
    """Say Standalone as soon as the peer's disk is not current, although DRBD asked nobody.

    DRBD freezes and asks only when a connected, current peer is lost. When the peer's disk fails
    or is being resynchronised, it goes on alone without a word. And it may call both current and
    know, as after a verification, that they differ: then the peer is copied to once more.
    """
    authority = opened(mirror, facts.record)
    if isinstance(authority, Refusal):
        return authority
    if authority.owner != facts.host or not facts.instance.same_boot(authority.owner_instance):
        return Refusal(Reason.NOT_OWNER, f"owner is {authority.owner or 'nobody'}")
    if authority.mode is not Mode.MIRRORED:
        return Settled(authority)
    drbd = facts.drbd
    if not isinstance(drbd, DrbdState) or not drbd.own_up_to_date:
        return Refusal(Reason.STEADY, "nothing to say")
    if drbd.in_sync and not drbd.out_of_sync_bytes:
        return Refusal(Reason.STEADY, "nothing to say")
    return Proposal(_standalone(authority, facts, request_id, Reason.PEER_DISK_NOT_UP_TO_DATE))


def adopt(mirror: Mirror, facts: Facts, request_id: str) -> Verdict:
    """After a restart of the actuator: the same boot's authority is this run's now."""
    authority = opened(mirror, facts.record)
    if isinstance(authority, Refusal):
        return authority
    if authority.owner != facts.host or not facts.instance.same_boot(authority.owner_instance):
        return Refusal(Reason.NOT_OWNER, f"owner is {authority.owner or 'nobody'}")
    if authority.owner_instance == str(facts.instance):
        return Settled(authority)
    return affirm(mirror, facts, request_id)


def affirm(mirror: Mirror, facts: Facts, request_id: str) -> Verdict:
    """Say once more that this run is the owner, after a time in which it might have been replaced.

    Always a swap: a claim of the peer that was made on what this host's silence proved must not
    land afterwards.
    """
    authority = opened(mirror, facts.record)
    if isinstance(authority, Refusal):
        return authority
    if authority.owner != facts.host or not facts.instance.same_boot(authority.owner_instance):
        return Refusal(Reason.NOT_OWNER, f"owner is {authority.owner or 'nobody'}")
    return Proposal(
        next_epoch(authority, request_id, Reason.ADOPTED, owner_instance=str(facts.instance))
    )


def copy_again(mirror: Mirror, facts: Facts, request_id: str) -> Verdict:
    """Rule 9, before the owner parts from its peer so that DRBD makes a copy that it forgot.

    A Primary that disconnects writes alone, and DRBD asks nobody. So only as one who may: this is
    said once more, and no swap that was made before can land afterwards.
    """
    verdict, drbd = _part_as_primary(mirror, facts, request_id), facts.drbd
    if not isinstance(verdict, Proposal) or not isinstance(drbd, DrbdState):
        return verdict
    if not drbd.in_sync or not drbd.out_of_sync_bytes:
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


def release(mirror: Mirror, facts: Facts, request_id: str) -> Verdict:
    """Give it up after guest and device were stopped here, so that the peer may claim at once.

    Only in Mirrored: then every acknowledged write is at the peer, also without a connection or an
    own disk, if the protocol is C. A Standalone owner keeps what only it has.
    """
    authority = opened(mirror, facts.record)
    if isinstance(authority, Refusal):
        return authority
    if authority.owner != facts.host:
        return Settled(authority)
    if not _is_secondary(facts.drbd):
        return Refusal(Reason.UNKNOWN_STATE, "the device is not known to be Secondary")
    if authority.mode is not Mode.MIRRORED:
        return Refusal(
            Reason.NOT_YET_IN_SYNC,
            f"{facts.host} keeps ownership: it has writes that {facts.peer} lacks",
        )
    if mirror.spec.protocol is not Protocol.C and not facts.drbd.in_sync:
        return Refusal(
            Reason.PROTOCOL_NOT_SYNCHRONOUS,
            f"{facts.host} keeps ownership: with protocol {mirror.spec.protocol} {facts.peer} may"
            " lack what it wrote last",
        )
    fenced = Fenced(instance=authority.owner_instance, epoch=authority.epoch)
    return Proposal(
        next_epoch(
            authority,
            request_id,
            Reason.RELEASED,
            owner="",
            owner_instance="",
            fenced={**authority.fenced, facts.host: fenced},
        )
    )
