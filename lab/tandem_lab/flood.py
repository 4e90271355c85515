"""A tenant that floods the API server, and what becomes of heartbeats meanwhile.

The flood is a program of its own (``python -m tandem_lab.flood``): it lists the same large
ConfigMaps over and over on many connections, reads the answers and throws them away. `beats_s`
measures heartbeats while it does. Called by the benchmark (`bench_flood`) and by the integration
tests.
"""

from __future__ import annotations

import asyncio
import ssl
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import aiohttp

from tandem_api.lease import lease_name
from tandem_kube import KubeClient, KubeError
from tandem_lab.controlplane import ControlPlane, apply_path
from tandem_lab.controlplane.process import daemon_environment
from tandem_lab.settings import SOURCE_DIR

MANIFESTS = SOURCE_DIR / "manifests"
LANES = MANIFESTS / "flow-control"
FLAGS = ("--max-requests-inflight=12", "--max-mutating-requests-inflight=12")
"""Of a small third place. With the server's default, which lets some 600 requests in at once, it is
the processor that is full, and lanes do not help."""
LANES_TAKEN_UP_S = 2.0
NAMESPACE, TENANT = "flood", "tenant"
CONNECTIONS = 20
"""Of each process."""
MAP_BYTES = 4000
BEGUN_S = 3.0
INTERVAL_S = 0.25
LATE_S = 10.0
TRIES = 20
PUT_IN = ("FlowSchema", "PriorityLevel")
PATH = f"/api/v1/namespaces/{NAMESPACE}/configmaps"
RIGHTS = f"""
apiVersion: rbac.authorization.k8s.io/v1
kind: Role
metadata: {{name: tenant, namespace: {NAMESPACE}}}
rules:
  - apiGroups: [""]
    resources: [configmaps]
    verbs: [list]
---
apiVersion: rbac.authorization.k8s.io/v1
kind: RoleBinding
metadata: {{name: tenant, namespace: {NAMESPACE}}}
roleRef: {{apiGroup: rbac.authorization.k8s.io, kind: Role, name: tenant}}
subjects:
  - {{kind: User, apiGroup: rbac.authorization.k8s.io, name: {TENANT}}}
"""


@dataclass(frozen=True)
class Flood:
    """How much there is to list, and how many processes do."""

    maps: int = 3000
    processes: int = 2


GREAT = Flood()
"""What the benchmark measures with."""


@contextmanager
def small_place(directory: Path, host: str) -> Iterator[ControlPlane]:
    """An API server that lets few requests in at once, with Tandem's rights for one host."""
    plane = ControlPlane(directory, die_with_parent=True, apiserver_flags=FLAGS)
    plane.start()
    try:
        for folder in ("base", "hosts"):
            apply_path(plane, MANIFESTS / folder)
        one = (MANIFESTS / "hosts" / "one-host.yaml").read_text()
        plane.kubectl("apply", "-f", "-", stdin=one.replace("HOST", host))
        yield plane
    finally:
        plane.stop()


def apply_lanes(plane: ControlPlane) -> None:
    apply_path(plane, LANES)
    time.sleep(LANES_TAKEN_UP_S)


def remove_lanes(plane: ControlPlane) -> None:
    plane.kubectl("delete", "-k", str(LANES), "--ignore-not-found")
    time.sleep(LANES_TAKEN_UP_S)


async def fill(plane: ControlPlane, flood: Flood = GREAT) -> None:
    """What the tenant lists."""
    plane.kubectl("create", "namespace", NAMESPACE)
    plane.kubectl("apply", "-f", "-", stdin=RIGHTS)
    kubeconfig = plane.admin_kubeconfig()
    slots = asyncio.Semaphore(16)
    async with await _session(kubeconfig) as session:

        async def one(number: int) -> None:
            body = {"metadata": {"name": f"m{number}"}, "data": {"x": "x" * MAP_BYTES}}
            async with slots, session.post(PATH, json=body) as answer:
                answer.raise_for_status()

        await asyncio.gather(*(one(number) for number in range(flood.maps)))


@contextmanager
def flooding(plane: ControlPlane, flood: Flood = GREAT) -> Iterator[None]:
    """It has begun, and goes on until the block ends."""
    kubeconfig = plane.user_kubeconfig(TENANT)
    program = (sys.executable, "-m", "tandem_lab.flood", str(kubeconfig))
    count = flood.processes
    processes = [subprocess.Popen(program, env=daemon_environment()) for _ in range(count)]
    try:
        time.sleep(BEGUN_S)
        if any(process.poll() is not None for process in processes):
            raise RuntimeError("the flood has ended")
        yield
    finally:
        for process in processes:
            process.kill()
            process.wait()


async def beats_s(client: KubeClient, host: str, for_s: float) -> list[float]:
    """How long each of a host's heartbeats took; LATE_S for one without an answer."""
    found: list[float] = []

    async def beat() -> None:
        began_s = time.monotonic()
        try:
            await client.renew_lease(lease_name(host), holder=host, duration_s=10, timeout_s=LATE_S)
        except KubeError:
            found.append(LATE_S)
        else:
            found.append(time.monotonic() - began_s)

    beating = []
    for _ in range(int(for_s / INTERVAL_S)):
        beating.append(asyncio.create_task(beat()))
        await asyncio.sleep(INTERVAL_S)
    await asyncio.gather(*beating)
    return found


async def level_of(kubeconfig: Path, path: str) -> tuple[str, str]:
    """The uids of the FlowSchema and the priority level that a request for this path is put in."""
    async with await _session(kubeconfig) as session:
        for _ in range(TRIES):  # a kind's cache may be being filled still, which answers 429
            async with session.get(path) as answer:
                if answer.ok:
                    found = (answer.headers[f"X-Kubernetes-PF-{name}-UID"] for name in PUT_IN)
                    schema, level = found
                    return schema, level
            await asyncio.sleep(INTERVAL_S)
    raise RuntimeError(f"{path}: {answer.status}")


async def _session(kubeconfig: Path) -> aiohttp.ClientSession:
    client = await KubeClient.load(kubeconfig, component="flood")
    where = client.connection()
    await client.close()
    context = ssl.create_default_context(cafile=where.ca_path)
    if where.certificate_path:
        context.load_cert_chain(where.certificate_path, where.key_path)
    headers = {"Accept-Encoding": "identity"}  # so that it is the server that is kept busy
    if where.token:
        headers["Authorization"] = f"Bearer {where.token}"
    connector = aiohttp.TCPConnector(ssl=context, limit=CONNECTIONS)
    return aiohttp.ClientSession(where.server, connector=connector, headers=headers)


async def _flood(kubeconfig: Path) -> None:
    async def one(session: aiohttp.ClientSession) -> None:
        while True:
            async with session.get(f"{PATH}?pretty=true") as answer:
                async for _ in answer.content.iter_any():
                    pass

    async with await _session(kubeconfig) as session:
        await asyncio.gather(*(one(session) for _ in range(CONNECTIONS)))


if __name__ == "__main__":
    asyncio.run(_flood(Path(sys.argv[1])))
