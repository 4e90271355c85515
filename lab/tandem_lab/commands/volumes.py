"""`tandem-lab volume create`: backing devices for mirrors."""

from __future__ import annotations

import typer

from tandem_lab.lab import Lab


def register(app: typer.Typer) -> None:
    """Add the command group."""
    group = typer.Typer(no_args_is_help=True, help="Logical volumes that mirrors lie on.")
    group.command("create")(create)
    group.command("list")(list_volumes)
    app.add_typer(group, name="volume")


def create(host: str, name: str, size: str) -> None:
    """Make volume NAME of SIZE (such as 64M) on HOST and print its device."""
    print(Lab().host(host).create_volume(name, size))


def list_volumes(host: str) -> None:
    """The volumes of HOST."""
    print(Lab().host(host).shell("lvs -q vg0"), end="")
