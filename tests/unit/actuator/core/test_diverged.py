"""A replica that wrote as an owner whom the authority does not follow is kept for a person."""

from dataclasses import replace

import pytest

from tandem_actuator.core.effects import UpdateRecord
from tandem_actuator.core.mirror.diverged import may_discard
from tandem_actuator.core.mirror.record import updated
from tandem_actuator.core.model import Record
from tandem_actuator.core.order import Stay, Task
from tandem_api.authority import Override
from tandem_api.kinds.mirror import Marker
from tandem_api.reasons import Reason
from tandem_api.vocabulary import Connection, Role
from unit.builders import B, assignment, drbd, record, standalone, view

from .test_decide import at, task

ALONE = drbd(Role.SECONDARY, Connection.STANDALONE)
NOTED = Marker(reason=Reason.SPLIT_BRAIN)


def owned(epoch: int, **changes: object) -> Record:
    return record(owned_epoch=epoch, max_epoch=max(5, epoch), **changes)


def test_it_is_noted_at_once_whatever_the_link() -> None:
    for state in (ALONE, drbd(Role.SECONDARY, Connection.CONNECTING)):
        known = view(standalone(B), state, record=owned(5), assigned=assignment(B))
        assert task(at(known)) is Task.SET_MARKER
        assert at(known).reason is Reason.SPLIT_BRAIN


def test_who_is_in_sync_has_nothing_of_its_own() -> None:
    """Else the mark would be set and cleared in turn."""
    known = view(standalone(B), drbd(), record=owned(5), assigned=assignment(B))
    assert isinstance(at(known), Stay)


def test_who_was_followed_has_not_diverged() -> None:
    known = view(standalone(B), ALONE, record=owned(4), assigned=assignment(B))
    assert task(at(known)) is Task.REJOIN


@pytest.mark.parametrize("epoch", [5, 9])
def test_refused_twice_it_waits_for_a_person_also_at_later_epochs(epoch: int) -> None:
    noted = record(owned_epoch=5, max_epoch=epoch, marker=NOTED)
    known = view(standalone(B, epoch=epoch), ALONE, record=noted, assigned=assignment(B))
    assert task(at(known)) is Task.REJOIN
    waits = at(replace(known, failures=2))
    assert isinstance(waits, Stay)
    assert waits.reason is Reason.SPLIT_BRAIN


def test_only_an_override_lets_it_discard() -> None:
    noted = record(owned_epoch=5, max_epoch=9, marker=NOTED)
    held_by = standalone(B, epoch=9)
    known = view(held_by, ALONE, record=noted)
    assert not may_discard(held_by, known)
    order = Override(by="ana", at_epoch=8, accept_data_loss=True, host=B)
    assert may_discard(held_by.model_copy(update={"override": order}), known)
    old = order.model_copy(update={"at_epoch": 4})  # from before what it would discard
    assert not may_discard(held_by.model_copy(update={"override": old}), known)


def test_another_marker_does_not_hide_it_and_a_clear_one_ends_it() -> None:
    noted = record(marker=NOTED)
    boot = UpdateRecord(marker=Marker(reason=Reason.ATTACHED_NOT_UP_TO_DATE))
    assert updated(noted, boot).marker == NOTED
    assert updated(noted, UpdateRecord(marker=None)).marker is None
