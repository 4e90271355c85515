"""A host that can keep no record of a mirror: what it still does, and what it says."""

from dataclasses import replace

import pytest

from tandem_actuator.core import effects as fx
from tandem_actuator.core.drbd import NotConfigured
from tandem_actuator.core.mirror import procedures
from tandem_actuator.core.model import View
from tandem_actuator.core.order import Decision, Start, Task, decide
from tandem_actuator.core.report import guest_report
from tandem_actuator.run.workload import STORES_TRIED, Unit
from tandem_api.reasons import Reason
from tandem_api.vocabulary import DiskState, DomainState, Role
from unit.builders import B, assignment, authority, drbd, record, view

from .outside import Outside, play

WHY = "it can keep no durable record of the mirror: read-only"


def at(known: View) -> Decision:
    return decide(known, 10_000.0, "2026-01-01T00:00:00Z")


def task(known: View) -> Task | None:
    decision = at(known)
    return decision.task if isinstance(decision, Start) else None


def behind(known: View) -> View:
    return replace(known, record=record(max_epoch=3))


def noted(known: View, outcome: fx.Outcome) -> fx.Finished:
    outside = Outside(known.mirror, known.drbd, script={fx.UpdateRecord: [outcome]})
    return play(procedures.note_epoch(known), outside)


class TestUnit:
    def unit(self, *, fails: int) -> Unit:
        unit = Unit(mirror=view(authority(), drbd()).mirror, record=record())
        for _ in range(fails):
            unit.store_failed("read-only")
        return unit

    def test_a_disk_that_hung_for_a_moment_is_no_reason(self) -> None:
        assert self.unit(fails=STORES_TRIED - 1).unrecorded == ""
        assert self.unit(fails=STORES_TRIED).unrecorded == WHY

    def test_it_is_over_with_the_first_record_that_is_kept(self) -> None:
        unit = self.unit(fails=STORES_TRIED + 1)
        unit.stored(record())
        assert (unit.unrecorded, unit.record_unsure) == ("", False)


class TestWhatItDoes:
    def test_the_epoch_comes_first_while_it_can_be_noted(self) -> None:
        elsewhere = view(authority(), drbd(), assigned=assignment(B))
        assert task(behind(elsewhere)) is Task.NOTE_EPOCH

    def test_a_mirror_is_given_up_all_the_same(self) -> None:
        elsewhere = view(authority(), drbd(), assigned=assignment(B), unrecorded=WHY)
        assert task(behind(elsewhere)) is Task.RELEASE

    def test_nothing_is_claimed(self) -> None:
        assert task(view(authority(""), drbd())) is Task.START
        assert task(view(authority(""), drbd(), unrecorded=WHY)) is Task.NOTE_EPOCH

    def test_a_guest_is_stopped_before_anything_that_has_to_be_noted(self) -> None:
        runs = view(
            authority(),
            drbd(Role.PRIMARY),
            assigned=assignment(""),
            domain=DomainState.RUNNING,
            was_behind=True,
            unrecorded=WHY,
        )
        assert task(behind(runs)) is Task.SHUT_DOWN

    @pytest.mark.parametrize("elsewhere", ["", B])
    def test_and_its_device_is_closed(self, elsewhere: str) -> None:
        stopped = view(
            authority(),
            drbd(Role.PRIMARY),
            assigned=assignment(elsewhere),
            was_behind=True,
            unrecorded=WHY,
            record=record(owned_epoch=3),
        )
        diskless = drbd(Role.PRIMARY, disk=DiskState.DISKLESS)
        assert task(replace(stopped, drbd=diskless)) is Task.DEMOTE
        assert task(replace(stopped, drbd=diskless, unrecorded="")) is Task.SET_MARKER
        assert task(replace(stopped, drbd=NotConfigured(0.0))) is Task.BRING_UP


class TestWhatItSays:
    def test_that_the_start_is_refused(self) -> None:
        awaited = view(authority(""), drbd(), unrecorded=WHY)
        finished = noted(awaited, fx.Failed("read-only"))
        assert (finished.reason, finished.failed) == (Reason.START_REFUSED, True)
        assert WHY in finished.message
        told = guest_report(awaited, finished.reason, "", {})
        assert told is not None
        assert told.refused_start == WHY

    @pytest.mark.parametrize(
        "known",
        [
            view(authority(""), drbd()),
            view(authority(""), drbd(), assigned=assignment(B), unrecorded=WHY),
            view(authority(), drbd(Role.PRIMARY), domain=DomainState.RUNNING, unrecorded=WHY),
        ],
        ids=["for the first time", "not awaited", "runs"],
    )
    def test_else_that_something_failed(self, known: View) -> None:
        assert noted(known, fx.Failed("read-only")).reason is Reason.EFFECT_FAILED

    def test_nothing_if_it_works(self) -> None:
        assert noted(view(authority(""), drbd(), unrecorded=WHY), fx.Done()).failed is False
