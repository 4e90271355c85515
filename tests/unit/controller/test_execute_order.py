"""How a plan is carried out: what comes first, how much at a time, and what an answer means."""

import asyncio
from collections.abc import Iterator
from dataclasses import replace
from typing import Any

import pytest

from tandem_api.meta import ObjectKey
from tandem_controller.decide.world.model import Plan, WriteAssignment
from tandem_controller.ports import ApiConflict, ApiError, ApiRefused, ApiUnavailable
from tandem_controller.run.execute import AT_A_TIME, CONCURRENCY, PLAN_LIFE_S, STATUS_BUDGET_S

from .bench import STARTED_S, Bench, raw, statuses, takeover
from .scenes import B, Scene

GUEST, MIRROR = "status Guest g", f"claimant {B}"


@pytest.fixture
def bench() -> Iterator[Bench]:
    made = Bench()
    yield made
    made.loop.discard()


def fails(bench: Bench, call: str, error: Exception, times: int = 10**6) -> None:
    left = [times]

    def now() -> None:
        left[0] -= 1
        if left[0] >= 0:
            raise error

    bench.during[call] = now


def young(plan: Plan, bench: Bench) -> Plan:
    """As if it had been made just now."""
    snapshot = replace(plan.world.snapshot, now_s=bench.monotonic_s())
    return replace(plan, world=replace(plan.world, snapshot=snapshot))


def assignment(plan: Plan) -> WriteAssignment:
    (found,) = (write for write in plan.urgent if isinstance(write, WriteAssignment))
    return found


class TestOrder:
    def test_what_is_urgent_comes_first_and_is_done_before_a_status_is_begun(
        self, bench: Bench
    ) -> None:
        bench.takes_s = 1.0
        plan = replace(young(takeover(), bench), statuses=statuses(1))
        assert bench.result(bench.executor.run(plan)) is True
        assert bench.calls == [
            (STARTED_S, MIRROR),
            (STARTED_S + 1.0, GUEST),
            (STARTED_S + 2.0, "status Guest g0"),
        ]

    def test_no_more_are_written_at_a_time(self, bench: Bench) -> None:
        bench.takes_s = 0.1
        bench.result(bench.executor.run(replace(takeover(), urgent=(), statuses=statuses(60))))
        assert bench.most == CONCURRENCY

    def test_statuses_do_not_hold_up_the_next_plan(self, bench: Bench) -> None:
        bench.takes_s = 0.2
        plan = replace(takeover(), urgent=(), statuses=statuses(200))
        assert bench.result(bench.executor.run(plan)) is False
        assert len(bench.calls) == 3 * CONCURRENCY
        assert bench.calls[-1][0] <= STARTED_S + STATUS_BUDGET_S

    def test_nor_do_thousands_of_them_the_loop(self, bench: Bench) -> None:
        """Those that come too late are not even begun."""
        begun: list[int] = []
        bench.takes_s = 0.1
        bench.during["status"] = lambda: begun.append(len(asyncio.all_tasks()))
        plan = replace(takeover(), urgent=(), statuses=statuses(10 * AT_A_TIME))
        assert not bench.result(bench.executor.run(plan))
        assert max(begun) < 2 * AT_A_TIME

    def test_but_assignments_are_all_made_however_long_it_takes(self, bench: Bench) -> None:
        bench.takes_s = 1.0
        plan = young(takeover(), bench)
        bench.result(bench.executor.run(replace(plan, urgent=plan.urgent * 40)))
        assert bench.names.count(GUEST) == 40

    def test_whether_it_leads_is_asked_right_before_each(self, bench: Bench) -> None:
        def resigns() -> None:
            bench.leads = False

        bench.takes_s, bench.during["status"] = 0.1, resigns
        plan = replace(takeover(), urgent=(), statuses=statuses(40))
        assert bench.result(bench.executor.run(plan)) is False
        assert len(bench.calls) == CONCURRENCY

    def test_when_it_wrote_last_is_known_while_it_writes(self, bench: Bench) -> None:
        """Else a long plan would count as a loop that stands still."""
        seen: list[float] = []
        bench.during["status"] = lambda: seen.append(bench.executor.wrote_s)
        bench.result(bench.executor.run(replace(takeover(), urgent=(), statuses=statuses(1))))
        assert seen == [STARTED_S]


class TestPreconditions:
    def test_an_assignment_is_of_the_version_that_was_judged(self, bench: Bench) -> None:
        plan = takeover()
        bench.result(bench.executor.run(plan))
        assert bench.versions == [assignment(plan).guest.metadata.resource_version]
        assert bench.versions[0]

    def test_a_status_is_of_the_version_that_it_names(self, bench: Bench) -> None:
        bench.result(bench.executor.run(replace(takeover(), urgent=(), statuses=statuses(2))))
        assert bench.versions == ["v0", "v1"]

    def test_no_two_requests_have_one_id(self, bench: Bench) -> None:
        assert len({bench.executor._request_id() for _ in range(3)}) == 3


class TestAnswers:
    def test_what_was_written_is_known_before_a_watch_tells(self, bench: Bench) -> None:
        bench.result(bench.executor.run(replace(takeover(), urgent=(), statuses=statuses(1))))
        found = bench.store._objects["Guest"][ObjectKey(namespace="", name="g0")]
        assert found.version == 7

    def test_after_a_conflict_what_was_believed_is_read_again(self, bench: Bench) -> None:
        fails(bench, "status", ApiConflict("another version"))
        bench.objects["Guest", "g"] = raw("Guest", "g", 8)
        assert bench.result(bench.executor.run(takeover())) is False
        assert bench.names == [MIRROR, GUEST, "read Guest g", "read Mirror g"]
        assert bench.store._objects["Guest"][ObjectKey(namespace="", name="g")].version == 8

    def test_what_is_gone_then_is_forgotten(self, bench: Bench) -> None:
        bench.store.put("Guest", raw("Guest", "g0", 3))
        fails(bench, "status", ApiConflict("not there"))
        bench.result(bench.executor.run(replace(takeover(), urgent=(), statuses=statuses(1))))
        assert bench.store._objects["Guest"] == {}

    @pytest.mark.parametrize(
        ("error", "done"),
        [(ApiRefused("invalid"), True), (ApiUnavailable("away"), False), (ApiError("?"), False)],
    )
    def test_what_is_refused_is_not_tried_at_once_and_what_is_away_is(
        self, bench: Bench, error: Exception, done: bool
    ) -> None:
        fails(bench, "status", error)
        plan = replace(takeover(), urgent=(), statuses=statuses(1))
        assert bench.result(bench.executor.run(plan)) is done
        assert len(bench.calls) == 1

    def test_one_that_fails_keeps_no_other_from_being_written(self, bench: Bench) -> None:
        fails(bench, "status", ApiUnavailable("away"), times=1)
        plan = replace(takeover(), urgent=(), statuses=statuses(3))
        assert bench.result(bench.executor.run(plan)) is False
        assert len(bench.calls) == 3


class TestInsisting:
    """An assignment without an answer is sent again: a takeover must not wait for another lease."""

    def test_until_it_is_answered(self, bench: Bench) -> None:
        fails(bench, "status", ApiUnavailable("overload"), times=2)
        assert bench.result(bench.executor.run(young(takeover(), bench))) is True
        assert bench.names == 3 * [MIRROR, GUEST]

    def test_as_long_as_its_facts_are_young(self, bench: Bench) -> None:
        bench.takes_s = 0.5
        fails(bench, "status", ApiUnavailable("overload"))
        assert bench.result(bench.executor.run(young(takeover(), bench))) is False
        assert bench.calls[-1][0] <= STARTED_S + PLAN_LIFE_S + 1.0
        assert len(bench.calls) > 4

    def test_as_long_as_it_leads(self, bench: Bench) -> None:
        def away() -> None:
            bench.leads = False
            raise ApiUnavailable("overload")

        bench.during["status"] = away
        assert bench.result(bench.executor.run(young(takeover(), bench))) is False
        assert bench.names == [MIRROR, GUEST]

    @pytest.mark.parametrize("landed", [True, False])
    def test_one_that_had_landed_is_recognised(self, bench: Bench, landed: bool) -> None:
        """And only that: somebody else may have written meanwhile."""
        plan = young(takeover(), bench)
        answers: list[ApiError] = [ApiUnavailable("no answer"), ApiConflict("another version")]

        def answer() -> None:
            raise answers.pop(0)

        bench.during["status"] = answer
        stored: Any = assignment(plan).assignment.wire()
        if not landed:
            stored = {**stored, "serial": 99}
        bench.objects["Guest", "g"] = raw("Guest", "g", 8, assignment=stored)
        assert bench.result(bench.executor.run(plan)) is landed
        assert bench.store._objects["Guest"][ObjectKey(namespace="", name="g")].version == 8

    def test_a_conflict_at_once_is_one(self, bench: Bench) -> None:
        """Whatever stands there: who else wrote this assignment wrote something else beside it."""
        plan = young(takeover(), bench)
        fails(bench, "status", ApiConflict("another version"))
        stored = assignment(plan).assignment.wire()
        bench.objects["Guest", "g"] = raw("Guest", "g", 8, assignment=stored)
        assert bench.result(bench.executor.run(plan)) is False


def test_the_scene_is_one_takeover() -> None:
    """What the tests above rest on."""
    assert assignment(Scene().lost().plan()).claimant is not None
