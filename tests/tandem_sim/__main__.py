"""``python -m tandem_sim run FILE…`` plays scenarios; ``explore`` looks for trouble at random.

Exit codes: 0 everything is as expected, 1 it is not, 2 a file cannot be played (with the line).
"""

import argparse
import sys
from pathlib import Path

from tandem_scenario.located import BadScenario
from tandem_scenario.scenario import read
from tandem_sim.explore import explore
from tandem_sim.player import play


def main(arguments: list[str] | None = None) -> int:
    """Entry point."""
    parser = argparse.ArgumentParser(prog="tandem_sim", description=__doc__.splitlines()[0])
    commands = parser.add_subparsers(dest="command", required=True)
    run = commands.add_parser("run", help="play scenario files and print what happens")
    run.add_argument("files", nargs="+", type=Path, metavar="FILE")
    run.add_argument("--seed", type=int, help="another seed than the file's")
    run.add_argument("--quiet", action="store_true", help="print only what is wrong")
    search = commands.add_parser("explore", help="random faults, from a range of seeds")
    search.add_argument("--first", type=int, default=1)
    search.add_argument("--count", type=int, default=20)
    search.add_argument("--log", action="store_true", help="print everything that happens")
    options = parser.parse_args(arguments)
    if options.command == "run":
        return max(_run(path, options.seed, options.quiet) for path in options.files)
    seeds = range(options.first, options.first + options.count)
    return max(_explore(seed, options.log) for seed in seeds)


def _run(path: Path, seed: int | None, quiet: bool) -> int:
    try:
        scenario = read(path)
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


def _explore(seed: int, log: bool) -> int:
    outcome = explore(seed)
    print(f"seed {seed}: {'as promised' if not outcome.problems else 'PROBLEMS'}", flush=True)
    for line in outcome.lines if log else ():
        print(line)
    for problem in outcome.problems:
        print(f"  {problem}", file=sys.stderr)
    if outcome.problems:
        print("  after: " + "; ".join(outcome.faults), file=sys.stderr)
    return 1 if outcome.problems else 0


if __name__ == "__main__":
    sys.exit(main())
