"""Fixtures that give a test the fake and the real thing in turn."""

import contextlib
import itertools
import os
from collections.abc import AsyncIterator, Iterator
from pathlib import Path

import pytest

from integration.conftest import api_server as api_server
from integration.conftest import kinds as kinds
from sim.drbd.version import EIGHT, NINE
from tandem_api.kinds.mirror import Protocol
from tandem_kube import KubeClient
from tandem_lab.agent_client import CommandError
from tandem_lab.lab import Lab
from tandem_lab.settings import Settings
from tandem_lab.setup.steps import set_up

from .apiservers import ApiServer, RealServer, SimulatedServer, fresh_name
from .drbd_pairs import Pair, lab_pair, simulated_pair
from .file_systems import Place, real_place, simulated_place
from .policed import policed as policed
from .policed import scene as scene
from .remote_ports import start_port_server

LOCK_TIMEOUT_S = 900.0
_mirror_numbers = itertools.count(1)


@pytest.fixture(scope="module")
def contract_lab() -> Iterator[Lab]:
    """The lab with a port server in every host; down again, and unlocked, after each module."""
    if os.geteuid() != 0:
        pytest.skip("the lab needs root")
    settings = Settings.from_environment()
    set_up(settings, print)
    lab = Lab(settings)
    with lab.exclusive(LOCK_TIMEOUT_S):
        lab.up(fresh=True)
        try:
            for host in lab.hosts:
                start_port_server(host, settings)
            yield lab
        finally:
            lab.down()


@pytest.fixture(params=["simulated", "simulated-9", pytest.param("lab", marks=pytest.mark.lab)])
async def pair(request: pytest.FixtureRequest) -> AsyncIterator[Pair]:
    """A mirror that nothing has been done for yet; of another protocol, if a mark says so.

    The lab's DRBD is 8.4, or the one that is given.
    """
    marked = request.node.get_closest_marker("replication")
    protocol = Protocol(marked.args[0]) if marked else Protocol.C
    if request.param != "lab":
        yield simulated_pair(protocol, NINE if request.param == "simulated-9" else EIGHT)
        return
    lab: Lab = request.getfixturevalue("contract_lab")
    number = next(_mirror_numbers)
    made = lab_pair(lab, f"m{number}", 10 * number, protocol)
    for site in (made.a, made.b):
        await site.fence_answers(1)
        await site.times_asked()
    yield made
    await made.heal()
    for host in lab.hosts:
        name = made.mirror.drbd_name
        down = f"drbdsetup resume-io {10 * number} || true; timeout 10 drbdadm down {name} || true"
        with contextlib.suppress(CommandError):  # where DRBD hangs: the lab ends with its module
            host.shell(down)


@pytest.fixture(params=["real", "simulated"])
def place(request: pytest.FixtureRequest, tmp_path: Path) -> Place:
    """A file system."""
    return real_place(tmp_path) if request.param == "real" else simulated_place()


@pytest.fixture(params=["simulated", pytest.param("real", marks=pytest.mark.integration)])
async def server(request: pytest.FixtureRequest) -> ApiServer:
    """Tests share the real one: leave it running and resumed."""
    if request.param == "simulated":
        return SimulatedServer()
    return RealServer(request.getfixturevalue("kinds"))


@pytest.fixture
async def client(server: ApiServer) -> AsyncIterator[KubeClient]:
    made = await server.client()
    yield made
    await made.close()


@pytest.fixture
def namespace(server: ApiServer) -> Iterator[str]:
    """The name of a fresh one; its end is asked for and not waited for."""
    name = fresh_name()
    server.make_namespace(name)
    yield name
    server.end_namespace(name)
