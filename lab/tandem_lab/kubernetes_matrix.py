"""`make kubernetes-matrix`: every supported minor version of Kubernetes, and the way between them.

For each minor version, oldest first: the integration tests on its servers; then, in one lab whose
etcd stays, a takeover. Between two of them the third place is upgraded to the next minor version
while a guest runs and counts on its mirrored disk: it must count on without a gap in its numbers,
where it is, and no mirror's epoch may move.

Prints a table in Markdown, for docs/lab.md. Exit code 0 only if everything was as it must be.
"""

from __future__ import annotations

import argparse
import itertools
import json
import os
import sys
import time
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, datetime

from tandem_lab.controlplane import Binaries, find_binaries
from tandem_lab.controlplane.programs import ASSETS_VARIABLE
from tandem_lab.controlplane.releases import MINOR_VARIABLE, dotted, kubernetes, minors
from tandem_lab.demo import GUEST, VOLUME, VOLUME_SIZE
from tandem_lab.deployment import Deployment
from tandem_lab.history import history_problem, lines_of
from tandem_lab.lab import Lab
from tandem_lab.prepare import prepare
from tandem_lab.pytest_report import Results, run_pytest
from tandem_lab.settings import SOURCE_DIR
from tandem_lab.takeover import (
    Takeover,
    guest_object,
    kill_and_watch,
    running_and_protected,
    wait_for,
)

READY_TIMEOUT_S = 180.0
TESTS_TIMEOUT_S = 1800
SETTLE_S = 5.0
COUNT_FOR_S = 10.0
"""How long a guest is watched after an upgrade: longer than any wait that it could have begun."""


@dataclass(frozen=True)
class Upgrade:
    """What a guest and its mirror noticed of a change of servers."""

    away_s: float
    longest_gap_s: float
    epochs_moved: int
    problem: str | None

    @property
    def unnoticed(self) -> bool:
        return self.epochs_moved == 0 and self.problem is None


@dataclass
class Row:
    """One minor version. What was not asked for is None."""

    release: str
    tests: Results | None = None
    takeover: Takeover | None = None
    upgrade: Upgrade | None = None

    @property
    def good(self) -> bool:
        return (
            (self.tests is None or (self.tests.failed == 0 and self.tests.passed > 0))
            and (self.takeover is None or self.takeover.lost_writes == 0)
            and (self.upgrade is None or self.upgrade.unnoticed)
        )


def main() -> int:
    """Entry point."""
    parser = argparse.ArgumentParser(prog="kubernetes-matrix", description=__doc__)
    parser.add_argument("--skip-tests", action="store_true", help="only takeovers and upgrades")
    parser.add_argument("minors", nargs="*", help=f"which of {', '.join(minors())} (default: all)")
    options = parser.parse_args()
    chosen = options.minors or minors()
    prepare(say)
    binaries = {minor: find_binaries(say, minor) for minor in chosen}
    rows = {minor: Row(dotted(kubernetes(minor).version)) for minor in chosen}
    if not options.skip_tests:
        for minor in chosen:
            say(f"{minor}: integration tests (some 4 minutes)")
            rows[minor].tests = run_tests(minor)
            say(f"{minor}: {rows[minor].tests}")
    _takeovers(binaries, rows)
    print("\n".join(table(list(rows.values()))))
    return 0 if all(row.good for row in rows.values()) else 1


def say(message: str) -> None:
    """A line of progress."""
    print(f"{time.strftime('%H:%M:%S')} {message}", file=sys.stderr, flush=True)


def run_tests(minor: str) -> Results:
    """The integration tests on the servers of a minor version, in a program of their own."""
    environment = {**os.environ, MINOR_VARIABLE: minor}
    environment.pop(ASSETS_VARIABLE, None)
    arguments = ["-m", "integration", "-n", "2", "tests/integration"]
    return run_pytest(arguments, environment, TESTS_TIMEOUT_S)


def _takeovers(binaries: dict[str, Binaries], rows: dict[str, Row]) -> None:
    first, *later = binaries
    lab = Lab()
    deployment = Deployment(lab, binaries=binaries[first])
    with lab.exclusive():
        try:
            _start(deployment)
            rows[first].takeover = _take_over(deployment)
            for minor in later:
                say(f"the third place is upgraded to {minor}")
                rows[minor].upgrade = upgrade(deployment, binaries[minor])
                rows[minor].takeover = _take_over(deployment)
        finally:
            deployment.down()


def _start(deployment: Deployment) -> None:
    deployment.up(fresh=True, progress=say)
    deployment.make_counter_disks(VOLUME, VOLUME_SIZE)
    for name in ("two-sites", "bancuv3"):
        deployment.apply(SOURCE_DIR / "examples" / f"{name}.yaml")
    wait_for(deployment, GUEST, running_and_protected, READY_TIMEOUT_S)


def _take_over(deployment: Deployment) -> Takeover:
    """A takeover, and the way back to a guest that is protected."""
    time.sleep(SETTLE_S)
    takeover = kill_and_watch(deployment, GUEST)
    say(f"taken over in {takeover.steps_s['firstLine']:.1f} s, lost {takeover.lost_writes}")
    deployment.lab.host(takeover.source).start()
    wait_for(deployment, GUEST, running_and_protected, READY_TIMEOUT_S)
    return takeover


def upgrade(deployment: Deployment, binaries: Binaries) -> Upgrade:
    """Put other servers on the same etcd, and see what the guest and its mirror notice."""
    host = str(_status(deployment)["host"])
    before, began_s = _epoch(deployment), time.monotonic()
    deployment.plane.upgrade(binaries)
    away_s = time.monotonic() - began_s
    time.sleep(COUNT_FOR_S)
    lines = lines_of(deployment.lab, GUEST.domain, began_s - SETTLE_S)
    times_s = [line.at_s for line in lines]
    gaps_s = [later - earlier for earlier, later in itertools.pairwise(times_s)]
    problem = history_problem(lines)
    if (now := str(_status(deployment)["host"])) != host:
        problem = f"the guest went from {host} to {now}"
    if not times_s or time.monotonic() - times_s[-1] > SETTLE_S:
        problem = "the guest counts no more"
    moved = _epoch(deployment) - before
    return Upgrade(away_s, max(gaps_s, default=0.0), moved, problem)


def _status(deployment: Deployment) -> dict[str, object]:
    status = guest_object(deployment, GUEST)["status"]
    assert isinstance(status, dict)
    return status


def _epoch(deployment: Deployment) -> int:
    """The sum of all mirrors' epochs: it rises if any does."""
    mirrors = json.loads(deployment.kubectl("get", "mirrors", "-A", "-o", "json"))["items"]
    return sum(mirror["status"]["authority"]["epoch"] for mirror in mirrors)


def table(rows: Sequence[Row]) -> list[str]:
    """The rows in Markdown."""
    today = datetime.now(tz=UTC).date().isoformat()
    return [
        f"On {today}:",
        "",
        "| Kubernetes | integration tests | takeover, kill to first line | lost writes |"
        " upgraded to it: API away, longest gap in the guest's lines | epochs moved |",
        "|---|---|---|---|---|---|",
        *(f"| {' | '.join(_cells(row))} |" for row in rows),
    ]


def _cells(row: Row) -> list[str]:
    tests, takeover, change = row.tests, row.takeover, row.upgrade
    return [
        row.release,
        "–" if tests is None else f"{tests.passed} pass, {tests.failed} fail",
        "–" if takeover is None else f"{takeover.steps_s['firstLine']:.1f} s",
        "–" if takeover is None else str(takeover.lost_writes),
        "–" if change is None else change.problem or _unnoticed(change),
        "–" if change is None else str(change.epochs_moved),
    ]


def _unnoticed(change: Upgrade) -> str:
    return f"{change.away_s:.1f} s, {change.longest_gap_s:.2f} s"


if __name__ == "__main__":
    sys.exit(main())
