"""An actuator that is long away while its guest lives on the link, and what it goes on from."""

import pytest

from sim import world as worlds
from sim.play.player import begin
from sim.play.verbs import do
from sim.world import World
from tandem_scenario.plan import WorldPlan
from tandem_scenario.verbs import parse_act

HOST, GUEST = "burjassot-1", "sim/counter"
AWAY_S = 3.4


def is_killed_without_the_api(world: World, at_s: float) -> None:
    for command, lasts_s in ((f"cut management {HOST}", at_s), (f"actuator kill {HOST}", 25.0)):
        do(world, parse_act(command, world.names))
        world.kernel.run_until(world.kernel.now_s + lasts_s)


@pytest.mark.parametrize("drbd", [8, 9])
@pytest.mark.parametrize("phase_s", [0.0, 0.2, 0.4, 0.6, 0.8])
def test_by_the_looks_of_the_run_before_a_quiet_guest_is_kept(
    phase_s: float, drbd: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    """DRBD sends a packet a second. One of its own looks would be proven too late by the next."""
    monkeypatch.setattr(worlds, "ACTUATOR_RESTART_S", (AWAY_S, AWAY_S))
    world = begin(WorldPlan(drbd=drbd), settled=True)
    before = world.referee.executing(GUEST)
    for run in before:
        run.period_s = 3600.0
    is_killed_without_the_api(world, 12.0 + phase_s)
    assert world.referee.executing(GUEST) == before
