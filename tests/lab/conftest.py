"""The lab for tests that need real kernels, real DRBD and real libvirt.

One lab at a time: the session holds the lab's lock. It is set up (which costs a second when
nothing changed), booted once with empty disks, and taken down at the end. A test that kills or
cuts something calls `restored_lab`, which brings hosts and links back afterwards.
"""

from __future__ import annotations

import os
from collections.abc import Iterator

import pytest

from tandem_lab.lab import Lab
from tandem_lab.settings import Settings
from tandem_lab.setup.steps import set_up
from tandem_lab.topology import CUTTABLE_LINKS

LOCK_TIMEOUT_S = 900.0


@pytest.fixture(scope="session")
def lab() -> Iterator[Lab]:
    """A lab with all hosts up, on empty disks."""
    if os.geteuid() != 0:
        pytest.skip("the lab needs root")
    settings = Settings.from_environment()
    set_up(settings, print)
    lab = Lab(settings)
    with lab.exclusive(LOCK_TIMEOUT_S):
        lab.up(fresh=True)
        try:
            yield lab
        finally:
            lab.down()


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
