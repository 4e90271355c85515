"""The watchdog: what its device promises, simulated and real, and that a real one resets."""

import random
import time
from collections.abc import Callable
from pathlib import Path

import pytest

from sim.kernel import Group, Kernel
from sim.watchdog import File, Hardware
from tandem_actuator.adapters.clock import SystemClock
from tandem_actuator.adapters.watchdog import Device
from tandem_actuator.keeper import Feeder
from tandem_actuator.ports import PortError, WatchdogDevice
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
import asyncio, time
from pathlib import Path
from tandem_actuator.adapters.clock import SystemClock
from tandem_actuator.adapters.watchdog_keeper import UnixKeeper
from tandem_actuator.watchdog import KeptWatchdog
async def main():
    clock = SystemClock()
    watchdog = KeptWatchdog(UnixKeeper(Path("/dev/watchdog1"), Path("/run/contract.sock")))
    await watchdog.arm({TIMEOUT_S})
    began = time.monotonic()
    while time.monotonic() - began < {FED_S}:
        watchdog.feed_until(clock.boottime_s() + 0.3)
        await asyncio.sleep(0.1)
asyncio.run(main())
Path("/site/unfed").write_text("")
while True:
    Path("/site/alive").write_text("")
    time.sleep(0.02)
"""
"""The keeper that it starts goes on when the connection ends, and feeds no more."""


@pytest.fixture(params=["simulated", "real"])
def absent(request: pytest.FixtureRequest, tmp_path: Path) -> WatchdogDevice:
    """A watchdog on a machine that has none."""
    if request.param == "real":
        return Device(tmp_path / "watchdog0")
    kernel, machine = Kernel(1), Group("machine")
    hardware = Hardware(kernel, machine, lambda: kernel.now_s, lambda why: None, random.Random(1))
    hardware.present = False
    return File(hardware, Group("keeper", machine))


def test_a_watchdog_that_is_not_there_is_not_armed(absent: WatchdogDevice) -> None:
    with pytest.raises(FileNotFoundError):
        absent.open()
    feeder = Feeder(absent, SystemClock())
    with pytest.raises(PortError):
        feeder.arm(TIMEOUT_S)
    assert not feeder.armed


def test_a_file_that_is_no_watchdog_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "watchdog0"
    path.touch()
    feeder = Feeder(Device(path), SystemClock())
    with pytest.raises(PortError):
        feeder.arm(TIMEOUT_S)
    assert not feeder.armed


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
