"""What ``events2`` tells, what is read anew where it tells nothing, and that it goes on for ever.

Its place is taken by a script: each run prints what the file of its number holds.
"""

import asyncio
import os
from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from tandem_actuator.adapters.drbd.events import READ_EVERYTHING, RESTART_PAUSE_S, EventStream
from tandem_actuator.ports.drbd import DrbdEvent
from tandem_api.vocabulary import Role

SCRIPT = """#!/bin/sh
cd "{folder}"
echo "$$ $@" >> runs
run=$(wc -l < runs)
test -e $run && cat $run
test -e ends-$run || exec sleep 60
"""
DUMP = """\
exists resource name:sim.m role:Secondary suspended:no
exists connection name:sim.m peer-node-id:1 conn-name:b connection:Connected role:Secondary
exists device name:sim.m volume:0 minor:7 disk:UpToDate
exists -
"""
LINES = [
    DrbdEvent("sim.m", role=Role.SECONDARY),
    DrbdEvent("sim.m", was_connected=True, peer_role=Role.SECONDARY),
    DrbdEvent("sim.m"),
]
SOON_S = 10.0


class Program:
    """``runs``: what the script prints in its first run, its second, … ; ``ends``: which end."""

    def __init__(self, folder: Path) -> None:
        self.folder, self.path = folder, folder / "drbdsetup"
        self.path.write_text(SCRIPT.format(folder=folder))
        self.path.chmod(0o755)
        self.stream = EventStream(str(self.path))

    def prints(self, *runs: str, ends: tuple[int, ...] = ()) -> None:
        for number, text in enumerate(runs, start=1):
            (self.folder / str(number)).write_text(text)
        for number in ends:
            (self.folder / f"ends-{number}").touch()

    @property
    def runs(self) -> list[list[str]]:
        return [line.split() for line in (self.folder / "runs").read_text().splitlines()]

    async def told(self, count: int) -> list[DrbdEvent]:
        """The first events that are told."""
        found: list[DrbdEvent] = []
        async with asyncio.timeout(SOON_S):
            events: AsyncIterator[DrbdEvent] = self.stream.follow()
            async for event in events:
                found.append(event)
                if len(found) == count:
                    break
            await events.aclose()  # type: ignore[attr-defined]
        return found


@pytest.fixture
def program(tmp_path: Path) -> Program:
    return Program(tmp_path)


async def live_after(program: Program, count: int) -> list[bool]:
    """Whether its knowledge was complete after each of the first events."""
    found: list[bool] = []
    async with asyncio.timeout(SOON_S):
        events: AsyncIterator[DrbdEvent] = program.stream.follow()
        async for _ in events:
            found.append(program.stream.live)
            if len(found) == count:
                break
        await events.aclose()  # type: ignore[attr-defined]
    return found


async def test_each_line_is_told_and_after_the_first_dump_everything_is_read(
    program: Program,
) -> None:
    program.prints(DUMP)
    assert await program.told(4) == [*LINES, READ_EVERYTHING]
    assert program.runs[0][1:] == ["events2"]


@pytest.mark.parametrize(
    ("line", "told"),
    [
        ("change resource name:sim.m role:Primary", DrbdEvent("sim.m", role=Role.PRIMARY)),
        (
            "change connection name:sim.m peer-node-id:1 conn-name:b role:Secondary",
            DrbdEvent("sim.m", peer_role=Role.SECONDARY),
        ),
        (
            "change connection name:sim.m conn-name:b connection:BrokenPipe role:Unknown",
            DrbdEvent("sim.m", peer_role=Role.UNKNOWN, lost=True),
        ),
        (
            "change connection name:sim.m conn-name:b connection:Connecting",
            DrbdEvent("sim.m", lost=True),
        ),
        (
            "change peer-device name:sim.m conn-name:b volume:0 replication:Off",
            DrbdEvent("sim.m", lost=True),
        ),
        ("destroy connection name:sim.m conn-name:b", DrbdEvent("sim.m", lost=True)),
        ("change resource name:sim.m suspended:fencing", DrbdEvent("sim.m")),
    ],
    ids=["promoted", "peer-demoted", "broken", "connecting", "off", "gone", "else"],
)
async def test_what_one_tells_of_roles_and_of_a_lost_link(
    program: Program, line: str, told: DrbdEvent
) -> None:
    program.prints(f"{DUMP}{line}\n")
    assert (await program.told(5))[-1] == told


async def test_device_numbers_are_known_once_all_of_them_were_told(program: Program) -> None:
    program.prints(DUMP)
    assert await live_after(program, 4) == [False, False, False, True]
    assert program.stream.minors_of("sim.m") == {7}


async def test_one_that_ends_is_begun_again_and_everything_read_twice(program: Program) -> None:
    """At its end, and when the next one has told all: what came between was told by nobody."""
    program.prints(DUMP, DUMP, ends=(1,))
    events = await program.told(9)
    assert events == [*LINES, READ_EVERYTHING, READ_EVERYTHING, *LINES, READ_EVERYTHING]
    assert len(program.runs) == 2


async def test_one_that_has_lost_events_is_begun_again(program: Program) -> None:
    lost = "- skipped 3\nchange resource name:sim.m role:Primary\n"
    program.prints(DUMP + lost, DUMP)
    events = await program.told(6)
    assert events == [*LINES, READ_EVERYTHING, READ_EVERYTHING, LINES[0]]
    assert len(program.runs) == 2


async def test_what_the_last_one_knew_is_worth_nothing(program: Program) -> None:
    """Devices may have gone and come with other numbers meanwhile."""
    other = DUMP.replace("minor:7", "minor:8")
    program.prints(DUMP, other, ends=(1,))
    assert (await live_after(program, 9))[4:] == [False, False, False, False, True]
    assert program.stream.minors_of("sim.m") == {8}


async def test_a_device_that_goes_takes_its_number_with_it(program: Program) -> None:
    program.prints(DUMP + "destroy device name:sim.m volume:0 minor:7\n")
    await program.told(5)
    assert program.stream.minors_of("sim.m") == set()


async def test_after_a_rename_no_number_is_trusted(program: Program) -> None:
    program.prints(DUMP + "rename resource name:sim.m new_name:sim.n\n")
    assert await live_after(program, 5) == [False, False, False, True, False]


async def test_one_that_cannot_be_started_is_tried_again_after_a_pause(program: Program) -> None:
    program.path.rename(program.folder / "elsewhere")
    began_s = asyncio.get_running_loop().time()
    assert await program.told(3) == 3 * [READ_EVERYTHING]
    assert asyncio.get_running_loop().time() - began_s >= 2 * RESTART_PAUSE_S


async def test_nothing_of_it_is_left_running(program: Program) -> None:
    program.prints(DUMP)
    await program.told(4)
    (number, *_), *_ = program.runs
    for _ in range(200):
        try:
            os.kill(int(number), 0)
        except ProcessLookupError:
            return
        await asyncio.sleep(0.05)
    raise AssertionError("it still runs")
