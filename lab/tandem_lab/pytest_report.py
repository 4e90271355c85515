"""Runs some of the project's tests in a program of their own, and counts by its report.

Called by `kubernetes_matrix` and `drbd_table`, which play the same tests on one version of
something after another.
"""

from __future__ import annotations

import subprocess
import sys
import tempfile
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from defusedxml import ElementTree

from tandem_lab.settings import SOURCE_DIR


@dataclass(frozen=True)
class Results:
    """What tests gave. `failures`: the names of those that failed or could not be run."""

    passed: int
    failed: int
    failures: tuple[str, ...] = ()


def run_pytest(
    arguments: Sequence[str], environment: Mapping[str, str], timeout_s: float
) -> Results:
    """What pytest gives for these arguments; its own words go to stderr.

    Raises: subprocess.TimeoutExpired; OSError if there is no report.
    """
    with tempfile.TemporaryDirectory() as folder:
        report = Path(folder) / "report.xml"
        subprocess.run(
            [sys.executable, "-m", "pytest", "-q", f"--junitxml={report}", *arguments],
            cwd=SOURCE_DIR,
            env=dict(environment),
            stdin=subprocess.DEVNULL,
            stdout=sys.stderr,
            timeout=timeout_s,
            check=False,  # the report says it
        )
        return read_report(report.read_text())


def read_report(text: str) -> Results:
    """Counts a JUnit report's tests. One that could not be run, or not be ended, has failed, too:
    it stands there once for each of these.
    """
    failed: dict[str, bool] = {}
    for case in ElementTree.fromstring(text).iter("testcase"):
        if case.find("skipped") is None:
            name = f"{case.get('classname', '')}::{case.get('name', '')}"
            wrong = case.find("failure") is not None or case.find("error") is not None
            failed[name] = failed.get(name, False) or wrong
    failures = tuple(name.rpartition("::")[2] for name, wrong in failed.items() if wrong)
    return Results(len(failed) - len(failures), len(failures), failures)
