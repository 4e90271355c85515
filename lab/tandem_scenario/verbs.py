"""The commands of a scenario: their forms, and how a line is matched against them.

A command is parsed once, against the names that the scenario knows, into an ``Act``. What it does
is up to the player: the simulator and the lab each have a table from ``Act.verb`` to a function.
To add one, write its form into ``FORMS``, its doing into those tables (a player that cannot do it
leaves it out, and refuses files that want it), and a row into docs/scenarios.md. Called by
``scenario``.
"""

import re
from collections.abc import Mapping
from dataclasses import dataclass

from tandem_api.registry import KINDS

FORMS = (
    "kill HOST",
    "start HOST",
    "pause HOST",
    "resume HOST",
    "cut LINK [HOST]",
    "cut LINK HOST in",
    "cut LINK HOST out",
    "heal LINK [HOST]",
    "cut replication HOST HOST",
    "heal replication HOST HOST",
    "delay LINK HOST MS",
    "link narrow",
    "link wide",
    "slow PROGRAM SECONDS",
    "slow PROGRAM SECONDS in",
    "slow PROGRAM SECONDS out",
    "watch lag PROGRAM SECONDS",
    "watch silent PROGRAM",
    "watch close PROGRAM",
    "watch expire PROGRAM",
    "watch lose PROGRAM PERCENT",
    "watch double PROGRAM PERCENT",
    "api down",
    "api up",
    "api pause",
    "api resume",
    "api restart",
    "api backup",
    "api restore",
    "api refuse PROGRAM CODE",
    "api refuse PROGRAM CODE writes",
    "api refuse PROGRAM CODE half",
    "api refuse PROGRAM CODE done",
    "api refuse PROGRAM CODE objects",
    "api narrow PROGRAM",
    "api mute PROGRAM",
    "api accept PROGRAM",
    "api stale",
    "api fresh",
    "api compact",
    "controller kill",
    "controller start",
    "controller pause",
    "controller resume",
    "controller second",
    "kopf kill",
    "kopf give-up KIND",
    "kopf lag SECONDS",
    "plan slow SECONDS",
    "actuator kill HOST",
    "actuator stop HOST",
    "actuator start HOST",
    "actuator pause HOST",
    "actuator resume HOST",
    "handler kill HOST",
    "drbd spoil HOST",
    "drbd correct HOST",
    "drbd events HOST SECONDS",
    "drbd skip HOST",
    "tcp hide HOST",
    "tcp show HOST",
    "starve PROGRAM SECONDS",
    "libvirt down HOST",
    "libvirt up HOST",
    "libvirt refuse HOST",
    "libvirt slow HOST SECONDS",
    "libvirt hang HOST",
    "libvirt linger HOST SECONDS",
    "libvirt pause HOST",
    "libvirt resume HOST",
    "libvirt hold HOST CALL",
    "libvirt late HOST CALL SECONDS",
    "libvirt events HOST SECONDS",
    "clock HOST RATE",
    "clock jump CLOCK SECONDS",
    "clock jump CLOCK SECONDS back",
    "clock right CLOCK",
    "watchdog away HOST",
    "watchdog back HOST",
    "watchdog refuse HOST SECONDS",
    "keeper kill HOST",
    "keeper pause HOST",
    "keeper resume HOST",
    "keeper starve HOST SECONDS",
    "fence-agent hang HOST",
    "fence-agent refuse HOST",
    "fence-agent away HOST",
    "fence-agent bounce HOST",
    "fence-agent well HOST",
    "files full HOST",
    "files full HOST run",
    "files read-only HOST",
    "files unsynced HOST",
    "files unreadable HOST",
    "files heal HOST",
    "fail-disk HOST [NUMBER]",
    "hang-disk HOST [NUMBER]",
    "hang-disk HOST reads",
    "unhang-disk HOST",
    "detach HOST",
    "stall-resync GUEST",
    "stall-resync GUEST unheard",
    "verify GUEST",
    "crash GUEST",
    "crash-after-grant HOST",
    "churn GUEST",
    "calm GUEST",
    "set GUEST running=BOOL",
    "set GUEST failback=POLICY",
    "set GUEST prefers=SITE",
    "spoil GUEST",
    "correct GUEST",
    "add-volume GUEST",
    "add-volume GUEST numbered",
    "set PREMISES maintenance=BOOL",
    "set SUBJECT paused=BOOL",
    "move GUEST PREMISES",
    "move GUEST PREMISES live",
    "move GUEST PREMISES within SECONDS",
    "move GUEST PREMISES newer",
    "unmove GUEST",
    "set SITE profile=PROFILE",
    "set GUEST protocol=PROTOCOL",
    "override GUEST HOST",
    "override-stale GUEST HOST",
    "confirm-down HOST",
    "delete GUEST",
    "recreate GUEST",
    "upgrade PROGRAM",
    "downgrade PROGRAM",
    "newer-protocol GUEST",
    "lose-records HOST",
    "damage-records HOST",
    "promote-by-hand HOST GUEST",
    "start-by-hand HOST GUEST",
    "allow-two-primaries GUEST",
    "bug HOST PLACE GUEST",
    "bug controller PART OBJECT",
    "fix PROGRAM",
    "break WHAT",
    "obey GUEST",
    "mend all",
    "mend all but broken",
)
"""Words in capitals stand for a name or value, those in brackets may be left out."""

BREAKABLE = (
    *("disk", "volume", "libvirt", "start", "watchdog", "power", "files"),
    *("config", "management", "refused", "narrow", "late", "hang", "unread"),
)
"""Of each host; what no host has are the replication link, its path for large packets, the API."""
PLACES = ("rule", "step", "call", "look", "report", "answer", "guard", "match")
"""Where a bug of an actuator is: the rules, a procedure's step, a call to DRBD, a look at it, the
report, the answer to DRBD's question, the guard, and what tells which guest is which mirror's."""
PARTS = ("check", "decision", "order", "set-up", "status", "write")
"""And of the controller: the check of a spec, the decision, an order to override, set-up, the
status, the write of a decision."""
EVERYTHING = "everything"
"""What can be paused besides guests, hosts and sites."""
NUMBERS = ("NUMBER", "SECONDS", "RATE", "PERCENT")


@dataclass(frozen=True)
class Act:
    """A command as written. ``verb`` is what its form has in small letters (``api down``,
    ``set running``), ``arguments`` is what stands for the capitals, "" for what was left out."""

    command: str
    verb: str
    arguments: tuple[str, ...] = ()


@dataclass(frozen=True)
class Names:
    """What may be named in steps and expectations."""

    hosts: tuple[str, ...]
    sites: tuple[str, ...]
    guests: tuple[str, ...]
    links: tuple[str, ...]

    @property
    def by_word(self) -> Mapping[str, tuple[str, ...]]:
        """What each word of a form may stand for."""
        return {
            "HOST": self.hosts,
            "SITE": self.sites,
            "GUEST": self.guests,
            "PREMISES": (*self.hosts, *self.sites),
            "SUBJECT": (*self.guests, *self.hosts, *self.sites, EVERYTHING),
            "LINK": self.links,
            "BOOL": ("true", "false"),
            "POLICY": ("Automatic", "Manual"),
            "PROFILE": ("Default", "Fast"),
            "PROTOCOL": ("A", "B", "C"),
            "PROGRAM": (*self.hosts, "controller"),
            "CLOCK": (*self.hosts, "controller", "api"),
            "CODE": ("401", "403", "409", "422", "429", "500", "503"),
            "KIND": tuple(info.kind for info in KINDS),
            "WHAT": tuple(
                [f"{kind}@{host}" for kind in BREAKABLE for host in self.hosts]
                + ["link", "path", "api"]
            ),
            "PLACE": PLACES,
            "PART": PARTS,
            "OBJECT": tuple(
                f"{info.kind}/{name}" for info in KINDS for name in self._named(info.kind)
            ),
            "CALL": ("look", "start", "shutdown", "destroy", "open"),
        }

    def _named(self, kind: str) -> tuple[str, ...]:
        """A mirror is named as its guest."""
        return {"Site": self.sites, "Host": self.hosts}.get(kind, self.guests)


class _Mismatch(ValueError):
    """Why a command does not have a form, and how many of its words did."""

    def __init__(self, fitting: int, message: str) -> None:
        super().__init__(message)
        self.fitting = fitting


def verb_of(form: str) -> str:
    """The words of a form that are meant literally."""
    parts = (part for word in form.split() for part in word.split("="))
    return " ".join(part for part in parts if part.islower())


VERBS = tuple(verb_of(form) for form in FORMS)


def parse_act(command: str, known: Names) -> Act:
    """Raises: ValueError: what is wrong with it, for people."""
    words = command.split()
    forms = [form for form in FORMS if words and form.split()[0] == words[0]]
    if not forms:
        first_words = ", ".join(dict.fromkeys(form.split()[0] for form in FORMS))
        raise ValueError(f"there is no command {command!r}; known: {first_words}")
    mismatches = []
    for form in forms:
        try:
            return Act(command, verb_of(form), _arguments(form, words, known))
        except _Mismatch as mismatch:
            mismatches.append(mismatch)
    closest = max(mismatches, key=lambda mismatch: mismatch.fitting)
    raise ValueError(f"{closest}; write {' or '.join(forms)}")


def _arguments(form: str, words: list[str], known: Names) -> tuple[str, ...]:
    """What stands for the capitals of this form. Raises: _Mismatch."""
    expected = form.split()
    if len(words) > len(expected):
        raise _Mismatch(len(expected), f"{' '.join(words[len(expected) :])!r} is too much")
    arguments: list[str] = []
    for position, pattern in enumerate(expected):
        word = words[position] if position < len(words) else ""
        if not word and pattern.startswith("["):
            arguments.append("")
            continue
        found = _match(pattern.strip("[]"), word, known, position)
        if found is not None:
            arguments.append(found)
    return tuple(arguments)


def _match(pattern: str, word: str, known: Names, position: int) -> str | None:
    """The name or value that stands there; None for a word that is meant literally."""
    if "=" in pattern:
        (field, value), (written, _, text) = pattern.split("="), word.partition("=")
        if written != field:
            raise _Mismatch(position, f"{word!r} is not {pattern}")
        return _match(value, text, known, position)
    if pattern.islower():
        if word != pattern:
            raise _Mismatch(position, f"{word!r} is not {pattern!r}")
        return None
    if pattern == "MS":
        if not word.isdecimal():
            raise _Mismatch(position, f"{word!r} is no whole number of milliseconds")
        return word
    if pattern in NUMBERS:
        if not re.fullmatch(r"[0-9]+(\.[0-9]+)?", word) or (pattern == "NUMBER" and "." in word):
            raise _Mismatch(position, f"{word!r} is no {pattern}")
        return word
    choices = known.by_word[pattern]
    if not word:
        raise _Mismatch(position, f"{pattern} is missing: one of {', '.join(choices)}")
    if word not in choices:
        raise _Mismatch(position, f"{word!r} is no {pattern}; known: {', '.join(choices)}")
    return word
