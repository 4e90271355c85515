"""The power switches of a scenario's hosts, and who presses them after a watchdog's reset.

A server that its watchdog resets boots again. The lab's kernel does so in place and does not
always survive it (it then receives SIGSEGV for ever), so a host that was reset, or that says
nothing for long, is switched off and on.
Called by ``stage``; a thread of it looks at every host until ``stop``.
"""

from __future__ import annotations

import threading
import time
from pathlib import Path

from tandem_lab.lab import Lab
from tandem_lab.scenarios.log import Log
from tandem_lab.scenarios.runs import Runs
from tandem_lab.settings import LabError
from tandem_lab.site_host import SiteHost

LOOK_S = 0.2
# A kernel that does not come up after a reset; a boot takes a third of this on a busy machine.
HUNG_S = 45.0
RESET = b"softdog: Initiating system reboot"


class Power:
    """Switches hosts on and off; tells ``runs`` what ended with them."""

    def __init__(self, lab: Lab, runs: Runs, log: Log) -> None:
        self._lab, self._runs, self._log = lab, runs, log
        self._lock = threading.RLock()
        self._on = {host.name: True for host in lab.hosts}
        self._boots = {host.name: len(host.boots()) for host in lab.hosts}
        self._console_bytes = {host.name: _size(host.console_log) for host in lab.hosts}
        self._console_seen: dict[str, int] = {}
        self._paused: set[str] = set()
        self._alive_s = dict.fromkeys(self._on, time.monotonic())
        self.resets = 0
        self._stopped = threading.Event()
        self._thread = threading.Thread(target=self._attend, daemon=True)

    def begin(self) -> None:
        self._thread.start()

    def stop(self) -> None:
        self._stopped.set()
        self._thread.join(30.0)

    def alive(self, name: str) -> None:
        """Somebody has heard of this host."""
        self._alive_s[name] = time.monotonic()

    def silent_s(self, name: str) -> float:
        """How long nobody has heard of this host."""
        return time.monotonic() - self._alive_s[name]

    def paused(self, name: str) -> bool:
        return name in self._paused

    def is_on(self, name: str) -> bool:
        """Switched on; it may be booting, or stand still."""
        return self._on[name]

    def kill(self, name: str) -> None:
        with self._lock:
            self._on[name] = False
            self._paused.discard(name)
            self._lab.host(name).kill()
            self._runs.lost(name, "power cut")

    def start(self, name: str) -> None:
        """Fine if it is on already."""
        with self._lock:
            if not self._on[name]:
                self._on[name] = True
                self._boot(name)

    def pause(self, name: str) -> None:
        with self._lock:
            if self._on[name] and name not in self._paused:
                self._paused.add(name)
                self._lab.host(name).pause()

    def resume(self, name: str) -> None:
        with self._lock:
            if name in self._paused:
                self._paused.discard(name)
                self.alive(name)
                self._lab.host(name).resume()

    def _boot(self, name: str) -> None:
        host = self._lab.host(name)
        self._boots[name] = len(host.boots()) + 1
        self._console_bytes[name] = _size(host.console_log)
        self.alive(name)
        host.start(wait=False)

    def _attend(self) -> None:
        while not self._stopped.wait(LOOK_S):
            for name in self._on:
                try:
                    self._look(name)
                except LabError as error:
                    self._log.say(name, f"could not be switched on: {error}")

    def _look(self, name: str) -> None:
        with self._lock:
            if not self._on[name] or name in self._paused:
                return
            host, why = self._lab.host(name), ""
            if not host.is_up:
                why = "its kernel has ended"
            elif self._said_reset(host) or len(host.boots()) > self._boots[name]:
                why = "reset by its watchdog"
            elif self.silent_s(name) > HUNG_S:
                why = "it does not answer any more"
            if why:
                self._log.say(name, f"{why}; switched off and on")
                self.resets += 1
                self._runs.lost(name, why)
                host.kill()
                self._boot(name)

    def _said_reset(self, host: SiteHost) -> bool:
        """Whether its kernel has said so since it was switched on."""
        size_bytes = _size(host.console_log)
        if size_bytes == self._console_seen.get(host.name):
            return False
        self._console_seen[host.name] = size_bytes
        with host.console_log.open("rb") as console:
            console.seek(self._console_bytes[host.name])
            return RESET in console.read()


def _size(path: Path) -> int:
    return path.stat().st_size if path.exists() else 0
