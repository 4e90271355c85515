"""A burst that is being made up, and what is common to them. Called by ``bursts``, ``outages``."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field

from sim.faults.drawing import Drawing, Timed

LEFT = 0.2
"""How much of what is broken its burst does not mend."""


@dataclass
class Burst:
    """One that is being made up."""

    drawing: Drawing
    steps: list[Timed] = field(default_factory=list)

    def do(self, command: str, after_s: float = 0.0) -> None:
        self.steps.append(Timed(after_s, command))

    def upon(
        self, host: str, effects: Sequence[str], command: str, after_s: float = 0.0, most: int = 2
    ) -> None:
        chance = self.drawing.chance
        effect = chance.choice(effects)
        self.steps.append(Timed(after_s, command, (host, effect, chance.randint(1, most))))

    def ail(self, wrong: tuple[str, str], after_s: float = 0.0, *, long: bool = False) -> None:
        """What breaks, and what mends that: later, or not before all is mended."""
        command, mends = wrong
        self.do(command, after_s)
        self.mend(mends, after_s, long=long)

    def mend(self, command: str, after_s: float = 0.0, *, long: bool = False) -> None:
        if command and self.drawing.chance.random() >= LEFT:
            self.do(command, after_s + self.drawing.lasts_s(long))


Make = Callable[[Burst], None]

CLAIMING = ("Swap", "Promote", "UpdateRecord", "StartGuest", "ReadMirror", "Any")
GRANTING = ("Swap", "Swap", "UpdateRecord", "ReadMirror", "QueryDrbd")
MOVING = ("ShutDownGuest", "Demote", "Swap", "UpdateRecord")


def wrong_with(host: str) -> list[tuple[str, str]]:
    """What can be the matter with one host, and what mends it."""
    return [
        (f"kill {host}", f"start {host}"),
        (f"pause {host}", f"resume {host}"),
        (f"cut replication {host}", f"heal replication {host}"),
        (f"cut replication {host} in", f"heal replication {host}"),
        (f"cut management {host}", f"heal management {host}"),
        (f"cut management {host} in", f"heal management {host}"),
        (f"slow {host} 4", f"slow {host} 0"),
        (f"slow {host} 3 in", f"slow {host} 0 in"),
        (f"api refuse {host} 503", f"api accept {host}"),
        (f"api mute {host}", f"api accept {host}"),
        (f"watch lag {host} 12", f"watch lag {host} 0"),
        (f"actuator pause {host}", f"actuator resume {host}"),
        (f"actuator kill {host}", ""),
        (f"starve {host} 1.5", f"starve {host} 0"),
        (f"keeper pause {host}", f"keeper resume {host}"),
        (f"libvirt pause {host}", f"libvirt resume {host}"),
        (f"libvirt down {host}", f"libvirt up {host}"),
        (f"libvirt hang {host}", f"libvirt up {host}"),
        (f"files full {host}", f"files heal {host}"),
        (f"fail-disk {host}", ""),
    ]


OF_THE_CONTROL = (
    ("api down", "api up"),
    ("api pause", "api resume"),
    ("api restart", ""),
    ("controller kill", "controller start"),
    ("controller pause", "controller resume"),
    ("slow controller 4", "slow controller 0"),
    ("api mute controller", "api accept controller"),
    ("watch lag controller 12", "watch lag controller 0"),
)
AWAY = (("api down", "api up"), ("api pause", "api resume"), ("api pause", "api resume"))
