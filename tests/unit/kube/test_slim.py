"""The images leave most of the Kubernetes client out; whatever way of logging in is used works."""

import asyncio
import json
import re
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
import yaml

import kubernetes
from tandem_examples import ROOT

INSTALL = ROOT / "scripts" / "install-slim"
CALL = """
import asyncio, sys
class LeftOut:
    def find_spec(self, name, path=None, target=None):
        if name.rpartition(".")[0] in {left_out!r}:
            raise ModuleNotFoundError(name)
sys.meta_path.insert(0, LeftOut())
import tandem_actuator.__main__, tandem_controller.__main__
from pathlib import Path
from tandem_kube import KubeClient, SITES
async def main():
    client = await KubeClient.load(Path({kubeconfig!r}))
    print(len((await client.list(SITES)).items))
    await client.close()
asyncio.run(main())
"""


def left_out() -> list[str]:
    """The packages whose modules are removed in the images; each keeps its ``__init__``."""
    removed = re.search(r"^for package in (.*?); do$", INSTALL.read_text(), re.MULTILINE)
    assert removed
    return [path.replace("/", ".") for path in removed[1].split()]


def test_what_is_left_out_is_there_to_be_left_out() -> None:
    site = Path(kubernetes.__file__).parents[1]
    folders = [site / name.replace(".", "/") for name in left_out()]
    assert len(folders) == 4
    assert all(folder.is_dir() for folder in folders)


def users(folder: Path) -> dict[str, dict[str, Any]]:
    """Every way to log in that a kubeconfig may ask for, but certificates: those are files."""
    token = folder / "token"
    token.write_text("secret")
    version = "client.authentication.k8s.io/v1"
    credential = {"kind": "ExecCredential", "apiVersion": version, "status": {"token": "secret"}}
    command = {"command": "echo", "args": [json.dumps(credential)], "interactiveMode": "Never"}
    return {
        "token": {"token": "secret"},
        "file": {"tokenFile": str(token)},
        "exec": {"exec": {"apiVersion": version, **command}},
    }


@pytest.mark.parametrize("way", ["token", "file", "exec"])
async def test_every_login_works_without_it(way: str, tmp_path: Path) -> None:
    asked: list[bytes] = []

    async def answer(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        asked.append(await reader.readuntil(b"\r\n\r\n"))
        body = b'{"metadata": {"resourceVersion": "1"}, "items": [{}, {}, {}]}'
        writer.write(b"HTTP/1.1 200 OK\r\nContent-Length: %d\r\n\r\n%s" % (len(body), body))
        await writer.drain()
        writer.close()

    server = await asyncio.start_server(answer, "127.0.0.1", 0)
    address = f"http://127.0.0.1:{server.sockets[0].getsockname()[1]}"
    kubeconfig = tmp_path / "kubeconfig"
    kubeconfig.write_text(config(address, users(tmp_path)[way]))
    program = CALL.format(left_out=left_out(), kubeconfig=str(kubeconfig))
    async with server:
        done = await asyncio.to_thread(
            subprocess.run,
            [sys.executable, "-c", program],
            capture_output=True,
            text=True,
            timeout=60,
            check=False,
        )
    assert (done.returncode, done.stdout) == (0, "3\n"), done.stderr
    assert b"authorization: bearer secret" in asked[0].lower()


def config(server: str, user: dict[str, Any]) -> str:
    whole = {
        "apiVersion": "v1",
        "kind": "Config",
        "current-context": "one",
        "contexts": [{"name": "one", "context": {"cluster": "one", "user": "one"}}],
        "clusters": [{"name": "one", "cluster": {"server": server}}],
        "users": [{"name": "one", "user": user}],
    }
    return yaml.safe_dump(whole)
