"""Promise 3: what befalls the management plane alone stops no healthy guest.

A guest is *calm* once it has run, connected, in sync and with every program of both hosts well, for
a while in which nothing but the management plane was touched, and hosts that hold no disk of it.
From then on, as long as nothing else is touched, it must neither end nor stall, unless the objects
themselves ask for a planned stop. So what befalls one pair of hosts costs no guest of another,
nor do two hosts that lose each other cost one that is not mirrored between them, whatever ails the
management plane meanwhile. Called by ``referee``.
"""

from collections.abc import Callable, Iterable
from dataclasses import dataclass, field

from sim.libvirt.guest import Run
from sim.network.links import MANAGEMENT
from sim.referee.truth import Truth

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
        "api refuse objects",
        "api narrow",
        "api mute",
        "api accept",
        "api stale",
        "api fresh",
        "api compact",
        "kopf kill",
        "kopf give-up",
        "kopf lag",
        "clock jump",
        "clock jump back",
        "clock right",
    }
)
"""And what touches nothing that anything may be counted on: what time it is, for people."""
LINK_VERBS = frozenset({"cut", "cut in", "cut out", "heal", "delay"})
PEOPLE = frozenset(
    {
        *("set running", "set failback", "set prefers", "set maintenance", "set paused"),
        *("move", "move live", "unmove"),
    }
)
OF_HOSTS = frozenset(
    {
        *("kill", "start", "pause", "resume", "clock", "handler kill", "starve"),
        *("drbd spoil", "drbd correct", "drbd events", "drbd skip", "tcp hide", "tcp show"),
        *("fail-disk", "hang-disk", "hang-disk reads", "unhang-disk", "detach"),
        *("cut", "cut in", "cut out", "heal", "delay", "cut replication", "heal replication"),
        *("actuator kill", "actuator stop", "actuator start", "actuator pause", "actuator resume"),
        *("libvirt down", "libvirt up", "libvirt refuse", "libvirt slow", "libvirt hang"),
        "libvirt linger",
        *("libvirt pause", "libvirt resume", "libvirt hold", "libvirt late", "libvirt events"),
        *("watchdog away", "watchdog back", "watchdog refuse", "damage-records", "lose-records"),
        *("keeper kill", "keeper pause", "keeper resume", "keeper starve"),
        *("fence-agent hang", "fence-agent refuse", "fence-agent away", "fence-agent bounce"),
        "fence-agent well",
        *("files full", "files full run", "files read-only", "files unsynced"),
        *("files unreadable", "files heal"),
    }
)
"""What touches the hosts that it names, if it names any, and no other."""
OF_TWO = frozenset({"cut replication", "heal replication"})
"""What touches only the link between the two hosts that it names."""
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
    well_since: dict[Run, tuple[float, list[Run]]] = field(default_factory=dict)
    ordered_s: float = float("-inf")

    def done(self, now_s: float, verb: str, arguments: tuple[str, ...]) -> None:
        """Something was done to the world."""
        if of_the_management_plane(verb, arguments):
            return
        if verb in PEOPLE:
            self.ordered_s = now_s
        named = {name for name in arguments if name in self.truth.hosts}
        if verb in OF_TWO and len(named) > 1:
            self._disturbed(lambda hosts: named <= hosts)
        elif named and verb in OF_HOSTS:
            self._disturbed(lambda hosts: bool(named & hosts))
        else:
            self.disturbed()

    def disturbed(self) -> None:
        """From now on it may be another reason that ends a guest."""
        self._disturbed(lambda hosts: True)

    def _disturbed(self, may_be: Callable[[set[str]], bool]) -> None:
        """``may_be``: asked for the hosts of each guest."""
        for run in {*self.calm, *self.well_since}:
            if may_be(self._hosts(run.guest)):
                self.calm.discard(run)
                self.well_since.pop(run, None)

    def _hosts(self, guest: str) -> set[str]:
        return {host.name for host in self.truth.holders(guest)}

    def look(self, now_s: float, runs: Iterable[Run]) -> None:
        """``runs``: those of all guests that execute now. Of those that share a host all must be
        calm.
        """
        new = [run for run in runs if run not in self.calm]
        if not new:
            return
        well = {run: self.truth.calm(run) for run in (*new, *self.calm)}
        hosts = {run: self._hosts(run.guest) for run in well}
        for run in new:
            near = [other for other in well if hosts[other] & hosts[run]]
            if not all(well[other] for other in near):
                self.well_since.pop(run, None)
                continue
            watched = [other for other in near if other in new]
            if run not in self.well_since or self.well_since[run][1] != watched:
                self.well_since[run] = (now_s, watched)
        self.calm.update(run for run in new if self._long_enough(now_s, run))

    def _long_enough(self, now_s: float, run: Run) -> bool:
        since = self.well_since.get(run)
        return since is not None and now_s - since[0] >= self.after_s

    def wrote(self, now_s: float, run: Run, last_s: float) -> None:
        """When a write of the newest run was last acknowledged."""
        if run in self.calm and now_s - last_s > STALLS_S and not run.asked_to_stop:
            self.calm.discard(run)
            self.broken(f"{run.guest} stalls on {run.host} although all but the management is well")

    def ended(self, now_s: float, run: Run, why: str) -> None:
        self.well_since.pop(run, None)
        if run not in self.calm:
            return
        self.calm.discard(run)
        ordered = now_s - self.ordered_s < HEARD_OF_S or self.truth.stop_is_wanted(run)
        if run.asked_to_stop and ordered:
            return
        self.broken(
            f"{run.guest} ended on {run.host} ({why}) because of the management plane alone"
        )
