"""What a scenario's judge does not look at: that nothing is decided over and over."""

from pathlib import Path

import pytest

from sim.play.player import play
from tandem_scenario.scenario import read

HERE = Path(__file__).parent


@pytest.mark.parametrize(
    ("scenario", "at_most"),
    [("restored-and-the-owner-without-its-watchdog", 2), ("site-dies", 1)],
)
def test_a_guest_is_assigned_once_for_each_reason(scenario: str, at_most: int) -> None:
    result = play(read(HERE / scenario / "scenario.yaml"), 1)
    told = [str(line) for line in result.lines if " assigned=" in str(line)]
    assert 1 <= len(told) <= at_most, "\n".join(told)
