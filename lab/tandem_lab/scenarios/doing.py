"""What each command of a scenario does on real kernels.

``tandem_scenario.verbs`` has their forms; what has no entry here, the lab cannot do, and it refuses
a file that wants it. Called by ``player`` and by ``fuzz``.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping

from tandem_lab.network import Direction
from tandem_lab.scenarios.stage import Stage
from tandem_scenario.verbs import Act

DOING: Mapping[str, Callable[..., None]] = {
    "kill": Stage.kill,
    "start": Stage.start,
    "pause": Stage.pause,
    "resume": Stage.resume,
    "cut": Stage.cut,
    "cut in": lambda stage, link, host: stage.cut(link, host, Direction.IN),
    "cut out": lambda stage, link, host: stage.cut(link, host, Direction.OUT),
    "heal": Stage.heal,
    "delay": Stage.delay,
    "api down": Stage.api_down,
    "api up": Stage.api_up,
    "api restart": Stage.api_restart,
    "controller kill": Stage.controller_kill,
    "controller start": Stage.controller_start,
    "actuator kill": Stage.actuator_kill,
    "actuator stop": Stage.actuator_stop,
    "actuator start": Stage.actuator_start,
    "handler kill": Stage.handler_kill,
    "libvirt down": lambda stage, host: stage.libvirt(host, up=False),
    "libvirt up": lambda stage, host: stage.libvirt(host, up=True),
    "fail-disk": Stage.fail_disk,
    "hang-disk": Stage.hang_disk,
    "unhang-disk": Stage.unhang_disk,
    "set running": lambda stage, guest, on: stage.people.set_running(guest, on == "true"),
    "crash": Stage.crash,
    "allow-two-primaries": Stage.allow_two_primaries,
    "move": lambda stage, *what: stage.people.move(*what),
    "move live": lambda stage, *what: stage.people.move(*what, how="Live"),
    "move within": lambda stage, *what: stage.people.move(*what),
    "unmove": lambda stage, guest: stage.people.unmove(guest),
    "set paused": lambda stage, subject, on: stage.people.set_paused(subject, on == "true"),
    "set maintenance": lambda stage, site, on: stage.people.set_maintenance(site, on == "true"),
    "override": Stage.override,
    "confirm-down": lambda stage, host: stage.people.confirm_down(host),
}
"""Verb → what it does, called with the stage and the command's arguments."""


def do(stage: Stage, act: Act) -> None:
    """Raises: LabError, ControlPlaneError, ProcessError: it could not be done."""
    stage.log.say("scenario", act.command)
    DOING[act.verb](stage, *act.arguments)
