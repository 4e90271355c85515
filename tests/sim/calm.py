"""Promise 3: what befalls the management plane alone stops no healthy guest.

A guest is *calm* once it has run, connected, in sync and with every program of both hosts well, for
a while in which nothing but the management plane was touched. From then on, as long as nothing else
is touched, it must neither end nor stall, unless the objects themselves ask for a planned stop.
Called by ``referee``.
"""

from collections.abc import Callable, Iterable
from dataclasses import dataclass, field

from sim.guest import Run
from sim.network import MANAGEMENT
from sim.truth import Truth

MANAGEMENT_PLANE = frozenset(
    {
        "api down",
        "api up",
        "api pause",
        "api resume",
        "api restart",
        "api backup",
        "controller kill",
        "controller start",
        "controller pause",
        "controller resume",
        "controller second",
        "plan slow",
        "watch lag",
        "watch silent",
        "watch close",
        "watch expire",
        "watch lose",
        "watch double",
        "slow",
        "slow in",
        "slow out",
        "api refuse",
        "api refuse writes",
        "api refuse half",
        "api refuse done",
        "api mute",
        "api accept",
        "api stale",
        "api fresh",
        "api compact",
        "kopf kill",
        "kopf give-up",
        "kopf lag",
    }
)
LINK_VERBS = frozenset({"cut", "cut in", "cut out", "heal", "delay"})
PEOPLE = frozenset(
    {
        *("set running", "set failback", "set prefers", "set maintenance", "set paused"),
        *("move", "move live", "unmove"),
    }
)
HEARD_OF_S = 60.0
"""So long a person's earlier order may still be on its way to those who carry it out."""
STALLS_S = 2.0


def of_the_management_plane(verb: str, arguments: tuple[str, ...]) -> bool:
    """Whether it touches the API, the controller, or the ways to them, and nothing else."""
    link = verb in LINK_VERBS and arguments[:1] == (MANAGEMENT,)
    starved = verb == "starve" and arguments[:1] == ("controller",)
    return link or starved or verb in MANAGEMENT_PLANE


@dataclass
class Calm:
    """``after_s``: how long all must have been well before a guest counts as calm."""

    truth: Truth
    broken: Callable[[str], None]
    after_s: float
    calm: set[Run] = field(default_factory=set)
    watched: list[Run] = field(default_factory=list)
    well_since_s: float | None = None
    ordered_s: float = float("-inf")

    def done(self, now_s: float, verb: str, arguments: tuple[str, ...]) -> None:
        """Something was done to the world."""
        if of_the_management_plane(verb, arguments):
            return
        if verb in PEOPLE:
            self.ordered_s = now_s
        self.disturbed()

    def disturbed(self) -> None:
        """From now on it may be another reason that ends a guest."""
        self.calm.clear()
        self.well_since_s = None

    def look(self, now_s: float, runs: Iterable[Run]) -> None:
        """``runs``: those of all guests that execute now."""
        new = [run for run in runs if run not in self.calm]
        if not new:
            return
        if not all(self.truth.calm(run) for run in (*new, *self.calm)):
            self.well_since_s = None
            return
        if self.well_since_s is None or new != self.watched:
            self.well_since_s, self.watched = now_s, new
        if now_s - self.well_since_s >= self.after_s:
            self.calm.update(new)

    def wrote(self, now_s: float, run: Run, last_s: float) -> None:
        """When a write of the newest run was last acknowledged."""
        if run in self.calm and now_s - last_s > STALLS_S and not run.asked_to_stop:
            self.calm.discard(run)
            self.broken(f"{run.guest} stalls on {run.host} although all but the management is well")

    def ended(self, now_s: float, run: Run, why: str) -> None:
        if run not in self.calm:
            return
        self.calm.discard(run)
        ordered = now_s - self.ordered_s < HEARD_OF_S or self.truth.stop_is_wanted(run)
        if run.asked_to_stop and ordered:
            return
        self.broken(
            f"{run.guest} ended on {run.host} ({why}) because of the management plane alone"
        )
