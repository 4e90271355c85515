"""The command language of the conformance suite, and what is seen after each step.

A sequence is a list of steps; a step is one or more commands, joined by ``;``, done one after the
other without waiting in between. After each step everything is left to settle, and both sides are
looked at. Pure: text in, values out. Called by everything in this package.
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Protocol

SIDES = ("a", "b")
SEEDS = 40
LINKS = ("", "a>b", "b>a")

# What each verb of a side may be followed by; the first is the default.
VERBS: Mapping[str, tuple[str, ...]] = {
    "attach": ("",),
    "connect": ("", "--discard-my-data"),
    "disconnect": ("",),
    "first-sync": ("",),
    "primary": ("", "--force"),
    "secondary": ("",),
    "resume-io": ("",),
    "outdate": ("",),
    "pause-sync": ("",),
    "resume-sync": ("",),
    "down": ("",),
    "open": ("",),
    "close": ("",),
    "write": ("", "process"),
    "kill": ("",),
    "fail-disk": ("",),
    "crash": ("",),
    "boot": ("",),
    "handler": ("0", "1", "3", "4", "5", "6", "7", "hold"),
    "answer": ("0", "1", "3", "4", "5", "6", "7"),
    "two-primaries": ("yes", "no"),
}
# Verbs whose exit code is compared.
ANSWERED = frozenset(
    {
        *("attach", "connect", "disconnect", "first-sync", "primary", "secondary", "resume-io"),
        *("outdate", "pause-sync", "resume-sync", "down", "two-primaries"),
    }
)
# How every sequence begins unless it says otherwise: new, connected, declared in sync.
IN_SYNC = ("a attach; b attach", "a connect; b connect", "a first-sync")


@dataclass(frozen=True)
class Command:
    """``side`` is empty for the link's verbs, ``cut`` and ``heal``."""

    verb: str
    side: str = ""
    argument: str = ""

    def __str__(self) -> str:
        return " ".join(word for word in (self.side, self.verb, self.argument) if word)


def parse_step(text: str) -> tuple[Command, ...]:
    """Raises: ValueError, with the words that are wrong."""
    return tuple(_command(part.split(), text) for part in text.split(";"))


def _command(words: Sequence[str], text: str) -> Command:
    if words and words[0] in ("cut", "heal"):
        link = words[1] if len(words) == 2 else ""
        if link in LINKS and len(words) <= 2:
            return Command(words[0], "", link)
    elif 2 <= len(words) <= 3 and words[0] in SIDES and words[1] in VERBS:
        argument = words[2] if len(words) == 3 else VERBS[words[1]][0]
        if argument in VERBS[words[1]]:
            return Command(words[1], words[0], argument)
    raise ValueError(f"not a command: {' '.join(words)!r} in {text!r}")


@dataclass(frozen=True)
class Side:
    """What one end shows. ``asked``: how often its handler was called so far."""

    role: str = ""
    peer_role: str = ""
    connection: str = ""
    disk: str = ""
    peer_disk: str = ""
    suspended: str = ""
    asked: int = 0
    power: str = "on"

    def __str__(self) -> str:
        asked = f" asked={self.asked}" if self.asked else ""
        if self.power == "off":
            return f"off{asked}"
        if not self.role:
            return f"unconfigured{asked}"
        frozen = f" suspended={self.suspended}" if self.suspended else ""
        roles, disks = f"{self.role}/{self.peer_role}", f"{self.disk}/{self.peer_disk}"
        return f"{self.connection} {roles} {disks}{frozen}{asked}"


@dataclass(frozen=True)
class Seen:
    """Both ends after a step. ``results``: of every command that is answered, so far."""

    a: str
    b: str
    writes: Mapping[int, str] = field(default_factory=dict)
    results: Sequence[str] = ()


class Backend(Protocol):
    """Somewhere to play on. One sequence at a time."""

    def do(self, command: Command) -> None:
        """Begin it; do not wait for more than that it was begun."""
        ...

    def settle(self) -> Seen:
        """Wait until nothing happens any more, and look."""
        ...

    def survivors(self) -> Mapping[str, Sequence[int]]:
        """The numbers of the writes that each side's disk holds, now."""
        ...


@dataclass(frozen=True)
class Played:
    """A sequence and all that was seen."""

    steps: Sequence[str]
    seen: Sequence[Seen]
    survive: Mapping[str, Sequence[int]]


def play(backend: Backend, steps: Sequence[str]) -> Played:
    """Play the steps, after those of IN_SYNC."""
    seen = []
    for step in (*IN_SYNC, *steps):
        for command in parse_step(step):
            backend.do(command)
        seen.append(backend.settle())
    return Played(tuple(steps), tuple(seen[len(IN_SYNC) :]), backend.survivors())


def closest(real: Played, simulate: Callable[[Sequence[str], int], Played]) -> str | None:
    """The difference from any of what the simulator takes for possible; None if one is the same.

    Some things are a race in DRBD, too, such as who hangs up first: a seed decides them.
    """
    found = None
    for seed in range(1, SEEDS + 1):
        words = difference(real, simulate(real.steps, seed))
        if words is None:
            return None
        found = found or words
    return found


def difference(real: Played, simulated: Played) -> str | None:
    """The first difference, for people; None if there is none."""
    for number, (step, one, two) in enumerate(
        zip(real.steps, real.seen, simulated.seen, strict=True), 1
    ):
        words = [
            f"    {name:8} kernel     {getattr(one, name)}\n"
            f"    {'':8} simulator  {getattr(two, name)}"
            for name in ("a", "b", "writes", "results")
            if getattr(one, name) != getattr(two, name)
        ]
        if words:
            return "\n".join([f"  after step {number}, {step!r}:", *words])
    if real.survive != simulated.survive:
        return (
            f"  at the end:\n    survive  kernel     {dict(real.survive)}\n"
            f"             simulator  {dict(simulated.survive)}"
        )
    return None
