"""`tandem-lab kill`, `start`, `restart`, `pause`, `resume`, `exec` and `console`."""

from __future__ import annotations

import sys
import time
from typing import Annotated

import typer

from tandem_lab.lab import Lab
from tandem_lab.site_host import COMMAND_TIMEOUT_S

FOLLOW_POLL_S = 0.1
TIMED_OUT_EXIT_CODE = 124

HostName = Annotated[str, typer.Argument(metavar="HOST")]
Wait = Annotated[bool, typer.Option(help="Return only once libvirt answers.")]


def register(app: typer.Typer) -> None:
    """Add the commands."""
    for command in (kill, start, restart, pause, resume, console):
        app.command(command.__name__)(command)
    app.command("exec", context_settings={"ignore_unknown_options": True})(execute)


def kill(host: HostName) -> None:
    """The death of a host, at once and without warning."""
    Lab().host(host).kill()


def start(host: HostName, wait: Wait = True) -> None:
    """Boot a dead host, with the disks that it had."""
    Lab().host(host).start(wait=wait)


def restart(host: HostName, wait: Wait = True) -> None:
    """Kill a host and boot it again."""
    Lab().host(host).restart(wait=wait)


def pause(host: HostName) -> None:
    """Stall a host: nothing in it runs until `resume`."""
    Lab().host(host).pause()


def resume(host: HostName) -> None:
    """Let a stalled host go on."""
    Lab().host(host).resume()


def execute(
    host: HostName,
    command: Annotated[list[str], typer.Argument(help="After --, so that options are its own.")],
    timeout_s: Annotated[float, typer.Option("--timeout")] = COMMAND_TIMEOUT_S,
) -> None:
    """Run a command in a host, over a link that is never cut."""
    streams = {"stdout": sys.stdout.buffer, "stderr": sys.stderr.buffer}

    def show(stream: str, data: bytes) -> None:
        streams[stream].write(data)
        streams[stream].flush()

    result = Lab().host(host).run(command, timeout_s=timeout_s, on_output=show)
    if result.exit_code is None:
        print(f"tandem-lab: still running after {timeout_s:g} s, killed", file=sys.stderr)
        raise typer.Exit(TIMED_OUT_EXIT_CODE)
    raise typer.Exit(result.exit_code)


def console(
    host: HostName,
    follow: Annotated[bool, typer.Option("--follow", "-f")] = False,
) -> None:
    """What a host's kernel said, in all its boots."""
    log = Lab().host(host).console_log
    with log.open(errors="replace") as lines:
        sys.stdout.write(lines.read())
        while follow:
            time.sleep(FOLLOW_POLL_S)
            sys.stdout.write(lines.read())
            sys.stdout.flush()
