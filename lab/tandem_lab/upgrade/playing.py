"""Does what a step says: applies, installs, moves, kills; says what it saw besides.

Called by `__main__`, step by step.
"""

from __future__ import annotations

import shlex
from collections.abc import Callable, Mapping
from typing import Any

import yaml

from tandem_api.reasons import Reason
from tandem_lab.demo import GUEST, VOLUME, VOLUME_SIZE
from tandem_lab.deployment import Deployment
from tandem_lab.live_move import LiveMove, move_and_watch
from tandem_lab.policies import wait_until_taken_up
from tandem_lab.settings import SOURCE_DIR, LabError
from tandem_lab.site_host import SiteHost
from tandem_lab.source import Checkout
from tandem_lab.takeover import (
    GuestName,
    kill_and_watch,
    running_and_protected,
    status_of,
    wait_for,
)
from tandem_lab.upgrade.judging import LONGEST_COLD_MOVE_S
from tandem_lab.upgrade.plan import Act, Step
from tandem_lab.upgrade.versions import calls_handovers_unlawful, sends_guests

READY_TIMEOUT_S = 180.0
RESTART_TIMEOUT_S = 60.0
OTHER = GuestName("secretaria", "nomines")
GUESTS = (GUEST, OTHER)
"""One at home at each site: each loss is a takeover for one, and costs the other its copy."""
INSTALL = (
    "cp /opt/tandem/src/manifests/systemd/tandem-actuator.service /etc/systemd/system/"
    " && systemctl daemon-reload && systemctl restart tandem-actuator"
)
"""What is left of installation.md's step 3 once the files of the packages are in their place."""
STOPPED = ""
"""A GuestMove that does not say how: where no host sends guests, each is stopped and started."""
PATHS = ("crds/", "manifests/")

Raw = dict[str, Any]


class Player:
    """Handle of a lab in which hosts may have different versions."""

    def __init__(self, deployment: Deployment, old: Checkout, new: Checkout) -> None:
        self.deployment = deployment
        self._old, self._new = old, new
        self._hosts = {host.name: old for host in deployment.lab.hosts}
        self._moves = 0
        self._acts: Mapping[Act, Callable[[Step], list[str]]] = {
            Act.APPLY: self._apply,
            Act.HOSTS: self._install,
            Act.CONTROLLER: self._controller,
            Act.WEBHOOK: self._webhook,
            Act.WATCH: lambda _step: [],
            Act.MOVES: self._move_all,
            Act.LOSS: self._lose,
        }

    @property
    def sites(self) -> tuple[str, str]:
        """The two sites; the first one has the first guest."""
        first, second = (host.spec.site for host in self.deployment.lab.hosts)
        return first, second

    def known_faults(self) -> list[str]:
        """Of the controller that runs: what was mended since."""
        faulty = calls_handovers_unlawful(self.deployment.checkout)
        return [f"Lawful False, {Reason.AUTHORITY_UNLAWFUL}"] if faulty else []

    def begin(self, progress: Callable[[str], None]) -> None:
        """Everything old, with guests that run and are protected."""
        self.deployment.up(fresh=True, progress=progress)
        self.deployment.apply(SOURCE_DIR / "examples" / "two-sites.yaml")
        for guest, site in zip(GUESTS, self.sites, strict=True):
            self.deployment.make_counter_disks(VOLUME.replace(GUEST.name, guest.name), VOLUME_SIZE)
            text = (SOURCE_DIR / "examples" / f"{GUEST.name}.yaml").read_text()
            self.deployment.kubectl("apply", "-f", "-", stdin=guest_manifest(text, guest, site))
        self.wait_protected()

    def do(self, step: Step) -> list[str]:
        """The step; what was seen of it, for the table. LabError and others: it did not go."""
        return self._acts[step.act](step)

    def wait_protected(self) -> None:
        """Until every guest runs and could be taken over. LabError after three minutes."""
        for guest in GUESTS:
            wait_for(self.deployment, guest, running_and_protected, READY_TIMEOUT_S)

    # -- steps of the page

    def _version(self, step: Step) -> Checkout:
        return self._new if step.new else self._old

    def _apply(self, step: Step) -> list[str]:
        self.deployment.kubectl(*arguments(step.argument, self._version(step)))
        wait_until_taken_up(self.deployment.plane)
        return []

    def _install(self, step: Step) -> list[str]:
        version = self._version(step)
        for host in self._of(step.argument):
            version.give(self.deployment.lab.settings.source_link(host.name))
            host.shell(INSTALL, timeout_s=RESTART_TIMEOUT_S)
            self._hosts[host.name] = version
            self.wait_protected()
        return []

    def _controller(self, step: Step) -> list[str]:
        self.deployment.checkout = self._version(step)
        controller = self.deployment.controller()
        controller.stop()
        controller.start()
        return []

    def _webhook(self, step: Step) -> list[str]:
        self.deployment.admission.process.stop()
        self.deployment.admission.start(checkout=self._version(step))
        return []

    # -- what is played between them

    def _move_all(self, _step: Step) -> list[str]:
        cold = "Cold" if self.deployment.migration else STOPPED
        told = []
        for guest, how in zip(GUESTS, (cold, self._best()), strict=True):
            there = self._move(guest, how)
            back = self._move(guest, how)
            told.append(f"{how or 'Cold'}: still for {there.gap_s:.1f} and {back.gap_s:.1f} s")
        return told

    def _lose(self, step: Step) -> list[str]:
        (lost,) = self._of(step.argument)
        guest = next((each for each in GUESTS if self._host_of(each) == lost.name), None)
        if guest is None:
            raise LabError(f"no guest runs at {lost.name}")
        takeover = kill_and_watch(self.deployment, guest)
        if takeover.lost_writes:
            raise LabError(f"{takeover.lost_writes} acknowledged writes are lost")
        lost.start()
        self.wait_protected()
        home = self._move(guest, self._best())
        return [
            f"first line after {takeover.steps_s['firstLine']:.1f} s, nothing lost",
            f"home: still for {home.gap_s:.1f} s",
        ]

    def _best(self) -> str:
        """How a guest moves that is to stand still for the shortest time."""
        if not self.deployment.migration:
            return STOPPED
        return "Live" if all(map(sends_guests, self._hosts.values())) else "Cold"

    def _move(self, guest: GuestName, how: str) -> LiveMove:
        source = self._host_of(guest)
        (to,) = [host for host in self.deployment.lab.hosts if host.name != source]
        self._moves += 1
        name = f"{guest.name}-{self._moves}"
        moved = move_and_watch(self.deployment, guest, to.spec.site, name, how=how)
        if moved.problem:
            raise LabError(f"{name}: {moved.problem}")
        if moved.gap_s > LONGEST_COLD_MOVE_S:
            raise LabError(f"{name}: {guest.name} stood still for {moved.gap_s:.1f} s")
        self.wait_protected()
        return moved

    def _host_of(self, guest: GuestName) -> str:
        return str(status_of(self.deployment, guest)["host"])

    def _of(self, site: str) -> list[SiteHost]:
        return [host for host in self.deployment.lab.hosts if host.spec.site == site]


def arguments(command: str, version: Checkout) -> list[str]:
    """kubectl's, with the folders of the version's checkout for the page's."""
    program, *words = shlex.split(command)
    if program != "kubectl":
        raise ValueError(command)
    return [str(version.directory / word) if word.startswith(PATHS) else word for word in words]


def guest_manifest(text: str, guest: GuestName, site: str) -> str:
    """The example's manifest, for a guest of this name that is at home at the site.

    It does not listen to the power button: its plug is pulled after a second.
    """
    raws: list[Raw] = list(yaml.safe_load_all(text.replace(GUEST.name, guest.name)))
    for raw in raws:
        if raw["kind"] == "Guest":
            raw["spec"] |= {"placement": {"preferredSite": site}, "shutdownTimeoutSeconds": 1}
    return yaml.safe_dump_all(raws)
