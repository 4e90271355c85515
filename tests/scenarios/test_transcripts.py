"""Transcripts of scenarios that a newcomer would read, beside them: what is decided, when and why.

Whatever changes them is looked at, and then committed: ``pytest tests/scenarios/test_transcripts.py
--bless-transcripts`` writes them again.
"""

from pathlib import Path

import pytest

from sim.play.transcript import transcript
from tandem_scenario.scenario import read

HERE = Path(__file__).parent
TOLD = (
    "both-links-of-the-owner-cut",
    "bug-in-an-answer",
    "grant-lands-as-the-owner-is-reset",
    "hung-guest-during-maintenance",
    "link-back-as-it-is-asked-again",
    "override-of-an-isolated-owner",
    "owner-isolated-as-maintenance-begins",
    "owners-disk-fails",
    "replication-cut-then-owner-dies",
    "site-dies",
    "site-dies-and-returns",
    "stopped-after-an-override",
)


@pytest.mark.parametrize("name", TOLD)
def test_it_is_as_it_was_blessed(name: str, request: pytest.FixtureRequest) -> None:
    path = HERE / name / "transcript.txt"
    told = transcript(read(HERE / name / "scenario.yaml"))
    if request.config.getoption("--bless-transcripts"):
        path.write_text(told)
    assert path.read_text() == told, "look at what has changed, then: --bless-transcripts"


def test_no_other_is_there() -> None:
    assert sorted(path.parent.name for path in HERE.glob("*/transcript.txt")) == sorted(TOLD)
