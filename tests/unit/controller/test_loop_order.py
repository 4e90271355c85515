"""The controller's loops: what wakes them, what they wait for, and what counts as seen."""

import asyncio
from collections.abc import Iterator
from random import Random
from typing import Any, cast

import pytest

from sim.programs.controller import Planner, Planning
from tandem_api.lease import Heartbeat
from tandem_api.timing import DEFAULT
from tandem_controller.decide.world.gist import FULL_PLAN_S
from tandem_controller.ports import KINDS, ApiUnavailable, Outside
from tandem_controller.run.bugs import Bugs
from tandem_controller.run.loop import (
    COALESCE_MAX_S,
    RESYNC_S,
    RETRY_S,
    STUCK_S,
    TICK_S,
    Controller,
)
from tandem_controller.run.power import Power
from tandem_controller.run.store import Store

from .bench import STARTED_S, Bench, raw
from .scenes import B, Scene


class Executor:
    """Stands for the one that writes: notes when a plan came, and says what ``done`` says."""

    def __init__(self, bench: Bench) -> None:
        self._bench = bench
        self.plans: list[float] = []
        self.done, self.takes_s, self.wrote_s = True, 0.0, float("-inf")
        self.bugs = Bugs(bench.metrics, bench.monotonic_s)

    async def run(self, plan: object) -> bool:
        self.plans.append(self._bench.monotonic_s())
        await asyncio.sleep(self.takes_s)
        return self.done


class Host(Bench):
    """``controller`` with all that is around it; everything has been listed."""

    def __init__(self) -> None:
        super().__init__()
        self.wake = asyncio.Event()
        self.store = Store(self.wake.set)
        self.written = Executor(self)
        self.told_ = 0
        self.heard: list[tuple[str, int, int, int]] = []
        whole = cast(Any, self)
        self.leadership = Leads()
        outside = Outside("one", self.api, whole, whole, Random(1), Planner(Planning()))
        self.controller = Controller(
            outside,
            self.store,
            cast(Any, self.leadership),
            cast(Any, self.written),
            self.metrics,
            self.wake,
            whole,
            Power(outside, self.store, self.leadership.leads, self.metrics, whole, self.wake.set),
        )
        for kind in KINDS:
            self.store.replace(kind, [])

    def told(self, kind: str) -> int:
        return int(self.told_)

    def listed(self, kind: str, told_before: int, newest: int, version: int) -> None:
        self.heard.append((kind, told_before, newest, version))

    def beat(self, version: str) -> None:
        self.beats = [
            Heartbeat(
                host="a", instance="a/b/r", version=version, watchdog_armed=True, timing=DEFAULT
            )
        ]


class Leads:
    def __init__(self) -> None:
        self.now = True

    def leads(self) -> bool:
        return self.now

    async def run(self) -> None:
        await asyncio.Event().wait()


@pytest.fixture
def host() -> Iterator[Host]:
    made = Host()
    yield made
    made.loop.discard()


class TestLeases:
    def test_they_are_read_at_their_pace_however_long_an_answer_takes(self, host: Host) -> None:
        host.takes_s = 0.3
        host.play(host.controller._read_leases(), 10.0)
        assert 19 <= len(host.calls) <= 21

    def test_silence_is_covered_up_to_when_the_last_read_was_begun(self, host: Host) -> None:
        """A heartbeat may have come while its answer was on the way."""
        host.takes_s = 0.3
        host.beat("1")
        host.play(host.controller._read_leases(), 10.0)
        silent_s = host.controller._leases.silent_s("a")
        began_s = max(at_s for at_s, _ in host.calls if at_s + 0.3 <= host.monotonic_s())
        assert silent_s == pytest.approx(began_s - (STARTED_S + 0.3))

    def test_a_read_that_fails_begins_every_count_anew(self, host: Host) -> None:
        host.beat("1")
        host.result(host.controller.read_leases_once(), 0.1)
        assert host.controller.reachable()

        def away() -> None:
            raise ApiUnavailable("away")

        host.during["heartbeats"] = away
        host.result(host.controller.read_leases_once(), 0.1)
        assert not host.controller.reachable()
        assert host.controller._leases.silent_s("a") is None
        assert host.controller.unready()


class TestLists:
    def test_what_the_watch_had_told_before_is_what_a_list_is_held_against(
        self, host: Host
    ) -> None:
        def meanwhile() -> None:
            host.told_ = 20

        host.told_, host.during["list"] = 5, meanwhile
        host.lists["Guest"] = [raw("Guest", "g", 6), raw("Guest", "h", 4)]
        host.result(host.controller.resync_once("Guest"))
        assert host.heard == [("Guest", 5, 6, 9)]

    def test_what_became_known_meanwhile_is_not_gone(self, host: Host) -> None:
        """The list is of version 9."""
        host.during["list"] = lambda: host.store.put("Site", raw("Site", "s", 12))
        host.result(host.controller.resync_once("Site"))
        assert [site.metadata.name for site in host.store.parsed("Site")] == ["s"]

    def test_what_was_known_before_is_gone_where_the_server_was_restored(self, host: Host) -> None:
        host.store.put("Site", raw("Site", "s", 12))
        host.result(host.controller.resync_once("Site"))
        assert host.store.parsed("Site") == ()

    def test_all_of_them_every_half_minute(self, host: Host) -> None:
        host.play(host.controller._resync(), RESYNC_S + 1.0)
        assert host.names == 2 * [f"list {kind}" for kind in KINDS]

    def test_and_soon_again_where_there_was_no_answer(self, host: Host) -> None:
        def away() -> None:
            raise ApiUnavailable("away")

        host.during["list"] = away
        host.play(host.controller._resync(), 10 * RETRY_S - 0.5)
        assert len(host.calls) == 10
        host.during.clear()
        host.run(RETRY_S)
        assert host.names[10:] == [f"list {kind}" for kind in KINDS]


class TestTurns:
    def begin(self, host: Host, for_s: float = 0.0) -> None:
        async def steady() -> None:
            await asyncio.gather(host.controller._turn(), host.controller._read_leases())

        host.play(steady(), for_s)

    def test_a_change_is_planned_for_at_once_and_changes_together(self, host: Host) -> None:
        self.begin(host, 1.0)
        host.written.plans.clear()
        changed_s = host.monotonic_s()
        for n in range(5):
            host.store.put("Site", raw("Site", f"s{n}"))
        host.run(1.0)
        assert len(host.written.plans) == 1
        assert host.written.plans[0] <= changed_s + COALESCE_MAX_S

    def test_what_changes_while_a_plan_is_carried_out_is_planned_for_then(self, host: Host) -> None:
        self.begin(host, 1.0)
        host.written.takes_s = 0.3
        host.store.put("Site", raw("Site", "one"))
        host.run(0.2)
        planned = len(host.written.plans)
        host.store.put("Site", raw("Site", "two"))
        host.run(0.5)
        assert len(host.written.plans) == planned + 1

    def test_without_a_change_now_and_then(self, host: Host) -> None:
        self.begin(host, 4 * FULL_PLAN_S)
        assert 3 <= len(host.written.plans) <= 6

    def test_what_was_not_carried_out_is_planned_anew_soon(self, host: Host) -> None:
        host.written.done = False
        self.begin(host, 4 * TICK_S + 0.2)
        assert len(host.written.plans) >= 4

    def test_who_does_not_lead_plans_nothing(self, host: Host) -> None:
        host.leadership.now = False
        self.begin(host, 10.0)
        assert host.written.plans == []

    def test_who_follows_meets_the_moments_too(self, host: Host) -> None:
        """By its own clock, before it leads."""
        host.leadership.now = False
        host.store.put("Site", raw("Site", "s", leaseSince="2024-05-01T09:00:00Z"))
        host.result(host.controller.turn_once(), 0.1)
        assert list(host.controller._noted.firsts) == ["2024-05-01T09:00:00Z"]

    def test_who_begins_to_lead_plans_at_once_although_nothing_changed(self, host: Host) -> None:
        self.begin(host, 1.0)
        host.leadership.now = False
        host.run(1.0)
        host.written.plans.clear()
        host.leadership.now = True
        host.run(TICK_S + 0.1)
        assert len(host.written.plans) == 1

    def test_nobody_plans_before_everything_was_listed(self, host: Host) -> None:
        """What is not there yet would look like what is gone."""
        host.store._synced.discard("Host")
        self.begin(host, 10.0)
        assert host.written.plans == []
        assert host.controller.unready()
        host.store.replace("Host", [])
        host.run(1.0)
        assert host.written.plans != []

    def test_one_that_does_not_turn_is_not_healthy(self, host: Host) -> None:
        host.written.takes_s = 1000.0
        self.begin(host, STUCK_S - 1.0)
        assert host.controller.unhealthy() == ""
        host.run(3.0)
        assert host.controller.unhealthy()
        host.written.wrote_s = host.monotonic_s()
        assert host.controller.unhealthy() == ""


def test_a_link_is_not_counted_as_down_while_the_server_cannot_be_asked(host: Host) -> None:
    """Its host may have said meanwhile that it is up."""
    host.store.replace("Mirror", [ordered_mirror()])
    host.result(host.controller.read_leases_once(), 0.1)
    assert host.controller._snapshot().link_down_since_s != {}
    host.run(10.0)
    assert host.controller._snapshot().link_down_since_s == {}


def ordered_mirror() -> dict[str, Any]:
    """A person gives it to B, which sees its link down."""
    scene = Scene()
    scene.mirror = {"override": {"host": B, "epoch": 5, "acceptDataLoss": True, "by": "ana"}}
    found = scene.unlinked().parsed_mirror().wire()
    return {**found, "kind": "Mirror"}


def test_that_a_host_has_fallen_silent_is_planned_for_at_once(host: Host) -> None:
    """Nothing else changes then: only time has passed."""
    host.beat("1")

    async def steady() -> None:
        await asyncio.gather(host.controller._turn(), host.controller._read_leases())

    host.play(steady(), 3.0)  # so that the plan that is due anyway does not come just then
    host.beat("2")
    host.run(1.0)
    since_s = host.controller._leases.counts["a"].since_s
    host.run(since_s + DEFAULT.lost_after_s + 2 * TICK_S + 0.1 - host.monotonic_s())
    lost_s = since_s + DEFAULT.lost_after_s
    assert [at_s for at_s in host.written.plans if at_s >= lost_s] != []
