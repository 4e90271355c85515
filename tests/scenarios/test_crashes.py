"""A crash right after any one effect of any procedure: what is left must go on to a good end.

One life of a mirror (first start, a lost link, its return, a planned move) is played again and
again, and each time a host, or its actuator alone, crashes one effect later. ``TANDEM_EVERY=1``
tries them all.
"""

import os

import pytest

from sim.commands.acts import crash_host
from sim.faults.schedule import scenario
from sim.play.verbs import do
from sim.search.trial import trial
from sim.world import World
from tandem_api.authority import Mode
from tandem_scenario.plan import GuestPlan, WorldPlan
from tandem_scenario.verbs import parse_act

EVERY = int(os.environ.get("TANDEM_EVERY", "7"))
LAST = 56
HOSTS = ("burjassot-1", "tarongers-1")
CASES = [
    (host, after, whole)
    for number, (host, after, whole) in enumerate(
        (host, after, whole) for after in range(LAST) for host in HOSTS for whole in (False, True)
    )
    if number % EVERY == 0
]


def order(world: World, command: str) -> None:
    do(world, parse_act(command, world.names))


@pytest.mark.parametrize(("host", "after", "whole_machine"), CASES)
def test_a_crash_after_any_effect(host: str, after: int, whole_machine: bool) -> None:
    world = World(WorldPlan())
    crash_host(world, host, after, whole_machine=whole_machine)
    world.begin()
    world.run(45.0)
    order(world, "cut replication")
    world.run(60.0)
    order(world, "heal replication")
    world.run(90.0)
    order(world, "set burjassot maintenance=true")
    world.run(130.0)
    order(world, "set burjassot maintenance=false")
    world.run(200.0)
    log = "\n".join(map(str, world.log.lines))
    assert world.referee.problems == [], log
    assert len(world.runs_on("counter")) == 1, log
    authority = world.mirror("counter").status.authority
    assert authority is not None
    assert authority.mode is Mode.MIRRORED, log


def test_no_crash_comes_after_what_mended_everything() -> None:
    """Both at one moment: the crash was on its way as everything was mended."""
    world = World(WorldPlan(guests=(GuestPlan("counter", prefers="burjassot"),)))
    world.begin()
    world.run(45.0)
    order(world, "cut replication")
    world.run(60.0)
    order(world, f"crash-after-grant {HOSTS[0]}")
    world.run(61.0)
    order(world, "newer-protocol counter")  # writes the grant once more
    order(world, "mend all")
    world.run(65.0)
    assert world.runs_on("counter") == [HOSTS[0]]


@pytest.mark.parametrize("seed", range(int(os.environ.get("TANDEM_EXPLORE", "6"))))
def test_random_faults(seed: int) -> None:
    assert trial(scenario(seed)).problems == []
