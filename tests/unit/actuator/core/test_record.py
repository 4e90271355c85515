"""The durable record only ever learns."""

from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tandem_actuator.core.effects import KEEP, UpdateRecord
from tandem_actuator.core.mirror.record import updated
from tandem_actuator.core.model import MigrationNote, Record
from tandem_api.kinds.mirror import Marker
from tandem_api.reasons import Reason
from unit.builders import record

MARKER = Marker(reason=Reason.LOCAL_DISK_FAILED)
markers = st.sampled_from([None, MARKER])
epochs = st.integers(0, 20)
updates = st.builds(
    UpdateRecord,
    epoch=epochs,
    owned_epoch=epochs,
    incarnation=st.sampled_from(["", "x", "y"]),
    marker=st.sampled_from([KEEP, None, MARKER]),
    attached=st.booleans(),
    started_boot_id=st.sampled_from(["", "boot1", "boot2"]),
    asynchronous=st.sampled_from([None, True, False]),
    generations=st.sampled_from([None, {}, {"root": "2"}]),
    unparted_boot_id=st.sampled_from([None, "", "boot1"]),
    owes_copy=st.sampled_from([None, True, False]),
)
records = st.builds(
    Record,
    uid=st.just("u"),
    incarnation=st.sampled_from(["", "x"]),
    max_epoch=epochs,
    owned_epoch=epochs,
    marker=markers,
    attached=st.booleans(),
)


@given(records, updates)
def test_epochs_rise_and_a_replica_stays_attached(old: Record, update: UpdateRecord) -> None:
    new = updated(old, update)
    assert new.max_epoch == max(old.max_epoch, update.epoch)
    assert new.owned_epoch == max(old.owned_epoch, update.owned_epoch)
    assert new.attached is (old.attached or update.attached)
    assert new.uid == old.uid


@given(records, updates)
def test_an_incarnation_is_learned_once(old: Record, update: UpdateRecord) -> None:
    assert updated(old, update).incarnation == (old.incarnation or update.incarnation)


@given(records, updates, updates)
def test_two_writers_undo_nothing_of_each_other(
    old: Record, one: UpdateRecord, other: UpdateRecord
) -> None:
    forth, back = updated(updated(old, one), other), updated(updated(old, other), one)
    assert (forth.max_epoch, forth.owned_epoch) == (back.max_epoch, back.owned_epoch)
    assert forth.attached is back.attached


def test_the_marker_is_set_kept_and_cleared() -> None:
    marked = updated(record(), UpdateRecord(marker=MARKER))
    assert marked.marker == MARKER
    assert updated(marked, UpdateRecord(epoch=9)).marker == MARKER
    assert updated(marked, UpdateRecord(marker=None)).marker is None


def test_what_is_known_of_generations_is_replaced_as_a_whole_and_kept_otherwise() -> None:
    known = updated(record(), UpdateRecord(generations={"root": "2"}, unparted_boot_id="boot1"))
    assert (known.generations, known.unparted_boot_id) == ({"root": "2"}, "boot1")
    kept = updated(known, UpdateRecord(epoch=9))
    assert (kept.generations, kept.unparted_boot_id) == ({"root": "2"}, "boot1")
    gone = updated(known, UpdateRecord(generations={}, unparted_boot_id=""))
    assert (gone.generations, gone.unparted_boot_id) == ({}, "")


def test_that_a_copy_is_owed_is_kept_until_it_is_taken_back() -> None:
    noted = updated(record(), UpdateRecord(owes_copy=True))
    assert updated(noted, UpdateRecord(epoch=9, marker=None)).owes_copy
    assert not updated(noted, UpdateRecord(owes_copy=False)).owes_copy


def test_each_part_in_a_migration_is_noted_and_cleared_by_itself() -> None:
    out, into = (MigrationNote(name, "a-1/boot1/run1", 900.0) for name in ("m1", "m2"))
    noted = updated(updated(record(), UpdateRecord(outgoing=out)), UpdateRecord(incoming=into))
    assert (noted.outgoing, noted.incoming) == (out, into)
    kept = updated(noted, UpdateRecord(epoch=9, marker=None))
    assert (kept.outgoing, kept.incoming) == (out, into)
    assert updated(noted, UpdateRecord(outgoing=None)).incoming == into
    assert updated(noted, UpdateRecord(outgoing=None)).outgoing is None
    assert updated(noted, UpdateRecord(incoming=None)).outgoing == out


NOTE = MigrationNote("m1", "a-1/boot1/run1", 900.0)
SENT, OVER = replace(NOTE, gone=True), replace(NOTE, over=True)


@pytest.mark.parametrize(("first", "then"), [(SENT, OVER), (OVER, SENT)], ids=["sent", "over"])
def test_how_a_migration_ends_is_noted_once(first: MigrationNote, then: MigrationNote) -> None:
    """A question of DRBD's may be answered while the guest is being handed over."""
    known = updated(record(outgoing=NOTE), UpdateRecord(outgoing=first))
    assert known.outgoing == first
    assert updated(known, UpdateRecord(outgoing=then)).outgoing == first
    assert updated(known, UpdateRecord(outgoing=None)).outgoing is None
    other = replace(NOTE, id="m2")
    assert updated(known, UpdateRecord(outgoing=other)).outgoing == other
