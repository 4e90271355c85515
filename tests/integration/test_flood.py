"""A tenant floods the API server: heartbeats have a lane of their own, and get through.

The server is one of a small third place, told to have few requests under way. With the server's
default, which lets some 600 in at once, it is the processor that is full, and lanes do not help.
"""

import asyncio
import statistics
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from tandem_hostile import A
from tandem_kube import KubeClient
from tandem_lab.controlplane import ControlPlane, apply_path
from tandem_lab.flood import beats_s, fill, flooding, level_of

pytestmark = [pytest.mark.integration, pytest.mark.timeout(300)]
MANIFESTS = Path(__file__).parents[2] / "manifests"
LANES = MANIFESTS / "flow-control"
FLAGS = ("--max-requests-inflight=12", "--max-mutating-requests-inflight=12")
TAKEN_UP_S = 2.0
BLOCK_S = 8.0
BLOCKS = 2
GROUP = "tandem:hosts"


@pytest.fixture(scope="module")
def small(tmp_path_factory: pytest.TempPathFactory) -> Iterator[ControlPlane]:
    directory = tmp_path_factory.mktemp("flooded")
    plane = ControlPlane(directory, die_with_parent=True, apiserver_flags=FLAGS)
    plane.start()
    for folder in ("base", "hosts"):
        apply_path(plane, MANIFESTS / folder)
    one = (MANIFESTS / "hosts" / "one-host.yaml").read_text()
    plane.kubectl("apply", "-f", "-", stdin=one.replace("HOST", A))
    yield plane
    plane.stop()


def lanes(plane: ControlPlane, *, there: bool) -> None:
    if there:
        apply_path(plane, LANES)
    else:
        plane.kubectl("delete", "-k", str(LANES), "--ignore-not-found")
    time.sleep(TAKEN_UP_S)


def uid(plane: ControlPlane, kind: str, name: str) -> str:
    return plane.kubectl("get", kind, name, "-o", "jsonpath={.metadata.uid}")


LEASES = "/apis/coordination.k8s.io/v1/namespaces/tandem-system/leases"


async def test_each_program_is_in_its_lane(small: ControlPlane) -> None:
    """And nobody else is in it, although they ask for the same."""
    lanes(small, there=True)
    host = small.user_kubeconfig(f"tandem:host:{A}", [GROUP])
    account = small.serviceaccount_kubeconfig("tandem-system", "tandem-controller")
    asked = [
        ("tandem-heartbeats", host, LEASES),
        ("tandem-heartbeats", account, LEASES),
        ("tandem", host, "/apis/tandem.dev/v1alpha1/mirrors"),
        ("tandem", account, "/apis/tandem.dev/v1alpha1/sites"),
    ]
    for name, kubeconfig, path in asked:
        found = await level_of(kubeconfig, path)
        schema = uid(small, "flowschema", name)
        assert found == (schema, uid(small, "prioritylevelconfiguration", name))
    other, _ = await level_of(small.admin_kubeconfig(), LEASES)
    assert other not in {uid(small, "flowschema", name) for name in ("tandem", "tandem-heartbeats")}


async def test_heartbeats_get_through_a_flood(small: ControlPlane, record_property: Any) -> None:
    await fill(small)
    kubeconfig = small.user_kubeconfig(f"tandem:host:{A}", [GROUP])
    client = await KubeClient.load(kubeconfig, component="test")
    times: dict[bool, list[float]] = {False: [], True: []}
    for _ in range(BLOCKS):
        for there in times:
            await asyncio.to_thread(lanes, small, there=there)
            with flooding(small):
                times[there] += await beats_s(client, A, BLOCK_S)
    await client.close()
    without, with_lanes = times[False], times[True]
    text = f"{told(without)} without lanes, {told(with_lanes)} with"
    record_property("heartbeats", text)
    print(f"heartbeats in a flood, p50 / p99: {text}")
    assert p99(with_lanes) < p99(without) / 2


def p99(times: list[float]) -> float:
    return statistics.quantiles(times, n=100, method="inclusive")[98]


def told(times: list[float]) -> str:
    return f"{statistics.median(times) * 1e3:.0f} / {p99(times) * 1e3:.0f} ms"
