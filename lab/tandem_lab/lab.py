"""The lab: site hosts, the links between them, and what their guests print.

The API that tests and the command line share:

    lab = Lab()                                 # settings from the environment
    lab.up(fresh=True)                          # empty disks; returns once libvirt answers
    a = lab.host("burjassot-1")
    a.run(["drbdadm", "status"], timeout_s=5).check().stdout
    lab.link("replication").cut()               # for all hosts, both directions
    lab.link("management").cut("burjassot-1", Direction.OUT)
    a.kill()                                    # the site burns down
    lab.guest_log("bancuv3", "tarongers-1")     # [(monotonic seconds, number), ...]
    lab.down()

Only one program at a time may change a lab: `Lab.exclusive()` is the lock, and the commands that
change things take it.
"""

from __future__ import annotations

import fcntl
import re
import shutil
import sys
import time
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from tandem_lab.host_state import HostState
from tandem_lab.network import Cut, Direction, Network
from tandem_lab.processes import Daemon, kill_session, start_daemon
from tandem_lab.recorder import GuestLine, read_lines
from tandem_lab.settings import LAB_DIR, LabError, Settings
from tandem_lab.site_host import SiteHost
from tandem_lab.source import HERE, Checkout
from tandem_lab.topology import (
    USERS,
    Host,
    Link,
    Topology,
    default_topology,
    link_named,
    load_topology,
    save_topology,
)

DEFAULT_TOPOLOGY = LAB_DIR / "topology.yaml"
LINE_POLL_S = 0.01


@dataclass(frozen=True)
class LabStatus:
    """The lab from outside: nothing in a host is asked."""

    hosts: tuple[HostState, ...]
    cuts: tuple[Cut, ...]
    guests: tuple[GuestStatus, ...]


@dataclass(frozen=True)
class GuestStatus:
    """The last line that a guest printed at a host (it may have ended long ago)."""

    guest: str
    host: str
    last_line: str
    age_s: float


class LabLink:
    """A link by name: cut it, heal it, slow it down. `host` None means every host's cable."""

    def __init__(self, lab: Lab, link: Link) -> None:
        self._lab = lab
        self._link = link
        self.name = link.name

    def cut(self, host: str | None = None, direction: Direction = Direction.BOTH) -> None:
        """Drop every frame, silently. `direction` is as the host sees it."""
        self._lab.network.cut(self._link, self._hosts(host), direction)

    def heal(self, host: str | None = None) -> None:
        """Let frames pass again, in both directions."""
        self._lab.network.heal(self._link, self._hosts(host))

    def delay(self, delay_ms: int, host: str | None = None) -> None:
        """Hold back what the hosts send on this link by so much; 0 ends it.

        The site host's own kernel does it (netem), so a reboot forgets it.
        """
        interface = "uplink" if self._link is USERS else self._link.short
        for spec in self._hosts(host):
            self._lab.host(spec.name).delay(interface, delay_ms)

    def _hosts(self, host: str | None) -> Sequence[Host]:
        topology = self._lab.topology
        return topology.hosts if host is None else (topology.host(host),)


class Lab:
    """Handle of the lab of this state folder, running or not."""

    def __init__(self, settings: Settings | None = None, topology: Topology | None = None) -> None:
        self.settings = settings or Settings.from_environment()
        self.topology = topology or self._remembered_topology()
        self.network = Network(self.settings.namespace, self.topology)

    def host(self, name: str) -> SiteHost:
        """A host by name; KeyError says which there are."""
        return SiteHost(self.topology.host(name), self.topology, self.settings)

    @property
    def hosts(self) -> list[SiteHost]:
        """All hosts, in the order of the topology."""
        return [self.host(spec.name) for spec in self.topology.hosts]

    def link(self, name: str) -> LabLink:
        """management, replication or users; KeyError for another."""
        return LabLink(self, link_named(name))

    @property
    def is_up(self) -> bool:
        """True if the network is there (hosts may be dead)."""
        return self.network.exists

    def up(self, *, fresh: bool = False, wait: bool = True, checkout: Checkout = HERE) -> None:
        """Create the network and boot every host; an unclean end is cleared away first.

        `fresh` starts with empty disks. Without it, disks are as the hosts last left them.
        All hosts run what is in `checkout`.
        """
        needed = self.settings.root_image, self.settings.kernel, self.settings.kernel_preload
        if not all(path.exists() for path in needed):
            raise LabError("the lab is not set up on this machine: run `tandem-lab setup` first")
        self.down(wipe=fresh)
        self.settings.state_dir.mkdir(parents=True, exist_ok=True)
        save_topology(self.topology, self._topology_file)
        checkout.compile()
        self.network.create()
        start_daemon(
            [
                *(sys.executable, "-m", "tandem_lab.attendant"),
                *(self.settings.state_dir, self.settings.namespace),
            ],
            self.settings.state_dir / "attendant.log",
            self._attendant_file,
        )
        for host in self.hosts:
            checkout.give(self.settings.source_link(host.name))
            host.start(wait=False)
        if wait:
            self._wait_ready()

    def down(self, *, wipe: bool = False) -> None:
        """End every process, remove the network and, with `wipe`, disks and logs too."""
        for daemon in self._daemons():
            kill_session(daemon)
        self.network.remove()
        for path in self.settings.state_dir.glob("hosts/*/pid.json"):
            path.unlink()
        self._attendant_file.unlink(missing_ok=True)
        if wipe:
            for name in ("hosts", "serial"):
                shutil.rmtree(self.settings.state_dir / name, ignore_errors=True)

    def status(self) -> LabStatus:
        """Hosts, cuts and guests' last lines, without asking any host."""
        return LabStatus(
            hosts=tuple(host.state() for host in self.hosts),
            cuts=tuple(self.network.cuts()) if self.is_up else (),
            guests=tuple(self._guests()),
        )

    def guest_lines(self, guest: str, host: str) -> list[GuestLine]:
        """Every line that `guest` printed at `host`, with the moment it arrived here."""
        return read_lines(self.settings.state_dir, host, guest)

    def guest_log(self, guest: str, host: str) -> list[tuple[float, int]]:
        """The numbers that a counting guest printed at `host`: (time.monotonic() seconds, n)."""
        return [
            (line.monotonic_s, int(line.text))
            for line in self.guest_lines(guest, host)
            if re.fullmatch(r"\d+", line.text)
        ]

    def wait_guest_line(
        self, guest: str, host: str, after_s: float, timeout_s: float = 30.0
    ) -> GuestLine:
        """The first line of `guest` at `host` that came after `after_s` (time.monotonic())."""
        deadline = time.monotonic() + timeout_s
        while time.monotonic() < deadline:
            for line in self.guest_lines(guest, host):
                if line.monotonic_s > after_s:
                    return line
            time.sleep(LINE_POLL_S)
        raise LabError(f"guest {guest} printed nothing at {host} for {timeout_s:g} s")

    @contextmanager
    def exclusive(self, timeout_s: float = 0.0) -> Iterator[None]:
        """Hold the lab's lock; LabError if another program holds it for longer than this."""
        self.settings.state_dir.mkdir(parents=True, exist_ok=True)
        deadline = time.monotonic() + timeout_s
        with (self.settings.state_dir / "lock").open("w") as lock:
            while True:
                try:
                    fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
                    break
                except BlockingIOError as error:
                    if time.monotonic() >= deadline:
                        raise LabError("another program is using this lab") from error
                time.sleep(0.1)
            yield

    @property
    def _topology_file(self) -> Path:
        return self.settings.state_dir / "topology.yaml"

    @property
    def _attendant_file(self) -> Path:
        return self.settings.state_dir / "attendant.json"

    def _remembered_topology(self) -> Topology:
        for path in (self._topology_file, DEFAULT_TOPOLOGY):
            if path.exists():
                return load_topology(path)
        return default_topology()

    def _daemons(self) -> list[Daemon]:
        # By file rather than by topology: an earlier lab may have had other hosts.
        files = [*self.settings.state_dir.glob("hosts/*/pid.json"), self._attendant_file]
        return [daemon for daemon in map(Daemon.load, files) if daemon is not None]

    def _wait_ready(self) -> None:
        with ThreadPoolExecutor(max_workers=len(self.hosts)) as pool:
            for done in [pool.submit(host.wait_ready) for host in self.hosts]:
                done.result()

    def _guests(self) -> Iterator[GuestStatus]:
        now_s = time.monotonic()
        for path in sorted((self.settings.state_dir / "serial").glob("*/*.stamped")):
            host, guest = path.parent.name, path.stem
            lines = self.guest_lines(guest, host)
            if lines:
                yield GuestStatus(guest, host, lines[-1].text, now_s - lines[-1].monotonic_s)
