"""What a run of the actuator knows of a guest that is sent away, or comes."""

from dataclasses import replace

import pytest

from tandem_actuator.core.decision import Task
from tandem_actuator.core.effects import Finished
from tandem_actuator.core.model import Job, JobState, MigrationNote, Receiving
from tandem_actuator.ports import CommandFailed, CommandTimeout, PortError
from tandem_actuator.ports.drbd import DrbdEvent
from tandem_actuator.run.learning import learn
from tandem_actuator.run.transit import Transit
from tandem_api.reasons import Reason
from tandem_api.vocabulary import DomainState, Role
from unit.builders import HERE, record

from .noted import Noted

NOTE = MigrationNote("m1", str(HERE), 900.0)
OVER = replace(NOTE, over=True)
READY = Receiving("m1", 900.0)


class TestSession:
    EVENT = DrbdEvent("m", role=Role.PRIMARY)
    LEFT = DrbdEvent("m", peer_role=Role.SECONDARY)

    def test_events_count_in_their_order(self) -> None:
        transit = Transit()
        with transit.promotion():
            transit.told(self.EVENT)
        assert transit.session.together
        transit.told(self.LEFT)
        assert transit.session.handed
        transit.told(DrbdEvent("m", lost=True))
        assert not transit.session.handed

    def test_some_were_missed(self) -> None:
        transit = Transit()
        with transit.promotion():
            transit.told(self.EVENT)
        transit.told(DrbdEvent(""))
        transit.told(self.LEFT)
        assert not transit.session.handed

    @pytest.mark.parametrize("error", [CommandFailed("no"), CommandTimeout("late")], ids=type)
    def test_of_one_that_is_refused_nothing_will_be_told(self, error: PortError) -> None:
        transit = Transit()
        with pytest.raises(PortError), transit.promotion():
            raise error
        assert transit.session.due is isinstance(error, CommandTimeout)


class TestJob:
    def test_it_runs_until_it_has_ended(self) -> None:
        transit = Transit()
        transit.begun("m1", 900.0)
        assert transit.job == Job("m1", 900.0)
        assert transit.job.state is JobState.RUNNING

    @pytest.mark.parametrize(
        ("why", "state"), [("", JobState.SUCCEEDED), ("no room", JobState.FAILED)]
    )
    def test_it_ends_well_or_in_words(self, why: str, state: JobState) -> None:
        transit = Transit()
        transit.begun("m1", 900.0)
        transit.ended("m1", 950.0, why)
        assert transit.job == Job("m1", 900.0, 950.0, state, why)

    @pytest.mark.parametrize(
        ("said", "why"), [("", ""), ("canceled by client", "too late")], ids=["sent", "not sent"]
    )
    def test_why_it_was_given_up_counts_if_it_failed(self, said: str, why: str) -> None:
        transit = Transit()
        transit.given_up("nothing is under way")
        transit.begun("m1", 900.0)
        transit.given_up("too late")
        transit.ended("m1", 950.0, said)
        assert transit.job is not None
        assert transit.job.why == why

    def test_the_end_of_another_is_none_of_it(self) -> None:
        """A success is that of one job."""
        transit = Transit()
        transit.ended("m1", 950.0)
        assert transit.job is None
        transit.begun("m2", 900.0)
        transit.ended("m1", 950.0)
        assert transit.job == Job("m2", 900.0)


class TestReceiving:
    @pytest.mark.parametrize("domain", list(DomainState))
    def test_something_of_it_was_here_once_it_stood_still_here(self, domain: DomainState) -> None:
        transit = Transit(receiving=READY)
        transit.saw(domain)
        transit.saw(DomainState.ABSENT)
        assert transit.receiving is not None
        assert transit.receiving.seen is (domain is DomainState.PAUSED)

    def test_nothing_is_seen_of_what_is_not_awaited(self) -> None:
        transit = Transit()
        transit.saw(DomainState.PAUSED)
        assert transit.receiving is None


class TestNoted:
    @pytest.mark.parametrize(("outgoing", "kept"), [(NOTE, True), (OVER, True), (None, False)])
    def test_the_job_is_known_as_long_as_the_note(
        self, outgoing: MigrationNote | None, kept: bool
    ) -> None:
        transit = Transit(job=Job("m1", 900.0))
        transit.noted(record(outgoing=outgoing))
        assert (transit.job is not None) is kept

    @pytest.mark.parametrize(("incoming", "kept"), [(NOTE, True), (OVER, False), (None, False)])
    def test_nothing_is_ready_for_what_is_over(
        self, incoming: MigrationNote | None, kept: bool
    ) -> None:
        transit = Transit(receiving=READY)
        transit.noted(record(incoming=incoming))
        assert (transit.receiving is not None) is kept


class TestRefused:
    def test_it_is_about_one_order(self) -> None:
        transit = Transit(refused=(3, "no room"))
        assert transit.why_refused(3) == "no room"
        assert transit.why_refused(4) == ""
        assert Transit().why_refused(0) == ""

    @pytest.mark.parametrize(
        ("task", "known"),
        [
            (Task.GIVE_UP, "not sent"),
            (Task.TAKE_BACK, ""),
            (Task.STOP_SENDING, ""),
        ],
    )
    def test_it_is_learnt_from_a_migration_that_was_given_up(self, task: Task, known: str) -> None:
        unit = Noted().unit
        ended = Finished(Reason.MIGRATION_FAILED, "not sent", progress=True)
        learn(unit, task, ended, 1000.0)
        assert unit.transit.why_refused(1) == known
        assert unit.transit.why_refused(2) == ""

    @pytest.mark.parametrize("reason", [Reason.API_UNREACHABLE, Reason.EFFECT_FAILED])
    def test_and_from_none_that_is_tried_again(self, reason: Reason) -> None:
        unit = Noted().unit
        learn(unit, Task.GIVE_UP, Finished(reason, "not sent", progress=True), 1000.0)
        assert unit.transit.why_refused(1) == ""


def test_a_units_view_tells_it() -> None:
    host = Noted()
    host.unit.transit = Transit(Job("m1", 900.0), READY, (1, "no room"))
    known = host.unit.view(host.node)
    assert (known.job, known.receiving, known.refused_move) == (Job("m1", 900.0), READY, "no room")


def test_what_is_stored_and_seen_of_a_unit_reaches_it() -> None:
    unit = Noted().unit
    unit.transit = Transit(Job("m1", 900.0), READY)
    unit.observe_domain(DomainState.PAUSED)
    assert unit.transit.receiving == replace(READY, seen=True)
    unit.stored(record())
    assert unit.transit == Transit()
