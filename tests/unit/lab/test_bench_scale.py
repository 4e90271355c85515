"""The parts of `make bench-scale`, with few guests."""

import asyncio
import io
from collections.abc import AsyncIterator
from dataclasses import replace

import pytest
import yaml
from rich.console import Console

from tandem_api.meta import ObjectKey
from tandem_controller.decide.plan import plan
from tandem_controller.decide.world.leases import LeaseTracker
from tandem_controller.decide.world.model import WriteAssignment
from tandem_kube import GUESTS, KubeClient
from tandem_kube.watch import Changed, Synced
from tandem_lab.scale import cluster, controller
from tandem_lab.scale.cluster import Size
from tandem_lab.scale.controller import Bench
from tandem_lab.scale.controller_table import ROWS, Measured, medians, show

SMALL = Size(6, 4)


def test_nothing_is_left_to_do_in_a_settled_cluster() -> None:
    made = plan(cluster.snapshot(cluster.settled(SMALL)))
    assert (made.urgent, made.statuses) == ((), ())
    assert {str(each.reason) for each in made.decisions.values()} == {"Running"}
    assert len(made.decisions) == SMALL.guests


def test_half_of_it_is_taken_over_when_a_site_is_lost() -> None:
    found = cluster.settled(SMALL)
    left = cluster.host_names(SMALL, 1)
    for raw in found.of("Mirror"):
        host = next(host for host in cluster.hosts_of(raw) if host in left)
        raw["status"] = cluster.merged(raw["status"], cluster.unlinked(raw, host))
    now = cluster.snapshot(found)
    lost = {
        host: replace(count, since_s=count.since_s - 60.0) if host not in left else count
        for host, count in now.leases.counts.items()
    }
    made = plan(replace(now, leases=LeaseTracker(lost, now.leases.read_s)))
    assigned = [write for write in made.urgent if isinstance(write, WriteAssignment)]
    assert len(assigned) == SMALL.guests // 2
    assert {write.assignment.host for write in assigned} <= set(left)


@pytest.fixture
async def bench() -> AsyncIterator[Bench]:
    made = Bench(SMALL, cluster.settled(SMALL))
    await made.served.start()
    yield made
    await made.served.stop()


class TestServer:
    """What it answers is the simulated server's, which has contract tests of its own."""

    async def test_it_lists_watches_and_notes_what_is_written(
        self, bench: Bench, tmp_path: object
    ) -> None:
        written: list[str] = []
        bench.watch.on_write = lambda path, raw: written.append(raw["metadata"]["name"])
        path = tmp_path / "kubeconfig"  # type: ignore[operator]
        path.write_text(yaml.safe_dump(controller.kubeconfig(bench.served.url)))
        client = await KubeClient.load(path)
        key = ObjectKey(cluster.NAMESPACE, "g3")
        assert len((await client.list(GUESTS)).items) == SMALL.guests
        watch = client.watch(GUESTS)
        async with asyncio.timeout(10.0):
            first = await anext(watch)
            assert isinstance(first, Synced)
            await client.merge_patch_status(GUESTS, key, {"message": "told"})
            changed = await anext(watch)
        assert isinstance(changed, Changed)
        assert changed.object["status"]["message"] == "told"
        assert written == ["g3"]
        await watch.aclose()
        await client.close()


async def test_the_controller_runs_beside_it_and_tells_of_a_change() -> None:
    """The real program, in a process of its own."""
    bench = Bench(SMALL, cluster.settled(SMALL))
    async with asyncio.timeout(100.0), bench._running():
        await bench._until_planned(2)
        assert await bench._change_one("g0") > 0.0
        found = bench.server.raw("Guest", ObjectKey(cluster.NAMESPACE, "g0"))
    assert found is not None
    assert found["status"]["pausedBy"] == "Guest bench/g0"
    assert bench.watch.late_s(0.0) == bench.watch.late_s(0.0), "Leases were read"


def test_the_table_has_a_row_for_everything_that_is_measured() -> None:
    assert {name for _, name, _ in ROWS} == set(vars(Measured()))
    runs = [Measured(idle_percent=value) for value in (1.0, 4.0, 2.0)]
    assert medians(runs).idle_percent == 2.0
    out = io.StringIO()
    show({SMALL: runs}, Console(file=out, width=200))
    assert "6 guests, 4 hosts" in out.getvalue()
