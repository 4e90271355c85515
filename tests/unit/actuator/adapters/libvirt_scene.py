"""A machine with a simulated libvirtd, and the real adapter on it, in simulated time."""

import asyncio
import inspect
import random
from collections.abc import Callable, Coroutine
from functools import partial
from typing import Any, Generic, TypeVar

from sim.engine.kernel import Group, Kernel
from sim.engine.loop import Loop
from sim.libvirt.libvirtd import SimulatedLibvirtd
from sim.libvirt.processes import Idle
from tandem_actuator.adapters.libvirt.host import LibvirtHost
from tandem_actuator.adapters.libvirt.network import TapNetwork
from tandem_actuator.core.guest.domain_xml import (
    METADATA_PREFIX,
    METADATA_TAG,
    TANDEM_XMLNS,
    domain_name,
)
from tandem_actuator.ports import CommandFailed, PortError
from tandem_api.kinds.guest import Guest
from tandem_api.vocabulary import DomainState
from tandem_hostile import guest as raw_guest

T = TypeVar("T")

XML = (
    f'<domain xmlns:{METADATA_PREFIX}="{TANDEM_XMLNS}"><name>{{name}}</name><uuid>uuid-{{name}}'
    f'</uuid><metadata><{METADATA_PREFIX}:guest name="x"/></metadata></domain>'
)
assert f"{{{TANDEM_XMLNS}}}guest" == METADATA_TAG
FOREIGN = "<domain><name>{name}</name><uuid>uuid-{name}</uuid></domain>"
LONG_S = 600.0


def make_guest(name: str) -> Guest:
    return Guest.parse(raw_guest(name))


class Scene:
    """``guests``: every guest that was made, in order; ``refusing``: why none is made. ``daemon``:
    what a test breaks.
    """

    def __init__(self, seed: int = 1) -> None:
        self.kernel = Kernel(seed)
        self.machine = Group("machine")
        self.guests: list[Idle] = []
        self.refusing = ""
        after = partial(_after, self.kernel, self.machine)
        self.daemon = SimulatedLibvirtd(after, random.Random(seed), self._make)
        self.daemon.ready = True
        self.processes = self.daemon.processes
        self._crashed: list[Loop] = []
        self.restart()

    def restart(self) -> None:
        """The program ends, and begins anew."""
        self.program = Group("program", self.machine)
        self.loop = Loop(self.kernel, self.program, lambda: self.kernel.now_s, lambda why: None)
        self._entered: list[Coroutine[Any, Any, None]] = []
        self.host = LibvirtHost(self.daemon, self.processes)
        self.network = TapNetwork(self.processes, self.daemon.taps)

    def has_qemu(self, domain: str) -> bool:
        return any(one.domain == domain for one in self.processes.by_pid.values())

    def crash(self) -> None:
        """The program is killed and begins anew; what it held open is closed."""
        self.program.stop()
        for program in self._entered:
            if inspect.getcoroutinestate(program) == inspect.CORO_CREATED:
                program.close()
        self.daemon.hang_up_on(self.loop.asyncio)
        self.processes.handles = 0
        self._crashed.append(self.loop)  # else its tasks would be tidied up, and go on for that
        self.restart()

    def _make(self, name: str, xml: str, told: Callable[[], None]) -> Idle:
        if self.refusing:
            raise CommandFailed(self.refusing)
        self.guests.append(Idle(name, told=told))
        return self.guests[-1]

    def enter(self, program: Coroutine[Any, Any, None]) -> None:
        """Another task of the program."""
        if not self._entered:
            self._entered.append(_for_ever())
            self.loop.begin(self._entered[0])
        self._entered.append(program)
        self.loop.call_soon(partial(self.loop.create_task, program))

    def begin(self, call: Coroutine[Any, Any, T]) -> "Began[T]":
        return Began(self, call)

    def play(self, call: Coroutine[Any, Any, T], for_s: float = LONG_S) -> T:
        """What it returns or raises, which must come in time."""
        began = self.begin(call)
        limit_s = self.kernel.now_s + for_s
        while not began.done and self.kernel.now_s < limit_s:
            self.pass_s(0.01)
        assert began.done, "it does not come to an end"
        return began.result()

    def pass_s(self, seconds: float) -> None:
        self.kernel.run_until(self.kernel.now_s + seconds)

    def starts(self, name: str, cards: int = 1) -> Coroutine[Any, Any, None]:
        guest = make_guest(name)
        xml = XML.format(name=domain_name(guest))
        devices = f"<devices>{'<interface/>' * cards}</devices></domain>"
        return self.host.start(guest, xml.replace("</domain>", devices))

    def start(self, name: str, cards: int = 1) -> Idle:
        """Start a guest; what its QEMU executes."""
        self.play(self.starts(name, cards))
        return self.guests[-1]

    def starting(self, name: str) -> "Began[None]":
        return self.begin(self.starts(name))

    def launch(self, xml: str) -> None:
        """Somebody else starts a domain."""

        async def create() -> None:
            connection = await self.daemon.open()
            await connection.create(xml)
            await connection.close()

        self.play(create())

    def follow(self) -> list[str]:
        """What the events say from now on."""
        told: list[str] = []

        async def follow() -> None:
            async for name in self.host.events():
                told.append(name)

        self.enter(follow())
        return told

    def runs(self) -> dict[str, object]:
        return dict(self.daemon.runs)

    def states(self) -> dict[str, DomainState]:
        return dict(self.play(self.host.states()))

    def pid(self, domain: str) -> int:
        (found,) = (p.pid for p in self.processes.by_pid.values() if p.domain == domain)
        return found


class Began(Generic[T]):
    """A call under way."""

    def __init__(self, scene: Scene, call: Coroutine[Any, Any, T]) -> None:
        self._answer: list[T] = []
        self._error: list[PortError] = []

        async def run() -> None:
            try:
                self._answer.append(await call)
            except PortError as error:
                self._error.append(error)

        scene.enter(run())

    @property
    def done(self) -> bool:
        return bool(self._answer or self._error)

    def result(self) -> T:
        if self._error:
            raise self._error[0]
        return self._answer[0]


async def _for_ever() -> None:
    await asyncio.Event().wait()


def _after(kernel: Kernel, group: Group, delay_s: float, action: Callable[[], None]) -> None:
    kernel.after(delay_s, group, action)
