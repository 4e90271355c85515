"""How a durable record may change: epochs only rise, and nothing is lost between two writers."""

from dataclasses import replace
from typing import TypeVar

from tandem_actuator.core.effects import Keep, UpdateRecord
from tandem_actuator.core.mirror.diverged import has_diverged
from tandem_actuator.core.model import Record

T = TypeVar("T")


def updated(record: Record, update: UpdateRecord) -> Record:
    """The record after an update. An update can neither lower an epoch nor un-attach a replica,
    and that it has diverged is forgotten only once the marker is cleared.
    """
    marker = record.marker if isinstance(update.marker, Keep) else update.marker
    if marker is not None and has_diverged(record):
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
        outgoing=record.outgoing if isinstance(update.outgoing, Keep) else update.outgoing,
        incoming=record.incoming if isinstance(update.incoming, Keep) else update.incoming,
    )


def _or(new: T | None, known: T) -> T:
    return known if new is None else new
