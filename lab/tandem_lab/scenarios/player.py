"""Plays a scenario on real kernels and judges it from what was observed.

The same file, read by the same reader and judged by the same judge as in the simulator. What is
checked always: the numbers that guests printed. Called by ``tandem-lab run``.
"""

from __future__ import annotations

import time
from dataclasses import dataclass, field

from tandem_api.reasons import Reason
from tandem_lab.drbd_modules import given_modules
from tandem_lab.history import lines_of
from tandem_lab.scenarios.doing import DOING, do
from tandem_lab.scenarios.log import Log
from tandem_lab.scenarios.stage import Stage
from tandem_lab.settings import Settings
from tandem_scenario.judge import LOOK_S, End, Judge
from tandem_scenario.located import BadScenario
from tandem_scenario.scenario import Scenario, require_verbs

MOST_HOSTS = 2


@dataclass
class Played:
    """What came of it."""

    problems: list[str] = field(default_factory=list)
    lines: list[str] = field(default_factory=list)


def check(scenario: Scenario) -> None:
    """Raises: BadScenario: it wants what only the simulator can do."""
    require_verbs(scenario, DOING, "the lab")
    if any(host.clock_rate != 1.0 for host in scenario.world.hosts):
        raise BadScenario(1, "the lab cannot do clockRate: its hosts share one clock")
    if len(scenario.world.hosts) > MOST_HOSTS:
        raise BadScenario(1, f"the lab has {MOST_HOSTS} hosts, not {len(scenario.world.hosts)}")
    if any(host.memory for host in scenario.world.hosts):
        raise BadScenario(1, "the lab cannot do memory: its guests are all of one size")


def play(scenario: Scenario, settings: Settings, log: Log, slack_s: float) -> Played:
    """From empty disks to the end. Raises: BadScenario, LabError, ControlPlaneError."""
    check(scenario)
    modules = given_modules(settings, settings.drbd_modules)
    if scenario.world.drbd > 8 and (modules is None or modules.major != scenario.world.drbd):
        needs = f"its hosts run DRBD {scenario.world.drbd}, and the lab's own is 8.4"
        raise BadScenario(1, f"{needs}: set TANDEM_DRBD_MODULES to the folder of its modules")
    stage, played = Stage(settings, scenario.world, log), Played()
    try:
        stage.set_up()
        if scenario.settled:
            stage.settle()
        log.begin()
        log.say("scenario", "begins")
        _run(stage, scenario, played, slack_s)
        played.problems = stage.overlaps + stage.history_problems() + played.problems
    finally:
        stage.take_down()
    played.lines = log.lines
    return played


def _run(stage: Stage, scenario: Scenario, played: Played, slack_s: float) -> None:
    log = stage.log
    judge = Judge(scenario.expectations, Seen(stage), slack_s, played.problems)
    moments = {step.at_s for step in scenario.steps} | {scenario.lasts_s} | judge.moments
    steps = list(scenario.steps)
    for moment_s in sorted(moments):
        while log.now_s < moment_s:
            time.sleep(min(LOOK_S, max(0.0, moment_s - log.now_s)))
            judge.look(log.now_s)
            stage.look()
        judge.at(moment_s)
        while steps and steps[0].at_s <= moment_s:
            do(stage, steps.pop(0).act)
    judge.end()


class Seen:
    """The lab as a judge sees it (``tandem_scenario.judge.Observed``)."""

    def __init__(self, stage: Stage) -> None:
        self._stage = stage

    @property
    def now_s(self) -> float:
        return self._stage.log.now_s

    def runs_on(self, guest: str) -> list[str]:
        return self._stage.runs_on(guest)

    def reasons(self, guest: str) -> set[Reason]:
        return self._stage.statuses.reasons(guest)

    def mode(self, guest: str) -> str:
        return str(self._stage.statuses.authority(guest).get("mode", ""))

    def protected(self, guest: str) -> str:
        return str(self._stage.statuses.guest(guest).get("protected", ""))

    def moves(self, guest: str) -> list[str]:
        return self._stage.statuses.moves_of(guest)

    def idle(self, guest: str) -> str:
        """The lab cannot look into everything: here it has to run."""
        return "" if self.runs_on(guest) else f"{guest} runs nowhere"

    def starts(self, guest: str) -> list[float]:
        moments = self._stage.runs.starts[self._stage.domains[guest]]
        return [at_s - self._stage.log.origin_s for at_s in moments]

    def ends(self, guest: str) -> list[End]:
        origin_s = self._stage.log.origin_s
        ends = self._stage.runs.ends[self._stage.domains[guest]]
        told = (End(end.at_s - origin_s, end.host, end.why) for end in ends)
        return [end for end in told if end.at_s >= 0]

    def answered(self, guest: str) -> list[float]:
        origin_s = self._stage.log.origin_s
        lines = lines_of(self._stage.lab, self._stage.domains[guest], origin_s)
        return [line.at_s - origin_s for line in lines if line.number is not None]
