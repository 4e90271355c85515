"""Worlds that a test begins end with it, and so does all that waits on a way to the API."""

import asyncio
import contextlib
from collections.abc import Iterator

import pytest

from sim.play.ending import last_worlds_end, worlds_end

from .api_bench import Bench

__all__ = ["last_worlds_end", "worlds_end"]


@pytest.fixture
def bench() -> Bench:
    return Bench()


@pytest.fixture(autouse=True)
def discarded() -> Iterator[None]:
    """What still waits when a test has ended is ended."""
    yield
    for loop in Bench.loops:
        loop.group.stop()
        for task in loop._tasks:
            # Not close(): within, it leaves asynchronous generators as running.
            with contextlib.suppress(BaseException):
                while not task.done():
                    task.get_coro().throw(asyncio.CancelledError())
    Bench.loops.clear()
