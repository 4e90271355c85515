"""One site host: a user-mode Linux process with a root image, two disks and four cables.

It boots, dies (SIGKILL, as a burnt-down room), stalls and answers commands here. What runs in it
is decided by lab/rootfs and by the files that this module writes to the host's share, which the
host sees as /site:

  host.env, network.ip, hosts     settings of the next boot
  drbd-modules/                   the DRBD to load in place of the kernel's own, if one is given
  actuator.yaml, actuator.enabled configuration of the actuator; it starts at boot if the second
                                  file exists
  log/                            boots, drbd (its version), boot.log, libvirtd.log, actuator.log,
                                  agent.log; what systemd says is in console.log
  serial/GUEST.log                what guests print; readable here also after the host's death

Used by Lab and by tests.
"""

from __future__ import annotations

import os
import shutil
import time
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path

from tandem_lab.agent_client import (
    AgentAddress,
    CommandError,
    CommandResult,
    HostUnreachableError,
    OnOutput,
    follow_in_host,
    run_in_host,
)
from tandem_lab.drbd_modules import given_modules
from tandem_lab.host_state import Boot, HostDownError, HostState
from tandem_lab.namespace import namespace_path
from tandem_lab.network import hosts_file
from tandem_lab.processes import (
    Daemon,
    continue_session,
    is_stopped,
    kill_session,
    start_daemon,
    stop_session,
)
from tandem_lab.settings import LabError, Settings
from tandem_lab.shell import run
from tandem_lab.topology import ALL_LINKS, GUEST_BRIDGE, OUT_OF_BAND, USERS, Host, Topology

COMMAND_TIMEOUT_S = 30.0
AGENT_TIMEOUT_S = 60.0
LIBVIRT_TIMEOUT_S = 120.0
POLL_S = 0.05
MIB = 1024 * 1024

ACTUATOR_UNIT = "tandem-actuator"
ACTUATOR_TIMEOUT_S = 60.0
KILL_ACTUATOR = "systemctl kill --signal=KILL --kill-whom=main {unit}"
ACTUATOR_ACTIONS = {
    "start": "systemctl start --no-block {unit}",
    "stop": "systemctl stop {unit}",
    "restart": "systemctl restart {unit}",
    "kill": KILL_ACTUATOR,
    # Between the two its unit may begin another run, which gets no further than its imports.
    "crash": f"{KILL_ACTUATOR} || true; systemctl stop {{unit}}",
    # systemctl status tells by its exit code, too, how the unit is.
    "status": "systemctl --no-pager --full status {unit} || true",
}

# A message of the agent's first answer: boot has finished all its steps.
WAIT_BOOTED = ["sh", "-c", "until [ -e /run/booted ]; do sleep 0.1; done"]
WAIT_LIBVIRT = [
    "sh",
    "-c",
    "until [ -S /run/libvirt/libvirt-sock ]; do sleep 0.1; done; virsh -q uri >/dev/null",
]


class SiteHost:
    """Handle of one host. All state is on disk and in the kernel, but for its next boot's DRBD."""

    def __init__(self, spec: Host, topology: Topology, settings: Settings) -> None:
        self.spec = spec
        self.name = spec.name
        self._topology = topology
        self._settings = settings
        self._agent = AgentAddress(spec.name, settings.namespace, OUT_OF_BAND.address(spec))
        self.drbd_modules = settings.drbd_modules

    # --- where things are

    @property
    def directory(self) -> Path:
        """Its disks, console and share."""
        return self._settings.host_dir(self.name)

    @property
    def share(self) -> Path:
        """The folder that the host sees as /site."""
        return self._settings.share_dir(self.name)

    @property
    def console_log(self) -> Path:
        """Its kernel's messages, of all boots."""
        return self.directory / "console.log"

    # --- life and death

    def start(self, *, wait: bool = True) -> None:
        """Boot it. With `wait`, return once libvirt answers (`wait_ready`)."""
        if self.is_up:
            raise LabError(f"{self.name} runs already")
        self._prepare()
        start_daemon(self._command(), self.console_log, self.pid_file)
        if wait:
            self.wait_ready()

    def kill(self) -> None:
        """The death of the host: its whole session gets SIGKILL. No error if it is dead."""
        daemon = Daemon.load(self.pid_file)
        if daemon is not None:
            kill_session(daemon)
            self.pid_file.unlink(missing_ok=True)

    def restart(self, *, wait: bool = True) -> None:
        """Kill it and boot it again, with the disks it has."""
        self.kill()
        self.start(wait=wait)

    def pause(self) -> None:
        """Stall it: nothing in it runs until `resume`. Its cables stay plugged in."""
        stop_session(self._daemon())

    def resume(self) -> None:
        """Let a stalled host go on. Its clocks jump to the present."""
        continue_session(self._daemon())

    def wait_ready(self, timeout_s: float = AGENT_TIMEOUT_S + LIBVIRT_TIMEOUT_S) -> None:
        """Return once its boot is complete and libvirt answers."""
        deadline = time.monotonic() + timeout_s
        self.wait_agent(min(timeout_s, AGENT_TIMEOUT_S))
        for command in (WAIT_BOOTED, WAIT_LIBVIRT):
            self.run(command, timeout_s=max(1.0, deadline - time.monotonic())).check()
        wanted = given_modules(self._settings, self.drbd_modules)
        if wanted is not None and self.drbd_version() != wanted.version:
            raise LabError(
                f"{self.name} runs DRBD {self.drbd_version() or '(none)'} and not the"
                f" {wanted.version} of {self.drbd_modules}: {self.share}/log/boot.log says why"
            )

    def wait_agent(self, timeout_s: float = AGENT_TIMEOUT_S) -> None:
        """Return once commands can be run in it."""
        deadline = time.monotonic() + timeout_s
        while True:
            if not self.is_up:
                raise HostDownError(f"{self.name} ended while booting:\n{self.console_tail()}")
            try:
                self.run(["/bin/true"], timeout_s=5.0).check()
                return
            except (HostUnreachableError, CommandError) as error:
                if time.monotonic() > deadline:
                    tail = self.console_tail()
                    raise LabError(f"{self.name} does not come up: {error}\n{tail}") from error
            time.sleep(POLL_S)

    @property
    def is_up(self) -> bool:
        """True if its process is there (it may be paused, or still booting)."""
        daemon = Daemon.load(self.pid_file)
        return daemon is not None and daemon.process() is not None

    def state(self) -> HostState:
        """Its state as seen from outside; asks the host nothing."""
        daemon = Daemon.load(self.pid_file)
        process = daemon.process() if daemon is not None else None
        if daemon is None or process is None:
            return HostState(self.name, self.spec.site, False, False, None, None, 0)
        return HostState(
            name=self.name,
            site=self.spec.site,
            up=True,
            paused=is_stopped(daemon),
            pid=daemon.pid,
            boot_s=max([daemon.created_s, *(boot.wall_s for boot in self.boots())]),
            memory_bytes=process.memory_info().rss,
            drbd=self.drbd_version(),
        )

    def drbd_version(self) -> str:
        """Of the module that this boot loaded, as the kernel says; empty until then."""
        return self._drbd_file.read_text().strip() if self._drbd_file.exists() else ""

    def boots(self) -> list[Boot]:
        """All boots, oldest first; read from outside.

        A reset from within (watchdog, reboot) boots again in the same process, as a server does.
        """
        path = self.share / "log" / "boots"
        rows = path.read_text().splitlines() if path.exists() else []
        return [Boot(float(wall), boot_id) for wall, boot_id in map(str.split, rows)]

    def console_tail(self, lines: int = 30) -> str:
        """The last lines of its kernel's messages."""
        if not self.console_log.exists():
            return "(no console output)"
        text = self.console_log.read_text(errors="replace")
        return "\n".join(text.splitlines()[-lines:])

    # --- commands

    def run(
        self,
        argv: Sequence[str],
        *,
        timeout_s: float = COMMAND_TIMEOUT_S,
        stdin: bytes = b"",
        env: Mapping[str, str] | None = None,
        on_output: OnOutput | None = None,
    ) -> CommandResult:
        """Run a command in the host. Any exit code is returned; `.check()` raises.

        HostDownError if it does not run, HostUnreachableError if it does not answer.
        """
        if not self.is_up:
            raise HostDownError(f"{self.name} is down; cannot run: {' '.join(argv)}")
        return run_in_host(
            self._agent, argv, timeout_s=timeout_s, stdin=stdin, env=env, on_output=on_output
        )

    def follow(
        self, argv: Sequence[str], on_line: Callable[[str], None], patience: Callable[[float], bool]
    ) -> None:
        """Listen to a command in the host; ends with OSError (agent_client.follow_in_host)."""
        follow_in_host(self._agent, argv, on_line, patience)

    def shell(self, script: str, *, timeout_s: float = COMMAND_TIMEOUT_S) -> str:
        """Run a shell script in the host and return what it printed; CommandError if it fails."""
        return self.run(["sh", "-ec", script], timeout_s=timeout_s).check().stdout

    def write_file(self, path: str, content: str | bytes) -> None:
        """Write a file in the host (not on its share: that is `share`)."""
        data = content.encode() if isinstance(content, str) else content
        self.run(["dd", "status=none", f"of={path}"], stdin=data).check()

    def boot_id(self) -> str:
        """The kernel's id of this boot."""
        return self.shell("cat /proc/sys/kernel/random/boot_id").strip()

    def create_volume(self, name: str, size: str) -> str:
        """Make a logical volume (size as LVM takes it, "64M") and return its device."""
        device = f"/dev/vg0/{name}"
        self.shell(f"[ -e {device} ] || lvcreate -q -y -Wn -Zn -n {name} -L {size} vg0")
        return device

    def delay(self, interface: str, delay_ms: int) -> None:
        """Hold back what the host sends on an interface; 0 ends it. Gone after a reboot."""
        if delay_ms:
            self.shell(f"tc qdisc replace dev {interface} root netem delay {delay_ms}ms")
        else:
            self.shell(f"tc qdisc del dev {interface} root 2>/dev/null || true")

    # --- actuator

    def configure_actuator(self, config: str, *, enabled: bool = True) -> None:
        """Write its configuration; it starts with the next boot, or with `actuator("start")`."""
        (self.share / "actuator.yaml").write_text(config)
        marker = self.share / "actuator.enabled"
        if enabled:
            marker.touch()
        else:
            marker.unlink(missing_ok=True)

    def actuator(self, action: str) -> str:
        """start, stop (SIGTERM and stay down), restart (returns once it is ready), kill (SIGKILL;
        its unit starts it again), crash (SIGKILL and stay down), or status.

        Returns what systemctl said; CommandError if it failed.
        """
        if action not in ACTUATOR_ACTIONS:
            raise LabError(f"no action {action!r}; there are: {', '.join(ACTUATOR_ACTIONS)}")
        script = ACTUATOR_ACTIONS[action].format(unit=ACTUATOR_UNIT)
        return self.shell(script, timeout_s=ACTUATOR_TIMEOUT_S)

    # --- preparing a boot

    @property
    def pid_file(self) -> Path:
        return self.directory / "pid.json"

    @property
    def _drbd_file(self) -> Path:
        return self.share / "log" / "drbd"

    def _daemon(self) -> Daemon:
        daemon = Daemon.load(self.pid_file)
        if daemon is None or daemon.process() is None:
            raise HostDownError(f"{self.name} is down")
        return daemon

    def _prepare(self) -> None:
        for folder in (self.share / "log", self.share / "serial"):
            folder.mkdir(parents=True, exist_ok=True)
        self._make_disks()
        self._lay_out_modules()
        margin = self.spec.softdog_margin_s
        settings = {
            "HOST_NAME": self.name,
            "SITE_NAME": self.spec.site,
            "HOST_UUID": self.spec.uuid,
            "SOFTDOG_MARGIN_S": "" if margin is None else str(margin),
        }
        lines = (f"{key}='{value}'\n" for key, value in settings.items())
        (self.share / "host.env").write_text("".join(lines))
        (self.share / "network.ip").write_text("\n".join(self._network_commands()) + "\n")
        (self.share / "hosts").write_text(hosts_file(self._topology))
        cache = self.share / "libvirt-cache"
        shutil.rmtree(cache, ignore_errors=True)
        if self._settings.libvirt_cache_dir.exists():
            shutil.copytree(self._settings.libvirt_cache_dir, cache)
        # An unclean end leaves the kernel's control socket behind.
        shutil.rmtree(self.directory / "uml", ignore_errors=True)

    def _lay_out_modules(self) -> None:
        self._drbd_file.unlink(missing_ok=True)
        folder = self.share / "drbd-modules"
        shutil.rmtree(folder, ignore_errors=True)
        modules = given_modules(self._settings, self.drbd_modules)
        if modules is not None:
            folder.mkdir()
            for path in modules.files:
                shutil.copy(path, folder)

    def _make_disks(self) -> None:
        data = self.directory / "data.img"
        if not data.exists():
            _make_sparse(data, self.spec.data_disk_mib)
        state = self.directory / "state.img"
        if not state.exists():
            # Made beside its place and moved there, so that half a file system is never booted.
            part = state.with_suffix(".part")
            part.unlink(missing_ok=True)
            _make_sparse(part, self.spec.state_disk_mib)
            run(["mkfs.ext4", "-q", "-m", "0", part])
            part.rename(state)

    def _network_commands(self) -> list[str]:
        commands = ["link set dev lo up"]
        for position, link in enumerate(ALL_LINKS):
            name = "uplink" if link is USERS else link.short
            commands += [
                f"link set dev eth{position} name {name}",
                f"link set dev {name} up",
            ]
            if link is not USERS:
                commands.append(f"address add {link.address(self.spec)}/24 dev {name}")
        return [
            *commands,
            f"link add name {GUEST_BRIDGE} type bridge forward_delay 0 mcast_snooping 0",
            f"link set dev uplink master {GUEST_BRIDGE}",
            f"link set dev {GUEST_BRIDGE} up",
            f"address add {USERS.address(self.spec)}/24 dev {GUEST_BRIDGE}",
        ]

    def _cpu(self) -> int:
        # A user-mode Linux has one processor, and hands over between its kernel and its programs
        # at every system call. Kept on one processor of the machine this is four times as fast
        # as when each hand-over has to wake another one.
        available = sorted(os.sched_getaffinity(0))
        return available[self.spec.number % len(available)]

    def _command(self) -> list[str | Path]:
        cables = [
            f"eth{position}=tuntap,{link.tap(self.spec)},{link.mac(self.spec)}"
            for position, link in enumerate(ALL_LINKS)
        ]
        return [
            *("nsenter", f"--net={namespace_path(self._settings.namespace)}", "--"),
            *("taskset", "--cpu-list", str(self._cpu())),
            *("env", f"LD_PRELOAD={self._settings.kernel_preload}"),
            self._settings.kernel,
            f"mem={self.spec.memory_mib}M",
            f"umid={self.name}",
            f"uml_dir={self.directory / 'uml'}",
            f"ubd0r={self._settings.root_image}",
            # c: without file locks. A host that its watchdog resets boots again in the same
            # process, beside leftovers of the old boot that still hold them.
            f"ubd1c={self.directory / 'state.img'}",
            f"ubd2c={self.directory / 'data.img'}",
            *("root=/dev/ubda", "rootfstype=ext4", "ro", "init=/init", "panic=-1"),
            *("con=null", "con0=null,fd:1", "quiet"),
            *cables,
            f"tandem.share={self.share}",
            f"tandem.source={self._settings.source_dir(self.name)}",
        ]


def _make_sparse(path: Path, size_mib: int) -> None:
    with path.open("xb") as disk:
        disk.truncate(size_mib * MIB)
