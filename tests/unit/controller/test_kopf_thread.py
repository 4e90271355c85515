"""What kopf's own loop says as it ends."""

import asyncio
import logging
from collections.abc import AsyncIterator, Callable
from typing import Any

import pytest

from tandem_controller.edge.handlers import hear_problem


async def watch() -> AsyncIterator[int]:
    try:
        while True:
            yield 1
    finally:
        raise RuntimeError("generator didn't stop after athrow()")


async def left_open() -> None:
    asyncio.get_running_loop().set_exception_handler(hear_problem)
    watches = watch()
    await anext(watches)
    await asyncio.sleep(0)
    KEPT.append(watches)


KEPT: list[AsyncIterator[int]] = []


def test_a_watch_that_ends_with_the_program_is_no_error(caplog: pytest.LogCaptureFixture) -> None:
    asyncio.run(left_open())
    KEPT.clear()
    assert [r for r in caplog.records if r.levelno > logging.DEBUG] == []


def test_any_other_problem_is_told(caplog: pytest.LogCaptureFixture) -> None:
    async def fails() -> None:
        loop = asyncio.get_running_loop()
        loop.set_exception_handler(hear_problem)
        callback: Callable[..., Any] = lambda: 1 / 0  # noqa: E731
        loop.call_soon(callback)
        await asyncio.sleep(0.01)

    asyncio.run(fails())
    assert "division by zero" in caplog.text
