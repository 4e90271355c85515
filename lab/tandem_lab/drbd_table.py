"""`make drbd-table MODULES="FOLDER…"`: what is proven on each DRBD, as docs/drbd.md shows it.

For the lab's own DRBD and for that of each folder, one after another: the conformance suite's
named sequences, the contract tests that concern DRBD, a verification under a guest, and the loss of
each site in turn with a takeover and the way back to a guest that is protected. What fails is said,
and the rest goes on.

Prints a table in Markdown, of what was played if it is stopped (Ctrl-C). Exit code 0 only if
everything was as it must be.
"""

from __future__ import annotations

import argparse
import json
import os
import re
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime
from pathlib import Path

from tandem_lab.demo import GUEST, VOLUME, VOLUME_SIZE
from tandem_lab.deployment import Deployment
from tandem_lab.drbd_modules import given_modules
from tandem_lab.lab import Lab
from tandem_lab.prepare import prepare
from tandem_lab.pytest_report import Results, run_pytest
from tandem_lab.settings import MODULES_VARIABLE, SOURCE_DIR, LabError, Settings
from tandem_lab.takeover import kill_and_watch, running_and_protected, wait_for

CONFORMANCE_TIMEOUT_S = 3600.0
TESTS_TIMEOUT_S = 2400.0
READY_TIMEOUT_S = 180.0
SETTLE_S = 5.0
TAKEOVERS = 2
"""There and back: each site is lost once."""
SLOTS = 12
NOTHING = "–"
FAILED = "failed"
NEVER_PLAYED = "random sequences, random faults, scenarios, mutants"


@dataclass(frozen=True)
class Outcome:
    """A cell for each row of a part, and what was not as it must be, in words."""

    cells: tuple[str, ...]
    problems: tuple[str, ...] = ()


@dataclass(frozen=True)
class Part:
    """Something to play on one DRBD; `rows` are its headings in the table."""

    rows: tuple[str, ...]
    run: Callable[[Settings], Outcome]


@dataclass(frozen=True)
class Versions:
    """What a lab's host says that it runs."""

    drbd: str
    kernel: str
    utils: str


@dataclass
class Column:
    """One DRBD. `versions` None: its hosts did not boot. `outcomes` are by a part's name."""

    title: str
    versions: Versions | None = None
    outcomes: dict[str, Outcome] = field(default_factory=dict)
    problems: list[str] = field(default_factory=list)

    @property
    def heading(self) -> str:
        return self.versions.drbd if self.versions else self.title

    @property
    def all_problems(self) -> list[str]:
        told = (f"{name}: {p}" for name, o in self.outcomes.items() for p in o.problems)
        return [f"{self.heading}: {words}" for words in (*self.problems, *told)]


def main() -> int:
    """Entry point."""
    options = _options()
    chosen = [name for name in PARTS if name in options.only]
    settings = Settings.from_environment()
    prepare(say)
    folders = [*([] if options.without_own else [None]), *options.modules]
    loads = [os.getloadavg()[0]]
    columns: list[Column] = []
    try:
        for folder in folders:
            columns.append(Column("the lab's own" if folder is None else folder.name))
            _fill(columns[-1], replace(settings, drbd_modules=folder), chosen, loads)
    except KeyboardInterrupt:
        columns[-1].problems.append("stopped before its end")
    print("\n".join(table(columns, chosen, datetime.now(tz=UTC).date().isoformat(), loads)))
    return 1 if any(column.all_problems for column in columns) else 0


def _options() -> argparse.Namespace:
    def parts(text: str) -> list[str]:
        unknown = set(text.split(",")) - set(PARTS)
        if unknown:
            raise argparse.ArgumentTypeError(f"no part: {', '.join(sorted(unknown))}")
        return text.split(",")

    parser = argparse.ArgumentParser(prog="drbd-table", description=__doc__)
    parser.add_argument("modules", nargs="*", type=lambda text: Path(text).absolute())
    parser.add_argument("--only", type=parts, default=list(PARTS), metavar=",".join(PARTS))
    parser.add_argument(
        "--without-own", action="store_true", help="only the folders that are given"
    )
    return parser.parse_args()


def say(message: str) -> None:
    """A line of progress."""
    print(f"{time.strftime('%H:%M:%S')} {message}", file=sys.stderr, flush=True)


def _fill(column: Column, settings: Settings, chosen: Sequence[str], loads: list[float]) -> None:
    """Everything that was chosen, on one DRBD. The wall around each part is here."""
    try:
        column.versions = ask(settings)
    except Exception as error:
        column.problems.append(f"its hosts do not boot: {error}")
        say(column.all_problems[-1])
        return
    for name in chosen:
        say(f"DRBD {column.heading}: {name}")
        part = PARTS[name]
        try:
            outcome = part.run(settings)
        except Exception as error:
            words = f"not played to its end: {type(error).__name__}: {error}"
            outcome = Outcome((FAILED,) * len(part.rows), (words,))
        column.outcomes[name] = outcome
        loads.append(os.getloadavg()[0])
        say(f"DRBD {column.heading}: {name}: {'; '.join((*outcome.cells, *outcome.problems))}")


def ask(settings: Settings) -> Versions:
    """Boot the hosts once, and ask what they run. Raises: LabError."""
    given_modules(settings, settings.drbd_modules)
    lab = Lab(settings)
    with lab.exclusive():
        lab.up(fresh=True)
        try:
            host = lab.hosts[0]
            told = host.shell("drbdadm --version")
            return Versions(host.drbd_version(), host.shell("uname -r").strip(), utils_of(told))
        finally:
            lab.down()


def utils_of(text: str) -> str:
    """drbd-utils' version, of what `drbdadm --version` prints. Raises: LabError."""
    found = re.search(r"^DRBDADM_VERSION=(\S+)$", text, re.MULTILINE)
    if found is None:
        raise LabError(f"drbdadm does not say its version: {text!r}")
    return found[1]


def environment_of(settings: Settings) -> dict[str, str]:
    """For a program that is to use this DRBD."""
    environment = {k: v for k, v in os.environ.items() if k != MODULES_VARIABLE}
    if settings.drbd_modules is not None:
        environment[MODULES_VARIABLE] = str(settings.drbd_modules)
    return environment


# --- parts


def _conformance(settings: Settings) -> Outcome:
    with tempfile.TemporaryDirectory() as folder:
        verdicts = Path(folder) / "verdicts.json"
        command = [sys.executable, "-m", "conformance", "compare", f"--slots={SLOTS}"]
        subprocess.run(
            [*command, f"--verdicts={verdicts}"],
            cwd=SOURCE_DIR,
            env=environment_of(settings),
            stdin=subprocess.DEVNULL,
            stdout=sys.stderr,
            timeout=CONFORMANCE_TIMEOUT_S,
            check=False,  # the verdicts say it
        )
        return of_verdicts(json.loads(verdicts.read_text()))


def of_verdicts(verdicts: Mapping[str, str]) -> Outcome:
    """What `conformance compare` found of each sequence."""
    differ = [name for name, verdict in verdicts.items() if verdict == "differs"]
    second = sum(verdict == "agrees at the second try" for verdict in verdicts.values())
    cell = _of(len(verdicts) - len(differ), len(verdicts), second)
    problems = (f"not as the simulator: {', '.join(differ)}",) if differ else ()
    return Outcome((cell,), problems if verdicts else ("no sequence was played",))


def _tests(*arguments: str) -> Callable[[Settings], Outcome]:
    """Tests of these arguments; what fails is played once more, in a lab that is booted anew."""

    def run(settings: Settings) -> Outcome:
        environment = environment_of(settings)
        with tempfile.TemporaryDirectory() as cache:
            every = ["--once", "-m", "lab", "-o", f"cache_dir={cache}", *arguments]
            first = run_pytest(every, environment, TESTS_TIMEOUT_S)
            second = None
            if first.failed and first.passed:
                second = run_pytest(["--lf", *every], environment, TESTS_TIMEOUT_S)
        return of_tests(first, second)

    return run


def of_tests(first: Results, second: Results | None = None) -> Outcome:
    """`second`: what failed at first, once more; None: nothing was played again."""
    total = first.passed + first.failed
    at_second = second.passed if second else 0
    failed = first.failed - at_second
    cell = _of(total - failed, total, at_second)
    if not total:
        return Outcome((cell,), ("no test was played",))
    names = (second.failures if second else ()) or first.failures
    return Outcome((cell,), (f"failed: {', '.join(names)}",) if failed else ())


def _of(good: int, total: int, at_second: int) -> str:
    return f"{good} of {total}" + (f", {at_second} of them at the second try" if at_second else "")


@dataclass(frozen=True)
class Loss:
    """A site's, seen by its guest. Seconds: to its first line elsewhere; from the site's return."""

    takeover_s: float
    lost_writes: int
    protected_s: float


def _losses(settings: Settings) -> Outcome:
    lab = Lab(settings)
    deployment = Deployment(lab)
    with lab.exclusive():
        try:
            deployment.up(fresh=True, progress=say)
            deployment.make_counter_disks(VOLUME, VOLUME_SIZE)
            for name in ("two-sites", "bancuv3"):
                deployment.apply(SOURCE_DIR / "examples" / f"{name}.yaml")
            wait_for(deployment, GUEST, running_and_protected, READY_TIMEOUT_S)
            return of_losses([_lose(deployment) for _ in range(TAKEOVERS)])
        finally:
            with suppress(LabError):  # what went wrong before is what matters
                deployment.down()


def _lose(deployment: Deployment) -> Loss:
    """The site that the guest runs at is lost, and returns; until it is protected again."""
    time.sleep(SETTLE_S)
    takeover = kill_and_watch(deployment, GUEST)
    began_s = time.monotonic()
    deployment.lab.host(takeover.source).start()
    wait_for(deployment, GUEST, running_and_protected, READY_TIMEOUT_S)
    protected_s = time.monotonic() - began_s
    return Loss(takeover.steps_s["firstLine"], takeover.lost_writes, protected_s)


def of_losses(losses: Sequence[Loss]) -> Outcome:
    """Of both sites in turn."""
    lost = sum(loss.lost_writes for loss in losses)
    return Outcome(
        (
            ", ".join(f"{loss.takeover_s:.1f} s" for loss in losses),
            str(lost),
            ", ".join(f"{loss.protected_s:.0f} s" for loss in losses),
        ),
        (f"{lost} acknowledged writes were lost",) if lost else (),
    )


PARTS: Mapping[str, Part] = {
    "conformance": Part(("named sequences that kernels play as the simulator does",), _conformance),
    "contract": Part(
        ("contract tests of the real adapter (`tests/contract -k drbd`)",),
        _tests("-k", "drbd", "tests/contract"),
    ),
    "verification": Part(
        ("the owner has copied what a verification found, under its guest",),
        _tests("tests/lab/test_tandem_copies.py"),
    ),
    "takeover": Part(
        (
            "a site dies, then the other: until the guest's first line elsewhere",
            "acknowledged writes lost by it",
            "it returns: boot, resync, protected again",
        ),
        _losses,
    ),
}
"""By the name that ``--only`` takes, in the table's order."""


# --- the table


def table(
    columns: Sequence[Column], chosen: Sequence[str], date: str, loads: Sequence[float]
) -> list[str]:
    """In Markdown: when and where, a row for each heading, what was left out, what went wrong."""
    left_out = [name for name in PARTS if name not in chosen]
    return [
        _where(columns, date, loads),
        "",
        f"| | {' | '.join(column.heading for column in columns)} |",
        f"|---|{'---|' * len(columns)}",
        *(row for name in chosen for row in _rows(name, columns)),
        "",
        f"Left out: {', '.join([*left_out, NEVER_PLAYED])}.",
        *(f"* {problem}" for column in columns for problem in column.all_problems),
    ]


def _where(columns: Sequence[Column], date: str, loads: Sequence[float]) -> str:
    known = [column.versions for column in columns if column.versions]
    kernels = " and ".join(sorted({versions.kernel for versions in known})) or "unknown"
    utils = " and ".join(sorted({versions.utils for versions in known})) or "unknown"
    load = f"a load of {min(loads):.0f} to {max(loads):.0f}"
    return f"On {date}, Linux {kernels}, drbd-utils {utils}, {os.cpu_count()} cores at {load}:"


def _rows(name: str, columns: Sequence[Column]) -> list[str]:
    rows = []
    for number, heading in enumerate(PARTS[name].rows):
        outcomes = [column.outcomes.get(name) for column in columns]
        cells = (outcome.cells[number] if outcome else NOTHING for outcome in outcomes)
        rows.append(f"| {heading} | {' | '.join(cells)} |")
    return rows


if __name__ == "__main__":
    sys.exit(main())
