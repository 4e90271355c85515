"""What a host does about a guest that is paused: neither start nor stop it; all else goes on."""

from dataclasses import replace

import pytest

from tandem_actuator.core.model import View
from tandem_actuator.core.order import Stay, Task
from tandem_actuator.core.report import guest_report
from tandem_api.kinds.guest import Assignment
from tandem_api.reasons import Reason
from tandem_api.vocabulary import DomainState, Role
from unit.builders import A, B, assignment, authority, drbd, frozen, guest, lost, standalone, view

from .test_decide import NOW, at, running, stays, task

SINCE = "2026-01-01T00:00:00.000Z"
BY = "Site a and Tandem default"
NOWHERE = assignment("")


def here(**changes: object) -> View:
    """It runs here, and all is well."""
    return running(authority(A), drbd(Role.PRIMARY), **changes)


def paused(known: View, assigned: Assignment | None = None, by: str = BY) -> View:
    told = guest(assigned or assignment(A))
    status = told.status.model_copy(update={"paused_by": by, "paused_since": SINCE})
    return replace(known, guest=told.model_copy(update={"status": status}))


class TestPaused:
    def test_it_is_not_started(self) -> None:
        known = view(authority(""), drbd())
        assert task(at(known)) is Task.START
        decision = at(paused(known))
        assert decision == Stay(Reason.PAUSED, f"would start it: it is paused by {BY}")

    @pytest.mark.parametrize(("where", "words"), [(assignment(B), f"to {B}"), (NOWHERE, "nowhere")])
    def test_it_is_not_asked_to_stop(self, where: Assignment, words: str) -> None:
        known = here(assigned=where)
        assert task(at(known)) is Task.SHUT_DOWN
        decision = at(paused(known, where))
        said = f"would ask it to stop (assigned {words}): it is paused by {BY}"
        assert decision == Stay(Reason.PAUSED, said)

    def test_its_plug_is_not_pulled(self) -> None:
        asked = {"shutdown_sent_at_s": NOW - 3600.0, "shutdown_heard": True}
        known = here(assigned=NOWHERE, **asked)
        assert task(at(known)) is Task.PULL_PLUG
        assert stays(at(paused(known, NOWHERE))) is Reason.STOPPING

    def test_what_runs_as_it_shall_runs(self) -> None:
        assert stays(at(paused(here()))) is Reason.RUNNING

    def test_a_frozen_one_still_asks_for_leave_to_write(self) -> None:
        known = view(
            authority(A),
            frozen(),
            domain=DomainState.RUNNING,
            frozen_since_s=NOW - 60.0,
            link_lost_at_s=NOW - 60.0,
        )
        assert task(at(paused(known))) is task(at(known)) is Task.ASK_AGAIN

    def test_a_mirror_still_goes_back_to_mirrored(self) -> None:
        known = view(standalone(A), drbd(Role.PRIMARY), domain=DomainState.RUNNING)
        known = replace(known, in_sync_since_s=NOW - 60.0)
        assert task(at(paused(known))) is task(at(known)) is Task.RESTORE

    def test_what_has_stopped_here_is_still_let_go(self) -> None:
        known = view(authority(A), drbd(), assigned=assignment(B))
        assert task(at(paused(known, assignment(B)))) is task(at(known)) is Task.RELEASE

    def test_a_takeover_is_not_begun(self) -> None:
        known = view(authority(B), lost())
        assert stays(at(paused(known))) is Reason.PAUSED


class TestBeforeAnythingWasTold:
    """What an earlier run knew says nothing of what was paused since."""

    def test_nothing_is_started(self) -> None:
        known = view(authority(""), drbd(), listed=False)
        assert stays(at(known)) is Reason.API_UNREACHABLE
        assert task(at(replace(known, listed=True))) is Task.START

    def test_what_runs_is_stopped_as_ever(self) -> None:
        assert task(at(here(assigned=NOWHERE, listed=False))) is Task.SHUT_DOWN


class TestReport:
    def heard(self, known: View, reason: Reason) -> str:
        found = guest_report(known, reason, "", {})
        assert found is not None
        return found.paused_since

    def test_that_it_knows(self) -> None:
        assert self.heard(paused(here()), Reason.RUNNING) == SINCE
        assert self.heard(here(), Reason.RUNNING) == ""

    @pytest.mark.parametrize("reason", [Reason.STARTING, Reason.STOPPING, Reason.DESTROYING])
    def test_not_before_what_is_under_way_has_ended(self, reason: Reason) -> None:
        assert self.heard(paused(here()), reason) == ""
