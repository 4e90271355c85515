"""Random faults from a seed: what a person would not think of trying.

Each seed gives a world, a sequence of faults at random moments, then everything is healed and the
guest must come back (or a reason that only a person can resolve must be told). Called by
``__main__`` and by tests.
"""

import random
from collections.abc import Callable
from dataclasses import dataclass, field

from tandem_api.authority import Mode
from tandem_scenario.plan import GuestPlan, HostPlan, WorldPlan
from tandem_sim.world import World, crash_host

SITES = ("burjassot", "tarongers")
HOSTS = tuple(f"{site}-1" for site in SITES)
FAULTS_S = 60.0
RECOVERY_S = 150.0
STEP_S = 5.0
Fault = tuple[str, Callable[[World], None]]


@dataclass
class Outcome:
    """What became of one seed."""

    seed: int
    faults: list[str] = field(default_factory=list)
    problems: list[str] = field(default_factory=list)
    lines: list[str] = field(default_factory=list)


def world_of(chance: random.Random, seed: int) -> World:
    hosts = tuple(
        HostPlan(host, site, clock_rate=chance.choice((1.0, 1.0, 1.2, 0.85)))
        for host, site in zip(HOSTS, SITES, strict=True)
    )
    guest = GuestPlan(
        "counter",
        prefers=chance.choice((*SITES, None)),
        volumes=chance.choice((("root",), ("root", "data"))),
        holdoff_s=chance.choice((0, 2)),
        resync_s=chance.choice((0.2, 1.0, 5.0)),
        failback=chance.choice(("Manual", "Automatic")),
        failback_after_s=5,
    )
    profile = chance.choice(("Default", "Fast"))
    return World(WorldPlan(hosts=hosts, guests=(guest,), profile=profile, seed=seed))


def fault(chance: random.Random) -> Fault:
    """One thing that goes wrong, or is mended."""
    host, site = chance.choice(HOSTS), chance.choice(SITES)
    link, end = chance.choice(("management", "replication")), chance.choice((*HOSTS, ""))
    every: tuple[tuple[int, Fault], ...] = (
        (3, (f"kill {host}", lambda w: w.kill(host))),
        (5, (f"start {host}", lambda w: w.start(host))),
        (8, (f"cut {link} {end}", lambda w: w.cut(link, end))),
        (9, (f"heal {link} {end}", lambda w: w.heal(link, end))),
        (2, ("api down", lambda w: w.api_down())),
        (3, ("api up", lambda w: w.api_up())),
        (1, ("controller kill", lambda w: w.controller_kill())),
        (2, ("controller start", lambda w: w.controller_start())),
        (3, (f"actuator kill {host}", lambda w: w.actuator_kill(host))),
        (2, (f"pause {host}", lambda w: w.pause(host))),
        (4, (f"resume {host}", lambda w: w.resume(host))),
        (1, (f"fail-disk {host}", lambda w: w.fail_disk(host))),
        (1, (f"libvirt down {host}", lambda w: w.libvirt(host, up=False))),
        (2, (f"libvirt up {host}", lambda w: w.libvirt(host, up=True))),
        (1, ("stop the guest", lambda w: w.edit("counter", "running", False))),
        (2, ("run the guest", lambda w: w.edit("counter", "running", True))),
        (1, (f"maintenance {site}", lambda w: w.maintenance(site, on=True))),
        (2, (f"end of maintenance {site}", lambda w: w.maintenance(site, on=False))),
    )
    weights = [weight for weight, _ in every]
    return chance.choices([one for _, one in every], weights)[0]


def explore(seed: int, *, crashes: bool = True) -> Outcome:
    """One seed, from beginning to end."""
    chance = random.Random(seed)
    world = world_of(chance, seed)
    if crashes and chance.random() < 0.5:
        crash_host(
            world,
            chance.choice(HOSTS),
            chance.randrange(0, 60),
            whole_machine=chance.random() < 0.5,
        )
    outcome = Outcome(seed)
    world.begin()
    world.settle(keep_log=True)
    at_s = 0.0
    for _ in range(chance.randrange(1, 14)):
        at_s += chance.choice((0.05, 0.3, 1.0, 3.0, 6.0, 12.0)) * chance.uniform(0.5, 1.5)
        if at_s > FAULTS_S:
            break
        name, act = fault(chance)
        world.run(at_s)
        outcome.faults.append(f"{at_s:.2f} {name}")
        act(world)
    world.run(at_s + chance.choice((0.0, 15.0, 40.0)))
    _recover(world, outcome)
    outcome.problems = world.referee.problems + outcome.problems
    outcome.lines = [str(line) for line in world.log.lines]
    return outcome


def _recover(world: World, outcome: Outcome) -> None:
    """Everything is well again: so must the guest be, or it must be said why not."""
    world.edit("counter", "running", True)
    for site in SITES:
        world.maintenance(site, on=False)
    for name, host in world.hosts.items():
        if any(b.broken for volumes in host.backings.values() for b in volumes.values()):
            world.kill(name)
    world.heal_everything()
    began_s = world.kernel.now_s - world.log.origin_s
    for step in range(1, round(RECOVERY_S / STEP_S) + 1):
        world.run(began_s + step * STEP_S)
        wrong = _not_well(world)
        if not wrong:
            return
    outcome.problems.append(f"{RECOVERY_S:g} s after everything was mended: {wrong}")


def _not_well(world: World) -> str:
    """What is not as it should be, or nothing."""
    guest, mirror = world.guest("counter"), world.mirror("counter")
    runs, authority = world.runs_on("counter"), mirror.status.authority
    status = guest.status
    if len(runs) != 1:
        return f"it runs on {runs or 'no host'}: {status.phase} {status.reason}: {status.message}"
    reports = {host: (r.connection, r.message) for host, r in mirror.status.replicas.items()}
    if authority is None or authority.mode is not Mode.MIRRORED or status.protected != "True":
        return f"{authority and authority.mode} protected={status.protected}: {reports}"
    return ""
