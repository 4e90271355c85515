"""Makes scenarios up: a world and a sequence of faults, all from one seed.

Faults come at random moments, also many within one decision, and between any two effects of a
host. At the end everything is mended, and then every guest must be well within RECOVERY_S. What
comes out is an ordinary scenario, so it can be written down, shortened and played again. Called by
``fuzz``.
"""

import random
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

from tandem_api.timing import PROFILES, Profile
from tandem_scenario.plan import LINKS, GuestPlan, HostPlan, WorldPlan
from tandem_scenario.scenario import Expectation, Scenario, Step, Upon
from tandem_scenario.verbs import Names, parse_act

SITES = ("burjassot", "tarongers")
HOSTS = tuple(f"{site}-1" for site in SITES)
SHAPES = 60
FAULTS_S = 45.0
RECOVERY_S = 120.0
"""Within this time after everything was mended, every guest runs and is protected."""
MEND = "mend all"
CODES = ("403", "409", "422", "429", "500", "503")
CALLS = ("open", "look", "start", "shutdown", "destroy")
VICTIMS = 0.5
HITS_VICTIM = 0.7
FEWEST_MIXES = 3
Draw = Callable[["Drawing"], str]


@dataclass
class Drawing:
    """A schedule that is being made up. ``victim``: a host, if one is picked on."""

    chance: random.Random
    names: Names
    victim: str = ""

    def host(self) -> str:
        """Where there is a victim, most of what happens to a host happens to that one."""
        if self.victim and self.chance.random() < HITS_VICTIM:
            return self.victim
        return self.chance.choice(self.names.hosts)

    def guest(self) -> str:
        return self.chance.choice(self.names.guests)

    def site(self) -> str:
        return self.chance.choice(self.names.sites)

    def program(self) -> str:
        return self.chance.choice((self.host(), self.host(), "controller"))

    def pick(self, *choices: str) -> str:
        return self.chance.choice(choices)


def shape(number: int) -> WorldPlan:
    """One of the worlds that faults are tried on. Its seed is left to the schedule."""
    chance = random.Random(f"shape {number}")
    rates = chance.choice(((1.0, 1.0), (1.0, 1.0), (1.2, 0.85), (0.85, 1.2), (1.0, 1.45)))
    hosts = tuple(
        HostPlan(host, site, clock_rate=rate)
        for host, site, rate in zip(HOSTS, SITES, rates, strict=True)
    )
    names = ("counter", "ledger", "mail")[: chance.choice((1, 1, 1, 1, 2, 3))]
    return WorldPlan(
        hosts=hosts,
        guests=tuple(_guest(chance, name) for name in names),
        profile=chance.choice(("Fast", "Fast", "Default")),
    )


def _guest(chance: random.Random, name: str) -> GuestPlan:
    return GuestPlan(
        name,
        prefers=chance.choice((*SITES, None)),
        volumes=chance.choice((("root",), ("root",), ("root", "data"))),
        holdoff_s=chance.choice((0, 0, 2)),
        resync_s=chance.choice((0.2, 1.0, 5.0)),
        failback=chance.choice(("Manual", "Automatic")),
        failback_after_s=5,
    )


def _end(drawing: Drawing) -> str:
    """One direction of a host's end is cut, or the end, or the whole link."""
    link = drawing.pick(*LINKS)
    host = drawing.host()
    return f"cut {link} " + drawing.pick("", host, host, host, f"{host} in", f"{host} out")


def _heal(drawing: Drawing) -> str:
    return f"heal {drawing.pick(*LINKS)}"


def _upon(drawing: Drawing, at_s: float) -> Step:
    """A fault at a point that no clock finds: between two effects of a host."""
    chance, host = drawing.chance, drawing.host()
    command = drawing.pick(
        f"kill {host}",
        f"actuator kill {host}",
        f"pause {host}",
        f"cut replication {host}",
        f"cut management {host}",
        f"cut management {host} in",
        "api down",
        f"fail-disk {host}",
        f"kill {drawing.host()}",
        "controller kill",
        f"files unsynced {host}",
        f"files full {host}",
        f"api refuse {host} 500",
        f"libvirt hold {host} start",
        f"keeper kill {host}",
    )
    effect, most = chance.choice((("Any", 12), ("Any", 12), ("Swap", 2), ("UpdateRecord", 2)))
    upon = Upon(host, effect, chance.randrange(1, most + 1))
    return Step(at_s, parse_act(command, drawing.names), upon=upon)


KINDS: Mapping[str, tuple[tuple[int, Draw], ...]] = {
    "machines": (
        (4, lambda d: f"kill {d.host()}"),
        (6, lambda d: f"start {d.host()}"),
        (3, lambda d: f"pause {d.host()}"),
        (5, lambda d: f"resume {d.host()}"),
        (1, lambda d: f"clock {d.host()} {d.pick('0.85', '1', '1.2')}"),
        (1, lambda d: f"crash-after-grant {d.host()}"),
    ),
    "links": (
        (12, _end),
        (10, _heal),
        (2, lambda d: f"slow {d.program()} {d.pick('0.3', '1.5', '4')}"),
        (2, lambda d: f"slow {d.program()} 0"),
    ),
    "control": (
        (2, lambda d: "api down"),
        (3, lambda d: "api up"),
        (1, lambda d: "api restart"),
        (1, lambda d: f"watch lag {d.program()} {d.pick('0.5', '3', '12')}"),
        (1, lambda d: f"watch lag {d.program()} 0"),
        (1, lambda d: f"watch silent {d.program()}"),
        (1, lambda d: f"watch close {d.program()}"),
        (1, lambda d: "controller kill"),
        (2, lambda d: "controller start"),
        (1, lambda d: "controller pause"),
        (1, lambda d: "controller second"),
        (1, lambda d: "controller resume"),
    ),
    "programs": (
        (3, lambda d: f"actuator kill {d.host()}"),
        (1, lambda d: f"actuator stop {d.host()}"),
        (1, lambda d: f"actuator start {d.host()}"),
        (2, lambda d: f"actuator pause {d.host()}"),
        (2, lambda d: f"actuator resume {d.host()}"),
        (1, lambda d: f"handler kill {d.host()}"),
        (1, lambda d: f"libvirt down {d.host()}"),
        (2, lambda d: f"libvirt up {d.host()}"),
        (1, lambda d: f"libvirt refuse {d.host()}"),
        (1, lambda d: f"libvirt slow {d.host()} {d.pick('4', '40')}"),
        (1, lambda d: f"libvirt hang {d.host()}"),
    ),
    "disks": (
        (2, lambda d: f"fail-disk {d.host()}"),
        (1, lambda d: f"fail-disk {d.host()} 1"),
        (1, lambda d: f"stall-resync {d.guest()}"),
        (1, lambda d: f"stall-resync {d.guest()} unheard"),
    ),
    "watchdogs": (
        (2, lambda d: f"keeper kill {d.host()}"),
        (2, lambda d: f"keeper pause {d.host()}"),
        (3, lambda d: f"keeper resume {d.host()}"),
        (1, lambda d: f"keeper starve {d.host()} {d.pick('0.1', '0.5', '2')}"),
        (1, lambda d: f"keeper starve {d.host()} 0"),
        (1, lambda d: f"watchdog away {d.host()}"),
        (1, lambda d: f"watchdog refuse {d.host()} {d.pick('2', '3')}"),
        (2, lambda d: f"watchdog back {d.host()}"),
    ),
    "files": (
        (1, lambda d: f"files full {d.host()}"),
        (1, lambda d: f"files full {d.host()} run"),
        (1, lambda d: f"files read-only {d.host()}"),
        (1, lambda d: f"files unsynced {d.host()}"),
        (1, lambda d: f"files unreadable {d.host()}"),
        (3, lambda d: f"files heal {d.host()}"),
        (2, lambda d: f"damage-records {d.host()}"),
    ),
    "answers": (
        (2, lambda d: f"api refuse {d.program()} {d.pick(*CODES)}"),
        (1, lambda d: f"api refuse {d.program()} {d.pick(*CODES)} writes"),
        (1, lambda d: f"api refuse {d.program()} {d.pick(*CODES)} half"),
        (3, lambda d: f"api accept {d.program()}"),
        (1, lambda d: "api stale"),
        (1, lambda d: "api fresh"),
        (1, lambda d: "api compact"),
        (1, lambda d: f"watch expire {d.program()}"),
        (1, lambda d: f"watch lose {d.program()} {d.pick('20', '100')}"),
        (1, lambda d: f"watch lose {d.program()} 0"),
        (1, lambda d: f"watch double {d.program()} {d.pick('0', '50')}"),
        (1, lambda d: f"slow {d.program()} {d.pick('1', '3')} {d.pick('in', 'out')}"),
        (1, lambda d: f"slow {d.program()} 0 {d.pick('in', 'out')}"),
    ),
    "kopf": (
        (1, lambda d: "kopf kill"),
        (1, lambda d: f"kopf give-up {d.pick('Site', 'Host', 'Mirror', 'Guest')}"),
        (1, lambda d: f"kopf lag {d.pick('2', '10')}"),
        (1, lambda d: "kopf lag 0"),
    ),
    "starved": (
        (3, lambda d: f"starve {d.program()} {d.pick('0.05', '0.3', '1.5')}"),
        (2, lambda d: f"starve {d.program()} 0"),
    ),
    "libvirt": (
        (1, lambda d: f"libvirt pause {d.host()}"),
        (2, lambda d: f"libvirt resume {d.host()}"),
        (2, lambda d: f"libvirt hold {d.host()} {d.pick(*CALLS)}"),
        (1, lambda d: f"libvirt late {d.host()} {d.pick(*CALLS)} {d.pick('1', '6')}"),
        (1, lambda d: f"libvirt events {d.host()} {d.pick('0', '3')}"),
    ),
    "people": (
        (1, lambda d: f"set {d.guest()} running=false"),
        (2, lambda d: f"set {d.guest()} running=true"),
        (1, lambda d: f"set {d.guest()} prefers={d.site()}"),
        (1, lambda d: f"set {d.guest()} failback={d.pick('Automatic', 'Manual')}"),
        (1, lambda d: f"set {d.site()} maintenance=true"),
        (2, lambda d: f"set {d.site()} maintenance=false"),
        (1, lambda d: f"override-stale {d.guest()} {d.host()}"),
        (2, lambda d: f"override {d.guest()} {d.host()}"),
    ),
    "restores": (
        (1, lambda d: "api backup"),
        (1, lambda d: "api restore"),
    ),
    "objects": (
        (1, lambda d: f"delete {d.guest()}"),
        (1, lambda d: f"recreate {d.guest()}"),
    ),
    "versions": (
        (2, lambda d: f"upgrade {d.program()}"),
        (1, lambda d: f"downgrade {d.program()}"),
        (1, lambda d: f"newer-protocol {d.guest()}"),
    ),
}
"""Mix → (weight, what to do). ``--profile`` chooses mixes; all of them together is the default."""

OBJECTS = {"delete", "recreate"}
HOLDING = {"api restore", "recreate", "newer-protocol"}
"""After these a host may have to leave a mirror alone until a person has looked."""

UPON = 0.08
"""How many of the faults come between two effects."""

GAPS_S = (0.0, 0.02, 0.1, 0.3, 1.0, 2.5, 5.0, 9.0)
PACES = (1.0, 0.3, 0.1)
"""Times the gaps: how quickly the faults of one schedule follow each other."""


@dataclass(frozen=True)
class Choice:
    """Which faults, and within which time all must be well after they were mended. ``lasting``:
    some are not mended.
    """

    mixes: tuple[str, ...] = tuple(KINDS)
    within_s: float = RECOVERY_S
    lasting: bool = False


EVERYTHING = Choice()


def drawing_of(chance: random.Random, names: Names) -> Drawing:
    """What happens to one host together finds more than what happens to both apart."""
    victim = chance.choice(names.hosts) if chance.random() < VICTIMS else ""
    return Drawing(chance, names, victim)


def table_of(chance: random.Random, mixes: Sequence[str]) -> list[tuple[int, Draw]]:
    """What one schedule draws from: some of the mixes, so that each comes often where it comes."""
    fewest = min(FEWEST_MIXES, len(mixes))
    chosen = chance.sample(mixes, chance.randint(fewest, len(mixes)))
    return [entry for mix in mixes if mix in chosen for entry in KINDS[mix]]


def scenario(seed: int, choice: Choice = EVERYTHING) -> Scenario:
    """What this seed stands for."""
    return _lasting(seed, choice) if choice.lasting else _healing(seed, choice)


def _healing(seed: int, choice: Choice) -> Scenario:
    """At the end everything is mended."""
    chance = random.Random(f"faults {seed}")
    plan = shape(seed % SHAPES)
    names = Names(
        hosts=HOSTS, sites=SITES, guests=tuple(guest.name for guest in plan.guests), links=LINKS
    )
    drawing, table = drawing_of(chance, names), table_of(chance, choice.mixes)
    weights = [weight for weight, _ in table]
    at_s, steps, pace = 0.0, list[Step](), chance.choice(PACES)
    for _ in range(chance.randrange(1, 13)):
        at_s = round(at_s + pace * chance.choice(GAPS_S) * chance.uniform(0.5, 1.5), 2)
        if at_s > FAULTS_S:
            break
        if "machines" in choice.mixes and chance.random() < UPON:
            steps.append(_upon(drawing, at_s))
            continue
        draw = chance.choices([draw for _, draw in table], weights)[0]
        steps.append(Step(at_s, parse_act(draw(drawing).strip(), names)))
    mended_s = round(at_s + chance.choice((0.0, 3.0, 15.0)) * chance.uniform(0.3, 1.2), 2)
    steps += _made_again(steps, names, mended_s)
    steps.append(Step(mended_s, parse_act(MEND, names)))
    return Scenario(
        title=f"Random faults, seed {seed}",
        description="",
        world=WorldPlan(plan.hosts, plan.guests, plan.profile, seed),
        settled=chance.random() >= 0.05,
        lasts_s=round(mended_s + choice.within_s, 2),
        steps=tuple(steps),
        expectations=tuple(_expected(steps, guest) for guest in names.guests),
    )


def _made_again(steps: list[Step], names: Names, at_s: float) -> list[Step]:
    """Guests that were deleted and are missing still, for everything is mended at the end."""
    last = {step.act.arguments[0]: step.act.verb for step in steps if step.act.verb in OBJECTS}
    gone = (guest for guest, verb in last.items() if verb == "delete")
    return [Step(at_s, parse_act(f"recreate {guest}", names)) for guest in gone]


def _expected(steps: list[Step], guest: str) -> Expectation:
    """Well; but where a restore or other objects stand against a host's record, held will do."""
    held = any(step.act.verb in HOLDING and step.act.arguments in ((), (guest,)) for step in steps)
    if held:
        return Expectation(line=0, guest=guest, well_or_held=True)
    return Expectation(line=0, guest=guest, well=True)


LASTING = ("disk", "libvirt", "start", "watchdog", "power", "files", "management", "link", "api")
"""What may be broken for good: each seed has the next kind, and perhaps another."""
ANOTHER = 0.3
CLEAR = ("restores", "objects", "versions")
"""Mixes without which the true state says who may run a guest."""
GRACE_S = 60.0
SHUTDOWN_S = 20.0


def _lasting(seed: int, choice: Choice) -> Scenario:
    """Everything is mended but what is broken for good; a person does what they are told; twice
    there is time for all to come right.
    """
    chance = random.Random(f"lasting faults {seed}")
    plan = shape(seed % SHAPES)
    names = Names(
        hosts=HOSTS, sites=SITES, guests=tuple(guest.name for guest in plan.guests), links=LINKS
    )
    drawing = drawing_of(chance, names)
    commands = [draw(drawing).strip() for draw in _drawn(chance, choice)]
    for kind in _kinds_for_good(chance, seed):
        what = kind if kind in ("link", "api") else f"{kind}@{drawing.host()}"
        commands.insert(chance.randrange(len(commands) + 1), f"break {what}")
    at_s, steps, pace = 0.0, list[Step](), chance.choice(PACES)
    for command in commands:
        at_s = round(at_s + pace * chance.choice(GAPS_S) * chance.uniform(0.5, 1.5), 2)
        steps.append(Step(at_s, parse_act(command, names)))
    mended_s = round(at_s + chance.choice((0.0, 3.0, 15.0)) * chance.uniform(0.3, 1.2), 2)
    steps.append(Step(mended_s, parse_act(f"{MEND} but broken", names)))
    timing = PROFILES[Profile(plan.profile)]
    within_s = timing.lost_after_s + timing.link_wait_s + SHUTDOWN_S + GRACE_S
    judged_s = round(mended_s + within_s, 2)
    steps += [Step(judged_s, parse_act(f"obey {guest}", names)) for guest in names.guests]
    return Scenario(
        title=f"Faults that last, seed {seed}",
        description="",
        world=WorldPlan(plan.hosts, plan.guests, plan.profile, seed),
        settled=True,
        lasts_s=round(judged_s + within_s, 2),
        steps=tuple(steps),
        expectations=tuple(
            Expectation(line=0, guest=guest, at_s=at_s, runs_or_says_why=True)
            for guest in names.guests
            for at_s in (judged_s, None)
        ),
    )


def _drawn(chance: random.Random, choice: Choice) -> list[Draw]:
    table = table_of(chance, [mix for mix in choice.mixes if mix not in CLEAR])
    weights = [weight for weight, _ in table]
    number = chance.choice((0, 0, 1, 2, 4, 6))
    return [draw for _, draw in chance.choices(table, weights, k=number)]


def _kinds_for_good(chance: random.Random, seed: int) -> list[str]:
    first = LASTING[(seed + seed // SHAPES) % len(LASTING)]
    return [first, chance.choice(LASTING)] if chance.random() < ANOTHER else [first]
