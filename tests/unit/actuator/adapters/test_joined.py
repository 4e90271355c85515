"""Looks that others join: none of them is older than the question, and none waits for one that
hangs.
"""

import asyncio

import pytest

from tandem_actuator.adapters.libvirt.joined import LOOKS, PATIENCE_S, Joined
from tandem_actuator.ports import PortError


class Looks:
    """``begun``: how often it was looked. Each ends once ``ends`` says so."""

    def __init__(self) -> None:
        self.begun = 0
        self.ends: dict[int, asyncio.Event] = {}
        self.fails = False
        self.joined = Joined(self._look)

    async def _look(self) -> int:
        self.begun += 1
        number = self.begun
        await self.ends.setdefault(number, asyncio.Event()).wait()
        if self.fails:
            raise PortError("no")
        return number

    def end_all(self) -> None:
        for number in range(1, 20):
            self.ends.setdefault(number, asyncio.Event()).set()

    async def ask(self, count: int = 1) -> list["asyncio.Task[int]"]:
        tasks = [asyncio.create_task(self.joined.look()) for _ in range(count)]
        await asyncio.sleep(0)
        return tasks


async def answers(tasks: list["asyncio.Task[int]"]) -> list[int]:
    return [await task for task in tasks]


async def test_few_look_at_once() -> None:
    looks = Looks()
    tasks = await looks.ask(LOOKS)
    assert looks.begun == LOOKS
    looks.end_all()
    assert await answers(tasks) == list(range(1, LOOKS + 1))


async def test_hundreds_join_one_that_was_begun_after_they_asked() -> None:
    looks = Looks()
    first, rest = await looks.ask(LOOKS), await looks.ask(300)
    assert looks.begun == LOOKS
    looks.end_all()
    assert await answers(rest) == [LOOKS + 1] * 300
    await answers(first)


async def test_who_asks_while_that_looks_does_not_get_it() -> None:
    looks = Looks()
    first, second = await looks.ask(LOOKS), await looks.ask()
    looks.ends[LOOKS].set()
    await asyncio.sleep(PATIENCE_S / 4)
    assert looks.begun == LOOKS + 1
    third = await looks.ask()
    looks.end_all()
    assert await answers(second) == [LOOKS + 1]
    assert (await answers(third))[0] > LOOKS + 1
    await answers(first)


async def test_one_that_hangs_keeps_nobody_waiting() -> None:
    looks = Looks()
    hangs, others = await looks.ask(LOOKS), await looks.ask(3)
    await asyncio.sleep(3 * PATIENCE_S)
    assert looks.begun == LOOKS + 1
    looks.ends[LOOKS + 1].set()
    assert await answers(others) == [LOOKS + 1] * 3
    looks.end_all()
    await answers(hangs)


async def test_all_are_told_why_it_failed() -> None:
    looks = Looks()
    looks.fails = True
    first, rest = await looks.ask(LOOKS), await looks.ask(2)
    looks.end_all()
    for task in (*first, *rest):
        with pytest.raises(PortError):
            await task


async def test_who_waits_no_more_takes_it_from_nobody() -> None:
    looks = Looks()
    first, (one, other) = await looks.ask(LOOKS), await looks.ask(2)
    one.cancel()
    looks.end_all()
    assert await other == LOOKS + 1
    await answers(first)
