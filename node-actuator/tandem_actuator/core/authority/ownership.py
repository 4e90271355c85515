"""The owner says that it still is, or lets go (rules 9 and 10)."""

from tandem_actuator.core.authority.held import opened, owned
from tandem_actuator.core.authority.migrating import is_sent
from tandem_actuator.core.authority.seen import is_secondary
from tandem_actuator.core.authority.verdicts import Facts, Proposal, Refusal, Settled, Verdict
from tandem_api.authority import Fenced, Mode, next_epoch
from tandem_api.kinds.mirror import Mirror, Protocol
from tandem_api.reasons import Reason


def adopt(mirror: Mirror, facts: Facts, request_id: str) -> Verdict:
    """After a restart of the actuator: the same boot's authority is this run's now."""
    authority = owned(mirror, facts)
    if isinstance(authority, Refusal):
        return authority
    if authority.owner_instance == str(facts.instance):
        return Settled(authority)
    return affirm(mirror, facts, request_id)


def affirm(mirror: Mirror, facts: Facts, request_id: str) -> Verdict:
    """Say once more that this run is the owner, after a time in which it might have been replaced.

    Always a swap: a claim of the peer that was made on what this host's silence proved must not
    land afterwards. By which migration it is the owner is as true as before.
    """
    authority = owned(mirror, facts)
    if isinstance(authority, Refusal):
        return authority
    return Proposal(
        next_epoch(
            authority,
            request_id,
            Reason.ADOPTED,
            owner_instance=str(facts.instance),
            handed_over=authority.handed_over,
        )
    )


def release(mirror: Mirror, facts: Facts, request_id: str) -> Verdict:
    """Give it up after guest and device were stopped here, so that the peer may claim at once.

    Only while both count: then every acknowledged write is at the peer, also without a connection
    or an own disk, if the protocol is C. A Standalone owner keeps what only it has. What a guest's
    migration has left at the peer is worth nothing then: it is not handed over.
    """
    authority = opened(mirror, facts.record)
    if isinstance(authority, Refusal):
        return authority
    if authority.owner != facts.host:
        return Settled(authority)
    if not is_secondary(facts.drbd):
        return Refusal(Reason.UNKNOWN_STATE, "the device is not known to be Secondary")
    if authority.mode is Mode.MIGRATING and (facts.drbd.connected or is_sent(facts)):
        why = f"{facts.host} hands it over to {facts.peer}, or takes it back"
        return Refusal(Reason.MIGRATING, why)
    if not authority.both_count:
        return Refusal(
            Reason.NOT_YET_IN_SYNC,
            f"{facts.host} keeps ownership: it has writes that {facts.peer} lacks",
        )
    if facts.record.owes_copy:
        return Refusal(
            Reason.NOT_YET_IN_SYNC,
            f"{facts.host} keeps ownership: {facts.peer} lacks what was not copied to it",
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
            mode=Mode.MIRRORED,
            migration=None,
            fenced={**authority.fenced, facts.host: fenced},
        )
    )
