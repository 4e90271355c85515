"""Which guests run on which host, seen from inside the hosts, and when each run began and ended.

A run is a QEMU that lives: not one that was killed and cannot go away, and not one in a host that
stands still. A small program in each host (lab/rootfs/running_guests.py) tells it over the link
that is never cut. It observes, and does nothing. Called by ``stage``.
"""

from __future__ import annotations

import threading
import time
from collections import defaultdict
from contextlib import suppress
from dataclasses import dataclass, field
from typing import Protocol

from tandem_lab.lab import Lab
from tandem_lab.scenarios.log import Log

WATCH = ["/usr/bin/python3", "-S", "-E", "/opt/tandem/src/lab/rootfs/running_guests.py"]
SILENCE_S = 3.0
RETRY_S = 0.2


@dataclass(frozen=True)
class RunEnd:
    """`at_s` is time.monotonic()."""

    at_s: float
    host: str
    why: str


@dataclass
class Runs:
    """The history of runs, by domain. All moments are time.monotonic()."""

    log: Log
    starts: dict[str, list[float]] = field(default_factory=lambda: defaultdict(list))
    ends: dict[str, list[RunEnd]] = field(default_factory=lambda: defaultdict(list))
    _on: dict[str, set[str]] = field(default_factory=lambda: defaultdict(set))
    _lock: threading.RLock = field(default_factory=threading.RLock)

    def hosts_of(self, domain: str) -> list[str]:
        """Where a run of it is, also in a host that stands still."""
        with self._lock:
            return [host for host, domains in self._on.items() if domain in domains]

    def seen(self, host: str, domains: set[str]) -> None:
        """What a host says is there now."""
        with self._lock:
            now_s, before = time.monotonic(), self._on[host]
            for domain in sorted(domains - before):
                self.starts[domain].append(now_s)
                self.log.say(host, f"{domain} starts")
            self._end(host, before - domains, "its process has ended")
            self._on[host] = domains

    def lost(self, host: str, why: str) -> None:
        """Everything in this host has ended."""
        with self._lock:
            self._end(host, self._on[host], why)
            self._on[host] = set()

    def _end(self, host: str, domains: set[str], why: str) -> None:
        for domain in sorted(domains):
            self.ends[domain].append(RunEnd(time.monotonic(), host, why))
            self.log.say(host, f"{domain} ends: {why}")


class Hosts(Protocol):
    """Who knows which hosts stand still, and wants to know which are alive."""

    def paused(self, name: str) -> bool: ...
    def alive(self, name: str) -> None: ...


class RunsWatch:
    """A thread per host that listens to it until `stop`."""

    def __init__(self, lab: Lab, runs: Runs, hosts: Hosts) -> None:
        self._lab, self._runs, self._hosts = lab, runs, hosts
        self._stopped = threading.Event()
        self._threads = [
            threading.Thread(target=self._listen, args=(host.name,), daemon=True)
            for host in lab.hosts
        ]

    def start(self) -> None:
        for thread in self._threads:
            thread.start()

    def stop(self) -> None:
        self._stopped.set()
        for thread in self._threads:
            thread.join(SILENCE_S + 3.0)

    def _listen(self, name: str) -> None:
        host = self._lab.host(name)

        def patience(silent_s: float) -> bool:
            if self._stopped.is_set():
                return False
            return silent_s < SILENCE_S or (host.is_up and self._hosts.paused(name))

        def told(line: str) -> None:
            if self._stopped.is_set():
                raise OSError("nobody listens any more")
            self._hosts.alive(name)
            self._runs.seen(name, set() if line == "-" else set(line.split()))

        while not self._stopped.is_set():
            if host.is_up and not self._hosts.paused(name):
                with suppress(OSError):  # it died, was reset, or is not up yet
                    host.follow(WATCH, told, patience)
            self._stopped.wait(RETRY_S)
