"""Makes scenarios up: a world and a sequence of faults, all from one seed.

Faults come in bursts that belong together (``bursts``), and singly: at random moments, also many
within one decision, and between any two effects of a host. At the end everything is mended, and
then every guest must be well within RECOVERY_S. What comes out is an ordinary scenario, so it can
be written down, shortened and played again. Called by ``fuzz``.
"""

import math
import random
from collections.abc import Sequence
from dataclasses import replace

from sim.faults.bursts import burst_of, cut_for_good, mending
from sim.faults.choices import BURSTS, KINDS, Choice, Draw
from sim.faults.drawing import Drawing, Timed
from tandem_api.timing import DEFAULT
from tandem_scenario.plan import LINKS, GuestPlan, HostPlan, WorldPlan
from tandem_scenario.scenario import Expectation, Scenario, Step, Upon
from tandem_scenario.verbs import Names, parse_act

SITES = ("burjassot", "tarongers")
GUESTS = ("counter", "ledger", "mail", "print", "proxy", "wiki")
MOST_GUESTS = 3
"""Where a site has one host; twice as many, and no fewer than these, where it has several."""
SHAPES = 60
CLOCKS = ((1.0, 1.0), (1.0, 1.0), (1.1, 0.9), (0.9, 1.1), (0.81, 1.0))
"""At the two sites; the controller has 1. What a kernel may slew, and what the waits allow for."""
FAULTS_S = 60.0
"""After this nothing more is begun."""
MEND = "mend all"
POLICED = 0.75
"""How often the API server's policies are in force. Without them hosts are as safe."""
VICTIMS = 0.5
CHURNS = 0.15
"""How likely a guest that is to be moved changes its memory faster than it can be sent."""
AGENTS = 0.4
"""How likely a host has a fence agent."""
FEWEST_MIXES = 3


def shape(number: int, hosts: int = 1) -> WorldPlan:
    """One of the worlds that faults are tried on. Its seed is left to the schedule.

    ``hosts``: of each site. Of several each has a clock of its own, and mirrors are criss-cross.
    """
    if hosts > 1:
        return _crossed(random.Random(f"shape {number} of {hosts}"), hosts)
    chance = random.Random(f"shape {number}")
    rates = chance.choice(CLOCKS)
    names = GUESTS[: chance.choice((1, 1, 1, 1, 2, MOST_GUESTS))]
    return WorldPlan(
        hosts=tuple(
            HostPlan(f"{site}-1", site, clock_rate=rate, fence_agent=_has_agent(number, site))
            for site, rate in zip(SITES, rates, strict=True)
        ),
        guests=tuple(_guest(chance, name) for name in names),
        profile=chance.choice(("Fast", "Fast", "Default")),
    )


def _crossed(chance: random.Random, hosts: int) -> WorldPlan:
    pairs = [chance.choice(CLOCKS) for _ in range(hosts)]
    names = GUESTS[: chance.randint(MOST_GUESTS, 2 * MOST_GUESTS)]
    return WorldPlan(
        hosts=tuple(
            HostPlan(f"{site}-{number}", site, clock_rate=rates[side])
            for side, site in enumerate(SITES)
            for number, rates in enumerate(pairs, start=1)
        ),
        guests=tuple(
            replace(_guest(chance, name), hosts=_criss_cross(chance, number, hosts))
            for number, name in enumerate(names)
        ),
        profile=chance.choice(("Fast", "Fast", "Default")),
    )


def _has_agent(number: int, site: str) -> bool:
    """Drawn apart, so that all else of a shape is as it was without."""
    return random.Random(f"fence agent of {site} in shape {number}").random() < AGENTS


def _criss_cross(chance: random.Random, number: int, hosts: int) -> tuple[str, ...]:
    """One after the other at one site, any at the other; either is named first."""
    found = [f"{SITES[0]}-{number % hosts + 1}", f"{SITES[1]}-{chance.randint(1, hosts)}"]
    return tuple(chance.sample(found, 2))


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


def _upon(drawing: Drawing) -> Timed:
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
        "api pause",
        f"api mute {host}",
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
    return Timed(0.0, command, (host, effect, chance.randrange(1, most + 1)))


OBJECTS = {"delete", "recreate"}
HOLDING = {"api restore", "recreate", "newer-protocol"}
"""After these a host may have to leave a mirror alone until a person has looked."""

UPON = 0.15
"""How many of the single faults come between two effects."""
MENDED = 0.6
"""How many of the single faults do not last until all is mended."""
SINGLE = (0, 0, 1, 2, 3, 5, 8)
IN_BURSTS = (0, 1, 2, 2, 3, 4)
"""How many faults a schedule has, and how many bursts beside."""
OVERLAP = 0.3
"""How many bursts have begun when what follows them begins, and are not over."""

GAPS_S = (0.0, 0.02, 0.1, 0.3, 1.0, 2.5, 5.0, 9.0)
PACES = (1.0, 0.3, 0.1)
"""Times the gaps: how quickly the faults of one schedule follow each other."""


EVERYTHING = Choice()


def drawing_of(chance: random.Random, plan: WorldPlan) -> Drawing:
    """What happens to one host together finds more than what happens to both apart."""
    names = _names(plan)
    home = plan.guests[0].prefers
    mirrors = {guest.name: plan.replicas_of(guest) for guest in plan.guests}
    owner = next((h for h in mirrors[names.guests[0]] if plan.site_of(h) == home), "")
    victim = chance.choice((*names.hosts, owner)) if chance.random() < VICTIMS else ""
    return Drawing(chance, names, victim, owner, mirrors)


def table_of(chance: random.Random, mixes: Sequence[str]) -> list[tuple[int, Draw]]:
    """What one schedule draws from: some of the mixes, so that each comes often where it comes."""
    single = [mix for mix in mixes if mix != BURSTS]
    fewest = min(FEWEST_MIXES, len(single))
    chosen = chance.sample(single, chance.randint(fewest, len(single)))
    return [entry for mix in single if mix in chosen for entry in KINDS[mix]]


def schedule(drawing: Drawing, mixes: Sequence[str], cut: str = "") -> list[Timed]:
    """Bursts and single faults, in no order; ``cut``: how the link is lost in one burst more."""
    chance, table = drawing.chance, table_of(drawing.chance, mixes)
    drawn = [burst_of(drawing) for _ in range(chance.choice(IN_BURSTS)) if BURSTS in mixes]
    if cut:
        drawn.append(cut_for_good(drawing, cut))
    draws, weights = [draw for _, draw in table], [weight for weight, _ in table]
    singles = max(chance.choice(SINGLE), 0 if drawn else 1) if table else 0
    for _ in range(singles):
        if "machines" in mixes and chance.random() < UPON:
            drawn.append([_upon(drawing)])
            continue
        command = chance.choices(draws, weights)[0](drawing).strip()
        drawn.append([Timed(0.0, command)])
        if (mends := mending(command)) and chance.random() < MENDED:
            drawn[-1].append(Timed(drawing.lasts_s(), mends))
    chance.shuffle(drawn)
    return _one_after_another(chance, drawn)


def _one_after_another(chance: random.Random, drawn: list[list[Timed]]) -> list[Timed]:
    at_s, timed, pace = 0.0, list[Timed](), chance.choice(PACES)
    for group in drawn:
        at_s += pace * chance.choice(GAPS_S) * chance.uniform(0.5, 1.5)
        if at_s > FAULTS_S:
            break
        timed += [replace(one, after_s=round(at_s + one.after_s, 2)) for one in group]
        if len(group) > 1 and chance.random() >= OVERLAP:
            at_s += chance.uniform(0.5, 1.0) * max(one.after_s for one in group)
    return timed


def _steps(timed: list[Timed], names: Names, end_s: float) -> list[Step]:
    """In their order; what would be done later than the end is not."""
    ordered = sorted((one for one in timed if one.after_s <= end_s), key=lambda one: one.after_s)
    return [
        Step(one.after_s, parse_act(one.command, names), upon=Upon(*one.upon) if one.upon else None)
        for one in ordered
    ]


def _end_of(chance: random.Random, timed: list[Timed]) -> float:
    """When all is mended: mostly not before the last of the faults, and soon."""
    last_s = max((one.after_s for one in timed), default=0.0)
    end_s = last_s * chance.choice((0.7, 1.0, 1.0)) + chance.choice((0.0, 3.0, 15.0))
    return round(end_s * chance.uniform(0.9, 1.0), 2)


def scenario(seed: int, choice: Choice = EVERYTHING) -> Scenario:
    """What this seed stands for."""
    return _lasting(seed, choice) if choice.lasting else _healing(seed, choice)


def _names(plan: WorldPlan) -> Names:
    return Names(
        hosts=tuple(host.name for host in plan.hosts),
        sites=SITES,
        guests=tuple(guest.name for guest in plan.guests),
        links=LINKS,
    )


def _world(plan: WorldPlan, seed: int, choice: Choice) -> WorldPlan:
    policies = random.Random(f"policies {seed}").random() < POLICED
    return replace(plan, seed=seed, drbd=choice.drbd, migration=choice.migration, policies=policies)


def _healing(seed: int, choice: Choice) -> Scenario:
    """At the end everything is mended."""
    chance = random.Random(f"faults {seed}")
    plan = shape(seed % SHAPES, choice.hosts)
    names = _names(plan)
    timed = schedule(drawing_of(chance, plan), choice.mixes)
    mended_s = _end_of(chance, timed)
    steps = _steps(timed, names, mended_s)
    steps += _made_again(steps, names, mended_s)
    if choice.migration:
        steps = sorted([*steps, *_moves(seed, steps, names)], key=lambda step: step.at_s)
    steps.append(Step(mended_s, parse_act(MEND, names)))
    return Scenario(
        title=f"Random faults, seed {seed}",
        description="",
        world=_world(plan, seed, choice),
        settled=chance.random() >= 0.05,
        lasts_s=round(mended_s + choice.within_s, 2),
        steps=tuple(steps),
        expectations=tuple(_expected(steps, guest) for guest in names.guests),
    )


def _moves(seed: int, steps: list[Step], names: Names) -> list[Step]:
    """Of every guest, a little before the first fault or after it: what it meets is on its way."""
    chance = random.Random(f"moves {seed}")
    first_s = min((step.at_s for step in steps), default=5.0)
    found: list[Step] = []
    for guest in names.guests:
        at_s = max(0.5, first_s + chance.uniform(-6.0, 2.0))
        act = parse_act(f"move {guest} {chance.choice(names.sites)}", names)
        found.append(Step(round(at_s, 2), act))
        if chance.random() < CHURNS:
            found.append(Step(round(at_s - 0.1, 2), parse_act(f"churn {guest}", names)))
    return found


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


LASTING = (
    *("disk", "volume", "hang", "unread", "libvirt", "start", "watchdog", "power", "files"),
    *("config", "management", "refused", "narrow", "late", "link", "path", "api"),
)
"""What may be broken for good: each seed has the next kind, and perhaps another."""
ANOTHER = 0.3
BEFORE = 0.8
"""How often there are other faults, too, which heal."""
CUT_IN_A_BURST = 0.75
"""How often a link that is lost for good is lost in the middle of a burst."""
CLEAR = ("restores", "objects", "versions")
"""Mixes without which the true state says who may run a guest."""
ASYNCHRONOUS = 0.1
"""How often a person gives a mirror protocol A, so that no takeover of it is safe."""
ORDERED = 0.5
"""How often a person orders something at the end."""
ORDERED_S = (0.3, 5.0, 30.0)
GRACE_S = 60.0
SHUTDOWN_S = 20.0


def _lasting(seed: int, choice: Choice) -> Scenario:
    """Everything is mended but what is broken for good; a person does what they are told; twice
    there is time for all to come right.
    """
    chance = random.Random(f"lasting faults {seed}")
    plan = shape(seed % SHAPES, choice.hosts)
    names = _names(plan)
    drawing, timed = drawing_of(chance, plan), list[Timed]()
    kinds = _kinds_for_good(chance, seed)
    mixes = [mix for mix in choice.mixes if mix not in CLEAR]
    if chance.random() < BEFORE:
        cut = "break link" if "link" in kinds and chance.random() < CUT_IN_A_BURST else ""
        timed = schedule(drawing, mixes, cut)
    if chance.random() < ASYNCHRONOUS:
        timed += _goes_over(drawing)
    last_s = max((one.after_s for one in timed), default=0.0)
    for kind in kinds:
        what = kind if kind in ("link", "path", "api") else f"{kind}@{drawing.host()}"
        if what != "link" or all(one.command != "break link" for one in timed):
            timed.append(Timed(round(chance.uniform(0.0, last_s), 2), f"break {what}"))
    mended_s = max([_end_of(chance, timed), *(one.after_s for one in timed if _breaks(one))])
    steps = _steps(timed, names, mended_s)
    steps.append(Step(mended_s, parse_act(f"{MEND} but broken", names)))
    orders = _orders(drawing, mended_s)
    steps += _steps(orders, names, math.inf)
    slow = any(step.act.verb == "set profile" for step in steps)
    timing = DEFAULT if slow else plan.timing
    within_s = timing.lost_after_s + timing.link_wait_s + SHUTDOWN_S + GRACE_S
    judged_s = round(max([mended_s, *(one.after_s for one in orders)]) + within_s, 2)
    steps += [Step(judged_s, parse_act(f"obey {guest}", names)) for guest in names.guests]
    return Scenario(
        title=f"Faults that last, seed {seed}",
        description="",
        world=_world(plan, seed, choice),
        settled=True,
        lasts_s=round(judged_s + within_s, 2),
        steps=tuple(steps),
        expectations=tuple(
            Expectation(line=0, guest=guest, at_s=at_s, runs_or_says_why=True)
            for guest in names.guests
            for at_s in (judged_s, None)
        ),
    )


def _goes_over(drawing: Drawing) -> list[Timed]:
    """The API takes another protocol only once the guest has stopped and let its mirror go."""
    guest, at_s = drawing.guest(), drawing.chance.uniform(0.0, 10.0)
    stopped_s = drawing.chance.choice((3.0, 8.0, 15.0))
    return [
        Timed(round(at_s, 2), f"set {guest} running=false"),
        Timed(round(at_s + stopped_s, 2), f"set {guest} protocol=A"),
        Timed(round(at_s + stopped_s + 0.5, 2), f"set {guest} running=true"),
    ]


def _orders(drawing: Drawing, mended_s: float) -> list[Timed]:
    """What people want when all that heals has healed, or while it does."""
    chance, guest, site = drawing.chance, drawing.guest(), drawing.site()
    if chance.random() >= ORDERED:
        return []
    orders = (
        (f"set {guest} running=false",),
        (f"delete {guest}",),
        (f"set {guest} failback=Automatic", f"set {guest} prefers={site}"),
        (f"set {drawing.premises()} maintenance=true",),
        (f"move {guest} {drawing.premises()}",),
        (f"set {drawing.subject()} paused=true", f"move {guest} {drawing.premises()}"),
        (f"override {guest} {drawing.host()}",),
        (f"set {drawing.subject()} paused=true",),
        (f"set {drawing.subject()} paused=true", f"set {guest} running=false"),
    )
    at_s = round(mended_s + chance.choice(ORDERED_S) * chance.uniform(0.5, 1.5), 2)
    return [Timed(at_s, command) for command in chance.choice(orders)]


def _breaks(one: Timed) -> bool:
    return one.command.startswith("break ")


def kind_for_good(seed: int) -> str:
    """What this seed breaks for good in any case."""
    return LASTING[(seed + seed // SHAPES) % len(LASTING)]


def _kinds_for_good(chance: random.Random, seed: int) -> list[str]:
    first = kind_for_good(seed)
    return [first, chance.choice(LASTING)] if chance.random() < ANOTHER else [first]
