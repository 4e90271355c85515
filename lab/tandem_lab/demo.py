"""The demo: a guest survives the loss of its site, live, on real parts.

`python -m tandem_lab.demo` sets up what is missing, starts the lab, applies the examples, kills
the site that runs the guest, shows the takeover as it is decided, checks that the guest goes on
from what it had written, brings the killed site back to full redundancy, and has the guest go home
to it as it runs.

Exit code 0 only if no write was lost, the mirror is redundant again, and the guest went home.
"""

from __future__ import annotations

import argparse
import sys
import time

from rich.console import Console
from rich.table import Table

from tandem_lab.apt import AptError
from tandem_lab.controlplane import BuildError, ControlPlaneError, ProcessError
from tandem_lab.deployment import Deployment
from tandem_lab.lab import Lab
from tandem_lab.live_move import LiveMove, move_and_watch
from tandem_lab.prepare import prepare
from tandem_lab.settings import SOURCE_DIR, LabError
from tandem_lab.takeover import (
    STEPS,
    GuestName,
    Takeover,
    kill_and_watch,
    running_and_protected,
    wait_for,
)

GUEST = GuestName("secretaria", "bancuv3")
VOLUME = "bancuv3-root"
VOLUME_SIZE = "20M"
FIRST_START_TIMEOUT_S = 90.0
REDUNDANT_TIMEOUT_S = 120.0
COUNT_FOR_S = 3.0

console = Console(highlight=False, soft_wrap=True)


def main() -> int:
    """Entry point."""
    parser = argparse.ArgumentParser(prog="demo", description=__doc__)
    parser.add_argument("--keep", action="store_true", help="leave the lab running at the end")
    options = parser.parse_args()
    started_s = time.monotonic()
    try:
        prepare(say)
    except (AptError, BuildError, LabError) as error:
        console.print(f"[red]this machine could not be set up:[/] {error}")
        return 1
    lab = Lab()
    deployment = Deployment(lab, migration=True)
    with lab.exclusive():
        try:
            good = run(deployment)
        except (ControlPlaneError, LabError, ProcessError) as error:
            console.print(f"[red]the demo failed:[/] {error}")
            console.print(f"logs: {lab.settings.state_dir}")
            good = False
        finally:
            if not options.keep:
                deployment.down()
    console.print(f"\n{time.monotonic() - started_s:.0f} s in all")
    return 0 if good else 1


def say(message: str) -> None:
    """A line of progress."""
    console.print(f"[dim]{time.strftime('%H:%M:%S')}[/] {message}")


def title(text: str) -> None:
    console.print(f"\n[bold]{text}[/]")


def run(deployment: Deployment) -> bool:
    """The demo itself; whether everything that it claims was seen."""
    title("1. Two sites, a mirrored disk, a third place that decides")
    deployment.up(fresh=True, progress=say)
    deployment.make_counter_disks(VOLUME, VOLUME_SIZE)
    for name in ("two-sites", "bancuv3"):
        say(f"kubectl apply -f examples/{name}.yaml")
        deployment.apply(SOURCE_DIR / "examples" / f"{name}.yaml")
    wait_for(deployment, GUEST, running_and_protected, FIRST_START_TIMEOUT_S, _show_change)
    time.sleep(COUNT_FOR_S)
    _show_objects(deployment)

    title("2. The site that runs the guest burns down (SIGKILL of its whole machine)")
    takeover = kill_and_watch(deployment, GUEST, on_change=_show_change)
    _show_takeover(takeover)
    _show_objects(deployment)

    title("3. The site comes back: resync, and redundancy restored")
    say(f"starting {takeover.source}")
    deployment.lab.host(takeover.source).start()
    wait_for(deployment, GUEST, running_and_protected, REDUNDANT_TIMEOUT_S, _show_change)
    _show_objects(deployment)

    title("4. The guest goes home as it runs")
    home = deployment.lab.host(takeover.source).spec.site
    say(f"a GuestMove: {GUEST.name} to site {home}, how: Live")
    move = move_and_watch(deployment, GUEST, home, f"{GUEST.name}-goes-home")
    console.print(deployment.kubectl("get", "guestmoves", "-A").rstrip(), markup=False)
    _show_move(move)
    return takeover.lost_writes == 0 and move.problem is None


def _show_change(status: dict[str, object]) -> None:
    message = str(status.get("message") or "")
    say(f"  guest {GUEST.name}: {status.get('phase') or 'new'} – {message}")


def _show_objects(deployment: Deployment) -> None:
    for kind in ("sites", "guests -A", "mirrors -A"):
        console.print(f"[dim]$ kubectl get {kind}[/]")
        console.print(deployment.kubectl("get", *kind.split()).rstrip(), markup=False)


def _show_takeover(takeover: Takeover) -> None:
    table = Table("STEP", "SECONDS SINCE THE SITE DIED", title=None)
    for key, label in STEPS.items():
        if key in takeover.steps_s:
            table.add_row(label, f"{takeover.steps_s[key]:6.2f}")
    console.print(table)
    console.print(
        f"last number written at {takeover.source}: {takeover.last_number_at_source}\n"
        f"first number at {takeover.target}:        {takeover.first_number_at_target}"
    )
    if takeover.lost_writes:
        console.print(f"[red]{takeover.lost_writes} acknowledged writes are lost[/]")
    else:
        console.print("[green]nothing that the guest had seen written is lost[/]")


def _show_move(move: LiveMove) -> None:
    console.print(
        f"last number printed at {move.source}: {move.last_at_source}\n"
        f"first number at {move.target}:        {move.first_at_target}\n"
        f"it was never stopped; the longest time between two numbers was {move.gap_s:.2f} s"
    )
    if move.problem:
        console.print(f"[red]a number is lost, or came twice:[/] {move.problem}")
    else:
        console.print("[green]no number is lost, and none came twice[/]")


if __name__ == "__main__":
    sys.exit(main())
