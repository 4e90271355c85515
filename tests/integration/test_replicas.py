"""The controller as its pod runs it: a nameless user, a kubelet's variables, and signals.

Real processes on a real API server, with the account and the rights of the manifests.
"""

import asyncio
import contextlib
import os
import re
import signal
import socket
import sys
import tempfile
import threading
import time
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator, Mapping
from pathlib import Path
from typing import Any

import pytest

from tandem_api.lease import LEASE_NAMESPACE
from tandem_api.meta import ObjectKey
from tandem_controller.assembly import assembled
from tandem_controller.decide.election import LEASE_NAME, LEASE_S
from tandem_controller.run.lead import Leadership
from tandem_controller.settings import Settings
from tandem_kube import GUESTS, LEASES, MIRRORS, KubeClient, NotFound
from tandem_lab.controlplane import ControlPlane, apply_path
from tandem_lab.controlplane.pki import Authority
from unit.base.test_settings import foreign_variables

from .pretended import leader, until_leads

pytestmark = pytest.mark.integration
BASE = Path(__file__).parents[2] / "manifests" / "base"
LEASE = ObjectKey(namespace=LEASE_NAMESPACE, name=LEASE_NAME)
NAMELESS = 65532
"""The image's user; no machine has a name for it."""


@pytest.fixture(scope="module")
def account(api_server: ControlPlane, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    apply_path(api_server, BASE)
    target = tmp_path_factory.mktemp("account") / "kubeconfig"
    yield api_server.serviceaccount_kubeconfig("tandem-system", "tandem-controller", target)


@pytest.fixture
async def client(api_server: ControlPlane, account: Path) -> AsyncIterator[KubeClient]:
    made = await KubeClient.load(api_server.admin_kubeconfig(), component="test")
    with contextlib.suppress(NotFound):
        await made.delete(LEASES, LEASE)
    yield made
    await made.close()


@contextlib.asynccontextmanager
async def replica(
    name: str, kubeconfig: Path, log: Path, *, user: int | None = None
) -> AsyncIterator[asyncio.subprocess.Process]:
    flags = [
        f"--kubeconfig={kubeconfig}",
        f"--identity={name}-x",
        "--metrics-address=127.0.0.1",
        "--metrics-port=0",
    ]
    with log.open("w") as output:
        program = await asyncio.create_subprocess_exec(
            *(sys.executable, "-m", "tandem_controller", *flags, "run"),
            stderr=output,
            env={"PATH": os.environ["PATH"], "HOME": "/", **foreign_variables()},
            user=user,
            group=user,
            extra_groups=None if user is None else [],
        )
        try:
            yield program
        finally:
            if program.returncode is None:
                program.kill()
            await program.wait()


@pytest.mark.skipif(os.getuid() != 0, reason="only root can become another user")
async def test_it_leads_as_a_user_without_a_name(
    client: KubeClient, api_server: ControlPlane, tmp_path: Path
) -> None:
    """In its pod there is no line for it in /etc/passwd, and a variable for every Service."""
    kubeconfig = readable_by_all(api_server)
    try:
        async with replica("one", kubeconfig, tmp_path / "log", user=NAMELESS) as program:
            await until_leads(client, "one", 20)
            program.terminate()
            assert await asyncio.wait_for(program.wait(), 20) == 0
    finally:
        kubeconfig.unlink()
    said = (tmp_path / "log").read_text()
    assert "Traceback" not in said, said
    assert "TANDEM_ADMISSION_PORT is ignored" in said


@pytest.fixture
def certificate() -> Iterator[Path]:
    """A folder with tls.crt and tls.key that the nameless user owns, as its Secret's is."""
    with tempfile.TemporaryDirectory() as folder:
        files = [Path(folder, "tls.crt"), Path(folder, "tls.key")]
        Authority(Path(folder)).server(["127.0.0.1"]).write(*files)
        for path in (Path(folder), *files):
            os.chown(path, NAMELESS, NAMELESS)
        yield Path(folder)


@pytest.mark.skipif(os.getuid() != 0, reason="only root can become another user")
async def test_the_webhook_serves_as_a_user_without_a_name_and_ends_when_told(
    api_server: ControlPlane, account: Path, certificate: Path
) -> None:
    with socket.create_server(("127.0.0.1", 0)) as free:
        port = int(free.getsockname()[1])
    kubeconfig = readable_by_all(api_server)
    flags = [
        f"--kubeconfig={kubeconfig}",
        f"--admission-port={port}",
        f"--admission-certificate={certificate / 'tls.crt'}",
        f"--admission-key={certificate / 'tls.key'}",
    ]
    program = await as_nameless(*flags, "admission")
    try:
        await until(lambda: listens(port))
        program.terminate()
        assert await asyncio.wait_for(program.wait(), 10) == 0
    finally:
        kubeconfig.unlink()
        with contextlib.suppress(ProcessLookupError):
            program.kill()


async def as_nameless(*arguments: str) -> asyncio.subprocess.Process:
    return await asyncio.create_subprocess_exec(
        *(sys.executable, "-m", "tandem_controller", *arguments),
        env={"PATH": os.environ["PATH"], "HOME": "/", **foreign_variables()},
        user=NAMELESS,
        group=NAMELESS,
        extra_groups=[],
    )


async def listens(port: int) -> bool:
    with contextlib.suppress(OSError):
        _, writer = await asyncio.open_connection("127.0.0.1", port)
        writer.close()
        return True
    return False


def readable_by_all(plane: ControlPlane) -> Path:
    """The account's kubeconfig where a stranger can read it: not below pytest's own folder."""
    target = Path(f"/tmp/tandem-nameless-{os.getpid()}.kubeconfig")
    plane.serviceaccount_kubeconfig("tandem-system", "tandem-controller", target)
    target.chmod(0o444)
    return target


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT], ids=lambda n: n.name)
async def test_a_stop_hands_leadership_over_at_once(
    client: KubeClient, account: Path, tmp_path: Path, number: signal.Signals
) -> None:
    first_log, times = tmp_path / "one", {}
    async with replica("one", account, first_log) as first:
        await until_leads(client, "one", 20)
        async with replica("two", account, tmp_path / "two"):
            await until(lambda: ready(tmp_path / "two"))
            await asyncio.sleep(3)  # kopf has long set up its own handlers, and both are in step
            # A write that is under way at the end may be answered, and logged, after it.
            await until(lambda: nothing_to_write(client), 60)
            before = await lease_spec(client)
            began_s = time.monotonic()
            first.send_signal(number)
            await until(lambda: leads_no_more(client, "one"))
            times["given up"] = time.monotonic() - began_s
            await until_leads(client, "two", 10)
            times["another leads"] = time.monotonic() - began_s
            assert await asyncio.wait_for(first.wait(), 20) == 0
            times["ended"] = time.monotonic() - began_s
            after = await lease_spec(client)
    print({step: round(took_s, 2) for step, took_s in times.items()})
    # As long as a leader's own time, and it would not have been given up, but have run out.
    assert times["given up"] < LEASE_S / 2
    assert times["another leads"] < LEASE_S
    assert after["leaseTransitions"] == before["leaseTransitions"] + 1
    assert after["acquireTime"] > before["acquireTime"]
    decided_nothing_after_the_end(first_log)


async def lease_spec(client: KubeClient) -> Mapping[str, Any]:
    spec: Mapping[str, Any] = (await client.get_lease(LEASE_NAME))["spec"]
    return spec


async def nothing_to_write(client: KubeClient) -> bool:
    """Whether objects that other tests left are gone."""
    return not any([(await client.list(kind)).items for kind in (GUESTS, MIRRORS)])


async def until(holds: Callable[[], Awaitable[bool]], timeout_s: float = 20) -> None:
    deadline_s = time.monotonic() + timeout_s
    while not await holds():
        assert time.monotonic() < deadline_s
        await asyncio.sleep(0.01)


async def leads_no_more(client: KubeClient, who: str) -> bool:
    return await leader(client) != who


async def ready(log: Path) -> bool:
    return "metrics and health" in await asyncio.to_thread(log.read_text)


def decided_nothing_after_the_end(log: Path) -> None:
    before, mark, after = log.read_text().partition("election: not leading any more")
    assert mark, before
    assert not re.search(r"decision=|write=|assigned=|election: leading", after), after
    assert after.index("election: given up") < after.index("guests are left as they are")


class Observed(Leadership):
    """Notes whether kopf watches when leadership is to be given up, and a while later."""

    watched: tuple[bool, bool] = (False, False)

    async def resign(self) -> None:
        before = kopf_watches()
        await asyncio.sleep(2)
        await super().resign()
        self.watched = (before, kopf_watches())


def kopf_watches() -> bool:
    return any(thread.name == "kopf" for thread in threading.enumerate())


async def kopf_has_ended() -> bool:
    return not kopf_watches()


async def test_who_leads_has_watches(client: KubeClient, account: Path) -> None:
    """A stop ends leadership first, and the watches after it.

    So no plan is made on objects that nobody watches any more.
    """
    stop = asyncio.Event()
    settings = Settings(
        kubeconfig=account, identity="one-x", metrics_address="127.0.0.1", metrics_port=0
    )
    async with assembled(settings, "test", Observed) as one:
        running = asyncio.create_task(one.run(stop))
        await until_leads(client, "one", 20)
        stop.set()
        await asyncio.wait_for(running, 20)
        assert isinstance(one.program.leadership, Observed)
        assert one.program.leadership.watched == (True, True)
        await until(kopf_has_ended, 5)  # what it was told to do, its thread does a moment later
        assert await leader(client) == ""
