"""One drbdadm for all who ask whether its files can be read."""

import asyncio
from pathlib import Path

import pytest

from tandem_actuator.adapters.drbd.readable import KNOWN_FOR_S, Readable
from tandem_actuator.ports import CommandFailed, PortError

SCRIPT = """#!/bin/sh
echo "$@" >> {folder}/runs
test ! -e {folder}/stray || {{ echo "stray.res:1: Parse error" >&2; exit 10; }}
"""


class Clock:
    now_s = 100.0

    def boottime_s(self) -> float:
        return self.now_s

    def wall(self) -> str:
        return ""


@pytest.fixture
def clock() -> Clock:
    return Clock()


@pytest.fixture
def readable(tmp_path: Path, clock: Clock) -> Readable:
    program = tmp_path / "drbdadm"
    program.write_text(SCRIPT.format(folder=tmp_path))
    program.chmod(0o755)
    return Readable(str(program), clock)


async def test_many_at_once_are_one(readable: Readable, tmp_path: Path) -> None:
    await asyncio.gather(*(readable.check() for _ in range(20)))
    assert (tmp_path / "runs").read_text() == "sh-nop\n"


async def test_all_of_them_hear_what_it_said(readable: Readable, tmp_path: Path) -> None:
    (tmp_path / "stray").touch()
    said = await asyncio.gather(*(readable.check() for _ in range(3)), return_exceptions=True)
    assert [type(one) for one in said] == 3 * [CommandFailed]
    assert "stray.res:1: Parse error" in str(said[2])
    assert (tmp_path / "runs").read_text() == "sh-nop\n"


async def test_soon_it_is_asked_anew(readable: Readable, clock: Clock, tmp_path: Path) -> None:
    await readable.check()
    (tmp_path / "stray").touch()
    clock.now_s += KNOWN_FOR_S
    await readable.check()
    clock.now_s += 0.1
    with pytest.raises(CommandFailed):
        await readable.check()


async def test_one_that_is_not_there_leaves_no_earlier_answer(
    readable: Readable, clock: Clock, tmp_path: Path
) -> None:
    await readable.check()
    (tmp_path / "drbdadm").unlink()
    clock.now_s += KNOWN_FOR_S + 0.1
    for _ in range(2):
        with pytest.raises(PortError):
            await readable.check()
