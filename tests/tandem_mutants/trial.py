"""One mutant on trial: its test, or scenarios until one notices, then random faults.

It needs a process of its own (``apart``), in which nothing of the project is imported yet: the
simulator and the tests are only imported after the mutant took its place.
"""

import signal
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, redirect_stdout
from dataclasses import dataclass, field, replace
from pathlib import Path
from types import FrameType

import pytest

from tandem_mutants.catalogue import ROOT, Mutant
from tandem_mutants.mutate import install

SCENARIOS = ROOT / "tests" / "scenarios"
TRIAL_TIMEOUT_S = 30
OTHER_SEEDS: list[int | None] = [None, 2, 3, 4, 5, 6, 7, 8, 24, 30, 46]
"""Where moments must meet, not every seed lets them: a known scenario has several tries."""
POLICIES = "policies"
"""The group of what changes the API server's policies. Every other mutant is tried without them:
hosts must be as safe without, and a write that they refuse shows nothing of what it would have
done."""
NONE = Mutant(name="none", group="", what="the code as it is", edits=())


@dataclass(frozen=True)
class Trial:
    """What is tried. Without ``test`` and ``scenarios``: what is known to notice, then the rest.

    ``test``: only this one, as pytest calls it. ``scenarios``: only these, each with so many
    ``tries`` (seeds). ``every_scenario``: also after one has noticed. ``count`` seeds of random
    faults follow, from ``first`` on, for at most ``limit_s``.
    """

    mutant: Mutant
    test: str = ""
    scenarios: tuple[str, ...] = ()
    tries: int = 1
    every_scenario: bool = False
    first: int = 1
    count: int = 0
    limit_s: float = 600.0


@dataclass
class Verdict:
    """What became of one mutant.

    ``killed_by``: the first scenario or seed that noticed, and ``problem`` what it saw. ``seeds``
    of random faults were played, ``violated`` are those in which something went wrong.
    """

    mutant: str
    killed_by: str = ""
    problem: str = ""
    scenarios: int = 0
    seeds: int = 0
    violated: list[int] = field(default_factory=list)
    took_s: float = 0.0


class TooLong(Exception):
    """A scenario that does not come to an end is a problem too."""


@contextmanager
def time_limit(seconds: int) -> Iterator[None]:
    """Seconds of this process's own time, so that a busy machine makes no difference."""

    def over(number: int, frame: FrameType | None) -> None:
        raise TooLong(f"it does not end within {seconds} s")

    old = signal.signal(signal.SIGPROF, over)
    signal.setitimer(signal.ITIMER_PROF, seconds)
    try:
        yield
    finally:
        signal.setitimer(signal.ITIMER_PROF, 0)
        signal.signal(signal.SIGPROF, old)


def problem_of(play: Callable[[], list[str]]) -> str:
    """The first thing that went wrong, or nothing. What breaks the simulation itself counts too."""
    try:
        with time_limit(TRIAL_TIMEOUT_S):
            problems = play()
    except (Exception, TooLong) as error:
        return f"{type(error).__name__}: {error}"
    return problems[0] if problems else ""


def try_scenarios(
    verdict: Verdict,
    files: list[Path],
    seeds: list[int | None],
    *,
    until_killed: bool,
    policies: bool,
) -> None:
    """Play them in this order, with each of the seeds (None: the file's own).

    ``policies``: those of the API server are in force.
    """
    from sim.play.player import play
    from tandem_scenario.scenario import read

    for path in files:
        scenario = read(path)
        scenario = replace(scenario, world=replace(scenario.world, policies=policies))
        for seed in seeds:
            problem = problem_of(lambda one=scenario, seed=seed: play(one, seed).problems)  # type: ignore[misc]
            verdict.scenarios += 1
            if problem and not verdict.killed_by:
                verdict.killed_by, verdict.problem = path.parent.name, problem
            if problem and until_killed:
                return


class _Failures:
    """What pytest's tests said in the end, where they failed."""

    def __init__(self) -> None:
        self.said: list[str] = []

    def pytest_runtest_logreport(self, report: pytest.TestReport) -> None:
        if report.failed:
            lines = str(report.longrepr).strip().splitlines()
            self.said.append(next((x for x in lines if x.startswith("E ")), lines[-1]).strip())


def try_test(verdict: Verdict, test: str) -> None:
    """Run it by pytest, in this process; one that does not end has noticed.

    Raises:
        RuntimeError: it does not run at all.
    """
    failures = _Failures()
    arguments = [str(ROOT / test), "-q", "-x", "-p", "no:cacheprovider", f"--rootdir={ROOT}"]
    with redirect_stdout(sys.stderr), time_limit(TRIAL_TIMEOUT_S):
        code = pytest.main(arguments, plugins=[failures])
    if code not in (pytest.ExitCode.OK, pytest.ExitCode.TESTS_FAILED) or bool(code) != bool(
        failures.said
    ):
        raise RuntimeError(f"{test} was not run: pytest ended with {code}")
    if failures.said:
        verdict.killed_by, verdict.problem = test, failures.said[0]


def try_seeds(verdict: Verdict, first: int, count: int, limit_s: float) -> None:
    """Random faults, as long as the time allows."""
    from sim.faults.schedule import scenario
    from sim.search.trial import trial

    began_s = time.monotonic()
    for seed in range(first, first + count):
        if time.monotonic() - began_s > limit_s:
            return
        problem = problem_of(lambda seed=seed: trial(scenario(seed)).problems)  # type: ignore[misc]
        verdict.seeds += 1
        if problem:
            verdict.violated.append(seed)
        if problem and not verdict.killed_by:
            verdict.killed_by, verdict.problem = f"seed {seed}", problem


def files_for(trial: Trial) -> list[Path]:
    """The scenarios to play: the one known to notice first."""
    if trial.scenarios:
        return [SCENARIOS / name / "scenario.yaml" for name in trial.scenarios]
    from sim.play.known import KNOWN_TO_FAIL

    found = SCENARIOS.glob("*/scenario.yaml")
    every = sorted(path for path in found if path.parent.name not in KNOWN_TO_FAIL)
    return sorted(every, key=lambda path: path.parent.name != trial.mutant.dies_by)


def judge(trial: Trial) -> Verdict:
    """Let the mutant take its place, and see who notices. Raises: BadMutant, RuntimeError."""
    mutant = trial.mutant
    install(mutant)
    began_s = time.monotonic()
    verdict = Verdict(mutant.name)
    policies = mutant.group == POLICIES
    test = trial.test or mutant.test
    if test and not trial.every_scenario:
        try_test(verdict, test)
    elif mutant.dies_by and not trial.every_scenario:
        known = [SCENARIOS / mutant.dies_by / "scenario.yaml"]
        try_scenarios(verdict, known, OTHER_SEEDS, until_killed=True, policies=policies)
    if not verdict.killed_by and not trial.test:
        seeds = OTHER_SEEDS[: trial.tries]
        until_killed = not trial.every_scenario
        try_scenarios(
            verdict, files_for(trial), seeds, until_killed=until_killed, policies=policies
        )
    if trial.count:
        try_seeds(verdict, trial.first, trial.count, trial.limit_s)
    verdict.took_s = round(time.monotonic() - began_s, 1)
    return verdict
