"""`make pods`: the operator installed in a cluster with real nodes, and everything tried on it.

Builds or reuses the image, starts the cluster, applies the manifests by docs/installation.md, runs
the drill, prints what was measured, and takes everything down, also after a failure or Ctrl-C.
With `--prepare` it only makes what is missing, with `--down` it removes what a killed run left.
"""

from __future__ import annotations

import argparse
import signal
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager

from rich.console import Console
from rich.table import Table

from tandem_lab.apt import AptError
from tandem_lab.controlplane import BuildError, ControlPlaneError, ProcessError
from tandem_lab.pods.checks import check_rights, logs, memory, scrape
from tandem_lab.pods.cluster import Cluster
from tandem_lab.pods.drill import Drill
from tandem_lab.pods.installation import DEPLOYMENTS, Installation
from tandem_lab.pods.prepare import NEXT_TAG, Parts, prepare
from tandem_lab.settings import LabError

MIB = 1024 * 1024
console = Console(highlight=False, soft_wrap=True)


def main() -> int:
    """Entry point. Exit code 0 only if everything held."""
    parser = argparse.ArgumentParser(prog="pods", description=__doc__)
    parser.add_argument("--prepare", action="store_true", help="only make what is missing")
    parser.add_argument("--down", action="store_true", help="only remove what is left")
    options = parser.parse_args()
    # A shell's background job ignores the one, and the other would end us with nothing tidied.
    for number in (signal.SIGINT, signal.SIGTERM):
        signal.signal(number, _interrupted)
    cluster = Cluster()
    try:
        with cluster.exclusive():
            if options.down:
                cluster.stop()
                return 0
            parts = prepare(cluster.settings, say)
            return 0 if options.prepare else run(cluster, parts)
    except (AptError, BuildError, ControlPlaneError, LabError, ProcessError) as error:
        console.print(f"[red]failed:[/] {error}", markup=True)
        return 1
    except KeyboardInterrupt:
        return 130


def _interrupted(_number: int, _frame: object) -> None:
    raise KeyboardInterrupt


def say(message: str) -> None:
    """A line of progress."""
    console.print(f"{time.strftime('%H:%M:%S')} {message}", markup=False)


def run(cluster: Cluster, parts: Parts) -> int:
    """Everything, on a cluster of its own."""
    steps = Steps()
    with installed(cluster, parts, steps) as installation:
        drill = Drill(cluster, installation)
        try:
            drill.begin()
            steps.done("a guest runs, assigned by the controller")
            _try_losses(drill)
            _show_rest(drill, cluster, parts)
        finally:
            drill.end()
    steps.done("everything is taken down")
    steps.show()
    return 0


class Steps:
    """What was reached when."""

    def __init__(self) -> None:
        self._began_s = time.monotonic()
        self._reached: list[tuple[str, float]] = []

    def done(self, what: str) -> None:
        after_s = time.monotonic() - self._began_s
        self._reached.append((what, after_s))
        say(f"{what}: {after_s:.1f} s")

    def show(self) -> None:
        table = Table("STEP", "SECONDS SINCE THE START")
        for what, after_s in self._reached:
            table.add_row(what, f"{after_s:.1f}")
        console.print(table)


@contextmanager
def installed(cluster: Cluster, parts: Parts, steps: Steps) -> Iterator[Installation]:
    """The cluster with Tandem in it, for as long as the block takes."""
    try:
        cluster.start(parts)
        steps.done("two nodes are Ready")
        installation = Installation(cluster.plane, cluster.directory / "installation")
        installation.check_out()
        installation.third_place()
        installation.admission()
        installation.wait_until_available()
        steps.done("installed by the page, and both Deployments are available")
        yield installation
    finally:
        cluster.stop()


def _try_losses(drill: Drill) -> None:
    table = Table("A SITE IS LOST WHILE THE LEADER'S POD IS", "NEW LEADER s", "REASSIGNED s")
    for attempt in (drill.deleted, drill.killed, drill.cut_off, drill.drained):
        trial = attempt()
        say(f"{trial.name}: reassigned after {trial.assigned_s:.1f} s")
        table.add_row(trial.name, f"{trial.leader_s:.1f}", f"{trial.assigned_s:.1f}")
    gap_s = drill.upgraded(NEXT_TAG)
    console.print(table)
    console.print(f"upgrade: at most {gap_s:.1f} s between two renewals by a leader")


def _show_rest(drill: Drill, cluster: Cluster, parts: Parts) -> None:
    pods = [pod for name in DEPLOYMENTS for pod in drill.pods(name)]
    names = [pod["metadata"]["name"] for pod in pods]
    refused = check_rights(cluster.plane, names[0], cluster.directory)
    console.print(f"refused to the controller's own account: {', '.join(refused)}")
    found = scrape(cluster.plane, names[-1])
    leaders = [address for address, metrics in found.items() if metrics["tandem_leader"] == 1]
    if len(leaders) != 1 or len(found) != 2:
        raise LabError(f"of the replicas at {', '.join(found)} these lead: {leaders}")
    console.print(f"metrics of {len(found)} replicas, one of which leads")
    console.print(f"{len(logs(cluster.plane).splitlines())} lines of the controller's log")
    table = Table("WHAT", "MiB")
    for name, used in memory(cluster, pods).items():
        table.add_row(f"memory of {name}", f"{used / MIB:.0f}")
    table.add_row("image of the controller", f"{parts.controller.archive.stat().st_size / MIB:.0f}")
    console.print(table)


if __name__ == "__main__":
    sys.exit(main())
