"""`make bench-flood`: heartbeats while a tenant floods the API server, with and without lanes.

On an API server of its own that lets few requests in at once, without the lab. Blocks with and
without `manifests/flow-control` take turns; client, flood and server share the machine.
"""

from __future__ import annotations

import argparse
import asyncio
import statistics
import sys
import tempfile
from pathlib import Path

from rich.console import Console
from rich.table import Table

from tandem_kube import KubeClient
from tandem_lab.controlplane import ControlPlane
from tandem_lab.flood import apply_lanes, beats_s, fill, flooding, remove_lanes, small_place

HOST = "burjassot-1"
BLOCK_S = 8.0


async def measure(plane: ControlPlane, blocks: int) -> dict[str, list[float]]:
    """Seconds that each heartbeat took."""
    await fill(plane)
    kubeconfig = plane.user_kubeconfig(f"tandem:host:{HOST}", ["tandem:hosts"])
    client = await KubeClient.load(kubeconfig, component="bench")
    quiet = await beats_s(client, HOST, BLOCK_S)
    without: list[float] = []
    with_lanes: list[float] = []
    for _ in range(blocks):
        for times, change in ((without, remove_lanes), (with_lanes, apply_lanes)):
            await asyncio.to_thread(change, plane)
            with flooding(plane):
                times.extend(await beats_s(client, HOST, BLOCK_S))
    await client.close()
    return {"no flood": quiet, "flood, no lanes": without, "flood, lanes": with_lanes}


def show(found: dict[str, list[float]]) -> None:
    table = Table(title="one heartbeat, ms")
    for name in ("", "heartbeats", "p50", "p99"):
        table.add_column(name)
    for what, times in found.items():
        p99 = statistics.quantiles(times, n=100, method="inclusive")[98]
        ms = (f"{statistics.median(times) * 1e3:.0f}", f"{p99 * 1e3:.0f}")
        table.add_row(what, str(len(times)), *ms)
    Console().print(table)


def main(arguments: list[str] | None = None) -> int:
    """Entry point."""
    parser = argparse.ArgumentParser(prog="bench_flood", description=__doc__)
    parser.add_argument("--blocks", type=int, default=2, help="of each, 8 s long")
    options = parser.parse_args(arguments)
    with (
        tempfile.TemporaryDirectory(prefix="tandem-bench-") as directory,
        small_place(Path(directory), HOST) as plane,
    ):
        show(asyncio.run(measure(plane, options.blocks)))
    return 0


if __name__ == "__main__":
    sys.exit(main())
