"""What a replica that stops leading between two writes still sends."""

from dataclasses import replace
from random import Random
from typing import Any

from tandem_controller.clock import SystemClock
from tandem_controller.events import EventQueue
from tandem_controller.execute import Executor
from tandem_controller.metrics import Metrics
from tandem_controller.store import Store
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
