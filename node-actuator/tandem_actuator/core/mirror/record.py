"""How a durable record may change: epochs only rise, and nothing is lost between two writers."""

from dataclasses import replace
from typing import TypeVar

from tandem_actuator.core.effects import Keep, UpdateRecord
from tandem_actuator.core.mirror.diverged import has_diverged
from tandem_actuator.core.model import MigrationNote, Record
from tandem_api.kinds.mirror import Marker
from tandem_api.reasons import Reason

T = TypeVar("T")


def updated(record: Record, update: UpdateRecord) -> Record:
    """The record after an update. An update can neither lower an epoch nor un-attach a replica,
    and that it has diverged, or lacks what a verification found, is forgotten only once the marker
    is cleared.
    """
    marker = record.marker if isinstance(update.marker, Keep) else update.marker
    if marker is not None and _outlasts(record, marker):
        marker = record.marker
    return replace(
        record,
        incarnation=record.incarnation or update.incarnation,
        max_epoch=max(record.max_epoch, update.epoch),
        owned_epoch=max(record.owned_epoch, update.owned_epoch),
        marker=marker,
        attached=record.attached or update.attached,
        started_boot_id=update.started_boot_id or record.started_boot_id,
        asynchronous=_or(update.asynchronous, record.asynchronous),
        generations=_or(update.generations, record.generations),
        unparted_boot_id=_or(update.unparted_boot_id, record.unparted_boot_id),
        owes_copy=_or(update.owes_copy, record.owes_copy),
        bits_gone=_or(update.bits_gone, record.bits_gone),
        copied_for=_or(update.copied_for, record.copied_for),
        outgoing=_sent(record.outgoing, update.outgoing),
        incoming=record.incoming if isinstance(update.incoming, Keep) else update.incoming,
    )


def _sent(known: MigrationNote | None, new: MigrationNote | Keep | None) -> MigrationNote | None:
    """Of one migration that it was sent and that it is over are noted by two procedures, maybe at
    once. The first counts: by either the guest may go on, at one host.
    """
    if isinstance(new, Keep):
        return known
    if known is None or new is None or new.id != known.id:
        return new
    return known if known.gone or known.over else new


def _outlasts(record: Record, marker: Marker) -> bool:
    """What was known before says more than what was found now."""
    known = record.marker is not None and record.marker.reason is Reason.DIFFERENCE_FOUND
    more = (Reason.DIFFERENCE_FOUND, Reason.SPLIT_BRAIN)
    return has_diverged(record) or (known and marker.reason not in more)


def _or(new: T | None, known: T) -> T:
    return known if new is None else new
