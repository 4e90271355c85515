"""Mirrors that a host does not touch: their object contradicts its durable record (rule 2)."""

from tandem_actuator.core.authority.verdicts import Facts, Refusal
from tandem_actuator.core.model import Record
from tandem_api.authority import PROTOCOL, Authority
from tandem_api.kinds.mirror import Mirror
from tandem_api.reasons import Reason

HELD = (
    Reason.HOLD_EPOCH_REGRESSED,
    Reason.HOLD_IDENTITY_CHANGED,
    Reason.HOLD_PROTOCOL_TOO_NEW,
    Reason.HOLD_RECORD_UNREADABLE,
)
"""What a host says of a mirror that it does not touch."""


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


def owned(mirror: Mirror, facts: Facts) -> Authority | Refusal:
    """The authority, if it is this host's on this boot, or why it is not."""
    authority = opened(mirror, facts.record)
    if isinstance(authority, Refusal):
        return authority
    if authority.owner != facts.host or not facts.instance.same_boot(authority.owner_instance):
        return Refusal(Reason.NOT_OWNER, f"owner is {authority.owner or 'nobody'}")
    return authority


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
