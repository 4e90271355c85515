"""``tandem-sim run FILE…`` plays scenarios; ``tandem-sim fuzz`` looks for trouble at random.

Exit codes: 0 everything is as expected, 1 it is not, 2 a file cannot be played (with the line) or
the command line is wrong.
"""

import argparse
import os
import signal
import sys
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

from sim.faults.choices import MIXES, RECOVERY_S, Choice
from sim.faults.schedule import scenario
from sim.play.player import play
from sim.referee.referee import Counted
from sim.search.fuzz import Totals, fuzz, shortest
from sim.search.trial import Outcome
from sim.verdicts.liveness import Kind
from sim.verdicts.orders import End
from tandem_scenario.located import BadScenario
from tandem_scenario.scenario import read
from tandem_scenario.writer import write

TELL_EVERY = 500
DRBD: Mapping[str, Any] = {"type": int, "choices": (8, 9)}


def main(arguments: list[str] | None = None) -> int:
    """Entry point."""
    options = _parser().parse_args(arguments)
    if options.command == "run":
        how = (options.seed, options.drbd, options.quiet)
        return max(_run(path, *how) for path in options.files)
    if options.command == "show":
        print(write(scenario(options.seed, _choice(options))), end="")
        return 0
    return _fuzz(options)


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="tandem-sim", description=__doc__.splitlines()[0])
    commands = parser.add_subparsers(dest="command", required=True)
    run = commands.add_parser("run", help="play scenario files and print what happens")
    run.add_argument("files", nargs="+", type=Path, metavar="FILE")
    run.add_argument("--seed", type=int, help="another seed than the file's")
    run.add_argument("--quiet", action="store_true", help="print only what is wrong")
    search = commands.add_parser("fuzz", help="random faults, from a range of seeds")
    search.add_argument("--seeds", type=_range, default=range(1, 1001), metavar="A..B")
    search.add_argument("--jobs", type=int, default=os.cpu_count() or 1)
    search.add_argument("--minutes", type=float, default=float("inf"), help="end after these")
    search.add_argument("--keep-going", action="store_true", help="do not end at a failure")
    run.add_argument("--drbd", **DRBD, help="another version than the file's")
    show = commands.add_parser("show", help="print the scenario that a seed stands for")
    show.add_argument("seed", type=int)
    for command in (search, show):
        command.add_argument(
            "--profile",
            dest="mixes",
            type=_mixes,
            default=MIXES,
            help=f"faults of these kinds only, with commas between: {', '.join(MIXES)}",
        )
        command.add_argument(
            "--within",
            type=float,
            default=RECOVERY_S,
            metavar="SECONDS",
            help="after everything was mended, all must be well within these (%(default)g)",
        )
        command.add_argument(
            "--lasting",
            action="store_true",
            help="some of what is broken is not mended: who can run must, who cannot must say why",
        )
        command.add_argument("--drbd", **DRBD, default=8, help="which the hosts run (%(default)d)")
        command.add_argument(
            "--migration",
            action="store_true",
            help="the hosts can send each other guests as these run, and each guest is moved",
        )
        command.add_argument(
            "--hosts",
            type=int,
            choices=range(1, 10),
            default=1,
            metavar="N",
            help="of each site, with three to six guests if more than one (%(default)d)",
        )
    return parser


def _choice(options: argparse.Namespace) -> Choice:
    return Choice(
        *(options.mixes, options.within, options.lasting, options.drbd, options.migration),
        hosts=options.hosts,
    )


def _range(text: str) -> range:
    first, dots, last = text.partition("..")
    if not (first.isdigit() and (not dots or last.isdigit())):
        raise argparse.ArgumentTypeError(f"{text!r} is not A..B")
    return range(int(first), int(last or first) + 1)


def _mixes(text: str) -> tuple[str, ...]:
    chosen = tuple(text.split(","))
    for one in chosen:
        if one not in MIXES:
            raise argparse.ArgumentTypeError(f"{one!r} is none of {', '.join(MIXES)}")
    return chosen


def _run(path: Path, seed: int | None, drbd: int | None, quiet: bool) -> int:
    try:
        scenario = read(path)
        if drbd is not None:
            scenario = replace(scenario, world=replace(scenario.world, drbd=drbd))
        if not quiet:
            print(f"# {scenario.title}")
        result = play(scenario, seed, None if quiet else print)
    except BadScenario as error:
        print(f"{path}: {error}", file=sys.stderr)
        return 2
    except OSError as error:
        print(f"{path}: {error.strerror}", file=sys.stderr)
        return 2
    for problem in result.problems:
        print(f"{path}: NOT AS EXPECTED: {problem}", file=sys.stderr)
    return 1 if result.problems else 0


def _fuzz(options: argparse.Namespace) -> int:
    choice = _choice(options)
    signal.signal(signal.SIGTERM, signal.default_int_handler)

    def told(totals: Totals, outcome: Outcome) -> None:
        for problem in outcome.problems:
            print(f"seed {outcome.seed}: {problem}", flush=True)
        if totals.seeds % TELL_EVERY == 0:
            rate, hours = totals.seeds / totals.wall_s, totals.simulated_s / 3600
            failed = f"{len(totals.failed)} failed"
            print(f"{totals.seeds} seeds, {rate:.1f}/s, {hours:.1f} h, {failed}", flush=True)

    totals = fuzz(
        options.seeds,
        jobs=options.jobs,
        choice=choice,
        end_s=options.minutes * 60,
        keep_going=options.keep_going,
        told=told,
    )
    print(_summary(totals))
    if not totals.failed:
        return 0
    first = min(totals.failed, key=lambda outcome: outcome.seed)
    print(f"\n# seed {first.seed} shortened; play it with: tandem-sim run FILE")
    print(write(shortest(first.seed, choice)), end="")
    return 1


def _summary(totals: Totals) -> str:
    rate = totals.seeds / totals.wall_s if totals.wall_s else 0.0
    faults = ", ".join(f"{verb} {number}" for verb, number in sorted(totals.faults.items()))
    counted = ", ".join(f"{kind} {totals.counted[kind]}" for kind in Counted)
    summary = (
        f"seeds {totals.seeds} ({rate:.1f}/s), simulated hours {totals.simulated_s / 3600:.1f},"
        f" guests started {totals.starts}, {counted},"
        f" longest recovery {totals.slowest_s:.1f} s, failed {len(totals.failed)}\n"
        f"commands: {faults}"
    )
    return "\n".join([summary, *_lasting(totals)])


def _lasting(totals: Totals) -> list[str]:
    """For each kind of fault that lasted: seeds, and to which end guests and orders came."""
    if not totals.lasting:
        return []
    guests, orders = [str(kind) for kind in Kind], [f"orders {end}" for end in End]
    named = ["seeds", *guests, *orders]
    widths = [max(8, len(name) + 2) for name in named]
    rows = [("broken for good", *named)]
    for kind, counted in sorted(totals.lasting.items()):
        rows.append((kind, *(str(counted[name]) for name in named)))
    return [
        f"{row[0]:<16}" + "".join(f"{c:>{w}}" for c, w in zip(row[1:], widths, strict=True))
        for row in rows
    ]


if __name__ == "__main__":
    sys.exit(main())
