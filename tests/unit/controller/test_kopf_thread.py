"""What kopf's own loop says as it ends, and how what it tells is taken in."""

import asyncio
import logging
from collections.abc import AsyncIterator, Callable
from functools import partial
from typing import Any

import pytest

from tandem_controller.edge import handlers
from tandem_controller.edge.handlers import Inbox, hear_problem


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


class TestInbox:
    def test_what_is_told_at_once_is_taken_in_in_its_order_and_others_have_their_turn(self) -> None:
        """Thousands of objects must not keep the loop from its Leases."""
        heard: list[int] = []

        async def told() -> int:
            loop, inbox = asyncio.get_running_loop(), Inbox(asyncio.get_running_loop())
            all_heard = asyncio.Event()

            def take(number: int) -> None:
                heard.append(number)
                if len(heard) == 20:
                    all_heard.set()
                while loop.time() < until[0]:
                    pass
                until[0] = loop.time() + handlers.TURN_S / 2

            until = [loop.time()]
            for number in range(20):
                inbox.put(partial(take, number))
            await asyncio.sleep(0)
            await asyncio.sleep(0)
            between = len(heard)
            async with asyncio.timeout(60):
                await all_heard.wait()
            return between

        between = asyncio.run(told())
        assert 0 < between < 20
        assert heard == list(range(20))

    def test_one_that_fails_keeps_no_other_from_being_heard(self) -> None:
        heard: list[int] = []

        async def told() -> None:
            loop = asyncio.get_running_loop()
            loop.set_exception_handler(lambda _, __: None)
            inbox = Inbox(loop)
            inbox.put(lambda: heard.append(1 // 0))
            inbox.put(lambda: heard.append(2))
            await asyncio.sleep(0.05)

        asyncio.run(told())
        assert heard == [2]

    def test_kopf_keeps_nothing_of_an_object(self) -> None:
        """It would copy each one that it hears of, and none of its handlers asks for that."""
        kept = handlers.settings().persistence
        body: Any = {"spec": {"mirror": "g"}}
        assert kept.diffbase_storage.build(body=body) == {}
        assert kept.diffbase_storage.fetch(body=body) is None
