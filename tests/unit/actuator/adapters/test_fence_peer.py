"""The fence-peer program as DRBD starts it, against the real server and against bad ones."""

import asyncio
import json
import sys
from collections.abc import Mapping
from pathlib import Path

import pytest

from tandem_actuator import fence_peer
from tandem_actuator.adapters.fence_server import Answer, FenceServer

PROGRAM = str(fence_peer.__file__)
ENVIRONMENT = {"DRBD_RESOURCE": "ns.m1", "DRBD_MINOR": "20 21", "DRBD_PEER": "198.51.100.12"}


async def start(socket: Path) -> asyncio.subprocess.Process:
    """As drbdadm starts it, on a machine where nothing of Tandem is installed for this python."""
    return await asyncio.create_subprocess_exec(
        *(sys.executable, "-I", "-S", PROGRAM, str(socket)),
        env={"PATH": "/nonexistent", "HOME": "/", **ENVIRONMENT},
        stderr=asyncio.subprocess.PIPE,
    )


async def call(socket: Path) -> tuple[int, str]:
    process = await start(socket)
    async with asyncio.timeout(30):
        _, said = await process.communicate()
    assert process.returncode is not None
    return process.returncode, said.decode()


def says(code: int) -> Answer:
    async def answer(environment: Mapping[str, str]) -> tuple[int, str]:
        return code, "because"

    return answer


@pytest.mark.parametrize("code", [1, 4, 6])
async def test_it_ends_with_what_the_actuator_says(tmp_path: Path, code: int) -> None:
    async with FenceServer(tmp_path / "s", says(code)):
        assert await call(tmp_path / "s") == (
            code,
            f"tandem-fence-peer: because (exit {code})\n",
        )


async def test_it_passes_drbds_environment_and_nothing_else(tmp_path: Path) -> None:
    asked: list[Mapping[str, str]] = []

    async def answer(environment: Mapping[str, str]) -> tuple[int, str]:
        asked.append(environment)
        return 1, ""

    async with FenceServer(tmp_path / "s", answer):
        await call(tmp_path / "s")
    assert asked == [ENVIRONMENT]


@pytest.mark.parametrize("code", [0, 3, 5, 7, 2, 255, -1])
async def test_codes_that_the_actuator_never_means_leave_drbd_frozen(
    tmp_path: Path, code: int
) -> None:
    async with FenceServer(tmp_path / "s", says(code)):
        assert (await call(tmp_path / "s"))[0] == 1


async def test_an_actuator_that_fails_leaves_drbd_frozen(tmp_path: Path) -> None:
    async def answer(environment: Mapping[str, str]) -> tuple[int, str]:
        raise RuntimeError("bug")

    async with FenceServer(tmp_path / "s", answer):
        code, said = await call(tmp_path / "s")
    assert code == 1
    assert "bug" in said


@pytest.mark.parametrize(
    "line",
    [
        b"\n",
        b"4\n",
        b"[4]\n",
        b"{}\n",
        b'{"exit_code": "4"}\n',
        b'{"exit_code": true}\n',
        b'{"exit_code": 4.0}\n',
        b'{"exit_code": null}\n',
        b'{"exit_code": 4\n',
        b"\xff\xfe\n",
    ],
)
async def test_a_bad_answer_leaves_drbd_frozen(tmp_path: Path, line: bytes) -> None:
    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.readline()
        writer.write(line)
        await writer.drain()
        writer.close()

    async with await asyncio.start_unix_server(serve, tmp_path / "s"):
        assert (await call(tmp_path / "s"))[0] == 1


async def test_it_waits_for_an_actuator_that_is_not_there_yet(tmp_path: Path) -> None:
    process = await start(tmp_path / "s")
    await asyncio.sleep(1.0)
    assert process.returncode is None
    async with FenceServer(tmp_path / "s", says(4)), asyncio.timeout(10):
        assert await process.wait() == 4


async def test_it_asks_the_next_run_when_the_actuator_is_restarted(tmp_path: Path) -> None:
    asked = asyncio.Event()

    async def never(environment: Mapping[str, str]) -> tuple[int, str]:
        asked.set()
        await asyncio.Event().wait()
        raise AssertionError("unreachable")

    async with FenceServer(tmp_path / "s", never):
        process = await start(tmp_path / "s")
        async with asyncio.timeout(10):
            await asked.wait()
    async with FenceServer(tmp_path / "s", says(4)), asyncio.timeout(10):
        assert await process.wait() == 4


async def test_questions_are_answered_side_by_side(tmp_path: Path) -> None:
    both = asyncio.Barrier(2)

    async def answer(environment: Mapping[str, str]) -> tuple[int, str]:
        await both.wait()
        return 4, ""

    async with FenceServer(tmp_path / "s", answer):
        results = await asyncio.gather(call(tmp_path / "s"), call(tmp_path / "s"))
    assert [code for code, _ in results] == [4, 4]


async def test_only_root_may_ask(tmp_path: Path) -> None:
    async with FenceServer(tmp_path / "s", says(4)):
        assert (tmp_path / "s").stat().st_mode & 0o777 == 0o600


async def test_the_server_answers_nonsense_with_one(tmp_path: Path) -> None:
    async with FenceServer(tmp_path / "s", says(4)):
        reader, writer = await asyncio.open_unix_connection(tmp_path / "s")
        writer.write(b"[1, 2]\n")
        answer = json.loads(await reader.readline())
        writer.close()
    assert answer["exit_code"] == 1


@pytest.mark.parametrize(
    ("shown", "role"),
    [
        ("20: cs:WFConnection ro:Primary/Unknown ds:UpToDate/DUnknown C s-----", "Primary"),
        (" 20: cs:StandAlone ro:Secondary/Unknown ds:UpToDate/DUnknown   r-----", "Secondary"),
        ("21: cs:WFConnection ro:Primary/Unknown ds:UpToDate/DUnknown C s-----", "Primary"),
        ("120: cs:WFConnection ro:Secondary/Unknown ds:UpToDate/DUnknown C s-----", None),
        ("20: cs:Unconfigured", None),
        ("", None),
    ],
)
def test_the_role_is_read_from_the_devices_line(shown: str, role: str | None) -> None:
    header = ["version: 8.4.11 (api:1/proto:86-101)", ""]
    assert fence_peer.role_in([*header, shown], ["20", "21"]) == role
