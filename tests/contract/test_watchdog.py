"""The watchdog's device, simulated and real: what it promises, and that a real one resets."""

import asyncio
import contextlib
import errno
import time
from collections.abc import AsyncIterator, Callable
from pathlib import Path
from typing import Any, Protocol

import pytest

from sim.engine.kernel import Group, Kernel
from sim.host.watchdog import File, Hardware
from tandem_actuator.adapters.linux.clock import SystemClock
from tandem_actuator.adapters.linux.watchdog import Device
from tandem_actuator.ports import PortError
from tandem_actuator.ports.watchdog import WatchdogDevice
from tandem_actuator.run.keeper import WDIOF_ALARMONLY, WDIOF_MAGICCLOSE, WDIOF_SETTIMEOUT, Feeder
from tandem_lab.lab import Lab

from .remote_ports import PYTHON, RemotePort, start_port_server

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
from tandem_actuator.adapters.linux.clock import SystemClock
from tandem_actuator.adapters.linux.watchdog_keeper import UnixKeeper
from tandem_actuator.run.watchdog import KeptWatchdog
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


class Files(Protocol):
    """Two processes' view of one device: the WatchdogDevice port, and which of the two."""

    async def call(self, which: int, name: str, *arguments: Any) -> Any: ...

    async def time_passes(self, seconds: float) -> bool:
        """Whether the machine lives on."""
        ...


class SimulatedFiles:
    def __init__(self) -> None:
        self._kernel, self._machine = Kernel(1), Group("machine")
        self.hardware = Hardware(
            self._kernel,
            self._machine,
            lambda: self._kernel.now_s,
            lambda why: self._machine.stop(),
            self._kernel.random,
        )
        processes = (Group(f"process{number}", self._machine) for number in range(2))
        self.files = [File(self.hardware, process) for process in processes]

    async def call(self, which: int, name: str, *arguments: Any) -> Any:
        if name == "close":
            return self.files[which].close(disarm=arguments[0])
        return getattr(self.files[which], name)(*arguments)

    async def time_passes(self, seconds: float) -> bool:
        self._kernel.run_until(self._kernel.now_s + seconds)
        return self._machine.alive


class LabFiles:
    def __init__(self, lab: Lab) -> None:
        self._host = lab.hosts[1]
        # As Debian builds this kernel, what was opened once can never be disarmed.
        self._host.shell("modprobe -r softdog && modprobe softdog soft_margin=10 nowayout=0")
        self._port = RemotePort(self._host, lab.settings, "watchdog")

    async def call(self, which: int, name: str, *arguments: Any) -> Any:
        return await getattr(self._port, name)(which, *arguments)

    async def time_passes(self, seconds: float) -> bool:
        began = self._host.shell("cat /proc/sys/kernel/random/boot_id")
        await asyncio.sleep(seconds)
        return self._host.shell("cat /proc/sys/kernel/random/boot_id") == began


@pytest.fixture(params=["simulated", pytest.param("real", marks=pytest.mark.lab)])
async def files(request: pytest.FixtureRequest) -> AsyncIterator[Files]:
    if request.param == "simulated":
        yield SimulatedFiles()
        return
    found = LabFiles(request.getfixturevalue("contract_lab"))
    yield found
    for which in range(2):
        with contextlib.suppress(OSError):
            await found.call(which, "close", True)


async def test_it_says_what_it_is_and_can_be_disarmed(files: Files) -> None:
    await files.call(0, "open")
    info = await files.call(0, "info")
    assert info.options & WDIOF_SETTIMEOUT
    assert info.options & WDIOF_MAGICCLOSE
    assert not info.options & WDIOF_ALARMONLY
    assert info.identity
    await files.call(0, "set_timeout", TIMEOUT_S)
    await files.call(0, "close", True)
    assert await files.time_passes(2 * TIMEOUT_S + SLACK_S)


async def test_one_process_has_it(files: Files) -> None:
    await files.call(0, "open")
    with pytest.raises(OSError) as refused:
        await files.call(1, "open")
    assert refused.value.errno == errno.EBUSY
    await files.call(0, "close", True)
    await files.call(1, "open")
    await files.call(1, "close", True)


async def test_its_timeout_is_set_or_refused(files: Files) -> None:
    await files.call(0, "open")
    for timeout_s in (5, 3, 60):
        await files.call(0, "set_timeout", timeout_s)
        assert await files.call(0, "get_timeout") == timeout_s
    with pytest.raises(OSError) as refused:
        await files.call(0, "set_timeout", 0)
    assert refused.value.errno == errno.EINVAL
    assert await files.call(0, "get_timeout") == 60
    await files.call(0, "keepalive")
    await files.call(0, "close", True)


async def test_what_is_fed_or_set_anew_goes_on(files: Files) -> None:
    await files.call(0, "open")
    await files.call(0, "set_timeout", 4)
    for name, *arguments in (("keepalive",), ("set_timeout", 4), ("keepalive",)):
        assert await files.time_passes(2.0)
        await files.call(0, name, *arguments)
    await files.call(0, "close", True)


async def test_what_was_closed_without_the_magic_character_can_be_opened_again(
    files: Files,
) -> None:
    """It counts on meanwhile: the keeper that died is replaced in time."""
    await files.call(0, "open")
    await files.call(0, "set_timeout", 10)
    await files.call(0, "close", False)
    await files.call(1, "open")
    await files.call(1, "keepalive")
    await files.call(1, "close", True)


@pytest.fixture(params=["simulated", "real"])
def absent(request: pytest.FixtureRequest, tmp_path: Path) -> WatchdogDevice:
    """A watchdog on a machine that has none."""
    if request.param == "real":
        return Device(tmp_path / "watchdog0")
    simulated = SimulatedFiles()
    simulated.hardware.present = False
    return simulated.files[0]


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


async def test_a_simulated_one_that_cannot_be_disarmed_resets() -> None:
    """As the lab's does if it is left as Debian built it."""
    simulated = SimulatedFiles()
    simulated.hardware.nowayout = True
    await simulated.call(0, "open")
    await simulated.call(0, "set_timeout", TIMEOUT_S)
    await simulated.call(0, "close", True)
    assert not await simulated.time_passes(TIMEOUT_S + 0.2)


async def test_a_simulated_one_that_is_closed_without_the_magic_character_resets() -> None:
    simulated = SimulatedFiles()
    await simulated.call(0, "open")
    await simulated.call(0, "set_timeout", TIMEOUT_S)
    await simulated.call(0, "close", False)
    assert await simulated.time_passes(TIMEOUT_S - 0.01)
    assert not await simulated.time_passes(0.2)


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
