"""What `bench_scale controller` measures, and the table that it is shown in."""

import statistics
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from rich.console import Console
from rich.table import Table

from tandem_lab.scale.cluster import Size


@dataclass
class Measured:
    """One run. Seconds, but for ``idle_percent`` of a core and MiB."""

    start_s: float = 0.0
    idle_percent: float = 0.0
    whole_plan_s: float = 0.0
    change_plan_s: float = 0.0
    change_told_s: float = 0.0
    late_s: float = 0.0
    late_in_loss_s: float = 0.0
    loss_cpu_s: float = 0.0
    decided_s: float = 0.0
    assigned_s: float = 0.0
    memory_mib: float = 0.0
    peak_mib: float = 0.0


ROWS = (
    ("start until the first plan, s", "start_s", "reading every object, with kopf beside it"),
    ("% of a core when nothing happens", "idle_percent", "a look each 5 s, lists each 30 s"),
    ("one plan of everything, s of a processor", "whole_plan_s", "guests"),
    ("one changed guest: its plan, s", "change_plan_s", "what it has changed"),
    ("one changed guest until its status is there, s", "change_told_s", "the plan, a pause"),
    ("Leases are read too late meanwhile, s at most", "late_s", "a turn of the loop; gap: 1 s"),
    ("the same while a site is lost", "late_in_loss_s", "a turn of the loop; gap: 1 s"),
    ("a host of it is lost until the first assignment, s", "decided_s", "a plan of everything"),
    ("until the last assignment is written, s", "assigned_s", "two writes for each guest"),
    ("the same since it fell silent, s of a processor", "loss_cpu_s", "plans, kopf, writes"),
    ("memory, MiB", "memory_mib", "the objects, and what was judged"),
    ("memory at most, MiB", "peak_mib", "lists as they are read"),
)
"""What is shown, of which field, and what bounds it."""


def medians(runs: Sequence[Measured]) -> Measured:
    return Measured(
        **{name: statistics.median(getattr(run, name) for run in runs) for name in vars(runs[0])}
    )


def show(found: Mapping[Size, Sequence[Measured]], console: Console) -> None:
    """A row for each number, a column for each size."""
    most = max((len(runs) for runs in found.values()), default=0)
    table = Table(title=f"the controller: medians of {most}")
    table.add_column("")
    for size in found:
        table.add_column(f"{size.guests:,} guests, {size.hosts} hosts", justify="right")
    table.add_column("bounded by")
    for words, name, bound in ROWS:
        values = [getattr(medians(runs), name) for runs in found.values()]
        table.add_row(words, *(f"{value:.3g}" for value in values), bound)
    console.print(table)
