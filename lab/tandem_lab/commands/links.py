"""`tandem-lab cut`, `heal` and `delay`."""

from __future__ import annotations

from typing import Annotated

import typer

from tandem_lab.lab import Lab
from tandem_lab.network import Direction

LinkName = Annotated[str, typer.Argument(metavar="LINK", help="management, replication or users.")]
OnlyHost = Annotated[str | None, typer.Option(help="Only this host's cable.")]


def register(app: typer.Typer) -> None:
    """Add the commands."""
    for command in (cut, heal, delay):
        app.command(command.__name__)(command)


def cut(
    link: LinkName,
    host: OnlyHost = None,
    direction: Annotated[Direction, typer.Option(help="As the host sees it.")] = Direction.BOTH,
) -> None:
    """Drop every frame on a link, silently, as a dead fibre does."""
    Lab().link(link).cut(host, direction)


def heal(link: LinkName, host: OnlyHost = None) -> None:
    """Let frames pass again."""
    Lab().link(link).heal(host)


def delay(link: LinkName, milliseconds: int, host: OnlyHost = None) -> None:
    """Hold back what hosts send on a link; 0 ends it. A rebooted host forgets it."""
    Lab().link(link).delay(milliseconds, host)
