"""Fixtures with a real Kubernetes API server on the loopback.

The server is started once a session, in seconds. Its programs are found or, once, built, before
the first test starts: a build of minutes must not count against a test's timeout.
"""

from __future__ import annotations

import contextlib
import fcntl
import tempfile
import time
import uuid
from collections.abc import Iterator
from contextlib import contextmanager
from itertools import count
from pathlib import Path

import pytest

from tandem_api.registry import KINDS
from tandem_lab.apt import AptError
from tandem_lab.controlplane import (
    BuildError,
    ControlPlane,
    ControlPlaneError,
    apply_path,
    find_binaries,
)

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
