"""A task that ends with an exception that nobody fetches is a bug, and the world tells it."""

import asyncio
import gc

import pytest

from sim.engine.kernel import Group, Kernel
from sim.engine.loop import TASKS_KEPT, Loop
from sim.play.player import begin, unheard
from sim.world import World
from tandem_scenario.plan import WorldPlan


async def fails() -> None:
    await asyncio.sleep(0.1)
    raise ValueError("a bug")


def played(*, fetched: bool, others: int = 0) -> list[str]:
    """What was not heard of a program that starts a task that fails, and goes on for ever."""
    kernel = Kernel(1)
    loop = Loop(kernel, Group("program"), lambda: kernel.now_s, lambda _: None)

    async def program() -> None:
        task = asyncio.create_task(fails())
        await asyncio.sleep(1.0)
        if fetched:
            task.exception()
        for _ in range(others):
            await asyncio.create_task(asyncio.sleep(0))
        await asyncio.Event().wait()

    loop.begin(program())
    kernel.run_until(5.0)
    found = [str(error) for error in loop.unheard()]
    loop.discard()
    return found


@pytest.mark.parametrize("others", [0, 3 * TASKS_KEPT])
def test_it_is_told(others: int) -> None:
    assert played(fetched=False, others=others) == ["a bug"]


def test_what_was_fetched_is_no_bug() -> None:
    assert played(fetched=True) == []


def test_the_world_tells_it() -> None:
    world = begin(WorldPlan(), settled=True)
    assert unheard(world) == []
    actuator = next(iter(world.actuators.values()))
    actuator.loop.create_task(fails())
    world.kernel.run_until(world.kernel.now_s + 1.0)
    assert unheard(world) == ["a task ended, and nobody heard why: ValueError('a bug')"]
    world.discard()


def test_a_world_is_kept_until_it_is_discarded() -> None:
    """Collected in the middle of another's step, its programs would complain of their end."""
    begin(WorldPlan(), settled=True)
    gc.collect()
    (world,) = World.living
    world.discard()
    assert not World.living


def test_who_has_not_had_their_turn_yet_may_still_hear_it() -> None:
    kernel = Kernel(1)
    loop = Loop(kernel, Group("starved"), lambda: kernel.now_s, lambda _: None)
    loop.late_s = 2.0
    heard = []

    async def program() -> None:
        try:
            await asyncio.create_task(fails())
        except ValueError as error:
            heard.append(str(error))
        await asyncio.Event().wait()

    loop.begin(program())
    while not heard:
        kernel.run_until(kernel.now_s + 0.01)
        assert loop.unheard() == []
    loop.discard()
