"""What a host sees of both replicas that several transitions ask for."""

from typing import TypeGuard

from tandem_actuator.core.authority.held import HELD
from tandem_actuator.core.authority.verdicts import Facts, Refusal
from tandem_actuator.core.drbd import DrbdState, DrbdView
from tandem_api.authority import Authority
from tandem_api.kinds.mirror import Mirror, Protocol
from tandem_api.reasons import Reason
from tandem_api.vocabulary import Connection, Role


def peer_wrote_alone(authority: Authority, facts: Facts) -> Refusal:
    return Refusal(
        Reason.PEER_HOLDS_STANDALONE,
        f"{facts.peer} was allowed to write alone (epoch {authority.epoch}); starting here would"
        f" lose those writes. Bring {facts.peer} back; see the guest's message",
    )


def may_lack_the_last(mirror: Mirror, facts: Facts) -> bool:
    """Whether DRBD may have acknowledged what had not arrived. What it used counts, too."""
    used = facts.drbd.protocol if isinstance(facts.drbd, DrbdState) else None
    changed = mirror.spec.protocol is Protocol.C and facts.record.asynchronous
    return Protocol.A in (mirror.spec.protocol, used) or changed


def link_long_lost(facts: Facts, wait_s: float, *, acknowledged: bool = False) -> Refusal | None:
    """Why the peer may still live on the link, if it may.

    ``acknowledged``: it counts from a look after which a packet of its own has arrived here, so no
    look of it counts that is later than the last packet. Else it may have lived on a link that was
    dead already, until both had noticed.
    """
    assert isinstance(facts.drbd, DrbdState)
    if facts.drbd.connected or facts.link_lost_at_s is None:
        return Refusal(
            Reason.PEER_STILL_CONNECTED,
            f"{facts.host} is still connected to {facts.peer} over the replication link",
        )
    since_s, since = facts.link_lost_at_s, f"{facts.host} lost it"
    if acknowledged and facts.last_packet_at_s is not None:
        since_s, since = facts.last_packet_at_s, "its last packet came"
    left_s = since_s + wait_s - facts.now_s
    if left_s > 0:
        return Refusal(
            Reason.WAITING_FOR_LINK,
            f"waiting {left_s:.1f} s more until {facts.peer} must have stopped (it may have lived"
            f" on the replication link until {since})",
        )
    return None


def unfit_for_the_peer(mirror: Mirror, facts: Facts) -> Refusal | None:
    """Why the peer is not to be let have what it was kept from, although nobody wrote alone."""
    if mirror.spec.protocol is not Protocol.C or may_lack_the_last(mirror, facts):
        return Refusal(Reason.PROTOCOL_NOT_SYNCHRONOUS, f"{facts.peer} may lack the last writes")
    if not follows(mirror, facts):
        return Refusal(Reason.PEER_STILL_PRIMARY, f"{facts.peer} does not follow this authority")
    return link_long_lost(facts, facts.link_wait_s)


def follows(mirror: Mirror, facts: Facts) -> bool:
    """Whether the peer goes by this authority: not if it is Primary beside this owner, or holds the
    mirror. Then the API was restored.
    """
    said = mirror.status.replicas.get(facts.peer)
    seen = isinstance(facts.drbd, DrbdState) and facts.drbd.peer_role is Role.PRIMARY
    return not seen and (said is None or (said.role != Role.PRIMARY and said.reason not in HELD))


def is_secondary(drbd: DrbdView) -> TypeGuard[DrbdState]:
    return isinstance(drbd, DrbdState) and drbd.role is Role.SECONDARY


def not_in_sync(mirror: Mirror, facts: Facts) -> Refusal | None:
    if not isinstance(facts.drbd, DrbdState) or not facts.drbd.in_sync:
        return Refusal(Reason.NOT_YET_IN_SYNC, "the replicas are not in sync")
    if facts.drbd.out_of_sync_bytes or facts.record.owes_copy:
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
    """What to tell if DRBD takes both for current, but knows that they differ, or has known."""
    if not drbd.out_of_sync_bytes:
        return "DRBD calls both replicas current, but has forgotten what they differ in"
    return f"DRBD calls both replicas current, but {drbd.out_of_sync_bytes} bytes differ"
