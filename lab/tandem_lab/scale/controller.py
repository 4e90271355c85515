"""`bench_scale controller`: the controller with thousands of guests, in real time.

The product's program runs in a process of its own, as it is installed: kopf, client, store, thread
for plans, writes. It talks HTTP to the simulator's API server (``served``) in this process, which
beats for all hosts, and notes when the server is asked for what. So everything is measured from
outside, and the same command measures another checkout's controller (``PYTHONPATH``).

Prints a table; decides nothing.
"""

import asyncio
import contextlib
import json
import socket
import statistics
import sys
import tempfile
import time
from collections.abc import AsyncIterator, Callable
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import aiohttp
import psutil
import yaml
from rich.console import Console

from sim.apiserver.handler import Request
from sim.apiserver.server import Server
from tandem_api.kinds.guest import Guest
from tandem_api.lease import LEASE_NAMESPACE, heartbeat_of, lease_name
from tandem_api.meta import ObjectKey
from tandem_controller.decide.plan import plan
from tandem_controller.decide.world import leases
from tandem_controller.decide.world.hosts import freshness
from tandem_controller.decide.world.model import Freshness
from tandem_kube import GUESTS, MIRRORS
from tandem_kube.kinds import LEASES
from tandem_kube.transport import MERGE_PATCH
from tandem_lab.scale import cluster
from tandem_lab.scale.cluster import Cluster, Raw, Size
from tandem_lab.scale.controller_table import Measured
from tandem_lab.scale.served import Served, filled

SIZES = (Size(100, 20), Size(1000, 40), Size(5000, 100))
BEATS_A_SECOND = 20
QUIET_S = 7.0
"""Nothing but Leases was written for so long: longer than between two plans of everything."""
WATCHES = 3
"""So often the guests' watch was begun, each 10 s: kopf has told of every object by then."""
START_TIMEOUT_S = 300.0
IDLE_S = 30.0
"""With one list of everything."""
CHANGES = 5
CHANGE_TIMEOUT_S = 60.0
BETWEEN_S = 1.0
PLANS = "tandem_plan_duration_seconds"
LOOK_S = 0.5
SOON_S = 0.01
LINKS_LOST_S = (1.0, 2.0)
"""The other site's hosts report that from the first to the last of these moments after the loss."""
LOSS_TIMEOUT_S = 300.0
"""A guest that is not taken over until then never is, as far as is told here."""
MIB = 2**20

console = Console(highlight=False)


@dataclass
class Watch:
    """What the server has been asked, and when. ``tracker``: the silence that was answered so."""

    server: Server
    reads: list[float] = field(default_factory=list)
    wrote_s: float = 0.0
    watches: list[float] = field(default_factory=list)
    on_write: Callable[[str, Raw], None] = lambda path, raw: None
    tracker: leases.LeaseTracker = field(default_factory=leases.LeaseTracker)
    counts: bool = False

    def heard(self, method: str, path: str, written: Raw | None) -> None:
        now_s = time.monotonic()
        if method == "WATCH" and path == GUESTS.path():
            self.watches.append(now_s)
        if method == "GET" and path == LEASES.path(LEASE_NAMESPACE):
            self.reads.append(now_s)
            if self.counts:
                self._count(now_s)
        if written is not None and LEASES.plural not in path.split("/"):
            self.wrote_s = now_s
            self.on_write(path, written)

    def _count(self, now_s: float) -> None:
        found = self.server.store.shelf(LEASES.plural).objects.values()
        beats = [beat for raw in found if (beat := heartbeat_of(raw)) is not None]
        self.tracker = leases.observe(self.tracker, now_s, now_s, beats, wall())

    def lost(self, host: str, now_s: float) -> bool:
        """Whether this host counts as lost, by what was answered so far."""
        return freshness(self.tracker, host, now_s) is Freshness.LOST

    def late_s(self, since_s: float) -> float:
        """By how much the latest of the reads since then came too late after the one before it."""
        late = [b - a - leases.POLL_INTERVAL_S for a, b in self._pairs() if b >= since_s]
        return max(late, default=float("nan"))

    def _pairs(self) -> list[tuple[float, float]]:
        return list(zip(self.reads, self.reads[1:], strict=False))


class Bench:
    """One cluster, one server, one controller."""

    def __init__(self, size: Size, objects: Cluster) -> None:
        self.size, self.objects = size, objects
        self.server = filled(objects.objects, cluster.NAMESPACE, time.monotonic)
        self.watch = Watch(self.server)
        self.served = Served(self.server, self.watch.heard)
        self.beating = [name for site in (0, 1) for name in cluster.host_names(size, site)]
        self.metrics_port = 0

    async def measure(self) -> Measured:
        found = Measured(whole_plan_s=whole_plan_s(self.objects))
        async with self._running() as process:
            began_s = time.monotonic()
            found.start_s = await self._until_quiet(process) - began_s
            found.idle_percent = await idle_percent(process)
            found.memory_mib = process.memory_info().rss / MIB
            await self._change(found)
            await self._lose_a_site(process, found)
            found.peak_mib = peak_mib(process.pid)
        return found

    @contextlib.asynccontextmanager
    async def _running(self) -> AsyncIterator[psutil.Process]:
        await self.served.start()
        beats = asyncio.create_task(self._beat())
        with tempfile.TemporaryDirectory(prefix="tandem-bench-") as directory:
            process = await self._controller(Path(directory))
            try:
                yield psutil.Process(process.pid)
            finally:
                process.kill()
                await process.wait()
                beats.cancel()
                await self.served.stop()

    async def _controller(self, directory: Path) -> asyncio.subprocess.Process:
        """The program as it is installed, but that it goes by this server."""
        path, log = directory / "kubeconfig", directory / "log"
        path.write_text(yaml.safe_dump(kubeconfig(self.served.url)))
        self.metrics_port = free_port()
        flags = ["--kubeconfig", str(path), "--metrics-port", str(self.metrics_port)]
        with log.open("wb") as out:
            return await asyncio.create_subprocess_exec(
                sys.executable, "-m", "tandem_controller", "run", *flags, stdout=out, stderr=out
            )

    async def _beat(self) -> None:
        """Each host renews its Lease once a second, at a moment of its own."""
        raws = {host: cluster.lease(host) for host in self.beating}
        for turn in range(sys.maxsize):
            for number, host in enumerate(list(self.beating)):
                if number % BEATS_A_SECOND == turn % BEATS_A_SECOND:
                    self._renew(host, raws[host])
            await asyncio.sleep(1 / BEATS_A_SECOND)

    def _renew(self, host: str, raw: Raw) -> None:
        renewed = {**raw, "spec": {**raw["spec"], "renewTime": wall()}}
        key = ObjectKey(LEASE_NAMESPACE, lease_name(host))
        self.server.store.write(LEASES.plural, key, renewed)

    async def _until_quiet(self, process: psutil.Process) -> float:
        """Until it knows everything and has nothing to write any more; when it planned first."""
        end_s, planned_s = time.monotonic() + START_TIMEOUT_S, None
        while time.monotonic() < end_s:
            assert process.is_running() and process.status() != psutil.STATUS_ZOMBIE, "it has ended"
            if planned_s is None and (await self._planned())[1] > 0:
                planned_s = time.monotonic()
            watch = self.watch
            quiet = time.monotonic() - max(planned_s or end_s, watch.wrote_s) > QUIET_S
            if planned_s is not None and quiet and len(watch.watches) >= WATCHES:
                return planned_s
            await asyncio.sleep(LOOK_S)
        raise TimeoutError(f"it was not quiet within {START_TIMEOUT_S:g} s")

    async def _until_planned(self, times: int) -> None:
        end_s = time.monotonic() + START_TIMEOUT_S
        while (await self._planned())[1] < times:
            assert time.monotonic() < end_s, f"it has not planned {times} times"
            await asyncio.sleep(LOOK_S)

    # -- its own numbers

    async def _planned(self) -> tuple[float, float]:
        """Seconds that it has planned for so far, and how often."""
        url = f"http://127.0.0.1:{self.metrics_port}/metrics"
        try:
            async with aiohttp.ClientSession() as session, session.get(url) as answer:
                text = await answer.text()
        except aiohttp.ClientError:
            return 0.0, 0.0
        # Read by hand: there are rows of each guest, and the server's loop is to be kept free.
        lines = (line.split() for line in text.splitlines() if line.startswith(PLANS))
        found = {line[0].removeprefix(PLANS): float(line[1]) for line in lines}
        return found.get("_sum", 0.0), found.get("_count", 0.0)

    # -- one change

    async def _change(self, found: Measured) -> None:
        before = await self._planned()
        await asyncio.sleep(3 * BETWEEN_S)
        began_s, told = time.monotonic(), []
        for number in range(CHANGES):
            told.append(await self._change_one(f"g{2 * number}"))
            await asyncio.sleep(BETWEEN_S)
        found.change_told_s, found.late_s = statistics.median(told), self.watch.late_s(began_s)
        after = await self._planned()
        found.change_plan_s = (after[0] - before[0]) / (after[1] - before[1])
        await asyncio.sleep(3 * BETWEEN_S)

    async def _change_one(self, name: str) -> float:
        """Seconds until its status says that it is paused."""
        told: asyncio.Future[float] = asyncio.get_running_loop().create_future()
        key = ObjectKey(cluster.NAMESPACE, name)
        path = GUESTS.path(key.namespace, key.name)

        def written(where: str, raw: Raw) -> None:
            if where == f"{path}/status" and raw["status"].get("pausedBy") and not told.done():
                told.set_result(time.monotonic())

        self.watch.on_write = written
        began_s = time.monotonic()
        self._patch(path, {"spec": {"paused": True}})
        try:
            async with asyncio.timeout(CHANGE_TIMEOUT_S):
                return await told - began_s
        finally:
            self.watch.on_write = lambda path, raw: None

    def _patch(self, path: str, patch: Raw) -> None:
        code, answer = self.server.handler.answer(
            Request("PATCH", path, {}, json.dumps(patch), MERGE_PATCH)
        )
        assert code == 200, answer

    # -- a site is lost

    async def _lose_a_site(self, process: psutil.Process, found: Measured) -> None:
        lost, left = cluster.host_names(self.size, 0), set(cluster.host_names(self.size, 1))
        waiting, written_s, certain_s = (
            self._guests_on(lost),
            dict[str, float](),
            dict[str, float](),
        )

        def written(path: str, raw: Raw) -> None:
            assignment = (raw.get("status") or {}).get("assignment") or {}
            name = raw["metadata"]["name"]
            if raw["kind"] == Guest.__name__ and assignment.get("host") in left:
                written_s.setdefault(name, time.monotonic())

        self.watch.on_write, self.watch.counts = written, True
        await asyncio.sleep(2 * BETWEEN_S)
        began_s = time.monotonic()
        self.beating = sorted(left)
        links = asyncio.create_task(self._report_lost_links(left))
        used = process.cpu_times()
        while len(certain_s) < len(lost) or not waiting.keys() <= written_s.keys():
            now_s = time.monotonic()
            if now_s > began_s + LOSS_TIMEOUT_S:
                break
            for host in lost:
                if host not in certain_s and self.watch.lost(host, now_s):
                    certain_s[host] = now_s
            await asyncio.sleep(SOON_S)
        await links
        never_s = float("inf")
        took_s = [
            written_s.get(name, never_s) - certain_s.get(host, 0.0)
            for name, host in waiting.items()
        ]
        found.decided_s, found.assigned_s = min(took_s), max(took_s)
        found.loss_cpu_s = sum(process.cpu_times()[:2]) - sum(used[:2])
        found.late_in_loss_s = self.watch.late_s(began_s)

    def _guests_on(self, hosts: list[str]) -> dict[str, str]:
        """Those that shall be taken over, all but the paused ones, and where they are."""
        return {
            raw["metadata"]["name"]: raw["status"]["assignment"]["host"]
            for raw in self.server.store.shelf(GUESTS.plural).objects.values()
            if raw["status"]["assignment"]["host"] in hosts and not raw["spec"].get("paused")
        }

    async def _report_lost_links(self, left: set[str]) -> None:
        """Each host that is left says so of each of its mirrors."""
        first_s, last_s = LINKS_LOST_S
        await asyncio.sleep(first_s)
        mirrors = list(self.server.store.shelf(MIRRORS.plural).objects.items())
        steps = 50
        for step in range(steps):
            for key, raw in mirrors[step::steps]:
                host = next(host for host in cluster.hosts_of(raw) if host in left)
                new = self.server.store.shelf(MIRRORS.plural).objects[key]
                status = cluster.merged(new["status"], cluster.unlinked(new, host))
                self.server.store.write(MIRRORS.plural, key, {**new, "status": status})
            await asyncio.sleep((last_s - first_s) / steps)


# -- parts


def whole_plan_s(objects: Cluster) -> float:
    """Of a processor, as a controller that has just begun makes it; the median of three."""
    found = cluster.snapshot(objects)
    times = []
    for _ in range(3):
        began_s = time.process_time()
        plan(found)
        times.append(time.process_time() - began_s)
    return statistics.median(times)


async def idle_percent(process: psutil.Process) -> float:
    """Of a core, of a process to which nothing happens."""
    before, began_s = process.cpu_times(), time.monotonic()
    await asyncio.sleep(IDLE_S)
    now, span_s = process.cpu_times(), time.monotonic() - began_s
    return 100 * (now.user + now.system - before.user - before.system) / span_s


def peak_mib(pid: int) -> float:
    lines = Path(f"/proc/{pid}/status").read_text().splitlines()
    return next(float(line.split()[1]) / 1024 for line in lines if line.startswith("VmHWM:"))


def kubeconfig(url: str) -> dict[str, Any]:
    named = {"name": "bench"}
    return {
        "apiVersion": "v1",
        "kind": "Config",
        "clusters": [{**named, "cluster": {"server": url}}],
        "users": [{**named, "user": {}}],
        "contexts": [{**named, "context": {"cluster": "bench", "user": "bench"}}],
        "current-context": "bench",
    }


def free_port() -> int:
    with socket.socket() as found:
        found.bind(("127.0.0.1", 0))
        return int(found.getsockname()[1])


def wall() -> str:
    return datetime.now(UTC).isoformat(timespec="microseconds").replace("+00:00", "Z")


def run(sizes: list[Size], runs: int) -> dict[Size, list[Measured]]:
    """Measure each size so often."""
    found: dict[Size, list[Measured]] = {}
    for size in sizes:
        objects = cluster.settled(size)
        for number in range(runs):
            console.print(f"[dim]{size.guests} guests on {size.hosts} hosts, run {number + 1}[/]")
            measured = asyncio.run(Bench(size, objects).measure())
            found.setdefault(size, []).append(measured)
            console.print(f"[dim]{measured}[/]")
    return found
