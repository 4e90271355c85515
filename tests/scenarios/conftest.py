"""Worlds that a test has begun end with it; those of a whole file at the very end."""

from collections.abc import Iterator

import pytest

from sim.engine.logs import logged_into
from sim.play.ending import last_worlds_end, worlds_end
from sim.play.player import begin
from sim.world import World
from tandem_scenario.plan import WorldPlan

__all__ = ["last_worlds_end", "worlds_end"]


@pytest.fixture
def world() -> Iterator[World]:
    world = begin(WorldPlan(), settled=True)
    with logged_into(world.log):
        world.kernel.run_until(world.kernel.now_s + 5.0)
        yield world
