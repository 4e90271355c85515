"""A cluster with real nodes and Tandem in it, once for all of these tests.

It is made before the first test begins: building images must not count against a test's timeout.
"""

from __future__ import annotations

import os
from collections.abc import Iterator

import pytest

from tandem_lab.pods.__main__ import Steps, installed
from tandem_lab.pods.cluster import Cluster
from tandem_lab.pods.drill import Drill
from tandem_lab.pods.installation import Installation
from tandem_lab.pods.prepare import prepare


@pytest.fixture(scope="session")
def cluster() -> Iterator[Cluster]:
    """A cluster that nobody else uses."""
    if os.geteuid() != 0:
        pytest.skip("the nodes need root")
    cluster = Cluster()
    with cluster.exclusive():
        yield cluster


@pytest.fixture(scope="session")
def installation(cluster: Cluster) -> Iterator[Installation]:
    """Tandem installed by the steps of docs/installation.md."""
    with installed(cluster, prepare(cluster.settings, print), Steps()) as installation:
        yield installation


@pytest.fixture(scope="session")
def drill(cluster: Cluster, installation: Installation) -> Iterator[Drill]:
    """Two sites, and a guest that runs at one of them."""
    drill = Drill(cluster, installation)
    try:
        drill.begin()
        yield drill
    finally:
        drill.end()
