"""Fixtures with a real Kubernetes API server on the loopback.

The server is started once a session, in seconds. Its programs are found or, once, built, before
the first test starts: a build of minutes must not count against a test's timeout.
"""

from __future__ import annotations

import asyncio
import contextlib
import fcntl
import tempfile
import time
import uuid
from collections.abc import AsyncIterator, Iterator
from contextlib import contextmanager
from itertools import count
from pathlib import Path
from typing import Any

import pytest

from tandem_api.meta import ObjectKey
from tandem_api.registry import KINDS
from tandem_kube import GUESTS, HOSTS, LEASES, MIRRORS, SITES, KubeClient
from tandem_kube.kinds import Kind
from tandem_lab.apt import AptError
from tandem_lab.controlplane import (
    BuildError,
    ControlPlane,
    ControlPlaneError,
    apply_path,
    find_binaries,
)

from .pretended import PATIENCE_S, PretendedHost, World


@pytest.fixture
async def client(kinds: ControlPlane) -> AsyncIterator[KubeClient]:
    made = await KubeClient.load(kinds.admin_kubeconfig(), component="test")
    yield made
    await made.close()


@pytest.fixture
async def world(
    api_server: ControlPlane, client: KubeClient, namespace: str
) -> AsyncIterator[World]:
    await _clean(client)  # what a test left that failed while it was set up
    tag = uuid.uuid4().hex[:5]
    hosts = {
        side: PretendedHost(client, f"{side}-{tag}", f"site-{side}-{tag}") for side in ("a", "b")
    }
    for number, host in enumerate(hosts.values()):
        site = {"metadata": {"name": host.site}, "spec": {"profile": "Fast"}}
        await client.create(SITES, site, timeout_s=PATIENCE_S)
        spec = {"site": host.site, "replicationAddress": f"198.51.100.{number + 1}"}
        body = {"metadata": {"name": host.name}, "spec": spec}
        await client.create(HOSTS, body, timeout_s=PATIENCE_S)
    beating = [asyncio.create_task(host.run()) for host in hosts.values()]
    yield World(api_server, client, namespace, tag, hosts)
    for task in beating:
        task.cancel()
    await _clean(client)


async def _clean(client: KubeClient) -> None:
    """Leave nothing that the next test's controller would act on."""
    for item in (await client.list(GUESTS)).items:
        key = ObjectKey(namespace=item["metadata"]["namespace"], name=item["metadata"]["name"])
        await client.merge_patch(GUESTS, key, {"metadata": {"finalizers": []}})
        await client.delete(GUESTS, key)
    await _delete_all(client, MIRRORS)
    await _delete_all(client, HOSTS)
    await _delete_all(client, SITES)
    await _delete_all(client, LEASES)


async def _delete_all(client: KubeClient, kind: Kind[Any]) -> None:
    namespace = "tandem-system" if kind is LEASES else None
    for item in (await client.list(kind, namespace)).items:
        metadata = item["metadata"]
        key = ObjectKey(namespace=metadata.get("namespace", ""), name=metadata["name"])
        await client.delete(kind, key)


CRDS = Path(__file__).parents[2] / "crds"
SERVED_S = 30.0


def pytest_collection_finish(session: pytest.Session) -> None:
    """Get the servers' programs, if a test that needs them was selected."""
    chosen = any(item.get_closest_marker("integration") for item in session.items)
    if not chosen or session.config.option.collectonly:
        return
    reporter = session.config.pluginmanager.get_plugin("terminalreporter")
    assert reporter is not None
    try:
        find_binaries(reporter.write_line)
    except (BuildError, AptError) as error:
        raise pytest.UsageError(f"no kube-apiserver: {error}") from error


@pytest.fixture(scope="session")
def api_server() -> Iterator[ControlPlane]:
    """A control plane of this session's own. Tests share it: leave it running and resumed."""
    with _state_directory() as directory:
        plane = ControlPlane(directory, die_with_parent=True)
        plane.start()
        try:
            yield plane
        finally:
            plane.stop()


@pytest.fixture(scope="session")
def kinds(api_server: ControlPlane) -> ControlPlane:
    """The same control plane, with Tandem's kinds and its namespace."""
    apply_path(api_server, CRDS)
    with contextlib.suppress(ControlPlaneError):  # a test before made it
        api_server.kubectl("create", "namespace", "tandem-system")
    until_served(api_server)
    return api_server


def until_served(plane: ControlPlane) -> None:
    """A new kind's storage is not there at once."""
    kinds = ",".join(info.plural for info in KINDS)
    deadline_s = time.monotonic() + SERVED_S
    while True:
        try:
            plane.kubectl("get", kinds, "--all-namespaces")
        except ControlPlaneError:
            if time.monotonic() > deadline_s:
                raise
            time.sleep(0.5)
        else:
            return


@pytest.fixture
def namespace(api_server: ControlPlane) -> Iterator[str]:
    """The name of a fresh namespace; its end is asked for and not waited for."""
    name = f"test-{uuid.uuid4().hex[:10]}"
    api_server.kubectl("create", "namespace", name)
    yield name
    api_server.kubectl("delete", "namespace", name, "--wait=false")


@contextmanager
def _state_directory() -> Iterator[Path]:
    """The first state folder that no other session holds.

    Folders are reused, so that what a killed session left behind is cleaned up by the next one.
    """
    root = Path(tempfile.gettempdir()) / "tandem-integration"
    root.mkdir(exist_ok=True)
    for number in count():
        with (root / f"{number}.lock").open("w") as lock:
            try:
                fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except BlockingIOError:
                continue
            yield root / str(number)
            return
