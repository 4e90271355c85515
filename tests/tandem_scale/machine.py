"""A host with many guests, on a real event loop and the machine's own clock.

The actuator is the installed one, put together by its own ``program``; so are its adapters of the
API, DRBD's text, libvirt and files. Behind them stand the simulator's API server and libvirtd,
whose time is the loop's here, and a DRBD that is text. Called by ``measure``.
"""

import asyncio
import json
import random
from collections import deque
from collections.abc import Callable, Collection, Mapping
from functools import partial
from pathlib import Path

from sim.apiserver import Api, Server, SimTransport
from sim.apiserver.handler import Request
from sim.libvirt.libvirtd import SimulatedLibvirtd
from sim.libvirt.processes import Idle
from sim.network.links import MANAGEMENT, Network
from sim.objects import guest_of, mirror_of, sites_and_hosts
from tandem_actuator.adapters.files.looks import LooksFile
from tandem_actuator.adapters.files.object_cache import ObjectCache
from tandem_actuator.adapters.files.permit import PermitFile
from tandem_actuator.adapters.files.records import FileRecords
from tandem_actuator.adapters.files.starts import StartsFile
from tandem_actuator.adapters.kube_api import KubeApi
from tandem_actuator.adapters.libvirt.host import LibvirtHost
from tandem_actuator.adapters.libvirt.network import TapNetwork
from tandem_actuator.adapters.libvirt.premises import LocalPremises
from tandem_actuator.adapters.linux.clock import SystemClock
from tandem_actuator.adapters.linux.threads import Stores
from tandem_actuator.core.guest.domain_xml import DomainSettings
from tandem_actuator.core.model import Record
from tandem_actuator.run.collecting import Collecting
from tandem_actuator.run.metrics import Metrics
from tandem_actuator.run.outside import Kept, Ports
from tandem_actuator.run.program import Outside, program
from tandem_actuator.run.watchdog import KeptWatchdog
from tandem_api.authority import Authority, Instance, Mode
from tandem_api.kinds.guest import Assignment, FencingProof, Guest, ProofKind
from tandem_api.kinds.mirror import DeviceNumbers, Mirror, ReplicaReport
from tandem_api.lease import HeartbeatContent
from tandem_api.reasons import Reason
from tandem_api.timing import DEFAULT
from tandem_kube import KubeClient
from tandem_scale.kernel import FIRST_PORT, Drbd, Kernel
from tandem_scenario.plan import GuestPlan, WorldPlan
from unit.builders import YES

HERE, THERE = "burjassot-1", "tarongers-1"
PEER = "198.51.100.12"
LOST = Instance(node=THERE, boot_id="boot1", run_id="run1")
EPOCH = 5
STORES_AT_A_TIME = 16
START_S = (0.3, 0.3)
"""The pretended libvirt takes so long to start a guest, and serves five at a time, as the real."""
PUT_AT_A_TIME = 10


class Watchdog(KeptWatchdog):
    """The real one's side in the actuator; ``on_feed`` sees each deadline that the guard tells."""

    on_feed: Callable[[float], None] = staticmethod(lambda deadline_s: None)

    def feed_until(self, deadline_s: float) -> None:
        self.on_feed(deadline_s)
        super().feed_until(deadline_s)


class Keeper:
    """A keeper that takes each order. The KeeperProcess port, and its Stream."""

    def __init__(self) -> None:
        self._answers: deque[bytes] = deque()
        self._answered = asyncio.Event()

    async def connect(self) -> "Keeper":
        return self

    async def start(self) -> None:
        raise OSError("it runs")

    def send(self, data: bytes) -> int:
        order = json.loads(data)
        if "arm" in order:
            answer = {"error": None, "timeout": order["arm"]}
            self._answers.append(json.dumps(answer).encode() + b"\n")
            self._answered.set()
        return len(data)

    def receive(self) -> bytes:
        if not self._answers:
            raise BlockingIOError
        return self._answers.popleft()

    async def readable(self) -> None:
        await self._answered.wait()
        self._answered.clear()

    def close(self) -> None:
        pass


class Premises(LocalPremises):
    """It looks as the real one does, and finds each device to be as large as it is to be."""

    async def device_bytes(self, paths: Collection[str]) -> Mapping[str, int]:
        await super().device_bytes(paths)
        return dict.fromkeys(paths, 2**30)


def numbers_of(minor: int) -> DeviceNumbers:
    return DeviceNumbers(port=FIRST_PORT + minor, minors={"root": minor})


class Host:
    """The host that is measured, and the world around it. The other host is lost, and was the owner
    of everything.
    """

    def __init__(self, guests: int, major: int, folder: Path, run: Path) -> None:
        self.plans = [GuestPlan(f"g{number}") for number in range(guests)]
        self.folder, self.run, self.clock, chance = folder, run, SystemClock(), random.Random(1)
        loop, self.network = asyncio.get_running_loop(), Network()

        def after(delay_s: float, action: Callable[[], None]) -> None:
            loop.call_later(max(0.0, delay_s), action)

        self.server = Server(self.clock.boottime_s, self.clock.wall, policed=False)
        self.api = Api(self.server, self.network, chance, after, self.clock.boottime_s)
        self.written = 0
        self.api.heard = self._heard
        self.libvirtd = SimulatedLibvirtd(after, chance, self._guest)
        self.libvirtd.start_s, self.libvirtd.ready = START_S, True
        self.executing: set[str] = set()
        self.ended: dict[str, float] = {}
        names = [mirror_of(plan, (HERE, THERE), plan.name).drbd_name for plan in self.plans]
        self.kernel = Kernel(names, major, folder)
        self.drbd = Drbd(self.kernel, self.clock, PEER)
        self.watchdog, self.metrics = Watchdog(Keeper()), Metrics()
        self.actuator = program(self._outside(major), self.metrics)
        self.actuator.heart.after_each = Collecting(self.clock).heartbeat
        self.drbd.asks = self._asks

    def _guest(self, name: str, xml: str, told: Callable[[], None]) -> Idle:
        guest = Idle(name)
        guest.told = partial(self._guest_told, guest, told)
        return guest

    def _guest_told(self, guest: Idle, told: Callable[[], None]) -> None:
        if guest.executing:
            self.executing.add(guest.name)
        else:
            self.executing.discard(guest.name)
            self.ended[guest.name] = self.clock.boottime_s()
        told()

    async def _asks(self, resource: str) -> int:
        """The fence-peer program, which is another process."""
        code, _ = await self.actuator.answers.fence_peer({"DRBD_RESOURCE": resource})
        return code

    def _heard(self, host: str, request: Request, code: int) -> None:
        self.written += request.writes and "/leases/" not in request.path

    def _client(self, host: str) -> KubeClient:
        return KubeClient(SimTransport(self.api.wire(host)), "bench")

    def _outside(self, major: int) -> Outside:
        instance, run = Instance(node=HERE, boot_id="boot1", run_id="run1"), self.run
        processes = self.libvirtd.processes
        ports = Ports(
            api=KubeApi(self._client(HERE), heart=self._client(HERE)),
            drbd=self.drbd,
            libvirt=LibvirtHost(self.libvirtd, processes),
            network=TapNetwork(processes, self.libvirtd.taps),
            records=FileRecords(self.folder / "mirrors"),
            clock=self.clock,
            premises=Premises(self.libvirtd),
            off_loop=Stores(STORES_AT_A_TIME).run,
        )
        return Outside(
            instance=instance,
            ports=ports,
            watchdog=self.watchdog,
            kept=Kept(
                permits=PermitFile(run, instance.boot_id),
                starts=StartsFile(run, instance.boot_id, "1"),
                looks=LooksFile(run, instance.boot_id),
                cache=ObjectCache(run / "objects"),
            ),
            domains=DomainSettings(kvm=True, serial_dir=str(run)),
            drbd_major=major,
            fence_peer="/usr/lib/tandem/fence-peer",
        )

    # --- what is in the API

    async def make_objects(self) -> None:
        """The lost host owns every mirror, and has sent its last heartbeat."""
        for obj in sites_and_hosts(WorldPlan(guests=tuple(self.plans))):
            self.server.put(obj, judged=False)
        records = FileRecords(self.folder / "mirrors")
        for minor, plan in enumerate(self.plans):
            mirror = self.server.put(mirror_of(plan, (HERE, THERE), plan.name), judged=False)
            status = mirror.status.model_copy(
                update={
                    "authority": self._authority(mirror),
                    "device_numbers": numbers_of(minor),
                }
            )
            self.server.put(mirror.model_copy(update={"status": status}), judged=False)
            self.server.put(guest_of(plan, plan.name), judged=False)
            uid = mirror.metadata.uid
            record = Record(uid=uid, incarnation=uid, max_epoch=EPOCH, attached=True)
            records.store(mirror.drbd_name, record)
        content = HeartbeatContent(
            host=THERE,
            site=THERE.partition("-")[0],
            instance=str(LOST),
            watchdog_armed=True,
            timing=DEFAULT,
        )
        await KubeApi(self._client(THERE)).renew(content)

    @staticmethod
    def _authority(mirror: Mirror) -> Authority:
        return Authority(
            epoch=EPOCH,
            incarnation=mirror.metadata.uid,
            owner=THERE,
            owner_instance=str(LOST),
            mode=Mode.MIRRORED,
            reason=Reason.CLAIMED,
            eligible={HERE: YES, THERE: YES},
        )

    async def assign_all(self) -> None:
        """To this host, with the proof that the other's lease was lost."""
        version = self.server.leases[THERE].version
        proof = FencingProof(
            kind=ProofKind.LEASE_LOST,
            host=THERE,
            instance=str(LOST),
            at_epoch=EPOCH,
            lease_version=version,
            watchdog=True,
        )
        order = Assignment(host=HERE, serial=2, reason=Reason.LEASE_LOST, proof=proof)
        for number, guest in enumerate(self.server.every(Guest)):
            status = guest.status.model_copy(update={"assignment": order})
            self.server.put(guest.model_copy(update={"status": status}), judged=False)
            if number % PUT_AT_A_TIME == 0:
                await asyncio.sleep(0)

    async def peer_returns(self) -> None:
        """It says of every mirror that it is connected, and its replica not marked."""
        report = ReplicaReport(connection="Connected", role="Secondary", epoch_seen=EPOCH)
        for number, mirror in enumerate(self.server.every(Mirror)):
            replicas = {**mirror.status.replicas, THERE: report}
            status = mirror.status.model_copy(update={"replicas": replicas})
            self.server.put(mirror.model_copy(update={"status": status}), judged=False)
            if number % PUT_AT_A_TIME == 0:
                await asyncio.sleep(0)

    def lose_api(self) -> None:
        self.network.cut(MANAGEMENT, HERE)
