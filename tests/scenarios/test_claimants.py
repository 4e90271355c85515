"""Nothing hangs on the entry that lets a host claim: the controller dies around its writing.

The API server refuses what its policies do, and the moments between the two writes of an assignment
are sought out.
"""

from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path

import pytest

from sim.apiserver.review import Reviewed
from sim.play.player import Result, begin, go_on
from sim.world import World
from tandem_api.check.writers import Party
from tandem_api.kinds.mirror import Mirror
from tandem_scenario.scenario import Scenario, read

HERE = Path(__file__).parent
DIES_FOR_S = 3.0
SETTLES_S = 60.0
SCENARIOS = (
    "site-dies",
    "site-returns-and-the-guest-goes-back",
    "maintenance",
    "controller-dies-in-a-takeover",
    "override-of-an-isolated-owner",
    "one-site-after-the-other",
)


@dataclass
class Watcher:
    """Sees the controller add an entry, and does something right after it."""

    then: Callable[[World], None]
    every: bool = False
    world: World | None = None
    added: list[str] = field(default_factory=list)

    def look(self, write: Reviewed) -> None:
        if not isinstance(write.new, Mirror) or write.writer.party is not Party.CONTROLLER:
            return
        assert isinstance(write.old, Mirror)
        before, after = write.old.status.claimants or {}, write.new.status.claimants or {}
        new = [host for host in after if before.get(host) != after[host]]
        if not new or self.world is None or (self.added and not self.every):
            return
        self.added += new
        world = self.world
        # The write is done; its answer is still on the way.
        world.kernel.after(0.0, world.outside, lambda: self.then(world))


def played(name: str, watcher: Watcher) -> tuple[Scenario, Result]:
    scenario = read(HERE / name / "scenario.yaml")
    world = begin(scenario.world, settled=scenario.settled, seen=watcher.look)
    watcher.world = world
    return scenario, go_on(world, scenario)


def dies_and_is_back(world: World) -> None:
    world.controller_kill()
    world.kernel.after(DIES_FOR_S, world.outside, world.controller_start)


@pytest.mark.parametrize("name", SCENARIOS)
def test_the_controller_dies_between_the_two_writes(name: str) -> None:
    """The next one finds an entry, and no assignment: it decides anew. All is well, if later."""
    watcher = Watcher(dies_and_is_back)
    scenario, _ = played(name, watcher)
    world = watcher.world
    assert world is not None
    assert watcher.added, "nothing was assigned"
    world.run(scenario.lasts_s + SETTLES_S)
    assert world.referee.problems == []
    for guest in world.plan.guests:
        assignment = world.guest(guest.name).status.assignment
        assert assignment is not None
        assert world.runs_on(guest.name) == [assignment.host]


@pytest.mark.parametrize("name", ["site-dies", "maintenance"])
def test_and_nobody_takes_its_place(name: str) -> None:
    """The guest's assignment is the old one, and its host may claim as ever."""
    watcher = Watcher(lambda world: world.controller_kill())
    _, _ = played(name, watcher)
    world = watcher.world
    assert world is not None
    assert watcher.added
    for guest in world.plan.guests:
        assignment = world.guest(guest.name).status.assignment
        assert assignment is not None
        assert assignment.host in (world.mirror(guest.name).status.claimants or {})


def test_hosts_write_between_the_two(name: str = "site-dies") -> None:
    """A report of a host makes the mirror another version: the entry is not lost to it."""

    def stir(world: World) -> None:
        for guest in world.plan.guests:
            mirror = world.mirror(guest.name)
            status = mirror.status.model_copy(update={"message": f"at {world.kernel.now_s}"})
            world.api.server.put(mirror.model_copy(update={"status": status}))

    watcher = Watcher(stir, every=True)
    _, result = played(name, watcher)
    assert watcher.added
    assert result.problems == []


def test_entries_are_level_with_the_assignments_in_the_end() -> None:
    for name in SCENARIOS:
        watcher = Watcher(lambda _: None)
        played(name, watcher)
        world = watcher.world
        assert world is not None
        for guest in world.plan.guests:
            assignment = world.guest(guest.name).status.assignment
            known = world.mirror(guest.name).status.claimants or {}
            assert assignment is not None
            assert list(known) == ([assignment.host] if assignment.host else []), name


def test_a_status_from_before_the_field_is_brought_up_to_date() -> None:
    """An upgrade: the first plan of the new controller writes what lacks, and a site dies then."""
    scenario = read(HERE / "site-dies" / "scenario.yaml")
    world = begin(scenario.world, settled=scenario.settled)
    world.controller_kill()
    for guest in world.plan.guests:
        mirror = world.mirror(guest.name)
        status = mirror.status.model_copy(update={"claimants": None})
        world.api.server.put(mirror.model_copy(update={"status": status}))
    world.controller_start()
    assert go_on(world, scenario).problems == []
    for guest in world.plan.guests:
        assert world.mirror(guest.name).status.claimants is not None
