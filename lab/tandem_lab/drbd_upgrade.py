"""`make drbd-upgrade MODULES=FOLDER`: two hosts go from the lab's DRBD to that of a folder.

One after the other, with a guest running, as docs/operations.md says: the host is emptied, boots
the other DRBD, and its metadata are converted by the commands that the mirror's message names. In
each state (both as before, one of each, both new) the guest moves, loses the link, a copy that a
verification finds missing, and the host that it runs on. `--back` goes the way back, too.

Prints a table in Markdown. Exit code 0 only if everything was as it must be.
"""

from __future__ import annotations

import argparse
import json
import re
import sys
import time
from collections.abc import Callable, Sequence
from contextlib import suppress
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from tandem_api.meta import API_VERSION
from tandem_lab.demo import GUEST, VOLUME, VOLUME_SIZE
from tandem_lab.deployment import Deployment
from tandem_lab.drbd_modules import given_modules
from tandem_lab.drbd_table import say
from tandem_lab.history import history_problem, lines_of
from tandem_lab.lab import Lab
from tandem_lab.live_move import longest_gap_s, move_and_watch
from tandem_lab.prepare import prepare
from tandem_lab.settings import SOURCE_DIR, LabError, Settings
from tandem_lab.site_host import SiteHost
from tandem_lab.takeover import kill_and_watch, running_and_protected, status_of, wait_for
from tandem_lab.topology import REPLICATION

READY_TIMEOUT_S = 240.0
STEP_TIMEOUT_S = 90.0
POLL_S = 0.5
CUT_S = 6.0
VERIFIES_S = 3.0
PATIENCE_S = 3
"""The counting guest does not listen to a request to shut down."""
MIRROR = ("mirror", "-n", GUEST.namespace, "bancuv3")
RESOURCE = f"{GUEST.namespace}.{GUEST.name}"
DEVICE = f"/dev/vg0/{VOLUME}"
NOT_CONVERTED = "MetadataOfOtherDrbd"
COMMANDS = re.compile(r"To convert it, run on \S+: (.+)\. Or boot")

# Far behind what the guest uses.
BLOCK = 2000
SPOIL = f"dd if=/dev/urandom of={DEVICE} bs=4k seek={BLOCK} count=1 oflag=direct conv=notrunc"
DIGEST = f"dd if={DEVICE} bs=4k skip={BLOCK} count=1 iflag=direct status=none | md5sum"
VERIFY = f"""
sed 's/^    net {{/    net {{ verify-alg crc32c;/' /etc/drbd.d/{RESOURCE}.res >/tmp/verify.res
drbdadm -c /tmp/verify.res adjust {RESOURCE}
"""


@dataclass(frozen=True)
class Row:
    """What was played in which state. `problem`: what was not as it must be; empty if nothing."""

    state: str
    act: str
    outcome: str
    problem: str = ""


def main() -> int:
    """Entry point."""
    parser = argparse.ArgumentParser(prog="drbd-upgrade", description=__doc__)
    parser.add_argument("modules", type=lambda text: Path(text).absolute())
    parser.add_argument("--back", action="store_true", help="and back to the DRBD of before")
    options = parser.parse_args()
    settings = Settings.from_environment()
    prepare(say)
    given_modules(settings, options.modules)
    rows = Play(settings, options.modules).all(back=options.back)
    print("\n".join(table(rows, datetime.now(tz=UTC).date().isoformat())))
    return 1 if any(row.problem for row in rows) else 0


def table(rows: Sequence[Row], date: str) -> list[str]:
    """In Markdown, with what was not as it must be below."""
    problems = [f"* {row.state}: {row.act}: {row.problem}" for row in rows if row.problem]
    return [
        f"On {date}:",
        "",
        "| state | what | outcome |",
        "|---|---|---|",
        *(f"| {row.state} | {row.act} | {row.outcome} |" for row in rows),
        *(["", "Not as it must be:", *problems] if problems else []),
    ]


def commands_in(message: str) -> str:
    """What a person is told to type. LabError: nothing."""
    found = COMMANDS.search(message)
    if found is None:
        raise LabError(f"no command is named: {message!r}")
    return found[1]


class Play:
    """One lab, from both hosts on its own DRBD on."""

    def __init__(self, settings: Settings, modules: Path) -> None:
        self.lab = Lab(settings)
        self.deployment = Deployment(self.lab, migration=True)
        self.before, self.modules = settings.drbd_modules, modules
        self.runs: dict[str, Path | None] = {host.name: self.before for host in self.lab.hosts}
        self.rows: list[Row] = []
        self.moves = 0

    def all(self, *, back: bool) -> list[Row]:
        with self.lab.exclusive():
            try:
                self._begin()
                first, second = (host.name for host in self.lab.hosts)
                self._acts()
                self._change(second, self.modules)
                self._acts()
                self._change(first, self.modules)
                self._acts()
                if back:
                    self._change(second, self.before)
                    self._acts()
                    self._change(first, self.before)
                    self._acts()
            except LabError as error:
                self.rows.append(Row(self._state(), "the rest", "not played", str(error)))
            finally:
                with suppress(LabError):  # what went wrong before is what matters
                    self.deployment.down()
        return self.rows

    def _begin(self) -> None:
        self.deployment.up(fresh=True, progress=say)
        self.deployment.make_counter_disks(VOLUME, VOLUME_SIZE)
        for name in ("two-sites", "bancuv3"):
            self.deployment.apply(SOURCE_DIR / "examples" / f"{name}.yaml")
        which = ("guest", "-n", GUEST.namespace, GUEST.name)
        patch = json.dumps({"spec": {"shutdownTimeoutSeconds": PATIENCE_S}})
        self.deployment.kubectl("patch", *which, "--type=merge", "-p", patch)
        self._settle()

    def _state(self) -> str:
        """The DRBD of each host, in their order."""
        return ", ".join(host.drbd_version() or "none" for host in self.lab.hosts)

    def _play(self, act: str, run: Callable[[], str]) -> None:
        """One act, and the guest's history since it began."""
        state, began_s = self._state(), time.monotonic()
        problem = ""
        try:
            outcome = run()
            self._settle()
        except LabError as error:
            outcome, problem = "failed", str(error)
        lines = lines_of(self.lab, GUEST.domain, began_s)
        lost = history_problem(lines)
        problem = "; ".join(filter(None, (problem, lost)))
        self.rows.append(Row(state, act, outcome, problem))
        say(f"{state}: {act}: {outcome} {problem}")
        if problem:
            raise LabError("what went wrong is above")

    def _settle(self) -> None:
        wait_for(self.deployment, GUEST, running_and_protected, READY_TIMEOUT_S)

    def _acts(self) -> None:
        for _ in self.lab.hosts:
            self._play("moves by a stop and a start", lambda: self._move("Cold"))
            self._play("is sent as it runs", self._live)
            self._play("the link is cut for six seconds", self._blink)
            self._play("a verification finds what the other lacks", self._verify)
            self._play("its host is lost, and returns", self._lose)

    def _ends(self) -> tuple[SiteHost, SiteHost]:
        """The host that the guest runs on, and the other."""
        here = str(status_of(self.deployment, GUEST)["host"])
        other = next(host for host in self.lab.hosts if host.name != here)
        return self.lab.host(here), other

    # --- acts

    def _move(self, how: str) -> str:
        here, other = self._ends()
        self.moves += 1
        name = f"move-{self.moves}"
        spec = {"guest": GUEST.name, "to": {"host": other.name}, "how": how}
        metadata = {"name": name, "namespace": GUEST.namespace}
        made = {"apiVersion": API_VERSION, "kind": "GuestMove", "metadata": metadata, "spec": spec}
        began_s = time.monotonic()
        self.deployment.kubectl("create", "-f", "-", stdin=json.dumps(made))
        self._until(lambda: self._ends()[0].name == other.name, f"it does not run on {other.name}")
        self._settle()
        gap_s = longest_gap_s(lines_of(self.lab, GUEST.domain, began_s - 1.0))
        return f"from {here.name} to {other.name}: {gap_s:.1f} s without a number"

    def _live(self) -> str:
        """Between two kinds of DRBD it must be refused before the guest is touched."""
        here, other = self._ends()
        self.moves += 1
        name, site = f"move-{self.moves}", other.spec.site
        majors = {host.drbd_version().split(".")[0] for host in (here, other)}
        if len(majors) == 1:
            moved = move_and_watch(self.deployment, GUEST, site, name)
            if moved.problem:
                raise LabError(moved.problem)
            return f"from {here.name} to {other.name}: {moved.gap_s:.1f} s without a number"
        with suppress(LabError):
            move_and_watch(self.deployment, GUEST, site, name, timeout_s=8.0)
            raise AssertionError("it was sent between two kinds of DRBD")
        told = self._get("guestmove", "-n", GUEST.namespace, name)["status"]
        self.deployment.kubectl("delete", "guestmove", "-n", GUEST.namespace, name)
        if "runs DRBD" not in str(told.get("message")):
            raise LabError(f"the move does not say why: {told}")
        return "refused: two of one kind alone may both be Primary"

    def _blink(self) -> str:
        here, _ = self._ends()
        link = self.lab.link(REPLICATION.name)
        began_s = time.monotonic()
        link.cut()
        time.sleep(CUT_S)
        link.heal()
        self._settle()
        gap_s = longest_gap_s(lines_of(self.lab, GUEST.domain, began_s - 1.0))
        return f"{here.name} goes on after {gap_s:.1f} s"

    def _verify(self) -> str:
        here, other = self._ends()
        for host in (here, other):
            host.shell(VERIFY)
        other.shell(SPOIL)
        began_s = time.monotonic()

        def copied() -> bool:
            """DRBD 9 leaves out what it is too busy for, so it is asked once more."""
            if here.shell(DIGEST) == other.shell(DIGEST):
                return True
            if self._redundant():
                here.shell(f"drbdadm verify {RESOURCE} || true")
                time.sleep(VERIFIES_S)
            return False

        self._until(copied, "it is not copied")
        self._settle()
        return f"{here.name} has it copied, within {time.monotonic() - began_s:.0f} s"

    def _lose(self) -> str:
        found = kill_and_watch(self.deployment, GUEST)
        began_s = time.monotonic()
        self._host(found.source).start()
        self._settle()
        first_s, again_s = found.steps_s["firstLine"], time.monotonic() - began_s
        if found.lost_writes:
            raise LabError(f"{found.lost_writes} acknowledged writes were lost")
        return (
            f"{found.target} has it after {first_s:.1f} s, nothing lost; protected again"
            f" {again_s:.0f} s after {found.source} was started"
        )

    # --- a host gets another DRBD

    def _change(self, name: str, folder: Path | None) -> None:
        if self._ends()[0].name == name:
            self._play("moves by a stop and a start", lambda: self._move("Cold"))
        self.runs[name] = folder
        self._play(f"{name} boots another DRBD", lambda: self._boot(self._host(name)))

    def _host(self, name: str) -> SiteHost:
        """With the DRBD that is installed there."""
        host = self.lab.host(name)
        host.drbd_modules = self.runs[name]
        return host

    def _boot(self, host: SiteHost) -> str:
        """Emptied, shut down, booted, converted as the message says, and in use again."""
        self._maintain(host, on=True)
        self.deployment.kubectl("wait", "host", host.name, "--for=condition=Drained")
        began_s = time.monotonic()
        with suppress(LabError):  # the answer is lost with the host
            host.shell("systemctl poweroff")
        with suppress(LabError):
            self._until(lambda: not host.is_up, f"{host.name} does not go down")
        host.kill()
        host.start()
        message = self._told(host.name)
        host.shell(commands_in(message))
        self._until(self._redundant, "the mirror is not redundant")
        copied = host.shell("dmesg | grep -o 'will sync .*' | tail -1").strip()
        took_s = time.monotonic() - began_s
        self._maintain(host, on=False)
        return f"redundant {took_s:.0f} s after it was shut down; {copied or 'nothing to copy'}"

    def _maintain(self, host: SiteHost, *, on: bool) -> None:
        patch = json.dumps({"spec": {"maintenance": on}})
        self.deployment.kubectl("patch", "host", host.name, "--type=merge", "-p", patch)

    def _told(self, host: str) -> str:
        """What the mirror says of the metadata on this host, once it does."""
        said: dict[str, Any] = {}

        def refused() -> bool:
            said.update(self._get(*MIRROR)["status"].get("replicas", {}).get(host, {}))
            return said.get("reason") == NOT_CONVERTED

        self._until(refused, f"{host} does not say that it cannot read its metadata: {said}")
        return str(said["message"])

    def _redundant(self) -> bool:
        return bool(self._get(*MIRROR)["status"].get("phase") == "Redundant")

    def _get(self, *which: str) -> dict[str, Any]:
        found = json.loads(self.deployment.kubectl("get", *which, "-o", "json"))
        assert isinstance(found, dict)
        return found

    def _until(self, holds: Callable[[], bool], otherwise: str) -> None:
        deadline_s = time.monotonic() + STEP_TIMEOUT_S
        while time.monotonic() < deadline_s:
            if holds():
                return
            time.sleep(POLL_S)
        raise LabError(f"{otherwise} within {STEP_TIMEOUT_S:g} s")


if __name__ == "__main__":
    sys.exit(main())
