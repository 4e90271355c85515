"""In which order a replica ends: it leads no more before anything of it stops."""

import asyncio
from collections.abc import Iterator
from random import Random
from typing import Any, cast

import pytest

from sim.programs.controller import Planner, Planning
from tandem_controller.ports import Outside
from tandem_controller.run.program import WATCHES_EXIT_TIMEOUT_S, Program, program

from .bench import Bench


class Election:
    """Notes what it is asked. Giving up takes a second."""

    def __init__(self, api: Any, identity: str, clock: Any) -> None:
        self.bench = api
        self.led = True

    def leads(self) -> bool:
        return self.led

    async def run(self) -> None:
        try:
            await asyncio.Event().wait()
        finally:
            self.bench.calls.append((self.bench.monotonic_s(), "loops end"))

    async def resign(self) -> None:
        self.led = False
        self.bench.calls.append((self.bench.monotonic_s(), "resigns"))
        await asyncio.sleep(1.0)
        self.bench.calls.append((self.bench.monotonic_s(), "resigned"))


class Host(Bench):
    """``hangs``: its watches do not end when they are told to."""

    def __init__(self) -> None:
        super().__init__()
        self.hangs, self.over = False, False
        self.stop = asyncio.Event()
        self.ended: asyncio.Future[BaseException | None] | None = None
        whole = cast(Any, self)
        outside = Outside("one", whole, whole, whole, Random(1), Planner(Planning()))
        self.program: Program = program(outside, self.metrics, cast(Any, Election))

    def begin(self, told: Any, opened: Any) -> Any:
        self.ended = asyncio.get_running_loop().create_future()
        return Watcher(self)

    async def main(self) -> None:
        try:
            await self.program.run(self.stop)
        finally:
            self.over = True

    @property
    def order(self) -> list[str]:
        return [name for name in self.names if "list" not in name and name != "heartbeats"]


class Watcher:
    def __init__(self, host: Host) -> None:
        self._host = host
        assert host.ended is not None
        self.ended = host.ended

    def stop(self) -> None:
        self._host.calls.append((self._host.monotonic_s(), "watches end"))
        if not self._host.hangs and not self.ended.done():
            self.ended.set_result(None)


@pytest.fixture
def host() -> Iterator[Host]:
    made = Host()
    made.play(made.main(), 3.0)
    yield made
    made.loop.discard()


def test_it_resigns_first_and_its_watches_end_last(host: Host) -> None:
    """Whoever leads plans on what they bring, until it leads no more."""
    host.stop.set()
    host.run(5.0)
    assert host.order == ["resigns", "resigned", "loops end", "watches end"]
    assert host.over


def test_watches_that_do_not_end_are_not_waited_for(host: Host) -> None:
    host.hangs = True
    host.stop.set()
    host.run(1.0 + WATCHES_EXIT_TIMEOUT_S + 1.0)
    assert host.over


def test_a_part_that_fails_ends_it_all_and_is_told(host: Host) -> None:
    def bug() -> None:
        raise ValueError("a bug")

    host.during["heartbeats"] = bug
    host.kernel.run_until(host.kernel.now_s + 10.0)
    assert host.order == ["loops end", "resigns", "resigned", "watches end"]
    assert host.over
    assert [type(error) for error in host.errors] == [ExceptionGroup]
