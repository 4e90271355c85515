"""The owner lets its guest migrate as it runs, hands over, or takes it back.

``docs/design/2026-11-29-live-migration.md`` says why; ``model/migration.pml`` is the proof. Until
it has handed over, the source is the owner, and nobody else may execute the guest.
"""

from dataclasses import replace

from tandem_actuator.core.authority.held import opened, owned
from tandem_actuator.core.authority.seen import is_secondary, may_lack_the_last
from tandem_actuator.core.authority.verdicts import Facts, Proposal, Refusal, Settled, Verdict
from tandem_actuator.core.drbd import DrbdState
from tandem_actuator.core.model import MigrationNote
from tandem_api.authority import (
    Authority,
    Eligibility,
    Instance,
    Migration,
    Mode,
    next_epoch,
)
from tandem_api.kinds.guest import Assignment
from tandem_api.kinds.mirror import Mirror, Protocol
from tandem_api.reasons import Reason
from tandem_api.vocabulary import Role


def sends_to(assignment: Assignment | None, peer: str) -> bool:
    """Whether the guest is ordered to go there as it runs."""
    return (
        assignment is not None
        and assignment.live
        and assignment.host == peer
        and assignment.proof is None
    )


def begin(mirror: Mirror, facts: Facts, assignment: Assignment | None, request_id: str) -> Verdict:
    """The guest is to go to the peer as it runs: both replicas are the same, and stay so; or this
    host has no disk of its own, and whatever is written is at the peer.
    """
    authority = owned(mirror, facts)
    if isinstance(authority, Refusal):
        return authority
    if not sends_to(assignment, facts.peer):
        return Refusal(Reason.NOT_ASSIGNED, f"the guest is not to migrate to {facts.peer}")
    if authority.mode is not Mode.MIRRORED or not authority.may_own(facts.peer):
        why = f"the authority is {authority.mode} at epoch {authority.epoch}"
        return Refusal(Reason.RESYNCING, f"{facts.peer} may lack acknowledged writes: {why}")
    if mirror.spec.protocol is not Protocol.C or may_lack_the_last(mirror, facts):
        why = (
            "DRBD takes two Primaries with protocol C alone, and this mirror has another, or had"
            " one and DRBD does not tell that it uses C by now"
        )
        return Refusal(Reason.PROTOCOL_NOT_SYNCHRONOUS, why)
    drbd = facts.drbd
    alike = isinstance(drbd, DrbdState) and (drbd.in_sync or drbd.only_there)
    if not isinstance(drbd, DrbdState) or not alike or drbd.role is not Role.PRIMARY:
        return Refusal(Reason.NOT_YET_IN_SYNC, "the replicas are not in sync")
    if drbd.out_of_sync_bytes or facts.record.owes_copy:
        return Refusal(Reason.NOT_YET_IN_SYNC, f"{facts.peer} lacks what was not copied to it")
    ends = {"source": facts.host, "target": facts.peer}
    migration = Migration(id=request_id, **ends, by_events=True)
    return Proposal(
        next_epoch(
            authority,
            request_id,
            Reason.MIGRATING,
            owner_instance=str(facts.instance),
            mode=Mode.MIGRATING,
            migration=migration,
        )
    )


def is_noted(mirror: Mirror, migration: Migration) -> bool:
    """Whether the source says that it has noted this migration durably.

    It may have lost the answer to its own swap. It takes a Primary beside it for somebody who has
    taken over then, and its guest would be fenced if its heartbeat is not confirmed either.
    """
    report = mirror.status.replicas.get(migration.source)
    return report is not None and report.sends == migration.id


def hand_over(mirror: Mirror, facts: Facts, migration: str, request_id: str) -> Verdict:
    """All of the guest is at the target and nothing of it here: the target owns the mirror.

    Standalone, if this host does not see right now that its own replica has all: then it is out.
    Of what is noted as sent a later boot says so, too: nothing of the guest can be here any more.
    """
    authority = opened(mirror, facts.record) if is_sent(facts) else owned(mirror, facts)
    if isinstance(authority, Refusal):
        return authority
    if authority.owner != facts.host or not authority.migrates_as(migration):
        return Refusal(Reason.MIGRATION_OVER, f"that migration is over (epoch {authority.epoch})")
    if not is_secondary(facts.drbd):
        return Refusal(Reason.UNKNOWN_STATE, "the device is not known to be Secondary")
    report = mirror.status.replicas.get(facts.peer)
    instance = Instance.parse(report.instance) if report is not None else None
    if instance is None or instance.node != facts.peer:
        return Refusal(Reason.UNKNOWN_STATE, f"{facts.peer} does not tell which run it is")
    complete = facts.drbd.in_sync or facts.drbd.only_here
    complete = complete and not facts.record.owes_copy
    eligible = dict(authority.eligible)
    if not complete:
        eligible[facts.host] = Eligibility(eligible=False, reason=Reason.HANDED_OVER)
    return Proposal(
        next_epoch(
            authority,
            request_id,
            Reason.HANDED_OVER,
            owner=facts.peer,
            owner_instance=str(instance),
            mode=Mode.MIRRORED if complete else Mode.STANDALONE,
            eligible=eligible,
            fenced={},
            migration=None,
            handed_over=migration,
        )
    )


def is_sent(facts: Facts) -> bool:
    """All of the guest is at the peer, by libvirt's word."""
    return facts.record.outgoing is not None and facts.record.outgoing.gone


def handed_over_first(authority: Authority, facts: Facts) -> Refusal | None:
    """Once all is sent the target may execute the guest: nothing else is said of the mirror."""
    sent = is_sent(facts) and authority.owner == facts.host
    note = facts.record.outgoing
    if not sent or note is None or not authority.migrates_as(note.id):
        return None
    why = f"all of the guest was sent to {facts.peer}: the mirror is handed over first"
    return Refusal(Reason.MIGRATING, why)


def ended_by(
    authority: Authority, after: Authority, facts: Facts
) -> MigrationNote | Refusal | None:
    """What to note before a swap of this host is sent that ends its own migration in another way
    than by handing over. It may be carried out late, so that migration must not go on meanwhile;
    and once all is sent the target may execute the guest, so that there is no other way.
    """
    migration, note = authority.migration, facts.record.outgoing
    if (
        authority.owner != facts.host
        or migration is None
        or not authority.migrates_as(migration.id)
    ):
        return None
    if after.migrates_as(migration.id) or after.handed_over == migration.id:
        return None
    if note is None or note.id != migration.id:
        if not facts.instance.same_boot(authority.owner_instance):
            return None
        return Refusal(Reason.OUTCOME_UNKNOWN, "that it is migrating is not noted yet")
    if note.gone:
        return handed_over_first(authority, facts)
    return None if note.over else replace(note, over=True)


def take_back(mirror: Mirror, facts: Facts, migration: str, request_id: str) -> Verdict:
    """It did not come to that. The target is Secondary, so it holds nothing of the guest."""
    authority = owned(mirror, facts)
    if isinstance(authority, Refusal):
        return authority
    if not authority.migrates_as(migration):
        return Settled(authority)
    drbd = facts.drbd
    if not isinstance(drbd, DrbdState) or not drbd.connected:
        return Refusal(Reason.NOT_CONNECTED, f"{facts.peer} is not connected")
    if drbd.peer_role is not Role.SECONDARY:
        return Refusal(Reason.PEER_STILL_PRIMARY, f"{facts.peer} is still {drbd.peer_role}")
    return Proposal(
        next_epoch(authority, request_id, Reason.MIGRATION_OVER, mode=Mode.MIRRORED, migration=None)
    )


def handed_to(mirror: Mirror, facts: Facts, migration: str) -> Verdict:
    """Whether this host owns the mirror since it was sent the guest: it may go on with it."""
    authority = opened(mirror, facts.record)
    if isinstance(authority, Refusal):
        return authority
    mine = authority.owner == facts.host and facts.instance.same_boot(authority.owner_instance)
    if mine and authority.handed_over == migration:
        return Settled(authority)
    owner = authority.owner or "nobody"
    return Refusal(Reason.NOT_OWNER, f"owner is {owner}: the guest was not handed over to here")
