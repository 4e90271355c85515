"""A plan that takes long keeps nothing else waiting: not the count of anybody's silence."""

import asyncio
import threading
import time
from collections.abc import Callable
from random import Random
from typing import Any

import pytest

from tandem_api.lease import Heartbeat
from tandem_api.timing import DEFAULT
from tandem_controller.clock import SystemClock
from tandem_controller.decide.plan import plan as make_plan
from tandem_controller.decide.world.leases import GAP_S, POLL_INTERVAL_S
from tandem_controller.decide.world.model import Plan, Snapshot
from tandem_controller.edge.metrics import Metrics
from tandem_controller.ports import Outside
from tandem_controller.run.bugs import Bugs
from tandem_controller.run.loop import Controller
from tandem_controller.run.planning import ThreadPlanner
from tandem_controller.run.power import Power
from tandem_controller.run.store import TYPES, Store
from unit.controller.scenes import Scene

SLOW_S = 2 * GAP_S


class Quiet:
    """An API with one host, whose heartbeat never changes; it counts how often it was asked."""

    def __init__(self) -> None:
        self.reads = 0

    async def heartbeats(self, timeout_s: float) -> list[Heartbeat]:
        self.reads += 1
        beat = {"host": "a", "instance": "a/b/r", "version": "1", "watchdog_armed": True}
        return [Heartbeat(timing=DEFAULT, **beat)]


class Leader:
    def leads(self) -> bool:
        return True


class Idle:
    """Carries out nothing."""

    wrote_s = 0.0

    def __init__(self, metrics: Metrics) -> None:
        self.bugs = Bugs(metrics, SystemClock().monotonic_s)

    async def run(self, plan: Plan) -> bool:
        return True


def controller(api: Any, make: Callable[[Snapshot], Plan], metrics: Metrics) -> Controller:
    """One that leads and has listed everything, which is nothing."""
    watchers: Any = None
    outside = Outside("one", api, watchers, SystemClock(), Random(1), ThreadPlanner(make))
    store, leader, idle, watched = Store(), Leader(), Idle(metrics), None
    for kind in TYPES:
        store.replace(kind, [])
    events: Any = None
    power = Power(outside, store, leader.leads, metrics, events, lambda: None)
    parts: Any = (leader, idle, metrics, asyncio.Event(), watched, power)
    return Controller(outside, store, *parts)


async def reading(one: Controller) -> None:
    while True:
        await one.read_leases_once()
        await asyncio.sleep(POLL_INTERVAL_S)


async def test_leases_are_read_while_a_plan_is_made() -> None:
    """Else each plan would be a gap, after which every count begins again."""
    api, metrics = Quiet(), Metrics("test")

    def slow(snapshot: Snapshot) -> Plan:
        time.sleep(SLOW_S)
        return make_plan(snapshot)

    one = controller(api, slow, metrics)
    asking = asyncio.create_task(reading(one))
    await asyncio.sleep(0.2)
    began = api.reads
    await one.turn_once()
    asked = api.reads - began
    await one.turn_once()  # plans nothing, since nothing has changed; takes note of the counts
    asking.cancel()
    silent_s = metrics.objects.leases.silent_s("a")
    assert asked >= 2
    assert silent_s is not None
    assert silent_s > SLOW_S - GAP_S, "the count began again"


async def test_a_plan_is_made_in_another_thread() -> None:
    made: list[threading.Thread] = []

    def note(snapshot: Snapshot) -> Plan:
        made.append(threading.current_thread())
        return make_plan(snapshot)

    plan = await ThreadPlanner(note).plan(Scene().snapshot())
    assert plan == Scene().plan()
    assert made != [threading.current_thread()]
    assert [thread.daemon for thread in made] == [True], "it would keep the program from ending"


async def test_a_bug_in_a_rule_reaches_who_asked() -> None:
    def broken(snapshot: Snapshot) -> Plan:
        raise ZeroDivisionError(snapshot.wall)

    with pytest.raises(ZeroDivisionError):
        await ThreadPlanner(broken).plan(Scene().snapshot())


async def test_who_is_told_to_stop_does_not_wait_for_a_plan() -> None:
    """And that it comes later disturbs nobody."""
    go_on = threading.Event()
    ended = threading.Event()

    def hangs(snapshot: Snapshot) -> Plan:
        go_on.wait(30)
        ended.set()
        return make_plan(snapshot)

    said: list[dict[str, Any]] = []
    asyncio.get_running_loop().set_exception_handler(lambda _, context: said.append(context))
    asking = asyncio.create_task(ThreadPlanner(hangs).plan(Scene().snapshot()))
    await asyncio.sleep(0.05)
    asking.cancel()
    with pytest.raises(asyncio.CancelledError):
        await asking
    go_on.set()
    assert await asyncio.to_thread(ended.wait, 10)
    await asyncio.sleep(0.2)
    assert said == []
