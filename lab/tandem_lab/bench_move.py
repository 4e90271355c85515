"""`make bench-move`: how long a guest stands still as it moves to the other site while it runs.

Ten moves in both directions, each from a fully redundant state, by GuestMoves; and beside them, on
the same hosts in the same sitting, as many by the bare parts: two Primaries allowed for good, and
libvirt's own migration to a guest that goes on at once, with nobody asked. Prints every run, the
medians and their difference.
"""

from __future__ import annotations

import argparse
import statistics
import sys
import time

from rich.console import Console
from rich.table import Table

from tandem_lab.demo import GUEST, VOLUME, VOLUME_SIZE
from tandem_lab.deployment import Deployment
from tandem_lab.guests import counter_domain_xml, write_counter_guest
from tandem_lab.hand_made import HandMadeMirror
from tandem_lab.history import lines_of
from tandem_lab.lab import Lab
from tandem_lab.live_move import SETTLES_S, LiveMove, measured, move_and_watch
from tandem_lab.prepare import prepare
from tandem_lab.settings import SOURCE_DIR
from tandem_lab.site_host import SiteHost
from tandem_lab.takeover import running_and_protected, wait_for
from tandem_lab.topology import REPLICATION

READY_TIMEOUT_S = 180.0
MOVE_TIMEOUT_S = 120.0
BARE, BARE_MINOR, BARE_PORT = "bare", 60, 16509
PYTHON = "/opt/tandem/venv/bin/python"
FORWARD = f"""
import asyncio

async def pipe(reader, writer):
    while data := await reader.read(65536):
        writer.write(data)
        await writer.drain()
    writer.close()

async def serve(reader, writer):
    there, into = await asyncio.open_unix_connection("/run/libvirt/libvirt-sock")
    await asyncio.gather(pipe(reader, into), pipe(there, writer), return_exceptions=True)

async def main():
    server = await asyncio.start_server(serve, "0.0.0.0", {BARE_PORT})
    await server.serve_forever()

asyncio.run(main())
"""
"""Libvirt's socket for the bare runs, at an address that the other host reaches."""
MIGRATE = """
import sys
import libvirt

name, address, port = sys.argv[1:]
here = libvirt.open("qemu:///system")
there = libvirt.open(f"qemu+tcp://{address}:{port}/system")
parameters = {libvirt.VIR_MIGRATE_PARAM_URI: f"tcp://{address}"}
here.lookupByName(name).migrate3(there, parameters, libvirt.VIR_MIGRATE_LIVE)
"""

console = Console(highlight=False, soft_wrap=True)


def main() -> int:
    """Entry point."""
    parser = argparse.ArgumentParser(prog="bench-move", description=__doc__)
    parser.add_argument("--runs", type=int, default=10)
    options = parser.parse_args()
    prepare(lambda message: None)
    lab = Lab()
    deployment = Deployment(lab, migration=True)
    with lab.exclusive():
        try:
            bare = _bare(deployment, options.runs)
            moves = _by_tandem(deployment, options.runs)
        finally:
            deployment.down()
    _print(moves, bare)
    return 1 if any(move.problem for move in moves) else 0


def _by_tandem(deployment: Deployment, runs: int) -> list[LiveMove]:
    for name in ("two-sites", "bancuv3"):
        deployment.apply(SOURCE_DIR / "examples" / f"{name}.yaml")
    moves: list[LiveMove] = []
    for run in range(runs):
        status = wait_for(deployment, GUEST, running_and_protected, READY_TIMEOUT_S)
        to = next(host for host in deployment.lab.hosts if host.name != status["host"])
        moves.append(move_and_watch(deployment, GUEST, to.spec.site, f"bench-{run + 1}"))
        _say("Tandem", run, moves[-1])
    return moves


# -- the bare parts


def _bare(deployment: Deployment, runs: int) -> list[LiveMove]:
    """Before any guest of Tandem's is there."""
    deployment.up(fresh=True)
    deployment.make_counter_disks(VOLUME, VOLUME_SIZE)
    first, second = deployment.lab.hosts[:2]
    mirror = HandMadeMirror(BARE, BARE_MINOR, (first, second), two_primaries=True)
    mirror.create()
    mirror.promote(first)
    write_counter_guest(first, mirror.device, deployment.lab.settings)
    for host in (first, second):
        host.write_file("/run/forward.py", FORWARD)
        host.shell(f"mkdir -p /site/serial; setsid {PYTHON} /run/forward.py >/dev/null 2>&1 &")
    first.write_file("/run/bare.xml", counter_domain_xml(BARE, [mirror.device]))
    create = (
        "import libvirt; libvirt.open('qemu:///system').createXML(open('/run/bare.xml').read())"
    )
    first.run([PYTHON, "-c", create], timeout_s=READY_TIMEOUT_S).check()
    deployment.lab.wait_guest_line(BARE, first.name, 0.0)
    moves: list[LiveMove] = []
    for run in range(runs):
        source, target = (first, second) if run % 2 == 0 else (second, first)
        moves.append(_move_bare(deployment.lab, mirror, source, target))
        _say("bare", run, moves[-1])
    last = second if runs % 2 else first
    destroy = "import libvirt; libvirt.open('qemu:///system').lookupByName('bare').destroy()"
    last.run([PYTHON, "-c", destroy]).check()
    for host in (first, second):
        host.shell(
            f"drbdadm down {BARE}; rm /etc/drbd.d/{BARE}.res; pkill -f '[f]orward.py' || true"
        )
    return moves


def _move_bare(lab: Lab, mirror: HandMadeMirror, source: SiteHost, target: SiteHost) -> LiveMove:
    time.sleep(SETTLES_S)
    began_s = time.monotonic()
    mirror.promote(target)
    address = REPLICATION.address(target.spec)
    argv = [PYTHON, "-c", MIGRATE, BARE, address, str(BARE_PORT)]
    source.run(argv, timeout_s=MOVE_TIMEOUT_S).check()
    took_s = time.monotonic() - began_s
    source.shell(f"drbdadm secondary {mirror.name}")
    time.sleep(SETTLES_S)
    lines = lines_of(lab, BARE, began_s - SETTLES_S)
    return measured(lines, source.name, target.name, took_s, domain=BARE)


# -- what is printed


def _say(which: str, run: int, move: LiveMove) -> None:
    console.print(
        f"{which} {run + 1}: {move.source} → {move.target}: longest gap {move.gap_s:.2f} s,"
        f" all of it {move.took_s:.1f} s; {move.problem or 'no number lost or doubled'}",
        markup=False,
    )


def _print(moves: list[LiveMove], bare: list[LiveMove]) -> None:
    table = Table("LONGEST GAP BETWEEN TWO NUMBERS", "MEDIAN s", "MIN s", "MAX s", "MOVES")
    for label, each in (("Tandem, as it runs", moves), ("bare libvirt and DRBD", bare)):
        gaps_s = [move.gap_s for move in each]
        row = (statistics.median(gaps_s), min(gaps_s), max(gaps_s))
        table.add_row(label, *(f"{value:.2f}" for value in row), str(len(each)))
    console.print(table)
    more_s = statistics.median(m.gap_s for m in moves) - statistics.median(m.gap_s for m in bare)
    console.print(f"Tandem stands still for {more_s:.2f} s more, median against median")
    console.print(f"moves with a number lost or doubled: {sum(bool(m.problem) for m in moves)}")


if __name__ == "__main__":
    sys.exit(main())
