"""Random faults on real kernels, round after round, with several guests at once.

A round: everything is well; faults at random moments; everything is mended; each guest must be up
and protected again within its bound, and the numbers that it printed must be one row. A round that
fails is written as a scenario file, with all logs, and the next one begins on empty disks. Called
by ``tandem-lab fuzz`` and by a test.
"""

from __future__ import annotations

import itertools
import shutil
import time
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path

from tandem_lab.controlplane import ControlPlaneError, ProcessError
from tandem_lab.scenarios.doing import do
from tandem_lab.scenarios.faults import PLAN, WITHIN_S, kind_of, mends, scenario_of, steps_of
from tandem_lab.scenarios.log import Log
from tandem_lab.scenarios.stage import Stage
from tandem_lab.settings import LabError, Settings
from tandem_scenario.scenario import Step
from tandem_scenario.writer import write

# From the moment at which everything is mended: hosts boot, replicas are copied, guests are moved
# back. Half of it is this machine's slowness.
UP_BOUND_S = 150.0
LOOK_S = 0.2
LOGS = ("hosts/*/share/log/*", "hosts/*/*.log", "serial/*/*", "third-place/*.log")

Failure = (LabError, ControlPlaneError, ProcessError)


@dataclass
class Summary:
    """What all rounds came to."""

    rounds: int = 0
    faults: Counter[str] = field(default_factory=Counter)
    takeovers: Counter[str] = field(default_factory=Counter)
    resets: int = 0
    longest_recovery_s: float = 0.0
    numbers: int = 0
    violations: list[str] = field(default_factory=list)

    def told(self) -> list[str]:
        """For people."""
        return [
            f"rounds {self.rounds}, faults {sum(self.faults.values())}, "
            f"takeovers {sum(self.takeovers.values())}, "
            f"resets by a watchdog {self.resets}, numbers written {self.numbers}",
            "faults: " + ", ".join(f"{kind} {n}" for kind, n in sorted(self.faults.items())),
            "takeovers: "
            + (", ".join(f"{why} {n}" for why, n in sorted(self.takeovers.items())) or "none"),
            f"longest recovery {self.longest_recovery_s:.0f} s (bound {UP_BOUND_S:g} s)",
            f"violations: {len(self.violations)}",
            *self.violations,
        ]


def fuzz(
    settings: Settings,
    seed: int,
    minutes: float,
    echo: Callable[[str], None],
    first_round: int = 1,
) -> Summary:
    """Rounds until the time is over; the last one is played to its end, unless interrupted."""
    summary, deadline_s = Summary(), time.monotonic() + minutes * 60
    stage: Stage | None = None
    try:
        for number in itertools.count(first_round):
            if time.monotonic() > deadline_s:
                break
            if stage is None:
                echo("# from empty disks")
                stage = Stage(settings, PLAN, Log(echo))
                stage.set_up()
                stage.wait_settled()
            echo(f"# seed {seed}, round {number}")
            problems = _round(stage, summary, seed, number)
            if problems:
                summary.violations += [f"seed {seed} round {number}: {p}" for p in problems]
                _account(stage, summary)
                stage.take_down()
                stage = None
    except KeyboardInterrupt:
        echo("# interrupted: this round does not count")
    finally:
        if stage is not None:
            _account(stage, summary)
            stage.take_down()
    return summary


def _round(stage: Stage, summary: Summary, seed: int, number: int) -> list[str]:
    """Its problems; if there are any, everything that is known of it was kept."""
    steps, log = steps_of(seed, number), stage.log
    log.begin()
    problems: list[str] = []
    heal_s = steps[-1].at_s
    try:
        heal_s = _faults(stage, steps, summary)
        stage.heal_everything()
        log.say("scenario", "everything is mended")
        recovery_s = stage.wait_settled(UP_BOUND_S)
        log.say("scenario", f"all is well after {recovery_s:.1f} s")
        summary.longest_recovery_s = max(summary.longest_recovery_s, recovery_s)
    except Failure as error:
        problems.append(str(error))
    problems += stage.overlaps + stage.history_problems()
    summary.rounds += 1
    if problems:
        _keep(stage, seed, number, steps, heal_s, problems)
    return problems


def _faults(stage: Stage, steps: tuple[Step, ...], summary: Summary) -> float:
    """All of them, at their moments; when everything shall be mended."""
    for step in steps:
        while stage.log.now_s < step.at_s:
            time.sleep(min(LOOK_S, max(0.0, step.at_s - stage.log.now_s)))
            stage.look()
        do(stage, step.act)
        if not mends(step.act):
            summary.faults[kind_of(step.act.command)] += 1
    # What came last is left alone for a while, or mended at once.
    wait_s = (WITHIN_S + 15.0 - stage.log.now_s) if len(steps) % 2 else 1.0
    until_s = stage.log.now_s + max(1.0, wait_s)
    while stage.log.now_s < until_s:
        time.sleep(LOOK_S)
        stage.look()
    return until_s


def _account(stage: Stage, summary: Summary) -> None:
    """What happened on a stage that is about to be taken down."""
    summary.takeovers.update(stage.statuses.takeovers.values())
    summary.resets += stage.power.resets
    summary.numbers += stage.numbers_written()


def _keep(
    stage: Stage,
    seed: int,
    number: int,
    steps: tuple[Step, ...],
    heal_s: float,
    problems: list[str],
) -> None:
    """Everything that is known of a failed round, where no later one removes it."""
    state_dir = stage.lab.settings.state_dir
    target = state_dir / "kept" / f"seed-{seed}-round-{number}-{time.strftime('%H%M%S')}"
    for path in itertools.chain.from_iterable(map(state_dir.glob, LOGS)):
        _copy(path, target / path.relative_to(state_dir))
    text = write(scenario_of(seed, number, steps, round(heal_s, 1), UP_BOUND_S))
    (target / "scenario.yaml").write_text(text)
    (target / "round.log").write_text("\n".join([*stage.log.lines, *problems]) + "\n")
    (target / "objects.json").write_text(stage.statuses.dump())
    for problem in problems:
        stage.log.say("scenario", f"VIOLATION: {problem}")
    stage.log.say("scenario", f"kept in {target}; as a scenario:\n{text}")


def _copy(path: Path, target: Path) -> None:
    target.parent.mkdir(parents=True, exist_ok=True)
    if path.is_file():
        shutil.copy(path, target)
