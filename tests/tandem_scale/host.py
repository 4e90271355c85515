"""The table of one host with many guests, and what bounds each of its numbers.

Each row is a median of several processes (``measure``), which take turns: this code, and with
``--against`` that of another checkout, on the same pretended parts.
"""

import argparse
import json
import os
import statistics
import subprocess
import sys
import tempfile
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from rich.console import Console
from rich.table import Table

from tandem_api.timing import DEFAULT
from tandem_scale.machine import START_S

GUESTS = (10, 100, 300)
PACKAGES = ("node-actuator", "crds", "base", "kube")
CALLS_OF_A_CONNECTION = 5

Found = Mapping[str, Any]


def run(arguments: Sequence[str]) -> int:
    """→ 1 if a healthy guest was fenced, by this code."""
    options = _options(arguments)
    against = [options.against] if options.against else []
    checkouts: list[Path | None] = [None, *against]
    found: dict[tuple[int, Path | None], list[Found]] = {}
    for guests in options.guests:
        for _ in range(options.runs):
            for checkout in checkouts:
                one = _measured(guests, options, checkout)
                found.setdefault((guests, checkout), []).append(one)
                print(json.dumps({"checkout": str(checkout or "here"), **one}), flush=True)
    show(found, drbd=options.drbd, runs=options.runs)
    mine = (one for (_, checkout), all_of in found.items() if checkout is None for one in all_of)
    return 1 if any(one["fenced"] for one in mine) else 0


def show(found: Mapping[tuple[int, Path | None], Sequence[Found]], *, drbd: int, runs: int) -> None:
    """Print the table, and what bounds it."""
    console = Console(width=140)
    console.print(_table(found, drbd, runs))
    for line in bounds():
        console.print(line)


def _options(arguments: Sequence[str]) -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="tandem_scale host", description=__doc__)
    parser.add_argument("--guests", type=int, nargs="+", default=list(GUESTS))
    parser.add_argument("--runs", type=int, default=3)
    parser.add_argument("--seconds", type=float, default=20.0, help="of each state")
    parser.add_argument("--drbd", type=int, default=8, choices=(8, 9))
    parser.add_argument("--against", type=Path, help="another checkout, measured in turns")
    return parser.parse_args(arguments)


def _measured(guests: int, options: argparse.Namespace, checkout: Path | None) -> Found:
    """Raises: CalledProcessError."""
    environment = dict(os.environ)
    if checkout is not None:
        paths = [*(str(checkout / package) for package in PACKAGES), environment.get("PYTHONPATH")]
        environment["PYTHONPATH"] = ":".join(filter(None, paths))
    command = [sys.executable, "-m", "tandem_scale.measure", "--guests", str(guests)]
    command += ["--drbd", str(options.drbd), "--seconds", str(options.seconds)]
    with tempfile.TemporaryFile("w+") as printed:
        subprocess.run(command, env=environment, stdout=printed, check=True)
        printed.seek(0)
        found: Found = json.loads(printed.read())
    return found


def _table(found: Mapping[tuple[int, Path | None], Sequence[Found]], drbd: int, runs: int) -> Table:
    title = f"DRBD {drbd}, medians of {runs} (most in brackets: of all runs)"
    table = Table(title=title)
    for column in (
        "guests",
        "code",
        "idle, % of a core",
        "API away, %",
        "looks/s idle, away",
        "fenced",
        "guard late, ms: median, p99 (most)",
        "look's age, s: p99 (most)",
        "fence of all, s (most)",
        "not fed, s (most)",
        "takeover, s",
    ):
        table.add_column(column)
    for (guests, checkout), measured in found.items():
        table.add_row(str(guests), "before" if checkout else "now", *_cells(measured))
    return table


def _cells(runs: Sequence[Found]) -> list[str]:
    def median(*path: str) -> float:
        return statistics.median(_at(one, path) for one in runs)

    def most(*path: str) -> float:
        return max(_at(one, path) for one in runs)

    late, age, fence = "lateness_away", "ages_away", "fencing"
    return [
        f"{100 * median('idle'):.1f}",
        f"{100 * median('away'):.1f}",
        f"{median('looks_idle'):.1f}, {median('looks_away'):.1f}",
        f"{sum(one['fenced'] for one in runs)}",
        f"{1000 * median(late, 'median'):.0f}, {1000 * median(late, 'p99'):.0f}"
        f" ({1000 * most(late, 'max'):.0f})",
        f"{median(age, 'p99'):.2f} ({most(age, 'max'):.2f})",
        f"{median(fence, 'max'):.2f} ({most(fence, 'max'):.2f})",
        f"{median(fence, 'starved'):.2f} ({most(fence, 'starved'):.2f})",
        f"{median('takeover_s'):.1f}",
    ]


def _at(one: Found, path: Sequence[str]) -> float:
    found: Any = one
    for name in path:
        found = found[name]
    return float(found)


def bounds() -> list[str]:
    """What each column is held against."""
    start_s = START_S[0]
    return [
        f"look's age: a guest that lives on the link alone is fenced once it is older than"
        f" Q = {DEFAULT.query_freshness_seconds:g} s",
        f"guard late: Q less the pace of the looks ({DEFAULT.query_freshness_seconds / 3:g} s)",
        f"fence of all: F = {DEFAULT.fencing_seconds:g} s",
        f"not fed: the watchdog resets the host after W = {DEFAULT.watchdog_seconds:g} s",
        f"takeover: libvirt, which serves {CALLS_OF_A_CONNECTION} calls of a connection at a time;"
        f" a start takes {start_s:g} s here, so {CALLS_OF_A_CONNECTION / start_s:.0f} guests a"
        " second",
    ]
