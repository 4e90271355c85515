"""`tandem-lab setup`: everything that must be on this machine before the first `up`."""

from __future__ import annotations

from typing import Annotated

import typer
from rich.console import Console

from tandem_lab.prepare import prepare


def register(app: typer.Typer) -> None:
    """Add the command."""
    app.command("setup")(setup)


def setup(
    progress: Annotated[
        bool, typer.Option("--progress", help="A line per step, also when not on a terminal.")
    ] = False,
) -> None:
    """Install packages, build the root image and the API server. Minutes once, then a second."""
    console = Console(stderr=True)
    if console.is_terminal and not progress:
        with console.status("setting up") as status:
            prepare(status.update)
    else:
        prepare(_print_line if progress else _ignore)


def _print_line(message: str) -> None:
    print(message, flush=True)


def _ignore(_message: str) -> None:
    pass
