"""The fence-peer program as DRBD starts it, against the real server and against bad ones."""

import asyncio
import json
import os
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


@pytest.mark.parametrize("stderr", ["/dev/full", "closed", "hung-up"])
@pytest.mark.parametrize("code", [1, 4, 6])
async def test_what_it_cannot_say_does_not_change_its_answer(
    tmp_path: Path, stderr: str, code: int
) -> None:
    """What the kernel has had started has no terminal, or one that was hung up."""
    read, write = os.pipe()
    os.close(read)
    to = {"/dev/full": "2>/dev/full", "closed": "2>&-", "hung-up": ""}[stderr]
    async with FenceServer(tmp_path / "s", says(code)):
        process = await asyncio.create_subprocess_exec(
            *("sh", "-c", f'exec "$@" {to}', "sh"),
            *(sys.executable, "-I", "-S", PROGRAM, str(tmp_path / "s")),
            env={"PATH": "/bin", **ENVIRONMENT},
            stderr=write,
        )
        async with asyncio.timeout(30):
            await process.wait()
    os.close(write)
    assert process.returncode == code


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
