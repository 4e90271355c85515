"""A host: its power, its clock, its watchdog, its libvirt, and what survives on its disks.

``Host`` holds the durable things for good and a ``Machine`` for as long as it is switched on.
Called by ``world`` (power), ``actuator`` and ``ports``.
"""

import random
import re
from collections.abc import Callable, Generator, Iterable
from dataclasses import dataclass, field
from pathlib import Path

from sim.drbd.disk import Backing
from sim.drbd.handlers import Handlers
from sim.drbd.pair import Pair
from sim.drbd.replica import Replica
from sim.drbd.version import EIGHT, Version
from sim.engine.events import Log
from sim.engine.kernel import Command, Group, Kernel
from sim.host.arrivals import Arrivals
from sim.host.files import SimFiles
from sim.host.watchdog import Hardware, Keepers
from sim.libvirt.guest import Referee, Run
from sim.libvirt.libvirtd import SimulatedLibvirtd
from sim.network.fence_channel import Roles, proc_drbd
from tandem_actuator.adapters.files.records import FileRecords
from tandem_actuator.core.model import Record
from tandem_actuator.ports import CommandFailed, PortError
from tandem_api.kinds.mirror import Mirror, Protocol

LIBVIRT_READY_S = (4.0, 9.0)
START_S = (0.8, 3.0)
DESTROY_S = (0.2, 0.8)
DESTROY_TIMEOUT_S = 4.0
START_TIMEOUT_S = 30.0
STATE = Path("/var/lib/tandem/mirrors")
"""Where an actuator keeps its records."""


class Clock:
    """The machine's, as its programs read it."""

    def __init__(self, machine: "Machine") -> None:
        self._machine = machine

    def boottime_s(self) -> float:
        return self._machine.boottime_s()

    def wall(self) -> str:
        return self._machine.host.log.wall(self._machine.host.name)


def _libvirtd(machine: "Machine") -> SimulatedLibvirtd:
    """Its domains are runs of guests on the machine's replicas."""
    host, kernel = machine.host, machine.kernel

    def make(name: str, xml: str, told: Callable[[], None]) -> Run:
        group, replica = Group(f"{name}@{host.name}", machine.group), machine.replica_in(xml)
        number, guest = kernel.number("run"), name.replace(".", "/", 1)
        run = Run(guest, host.name, replica, group, kernel, host.referee, number, kernel.now_s)
        run.period_s, run.told = host.write_period_s, told
        return run

    def after(delay_s: float, action: Callable[[], None]) -> None:
        kernel.after(delay_s, machine.group, action)

    return SimulatedLibvirtd(after, random.Random(kernel.random.getrandbits(64)), make)


@dataclass
class Machine:
    """A host that is switched on: everything that a power cut ends."""

    host: "Host"
    kernel: Kernel
    group: Group
    boot_id: str
    booted_at_s: float
    replicas: dict[str, Replica] = field(default_factory=dict)
    minors: dict[int, str] = field(default_factory=dict)
    runs_started: int = 0

    def __post_init__(self) -> None:
        kernel, chance = self.kernel, self.kernel.random
        self._true_s, self._boottime_s = self.booted_at_s, 1.0
        self.clock, self.libvirt = Clock(self), _libvirtd(self)
        self.arrivals = Arrivals()
        self.libvirt.on_refusal = self.host.on_refusal
        self.run_files = SimFiles(chance, tmpfs=True)
        self.hardware = Hardware(kernel, self.group, self.boottime_s, self.reset, chance)
        self.hardware.present = self.host.has_watchdog
        self.hardware.smallest_s = self.host.watchdog_smallest_s
        self.keepers = Keepers(kernel, self.group, self.hardware, self.clock, chance)
        self.keepers.late_s = self.host.keeper_late_s
        roles = Roles(self._devices, self._role)
        self.handlers = Handlers(
            kernel, self.group, self.boottime_s, chance, roles, lambda: self.host.drbd_misconfigured
        )

    def _devices(self) -> str:
        """/proc/drbd."""
        minors = self.minors if self.host.drbd.shown_in_proc else {}
        roles = [(minor, self.replicas[name].role.value) for minor, name in minors.items()]
        return proc_drbd(roles, self.host.drbd.name)

    def _role(self, resource: str) -> str:
        """``drbdsetup role``."""
        return self.replicas[resource].role.value if resource in self.replicas else ""

    def boottime_s(self) -> float:
        """CLOCK_BOOTTIME: it goes on while the machine is paused, at the machine's rate."""
        return self._boottime_s + (self.kernel.now_s - self._true_s) * self.group.rate

    def set_rate(self, rate: float) -> None:
        """From now on its clock runs at this rate; what it shows does not jump."""
        self._true_s, self._boottime_s = self.kernel.now_s, self.boottime_s()
        self.group.set_rate(rate)

    def pause(self) -> None:
        if not self.group.paused:
            self.kernel.pause(self.group)

    def resume(self) -> None:
        if self.group.paused:
            self.kernel.resume(self.group)

    def begin(self) -> None:
        self.libvirt.refuses_to_start = "start" in self.host.ails
        if "libvirt" not in self.host.ails:
            self.libvirt.boot()

    def reset(self, why: str) -> None:
        self.host.log.say(self.host.name, f"resets: {why}")
        self.host.power_off(why)
        self.host.on_reset(self.host)

    def replica_in(self, xml: str) -> Replica:
        """The resource whose devices a domain is to have. Raises: CommandFailed."""
        minors = {int(number) for number in re.findall(r"/dev/drbd(\d+)", xml)}
        names = {self.minors.get(minor, "") for minor in minors}
        name = names.pop() if len(names) == 1 else ""
        if name not in self.replicas:
            raise CommandFailed(f"no such device among {sorted(minors)}")
        return self.replicas[name]

    def half_of(self, name: str, there: Run) -> Run:
        """What is to go on here with the memory of a run elsewhere."""
        host, kernel = self.host, self.kernel
        replica = next(r for r in self.replicas.values() if r.wire is there.replica.wire)
        group = Group(f"{name}@{host.name}", self.group)
        run = Run(there.guest, host.name, replica, group, kernel, host.referee, 0, kernel.now_s)
        run.period_s = host.write_period_s
        run.told = lambda: self.libvirt.processes.changed(name)
        return run

    def replica_of(self, mirror: Mirror) -> Replica:
        """The kernel's resource, made on first use."""
        name = mirror.drbd_name
        if name not in self.replicas:
            self.replicas[name] = self.host.new_replica(self, mirror)
        return self.replicas[name]


@dataclass
class Host:
    """What stays: name, disks, durable records. ``rate``: of its clock against true time.

    ``ails``: what is broken for good (``lasting``). ``late_s``, ``keeper_late_s``: how starved its
    actuator is, and the watchdog's keeper. ``drbd_misconfigured``: drbdadm cannot read its files.
    ``hides_sockets``: its next kernel tells nothing of DRBD's.
    ``drbd_events_s``: so much later its events may come, and then some are skipped.
    """

    name: str
    site: str
    kernel: Kernel
    log: Log
    referee: Referee
    rate: float = 1.0
    has_watchdog: bool = True
    watchdog_configured: bool = True
    watchdog_smallest_s: int = 1
    ails: set[str] = field(default_factory=set)
    late_s: float = 0.0
    keeper_late_s: float = 0.0
    boots: int = 0
    machine: Machine | None = None
    write_period_s: float = 0.1
    drbd: Version = EIGHT
    drbd_misconfigured: bool = False
    hides_sockets: bool = False
    drbd_events_s: float = 0.0
    backings: dict[str, dict[str, Backing]] = field(default_factory=dict)
    pairs: dict[str, Pair] = field(default_factory=dict)
    on_reset: Callable[["Host"], None] = lambda host: None
    on_boot: Callable[["Host"], None] = lambda host: None
    on_change: Callable[["Host", Replica], None] = lambda host, replica: None
    on_off: Callable[["Host"], None] = lambda host: None
    on_refusal: Callable[[], None] = lambda: None

    def __post_init__(self) -> None:
        self.files = SimFiles(self.kernel.random)
        self._read: dict[bytes, Record] = {}

    def record(self, name: str) -> Record | None:
        """What it durably knows of a mirror; None also if that cannot be read."""
        try:
            raw = self.files.read(STATE / f"{name}.json")
            if raw not in self._read:
                found = FileRecords(STATE, self.files).load(name)
                if found is None:
                    return None
                self._read[raw] = found
        except (OSError, PortError):
            return None
        return self._read[raw]

    def power_on(self) -> None:
        assert self.machine is None, f"{self.name} is switched on already"
        self.boots += 1
        self.files.power_on()
        for backing in self._all_backings():
            backing.broken = "disk" in self.ails
        if "volume" in self.ails:
            self.break_disks(last_alone=True)
        group = Group(self.name, rate=self.rate)
        boot_id = f"{self.name}-boot{self.boots}"
        self.machine = Machine(self, self.kernel, group, boot_id, self.kernel.now_s)
        for pair in self.pairs.values():
            pair.powered(self.name, group, hides_sockets=self.hides_sockets)
        self.log.say(self.name, "boots")
        self.machine.begin()
        self.on_boot(self)

    @property
    def prompt(self) -> bool:
        """Whether its programs get the time that they need."""
        return not (self.late_s or self.keeper_late_s)

    @property
    def well(self) -> bool:
        """Whether nothing is the matter with it, but for its disks."""
        machine = self.machine
        if machine is None or not (self.prompt and self.files.well and machine.run_files.well):
            return False
        if self.drbd_misconfigured:
            return False
        return machine.libvirt.well and machine.keepers.awake

    @property
    def has_broken_disk(self) -> bool:
        return any(backing.broken for backing in self._all_backings())

    @property
    def has_hanging_disk(self) -> bool:
        return any(backing.hangs for backing in self._all_backings())

    def break_disks(self, *, last_alone: bool = False) -> None:
        """Also those that nothing uses. ``last_alone``: of each mirror the last volume's."""
        for volumes in self.backings.values():
            for backing in list(volumes.values())[-1:] if last_alone else volumes.values():
                backing.broken = True

    def _all_backings(self) -> Iterable[Backing]:
        return (backing for volumes in self.backings.values() for backing in volumes.values())

    def power_off(self, why: str) -> None:
        """Everything stops at once. Kernel state is gone; disks and records stay."""
        machine = self.machine
        if machine is None:
            return
        self.on_off(self)
        for run in machine.libvirt.runs.values():
            run.end(why)
        machine.group.stop()
        self.files.power_cut()
        for pair in self.pairs.values():
            pair.present(self.name, None)
        for backing in self._all_backings():
            backing.forget()
        self.machine = None

    def new_replica(self, machine: Machine, mirror: Mirror) -> Replica:
        name = mirror.drbd_name
        pair = self.pairs[name]
        replica = Replica(
            host=self.name,
            backings=self.backings[name],
            version=self.drbd,
            asynchronous=mirror.spec.protocol is Protocol.A,
            wire=pair,
            ask_handler=lambda replica: self._handler(machine, name),
            start_handler=lambda replica: self._link_loss(machine, name, replica),
            changed=self._changed,
            say=lambda what: self.log.say(self.name, f"{name}: {what}"),
            panic=lambda: machine.reset("DRBD's kernel panics"),
        )
        pair.present(self.name, replica)
        return replica

    def _changed(self, replica: Replica) -> None:
        for pair in self.pairs.values():
            pair.stir()
        self.on_change(self, replica)

    def _link_loss(self, machine: Machine, name: str, replica: Replica) -> None:
        connects = replica.connects

        def run() -> Generator[Command, bool, None]:
            code = yield from self._handler(machine, name)
            replica.handler_answered(code, connects)

        self.kernel.spawn(machine.group, run())

    def _handler(self, machine: Machine, name: str) -> Generator[Command, bool, int]:
        """drbdadm starts the fence-peer program, which asks the actuator."""
        minors = [minor for minor, resource in machine.minors.items() if resource == name]
        return (yield from machine.handlers.ask(name, minors))
