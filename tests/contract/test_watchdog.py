"""The watchdog: what both ports promise, and a real one that resets a real kernel."""

import time
from collections.abc import Callable
from pathlib import Path

import pytest

from tandem_actuator.adapters.clock import SystemClock
from tandem_actuator.adapters.fakes import FakeWatchdog
from tandem_actuator.adapters.watchdog import DeviceWatchdog, NoWatchdog
from tandem_actuator.ports import PortError, Watchdog
from tandem_lab.lab import Lab

from .remote_ports import PYTHON, start_port_server

TIMEOUT_S = 2
FED_S = 5.0
# How late a busy machine may let the timer fire.
SLACK_S = 2.0
# A sign that is this old was the last one. The kernel that was reset may end, boot again, or hang
# in its last breath, as user-mode Linux does now and then; nothing runs in it any more.
SILENT_S = 3.0
END_S = 60.0

SCRIPT = f"""
import sys, time
from pathlib import Path
from tandem_actuator.adapters.clock import SystemClock
from tandem_actuator.adapters.watchdog import DeviceWatchdog
clock = SystemClock()
watchdog = DeviceWatchdog(Path("/dev/watchdog1"), clock)
watchdog.arm({TIMEOUT_S})
began = time.monotonic()
while time.monotonic() - began < {FED_S}:
    watchdog.feed_until(clock.boottime_s() + 0.3)
    time.sleep(0.1)
Path("/site/unfed").write_text("")
while True:
    Path("/site/alive").write_text("")
    time.sleep(0.02)
"""


@pytest.fixture(params=["fake", "real"])
def absent(request: pytest.FixtureRequest, tmp_path: Path) -> Watchdog:
    """A watchdog on a machine that has none."""
    if request.param == "fake":
        return FakeWatchdog(present=False)
    return DeviceWatchdog(tmp_path / "watchdog0", SystemClock())


def test_a_watchdog_that_is_not_there_is_not_armed(absent: Watchdog) -> None:
    with pytest.raises(PortError):
        absent.arm(TIMEOUT_S)
    assert not absent.armed


def test_a_file_that_is_no_watchdog_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "watchdog0"
    path.touch()
    watchdog = DeviceWatchdog(path, SystemClock())
    with pytest.raises(PortError):
        watchdog.arm(TIMEOUT_S)
    assert not watchdog.armed


def test_no_watchdog_cannot_be_armed() -> None:
    with pytest.raises(PortError):
        NoWatchdog().arm(TIMEOUT_S)
    assert not NoWatchdog().armed


def test_feeding_and_disarming_what_was_never_armed_do_nothing(absent: Watchdog) -> None:
    absent.feed_until(1e9)
    absent.disarm()
    assert not absent.armed


@pytest.mark.lab
def test_an_unfed_watchdog_resets_the_machine_and_a_fed_one_does_not(contract_lab: Lab) -> None:
    host = contract_lab.hosts[1]
    unfed, alive = host.share / "unfed", host.share / "alive"
    for sign in (unfed, alive):
        sign.unlink(missing_ok=True)
    host.shell(f"setsid {PYTHON} -c '{SCRIPT}' >/dev/null 2>&1 </dev/null &")
    try:
        _wait(unfed.exists, FED_S + 30)
        _wait(lambda: time.time() - alive.stat().st_mtime > SILENT_S, END_S)
        lived_on_s = alive.stat().st_mtime - unfed.stat().st_mtime
        assert TIMEOUT_S - SLACK_S < lived_on_s < TIMEOUT_S + SLACK_S
    finally:
        host.kill()
        host.start()
        start_port_server(host, contract_lab.settings)


def _wait(holds: Callable[[], bool], timeout_s: float) -> None:
    deadline_s = time.monotonic() + timeout_s
    while not holds():
        if time.monotonic() > deadline_s:
            raise AssertionError(f"not within {timeout_s:g} s")
        time.sleep(0.02)
