"""No program tells a key or a token, whatever happens to it and however much it is asked to say."""

import asyncio
import base64
import logging
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import pytest
import yaml

from tandem_actuator.adapters.kube_api import KubeApi
from tandem_actuator.ports import PortError
from tandem_api.kinds.mirror import Mirror, ReplicaReport
from tandem_api.lease import HeartbeatContent
from tandem_api.meta import ObjectKey
from tandem_api.timing import DEFAULT
from tandem_hostile import A, B
from tandem_kube import KubeClient
from tandem_lab.controlplane import ControlPlane, apply_path
from tandem_lab.controlplane.pki import Authority

pytestmark = [pytest.mark.integration, pytest.mark.timeout(120)]
ROOT = Path(__file__).parents[2]
RUN_S, START_S = 6.0, 40.0


def secrets_of(kubeconfig: Path) -> list[str]:
    """What in a kubeconfig must not be told: its token, and its key, each line of it as well."""
    found: list[str] = []
    for entry in yaml.safe_load(kubeconfig.read_text())["users"]:
        user = entry["user"]
        if "token" in user:
            found += [user["token"], user["token"].split(".")[-1]]
        if "client-key-data" in user:
            found.append(user["client-key-data"])
            pem = base64.b64decode(user["client-key-data"]).decode()
            found += [line for line in pem.splitlines() if "-----" not in line and len(line) > 16]
    assert found, f"{kubeconfig} holds no secret"
    return found


def assert_silent(text: str, secrets: list[str]) -> None:
    assert text
    told = [secret[:8] + "…" for secret in secrets if secret in text]
    assert told == []
    assert "Bearer " not in text
    assert "PRIVATE KEY" not in text


@pytest.fixture(scope="module")
def applied(api_server: ControlPlane) -> ControlPlane:
    for folder in ("base", "hosts"):
        apply_path(api_server, ROOT / "manifests" / folder)
    api_server.kubectl("apply", "-f", str(ROOT / "manifests" / "admission" / "rbac.yaml"))
    return api_server


@pytest.mark.parametrize("program", ["run", "admission"])
@pytest.mark.parametrize("trouble", ["", "paused", "wrong"])
def test_the_controllers_programs(
    applied: ControlPlane, tmp_path: Path, program: str, trouble: str
) -> None:
    """At DEBUG; with a server that answers, that stands still, that knows no such key."""
    account = {"run": "tandem-controller", "admission": "tandem-admission"}[program]
    kubeconfig = applied.serviceaccount_kubeconfig("tandem-system", account)
    secrets = secrets_of(kubeconfig)
    if trouble == "wrong":
        raw = yaml.safe_load(kubeconfig.read_text())
        raw["users"][0]["user"]["token"] += "x"
        kubeconfig = tmp_path / "wrong"
        kubeconfig.write_text(yaml.safe_dump(raw))
    said = _said(kubeconfig, program, tmp_path, applied if trouble == "paused" else None)
    assert_silent(said, secrets)


def _said(kubeconfig: Path, program: str, folder: Path, pause: ControlPlane | None) -> str:
    certificate, key = folder / "tls.crt", folder / "tls.key"
    Authority(folder / "pki").server(["127.0.0.1"]).write(certificate, key)
    with socket.create_server(("127.0.0.1", 0)) as free:
        port = int(free.getsockname()[1])
    command = [
        *(sys.executable, "-m", "tandem_controller", f"--kubeconfig={kubeconfig}"),
        *("--log-level=DEBUG", "--metrics-port=0", f"--admission-port={port}"),
        *(f"--admission-certificate={certificate}", f"--admission-key={key}", program),
    ]
    log = folder / "said.log"
    if pause:
        pause.pause()
    with log.open("wb") as output:
        process = subprocess.Popen(command, stdout=output, stderr=subprocess.STDOUT)
        try:
            _speaks(log)
            time.sleep(RUN_S)
            process.send_signal(signal.SIGTERM)
            process.wait(30)
        finally:
            if pause:
                pause.resume()
            process.kill()
            process.wait()
    said = log.read_text()
    own_key = [line for line in key.read_text().splitlines() if "-----" not in line]
    assert_silent(said, own_key)
    return said


def _speaks(log: Path) -> None:
    """Wait for the first word: on a busy machine Python itself takes its time."""
    deadline_s = time.monotonic() + START_S
    while not log.stat().st_size and time.monotonic() < deadline_s:
        time.sleep(0.1)


@pytest.fixture
def debug(caplog: pytest.LogCaptureFixture) -> Iterator[pytest.LogCaptureFixture]:
    with caplog.at_level(logging.DEBUG):
        yield caplog


async def test_what_an_actuator_asks_of_the_api(
    applied: ControlPlane, debug: pytest.LogCaptureFixture
) -> None:
    """All of it, allowed and refused, by a host's own certificate."""
    kubeconfig = applied.user_kubeconfig(f"tandem:host:{B}", ["tandem:hosts"])
    client = await KubeClient.load(kubeconfig, component="tandem-actuator")
    api, key, errors = KubeApi(client), ObjectKey(namespace="default", name="absent"), []
    foreign = HeartbeatContent(host=A, site="x", instance="x", watchdog_armed=True, timing=DEFAULT)

    async def first(kind: type[Mirror]) -> None:
        async for _ in api.watch(kind):
            return

    calls = [
        api.read_mirror(key),
        api.read_heartbeat(A),
        api.renew(foreign),
        api.report_replica(key, B, ReplicaReport()),
        first(Mirror),
    ]
    for call in calls:
        try:
            async with asyncio.timeout(10):
                await call
        except PortError as error:
            errors.append(f"{error!r} {error.__cause__!r}")
    await client.close()
    logging.getLogger("tandem").warning("%s", errors)
    assert len(errors) >= 2
    assert_silent(debug.text + "".join(errors), secrets_of(kubeconfig))
