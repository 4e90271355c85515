"""DRBD's question on its way to the actuator and back: the program as a process on a real socket,
and its coroutine on the simulator's.
"""

import asyncio
import json
import random
import sys
from collections.abc import Callable, Mapping
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

import pytest

from sim.network.fence_channel import Outside, Roles, SimSockets, proc_drbd
from tandem_actuator import fence_peer
from tandem_actuator.adapters.fence_server import (
    QUESTION_TIMEOUT_S,
    UNIX,
    Answer,
    FenceServer,
    Sockets,
)

ENVIRONMENT = {"DRBD_RESOURCE": "ns.m1", "DRBD_MINOR": "20 21", "DRBD_PEER": "198.51.100.12"}
Asking = Callable[[], "asyncio.Task[tuple[int, str]]"]


@dataclass(frozen=True)
class Line:
    """Both ends of it. ``ask`` starts the program, as drbdadm does."""

    sockets: Sockets
    path: Path
    ask: Asking

    def server(self, answer: Answer) -> FenceServer:
        return FenceServer(self.path, answer, self.sockets)


def real_line(path: Path) -> Line:
    async def program() -> tuple[int, str]:
        """On a machine where nothing of Tandem is installed for this python."""
        process = await asyncio.create_subprocess_exec(
            *(sys.executable, "-I", "-S", str(fence_peer.__file__), str(path)),
            env={"PATH": "/nonexistent", "HOME": "/", **ENVIRONMENT},
            stderr=asyncio.subprocess.PIPE,
        )
        try:
            _, said = await process.communicate()
        finally:
            with suppress(ProcessLookupError):
                process.kill()
        assert process.returncode is not None
        return process.returncode, said.decode().partition(": ")[2].rpartition(" (exit ")[0]

    return Line(UNIX, path, lambda: asyncio.create_task(program()))


def simulated_line(path: Path) -> Line:
    sockets = SimSockets()
    outside = Outside(sockets, path, random.Random(1), Roles(lambda: proc_drbd([(20, "Primary")])))
    return Line(sockets, path, lambda: asyncio.create_task(fence_peer.answer(outside, ENVIRONMENT)))


@pytest.fixture(params=["real", "simulated"])
def line(request: pytest.FixtureRequest, tmp_path: Path) -> Line:
    make = real_line if request.param == "real" else simulated_line
    return make(tmp_path / "actuator.sock")


def says(code: int) -> Answer:
    async def answer(environment: Mapping[str, str]) -> tuple[int, str]:
        return code, "because"

    return answer


@pytest.mark.parametrize("code", [1, 4, 6])
async def test_it_ends_with_what_the_actuator_says(line: Line, code: int) -> None:
    async with line.server(says(code)), asyncio.timeout(30):
        assert await line.ask() == (code, "because")


async def test_it_passes_drbds_environment_and_nothing_else(line: Line) -> None:
    asked: list[Mapping[str, str]] = []

    async def answer(environment: Mapping[str, str]) -> tuple[int, str]:
        asked.append(environment)
        return 1, ""

    async with line.server(answer), asyncio.timeout(30):
        await line.ask()
    assert asked == [ENVIRONMENT]


@pytest.mark.parametrize("code", [0, 3, 5, 7, 2, 255, -1])
async def test_codes_that_the_actuator_never_means_leave_drbd_frozen(line: Line, code: int) -> None:
    async with line.server(says(code)), asyncio.timeout(30):
        assert (await line.ask())[0] == 1


async def test_an_actuator_that_fails_leaves_drbd_frozen(line: Line) -> None:
    async def answer(environment: Mapping[str, str]) -> tuple[int, str]:
        raise RuntimeError("bug")

    async with line.server(answer), asyncio.timeout(30):
        code, said = await line.ask()
    assert code == 1
    assert "bug" in said


async def test_it_waits_for_an_actuator_that_is_not_there_yet(line: Line) -> None:
    asking = line.ask()
    await asyncio.sleep(0.7)
    assert not asking.done()
    async with line.server(says(4)), asyncio.timeout(30):
        assert (await asking)[0] == 4


async def test_it_asks_the_next_run_when_the_actuator_is_restarted(line: Line) -> None:
    asked = asyncio.Event()

    async def never(environment: Mapping[str, str]) -> tuple[int, str]:
        asked.set()
        await asyncio.Event().wait()
        raise AssertionError("unreachable")

    async with line.server(never), asyncio.timeout(30):
        asking = line.ask()
        await asked.wait()
    async with line.server(says(4)), asyncio.timeout(30):
        assert (await asking)[0] == 4


async def test_questions_are_answered_side_by_side(line: Line) -> None:
    both = asyncio.Barrier(2)

    async def answer(environment: Mapping[str, str]) -> tuple[int, str]:
        await both.wait()
        return 4, ""

    async with line.server(answer), asyncio.timeout(30):
        results = await asyncio.gather(line.ask(), line.ask())
    assert [code for code, _ in results] == [4, 4]


async def test_an_answer_that_takes_longer_than_its_patience(line: Line) -> None:
    """The link was lost and the host is Primary, or its role is not known: it waits."""

    async def answer(environment: Mapping[str, str]) -> tuple[int, str]:
        await asyncio.sleep(fence_peer.PATIENCE_S + 0.3)
        return 4, "because"

    async with line.server(answer), asyncio.timeout(30):
        assert await line.ask() == (4, "because")


async def test_it_asks_the_next_run_when_the_actuator_is_killed(tmp_path: Path) -> None:
    """Simulated alone: the kernel closes what a killed program had open."""
    line, asked = simulated_line(tmp_path / "s"), asyncio.Event()

    async def never(environment: Mapping[str, str]) -> tuple[int, str]:
        asked.set()
        await asyncio.Event().wait()
        raise AssertionError("unreachable")

    async with asyncio.timeout(30):
        killed = line.server(never)
        await killed.start()
        asking = line.ask()
        await asked.wait()
        assert isinstance(line.sockets, SimSockets)
        line.sockets.program_ends(asyncio.get_running_loop())
        async with line.server(says(4)):
            assert await asking == (4, "because")
        await killed.stop()


async def test_who_asks_nothing_is_answered_with_one(tmp_path: Path) -> None:
    line = simulated_line(tmp_path / "s")
    assert isinstance(line.sockets, SimSockets)
    async with line.server(says(4)), asyncio.timeout(QUESTION_TIMEOUT_S + 10):
        answer = json.loads(await line.sockets.connect(line.path).readline())
    assert answer["exit_code"] == fence_peer.STAY_FROZEN
