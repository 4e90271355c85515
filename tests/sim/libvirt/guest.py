"""A guest: it reads its disk once, then writes a number at a steady rate and waits for each answer.

``Referee`` is told of every start, acknowledgement and end. Called by ``libvirtd``.
"""

from collections.abc import Callable, Generator
from dataclasses import dataclass, field
from itertools import count
from typing import Protocol

from sim.drbd.replica import Replica
from sim.drbd.state import Write
from sim.engine.kernel import Command, Group, Kernel, Signal, Sleep, WaitFor
from tandem_actuator.ports import CommandFailed
from tandem_api.vocabulary import Role

BOOT_S = 0.5
PERIOD_S = 0.1
MIGRATED = "migrated"
"""How a run ends that goes on elsewhere."""


class Referee(Protocol):
    """Who judges what guests see."""

    def started(self, run: "Run") -> None: ...
    def stands_still(self, run: "Run") -> None: ...
    def asked_to_stop(self, run: "Run") -> None: ...
    def acknowledged(self, run: "Run", volume: str, number: int) -> None: ...
    def ended(self, run: "Run", why: str) -> None: ...


@dataclass(eq=False)
class Run:
    """One execution of a guest on one host. ``number`` and ``ordered_s``: in which order, and when,
    libvirt was told to start it. ``executing``: its processors run. ``heard``: somebody hears what
    it says, since its network is not cut.
    """

    guest: str
    host: str
    replica: Replica
    group: Group
    kernel: Kernel
    referee: Referee
    number: int
    ordered_s: float
    period_s: float = PERIOD_S
    executing: bool = True
    heard: bool = True
    asked_to_stop: bool = False
    answered: Signal = field(default_factory=Signal)
    failed: bool = False
    told: Callable[[], None] = lambda: None
    """Called when it has begun or ended."""
    still: bool = False
    """Its processors wait, to go on here or elsewhere."""
    memory_of: "Run | None" = None
    """The run that it goes on with."""
    moved: Signal = field(default_factory=Signal)
    by_hand: bool = False
    """A person has started it, past Tandem."""

    @property
    def stood_still(self) -> bool:
        """Whether its machine stood still while libvirt was starting it."""
        return self.group.last_resumed_s > self.ordered_s

    def begin(self) -> None:
        """From its disk, or with the memory that it was sent."""
        self.replica.opened = True
        if self.memory_of is not None:
            self.number, self.ordered_s = self.kernel.number("run"), self.kernel.now_s
        self.referee.started(self)
        self.kernel.spawn(self.group, self._live())
        self.told()

    def stand_still(self) -> None:
        """Its memory is sent: it executes nothing until that has come to something."""
        self.still = True
        self.referee.stands_still(self)

    def go_on(self) -> None:
        self.still = False
        self.moved.give()

    def remembers(self, run: "Run") -> None:
        """All of its memory is here, as it is now."""
        self.memory_of = run

    def ask_to_stop(self) -> None:
        self.asked_to_stop = True
        self.referee.asked_to_stop(self)

    def end(self, why: str) -> None:
        """Its processors stop, at once and for good. Its device may stay open for longer."""
        if self.executing:
            self.executing = False
            self.referee.ended(self, why)
        self.group.stop()
        self.told()

    @property
    def stuck(self) -> bool:
        """Whether a write is pending, so that its process cannot go away."""
        return bool(self.replica.in_flight or self.replica.blocked)

    def open(self) -> None:
        """QEMU takes its disks, before it executes anything. Raises: CommandFailed."""
        if self.replica.role is not Role.PRIMARY:
            raise CommandFailed("could not open disk: read-only")
        self.replica.opened = True

    def close(self) -> None:
        """Its QEMU is gone."""
        self.replica.opened = False

    def _live(self) -> Generator[Command, bool, None]:
        if self.memory_of is None:
            yield Sleep(BOOT_S)
        volumes = sorted(self.replica.volumes)
        for turn in count():
            yield Sleep(self.period_s)
            while self.still:
                yield WaitFor(self.moved, 3600.0)
            if self.asked_to_stop and not self.stuck:
                self.end("shut down")
                return
            if not self.failed:
                yield from self._write(volumes[turn % len(volumes)])

    def _write(self, volume: str) -> Generator[Command, bool, None]:
        number, answers = self.kernel.number("write"), list[bool]()

        def done(acknowledged: bool) -> None:
            answers.append(acknowledged)
            if acknowledged and self.executing:
                self.referee.acknowledged(self, volume, number)
            self.answered.give()

        self.replica.submit(Write(number, volume, done))
        while not answers:
            yield WaitFor(self.answered, 3600.0)
        if not answers[0]:
            self.failed = True
