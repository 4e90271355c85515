"""Worlds that a test has begun end with it: for the ``conftest.py`` of tests that begin some."""

from collections.abc import Iterator

import pytest

from sim.world import World


@pytest.fixture(autouse=True)
def worlds_end() -> Iterator[None]:
    before = set(World.living)
    yield
    for world in World.living - before:
        world.discard()


@pytest.fixture(autouse=True, scope="session")
def last_worlds_end() -> Iterator[None]:
    """Those of a whole file."""
    yield
    for world in set(World.living):
        world.discard()
