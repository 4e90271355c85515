"""The world of a scenario on real kernels: made, settled, observed; and everything done to it.

The verbs of a scenario are methods here, named as in the simulator's world. Called by ``player``
and by ``fuzz``.
"""

from __future__ import annotations

import json
import threading
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress

from tandem_lab.agent_client import CommandError, HostUnreachableError
from tandem_lab.controlplane import ControlPlaneError, ProcessError
from tandem_lab.deployment import Deployment
from tandem_lab.guests import write_counter_guest
from tandem_lab.history import history_problem, lines_of
from tandem_lab.host_state import HostDownError
from tandem_lab.lab import Lab
from tandem_lab.network import Direction
from tandem_lab.recorder import read_last_line
from tandem_lab.scenarios.disks import fail_disk, hang_disk, unhang_disk
from tandem_lab.scenarios.faults import mend_programs
from tandem_lab.scenarios.log import Log
from tandem_lab.scenarios.objects import (
    DEVICE_SIZE,
    domain_of,
    objects_of,
    topology_of,
    volume_names,
)
from tandem_lab.scenarios.people import People
from tandem_lab.scenarios.power import Power
from tandem_lab.scenarios.runs import Runs, RunsWatch
from tandem_lab.scenarios.statuses import ApiReader, Statuses
from tandem_lab.settings import LabError, Settings
from tandem_lab.site_host import SiteHost
from tandem_scenario.plan import LINKS, GuestPlan, WorldPlan

SETTLE_TIMEOUT_S = 180.0
SETTLE_POLL_S = 0.25
COUNTS_S = 3.0
WELL_FOR_S = 5.0
# Hosts tell once a second what runs on them; statuses are read three times as often.
FRESH_S = 3.0
NOTICED_S = 4.0


class Stage:
    """A lab with a scenario's world in it."""

    def __init__(self, settings: Settings, plan: WorldPlan, log: Log) -> None:
        self.plan, self.log = plan, log
        self.lab = Lab(settings, topology_of(plan))
        self.deployment = Deployment(self.lab, migration=plan.migration)
        self.domains = {guest.name: domain_of(guest.name) for guest in plan.guests}
        self.began_s = time.monotonic()
        self.history_from_s: dict[str, float] = {}
        self._observing = False
        self.overlaps: list[str] = []
        self._overlap_from_s: dict[str, float] = {}
        self._failed_disks: set[str] = set()
        self._disks_ever_failed = False
        self._background: list[threading.Thread] = []
        self.people = People(self.deployment, plan)

    # -- making it

    def set_up(self) -> None:
        """From empty disks to hosts that watch, with Tandem and the objects applied."""
        self.deployment.up(fresh=True)
        self.runs = Runs(self.log)
        self.power = Power(self.lab, self.runs, self.log)
        self.watch = RunsWatch(self.lab, self.runs, self.power)
        self.statuses = Statuses(ApiReader(self.deployment), self.log)
        with ThreadPoolExecutor(max_workers=len(self.lab.hosts)) as pool:
            list(pool.map(self._make_disks, self.lab.hosts))
        self.began_s = time.monotonic()
        self.power.begin()
        self.watch.start()
        self.statuses.start()
        self._observing = True
        objects = objects_of(self.plan, self.lab.topology)
        items = {"apiVersion": "v1", "kind": "List", "items": objects}
        self.deployment.kubectl("apply", "-f", "-", stdin=json.dumps(items))

    def _make_disks(self, host: SiteHost) -> None:
        for guest in self.plan.guests:
            if host.name not in self.plan.replicas_of(guest):
                continue
            names = list(volume_names(guest).values())
            for name in names:
                host.create_volume(name, DEVICE_SIZE)
            write_counter_guest(host, f"/dev/vg0/{names[0]}", self.lab.settings)

    def take_down(self) -> None:
        """Everything ends; disks and logs stay until the next one begins."""
        for thread in self._background:
            thread.join(60.0)
        if self._observing:
            self.statuses.stop()
            self.power.stop()
            self.watch.stop()
        self.deployment.down()

    # -- how it is

    def wait_settled(self, timeout_s: float = SETTLE_TIMEOUT_S) -> float:
        """Until every guest that shall run does and is protected, for some seconds on end.

        Returns how long it took to become so. LabError: what is not so.
        """
        began_s = well_s = time.monotonic()
        while True:
            wrong, now_s = self.unsettled(), time.monotonic()
            if wrong:
                well_s = now_s
            elif now_s - well_s > WELL_FOR_S:
                return well_s - began_s
            if now_s - began_s > timeout_s and wrong:
                raise LabError(f"not well {timeout_s:g} s later: {wrong}")
            time.sleep(SETTLE_POLL_S)

    def settle(self) -> None:
        """Well, and every guest where it prefers to be.

        A host that came up later than the other has missed the first placement: what went
        elsewhere is moved, as a person would have it moved.
        """
        self.wait_settled()
        sites = {host.name: host.site for host in self.plan.hosts}
        for guest in self.plan.guests:
            site = sites.get(str(self.statuses.guest(guest.name).get("host")))
            if guest.running and guest.prefers and site and site != guest.prefers:
                self.log.say("scenario", f"{guest.name} is moved to where it prefers to be")
                self.people.set_failback(guest.name, "Automatic")
                self._wait_on(guest.name, guest.prefers)
                self.people.set_failback(guest.name, guest.failback)
                self.wait_settled()

    def _wait_on(self, guest: str, site: str) -> None:
        wanted = [host.name for host in self.plan.hosts if host.site == site]
        deadline_s = time.monotonic() + SETTLE_TIMEOUT_S
        while self.runs.hosts_of(self.domains[guest]) != wanted:
            if time.monotonic() > deadline_s:
                raise LabError(f"{guest} does not go to {site}: {self._told(guest)}")
            time.sleep(SETTLE_POLL_S)

    def unsettled(self) -> str:
        """What is not well yet, or nothing."""
        if time.monotonic() - self.statuses.read_s > FRESH_S:
            return "the API does not answer"
        silent = [h.name for h in self.lab.hosts if self.power.silent_s(h.name) > FRESH_S]
        if silent:
            return f"{' and '.join(silent)} cannot be seen"
        wrong = (self._guest_unsettled(plan) for plan in self.plan.guests)
        return next((what for what in wrong if what), "")

    def _guest_unsettled(self, plan: GuestPlan) -> str:
        status, held = self.statuses.guest(plan.name), self.statuses.authority(plan.name)
        entries = held.get("eligible") or {}
        if not entries or not all(entry.get("eligible") for entry in entries.values()):
            return f"{plan.name}: eligible are {entries or 'none'}: {self._told(plan.name)}"
        if not plan.running:
            return ""
        if status.get("phase") != "Running":
            return f"{plan.name}: {self._told(plan.name)}"
        if self._protectable and status.get("protected") != "True":
            return f"{plan.name} is not protected: {self._told(plan.name)}"
        if held.get("mode") != "Mirrored":
            return f"{plan.name}: its mirror is {held.get('mode')}: {self._told(plan.name)}"
        runs = self.runs.hosts_of(self.domains[plan.name])
        if runs != [status.get("host")]:
            return f"{plan.name} runs on {runs}, told is {status.get('host')}"
        return "" if self._counts(plan.name) else f"{plan.name} runs on {runs[0]} without counting"

    @property
    def _protectable(self) -> bool:
        """Without a watchdog a guest is protected by a person's word only, and never says so."""
        return all(host.watchdog != "None" for host in self.plan.hosts)

    def _told(self, guest: str) -> str:
        status = self.statuses.guest(guest)
        words = ("phase", "host", "reason", "message")
        return ", ".join(f"{word} {status.get(word)!r}" for word in words)

    def _counts(self, guest: str) -> bool:
        state_dir, domain = self.lab.settings.state_dir, self.domains[guest]
        newest = [read_last_line(state_dir, host.name, domain) for host in self.lab.hosts]
        since_s = time.monotonic() - COUNTS_S
        return any(line.monotonic_s > since_s and line.text.isdecimal() for line in newest if line)

    def runs_on(self, guest: str) -> list[str]:
        """Where its processors run: not on a host that stands still."""
        hosts = self.runs.hosts_of(self.domains[guest])
        return [host for host in hosts if not self.power.paused(host)]

    def history_problems(self) -> list[str]:
        """What the guests' own numbers say against the promises."""
        problems = []
        for guest, domain in self.domains.items():
            since_s = self.history_from_s.get(guest, self.began_s)
            lines = lines_of(self.lab, domain, since_s)
            problem = history_problem(lines, disks_fail=self._disks_ever_failed)
            if problem:
                problems.append(f"{guest}: {problem}")
        return problems

    def numbers_written(self) -> int:
        """How many writes of all guests were acknowledged since the beginning."""
        return sum(
            line.number is not None
            for domain in self.domains.values()
            for line in lines_of(self.lab, domain, self.began_s)
        )

    def look(self) -> None:
        """Called often: two runs of a guest at once, for longer than is promised."""
        now_s = time.monotonic()
        for guest in self.domains:
            hosts = self.runs_on(guest)
            if len(hosts) < 2:
                self._overlap_from_s.pop(guest, None)
            elif now_s - self._overlap_from_s.setdefault(guest, now_s) > self._residue_s:
                self.overlaps.append(f"{guest} has run on {hosts} for {self._residue_s:.1f} s")
                self._overlap_from_s[guest] = now_s

    @property
    def _residue_s(self) -> float:
        """How long one that woke up too late may execute, and until its end is seen here."""
        timing = self.plan.timing
        return (
            timing.link_detection_seconds
            + timing.query_freshness_seconds
            + timing.fencing_seconds
            + timing.watchdog_seconds
            + NOTICED_S
        )

    # -- what can be done to it

    def kill(self, host: str) -> None:
        self.power.kill(host)

    def start(self, host: str) -> None:
        self.power.start(host)

    def pause(self, host: str) -> None:
        self.power.pause(host)

    def resume(self, host: str) -> None:
        self.power.resume(host)

    def cut(self, link: str, host: str, direction: Direction = Direction.BOTH) -> None:
        self.lab.link(link).cut(host or None, direction)

    def heal(self, link: str, host: str) -> None:
        self.lab.link(link).heal(host or None)

    def delay(self, link: str, host: str, milliseconds: str) -> None:
        interface = {"management": "mgmt", "replication": "repl"}[link]
        self._in_host(host, lambda machine: machine.delay(interface, int(milliseconds)))

    def api_down(self) -> None:
        """It keeps its connections and answers nothing."""
        self._join_background()
        self.deployment.plane.pause()

    def api_up(self) -> None:
        self._join_background()
        self.deployment.plane.resume()

    def api_restart(self) -> None:
        """It dies, which breaks every connection, and is started again at once."""
        self._join_background()
        plane = self.deployment.plane
        plane.kill_apiserver()
        thread = threading.Thread(target=plane.start_apiserver, daemon=True)
        self._background.append(thread)
        thread.start()

    def _join_background(self) -> None:
        for thread in self._background:
            thread.join(60.0)
        self._background.clear()

    def controller_kill(self) -> None:
        if self.deployment.controller().process.alive():
            self.deployment.controller().kill()

    def controller_start(self) -> None:
        if not self.deployment.controller().process.alive():
            self.deployment.controller().start(same_account=True)

    def actuator_kill(self, host: str) -> None:
        self._in_host(host, lambda machine: machine.actuator("kill"))

    def actuator_stop(self, host: str) -> None:
        self._in_host(host, lambda machine: machine.actuator("crash"))

    def actuator_start(self, host: str) -> None:
        self._in_host(host, lambda machine: machine.actuator("start"))

    def handler_kill(self, host: str) -> None:
        """The programs that DRBD asks and waits for; there may be none."""
        self._in_host(host, lambda machine: machine.shell("pkill -KILL -f '[f]ence_peer' || true"))

    def libvirt(self, host: str, *, up: bool) -> None:
        """Its daemon stands still, or goes on; guests are processes of their own."""
        signal = "CONT" if up else "STOP"
        self._in_host(host, lambda machine: machine.shell(f"pkill -{signal} -x libvirtd"))

    def fail_disk(self, host: str, number: str = "") -> None:
        """All volumes, or the n-th of each mirror. Until its next boot."""
        self._disks_ever_failed = True
        self._failed_disks.add(host)
        self._in_host(host, lambda machine: fail_disk(machine, number))

    def hang_disk(self, host: str, number: str = "") -> None:
        """All volumes, or the n-th of each mirror. Until its next boot."""
        self._failed_disks.add(host)
        self._in_host(host, lambda machine: hang_disk(machine, number))

    def unhang_disk(self, host: str) -> None:
        """One that DRBD had given up ends the host, and the command with it."""
        self._in_host(host, unhang_disk)

    def crash(self, guest: str) -> None:
        """Its QEMU, wherever it runs."""
        kill = f"pkill -KILL -f '[g]uest={self.domains[guest]},' || true"
        for host in self.plan.hosts:
            self._in_host(host.name, lambda machine: machine.shell(kill))

    def allow_two_primaries(self, guest: str) -> None:
        allow = f"drbdadm net-options --allow-two-primaries=yes {self.domains[guest]}"
        for host in self.plan.hosts:
            self._in_host(host.name, lambda machine: machine.shell(f"{allow} || true"))

    def override(self, guest: str, host: str) -> None:
        """A person gives the mirror to a host: from now on other numbers count."""
        self.history_from_s[guest] = time.monotonic()
        self.people.override(guest, host)

    def _in_host(self, name: str, act: Callable[[SiteHost], object]) -> None:
        """Done in the host; in one that is off or stands still there is nothing to do it to."""
        if not self.power.is_on(name) or self.power.paused(name):
            return
        try:
            act(self.lab.host(name))
        except (HostDownError, HostUnreachableError, CommandError) as error:
            self.log.say(name, f"not done: {error}")

    def heal_everything(self) -> None:
        """All links, the API, every host and every program are well again."""
        self.api_up()
        for link in LINKS:
            self.heal(link, "")
        with suppress(ControlPlaneError, ProcessError):
            self.controller_start()
        for host in self.lab.hosts:
            self.power.resume(host.name)
            if host.name in self._failed_disks:
                self.power.kill(host.name)
            self.power.start(host.name)
            self._in_host(host.name, mend_programs)
        self._failed_disks.clear()
