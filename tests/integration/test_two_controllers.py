"""Two replicas of the controller on a real API server: one leads, whatever happens to it."""

import asyncio

import pytest

from tandem_controller.run.lead import Leadership

from .pretended import World, assigned, controller, leader, process, until_leads

pytestmark = pytest.mark.integration


async def test_of_two_replicas_one_leads_and_the_other_goes_on_when_it_stops(world: World) -> None:
    async with process(world, "one") as first:
        await until_leads(world.client, "one", 15)
        async with process(world, "two"):
            await world.running_on_a("g")
            assert await leader(world.client) == "one"
            first.terminate()
            assert await asyncio.wait_for(first.wait(), 10) == 0
            assert await until_leads(world.client, "two", 5) < 3
            world.host("a").alive = False
            await world.cut_link("g")
            await world.until_guest("g", lambda g: assigned(g) == world.host("b").name)


async def test_a_replica_killed_between_writes_is_replaced_and_nothing_done_twice(
    world: World,
) -> None:
    number = 40
    names = [f"g{n}" for n in range(number)]
    async with process(world, "one") as first:
        await until_leads(world.client, "one", 15)
        async with process(world, "two"):
            for name in names:
                await world.make_mirror(name)
                await world.make_guest(name)
            for name in names[: number // 2]:
                await world.first_sync(name)
            first.kill()
            leads = asyncio.create_task(until_leads(world.client, "two", 15))
            for name in names[number // 2 :]:
                await world.first_sync(name)
            took_s = await leads
            assert took_s > 2  # not before the dead one's own time is over
            for name in names:
                guest = await world.until_guest(name, lambda g: assigned(g) != "")
                assert guest.status.assignment is not None
                assert guest.status.assignment.serial == 1
            await _numbers_are_unique(world, names)


async def _numbers_are_unique(world: World, names: list[str]) -> None:
    mirrors = [await world.mirror(name) for name in names]
    numbers = [mirror.status.device_numbers for mirror in mirrors]
    assert len({n.port for n in numbers if n}) == len(names)
    assert len({minor for n in numbers if n for minor in n.minors.values()}) == len(names)


class Stubborn(Leadership):
    """Believes that it leads, whatever the election says."""

    def leads(self) -> bool:
        return True


async def test_two_leaders_at_once_do_not_assign_twice(world: World) -> None:
    """Their writes carry the guest's version: each serial is given once."""
    names = [f"g{number}" for number in range(10)]
    async with controller(world, "one", Stubborn), controller(world, "two", Stubborn):
        for name in names:
            await world.make_mirror(name)
            await world.make_guest(name)
        for name in names:
            await world.first_sync(name)
        for name in names:
            guest = await world.until_guest(name, lambda g: assigned(g) != "")
            assert guest.status.assignment is not None
            assert guest.status.assignment.serial == 1
