"""A tenant floods a real API server, and heartbeats go on being answered in their own lane.

How long they take is for `make bench-flood` to say: here the machine may be as busy as it likes.
What is held is where the server puts each request, and that no heartbeat is given up on.
"""

import asyncio
import re
from collections.abc import Iterator

import pytest

from tandem_hostile import A
from tandem_kube import KubeClient
from tandem_lab.controlplane import ControlPlane
from tandem_lab.flood import (
    LATE_S,
    PATH,
    TENANT,
    Flood,
    apply_lanes,
    beats_s,
    fill,
    flooding,
    level_of,
    remove_lanes,
    small_place,
)

pytestmark = [pytest.mark.integration, pytest.mark.timeout(300)]
SMALL = Flood(maps=300, processes=1)
"""Enough to fill the tenant's seats, and not the processor, which lanes cannot share out."""
FLOODED_S = 8.0
LANE, FLOODS = "tandem-heartbeats", "global-default"
SAMPLE = re.compile(r"^(\w+)\{(.*)\} (\S+)$", re.MULTILINE)


@pytest.fixture(scope="module")
def small(tmp_path_factory: pytest.TempPathFactory) -> Iterator[ControlPlane]:
    """An API server that lets few requests in at once, with what the tenant lists."""
    with small_place(tmp_path_factory.mktemp("flood"), A) as plane:
        asyncio.run(fill(plane, SMALL))
        yield plane


def counted(plane: ControlPlane, metric: str, *labels: str) -> float:
    """The sum of one of the server's own counts over all that has these labels."""
    samples = SAMPLE.findall(plane.kubectl("get", "--raw", "/metrics"))
    return sum(
        float(value)
        for name, found, value in samples
        if name == metric and all(label in found for label in labels)
    )


def dispatched(plane: ControlPlane, level: str) -> float:
    metric = "apiserver_flowcontrol_dispatched_requests_total"
    return counted(plane, metric, f'priority_level="{level}"')


def waited(plane: ControlPlane) -> float:
    """How many requests of the flood's level have had to wait: longer than the shortest bucket."""
    metric, level = "apiserver_flowcontrol_request_wait_duration_seconds", f'"{FLOODS}"'
    mine = f"priority_level={level}"
    at_once = counted(plane, f"{metric}_bucket", mine, 'le="0.005"')
    return counted(plane, f"{metric}_count", mine) - at_once


async def beaten(plane: ControlPlane) -> list[float]:
    """How long a host's heartbeats take in a flood."""
    client = await KubeClient.load(
        plane.user_kubeconfig(f"tandem:host:{A}", ["tandem:hosts"]), component="flooded"
    )
    try:
        with flooding(plane, SMALL):
            return await beats_s(client, A, FLOODED_S)
    finally:
        await client.close()


async def test_heartbeats_are_answered_while_the_flood_waits(small: ControlPlane) -> None:
    apply_lanes(small)
    before = {level: dispatched(small, level) for level in (LANE, FLOODS)}
    waited_before = waited(small)
    times = await beaten(small)
    after = {level: dispatched(small, level) for level in (LANE, FLOODS)}
    assert max(times) < LATE_S, "a heartbeat was not answered"
    assert waited(small) > waited_before, "the flood never waited, so nothing was shown"
    assert after[LANE] - before[LANE] >= len(times)
    assert after[FLOODS] - before[FLOODS] > len(times)


async def test_without_lanes_they_are_counted_in_the_floods(small: ControlPlane) -> None:
    remove_lanes(small)
    host = small.user_kubeconfig(f"tandem:host:{A}", ["tandem:hosts"])
    lease = f"/apis/coordination.k8s.io/v1/namespaces/tandem-system/leases/host-{A}"
    client = await KubeClient.load(host, component="flooded")
    await client.renew_lease(f"host-{A}", holder=A, duration_s=10, timeout_s=LATE_S)
    await client.close()
    # The same level, so that whoever fills its queues keeps the heartbeats out.
    assert await level_of(host, lease) == await level_of(small.user_kubeconfig(TENANT), PATH)
    before = dispatched(small, FLOODS)
    times = await beaten(small)
    assert dispatched(small, FLOODS) - before > len(times)
    apply_lanes(small)
    assert await level_of(host, lease) != await level_of(small.user_kubeconfig(TENANT), PATH)
