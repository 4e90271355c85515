"""`tandem-lab actuator HOST start|stop|restart|kill|crash|status`."""

from __future__ import annotations

from enum import StrEnum

import typer

from tandem_lab.lab import Lab


class Action(StrEnum):
    """What can be done to a supervised actuator."""

    START = "start"
    STOP = "stop"
    RESTART = "restart"
    KILL = "kill"
    CRASH = "crash"
    STATUS = "status"


def register(app: typer.Typer) -> None:
    """Add the command."""
    app.command("actuator")(actuator)


def actuator(host: str, action: Action) -> None:
    """Control the node actuator of HOST. `kill`: its unit starts it again; `crash`: not."""
    print(Lab().host(host).actuator(action), end="")
