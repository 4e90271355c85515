"""One run of the real actuator on one simulated machine. Called by ``world``.

The program is the product's, from its assembly on, on an event loop of its own. Here is only what
stands between it and the machine, and what a scenario may want to happen right after an effect.
"""

import asyncio
import random
from collections.abc import AsyncIterator, Callable
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import Any, TypeVar

from sim.apiserver import SimTransport
from sim.drbd.handlers import SOCKET
from sim.engine.kernel import Group
from sim.engine.loop import Loop
from sim.host.host import STATE, Machine
from sim.programs.bugs import STEP, Bugs, Planted
from sim.programs.ports import Drbd, Premises
from tandem_actuator.adapters.fence_server import FenceServer
from tandem_actuator.adapters.files.looks import LooksFile
from tandem_actuator.adapters.files.object_cache import ObjectCache
from tandem_actuator.adapters.files.permit import PermitFile
from tandem_actuator.adapters.files.records import FileRecords
from tandem_actuator.adapters.files.starts import StartsFile
from tandem_actuator.adapters.kube_api import KubeApi
from tandem_actuator.adapters.libvirt.host import LibvirtHost
from tandem_actuator.adapters.libvirt.network import TapNetwork
from tandem_actuator.core import effects as fx
from tandem_actuator.core.guest.domain_xml import DomainSettings
from tandem_actuator.ports.api import Changed, Removed, Synced, Unheard
from tandem_actuator.ports.migration import Migrations
from tandem_actuator.ports.watchdog import Watchdog
from tandem_actuator.run.driver import Driver
from tandem_actuator.run.metrics import Metrics
from tandem_actuator.run.outside import Kept, Ports
from tandem_actuator.run.program import Outside, program
from tandem_actuator.run.watchdog import KeptWatchdog, NoWatchdog
from tandem_actuator.run.workload import Unit
from tandem_api.authority import Authority, Instance
from tandem_api.kinds.mirror import Mirror
from tandem_api.meta import ObjectKey, Resource
from tandem_kube import KubeClient
from tandem_scenario.scenario import ANY_EFFECT

R = TypeVar("R", bound=Resource)

RUN = Path("/run/tandem")
STOPPING = (fx.CutNetwork, fx.DestroyGuest, fx.Demote)
"""A bug in a step is in none of these: how a guest is stopped is the guard's."""


class SpoiltApi(KubeApi):
    """The product's adapter; what comes through it is as a program with bugs has it."""

    spoilt: Callable[[Any], Any] = staticmethod(lambda obj: obj)

    async def read_mirror(self, key: ObjectKey) -> Mirror:
        mirror: Mirror = self.spoilt(await super().read_mirror(key))
        return mirror

    async def swap_authority(
        self, key: ObjectKey, uid: str, expected_epoch: int, authority: Authority
    ) -> Mirror:
        swapped = await super().swap_authority(key, uid, expected_epoch, authority)
        mirror: Mirror = self.spoilt(swapped)
        return mirror

    async def watch(
        self, kind: type[R]
    ) -> AsyncIterator[Synced[R] | Changed[R] | Removed | Unheard]:
        async for change in super().watch(kind):
            match change:
                case Synced(objects):
                    yield Synced(tuple(map(self.spoilt, objects)))
                case Changed(obj):
                    yield Changed(self.spoilt(obj))
                case _:
                    yield change


def forget_exits(machine: Machine) -> None:
    """A person ends the program in an orderly way, or upgrades it: that is no quick exit."""
    StartsFile(RUN, machine.boot_id, "1", machine.run_files).store(0)


@dataclass
class Awaited:
    """What is to be done after the ``left``-th effect of this name from now on."""

    effect: str
    left: int
    action: Callable[[], None]


@dataclass
class Crash:
    """Ends something right after a host's n-th effect; ``count`` goes on over restarts.

    ``awaited``: what else shall be done right after some effect.
    """

    after: int = -1
    action: Callable[[], None] = lambda: None
    count: int = 0
    seen: list[str] = field(default_factory=list)
    awaited: list[Awaited] = field(default_factory=list)

    def performed(self, effect: fx.Effect) -> bool:
        """It was carried out, and who ordered it has not heard of it yet. Whether anything shall
        happen at this very moment.
        """
        name = type(effect).__name__
        self.count += 1
        self.seen.append(name)
        crashes = self.count - 1 == self.after
        if crashes:
            self.action()
        return self.happened(name, ANY_EFFECT) or crashes

    def happened(self, *names: str) -> bool:
        """An effect or a moment. Whether it was awaited."""
        for awaited in self.awaited:
            awaited.left -= awaited.effect in names
        due = [awaited.action for awaited in self.awaited if not awaited.left]
        self.awaited = [awaited for awaited in self.awaited if awaited.left]
        for action in due:
            action()
        return bool(due)


SYNC_S = (0.001, 0.02)
"""A disk that keeps what it acknowledged takes so long to write a small file."""


class Actuator:
    """One run. ``ways``: to the API server, and to the other hosts. ``ended``: told when the
    program ends by itself, and why.
    """

    def __init__(
        self,
        machine: Machine,
        ways: tuple[Callable[[Group], SimTransport], Callable[[Machine, Group], Migrations]],
        crash: Crash,
        ended: Callable[[BaseException | None], None],
        bugs: Bugs,
    ) -> None:
        self.machine, self.crash, self.bugs = machine, crash, bugs
        self.name = machine.host.name
        self.group = Group(f"actuator@{self.name}", machine.group)
        self.loop = Loop(machine.kernel, self.group, machine.boottime_s, ended)
        self.loop.late_s = machine.host.late_s
        machine.runs_started += 1
        self.drbd = Drbd(machine, bugs)
        transport, migrations = ways
        self.migrations = migrations(machine, self.group)
        self.group.told.append(self._told)
        chance = random.Random(machine.kernel.random.getrandbits(64))
        wall = partial(machine.host.log.moment, self.name)
        client, heart = (
            KubeClient(ways, "tandem-actuator", wall=wall, chance=chance)
            for ways in (transport(self.group), transport(self.group))
        )
        metrics = Metrics()
        api = SpoiltApi(client, metrics.watch_restarted, heart)
        api.spoilt = partial(bugs.spoilt, self.name)
        self.program = program(self._outside(api, chance), metrics, self._driver())

    def _told(self) -> None:
        """A program that has ended holds no connection any more."""
        if not self.group.alive:
            self.machine.libvirt.hang_up_on(self.loop.asyncio)
            self.machine.handlers.sockets.program_ends(self.loop.asyncio)

    def _outside(self, api: KubeApi, chance: random.Random) -> Outside:
        machine = self.machine
        instance = Instance(
            node=self.name, boot_id=machine.boot_id, run_id=f"run{machine.runs_started}"
        )
        ports = Ports(
            api=api,
            drbd=self.drbd,
            libvirt=LibvirtHost(machine.libvirt, machine.libvirt.processes),
            network=TapNetwork(machine.libvirt.processes, machine.libvirt.taps),
            records=FileRecords(STATE, machine.host.files),
            clock=machine.clock,
            premises=Premises(),
            migrations=self.migrations,
            chance=chance,
            off_loop=self._off_loop,
        )
        configured = machine.host.watchdog_configured
        keeper = machine.keepers.seen_by(self.group)
        watchdog: Watchdog = KeptWatchdog(keeper) if configured else NoWatchdog()
        return Outside(
            instance=instance,
            ports=ports,
            watchdog=watchdog,
            kept=Kept(
                permits=PermitFile(RUN, machine.boot_id, machine.run_files),
                starts=StartsFile(RUN, machine.boot_id, "1", machine.run_files),
                looks=LooksFile(RUN, machine.boot_id, machine.run_files),
                cache=ObjectCache(RUN / "objects", machine.run_files),
            ),
            domains=DomainSettings(kvm=True, serial_dir="/run/tandem/serial"),
            drbd_major=machine.host.drbd.major,
            fence_peer="/usr/lib/tandem/fence-peer",
        )

    async def _off_loop(self, work: Callable[[], None]) -> None:
        """Somewhere within the time that it takes it is done."""
        for action in (work, lambda: None):
            await asyncio.sleep(self.machine.kernel.random.uniform(*SYNC_S) / 2)
            action()

    def _driver(self) -> type[Driver]:
        crash, bugs, name = self.crash, self.bugs, self.name

        class Told(Driver):
            """The driver, and the world is told of each effect before its outcome is known."""

            async def perform(self, unit: Unit, effect: fx.Effect) -> fx.Outcome:
                outcome = await super().perform(unit, effect)
                if bugs.at(name, STEP, unit.mirror.key) and not isinstance(effect, STOPPING):
                    raise Planted(f"after {effect}")
                if crash.performed(effect):
                    await asyncio.sleep(0)
                return outcome

        return Told

    @property
    def units(self) -> list[Unit]:
        return self.program.units

    def spoil(self) -> None:
        """What it has in memory is met by the bugs, too, that are planted now."""
        for unit in self.units:
            unit.mirror = self.bugs.spoilt(self.name, unit.mirror)
            unit.guest = self.bugs.spoilt(self.name, unit.guest) if unit.guest else None

    def begin(self) -> None:
        self.loop.begin(self._run())

    async def _run(self) -> None:
        async with FenceServer(
            SOCKET, self.program.answers.fence_peer, self.machine.handlers.sockets
        ):
            await self.program.run()
