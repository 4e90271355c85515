"""What holds for all tests: cheap ones first, and a second try for those on real programs.

A mistake should show in seconds, not after the lab has booted. Where several processes share the
tests (``--dist loadgroup``), those on a lab stay together and come first, and each process has a
lab of its own.
"""

import os
from typing import Any

import pytest
from hypothesis import HealthCheck, settings
from xdist.scheduler.loadscope import LoadScopeScheduling  # type: ignore[import-untyped]

# On a busy machine drawing an example may take long, which says nothing of what is tested.
settings.register_profile("tandem", deadline=None, suppress_health_check=[HealthCheck.too_slow])
settings.load_profile("tandem")

COSTS = ("integration", "lab")
LABS = {
    "deployed": (
        "tests/lab/test_live_moves",
        "tests/lab/test_tandem",
        "tests/lab/test_under_faults",
    ),
    "kernels": ("tests/lab/", "tests/contract/", "tests/conformance/"),
}
"""Tests that share a lab: with Tandem deployed in it, and without. The first that fits counts."""


def pytest_addoption(parser: pytest.Parser) -> None:
    parser.addoption(
        "--bless-transcripts",
        action="store_true",
        help="write the transcripts of scenarios again, as they are now",
    )
    parser.addoption(
        "--once", action="store_true", help="no second try on real programs: who calls has its own"
    )


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
        items.sort(key=lambda item: [*LABS, ""].index(_lab(item.nodeid)))
    for item in items:
        if _cost(item) and not config.option.once:
            item.add_marker(pytest.mark.flaky(reruns=1))
        if _lab(item.nodeid) == "deployed":
            item.add_marker(pytest.mark.deployed)


def pytest_runtest_logreport(report: pytest.TestReport) -> None:
    """A rerun says at once what failed: a cause that comes back is no noise."""
    if str(report.outcome) == "rerun":
        print(
            f"\n{report.nodeid} is tried again ({report.when}):\n{report.longreprtext}", flush=True
        )


class _ByLab(LoadScopeScheduling):  # type: ignore[misc]
    """What shares a lab goes to one process, else what is in one file."""

    def _split_scope(self, nodeid: str) -> str:
        return _lab(nodeid) or nodeid.split("::", maxsplit=1)[0]


def pytest_xdist_make_scheduler(config: pytest.Config, log: Any) -> LoadScopeScheduling | None:
    """xdist's own groups get lost: they are a suffix of ids, which pytest makes anew by now."""
    return _ByLab(config, log) if config.getoption("dist") == "loadgroup" else None


def _lab(nodeid: str) -> str:
    """Empty: it needs none."""
    return next((lab for lab, files in LABS.items() if nodeid.startswith(files)), "")


def _cost(item: pytest.Item) -> int:
    return max(
        (rank for rank, name in enumerate(COSTS, 1) if item.get_closest_marker(name)), default=0
    )
