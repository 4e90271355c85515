"""What each command of a scenario does in the simulated world.

``tandem_scenario.verbs`` has their forms; what has no entry here, the simulator cannot do, and it
refuses a file that wants it. Called by ``player``.
"""

from collections.abc import Callable, Mapping

from tandem_scenario.scenario import Step
from tandem_scenario.verbs import Act
from tandem_sim.world import World

DOING: Mapping[str, Callable[..., None]] = {
    "kill": World.kill,
    "start": World.start,
    "pause": World.pause,
    "resume": World.resume,
    "cut": World.cut,
    "heal": World.heal,
    "api down": World.api_down,
    "api up": World.api_up,
    "controller kill": World.controller_kill,
    "controller start": World.controller_start,
    "actuator kill": World.actuator_kill,
    "actuator stop": World.actuator_stop,
    "actuator start": World.actuator_start,
    "libvirt down": lambda world, host: world.libvirt(host, up=False),
    "libvirt up": lambda world, host: world.libvirt(host, up=True),
    "fail-disk": World.fail_disk,
    "crash-after-grant": World.crash_after_grant,
    "set running": lambda world, guest, on: world.edit(guest, "running", on == "true"),
    "set maintenance": lambda world, site, on: world.maintenance(site, on=on == "true"),
    "override": World.override,
    "confirm-down": World.confirm_down,
}
"""Verb → what it does, called with the world and the command's arguments."""


def take(world: World, step: Step) -> None:
    """Do it now, or right after the effect that it waits for."""
    if step.upon is None:
        do(world, step.act)
    else:
        world.upon(step.upon, lambda: do(world, step.act))


def do(world: World, act: Act) -> None:
    """Raises: KeyError: there is no such verb here; ``require_verbs`` has told so before."""
    DOING[act.verb](world, *act.arguments)
