"""`tandem-lab linux-disk`: a disk for a real Linux guest (examples/linux.yaml)."""

from __future__ import annotations

from typing import Annotated

import typer

from tandem_lab.lab import Lab
from tandem_lab.linux_guest import make_linux_disks


def register(app: typer.Typer) -> None:
    """Add the command."""
    app.command("linux-disk")(linux_disk)


def linux_disk(
    volume: str,
    size: Annotated[str, typer.Argument(help="Of the volume, as its Mirror has it.")] = "64Mi",
) -> None:
    """Make VOLUME on every host, for the Linux guest, and give hosts its kernel."""
    lab = Lab()
    with lab.exclusive():
        make_linux_disks(lab, volume, size)
