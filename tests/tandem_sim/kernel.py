"""Simulated time: programs as generators, run one at a time, in an order that a seed fixes.

A program yields ``Sleep`` or ``WaitFor`` and is resumed when that is over. Programs belong to a
``Group`` (a machine, a process), which can be stopped for good, or paused: then nothing of it
happens until it is resumed. Nothing here reads a real clock. Called by everything in this package.
"""

import heapq
import random
from collections.abc import Callable, Generator
from dataclasses import dataclass, field
from itertools import count


@dataclass(frozen=True)
class Sleep:
    """Let time pass, on the clock of the program's group. → True"""

    seconds: float


@dataclass(frozen=True)
class WaitFor:
    """Until the signal is given (→ True) or the time is over (→ False)."""

    signal: "Signal"
    timeout_s: float


Command = Sleep | WaitFor


class Signal:
    """Wakes every program that waits for it. It keeps nothing for those that come later."""

    def __init__(self) -> None:
        self.waiting: list[Callable[[], None]] = []

    def give(self) -> None:
        waiting, self.waiting = self.waiting, []
        for wake in waiting:
            wake()


@dataclass
class Group:
    """Programs with one fate. ``rate``: how much faster than true time its clock runs."""

    name: str
    parent: "Group | None" = None
    own_rate: float = 1.0
    alive: bool = True
    paused: bool = False
    resumed_s: float = float("-inf")
    held_back: list[Callable[[], None]] = field(default_factory=list)
    children: list["Group"] = field(default_factory=list)

    def __post_init__(self) -> None:
        if self.parent is not None:
            self.parent.children.append(self)

    @property
    def rate(self) -> float:
        return self.parent.rate if self.parent else self.own_rate

    @property
    def runs(self) -> bool:
        """Whether it is alive, with everything above it."""
        return self.alive and (self.parent is None or self.parent.runs)

    @property
    def held_by(self) -> "Group | None":
        """The paused group that holds it back, if one does."""
        if self.paused:
            return self
        return self.parent.held_by if self.parent else None

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


class Kernel:
    """The clock and what is due."""

    def __init__(self, seed: int) -> None:
        self.now_s = 0.0
        self.random = random.Random(seed)
        self._due: list[tuple[float, int, Group, Callable[[], None]]] = []
        self._order = count()
        self.checks: list[Callable[[], None]] = []

    def between(self, low_s: float, high_s: float) -> float:
        """A duration that the seed decides."""
        return self.random.uniform(low_s, high_s)

    def at(self, time_s: float, group: Group, action: Callable[[], None]) -> None:
        """Do it then, if the group still lives; after its pause, if it is paused."""
        heapq.heappush(self._due, (max(time_s, self.now_s), next(self._order), group, action))

    def after(self, delay_s: float, group: Group, action: Callable[[], None]) -> None:
        """As ``at``, on the group's clock."""
        self.at(self.now_s + delay_s / group.rate, group, action)

    def spawn(self, group: Group, program: Generator[Command, bool, object]) -> None:
        """Begin a program now."""
        self.after(0.0, group, lambda: self._advance(group, program, None))

    def pause(self, group: Group) -> None:
        group.paused = True

    def resume(self, group: Group) -> None:
        """Everything that fell due meanwhile happens at once, in the order it was due."""
        group.paused, group.resumed_s = False, self.now_s
        held, group.held_back = group.held_back, []
        for action in held:
            action()

    def run_until(self, end_s: float) -> None:
        """Let everything happen up to this moment."""
        while self._due and self._due[0][0] <= end_s:
            self.now_s, _, group, action = heapq.heappop(self._due)
            self._do(group, action)
            for check in self.checks:
                check()
        self.now_s = end_s

    def _do(self, group: Group, action: Callable[[], None]) -> None:
        if not group.runs:
            return
        holder = group.held_by
        if holder is not None:
            holder.held_back.append(lambda: self.at(self.now_s, group, action))
        else:
            action()

    def _advance(
        self, group: Group, program: Generator[Command, bool, object], answer: bool | None
    ) -> None:
        if not group.runs:
            return
        try:
            command = program.send(answer) if answer is not None else next(program)
        except StopIteration:
            return
        match command:
            case Sleep(seconds):
                self.after(seconds, group, lambda: self._advance(group, program, True))
            case WaitFor(signal, timeout_s):
                self._wait(group, program, signal, timeout_s)

    def _wait(
        self,
        group: Group,
        program: Generator[Command, bool, object],
        signal: Signal,
        timeout_s: float,
    ) -> None:
        over = False

        def end(answer: bool) -> None:
            nonlocal over
            if not over:
                over = True
                self._advance(group, program, answer)

        def woken() -> None:
            self.after(0.0, group, lambda: end(True))

        signal.waiting.append(woken)
        self.after(timeout_s, group, lambda: end(False))
