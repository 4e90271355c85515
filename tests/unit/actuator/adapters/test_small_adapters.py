"""Programs with a time limit, the instance, the clock."""

import asyncio
import os
import sys
import time
from pathlib import Path

import pytest

from tandem_actuator.adapters.linux.clock import SystemClock
from tandem_actuator.adapters.linux.identity import new_instance
from tandem_actuator.adapters.linux.process import run
from tandem_actuator.adapters.linux.watchdog import Device
from tandem_actuator.ports import CommandFailed, CommandTimeout, PortError


async def test_a_program_that_ends_well() -> None:
    finished = await run(["echo", "well"], timeout_s=10)
    assert finished.check().stdout == "well\n"


async def test_a_program_that_says_no_is_quoted() -> None:
    finished = await run(["sh", "-c", "echo first >&2; echo second >&2; exit 11"], timeout_s=10)
    assert finished.code == 11
    with pytest.raises(CommandFailed, match="ended with 11: first; second"):
        finished.check()


async def test_a_program_gets_no_input() -> None:
    assert (await run(["cat"], timeout_s=10)).stdout == ""


async def test_a_program_that_does_not_end_is_killed(tmp_path: Path) -> None:
    began_s = time.monotonic()
    with pytest.raises(CommandTimeout, match=r"0\.3 s"):
        await run(["sh", "-c", f"echo $$ >{tmp_path}/pid; exec sleep 60"], timeout_s=0.3)
    assert time.monotonic() - began_s < 5
    pid = int((tmp_path / "pid").read_text())
    for _ in range(100):
        try:
            os.kill(pid, 0)
        except ProcessLookupError:
            return
        await asyncio.sleep(0.05)
    raise AssertionError("it still runs")


async def test_a_program_that_is_not_there() -> None:
    with pytest.raises(PortError, match="cannot run"):
        await run(["/nonexistent/program"], timeout_s=1)


def test_this_machine_tells_its_boot() -> None:
    assert new_instance("host-a").same_boot(str(new_instance("host-a")))


def test_the_clock_goes_on() -> None:
    clock = SystemClock()
    first = clock.boottime_s()
    assert 0 < first <= clock.boottime_s()
    assert clock.wall().endswith("Z")


@pytest.mark.parametrize(("shown", "none"), [("0\n", False), ("1\n", True), (None, True)])
@pytest.mark.parametrize(
    ("device", "name"), [("watchdog1", "watchdog1"), ("watchdog", "watchdog0")]
)
def test_whether_a_watchdog_has_a_way_out_is_what_the_kernel_shows(
    tmp_path: Path, shown: str | None, none: bool, device: str, name: str
) -> None:
    (tmp_path / name).mkdir()
    if shown is not None:
        (tmp_path / name / "nowayout").write_text(shown)
    assert Device(Path("/dev") / device, tmp_path).no_way_out() is none


LOCKED = """
import logging, pathlib
from tandem_actuator.adapters.linux.memory import lock_memory
logging.basicConfig(format="%(message)s")
lock_memory()
status = pathlib.Path("/proc/self/status").read_text()
print(next(line.split()[1] for line in status.splitlines() if line.startswith("VmLck")))
"""


async def test_memory_is_locked_or_that_it_is_not_is_told() -> None:
    ended = await run([sys.executable, "-c", LOCKED], timeout_s=30)
    assert int(ended.check().stdout) > 0 or "memory is not locked" in ended.stderr
