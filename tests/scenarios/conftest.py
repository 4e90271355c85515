"""Worlds that a test has begun end with it; those of a whole file at the very end."""

from collections.abc import Iterator

import pytest

from sim.world import World


@pytest.fixture(autouse=True)
def worlds_end() -> Iterator[None]:
    before = set(World.living)
    yield
    for world in set(World.living) - before:
        world.discard()


def pytest_sessionfinish() -> None:
    for world in set(World.living):
        world.discard()
