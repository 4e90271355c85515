"""Simulated time: programs as generators, run one at a time, in an order that a seed fixes.

A program yields ``Sleep`` or ``WaitFor`` and is resumed when that is over. Programs belong to a
``Group`` (a machine, a process), which can be stopped for good, or paused: then nothing of it
happens until it is resumed. Nothing here reads a real clock, and nothing is kept outside a Kernel:
two of them in one process know nothing of each other. Called by everything in this package.
"""

import heapq
import random
from collections import Counter
from collections.abc import Callable, Generator
from dataclasses import dataclass, field
from functools import partial
from typing import Protocol


@dataclass(slots=True)
class Sleep:
    """Let time pass, on the clock of the program's group. → True"""

    seconds: float


@dataclass(slots=True)
class WaitFor:
    """Until the signal is given (→ True) or the time is over (→ False)."""

    signal: "Signal"
    timeout_s: float


Command = Sleep | WaitFor
Running = Generator[Command, bool, object]


class Signal:
    """Wakes every program that waits for it. It keeps nothing for those that come later."""

    def __init__(self) -> None:
        self.waiting: list[Callable[[], None]] = []

    def give(self) -> None:
        if self.waiting:
            waiting, self.waiting = self.waiting, []
            for wake in waiting:
                wake()


@dataclass(eq=False)
class Group:
    """Programs with one fate.

    ``rate``: how much faster than true time its clock runs; a group has its parent's. ``holder``:
    the paused group that holds it back, if one does: itself, or one above it. ``told``: who wants
    to know that it is paused, resumed or stopped.
    """

    name: str
    parent: "Group | None" = None
    rate: float = 1.0
    alive: bool = True
    paused: bool = False
    resumed_s: float = float("-inf")
    holder: "Group | None" = None
    held_back: list[tuple["Group", Callable[[], None]]] = field(default_factory=list)
    children: list["Group"] = field(default_factory=list)
    told: list[Callable[[], None]] = field(default_factory=list)

    def __post_init__(self) -> None:
        if self.parent is not None:
            self.parent.children.append(self)
            self.rate, self.holder = self.parent.rate, self.parent.holder
            self.alive = self.alive and self.parent.alive

    @property
    def awake(self) -> bool:
        """Whether anything in it happens at present."""
        return self.alive and self.holder is None

    @property
    def last_resumed_s(self) -> float:
        """When it, or anything above it, last went on after a pause."""
        above_s = self.parent.last_resumed_s if self.parent else float("-inf")
        return max(self.resumed_s, above_s)

    def stop(self) -> None:
        """For good: what was running is never resumed, as after a SIGKILL or a power cut."""
        self.alive = False
        self.held_back.clear()
        for child in self.children:
            child.stop()
        self.children.clear()
        self._tell()

    def set_rate(self, rate: float) -> None:
        """Its clock, and everything in it, runs at this rate from now on."""
        self.rate = rate
        for child in self.children:
            child.set_rate(rate)

    def hold(self, above: "Group | None") -> None:
        """Note what holds it back now, for itself and for all below."""
        self.holder = self if self.paused else above
        for child in self.children:
            child.hold(self.holder)
        self._tell()

    def _tell(self) -> None:
        for tell in self.told:
            tell()


class Program:
    """A generator under way. ``_waits``: which of its waits is the present one."""

    __slots__ = ("_generator", "_group", "_kernel", "_send", "_waits")

    def __init__(self, kernel: "Kernel", group: Group, generator: Running) -> None:
        self._kernel, self._group, self._generator = kernel, group, generator
        self._send, self._waits = generator.send, 0

    def begin(self) -> None:
        try:
            command = next(self._generator)
        except StopIteration:
            return
        self._await(command)

    def go_on(self) -> None:
        """A sleep is over."""
        try:
            command = self._send(True)
        except StopIteration:
            return
        self._await(command)

    def _await(self, command: Command) -> None:
        if type(command) is Sleep:
            self._kernel.after(command.seconds, self._group, self.go_on)
            return
        assert isinstance(command, WaitFor)
        self._waits += 1
        command.signal.waiting.append(partial(self._woken, self._waits))
        self._kernel.after(command.timeout_s, self._group, partial(self._end, self._waits, False))

    def _woken(self, wait: int) -> None:
        self._kernel.after(0.0, self._group, partial(self._end, wait, True))

    def _end(self, wait: int, answer: bool) -> None:
        if wait != self._waits:
            return
        self._waits += 1
        try:
            command = self._send(answer)
        except StopIteration:
            return
        self._await(command)


class Discarded(Protocol):
    """What is to be told that nobody will look at it any more."""

    def discard(self) -> None: ...

    def unheard(self) -> list[BaseException]: ...


class Kernel:
    """The clock and what is due."""

    def __init__(self, seed: int | str) -> None:
        self.now_s = 0.0
        self.random = random.Random(seed)
        self.happened = 0
        self.loops: list[Discarded] = []
        """Every program's, whether it still runs or not."""
        self._due: list[tuple[float, int, Group, Callable[[], None]]] = []
        self._order = 0
        self._numbers: Counter[str] = Counter()

    def between(self, low_s: float, high_s: float) -> float:
        """A duration that the seed decides."""
        return low_s + (high_s - low_s) * self.random.random()

    def number(self, what: str) -> int:
        """1, 2, 3, … of each kind of thing."""
        self._numbers[what] += 1
        return self._numbers[what]

    def at(self, time_s: float, group: Group, action: Callable[[], None]) -> None:
        """Do it then, if the group still lives; after its pause, if it is paused."""
        self._order += 1
        heapq.heappush(self._due, (max(time_s, self.now_s), self._order, group, action))

    def after(self, delay_s: float, group: Group, action: Callable[[], None]) -> None:
        """As ``at``, on the group's clock."""
        self._order += 1
        heapq.heappush(self._due, (self.now_s + delay_s / group.rate, self._order, group, action))

    def spawn(self, group: Group, program: Running) -> None:
        """Begin a program now."""
        self.after(0.0, group, Program(self, group, program).begin)

    def pause(self, group: Group) -> None:
        group.paused = True
        group.hold(group.parent.holder if group.parent else None)

    def resume(self, group: Group) -> None:
        """Everything that fell due meanwhile happens at once, in the order it was due."""
        if not group.paused:
            return
        group.paused, group.resumed_s = False, self.now_s
        group.hold(group.parent.holder if group.parent else None)
        held, group.held_back = group.held_back, []
        for owner, action in held:
            self.at(self.now_s, owner, action)

    def forget(self) -> None:
        """Nothing that is due happens any more."""
        self._due.clear()
        self.loops.clear()

    def run_until(self, end_s: float) -> None:
        """Let everything happen up to this moment."""
        due, pop = self._due, heapq.heappop
        while due and due[0][0] <= end_s:
            self.now_s, _, group, action = pop(due)
            self.happened += 1
            if not group.alive:
                continue
            if group.holder is None:
                action()
            else:
                group.holder.held_back.append((group, action))
        self.now_s = end_s
