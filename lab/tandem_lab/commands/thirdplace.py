"""`tandem-lab kubectl`, `apply`, `api`, `controller`, `counter-disk`: the third place."""

from __future__ import annotations

import os
from enum import StrEnum
from pathlib import Path

import typer

from tandem_lab.deployment import Deployment
from tandem_lab.lab import Lab


class ApiAction(StrEnum):
    """What can happen to the API server."""

    PAUSE = "pause"
    RESUME = "resume"
    KILL = "kill"
    START = "start"


class ControllerAction(StrEnum):
    """What can happen to a controller."""

    START = "start"
    STOP = "stop"
    KILL = "kill"
    PAUSE = "pause"
    RESUME = "resume"


def register(app: typer.Typer) -> None:
    """Add the commands."""
    app.command(
        "kubectl",
        context_settings={"allow_extra_args": True, "ignore_unknown_options": True},
        add_help_option=False,
    )(kubectl)
    app.command("apply")(apply)
    app.command("api")(api)
    app.command("controller")(controller)
    app.command("counter-disk")(counter_disk)


def kubectl(context: typer.Context) -> None:
    """kubectl as the cluster's administrator, in the lab's namespace."""
    deployment = Deployment(Lab())
    namespace = deployment.lab.settings.namespace
    config = deployment.plane.admin_kubeconfig()
    command = ["ip", "netns", "exec", namespace, "kubectl", f"--kubeconfig={config}"]
    os.execvp(command[0], [*command, *context.args])


def apply(path: Path) -> None:
    """kubectl apply -f PATH."""
    print(Deployment(Lab()).apply(path.absolute()), end="")


def api(action: ApiAction) -> None:
    """Pause, resume, kill or start the API server."""
    plane = Deployment(Lab()).plane
    actions = {
        ApiAction.PAUSE: plane.pause,
        ApiAction.RESUME: plane.resume,
        ApiAction.KILL: plane.kill_apiserver,
        ApiAction.START: plane.start_apiserver,
    }
    actions[action]()


def controller(action: ControllerAction, replica: int = 0) -> None:
    """Start, stop, kill, pause or resume a replica of the controller."""
    one = Deployment(Lab()).controller(replica)
    actions = {
        ControllerAction.START: one.start,
        ControllerAction.STOP: one.stop,
        ControllerAction.KILL: one.kill,
        ControllerAction.PAUSE: one.pause,
        ControllerAction.RESUME: one.resume,
    }
    actions[action]()


def counter_disk(volume: str, size: str = "16M") -> None:
    """Make VOLUME on every host, with the counting guest on it."""
    Deployment(Lab()).make_counter_disks(volume, size)
