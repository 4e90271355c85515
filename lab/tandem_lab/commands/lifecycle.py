"""`tandem-lab up`, `down` and `status`."""

from __future__ import annotations

import dataclasses
import json
from datetime import datetime
from enum import StrEnum
from pathlib import Path
from typing import Annotated

import typer
from rich.console import Console
from rich.table import Table

from tandem_lab.deployment import Deployment
from tandem_lab.host_state import HostState
from tandem_lab.lab import Lab, LabStatus
from tandem_lab.prepare import prepare
from tandem_lab.topology import CUTTABLE_LINKS, load_topology

MIB = 1024 * 1024


class Output(StrEnum):
    """Formats of `status`."""

    TABLE = "table"
    JSON = "json"


def register(app: typer.Typer) -> None:
    """Add the commands."""
    app.command("up")(up)
    app.command("down")(down)
    app.command("status")(status)


def up(
    topology: Annotated[
        Path | None, typer.Option(help="Hosts to make, as in lab/topology.yaml.")
    ] = None,
    fresh: Annotated[bool, typer.Option("--fresh", help="Start with empty disks.")] = False,
    bare: Annotated[
        bool, typer.Option("--bare", help="Only hosts and links: no API server, no Tandem.")
    ] = False,
    controllers: Annotated[int, typer.Option(help="Replicas of the controller.")] = 1,
) -> None:
    """Boot every host, start the API server, deploy Tandem; clears away what was left behind."""
    lab = Lab(topology=load_topology(topology) if topology else None)
    with lab.exclusive():
        if bare:
            lab.up(fresh=fresh)
        else:
            prepare(print)
            deployment = Deployment(lab, replicas=controllers, migration=True)
            deployment.up(fresh=fresh, progress=print)


def down(
    wipe: Annotated[bool, typer.Option("--wipe", help="Remove disks and logs too.")] = False,
) -> None:
    """End every process and remove the network."""
    lab = Lab()
    with lab.exclusive():
        Deployment(lab).down(wipe=wipe)


def status(
    output: Annotated[Output, typer.Option("--output", "-o")] = Output.TABLE,
) -> None:
    """Hosts, links and what guests last printed, all seen from outside."""
    found = Lab().status()
    if output is Output.JSON:
        print(json.dumps(dataclasses.asdict(found), indent=2))
        return
    console = Console()
    console.print(_hosts_table(found))
    console.print(_links_table(found))
    if found.guests:
        console.print(_guests_table(found))


def _hosts_table(found: LabStatus) -> Table:
    table = Table("HOST", "SITE", "STATE", "PID", "SINCE", "MEMORY", "DRBD")
    for host in found.hosts:
        since = datetime.fromtimestamp(host.boot_s).astimezone() if host.boot_s else None
        table.add_row(
            host.name,
            host.site,
            _state(host),
            str(host.pid or ""),
            since.strftime("%H:%M:%S") if since else "",
            f"{host.memory_bytes // MIB} MiB" if host.up else "",
            host.drbd,
        )
    return table


def _state(host: HostState) -> str:
    if not host.up:
        return "[red]down"
    return "[yellow]paused" if host.paused else "[green]up"


def _links_table(found: LabStatus) -> Table:
    table = Table("LINK", *(host.name for host in found.hosts))
    cuts = {(cut.link, cut.host): cut.direction for cut in found.cuts}
    for link in CUTTABLE_LINKS:
        cells = []
        for host in found.hosts:
            direction = cuts.get((link.name, host.name))
            cells.append(f"[red]cut ({direction})" if direction else "[green]up")
        table.add_row(link.name, *cells)
    return table


def _guests_table(found: LabStatus) -> Table:
    table = Table("GUEST", "HOST", "LAST LINE", "AGE")
    for guest in found.guests:
        table.add_row(guest.guest, guest.host, guest.last_line, f"{guest.age_s:.1f} s")
    return table
