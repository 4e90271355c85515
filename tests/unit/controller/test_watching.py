"""The watches are begun, begun anew when they are dead, and what an old beginning tells is left."""

import asyncio
from collections.abc import Callable, Iterator
from typing import Any, cast

import pytest

from tandem_api.meta import ObjectKey
from tandem_controller.decide.watches import ENDED_S
from tandem_controller.edge.watching import AGAIN_S, EXIT_TIMEOUT_S, LIVED_S, Watching
from tandem_controller.ports import KINDS, Raw

from .bench import Bench, raw

KEY = ObjectKey(namespace="", name="one")


class Watcher:
    """One beginning. It ends when it is asked to, unless it hangs."""

    def __init__(
        self, told: Callable[[str, bool, Raw], None], opened: Callable[[str], None], hangs: bool
    ) -> None:
        self.told, self.opened, self.hangs, self.stopped = told, opened, hangs, False
        self.ended: asyncio.Future[BaseException | None] = (
            asyncio.get_running_loop().create_future()
        )

    def stop(self) -> None:
        self.stopped = True
        if not self.hangs and not self.ended.done():
            self.ended.set_result(None)


class Host(Bench):
    def __init__(self) -> None:
        super().__init__()
        self.begun: list[tuple[float, Watcher]] = []
        self.hangs, self.reachable, self.ended = False, True, False
        self.watching = Watching(self.store, cast(Any, self), self.metrics, cast(Any, self))
        self.stop: asyncio.Event | None = None

    def begin(self, told: Any, opened: Any) -> Watcher:
        watcher = Watcher(told, opened, self.hangs)
        self.begun.append((self.monotonic_s(), watcher))
        return watcher

    async def main(self) -> None:
        self.stop = asyncio.Event()
        await self.watching.run(self.stop, lambda: self.reachable)
        self.ended = True

    @property
    def last(self) -> Watcher:
        return self.begun[-1][1]

    def keep_alive(self, for_s: float) -> None:
        """Each watch ends and is begun again as it should be."""
        for _ in range(int(for_s / 10)):
            for kind in KINDS:
                self.last.opened(kind)
            self.run(10.0)


@pytest.fixture
def host() -> Iterator[Host]:
    made = Host()
    made.play(made.main(), 0.1)
    yield made
    made.loop.discard()


def test_what_a_watch_tells_is_in_the_store(host: Host) -> None:
    host.last.told("Site", False, raw("Site", "one", 3))
    assert host.store.get("Site", KEY) is not None
    assert host.watching.told("Site") == 3
    host.last.told("Site", True, raw("Site", "one", 4))
    assert host.store.get("Site", KEY) is None
    assert host.watching.told("Site") == 4


def test_those_that_live_are_left_alone(host: Host) -> None:
    host.keep_alive(120.0)
    assert len(host.begun) == 1


def test_those_that_nobody_begins_again_are_dead(host: Host) -> None:
    host.run(ENDED_S + 2.0)
    assert len(host.begun) == 2
    assert host.begun[0][1].stopped


def test_an_outage_is_not_held_against_them(host: Host) -> None:
    host.reachable = False
    host.run(3 * ENDED_S)
    assert len(host.begun) == 1
    host.reachable = True
    host.run(2.0)
    assert host.begun[0][1].stopped


def test_one_that_does_not_end_is_not_listened_to_any_more(host: Host) -> None:
    host.last.hangs = True
    first = host.last
    host.run(ENDED_S + 0.6 + EXIT_TIMEOUT_S + AGAIN_S[0] + 0.5)
    assert len(host.begun) == 2
    first.told("Site", False, raw("Site", "one", 3))
    first.opened("Site")
    assert host.store.get("Site", KEY) is None
    host.last.told("Site", False, raw("Site", "one", 3))
    assert host.store.get("Site", KEY) is not None


def test_those_that_give_up_are_begun_ever_more_seldom(host: Host) -> None:
    host.reachable = False  # else they would be found dead as well
    waits: list[float] = []
    for _ in range(7):
        gave_up_s = host.monotonic_s()
        host.last.ended.set_result(ValueError("kopf"))
        host.run(AGAIN_S[1] + 1.0)
        waits.append(host.begun[-1][0] - gave_up_s)
    assert [int(wait_s) for wait_s in waits] == [1, 2, 4, 8, 16, 30, 30]


def test_but_soon_again_once_they_have_lived(host: Host) -> None:
    for _ in range(6):
        host.last.ended.set_result(None)
        host.run(AGAIN_S[1] + 1.0)
    host.keep_alive(LIVED_S + 10.0)
    host.last.ended.set_result(None)
    count = len(host.begun)
    host.run(AGAIN_S[0] + 1.0)
    assert len(host.begun) == count + 1


def test_it_ends_when_it_is_told_to_and_waits_for_what_it_began(host: Host) -> None:
    assert host.stop is not None
    host.stop.set()
    host.run(1.0)
    assert host.last.stopped
    assert host.ended


def test_but_not_for_ever(host: Host) -> None:
    assert host.stop is not None
    host.last.hangs = True
    host.stop.set()
    host.run(EXIT_TIMEOUT_S + 1.0)
    assert host.ended
