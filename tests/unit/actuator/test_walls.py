"""A bug in one mirror's loop stops that loop alone; heartbeat and guard never fail in silence."""

import asyncio
import logging
from collections.abc import Callable, Iterator
from itertools import pairwise

import pytest

from sim.programs.bugs import Planted, poisoned
from tandem_actuator.adapters.kube_api import _parsed
from tandem_actuator.core import effects as fx
from tandem_actuator.core.drbd import DrbdUnknown
from tandem_actuator.core.mirror import handler
from tandem_actuator.core.report import least_replica_report
from tandem_actuator.core.wall import Place
from tandem_api.kinds.mirror import Marker, Mirror, ReplicaReport
from tandem_api.reasons import Reason
from tandem_api.vocabulary import DomainState, Role
from tandem_base.bugs import Bug
from unit.builders import HERE, drbd, frozen, guest, mirror, record

from .test_cluster import Parts
from .test_loop_fence import R_S
from .test_loop_work import keep_heard, other_unit
from .turning import Turning

RULES = frozenset({"tandem_actuator.core.mirror.rules"})
REPORT = frozenset({"tandem_actuator.core.report"})
GUARD = frozenset({"tandem_actuator.core.host.permission"})
ANSWERS = frozenset({"tandem_actuator.core.mirror.handler"})


def raises() -> None:
    raise Planted("by a test")


@pytest.fixture
def host() -> Iterator[Turning]:
    """A guest runs here in good order."""
    made = Turning()
    made.unit.domain, made.node.watchdog_armed = DomainState.RUNNING, True
    made.unit.drbd = made.found = drbd(Role.PRIMARY)
    made.node.guarding = True
    made.driver.on_starting = lambda: None
    yield made
    made.loop.discard()


def reported(host: Turning, name: str) -> list[ReplicaReport]:
    return [
        found
        for key, found in host.reports
        if key.endswith(f"/{name}") and isinstance(found, ReplicaReport)
    ]


class TestAMirrorsLoop:
    def test_it_goes_on_looking_and_says_why_it_does_nothing(self, host: Turning) -> None:
        host.unit.mirror = poisoned(host.unit.mirror, RULES)
        keep_heard(host)
        host.run(10.0)
        assert host.calls.count("query") >= 5
        assert host.unit.reason is Reason.INTERNAL_ERROR
        assert "Planted at rules.py:" in host.unit.message

    def test_looks_stay_as_quick_as_a_guest_on_the_link_needs_them(self, host: Turning) -> None:
        host.unit.mirror, host.node.renewal_sent_at_s = poisoned(host.unit.mirror, RULES), None
        moments: list[float] = []

        def looked() -> None:
            moments.append(host.now_s)
            host.found = drbd(Role.PRIMARY, at_s=host.now_s)

        host.during["query"] = looked
        host.play(lambda: host.actuator._work(host.unit), 5.0)
        gaps = [b - a for a, b in pairwise(moments)]
        assert max(gaps) < host.node.timing.query_freshness_seconds

    def test_it_is_tried_ever_more_seldom_and_for_ever(
        self, host: Turning, caplog: pytest.LogCaptureFixture
    ) -> None:
        moments: list[float] = []
        meets = host.unit.wall.meets

        def met(place: Place, bug: Bug, now_s: float) -> None:
            meets(place, bug, now_s)
            moments.extend([now_s] if place is Place.TURN else [])

        host.unit.wall.meets = met  # type: ignore[method-assign]
        host.unit.mirror = poisoned(host.unit.mirror, RULES)
        keep_heard(host)
        with caplog.at_level(logging.CRITICAL):
            host.run(300.0)
        gaps = [b - a for a, b in pairwise(moments)]
        assert gaps[0] < 4.0
        assert 59.0 < gaps[-1] < 65.0
        assert len([one for one in caplog.records if one.exc_info]) <= 6  # of a turn, of affirming

    def test_once_it_passes_the_wall_is_gone(self, host: Turning) -> None:
        well = host.unit.mirror
        host.unit.mirror = poisoned(well, RULES)
        keep_heard(host)
        host.run(3.0)
        host.unit.mirror = well
        host.run(10.0)
        assert host.unit.wall.met == {}
        assert host.unit.reason is not Reason.INTERNAL_ERROR

    def test_a_look_that_fails_tells_nothing(self, host: Turning) -> None:
        host.during["query"] = raises
        keep_heard(host)
        host.run(3.0)
        assert isinstance(host.unit.drbd, DrbdUnknown)
        assert host.unit.reason is Reason.INTERNAL_ERROR
        host.during.pop("query")
        host.run(3.0)
        assert host.unit.reason is not Reason.INTERNAL_ERROR

    def test_the_others_are_brought_in_line(self, host: Turning) -> None:
        other = other_unit()
        named = host.unit.mirror.metadata.model_copy(update={"name": "other"})
        other.mirror = host.unit.mirror.model_copy(update={"metadata": named})
        host.add(other)
        told: list[str] = []

        def text(unit: object) -> str:
            if unit is host.unit:
                raises()
            told.append("other")
            return "text"

        host.driver.resource_text = text
        host.play(host.actuator._keep_applied, 3.0)
        assert told
        assert list(host.unit.wall.met) == [Place.APPLY]

    def test_a_bug_elsewhere_keeps_a_start_from_happening(self, host: Turning) -> None:
        """A procedure may be under way when it is met."""
        host.unit.domain = DomainState.ABSENT
        host.driver.walls.met(host.unit, Place.REPORT, Planted("x"))
        outcomes: list[fx.Outcome] = []

        async def act() -> None:
            for effect in (fx.Promote(force=False), fx.StartGuest(claimed_at_s=host.now_s)):
                outcomes.append(await host.driver.perform(host.unit, effect))

        host.play(act, 1.0)
        assert [isinstance(each, fx.Failed) for each in outcomes] == [True, True]
        assert "promote" not in host.calls
        assert "start" not in host.calls

    def test_a_loop_that_ends_all_the_same_ends_the_program(self, host: Turning) -> None:
        """As by a bug in what the guard shares."""
        host.unit.mirror = poisoned(host.unit.mirror, GUARD)
        assert _ends(host, lambda: host.actuator._on_unit(host.unit)) == "SystemExit(70)"


def _ends(host: Turning, begin: Callable[[], None]) -> str:
    """What the program ends with."""

    async def program() -> None:
        begin()
        await asyncio.Event().wait()

    host.loop.begin(program())
    host.kernel.run_until(host.kernel.now_s + 3.0)
    return repr(host.errors[0]) if host.errors else "goes on"


class TestGuard:
    def test_a_guest_behind_a_wall_is_fenced(self, host: Turning) -> None:
        host.unit.mirror = poisoned(host.unit.mirror, RULES)
        host.unit.drbd = host.found = frozen()
        host.begin(lambda: host.actuator._work(host.unit), host.actuator._guard)
        host.run(R_S + 1.0)
        assert [call for call in host.calls if call != "query"][:3] == ["cut", "destroy", "states"]

    def test_also_if_it_cannot_be_looked_at(self, host: Turning) -> None:
        host.unit.drbd, host.during["query"] = frozen(), raises
        host.play(host.actuator._guard, R_S + 1.0)
        assert "destroy" in host.calls

    @pytest.mark.parametrize("fails", ["cut", "destroy", "demote"])
    def test_what_of_a_fence_can_be_done_is(self, host: Turning, fails: str) -> None:
        host.unit.drbd = host.found = frozen()
        host.during[fails] = raises
        host.play(host.actuator._guard, R_S + 1.0)
        assert {"cut", "destroy", "demote"} <= set(host.calls)
        assert host.calls.count(fails) >= 2, "it is tried again"

    def test_one_that_fails_by_a_bug_is_not_over(self, host: Turning) -> None:
        """So the watchdog is fed to its deadline, and no further."""
        host.unit.drbd = host.found = frozen()
        host.during["destroy"] = raises
        host.play(host.actuator._guard, R_S + 5.0)
        assert host.unit.fence is not None
        assert max(host.fed) <= host.unit.fence.since_s + host.node.timing.fencing_seconds

    def test_a_bug_in_the_guard_ends_the_program(self, host: Turning) -> None:
        host.unit.mirror = poisoned(host.unit.mirror, GUARD)
        host.loop.begin(_alone(host))
        host.kernel.run_until(host.kernel.now_s + 1.0)
        assert "Planted" in repr(host.errors)

    def test_a_fence_that_cannot_even_be_judged_ends_the_program(self, host: Turning) -> None:
        host.unit.drbd = host.found = frozen()

        def spoil() -> None:
            host.unit.mirror = poisoned(host.unit.mirror, GUARD)

        host.during["query"] = spoil
        host.node.renewal_sent_at_s = host.now_s - R_S - 0.1
        assert _ends(host, host.actuator.guard_once) == "SystemExit(70)"


async def _alone(host: Turning) -> None:
    async with asyncio.TaskGroup() as tasks:
        tasks.create_task(host.actuator._guard())


class TestAnswers:
    @pytest.fixture
    def asked(self, host: Turning) -> Callable[[], tuple[int, str]]:
        def ask() -> tuple[int, str]:
            answers: list[tuple[int, str]] = []

            async def whole() -> None:
                env = {"DRBD_RESOURCE": host.unit.mirror.drbd_name}
                answers.append(await host.actuator.answers.fence_peer(env))

            host.unit.drbd = host.found = frozen()
            host.play(whole, 3.0)
            (found,) = answers
            return found

        return ask

    def test_by_itself_it_is_leave_to_go_on(
        self, host: Turning, asked: Callable[[], tuple[int, str]]
    ) -> None:
        assert asked()[0] == handler.EXIT_PEER_FENCED
        assert "swap" in host.calls

    @pytest.mark.parametrize("place", list(Place))
    def test_behind_a_wall_it_stays_frozen(
        self, host: Turning, asked: Callable[[], tuple[int, str]], place: Place
    ) -> None:
        host.driver.walls.met(host.unit, place, Planted("x"))
        assert asked()[0] == handler.EXIT_STAY_FROZEN
        assert "swap" not in host.calls

    @pytest.mark.parametrize("fails", ["read", "swap"])
    def test_a_bug_in_the_answer_is_no_leave(
        self, host: Turning, asked: Callable[[], tuple[int, str]], fails: str
    ) -> None:
        host.during[fails] = raises
        assert asked()[0] == handler.EXIT_STAY_FROZEN
        assert host.unit.reason is Reason.INTERNAL_ERROR

    def test_it_is_not_soon_won_again_in_vain(self, host: Turning) -> None:
        host.driver.walls.met(host.unit, Place.ANSWER, Planted("x"))
        host.run(25.0)
        assert host.driver.walls.why(host.unit)
        host.run(10.0)
        assert not host.driver.walls.why(host.unit)


class TestReports:
    def test_the_others_are_delivered_and_this_one_says_the_least(self, host: Turning) -> None:
        other = other_unit()
        host.add(other)
        host.unit.record = record(owned_epoch=5, marker=Marker(reason=Reason.LOCAL_DISK_FAILED))
        host.unit.drbd = poisoned(drbd(), REPORT)
        host.play(host.actuator.reports.run, 3.0)
        assert reported(host, "other")
        (least, *_) = reported(host, host.unit.mirror.metadata.name)
        assert (least.reason, least.role, least.connection) == (
            Reason.INTERNAL_ERROR,
            "Unknown",
            "Unknown",
        )
        assert least.marker == Marker(reason=Reason.LOCAL_DISK_FAILED)
        assert "Planted at report.py:" in least.message
        assert host.actuator.walls.why(host.unit)

    def test_it_is_tried_again_and_then_the_wall_goes(self, host: Turning) -> None:
        host.unit.drbd = poisoned(drbd(), REPORT)
        host.begin(host.actuator.reports.run)
        host.run(3.0)
        host.unit.drbd = drbd()
        host.run(10.0)
        assert not host.actuator.walls.why(host.unit)
        assert reported(host, host.unit.mirror.metadata.name)[-1].connection == "Connected"

    def test_a_bug_in_the_guests_report_is_told_with_the_mirrors(self, host: Turning) -> None:
        host.unit.guest = poisoned(guest(None), REPORT)
        host.play(host.actuator.reports.run, 5.0)
        found = reported(host, host.unit.mirror.metadata.name)[-1]
        assert found.reason is Reason.INTERNAL_ERROR
        assert found.connection == "Connected"

    def test_the_least_says_nothing_better_than_it_is(self) -> None:
        marked = record(owned_epoch=5, marker=Marker(reason=Reason.LOCAL_DISK_FAILED))
        told = least_replica_report(HERE, marked, "x")
        assert (told.marker, told.epoch_seen) == (marked.marker, marked.max_epoch)
        assert told.volumes == {}


class TestWhatIsTold:
    def test_a_record_that_our_code_fails_on_is_not_absent(self) -> None:
        parts = Parts()

        class Records:
            def load(self, name: str) -> None:
                raises()

        parts.cluster.records = Records()  # type: ignore[assignment]
        parts.cluster._adopt_mirror(mirror(None).key, mirror(None))
        assert "Planted at" in parts.unit.record.unreadable

    def test_a_copy_that_cannot_be_made_costs_no_other(self) -> None:
        parts, kept = Parts(), list[str]()

        def store(at: Mirror, of: object) -> None:
            if at.metadata.name == "m":
                raises()
            kept.append(at.metadata.name)

        parts.store = store  # type: ignore[method-assign,assignment]
        named = mirror(None).metadata.model_copy(update={"name": "other", "uid": "uid-other"})
        for each in (mirror(None), mirror(None).model_copy(update={"metadata": named})):
            parts.cluster._adopt_mirror(each.key, each)
        parts.cluster._guests_changed()
        assert kept == ["other"]

    def test_an_object_that_our_code_fails_on_is_left_out(self) -> None:
        class Odd(Mirror):
            @classmethod
            def parse(cls, raw: object) -> "Odd":
                raise Planted("parse")

        assert _parsed(Odd, {"metadata": {"name": "m"}}) is None


def test_a_step_that_fails_closes_its_procedure(host: Turning) -> None:
    """And a fence goes on without it."""
    closed: list[str] = []

    def steps() -> fx.Procedure:
        try:
            yield fx.QueryDrbd()
            raise Planted("a step")
        finally:
            closed.append("closed")

    async def fence() -> None:
        finished = await host.driver.fence(host.unit, steps())
        assert finished.failed

    host.play(fence, 1.0)
    assert closed == ["closed"]
    assert host.calls[-4:] == ["cut", "destroy", "states", "demote"]
