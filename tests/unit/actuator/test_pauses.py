"""Hundreds that look now and then: they look together, and none later than by itself."""

import asyncio
from collections.abc import Iterator
from itertools import pairwise

import pytest

from tandem_actuator.run.pauses import TOGETHER, Pauses

from .turning import Turning

PACE_S = 0.25


@pytest.fixture
def host() -> Iterator[Turning]:
    made = Turning()
    yield made
    made.loop.discard()


class Looking:
    """Units that only rest and look. ``looks``: when each of them looked."""

    def __init__(self, host: Turning, paces_s: list[float], begin_s: list[float]) -> None:
        self.host, self.pauses = host, Pauses()
        self.looks: list[list[float]] = [[] for _ in paces_s]
        self.woken = [asyncio.Event() for _ in paces_s]
        self.heard: list[bool] = []

        def looker(number: int):  # type: ignore[no-untyped-def]
            return lambda: self.look(number, paces_s[number], begin_s[number])

        host.begin(*(looker(number) for number in range(len(paces_s))))

    async def look(self, number: int, pace_s: float, begin_s: float) -> None:
        await asyncio.sleep(begin_s)
        while True:
            self.looks[number].append(self.host.now_s)
            self.heard.append(await self.pauses.rest(self.woken[number], pace_s))
            self.woken[number].clear()

    @property
    def moments(self) -> set[float]:
        return {round(at_s, 6) for each in self.looks for at_s in each}


def test_they_soon_look_at_the_same_moments(host: Turning) -> None:
    begins = [PACE_S * number / 300 for number in range(300)]
    looking = Looking(host, [PACE_S] * 300, begins)
    host.run(3.0)
    begun = host.now_s
    host.run(5.0)
    late = {at_s for at_s in looking.moments if at_s > begun}
    assert len(late) <= 5.0 / PACE_S + 1


def test_nobody_rests_for_longer_than_it_asked_to(host: Turning) -> None:
    paces = [0.1, 0.25, 0.5, 2.0] * 10
    looking = Looking(host, paces, [0.013 * number for number in range(40)])
    host.run(10.0)
    for pace_s, looks in zip(paces, looking.looks, strict=True):
        gaps_s = [after - before for before, after in pairwise(looks)]
        assert max(gaps_s) <= pace_s + 1e-6
        assert min(gaps_s) > 0.0


def test_who_is_not_due_soon_is_let_rest(host: Turning) -> None:
    looking = Looking(host, [0.1, 2.0], [0.0, 0.0])
    host.run(1.9)
    assert len(looking.looks[1]) == 1
    host.run(0.2 + TOGETHER)
    assert len(looking.looks[1]) == 2


def test_what_wakes_one_wakes_no_other(host: Turning) -> None:
    looking = Looking(host, [2.0, 2.0], [0.0, 0.0])
    host.run(0.5)
    looking.woken[0].set()
    host.run(0.1)
    assert [len(looks) for looks in looking.looks] == [2, 1]
    assert looking.heard == [True]
