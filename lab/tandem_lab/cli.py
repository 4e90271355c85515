"""The command line: `tandem-lab setup`, `up`, `status`, `cut replication`, `kill burjassot-1`, …

It only parses and prints; everything is done by the same API that tests use (tandem_lab.lab).
A command group is a module in `commands` with a function `register(app)`; to add one, write the
module and add it to GROUPS.
"""

from __future__ import annotations

import sys

import typer

from tandem_lab.commands import (
    actuators,
    guests,
    hosts,
    lifecycle,
    links,
    linux_guest,
    scenarios,
    setting_up,
    thirdplace,
    volumes,
)
from tandem_lab.controlplane.server import ControlPlaneError
from tandem_lab.settings import LabError

GROUPS = (
    setting_up,
    lifecycle,
    hosts,
    links,
    volumes,
    guests,
    actuators,
    thirdplace,
    linux_guest,
    scenarios,
)

app = typer.Typer(
    name="tandem-lab",
    help="Two sites on one machine: real kernels, real DRBD, real libvirt.",
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
)
for group in GROUPS:
    group.register(app)


def main() -> None:
    """Entry point of `tandem-lab`: an error that has a sentence is shown as that sentence."""
    try:
        app()
    except (LabError, ControlPlaneError, KeyError) as error:
        print(f"tandem-lab: {error.args[0]}", file=sys.stderr)
        raise SystemExit(1) from error


if __name__ == "__main__":
    main()
