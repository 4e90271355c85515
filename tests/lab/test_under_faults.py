"""Scenario files, and three minutes of random faults, on real kernels.

The last of the lab's tests: each makes the lab's hosts and disks anew.
"""

from __future__ import annotations

from pathlib import Path

import pytest

from tandem_lab.lab import Lab
from tandem_lab.scenarios.fuzz import fuzz
from tandem_lab.scenarios.log import Log
from tandem_lab.scenarios.player import play
from tandem_scenario.scenario import read

pytestmark = [pytest.mark.lab, pytest.mark.timeout(900)]

SCENARIOS = Path(__file__).parent.parent / "scenarios"
# Loose: this machine may be busy with something else.
SLACK_S = 20.0
MINUTES = 3.0
SEED = 1


@pytest.mark.parametrize("name", ["site-dies-and-returns", "live-move"])
def test_a_scenario_is_played_as_in_the_simulator(locked_lab: Lab, name: str) -> None:
    scenario = read(SCENARIOS / name / "scenario.yaml")
    played = play(scenario, locked_lab.settings, Log(print), SLACK_S)
    assert played.problems == []


def test_random_faults(locked_lab: Lab) -> None:
    summary = fuzz(locked_lab.settings, SEED, MINUTES, print)
    print("\n".join(summary.told()))
    assert summary.violations == []
    assert summary.rounds >= 1
    assert summary.numbers > 0
