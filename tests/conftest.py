"""Cheap tests first: a mistake should show in seconds, not after the lab has booted."""

import pytest

COSTS = ("integration", "lab")


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Everything that needs nothing, then what needs an API server, then what needs the lab."""
    items.sort(key=_cost)


def _cost(item: pytest.Item) -> int:
    return max(
        (rank for rank, name in enumerate(COSTS, 1) if item.get_closest_marker(name)), default=0
    )
