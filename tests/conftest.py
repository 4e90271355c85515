"""What holds for all tests: cheap ones first, and a second try for those on real programs.

A mistake should show in seconds, not after the lab has booted.
"""

import pytest

COSTS = ("integration", "lab")


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Everything that needs nothing, then what needs an API server, then what needs the lab.

    Real servers and kernels on a noisy machine get one more try, which is shown as a rerun. What
    is never tried again is the guest's history: the lab checks it after each test, and an error
    there (a lost, doubled or overlapping number) fails the run.
    """
    items.sort(key=_cost)
    for item in items:
        if _cost(item):
            item.add_marker(pytest.mark.flaky(reruns=1))


def pytest_runtest_logreport(report: pytest.TestReport) -> None:
    """A rerun says at once what failed: a cause that comes back is no noise."""
    if str(report.outcome) == "rerun":
        print(
            f"\n{report.nodeid} is tried again ({report.when}):\n{report.longreprtext}", flush=True
        )


def _cost(item: pytest.Item) -> int:
    return max(
        (rank for rank, name in enumerate(COSTS, 1) if item.get_closest_marker(name)), default=0
    )
