"""What is sent when: while a replica leads, after a failure, and what first."""

import time
from collections.abc import Callable
from dataclasses import dataclass, field, replace
from random import Random
from typing import Any

from tandem_api.meta import ObjectKey
from tandem_controller.clock import SystemClock
from tandem_controller.decide.world.model import Plan, WriteStatus
from tandem_controller.edge.metrics import Metrics
from tandem_controller.ports import ApiError, ApiRefused, ApiUnavailable
from tandem_controller.run.events import EventQueue
from tandem_controller.run.execute import CONCURRENCY, PLAN_LIFE_S, STATUS_BUDGET_S, Executor
from tandem_controller.run.pace import PATIENCE_S, REFUSED_S
from tandem_controller.run.store import Store
from unit.controller.scenes import Scene


class FakeApi:
    """Counts the writes; the replica leads until its first one is answered, unless ``steady``."""

    def __init__(self, scene: Scene, *, steady: bool) -> None:
        self._scene, self._steady = scene, steady
        self.leads = True
        self.calls: list[str] = []

    async def add_claimant(self, *_: Any) -> dict[str, Any]:
        self.calls.append("claimant")
        self.leads = self._steady
        return self._scene.parsed_mirror().wire()

    async def write_status(self, kind: str, *_: Any) -> dict[str, Any]:
        self.calls.append(kind)
        return self._scene.parsed_guest().wire()


async def _takeover(*, steady: bool) -> tuple[list[str], bool]:
    scene = Scene().lost()
    fake = FakeApi(scene, steady=steady)
    api: Any = fake
    executor = Executor(
        api,
        Store(lambda: None),
        lambda: fake.leads,
        Metrics("test"),
        EventQueue(api),
        SystemClock(),
        Random(1),
    )
    made = scene.plan()
    done = await executor.run(replace(made, statuses=()))
    return fake.calls, done


async def test_the_claimant_is_written_before_the_assignment() -> None:
    assert await _takeover(steady=True) == (["claimant", "Guest"], True)


async def test_who_stops_leading_between_the_two_writes_assigns_nothing() -> None:
    assert await _takeover(steady=False) == (["claimant"], False)


# -- what fails


@dataclass
class Scripted:
    """An API that answers each status as it is told to, and takes note of when it was asked."""

    answer: Callable[[ObjectKey], ApiError | None] = lambda key: None
    asked: list[tuple[float, ObjectKey]] = field(default_factory=list)
    on_call: Callable[[], None] = lambda: None

    async def add_claimant(self, *_: Any) -> dict[str, Any]:
        return Scene().lost().parsed_mirror().wire()

    async def write_status(self, kind: str, key: ObjectKey, *_: Any) -> dict[str, Any]:
        self.asked.append((time.monotonic(), key))
        self.on_call()
        error = self.answer(key)
        if error is not None:
            raise error
        guest = Scene().lost().parsed_guest()
        named = guest.metadata.model_copy(update={"name": key.name})
        return guest.model_copy(update={"metadata": named}).wire()

    def keys(self) -> list[str]:
        return [key.name for _, key in self.asked]


@dataclass
class Standing:
    """A clock that goes on when it is told to."""

    now_s: float = 1000.0

    def monotonic_s(self) -> float:
        return self.now_s

    def wall(self) -> str:
        return "2024-05-01T10:00:00Z"


def executor(api: Any, clock: Any = None) -> Executor:
    parts = (lambda: True, Metrics("test"), EventQueue(api), clock or SystemClock(), Random(1))
    return Executor(api, Store(lambda: None), *parts)


def takeover(left_s: float) -> Plan:
    """One assignment, whose facts may be used for so much longer."""
    made = Scene().lost().plan()
    snapshot = replace(made.world.snapshot, now_s=time.monotonic() - PLAN_LIFE_S + left_s)
    return replace(made, statuses=(), world=replace(made.world, snapshot=snapshot))


def statuses(*names: str) -> Plan:
    """Nothing but these guests' statuses."""
    made = Scene().plan()
    writes = tuple(
        WriteStatus(
            "Guest", ObjectKey(namespace="ns", name=name), f"uid-{name}", {"phase": "x"}, ()
        )
        for name in names
    )
    return replace(made, urgent=(), statuses=writes)


async def test_an_assignment_is_sent_again_with_pauses_and_not_without_end() -> None:
    api = Scripted(lambda key: ApiUnavailable("no answer"))
    assert await executor(api).run(takeover(left_s=1.5)) is False
    assert 2 <= len(api.asked) <= 10


async def test_a_server_that_asks_to_be_left_alone_is() -> None:
    answers: list[ApiError | None] = [ApiUnavailable("429", retry_after_s=0.6), None]
    api = Scripted(lambda key: answers.pop(0))
    assert await executor(api).run(takeover(left_s=5.0))
    (first_s, _), (second_s, _) = api.asked
    assert second_s - first_s >= 0.6


async def test_it_is_left_alone_by_everything_and_nothing_waits_for_that() -> None:
    """Statuses come with a later plan; the loop goes on at once."""
    api = Scripted(lambda key: ApiUnavailable("429", retry_after_s=1.0))
    clock = Standing()
    one = executor(api, clock)
    assert await one.run(statuses("a")) is False
    assert await one.run(statuses("a", "b")) is False
    assert api.keys() == ["a"]
    clock.now_s += 1.1
    await one.run(statuses("b"))
    assert api.keys() == ["a", "b"]


async def test_a_guest_does_not_wait_for_a_server_that_asks_for_an_hour() -> None:
    answers: list[ApiError | None] = [ApiUnavailable("503", retry_after_s=3600.0), None]
    api = Scripted(lambda key: answers.pop(0))
    assert await executor(api).run(takeover(left_s=PATIENCE_S + 3.0))
    (first_s, _), (second_s, _) = api.asked
    assert PATIENCE_S <= second_s - first_s < PATIENCE_S + 3.0


async def test_a_status_that_is_refused_is_not_sent_with_every_plan() -> None:
    api = Scripted(lambda key: ApiRefused("403") if key.name == "bad" else None)
    clock = Standing()
    one = executor(api, clock)
    assert await one.run(statuses("bad", "good")), "it is no reason to plan again at once"
    assert await one.run(statuses("bad", "good"))
    assert api.keys() == ["bad", "good", "good"]
    for pause_s in (1.0, 2.0, 4.0, 8.0, 16.0, 32.0, 60.0, 60.0):
        before = len(api.asked)
        clock.now_s += pause_s - 0.1
        await one.run(statuses("bad"))
        assert len(api.asked) == before, pause_s
        clock.now_s += 0.1
        await one.run(statuses("bad"))
        assert len(api.asked) == before + 1, pause_s
    assert REFUSED_S == (1.0, 60.0)


async def test_what_is_refused_no_more_is_sent_as_ever() -> None:
    refused = ["bad"]
    api = Scripted(lambda key: ApiRefused("403") if key.name in refused else None)
    clock = Standing()
    one = executor(api, clock)
    await one.run(statuses("bad"))
    refused.clear()
    clock.now_s += 1.0
    for _ in range(3):
        await one.run(statuses("bad"))
    assert api.keys() == ["bad"] * 4


async def test_statuses_without_an_answer_do_not_keep_the_others_from_being_written() -> None:
    """They use up all the time that there is for statuses: once."""
    clock = Standing()
    slow = [f"slow-{number}" for number in range(CONCURRENCY)]
    api = Scripted(lambda key: ApiUnavailable("timeout") if key.name in slow else None)
    api.on_call = lambda: setattr(clock, "now_s", clock.now_s + STATUS_BUDGET_S / CONCURRENCY)
    one = executor(api, clock)
    for _ in range(2):
        assert await one.run(statuses(*slow, "a", "b")) is False
    assert {"a", "b"} <= set(api.keys()[CONCURRENCY:])


async def test_refused_writes_are_counted() -> None:
    metrics = Metrics("test")
    api: Any = Scripted(lambda key: ApiRefused("403"))
    parts = (lambda: True, metrics, EventQueue(api), Standing(), Random(1))
    await Executor(api, Store(lambda: None), *parts).run(statuses("a", "b"))
    found = metrics.registry.get_sample_value("tandem_writes_refused_total", {"kind": "Guest"})
    assert found == 2
