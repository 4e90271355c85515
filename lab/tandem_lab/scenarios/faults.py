"""Which faults a round of random faults has, and when: drawn from a seed, as a scenario's steps.

Pure: it draws, and does nothing. Called by ``fuzz``.
"""

from __future__ import annotations

import random
from collections.abc import Callable

from tandem_lab.site_host import SiteHost
from tandem_scenario.plan import LINKS, GuestPlan, WorldPlan
from tandem_scenario.scenario import Expectation, Scenario, Step
from tandem_scenario.verbs import Act, Names, parse_act

IN_HOST_TIMEOUT_S = 8.0

WITHIN_S = 45.0
MOST_FAULTS = 5
# How long something lasts before it is mended, if it is not left to the end of the round.
LASTS_S = (0.5, 2.0, 6.0, 15.0, 30.0)
DELAYS_MS = (20, 100, 400, 1500)
MENDING = ("heal", "start", "resume", "up")
HOSTS = ("burjassot-1", "tarongers-1")
SITES = ("burjassot", "tarongers")
PLAN = WorldPlan(
    guests=(
        GuestPlan("one", prefers="burjassot", failback="Automatic", failback_after_s=5),
        GuestPlan("two", prefers="tarongers", failback="Automatic", failback_after_s=5),
        GuestPlan("three", prefers="burjassot"),
    )
)
"""Several guests, with owners at both sites; some go back to where they belong by themselves."""

GUESTS = tuple(guest.name for guest in PLAN.guests)

Fault = tuple[str, str]
"""A command, and the one that ends it ("" if it ends by itself, or only with the host's boot)."""


def names_of(plan: WorldPlan) -> Names:
    return Names(
        hosts=tuple(host.name for host in plan.hosts),
        sites=plan.sites,
        guests=tuple(guest.name for guest in plan.guests),
        links=LINKS,
    )


def steps_of(seed: int, number: int) -> tuple[Step, ...]:
    """The faults of one round, in their order."""
    chance = random.Random(f"{seed}/{number}")
    commands: list[tuple[float, str]] = []
    at_s = 0.0
    for _ in range(chance.randint(1, MOST_FAULTS)):
        # Often soon after the one before: the worst faults are those that meet another's wake.
        soon_s = at_s + chance.uniform(0.1, 8.0)
        anytime_s = chance.uniform(0.0, WITHIN_S)
        at_s = round(min(WITHIN_S, soon_s if chance.random() < 0.5 else anytime_s), 1)
        command, undo = _fault(chance)
        commands.append((at_s, command))
        if undo and chance.random() < 0.6:
            lasts_s = chance.choice(LASTS_S) * chance.uniform(0.7, 1.3)
            commands.append((round(min(WITHIN_S, at_s + lasts_s), 1), undo))
    names = names_of(PLAN)
    return tuple(Step(at_s, parse_act(command, names)) for at_s, command in sorted(commands))


def _fault(chance: random.Random) -> Fault:
    host, link = chance.choice(HOSTS), chance.choice(LINKS)
    kinds: tuple[tuple[int, Callable[[], Fault]], ...] = (
        (4, lambda: (f"kill {host}", f"start {host}")),
        (4, lambda: (f"pause {host}", f"resume {host}")),
        (4, lambda: (f"cut {link} {host}", f"heal {link} {host}")),
        (2, lambda: (f"cut {link}", f"heal {link}")),
        (3, lambda: (f"cut {link} {host} {chance.choice(('in', 'out'))}", f"heal {link} {host}")),
        (3, lambda: (f"delay {link} {host} {chance.choice(DELAYS_MS)}", f"delay {link} {host} 0")),
        (2, lambda: (f"fail-disk {host}", "")),
        (2, lambda: (f"crash {chance.choice(GUESTS)}", "")),
        (3, lambda: (f"actuator kill {host}", "")),
        (1, lambda: (f"actuator stop {host}", f"actuator start {host}")),
        (2, lambda: (f"handler kill {host}", "")),
        (2, lambda: (f"libvirt down {host}", f"libvirt up {host}")),
        (2, lambda: ("controller kill", "controller start")),
        (2, lambda: ("api down", "api up")),
        (1, lambda: ("api restart", "")),
    )
    weights = [weight for weight, _ in kinds]
    return chance.choices([kind for _, kind in kinds], weights)[0]()


def mends(act: Act) -> bool:
    """Whether a command ends a fault instead of being one."""
    return act.verb.split()[-1] in MENDING or (act.verb == "delay" and act.arguments[-1] == "0")


def kind_of(command: str) -> str:
    """What a command counts as in the summary: without the names in it."""
    names = (*HOSTS, *GUESTS)
    return " ".join(word for word in command.split() if not word.isdecimal() and word not in names)


def scenario_of(
    seed: int, number: int, steps: tuple[Step, ...], heal_s: float, bound_s: float
) -> Scenario:
    """A round as a scenario: its faults, then everything is mended, then all is well in time."""
    names = names_of(PLAN)
    mending = [*(f"heal {link}" for link in LINKS), "api up", "controller start"]
    disks = {step.act.arguments[0] for step in steps if step.act.verb == "fail-disk"}
    for host in HOSTS:
        mending += [f"resume {host}", *([f"kill {host}"] if host in disks else [])]
        mending += [f"start {host}", f"libvirt up {host}", f"actuator start {host}"]
        mending += [f"delay {link} {host} 0" for link in LINKS] if _delayed(steps, host) else []
    end_s = heal_s + bound_s
    return Scenario(
        title=f"Round {number} of seed {seed}",
        description="Random faults, then everything is mended.",
        world=PLAN,
        settled=True,
        lasts_s=end_s,
        steps=(*steps, *(Step(heal_s, parse_act(command, names)) for command in mending)),
        expectations=tuple(
            Expectation(line=0, guest=guest.name, by_s=end_s, mode="Mirrored", protected=True)
            for guest in PLAN.guests
        ),
    )


def _delayed(steps: tuple[Step, ...], host: str) -> bool:
    return any(step.act.verb == "delay" and step.act.arguments[1] == host for step in steps)


def mend_programs(machine: SiteHost) -> None:
    """Whatever was stopped or slowed down in a host that runs; one that boots has none of it."""
    machine.run(["pkill", "-CONT", "-x", "libvirtd"], timeout_s=IN_HOST_TIMEOUT_S)
    machine.actuator("start")
    for interface in ("mgmt", "repl"):
        machine.delay(interface, 0)
