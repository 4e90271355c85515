"""The collector looks at everything while the lease is fresh, and then alone."""

import gc
from collections.abc import Iterator

import pytest

from tandem_actuator.adapters.fakes import FakeClock
from tandem_actuator.run.collecting import EVERY_S, FIRST_S, Collecting


class Told:
    """How often it looked at everything."""

    def __init__(self) -> None:
        self.times = 0
        gc.callbacks.append(self._called)

    def _called(self, phase: str, info: dict[str, int]) -> None:
        self.times += phase == "start" and info["generation"] == 2


@pytest.fixture
def told() -> Iterator[Told]:
    """Nothing else collects meanwhile."""
    gc.disable()
    made = Told()
    yield made
    gc.callbacks.remove(made._called)
    gc.unfreeze()
    gc.enable()


def test_once_all_is_told_and_seldom_after(told: Told) -> None:
    clock = FakeClock()
    collecting = Collecting(clock)
    for _ in range(int(FIRST_S) + 10):
        clock.advance(1.0)
        collecting.heartbeat(True)
    assert told.times == 1
    assert gc.get_freeze_count() > 0
    clock.advance(EVERY_S)
    collecting.heartbeat(True)
    collecting.heartbeat(True)
    assert told.times == 2


def test_never_while_no_heartbeat_is_confirmed(told: Told) -> None:
    clock = FakeClock()
    collecting = Collecting(clock)
    clock.advance(10 * EVERY_S)
    collecting.heartbeat(False)
    assert told.times == 0
