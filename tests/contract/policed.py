"""A guest on a mirror, on a server with the policies in force: the simulated one and the real one.

Fixtures; ``conftest`` has them.
"""

import asyncio
import random
from collections.abc import AsyncIterator, Iterator

import pytest

from integration.identities import Clients, Scene, clients_of, policies_on, scene_in
from sim.apiserver import Api, Server, SimTransport
from sim.network.links import Network
from tandem_api.lease import lease_name
from tandem_api.meta import ObjectKey
from tandem_hostile import A, B
from tandem_kube import LEASES, KubeClient, NotFound
from tandem_lab.controlplane import ADMINISTRATOR, ControlPlane

from .apiservers import fresh_name


@pytest.fixture(scope="module")
def policed(kinds: ControlPlane) -> Iterator[ControlPlane]:
    with policies_on(kinds):
        yield kinds


@pytest.fixture(params=["simulated", pytest.param("real", marks=pytest.mark.integration)])
async def scene(request: pytest.FixtureRequest) -> AsyncIterator[Scene]:
    name = fresh_name()
    if request.param == "simulated":
        yield await scene_in(simulated_clients(name), name)
        return
    plane: ControlPlane = request.getfixturevalue("policed")
    plane.kubectl("create", "namespace", name)
    async with clients_of(plane) as clients:
        for host in (A, B, "new"):
            await without_lease(clients, lease_name(host))
        yield await scene_in(clients, name)
    plane.kubectl("delete", "namespace", name, "--wait=false")


def simulated_clients(namespace: str) -> Clients:
    loop = asyncio.get_running_loop()
    server, chance = Server(loop.time), random.Random(1)
    server.people.add(ADMINISTRATOR)
    server.handler.namespaces.add(namespace)
    api = Api(server, Network(), chance, loop.call_later, loop.time, latency_s=(0.0, 0.001))
    wires = (api.wire(who) for who in (ADMINISTRATOR, "", A, B))
    return Clients(*(KubeClient(SimTransport(wire), "test", chance=chance) for wire in wires))


async def without_lease(clients: Clients, name: str) -> None:
    try:
        await clients.admin.delete(LEASES, ObjectKey("tandem-system", name))
    except NotFound:
        return
