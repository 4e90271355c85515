"""An API server to test a client on: the simulated one and the real one, by the same few words."""

import asyncio
import random
import uuid
from typing import Protocol

from sim.apiserver import Api, Server, SimTransport
from sim.network.links import MANAGEMENT, Network
from tandem_kube import KubeClient, Pace
from tandem_kube.watch import PACE
from tandem_lab.controlplane import ControlPlane

HOST = "a-1"


class ApiServer(Protocol):
    """One that has Tandem's kinds."""

    async def client(self, pace: Pace = PACE) -> KubeClient:
        """One that may do everything."""
        ...

    async def stranger(self) -> KubeClient:
        """One that may do nothing."""
        ...

    def make_namespace(self, name: str) -> None: ...

    def end_namespace(self, name: str) -> None: ...

    def pause(self) -> None: ...

    def resume(self) -> None: ...

    def kill(self) -> None: ...

    def start(self) -> None: ...


class RealServer:
    """A control plane on the loopback."""

    def __init__(self, plane: ControlPlane) -> None:
        self._plane = plane

    async def client(self, pace: Pace = PACE) -> KubeClient:
        path = self._plane.admin_kubeconfig()
        return await KubeClient.load(path, component="test", pace=pace)

    async def stranger(self) -> KubeClient:
        return await KubeClient.load(self._plane.user_kubeconfig("stranger"))

    def make_namespace(self, name: str) -> None:
        self._plane.kubectl("create", "namespace", name)

    def end_namespace(self, name: str) -> None:
        self._plane.kubectl("delete", "namespace", name, "--wait=false")

    def pause(self) -> None:
        self._plane.pause()

    def resume(self) -> None:
        self._plane.resume()

    def kill(self) -> None:
        self._plane.kill_apiserver()

    def start(self) -> None:
        self._plane.start_apiserver()


class SimulatedServer:
    """The simulator's, here in real time. ``network`` lies between it and host ``HOST``."""

    def __init__(self) -> None:
        loop = asyncio.get_running_loop()
        self.network = Network()
        self.server = Server(loop.time, policed=False)
        self.api = Api(self.server, self.network, random.Random(1), loop.call_later, loop.time)
        self.api.latency_s = (0.0, 0.001)

    async def client(self, pace: Pace = PACE) -> KubeClient:
        transport = SimTransport(self.api.wire("person"))
        return KubeClient(transport, "test", pace, chance=self.api.chance)

    async def stranger(self) -> KubeClient:
        self.api.server.strangers.add("stranger")
        return KubeClient(SimTransport(self.api.wire("stranger")))

    def make_namespace(self, name: str) -> None:
        self.server.handler.namespaces.add(name)

    def end_namespace(self, name: str) -> None:
        self.server.handler.namespaces.discard(name)

    def pause(self) -> None:
        self.api.set_up(False)

    def resume(self) -> None:
        self.api.set_up(True)

    def kill(self) -> None:
        self.api.set_up(False, told=True)

    def start(self) -> None:
        self.api.set_up(True)


def fresh_name() -> str:
    return f"test-{uuid.uuid4().hex[:10]}"


__all__ = ["MANAGEMENT", "ApiServer", "RealServer", "SimulatedServer", "fresh_name"]
