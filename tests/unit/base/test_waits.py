"""A cancellation is not lost, whenever it comes."""

import asyncio
import contextlib

import pytest

from tandem_base.waits import cancelled, set_within


async def loop(event: asyncio.Event) -> None:
    while True:
        await set_within(event, 0.05)
        event.clear()


@pytest.mark.parametrize("turns", range(5))
async def test_a_cancellation_that_comes_with_the_event_ends_the_loop(turns: int) -> None:
    """``asyncio.wait_for`` in place of ``set_within`` goes on for ever at one of these."""
    event = asyncio.Event()
    task = asyncio.create_task(loop(event))
    await asyncio.sleep(0.01)
    event.set()
    for _ in range(turns):
        await asyncio.sleep(0)
    task.cancel()
    done, _pending = await asyncio.wait([task], timeout=1.0)
    task.cancel()
    assert task in done


async def test_an_event_in_time_and_none() -> None:
    event = asyncio.Event()
    assert not await set_within(event, 0.01)
    event.set()
    assert await set_within(event, 0.01)


async def test_a_task_that_swallows_a_cancellation_is_ended_all_the_same() -> None:
    async def stubborn() -> None:
        with contextlib.suppress(asyncio.CancelledError):
            await asyncio.sleep(60)
        await asyncio.sleep(60)

    async def failing() -> None:
        raise ValueError

    tasks = [asyncio.create_task(stubborn()), asyncio.create_task(failing())]
    await asyncio.sleep(0.01)
    await asyncio.wait_for(cancelled(tasks), 5.0)
    assert all(task.done() for task in tasks)
