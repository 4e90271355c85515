"""`tandem-lab run` and `tandem-lab fuzz`: scenarios and random faults on real kernels."""

from __future__ import annotations

import sys
import time
from pathlib import Path
from typing import Annotated

import typer

from tandem_lab.controlplane import ControlPlaneError, ProcessError
from tandem_lab.lab import Lab
from tandem_lab.prepare import prepare
from tandem_lab.scenarios.fuzz import fuzz
from tandem_lab.scenarios.log import Log
from tandem_lab.scenarios.player import check, play
from tandem_lab.settings import LabError, Settings
from tandem_scenario.located import BadScenario
from tandem_scenario.scenario import Scenario, read

AS_EXPECTED, NOT_AS_EXPECTED, BAD_FILE = 0, 1, 2


def register(app: typer.Typer) -> None:
    """Add the commands."""
    app.command("run")(run)
    app.command("fuzz")(random_faults)


def run(
    files: Annotated[list[Path], typer.Argument(metavar="FILE...")],
    slack_s: Annotated[
        float, typer.Option("--slack", help="Seconds added to every upper bound.")
    ] = 8.0,
    quiet: Annotated[bool, typer.Option("--quiet", help="Print only what is wrong.")] = False,
) -> None:
    """Play scenario files, each from empty disks, and judge them by what was observed.

    Exit code 0: all is as expected; 1: it is not; 2: a file cannot be played, with the line.
    """
    scenarios = _read(files)
    prepare(print if not quiet else _ignore)
    with Lab().exclusive():
        bad = [path for path, scenario in scenarios if not _play(path, scenario, slack_s, quiet)]
    print(f"{len(scenarios) - len(bad)} of {len(scenarios)} as expected")
    raise typer.Exit(NOT_AS_EXPECTED if bad else AS_EXPECTED)


def random_faults(
    minutes: Annotated[float, typer.Option(help="A round that has begun is played to its end.")],
    seed: Annotated[int, typer.Option(help="Of the faults; what they meet is never the same.")] = 1,
    first_round: Annotated[int, typer.Option(help="Begin with this one.")] = 1,
    quiet: Annotated[bool, typer.Option("--quiet", help="Print only the summary.")] = False,
) -> None:
    """Random faults on several guests, round after round; each must be well again in time.

    Exit code 0: no promise was broken; 1: one was. Failed rounds are kept with all their logs.
    """
    echo = _ignore if quiet else _print_line
    prepare(echo)
    with Lab().exclusive():
        summary = fuzz(Settings.from_environment(), seed, minutes, echo, first_round)
    print("\n".join(summary.told()))
    raise typer.Exit(NOT_AS_EXPECTED if summary.violations else AS_EXPECTED)


def _read(files: list[Path]) -> list[tuple[Path, Scenario]]:
    """All files, before anything is started."""
    scenarios, bad = [], False
    for path in files:
        try:
            scenario = read(path)
            check(scenario)
            scenarios.append((path, scenario))
        except BadScenario as error:
            print(f"{path}: {error}", file=sys.stderr)
            bad = True
        except OSError as error:
            print(f"{path}: {error.strerror}", file=sys.stderr)
            bad = True
    if bad:
        raise typer.Exit(BAD_FILE)
    return scenarios


def _play(path: Path, scenario: Scenario, slack_s: float, quiet: bool) -> bool:
    began_s = time.monotonic()
    print(f"# {path}: {scenario.title}", flush=True)
    log = Log(None if quiet else _print_line)
    try:
        problems = play(scenario, Settings.from_environment(), log, slack_s).problems
    except (LabError, ControlPlaneError, ProcessError) as error:
        problems = [f"it could not be played to its end: {error}"]
    for problem in problems:
        print(f"{path}: NOT AS EXPECTED: {problem}", file=sys.stderr, flush=True)
    told = "not as expected" if problems else "as expected"
    print(f"# {path}: {told}, {time.monotonic() - began_s:.0f} s", flush=True)
    return not problems


def _print_line(line: str) -> None:
    print(line, flush=True)


def _ignore(_message: str) -> None:
    pass
