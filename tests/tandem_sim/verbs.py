"""What a step of a scenario may do: the lab's commands, in words.

A command is parsed once, against the names that the scenario knows, into an ``Act``. To add one,
write its function and put it into ``VERBS``; docs/scenarios.md lists them, and a test holds the
list there equal to the one here. Called by ``scenario``.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Protocol

from tandem_sim.world import World


class Known(Protocol):
    """The names that a scenario may use."""

    @property
    def hosts(self) -> tuple[str, ...]: ...
    @property
    def sites(self) -> tuple[str, ...]: ...
    @property
    def guests(self) -> tuple[str, ...]: ...
    @property
    def links(self) -> tuple[str, ...]: ...


@dataclass(frozen=True)
class Act:
    """A command as written, and what it does."""

    command: str
    do: Callable[[World], None]


Effect = Callable[[World], None]
Verb = Callable[[list[str], Known], Effect]


def parse_act(command: str, known: Known) -> Act:
    """Raises: ValueError: what is wrong with it, for people."""
    words = command.split()
    verb = VERBS.get(words[0]) if words else None
    if verb is None:
        raise ValueError(f"there is no command {command!r}; known: {', '.join(VERBS)}")
    return Act(command, verb(words[1:], known))


def _name(words: list[str], position: int, known: tuple[str, ...], what: str) -> str:
    if position >= len(words):
        raise ValueError(f"{what} is missing: one of {', '.join(known)}")
    if words[position] not in known:
        raise ValueError(f"{words[position]!r} is no {what}; known: {', '.join(known)}")
    return words[position]


def _at_most(words: list[str], number: int) -> None:
    if len(words) > number:
        raise ValueError(f"{' '.join(words[number:])!r} is too much")


def _on_host(act: Callable[[World, str], None]) -> Verb:
    def verb(words: list[str], known: Known) -> Effect:
        _at_most(words, 1)
        host = _name(words, 0, known.hosts, "HOST")
        return lambda world: act(world, host)

    return verb


def _on_link(act: Callable[[World, str, str], None]) -> Verb:
    def verb(words: list[str], known: Known) -> Effect:
        _at_most(words, 2)
        link = _name(words, 0, known.links, "LINK")
        host = _name(words, 1, known.hosts, "HOST") if len(words) > 1 else ""
        return lambda world: act(world, link, host)

    return verb


def _switch(acts: Mapping[str, Effect]) -> Verb:
    def verb(words: list[str], known: Known) -> Effect:
        _at_most(words, 1)
        return acts[_name(words, 0, tuple(acts), "ACTION")]

    return verb


def _of_host(acts: Mapping[str, Callable[[World, str], None]]) -> Verb:
    """``VERB ACTION HOST``."""

    def verb(words: list[str], known: Known) -> Effect:
        _at_most(words, 2)
        act = acts[_name(words, 0, tuple(acts), "ACTION")]
        host = _name(words, 1, known.hosts, "HOST")
        return lambda world: act(world, host)

    return verb


def _truth(text: str) -> bool:
    if text not in ("true", "false"):
        raise ValueError(f"{text!r} is neither true nor false")
    return text == "true"


FIELDS: Mapping[str, Callable[[str], object]] = {"running": _truth}


def _set(words: list[str], known: Known) -> Effect:
    """``set GUEST running=false`` or ``set SITE maintenance=true``."""
    _at_most(words, 2)
    name = _name(words, 0, (*known.guests, *known.sites), "GUEST or SITE")
    field, equals, text = (words[1] if len(words) > 1 else "").partition("=")
    if name in known.sites and field == "maintenance" and equals:
        on = _truth(text)
        return lambda world: world.maintenance(name, on=on)
    if name in known.guests and field in FIELDS and equals:
        value = FIELDS[field](text)
        return lambda world: world.edit(name, field, value)
    raise ValueError("write running=true|false of a guest, or maintenance=true|false of a site")


def _override(words: list[str], known: Known) -> Effect:
    _at_most(words, 2)
    guest = _name(words, 0, known.guests, "GUEST")
    host = _name(words, 1, known.hosts, "HOST")
    return lambda world: world.override(guest, host)


VERBS: Mapping[str, Verb] = {
    "kill": _on_host(lambda world, host: world.kill(host)),
    "start": _on_host(lambda world, host: world.start(host)),
    "pause": _on_host(lambda world, host: world.pause(host)),
    "resume": _on_host(lambda world, host: world.resume(host)),
    "cut": _on_link(lambda world, link, host: world.cut(link, host)),
    "heal": _on_link(lambda world, link, host: world.heal(link, host)),
    "api": _switch({"down": lambda world: world.api_down(), "up": lambda world: world.api_up()}),
    "controller": _switch(
        {
            "kill": lambda world: world.controller_kill(),
            "start": lambda world: world.controller_start(),
        }
    ),
    "actuator": _of_host(
        {
            "kill": lambda world, host: world.actuator_kill(host),
            "stop": lambda world, host: world.actuator_stop(host),
            "start": lambda world, host: world.actuator_start(host),
        }
    ),
    "libvirt": _of_host(
        {
            "down": lambda world, host: world.libvirt(host, up=False),
            "up": lambda world, host: world.libvirt(host, up=True),
        }
    ),
    "fail-disk": _on_host(lambda world, host: world.fail_disk(host)),
    "crash-after-grant": _on_host(lambda world, host: world.crash_after_grant(host)),
    "set": _set,
    "override": _override,
    "confirm-down": _on_host(lambda world, host: world.confirm_down(host)),
}
