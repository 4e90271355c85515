"""A lab's programs go before what else keeps a machine busy, and one lab before another."""

import os
import subprocess

import pytest

from tandem_lab.processes import NICE_VARIABLE, prefer
from tandem_lab.settings import LabError


@pytest.fixture
def idle(monkeypatch: pytest.MonkeyPatch) -> int:
    monkeypatch.delenv(NICE_VARIABLE, raising=False)
    return subprocess.Popen(["true"]).pid


def test_what_is_given_is_what_the_kernel_is_told(
    idle: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    told: list[tuple[int, int, int]] = []
    monkeypatch.setattr(os, "setpriority", lambda *given: told.append(given))
    prefer(idle)
    monkeypatch.setenv(NICE_VARIABLE, "-18")
    prefer(idle)
    assert told == [(os.PRIO_PROCESS, idle, -10), (os.PRIO_PROCESS, idle, -18)]


def test_what_is_no_number_is_named(idle: int, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv(NICE_VARIABLE, "high")
    with pytest.raises(LabError, match="TANDEM_LAB_NICE=high: give a whole number, -20 to 19"):
        prefer(idle)
