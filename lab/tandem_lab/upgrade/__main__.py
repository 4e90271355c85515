"""`make play-upgrade FROM=REVISION`: an upgrade on real parts, with guests running.

Both sites, the controller and what is applied begin as they are in the revision. Then they become
those of this checkout, or of --to, in the order of docs/installation.md, host by host. After each
step every guest must run where it ran and have counted on, protected, with nothing refused, fenced
or reset. While versions are side by side, guests are moved and each site is lost once. With --back
the same the other way round. Prints a table in Markdown; exit code 0 only if everything was as it
must be.
"""

from __future__ import annotations

import argparse
import sys
import time
from collections.abc import Sequence

from tandem_lab.controlplane import ControlPlaneError, ProcessError
from tandem_lab.deployment import Deployment
from tandem_lab.history import lines_of
from tandem_lab.lab import Lab
from tandem_lab.live_move import SETTLES_S
from tandem_lab.prepare import prepare
from tandem_lab.settings import LabError
from tandem_lab.source import HERE
from tandem_lab.upgrade.judging import (
    LONGEST_TAKEOVER_S,
    Printed,
    busy_problems,
    loss_problems,
    quiet_problems,
    without_known,
)
from tandem_lab.upgrade.looking import Look, Looker
from tandem_lab.upgrade.plan import FIRST, PLAYS, Phase, Step, downgrade, upgrade
from tandem_lab.upgrade.playing import GUESTS, Player
from tandem_lab.upgrade.table import Row, table
from tandem_lab.upgrade.versions import sends_guests, unpack

WATCH_FOR_S = 10.0
"""How long a step is watched after it: longer than any wait that it could have begun."""
Failures = (LabError, ControlPlaneError, ProcessError)


def main() -> int:
    """Entry point."""
    parser = argparse.ArgumentParser(prog="play-upgrade", description=__doc__)
    parser.add_argument("--from", dest="revision", required=True, help="what git names a commit")
    parser.add_argument("--to", help="another (default: this checkout as it stands)")
    parser.add_argument("--back", action="store_true", help="and the way back")
    parser.add_argument(
        "--forget", action="append", default=[], choices=FIRST, help="leave out a first step"
    )
    options = parser.parse_args()
    prepare(say)
    lab = Lab()
    with lab.exclusive():
        below = lab.settings.state_dir / "versions"
        old = unpack(options.revision, below)
        new = unpack(options.to, below) if options.to else HERE
        deployment = Deployment(lab, migration=sends_guests(old), checkout=old)
        player = Player(deployment, old, new)
        phases = upgrade(player.sites, options.forget)
        phases += downgrade(player.sites) if options.back else ()
        try:
            player.begin(say)
            rows = play(player, phases)
        finally:
            deployment.down()
    print("\n".join(table(old.name, new.name, rows)))
    return 0 if all(row.good for row in rows) and len(rows) == _count(phases) else 1


def say(message: str) -> None:
    """A line of progress."""
    print(f"{time.strftime('%H:%M:%S')} {message}", file=sys.stderr, flush=True)


def play(player: Player, phases: Sequence[Phase]) -> list[Row]:
    """All of them, until a step does not go at all: what came after it would tell nothing."""
    rows: list[Row] = []
    looker, began_s = Looker(player.deployment), time.monotonic()
    look = looker.look()
    for phase in phases:
        for step in phase.steps:
            say(f"{phase.name}: {step.what}")
            row, look = _step(player, looker, look, step, began_s)
            rows.append(row.of(phase.name))
            say("; ".join([*row.told, *(f"PROBLEM {each}" for each in row.problems)]) or "well")
            if row.broken:
                return rows
    return rows


def _step(
    player: Player, looker: Looker, before: Look, step: Step, began_s: float
) -> tuple[Row, Look]:
    since_s, faults = time.monotonic(), player.known_faults()
    try:
        told = player.do(step)
        player.wait_protected()
    except Failures as error:
        row = Row("", step.what, time.monotonic() - since_s, [], [str(error)], broken=True)
        return row, before
    took_s = time.monotonic() - since_s
    time.sleep(WATCH_FOR_S / 2)
    peace = looker.look()
    time.sleep(WATCH_FOR_S / 2)
    after = looker.look()
    after = after.with_grave_of(peace)
    printed = [_printed(player, name.domain, began_s, since_s) for name in GUESTS]
    if step.act in PLAYS:
        problems = loss_problems(before, after, printed, step.argument, LONGEST_TAKEOVER_S)
    else:
        problems = quiet_problems(before, after, printed)
        told = [*told, f"longest gap {max(each.gap_s for each in printed):.2f} s"]
    problems, known = without_known(problems, faults)
    told = [*told, *(f"known of the older controller: {each}" for each in known)]
    return Row("", step.what, took_s, told, [*problems, *busy_problems(peace, after)]), after


def _printed(player: Player, domain: str, began_s: float, since_s: float) -> Printed:
    whole = lines_of(player.deployment.lab, domain, began_s)
    lately = [line for line in whole if line.at_s >= since_s - SETTLES_S]
    return Printed(domain, whole, lately, time.monotonic())


def _count(phases: Sequence[Phase]) -> int:
    return sum(len(phase.steps) for phase in phases)


if __name__ == "__main__":
    sys.exit(main())
