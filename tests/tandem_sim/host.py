"""A host: its power, its clock, its watchdog, its libvirt, and what survives on its disks.

``Host`` holds the durable things for good and a ``Machine`` for as long as it is switched on.
Called by ``world`` (power), ``actuator`` and ``driver``.
"""

from collections.abc import Callable, Generator, Iterable
from dataclasses import dataclass, field

from tandem_actuator.core.model import DomainState, Record
from tandem_actuator.ports import CommandFailed, KilledNotGone, PortError
from tandem_api.guest import Guest
from tandem_api.mirror import Mirror
from tandem_api.timing import Timing
from tandem_sim.disk import Backing
from tandem_sim.drbd import Replica
from tandem_sim.events import Log
from tandem_sim.guest import Referee, Run
from tandem_sim.kernel import Command, Group, Kernel, Sleep
from tandem_sim.pair import Pair

LIBVIRT_READY_S = (4.0, 9.0)
START_S = (0.8, 3.0)
DESTROY_S = (0.2, 0.8)
DESTROY_TIMEOUT_S = 4.0
WATCHDOG_TICK_S = 0.05


@dataclass
class Permit:
    """What an actuator leaves on a tmpfs for the next one on the same boot."""

    renewal_sent_at_s: float
    timing: Timing


class Watchdog:
    """Resets the machine some time after the last feed. Feeding goes on up to a deadline."""

    def __init__(self, machine: "Machine") -> None:
        self.machine, self.armed, self.timeout_s = machine, False, 2.0
        self.deadline_s, self._last_fed_s = 0.0, 0.0

    def arm(self, timeout_s: float) -> None:
        if not self.armed:
            self._last_fed_s = self.deadline_s = self.machine.boottime_s()
        self.armed, self.timeout_s = True, timeout_s

    def feed_until(self, deadline_s: float) -> None:
        self.deadline_s = deadline_s

    def live(self) -> Generator[Command, bool, None]:
        """The feeding thread and the hardware. A pause stops both."""
        starved_s, last_s = 0.0, self.machine.boottime_s()
        while True:
            yield Sleep(WATCHDOG_TICK_S)
            now_s = self.machine.boottime_s()
            fed = not self.armed or now_s <= self.deadline_s
            # Time that passed while the machine was paused did not pass for the watchdog.
            starved_s = 0.0 if fed else starved_s + min(now_s - last_s, 2 * WATCHDOG_TICK_S)
            last_s = now_s
            if starved_s >= self.timeout_s:
                self.machine.reset("the watchdog was not fed")
                return


class Libvirt:
    """Domains of this machine."""

    def __init__(self, machine: "Machine") -> None:
        self.machine, self.ready = machine, False
        self.runs: dict[str, Run] = {}
        self.network_cut: set[str] = set()

    def become_ready(self) -> Generator[Command, bool, None]:
        yield Sleep(self.machine.kernel.between(*LIBVIRT_READY_S))
        self.ready = True

    def states(self) -> dict[str, DomainState]:
        """Raises: PortError."""
        if not self.ready:
            raise PortError("libvirtd does not answer")
        self.bury()
        return dict.fromkeys(self.runs, DomainState.RUNNING)

    def bury(self) -> None:
        """Processes that were killed go away once nothing they wrote is pending."""
        for name, run in list(self.runs.items()):
            if not run.executing and not run.stuck:
                run.replica.opened = False
                del self.runs[name]

    def start(self, guest: Guest, mirror: Mirror) -> Generator[Command, bool, None]:
        if not self.ready:
            raise CommandFailed("libvirtd does not answer")
        name, machine = str(guest.key), self.machine
        if name in self.states():
            raise CommandFailed("domain exists already")
        yield Sleep(machine.kernel.between(*START_S))
        replica = machine.replica_of(mirror)
        if replica.role.value != "Primary":
            raise CommandFailed("could not open disk: read-only")
        group = Group(f"{name}@{machine.host.name}", machine.group)
        run = Run(name, machine.host.name, replica, group, machine.kernel, machine.host.referee)
        self.runs[name] = run
        self.network_cut.discard(name)
        run.begin()

    def shutdown(self, name: str) -> None:
        if name in self.states():
            self.runs[name].asked_to_stop = True

    def destroy(self, name: str) -> Generator[Command, bool, None]:
        """SIGKILL, with or without libvirtd: its processors stop, but while a write is pending
        its process lingers. Raises: KilledNotGone.
        """
        self.bury()
        if name not in self.runs:
            return
        yield Sleep(self.machine.kernel.between(*DESTROY_S))
        run = self.runs.get(name)
        if run is None:
            return
        run.end("destroyed")
        self.bury()
        waited_s = 0.0
        while name in self.runs:
            if waited_s >= DESTROY_TIMEOUT_S:
                raise KilledNotGone("killed, but a frozen disk holds its process")
            yield Sleep(0.1)
            waited_s += 0.1
            self.bury()


@dataclass
class Machine:
    """A host that is switched on: everything that a power cut ends."""

    host: "Host"
    kernel: Kernel
    group: Group
    boot_id: str
    booted_at_s: float
    replicas: dict[str, Replica] = field(default_factory=dict)
    permit: Permit | None = None
    copies: dict[str, tuple[Mirror, Guest | None]] = field(default_factory=dict)
    runs_started: int = 0

    def __post_init__(self) -> None:
        self.watchdog, self.libvirt = Watchdog(self), Libvirt(self)

    def boottime_s(self) -> float:
        return (self.kernel.now_s - self.booted_at_s) * self.group.rate + 1.0

    def begin(self) -> None:
        self.kernel.spawn(self.group, self.watchdog.live())
        self.kernel.spawn(self.group, self.libvirt.become_ready())

    def reset(self, why: str) -> None:
        self.host.log.say(self.host.name, f"resets: {why}")
        self.host.power_off(why)
        self.host.on_reset(self.host)

    def replica_of(self, mirror: Mirror) -> Replica:
        """The kernel's resource, made on first use."""
        name = mirror.drbd_name
        if name not in self.replicas:
            self.replicas[name] = self.host.new_replica(self, mirror)
        return self.replicas[name]


@dataclass
class Host:
    """What stays: name, disks, durable records. ``rate``: of its clock against true time."""

    name: str
    site: str
    kernel: Kernel
    log: Log
    referee: Referee
    rate: float = 1.0
    has_watchdog: bool = True
    boots: int = 0
    machine: Machine | None = None
    records: dict[str, Record] = field(default_factory=dict)
    backings: dict[str, dict[str, Backing]] = field(default_factory=dict)
    pairs: dict[str, Pair] = field(default_factory=dict)
    on_reset: Callable[["Host"], None] = lambda host: None
    on_boot: Callable[["Host"], None] = lambda host: None
    on_change: Callable[["Host", Replica], None] = lambda host, replica: None
    ask_actuator: "Callable[[Machine, str], Generator[Command, bool, int]] | None" = None

    def power_on(self) -> None:
        assert self.machine is None, f"{self.name} is switched on already"
        self.boots += 1
        for backing in self._all_backings():
            backing.broken = False
        group = Group(self.name, own_rate=self.rate)
        boot_id = f"{self.name}-boot{self.boots}"
        self.machine = Machine(self, self.kernel, group, boot_id, self.kernel.now_s)
        for pair in self.pairs.values():
            pair.sides[self.name].group = group
        self.log.say(self.name, "boots")
        self.machine.begin()
        self.on_boot(self)

    def _all_backings(self) -> Iterable[Backing]:
        return (backing for volumes in self.backings.values() for backing in volumes.values())

    def power_off(self, why: str) -> None:
        """Everything stops at once. Kernel state is gone; disks and records stay."""
        machine = self.machine
        if machine is None:
            return
        for run in machine.libvirt.runs.values():
            run.end(why)
        machine.group.stop()
        for pair in self.pairs.values():
            pair.sides[self.name].replica = None
        self.machine = None

    def new_replica(self, machine: Machine, mirror: Mirror) -> Replica:
        name = mirror.drbd_name
        pair = self.pairs[name]
        replica = Replica(
            host=self.name,
            backings=self.backings[name],
            wire=pair,
            ask_handler=lambda replica: self._handler(machine, name),
            start_handler=lambda replica: self._link_loss(machine, name, replica),
            changed=lambda replica: self.on_change(self, replica),
            say=lambda what: self.log.say(self.name, f"{name}: {what}"),
        )
        pair.sides[self.name].replica = replica
        return replica

    def _link_loss(self, machine: Machine, name: str, replica: Replica) -> None:
        connects = replica.connects

        def run() -> Generator[Command, bool, None]:
            code = yield from self._handler(machine, name)
            replica.handler_answered(code, connects)

        self.kernel.spawn(machine.group, run())

    def _handler(self, machine: Machine, name: str) -> Generator[Command, bool, int]:
        """drbdadm starts the fence-peer program, which asks the actuator."""
        yield Sleep(self.kernel.between(0.03, 0.3))
        assert self.ask_actuator is not None
        return (yield from self.ask_actuator(machine, name))
