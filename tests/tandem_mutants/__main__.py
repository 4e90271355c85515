"""``python -m tandem_mutants``: is every safety rule needed, and would its loss be noticed?

Each mutant is tried in a process of its own: the test or the scenarios that may notice, until one
does, then seeds of random faults. Before all of them the code as it is passes the same. Exit codes:
0 every mutant was noticed (and none that another line of defence covers), 1 otherwise, 2 a mutant
cannot be made.
"""

import argparse
import os
import sys
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor, as_completed
from pathlib import Path

from tandem_mutants.apart import judged
from tandem_mutants.catalogue import BadMutant, Mutant, mutated_sources, read_all
from tandem_mutants.trial import NONE, Trial, Verdict

PROCESS_TIMEOUT_S = 3600


def main(arguments: list[str] | None = None) -> int:
    """Entry point."""
    options = _options(arguments)
    try:
        mutants = _chosen(options.names)
        for mutant in mutants:
            mutated_sources(mutant)
    except BadMutant as error:
        print(error, file=sys.stderr)
        return 2
    if options.list:
        for mutant in mutants:
            print(f"{mutant.group:>9}  {mutant.name:<34} {mutant.what}")
        return 0
    unchanged = _try(NONE, options, every_scenario=True)
    print(f"the code as it is: {unchanged.scenarios} scenarios, {unchanged.seeds} seeds:", end=" ")
    print(f"{unchanged.killed_by}: {unchanged.problem}" if unchanged.killed_by else "as promised")
    verdicts: dict[str, Verdict] = {}
    for mutant, verdict in _all(mutants, options):
        verdicts[mutant.name] = verdict
        print(_line(mutant, verdict), flush=True)
    if options.table:
        options.table.write_text(table(mutants, verdicts))
    return 1 if unchanged.killed_by or _sum_up(mutants, verdicts) else 0


def _options(arguments: list[str] | None) -> argparse.Namespace:
    assert __doc__ is not None
    parser = argparse.ArgumentParser(prog="tandem_mutants", description=__doc__.splitlines()[0])
    parser.add_argument(
        "names", nargs="*", metavar="NAME", help="mutants, rules by number, or parts"
    )
    parser.add_argument("--first", type=int, default=1, help="the first seed")
    parser.add_argument("--count", type=int, default=20, help="seeds for each mutant")
    parser.add_argument("--limit-s", type=float, default=120.0, help="for a mutant's seeds")
    parser.add_argument("--jobs", type=int, default=os.cpu_count() or 1)
    parser.add_argument("--table", type=Path, help="write the table for the docs to this file")
    parser.add_argument("--list", action="store_true", help="only say what there is")
    return parser.parse_args(arguments)


def _chosen(names: Sequence[str]) -> tuple[Mutant, ...]:
    every = read_all()
    unknown = set(names) - {m.name for m in every} - {m.group for m in every}
    if unknown:
        raise BadMutant(f"no such mutant: {', '.join(sorted(unknown))}; see --list")
    return tuple(m for m in every if not names or m.name in names or m.group in names)


def _all(
    mutants: Sequence[Mutant], options: argparse.Namespace
) -> Iterator[tuple[Mutant, Verdict]]:
    with ThreadPoolExecutor(options.jobs) as pool:
        trials = {pool.submit(_try, mutant, options): mutant for mutant in mutants}
        for done in as_completed(trials):
            yield trials[done], done.result()


def _try(mutant: Mutant, options: argparse.Namespace, *, every_scenario: bool = False) -> Verdict:
    trial = Trial(
        mutant,
        every_scenario=every_scenario,
        first=options.first,
        count=options.count,
        limit_s=options.limit_s,
    )
    return judged(trial, PROCESS_TIMEOUT_S)


def _line(mutant: Mutant, verdict: Verdict) -> str:
    by = verdict.killed_by or ("nobody, as expected" if mutant.spared else "NOBODY")
    count = f"{len(verdict.violated)}/{verdict.seeds}"
    head = f"{mutant.group:>9}  {mutant.name:<34} {by:<44} {count:>8} {verdict.took_s:>6.0f} s"
    return f"{head}  {verdict.problem.splitlines()[0][:90]}" if verdict.problem else head


def _sum_up(mutants: Sequence[Mutant], verdicts: dict[str, Verdict]) -> bool:
    """Print what it comes to; whether anything is not as it should be."""
    dead = [m for m in mutants if verdicts[m.name].killed_by]
    alive = [m.name for m in mutants if not m.spared and not verdicts[m.name].killed_by]
    noticed = [m.name for m in dead if m.spared]
    spared = [m for m in mutants if m.spared and not verdicts[m.name].killed_by]
    print(
        f"{len(mutants)} mutants of {len({m.group for m in mutants})} rules and parts: "
        f"{len(dead)} noticed,",
        end=" ",
    )
    print(f"{len(spared)} behind another line of defence, {len(alive)} survived")
    if alive:
        print(f"survived: {', '.join(alive)}", file=sys.stderr)
    if noticed:
        print(f"noticed, but said to be spared: {', '.join(noticed)}", file=sys.stderr)
    return bool(alive or noticed)


def table(mutants: Sequence[Mutant], verdicts: dict[str, Verdict]) -> str:
    """For docs/mutants.md."""
    lines = ["| of | mutant | what it does | noticed by | seeds |", "|---|---|---|---|---|"]
    for mutant in mutants:
        verdict = verdicts[mutant.name]
        by = f"`{verdict.killed_by}`" if verdict.killed_by else f"nobody: {mutant.spared or '?'}"
        seeds = f"{len(verdict.violated)} of {verdict.seeds}"
        cells = (mutant.group, f"`{mutant.name}`", mutant.what, by, seeds)
        lines.append(f"| {' | '.join(cells)} |")
    return "\n".join(lines) + "\n"


if __name__ == "__main__":
    sys.exit(main())
