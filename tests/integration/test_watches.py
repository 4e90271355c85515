"""A watch that is dead is noticed: the way to the server goes on looking well, and nothing comes.

Between the program and the server stands a proxy that can stop forwarding without a word (the
connections stay open, and TCP's keepalive is answered by the proxy), or close one direction.
"""

import asyncio
import contextlib
import gc
import shutil
import time
from collections.abc import AsyncIterator, Callable
from contextlib import aclosing, asynccontextmanager
from dataclasses import dataclass, field
from pathlib import Path

import pytest

from tandem_actuator.adapters.kube_api import KubeApi
from tandem_actuator.ports.api import Changed, Synced
from tandem_api.kinds.mirror import Mirror
from tandem_api.meta import ObjectKey
from tandem_controller.assembly import ControllerReplica, assembled
from tandem_controller.decide.watches import ENDED_S, IDLE_S, Restart
from tandem_controller.settings import Settings
from tandem_kube import MIRRORS, KubeClient
from tandem_kube.watch import PACE, Ending
from tandem_lab.controlplane import ControlPlane, apply_path

pytestmark = pytest.mark.integration
CRDS = Path(__file__).parents[2] / "crds"
SLACK_S = 4.0
"""For a machine that is busy with other things, and for the new watch to begin."""
SETTLED_S = 1.0
PATIENCE_S = 30.0
"""For the test's own writes."""


@dataclass
class Way:
    """One connection through the proxy."""

    writers: tuple[asyncio.StreamWriter, asyncio.StreamWriter]
    muted: bool = False


@dataclass
class Proxy:
    """Forwards bytes to ``port``; the ways that are open can be muted, later ones work."""

    port: int
    ways: list[Way] = field(default_factory=list)

    async def serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        there, to_server = await asyncio.open_connection("127.0.0.1", self.port)
        way = Way((writer, to_server))
        self.ways.append(way)
        with contextlib.suppress(OSError):
            await asyncio.gather(
                self._forward(way, reader, to_server), self._forward(way, there, writer)
            )
        for each in way.writers:
            each.close()
        self.ways.remove(way)

    @staticmethod
    async def _forward(
        way: Way, reader: asyncio.StreamReader, writer: asyncio.StreamWriter
    ) -> None:
        while data := await reader.read(65536):
            if not way.muted:
                writer.write(data)
        if not way.muted:
            writer.write_eof()

    def mute(self) -> None:
        """Nothing comes through what is open, either way; nobody is told."""
        for way in self.ways:
            way.muted = True

    def half_close(self) -> None:
        """The program is told that no more will come, in the middle of what was coming."""
        for way in self.ways:
            way.muted = True
            way.writers[0].write_eof()


@asynccontextmanager
async def proxied(plane: ControlPlane, folder: Path) -> AsyncIterator[tuple[Proxy, Path]]:
    """The proxy, and a kubeconfig that leads through it."""
    server = plane.server_url
    proxy = Proxy(int(server.rpartition(":")[2]))
    async with await asyncio.start_server(proxy.serve, "127.0.0.1", 0) as listening:
        port = listening.sockets[0].getsockname()[1]
        kubeconfig = folder / "proxied"
        text = plane.admin_kubeconfig().read_text()
        kubeconfig.write_text(text.replace(server, f"https://127.0.0.1:{port}"))
        kubeconfig.chmod(0o600)
        try:
            yield proxy, kubeconfig
        finally:
            for way in list(proxy.ways):
                for writer in way.writers:
                    writer.transport.abort()


@pytest.fixture
async def direct(kinds: ControlPlane) -> AsyncIterator[KubeClient]:
    """A client that does not go through the proxy."""
    client = await KubeClient.load(kinds.admin_kubeconfig(), component="test")
    yield client
    await client.close()


async def make_mirror(client: KubeClient, namespace: str, name: str) -> ObjectKey:
    devices = {"root": "/dev/vg0/root"}
    spec = {
        "volumes": [{"name": "root", "size": "16Mi"}],
        "replicas": [{"host": h, "devices": devices} for h in ("a-1", "b-1")],
    }
    body = {"metadata": {"namespace": namespace, "name": name}, "spec": spec}
    await client.create(MIRRORS, body, timeout_s=PATIENCE_S)
    return ObjectKey(namespace=namespace, name=name)


async def until(true: Callable[[], bool], timeout_s: float) -> float:
    """Seconds until it was."""
    began_s = time.monotonic()
    async with asyncio.timeout(timeout_s):
        while not true():  # noqa: ASYNC110  # nothing tells when
            await asyncio.sleep(0.05)
    return time.monotonic() - began_s


class Actuator:
    """The actuator's watch of mirrors, and what it counted."""

    def __init__(self) -> None:
        self.known: set[ObjectKey] = set()
        self.restarts: list[str] = []

    async def follow(self, kubeconfig: Path) -> None:
        client = await KubeClient.load(kubeconfig, component="tandem-actuator")
        api = KubeApi(client, lambda kind, reason: self.restarts.append(f"{kind} {reason}"))
        try:
            async with aclosing(api.watch(Mirror)) as events:  # type: ignore[type-var]
                async for event in events:
                    match event:
                        case Synced(objects):
                            self.known = {mirror.key for mirror in objects}
                        case Changed(mirror):
                            self.known.add(mirror.key)
        finally:
            await client.close()


@asynccontextmanager
async def actuator(kubeconfig: Path) -> AsyncIterator[Actuator]:
    made = Actuator()
    following = asyncio.create_task(made.follow(kubeconfig))
    try:
        yield made
    finally:
        following.cancel()
        await asyncio.gather(following, return_exceptions=True)


async def test_an_actuator_notices_a_watch_that_fell_silent(
    kinds: ControlPlane, direct: KubeClient, namespace: str, tmp_path: Path
) -> None:
    async with proxied(kinds, tmp_path) as (proxy, path), actuator(path) as program:
        before = await make_mirror(direct, namespace, "before")
        await until(lambda: before in program.known, 10)
        assert len(proxy.ways) == 1
        proxy.mute()
        after = await make_mirror(direct, namespace, "after")
        took_s = await until(lambda: after in program.known, PACE.idle_s(PACE.life_s[1]) + SLACK_S)
    print(f"an actuator's silent watch: the change was seen after {took_s:.1f} s")
    assert program.restarts == [f"Mirror {Ending.IDLE}"]


async def test_an_actuator_goes_on_at_once_when_its_watch_is_cut(
    kinds: ControlPlane, direct: KubeClient, namespace: str, tmp_path: Path
) -> None:
    async with proxied(kinds, tmp_path) as (proxy, path), actuator(path) as program:
        before = await make_mirror(direct, namespace, "before")
        await until(lambda: before in program.known, 10)
        proxy.half_close()
        after = await make_mirror(direct, namespace, "after")
        await until(lambda: after in program.known, SLACK_S)
    assert program.restarts == [f"Mirror {Ending.BROKEN}"]


async def test_a_quiet_watch_lives_from_end_to_end_and_misses_nothing(
    kinds: ControlPlane, direct: KubeClient, namespace: str, tmp_path: Path
) -> None:
    """A real server ends it at its time; the next one goes on, on the same connection."""
    async with proxied(kinds, tmp_path) as (proxy, path), actuator(path) as program:
        before = await make_mirror(direct, namespace, "before")
        await until(lambda: before in program.known, 10)
        await asyncio.sleep(PACE.life_s[1] + SETTLED_S)
        after = await make_mirror(direct, namespace, "after")
        await until(lambda: after in program.known, SLACK_S)
        assert len(proxy.ways) == 1
    assert program.restarts == []


@asynccontextmanager
async def controller(kubeconfig: Path) -> AsyncIterator[ControllerReplica]:
    """Its part that feeds the store by kopf; nothing lists, but for what a test does."""
    stop = asyncio.Event()
    settings = Settings(kubeconfig=kubeconfig, metrics_address="127.0.0.1", metrics_port=0)
    async with assembled(settings, "test") as replica:
        watching = asyncio.create_task(replica.program.watching.run(stop, lambda: True))
        try:
            yield replica
        finally:
            stop.set()
            await watching


def knows(replica: ControllerReplica, key: ObjectKey) -> bool:
    return replica.program.store.get("Mirror", key) is not None


def restarts(replica: ControllerReplica) -> dict[tuple[str, str], float]:
    """By kind and reason, as they would be scraped."""
    return {
        (sample.labels["kind"], sample.labels["reason"]): sample.value
        for metric in replica.program.metrics.registry.collect()
        for sample in metric.samples
        if sample.name == "tandem_watch_restarts_total"
    }


async def seen_in_s(
    replica: ControllerReplica, client: KubeClient, namespace: str, limit_s: float
) -> float:
    """How long it takes until a change is in the store."""
    key = await make_mirror(client, namespace, "after")
    return await until(lambda: knows(replica, key), limit_s)


async def test_the_controller_notices_watches_that_fell_silent(
    kinds: ControlPlane, direct: KubeClient, namespace: str, tmp_path: Path
) -> None:
    async with proxied(kinds, tmp_path) as (proxy, path), controller(path) as replica:
        before = await make_mirror(direct, namespace, "before")
        await until(lambda: knows(replica, before), 20)
        await asyncio.sleep(SETTLED_S)
        proxy.mute()
        took_s = await seen_in_s(replica, direct, namespace, IDLE_S + SLACK_S)
        print(f"the controller's silent watch: the change was seen after {took_s:.1f} s")
        assert restarts(replica)["Mirror", Restart.IDLE] == 1


async def test_the_controller_goes_on_at_once_when_its_watches_are_cut(
    kinds: ControlPlane, direct: KubeClient, namespace: str, tmp_path: Path
) -> None:
    async with proxied(kinds, tmp_path) as (proxy, path), controller(path) as replica:
        before = await make_mirror(direct, namespace, "before")
        await until(lambda: knows(replica, before), 20)
        await asyncio.sleep(SETTLED_S)
        proxy.half_close()
        await seen_in_s(replica, direct, namespace, SLACK_S)
        assert restarts(replica)["Mirror", Restart.BROKEN] == 1


def kopfs_task(name: str) -> asyncio.Task[object]:
    """kopf's loop is in a thread of its own, and nobody else's business."""
    tasks = (each for each in gc.get_objects() if isinstance(each, asyncio.Task))
    (found,) = (task for task in tasks if name in task.get_name() and not task.done())
    return found


async def test_the_controller_begins_a_watch_anew_that_kopf_has_given_up(
    kinds: ControlPlane, direct: KubeClient, namespace: str, tmp_path: Path
) -> None:
    """kopf's task for a kind can be cancelled by its own timer, and is then begun by nobody."""
    async with proxied(kinds, tmp_path) as (_, path), controller(path) as replica:
        before = await make_mirror(direct, namespace, "before")
        await until(lambda: knows(replica, before), 20)
        task = kopfs_task("watcher for mirrors")
        task.get_loop().call_soon_threadsafe(task.cancel)
        took_s = await seen_in_s(replica, direct, namespace, ENDED_S + 2 * SLACK_S)
        print(f"a watch that kopf had given up: the change was seen after {took_s:.1f} s")
        assert restarts(replica)["Mirror", Restart.ENDED] == 1


async def test_the_controller_follows_a_server_that_was_restored_from_a_backup(
    tmp_path: Path,
) -> None:
    """kopf goes on from a version that is yet to come, and would hear nothing until then."""
    plane = ControlPlane(tmp_path / "plane", die_with_parent=True)
    plane.start()
    try:
        apply_path(plane, CRDS)
        plane.stop(keep=True)
        backup = tmp_path / "backup"
        shutil.copytree(plane._etcd_data, backup)
        plane.start(keep=True)
        async with controller(plane.admin_kubeconfig()) as replica:
            client = await KubeClient.load(plane.admin_kubeconfig(), component="test")
            before = await make_mirror(client, "default", "before")
            for number in range(20):
                await client.merge_patch_status(MIRRORS, before, {"message": str(number)})
            await until(lambda: replica.program.watching.told("Mirror") > 20, 20)
            await asyncio.sleep(SETTLED_S)
            plane.stop(keep=True)
            shutil.rmtree(plane._etcd_data)
            shutil.copytree(backup, plane._etcd_data)
            plane.start(keep=True)
            await asyncio.sleep(0.1)  # all of that held the loop: it hears of its dead connections
            after = await make_mirror(client, "default", "after")
            with pytest.raises(TimeoutError):
                await until(lambda: knows(replica, after), IDLE_S + SLACK_S)
            await replica.program.controller.resync_once("Mirror")
            assert knows(replica, after), "a list tells it"
            assert not knows(replica, before)
            await until(lambda: ("Mirror", Restart.BACKWARDS) in restarts(replica), SLACK_S)
            await until(lambda: replica.program.watching.told("Mirror") > 0, IDLE_S)
            later = await make_mirror(client, "default", "later")
            await until(lambda: knows(replica, later), SLACK_S)
            await client.close()
    finally:
        plane.stop()
