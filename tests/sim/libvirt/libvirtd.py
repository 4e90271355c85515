"""A simulated libvirtd and the QEMUs of its machine, behind the actuator's ports.

It may be away, stand still, be slow, refuse, lose sight of a domain, and its events may be lost,
late and in any order. What it was told may take effect although nobody waits for the answer. As
the real one it serves a few calls of each connection at a time, and holds a domain's lock while it
waits for its QEMU to die. The machine has it for as long as it is switched on. Called by ``host``.
"""

import asyncio
import random
import xml.etree.ElementTree as ET
from collections.abc import Callable
from functools import partial

import libvirt

from sim.libvirt.connection import (
    ANSWER_S,
    LOST,
    SILENT,
    Active,
    Connection,
    Request,
    Work,
)
from sim.libvirt.processes import After, Guest, ProcessTable, Reply, tell
from sim.libvirt.taps import TapTable
from tandem_actuator.adapters.libvirt.ports import Domain, LibvirtError
from tandem_actuator.core.guest.domain_xml import METADATA_TAG
from tandem_actuator.ports import CommandFailed

MakeGuest = Callable[[str, str, Callable[[], None]], Guest]

READY_S = (4.0, 9.0)
START_S = (0.8, 3.0)
EVENT_S = (0.0, 0.05)
NOTICES_S = (0.005, 0.1)
"""How soon it sees that a QEMU is gone."""
KEEPALIVE_S = 4.0
KILLS_FOR_S = 15.0
READS_LATE = 0.5
"""How likely it is to read what was sent on a connection that was given up meanwhile."""

AWAY = "Failed to connect socket to '/var/run/libvirt/libvirt-sock': Connection refused"
REFUSED = "internal error: process exited while connecting to monitor"


class SimulatedLibvirtd:
    """A machine's libvirtd (the Libvirtd port) and its domains.

    ``ready``: it runs. ``hanging``: it stands still, and so do its keepalives. ``stuck_calls``:
    calls that are taken and never answered, until ``mend``. ``refuses_to_start``: every start
    fails; ``start_takes_s``: so much longer than usual. ``cannot_kill``: no guest can be killed.
    ``answers_late_s``: by call, how much longer an answer is on its way.
    ``loses_sight_of``: domains that a restarted libvirtd does not find again. ``loses_events``: how
    likely an event is to be lost. ``on_refusal``: told of each start that was refused.
    ``make_guest``: name, XML, and what it tells when it has begun or ended → what its QEMU will
    execute.
    """

    def __init__(self, after: After, chance: random.Random, make_guest: MakeGuest) -> None:
        self.refuses_to_start = False
        self.on_refusal: Callable[[], None] = lambda: None
        self.start_s, self.event_s, self.notices_s = START_S, EVENT_S, NOTICES_S
        self.start_takes_s = 0.0
        self.loses_events = 0.0
        self.loses_sight_of: set[str] = set()
        self.stuck_calls: set[str] = set()
        self.answers_late_s: dict[str, float] = {}
        self.processes, self.make_guest = ProcessTable(after, chance), make_guest
        self.taps = TapTable(self.processes)
        self.active: dict[str, Active] = {}
        self._launching: set[str] = set()
        """Names that are taken by a start whose QEMU is not there yet."""
        self.connections: list[Connection] = []
        self.registrations = self._starts = 0
        self._after, self._chance = after, chance
        self._ready, self._hanging, self._stood, self._lives = False, False, 0, 0
        self._parked: list[Callable[[], None]] = []
        self._opening: list[Callable[[], None]] = []

    # --- the port

    async def open(self) -> Connection:
        reply: Reply[Connection] = Reply()
        connection = Connection(self)

        def work() -> None:
            if self._ready and (self._hanging or "open" in self.stuck_calls):
                self._opening.append(work)
            elif not self._ready:
                reply.fail(LibvirtError(f"libvirt: {AWAY}", libvirt.VIR_ERR_SYSTEM_ERROR))
            else:
                self.connections.append(connection)
                reply.answer(connection)

        self.later(ANSWER_S, work)
        return await reply

    # --- knobs

    @property
    def ready(self) -> bool:
        return self._ready

    @ready.setter
    def ready(self, ready: bool) -> None:
        if ready == self._ready:
            return
        self._ready = ready
        self._lives += 1
        if ready:
            self._begin()
        else:
            self._parked.clear()
            self._launching.clear()
            self._release()
            for connection in self.connections[:]:
                connection.hang_up(LOST)

    @property
    def hanging(self) -> bool:
        return self._hanging

    @hanging.setter
    def hanging(self, hanging: bool) -> None:
        """A connection whose keepalives are not answered is lost after some seconds."""
        self._hanging = hanging
        self._stood += 1
        if hanging:
            self._after(KEEPALIVE_S, partial(self._not_kept_alive, self._stood))
        else:
            self._release()

    @property
    def cannot_kill(self) -> bool:
        return self.processes.unkillable

    @cannot_kill.setter
    def cannot_kill(self, cannot: bool) -> None:
        self.processes.unkillable = cannot

    @property
    def lives(self) -> int:
        """How often it has begun or ended."""
        return self._lives

    @property
    def runs(self) -> dict[str, Guest]:
        """What executes, or holds its disk, by domain name."""
        every = self.processes.by_pid.values()
        return {process.domain: process.guest for process in every if process.begun}

    def boot(self) -> None:
        """It is there some seconds after the machine."""

        def ready() -> None:
            self.ready = True

        self.later(READY_S, ready)

    def mend(self) -> None:
        """It answers, and does what it is told."""
        self.refuses_to_start, self.start_takes_s = False, 0.0
        self.stuck_calls.clear()
        self.answers_late_s.clear()
        self.event_s, self.loses_events = EVENT_S, 0.0
        self.processes.mend()
        self.taps.refused, self.taps.hangs = set(), False
        self.ready, self.hanging = True, False

    def answer(self, method: str) -> None:
        """Calls of this kind that it has taken are served after all."""
        self.stuck_calls.discard(method)
        self._release()

    def forget(self, name: str) -> None:
        """It sees now that a QEMU is gone."""
        del self.active[name]

    @property
    def well(self) -> bool:
        """Whether nothing is the matter with it."""
        late = self.answers_late_s or self.event_s != EVENT_S or self.loses_events
        deaf = self.cannot_kill or self.processes.hears_late_s
        return self.ready and not (self.hanging or self.stuck_calls or late or deaf)

    @property
    def listening(self) -> int:
        """How many registrations for events it has."""
        return sum(len(connection.on_events) for connection in self.connections)

    def bury(self) -> None:
        self.processes.bury()

    def hang_up_on(self, loop: asyncio.AbstractEventLoop) -> None:
        """A program has ended: so have its connections."""
        for connection in self.connections[:]:
            if connection.loop is loop:
                connection.closed = True
                connection.hang_up(LOST)

    # --- serving

    def later(self, between_s: tuple[float, float], action: Callable[[], None]) -> None:
        self._after(self._chance.uniform(*between_s), action)

    def on_its_way(self, method: str, told: Callable[[], None]) -> None:
        late_s = self.answers_late_s.get(method, 0.0)
        self._after(self._chance.uniform(*ANSWER_S) + late_s, told)

    def arrives(self, request: Request) -> None:
        """What came while it stood still it may read yet, although nobody waits any more."""
        if self._hanging:
            self._parked.append(lambda: self.arrives(request))
        elif self._ready and (not request.connection.lost or self._reads_late(request)):
            request.connection.arrived(request)

    def _reads_late(self, request: Request) -> bool:
        return request.connection.silent and self._chance.random() < READS_LATE

    def serve(self, request: Request) -> None:
        if request.method in self.stuck_calls:
            self._parked.append(lambda: self.serve(request))
        else:
            request.work(request)

    def list_domains(self, request: Request) -> None:
        """It takes the lock of each domain in turn."""
        if any(active.locked for active in self.active.values()):
            self._after(0.05, lambda: self.list_domains(request))
            return
        known = self.active.values()
        request.answer(
            [Domain(a.domain.name, a.domain.uuid, a.domain.number, a.state) for a in known]
        )

    def starting(self, xml: str) -> Work:
        """What a create does. The guest is made now: when it was ordered counts."""
        root = _parsed(xml)
        name = root.findtext("name", "")
        guest, wrong = None, ""
        try:
            told = partial(self.processes.changed, name)
            guest = self.make_guest(name, xml, told) if name else None
        except CommandFailed as error:
            wrong = str(error)

        def work(request: Request) -> None:
            if wrong:
                request.fail(wrong)
            elif guest is None:
                request.fail("(domain_definition):1: XML error: no name", libvirt.VIR_ERR_XML_ERROR)
            elif name in self.active or name in self._launching:
                words = f"Requested operation is not valid: domain '{name}' is already active"
                request.fail(words, libvirt.VIR_ERR_OPERATION_INVALID)
            else:
                self._start(request, root, guest)

        return work

    def _start(self, request: Request, root: ET.Element, guest: Guest) -> None:
        name, uuid = (root.findtext(tag, "") for tag in ("name", "uuid"))
        takes_s = self._chance.uniform(*self.start_s) + self.start_takes_s
        self._starts += 1
        self._launching.add(name)
        domain = Domain(name, uuid, self._starts)
        mark = root.find(f"metadata/{METADATA_TAG}")
        metadata = None if mark is None else ET.tostring(mark, encoding="unicode")

        def launch() -> None:
            """QEMU is there, and takes its disks; it waits for libvirt before it executes."""
            self._launching.discard(name)
            cards = len(root.findall("devices/interface"))
            try:
                if self.refuses_to_start:
                    raise CommandFailed(REFUSED)
                process = self.processes.launch(name, uuid, guest, max(1, cards))
            except CommandFailed as error:
                self.on_refusal()
                request.fail(str(error))
                return
            active = Active(domain, metadata, process, libvirt.VIR_DOMAIN_PAUSED)
            self._known(active)
            self._after(takes_s / 2, lambda: self._when_it_runs(life, lambda: begin(active)))

        def begin(active: Active) -> None:
            if active.process.dying or active.process.gone:
                request.fail(REFUSED)
            else:
                active.process.begun, active.state = True, libvirt.VIR_DOMAIN_RUNNING
                active.process.guest.begin()
                self._tell(name)
                request.answer(None)

        life = self._lives
        self._after(takes_s / 2, lambda: self._when_it_runs(life, launch))

    def admit(self, there: Active, guest: Guest) -> Active:
        """What is sent from another host: its QEMU takes the disks, and executes nothing.

        Raises: CommandFailed.
        """
        name, uuid = there.domain.name, there.domain.uuid
        if name in self.active or name in self._launching:
            raise CommandFailed(f"libvirt: domain '{name}' is already active")
        self._starts += 1
        process = self.processes.launch(name, uuid, guest)
        domain = Domain(name, uuid, self._starts)
        active = Active(domain, there.metadata, process, libvirt.VIR_DOMAIN_PAUSED)
        self._known(active)
        self._tell(name)
        return active

    def _known(self, active: Active) -> None:
        self.active[active.domain.name] = active
        gone = partial(self.later, self.notices_s, partial(self._gone, active))
        active.process.when_gone.append(gone)

    def tell_of(self, name: str) -> None:
        """Its state has changed."""
        self._tell(name)

    def destroy(self, request: Request, active: Active) -> None:
        """It kills, and waits for the end with the domain's lock held."""
        active.locked = True

        def gone() -> None:
            if active.locked:
                active.locked = False
                self._gone(active)
                request.answer(None)

        def give_up() -> None:
            if active.locked:
                active.locked = False
                words = f"Failed to terminate process {active.process.pid} with SIGKILL"
                request.fail(words, libvirt.VIR_ERR_SYSTEM_ERROR)

        self.processes.signalled(active.process)
        if active.process.gone:
            gone()
            return
        active.process.when_gone.insert(0, gone)
        self._after(KILLS_FOR_S, give_up)

    # --- what happens to it

    def _gone(self, active: Active) -> None:
        """A QEMU has ended; a daemon that is away sees it when it returns."""
        if self._hanging:
            self._parked.append(lambda: self._gone(active))
        elif self._ready and self.active.get(active.domain.name) is active:
            del self.active[active.domain.name]
            self._tell(active.domain.name)

    def _begin(self) -> None:
        """It looks for the domains that it had. What it was starting then, it kills."""
        for name, active in list(self.active.items()):
            if active.process.gone or name in self.loses_sight_of:
                del self.active[name]
            elif not active.process.begun and not active.whole:
                self.processes.to_be_killed(active.process)

    def _not_kept_alive(self, stood: int) -> None:
        if self._hanging and stood == self._stood:
            for connection in self.connections[:]:
                connection.hang_up(SILENT)
            self._after(KEEPALIVE_S, partial(self._not_kept_alive, stood))

    def _release(self) -> None:
        """What waited for it: each looks for itself what it finds now."""
        parked, self._parked, self._opening = [*self._opening, *self._parked], [], []
        for action in parked:
            action()

    def _when_it_runs(self, life: int, action: Callable[[], None]) -> None:
        """Now, or once it goes on; never if it was ended since."""
        if self._hanging:
            self._parked.append(lambda: self._when_it_runs(life, action))
        elif life == self._lives:
            action()

    def _tell(self, name: str) -> None:
        for connection in self.connections:
            for on_event in connection.on_events.values():
                if self._chance.random() >= self.loses_events:
                    self.later(self.event_s, partial(_told, connection, on_event, name))


def _told(connection: Connection, on_event: Callable[[str], None], name: str) -> None:
    if not connection.lost:
        tell(connection.loop, partial(on_event, name))


def _parsed(xml: str) -> ET.Element:
    try:
        return ET.fromstring(xml)
    except ET.ParseError:
        return ET.Element("domain")
