"""What is drawn while a schedule of faults is made: moments, hosts, guests."""

import random
from collections.abc import Mapping
from dataclasses import dataclass, field

from tandem_scenario.verbs import EVERYTHING, Names

LASTS_S = (0.3, 1.5, 4.0, 8.0, 12.0, 18.0, 30.0)
"""Some below every wait of the protocol, some above all of them."""
LONG_S = (14.0, 18.0, 25.0)
"""Most of them long enough for a takeover."""
HITS_VICTIM = 0.7
HITS_OWNER = 0.6
AT_ONCE_S = (0.0, 0.0, 0.05, 0.5)


@dataclass
class Drawing:
    """A schedule that is being made up. ``victim``: a host, if one is picked on; most of what
    happens to a host happens to that one then. ``owner``: where a guest is at home. ``mirrors``:
    the two hosts of each guest.
    """

    chance: random.Random
    names: Names
    victim: str = ""
    owner: str = ""
    mirrors: Mapping[str, tuple[str, ...]] = field(default_factory=dict)

    def host(self) -> str:
        if self.victim and self.chance.random() < HITS_VICTIM:
            return self.victim
        return self.chance.choice(self.names.hosts)

    def pair(self) -> tuple[str, str]:
        """A host that probably has something to lose, and one that would take that over."""
        host = self.owner if self.owner and self.chance.random() < HITS_OWNER else self.host()
        return host, self.other(host)

    def other(self, host: str) -> str:
        """One that has a mirror in common with it."""
        others = [other for other in self.names.hosts if other != host]
        near = [each for each in others if self._share(host, each)] or others
        return near[0] if len(near) == 1 else self.chance.choice(near)

    def _share(self, one: str, other: str) -> bool:
        return any({one, other} == {*hosts} for hosts in self.mirrors.values())

    @property
    def several(self) -> bool:
        """Whether a site has more than one host."""
        return len(self.names.hosts) > len(self.names.sites)

    def in_common(self) -> tuple[str, str]:
        """The two hosts of a mirror."""
        one, other = self.mirrors[self.guest()]
        return one, other

    def at(self, site: str) -> tuple[str, ...]:
        """Its hosts."""
        return tuple(host for host in self.names.hosts if host.startswith(f"{site}-"))

    def guest(self) -> str:
        return self.chance.choice(self.names.guests)

    def site(self) -> str:
        return self.chance.choice(self.names.sites)

    def premises(self) -> str:
        """What a person has emptied."""
        return self.pick(self.site(), self.host())

    def subject(self) -> str:
        """What a person pauses, or all of it."""
        return self.pick(self.guest(), self.host(), self.site(), EVERYTHING)

    def program(self) -> str:
        return self.chance.choice((self.host(), self.host(), "controller"))

    def clock(self) -> str:
        """Whose wall clock: what most is counted on is the controller's."""
        return self.chance.choice((self.host(), "controller", "controller", "api"))

    def pick(self, *choices: str) -> str:
        return self.chance.choice(choices)

    def soon_s(self) -> float:
        return self.chance.choice(AT_ONCE_S)

    def lasts_s(self, long: bool = False) -> float:
        return self.chance.choice(LONG_S if long else LASTS_S) * self.chance.uniform(0.6, 1.4)


@dataclass(frozen=True)
class Timed:
    """A command, so long after its burst began; with ``upon`` right after an effect (``HOST
    EFFECT NUMBER``) from then on.
    """

    after_s: float
    command: str
    upon: tuple[str, str, int] | None = None
