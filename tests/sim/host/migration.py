"""A guest on its way from one simulated machine to another, as libvirt sends it: arriving paused.

The target's libvirtd holds a half, which is its own to remove until all of it is there. The guest
stands still at the source at the very end, and is gone there once the half is whole; or it goes on,
if anything comes in between. What a client hears of that may be lost. Called by ``actuator``.
"""

from collections.abc import Callable, Collection, Mapping
from dataclasses import dataclass, field

import libvirt

from sim.apiserver import Server
from sim.engine.kernel import Group
from sim.host.host import Host, Machine
from sim.libvirt.connection import Active
from sim.libvirt.guest import MIGRATED, Run
from sim.libvirt.processes import Reply
from sim.network.links import REPLICATION, Network
from tandem_actuator.ports import CommandFailed
from tandem_actuator.ports.migration import Arrival, Destination, NoMigrations
from tandem_actuator.ports.migration import Migrations as Port
from tandem_api.kinds.host import Host as HostObject

PORT = 7799
POLL_S = 0.1
COPY_S = (0.5, 4.0)
SWITCH_S = (0.05, 0.3)
HALF_GONE_S = (1.0, 8.0)
"""How soon a libvirtd notices that nobody sends any more."""
LEFT_STILL, GOES_ON, GONE_UNHEARD = 0.3, 0.5, 0.8
"""If its client dies at the very end: how likely the guest is left standing still, or else goes on,
or else is gone, while the half is whole.
"""


@dataclass(frozen=True)
class Ways:
    """How the hosts of a world send each other guests, if they ``can``."""

    can: bool
    network: Network
    server: Server
    hosts: Mapping[str, Host]
    churning: set[str] = field(default_factory=set)
    """Guests, by their domains' names, whose memory changes faster than it can be sent."""

    def of(self, machine: Machine, group: Group) -> Port:
        """The port of one run of an actuator."""
        if not self.can:
            return NoMigrations()
        known = self.server.every(HostObject)
        ends = {one.spec.takes_guests_at: self.hosts[one.metadata.name] for one in known}
        return Migrations(machine, group, self.network, ends, self.churning)


class Migrations:
    """The port of one run of an actuator.

    ``neighbours``: the other hosts, by address. ``churning``: as of ``Ways``.
    """

    port = PORT

    def __init__(
        self,
        machine: Machine,
        group: Group,
        network: Network,
        neighbours: Mapping[str, Host],
        churning: Collection[str] = (),
    ) -> None:
        self.machine, self.group, self.network = machine, group, network
        self.neighbours, self.churning = neighbours, churning
        self.transfers: dict[str, Transfer] = {}

    async def receive(self, arrival: Arrival) -> None:
        self.machine.arrivals.expected[arrival.name] = (arrival.migration, self.group)

    async def stop_receiving(self, name: str) -> None:
        self.machine.arrivals.expected.pop(name, None)

    async def send(self, name: str, migration: str, to: Destination) -> None:
        reply: Reply[None] = Reply()
        transfer = Transfer(self, name, migration, self.neighbours[to.address], reply)
        self.transfers[name] = transfer
        transfer.begin()
        await reply

    async def stop_sending(self, name: str) -> None:
        transfer = self.transfers.get(name)
        if transfer is not None:
            transfer.unwanted = True


@dataclass(eq=False)
class Transfer:
    """One guest on its way. ``unwanted``: its client has asked for it to be given up."""

    sender: Migrations
    name: str
    migration: str
    to: Host
    reply: Reply[None]
    unwanted: bool = False
    half: Active | None = None
    left_s: float = 0.0
    polled_s: float = 0.0

    def __post_init__(self) -> None:
        self.source, self.kernel = self.sender.machine, self.sender.machine.kernel
        self.there = self.to.machine
        self.life = self.source.libvirt.lives

    # -- what it needs

    @property
    def _client(self) -> bool:
        return self.sender.group.alive and self.source.libvirt.lives == self.life

    def _wrong(self) -> str:
        machine, network, here = self.there, self.sender.network, self.source.host.name
        passes = network.up(REPLICATION, here, self.to.name)
        if machine is None or machine is not self.to.machine or not passes:
            return "unable to connect to the other host"
        if not machine.libvirt.ready or not self.source.libvirt.ready:
            return "client socket is closed"
        if self.half is not None and self.half.process.dying:
            return "the domain at the target has ended"
        if not machine.arrivals.lets_in(self.name, self.migration) and self.half is None:
            return "it is not expected there"
        return "operation aborted: canceled by client" if self.unwanted else ""

    def _stands(self) -> bool:
        """Nothing comes of it for now, and it does not fail either."""
        machine = self.there
        hanging = machine is not None and (machine.libvirt.hanging or machine.group.holder)
        churns = self.name in self.sender.churning
        return churns or bool(hanging) or self.source.libvirt.hanging

    def _run(self) -> Run | None:
        active = self.source.libvirt.active.get(self.name)
        guest = active.process.guest if active is not None else None
        return guest if isinstance(guest, Run) and guest.executing else None

    # -- its course

    def begin(self) -> None:
        wrong, run = self._wrong(), self._run()
        if wrong or run is None:
            self.reply.fail(CommandFailed(f"libvirt: {wrong or 'it does not run here'}"))
            return
        assert self.there is not None
        try:
            half = self.there.half_of(self.name, run)
            there = self.source.libvirt.active[self.name]
            self.half = self.there.libvirt.admit(there, half)
        except CommandFailed as error:
            self.reply.fail(error)
            return
        self.left_s, self.polled_s = self.kernel.between(*COPY_S), self.kernel.now_s
        self._watch_half()
        self._later(POLL_S, self._copy)

    def _later(self, delay_s: float, action: Callable[[], None]) -> None:
        self.kernel.after(delay_s, self.source.group, action)

    def _copy(self) -> None:
        self.polled_s = self.kernel.now_s
        run = self._run()
        if run is None or not self._client:
            self._fail("the domain has ended" if run is None else "its client is gone")
        elif run.stuck:
            self._later(POLL_S, self._copy)  # a frozen guest's job neither ends nor aborts
        elif wrong := self._wrong():
            self._fail(wrong)
        else:
            self.left_s -= 0.0 if self._stands() else POLL_S
            if self.left_s > 0:
                self._later(POLL_S, self._copy)
            else:
                self._switch(run)

    def _switch(self, run: Run) -> None:
        """Its processors stop here, and the last of its memory goes over."""
        assert self.half is not None
        self.source.libvirt.active[self.name].state = libvirt.VIR_DOMAIN_PAUSED
        run.stand_still()
        half = self.half.process.guest
        assert isinstance(half, Run)
        half.remembers(run)
        self._later(self.kernel.between(*SWITCH_S), lambda: self._end(run))

    def _end(self, run: Run) -> None:
        self.polled_s = self.kernel.now_s
        assert self.half is not None
        wrong = self._wrong()
        if not run.executing:
            self._fail("the domain has ended")
        elif wrong:
            self._goes_on(run)
            self._fail(wrong)
        elif self._client:
            self.half.whole = True
            run.end(MIGRATED)
            self._later(self.kernel.between(*SWITCH_S), lambda: self.reply.answer(None))
        else:
            self._unheard(run)

    def _unheard(self, run: Run) -> None:
        """Nobody waits for it any more: it depends on how far libvirt had come."""
        assert self.half is not None
        drawn = self.kernel.random.random()
        self.half.whole = True
        if drawn < LEFT_STILL:
            return
        if drawn < GOES_ON:
            self._goes_on(run)
        elif drawn < GONE_UNHEARD:
            run.end(MIGRATED)
        else:
            self.half.whole = False
            self._fail("its client is gone")

    def _goes_on(self, run: Run) -> None:
        active = self.source.libvirt.active.get(self.name)
        if active is not None:
            active.state = libvirt.VIR_DOMAIN_RUNNING
        run.go_on()

    def _fail(self, why: str) -> None:
        self.reply.fail(CommandFailed(f"libvirt: {why}"))
        self._half_goes(self.kernel.between(*HALF_GONE_S))

    # -- the target's side

    def _watch_half(self) -> None:
        """Its libvirtd removes what nobody sends any more."""
        machine = self.there
        half = self.half
        if machine is None or half is None or half.whole or half.process.begun:
            return
        if half.process.dying:
            return
        if self.kernel.now_s - self.polled_s > HALF_GONE_S[1]:
            self._half_goes(0.0)
        self.kernel.after(1.0, machine.group, self._watch_half)

    def _half_goes(self, delay_s: float) -> None:
        machine, half = self.there, self.half

        def remove() -> None:
            arrived = half is None or half.whole or half.process.begun
            if half is not None and not arrived and machine is not None:
                machine.libvirt.processes.signalled(half.process)

        if machine is not None:
            self.kernel.after(delay_s, machine.group, remove)
