"""What holds for all tests: cheap ones first, and a second try for those on real programs.

A mistake should show in seconds, not after the lab has booted. Where several processes share the
tests (``--dist loadgroup``), each lab is a group, the longest first, and each has a lab of its own.
"""

import os

import pytest

COSTS = ("integration", "lab")
LABS = ("deployed", "kernels")
"""Groups of tests that share a lab: with Tandem deployed in it, and without."""


def pytest_configure(config: pytest.Config) -> None:
    """A process beside others has its own lab: one lab serves one at a time."""
    worker = getattr(config, "workerinput", {}).get("workerid")
    if worker is not None:
        for variable, usual in (
            ("TANDEM_LAB_DIR", "/var/tmp/tandem-test"),
            ("TANDEM_LAB_NAMESPACE", "tandem-test"),
        ):
            os.environ[variable] = f"{os.environ.get(variable, usual)}-{worker}"


@pytest.hookimpl(tryfirst=True)
def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    """Everything that needs nothing, then what needs an API server, then what needs the lab.

    Real servers and kernels on a noisy machine get one more try, which is shown as a rerun. What
    is never tried again is the guest's history: the lab checks it after each test, and an error
    there (a lost, doubled or overlapping number) fails the run.
    """
    items.sort(key=_cost)
    if getattr(config.option, "loadgroup", False):  # set in the processes that share the tests
        for item in items:
            item.add_marker(pytest.mark.xdist_group(_group(item)))
        items.sort(key=lambda item: _group(item) not in LABS)
    for item in items:
        if _cost(item):
            item.add_marker(pytest.mark.flaky(reruns=1))


def pytest_runtest_logreport(report: pytest.TestReport) -> None:
    """A rerun says at once what failed: a cause that comes back is no noise."""
    if str(report.outcome) == "rerun":
        print(
            f"\n{report.nodeid} is tried again ({report.when}):\n{report.longreprtext}", flush=True
        )


def _group(item: pytest.Item) -> str:
    chosen = item.get_closest_marker("xdist_group")
    if chosen is not None:
        return str(chosen.args[0])
    if item.get_closest_marker("lab") is None:
        return str(item.path.name)
    return LABS["deployed" not in getattr(item, "fixturenames", ())]


def _cost(item: pytest.Item) -> int:
    return max(
        (rank for rank, name in enumerate(COSTS, 1) if item.get_closest_marker(name)), default=0
    )
