"""Events on their way: nobody waits for them, and one that fails takes no other with it."""

from collections.abc import Iterator

import pytest

from tandem_api.meta import ObjectKey
from tandem_controller.decide.world.model import Notice
from tandem_controller.ports import ApiUnavailable
from tandem_controller.run.events import LIMIT, WRITERS

from .bench import Bench

KEY = ObjectKey(namespace="ns", name="g")


@pytest.fixture
def bench() -> Iterator[Bench]:
    made = Bench()
    yield made
    made.loop.discard()


def put(bench: Bench, count: int) -> None:
    for n in range(count):
        bench.events.put("Guest", KEY, "u", Notice(False, f"R{n}", ""))


def test_they_are_written_in_order_and_few_at_a_time(bench: Bench) -> None:
    bench.takes_s = 0.1
    put(bench, 6)
    bench.play(bench.events.run(), 10.0)
    assert bench.names == [f"event R{n}" for n in range(6)]
    assert bench.most == WRITERS


def test_one_that_cannot_be_written_is_dropped_and_the_next_is_not(bench: Bench) -> None:
    def away() -> None:
        bench.during.clear()
        raise ApiUnavailable("away")

    bench.during["event"] = away
    put(bench, 3)
    bench.play(bench.events.run(), 1.0)
    assert bench.names == ["event R0", "event R1", "event R2"]


def test_what_does_not_fit_is_dropped_and_nobody_waits(bench: Bench) -> None:
    put(bench, LIMIT + 5)
    bench.play(bench.events.run(), 10.0)
    assert len(bench.calls) == LIMIT
