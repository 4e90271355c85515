"""`tandem-lab guest-log` and `guest-write`."""

from __future__ import annotations

import time
from datetime import datetime
from typing import Annotated

import typer

from tandem_lab.guests import write_counter_guest
from tandem_lab.lab import Lab
from tandem_lab.recorder import GuestLine

FOLLOW_POLL_S = 0.05


def register(app: typer.Typer) -> None:
    """Add the commands."""
    app.command("guest-log")(guest_log)
    app.command("guest-write")(guest_write)


def guest_log(
    guest: str,
    host: Annotated[str | None, typer.Option(help="Only what it printed there.")] = None,
    follow: Annotated[bool, typer.Option("--follow", "-f")] = False,
) -> None:
    """What a guest printed, at every host, with the moments it arrived."""
    lab = Lab()
    lab_hosts = [lab.host(host).name] if host else [each.name for each in lab.hosts]
    shown = dict.fromkeys(lab_hosts, 0)
    while True:
        fresh: list[tuple[GuestLine, str]] = []
        for name in lab_hosts:
            lines = lab.guest_lines(guest, name)
            fresh += [(line, name) for line in lines[shown[name] :]]
            shown[name] = len(lines)
        for line, name in sorted(fresh, key=lambda pair: pair[0].monotonic_s):
            moment = datetime.fromtimestamp(line.wall_s).astimezone()
            print(f"{moment:%H:%M:%S.%f} {name} {line.text}", flush=True)
        if not follow:
            return
        time.sleep(FOLLOW_POLL_S)


def guest_write(host: str, device: str) -> None:
    """Put the counter guest on DEVICE of HOST, counting from 0. What was there is lost."""
    lab = Lab()
    write_counter_guest(lab.host(host), device, lab.settings)
