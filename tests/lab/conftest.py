"""The lab for tests that need real kernels, real DRBD and real libvirt.

One lab at a time: the session holds the lab's lock. It is set up (which costs a second when
nothing changed), booted once with empty disks, and taken down at the end. A test that kills or
cuts something calls `restored_lab`, which brings hosts and links back afterwards.

Tests of Tandem itself use `tandem`: the same lab with everything deployed in it, once for all of
them. Before each test it is redundant and running; if what an earlier test left cannot be
repaired, it is deployed afresh. After each test the guest's history is checked.

TANDEM_LAB_KEEP=1 uses a deployment that is still up, and leaves it up: for writing tests.
"""

from __future__ import annotations

import os
from collections.abc import Iterator

import pytest

from tandem_lab.controlplane import ControlPlaneError, ProcessError
from tandem_lab.deployment import Deployment
from tandem_lab.lab import Lab
from tandem_lab.prepare import prepare
from tandem_lab.settings import LabError, Settings
from tandem_lab.topology import CUTTABLE_LINKS

from .deployed import Deployed

LOCK_TIMEOUT_S = 200.0
KEEP = bool(os.environ.get("TANDEM_LAB_KEEP"))


@pytest.fixture(scope="session")
def locked_lab() -> Iterator[Lab]:
    """A lab that nobody else uses; whether it is up is for others to say."""
    if os.geteuid() != 0:
        pytest.skip("the lab needs root")
    prepare(print)
    lab = Lab(Settings.from_environment())
    with lab.exclusive(LOCK_TIMEOUT_S):
        yield lab


@pytest.fixture(scope="session")
def lab(locked_lab: Lab) -> Iterator[Lab]:
    """A lab with all hosts up, on empty disks."""
    locked_lab.up(fresh=True)
    try:
        yield locked_lab
    finally:
        locked_lab.down()


@pytest.fixture
def restored_lab(lab: Lab) -> Iterator[Lab]:
    """The lab, with every link healed and every host up again after the test."""
    yield lab
    for link in CUTTABLE_LINKS:
        lab.link(link.name).heal()
    for host in lab.hosts:
        if host.state().paused:
            host.resume()
        if not host.is_up:
            host.start()


@pytest.fixture(scope="session")
def deployed(locked_lab: Lab) -> Iterator[Deployed]:
    """Tandem in the lab; `tandem` is what tests use."""
    deployed = Deployed(Deployment(locked_lab))
    if KEEP and locked_lab.is_up and deployed.deployment.plane.running():
        deployed.adopt()
    else:
        deployed.deploy()
    try:
        yield deployed
    finally:
        if not KEEP:
            deployed.deployment.down()


@pytest.fixture
def tandem(deployed: Deployed) -> Iterator[Deployed]:
    """Tandem with one guest, redundant and running."""
    try:
        deployed.settle()
    except (LabError, ControlPlaneError, ProcessError) as error:
        print(f"deploying afresh: {error}\nthe logs until now: {deployed.keep_logs()}")
        deployed.deploy()
    deployed.forget_history()
    yield deployed
    deployed.check_history()
