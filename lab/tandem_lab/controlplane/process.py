"""Run a daemon of the lab: in a network namespace if asked, with a pid file and a log.

A process is known by pid *and* start time, so that a pid file left by a crash never makes us
signal a stranger. Signals go to that one process through a pidfd, never to a name or a group.
Another program run (a later `tandem-lab` command) finds and stops it through the pid file.

It never restarts anything by itself: tests decide who is up.

Called by `ControlPlane` and `Prometheus`.
"""

from __future__ import annotations

import os
import select
import signal
import subprocess
import time
from collections.abc import Mapping, Sequence
from contextlib import suppress
from pathlib import Path

from tandem_lab.processes import prefer

# An API server that has watches to end takes ten.
STOP_GRACE_S = 15.0
KILL_GRACE_S = 10.0
LOG_TAIL_BYTES = 3000
_PROXY_VARIABLES = ("http_proxy", "https_proxy", "all_proxy", "no_proxy")


class ProcessError(RuntimeError):
    """A daemon did not start, is not there, or does not end; the message has its log's end."""


def in_netns(netns: str | None, command: Sequence[str]) -> list[str]:
    """`command` as it must be started to run in the named network namespace."""
    return ["ip", "netns", "exec", netns, *command] if netns else list(command)


def daemon_environment() -> dict[str, str]:
    """This process's environment without proxies: the lab's addresses are never behind one."""
    return {
        name: value for name, value in os.environ.items() if name.lower() not in _PROXY_VARIABLES
    }


class Process:
    """One daemon, with `<name>.pid` and `<name>.log` in `directory`."""

    def __init__(self, name: str, directory: Path) -> None:
        self.name = name
        self.log_path = directory / f"{name}.log"
        self.pid_path = directory / f"{name}.pid"
        self._child: subprocess.Popen[bytes] | None = None

    def start(
        self,
        command: Sequence[str],
        *,
        netns: str | None = None,
        die_with_parent: bool = False,
        environment: Mapping[str, str] | None = None,
    ) -> None:
        """Start it in a session of its own. Raises ProcessError if it is running already.

        With `die_with_parent` the kernel ends it when the starting thread ends, however that
        comes about: for test runs, which get killed.
        """
        if self.alive():
            raise ProcessError(f"{self.name} is running already ({self.pid_path})")
        guard = ["setpriv", "--pdeathsig", "KILL"] if die_with_parent else []
        with self.log_path.open("ab") as log:
            self._child = subprocess.Popen(
                in_netns(netns, [*guard, *command]),
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=subprocess.STDOUT,
                start_new_session=True,
                cwd=self.log_path.parent,
                env={**daemon_environment(), **(environment or {})},
            )
        pid = self._child.pid
        prefer(pid)
        self.pid_path.write_text(f"{pid} {_start_time_ticks(pid)}\n")

    def alive(self) -> bool:
        """Whether the process of the pid file is there (a paused one is)."""
        if self._child is not None:
            self._child.poll()  # reap it, if it ended
        return self.pid() is not None

    def pid(self) -> int | None:
        """Its pid, or None if it is not running."""
        recorded = self._recorded()
        if recorded is None:
            return None
        pid, start_time_ticks = recorded
        return pid if _start_time_ticks(pid) == start_time_ticks else None

    def require_alive(self) -> None:
        """Raise ProcessError, with the end of the log, unless it is running."""
        if not self.alive():
            raise ProcessError(f"{self.name} is not running; its log ends:\n{self.log_tail()}")

    def pause(self) -> None:
        """SIGSTOP: it keeps its sockets and answers nothing."""
        self._signal(signal.SIGSTOP)

    def resume(self) -> None:
        """SIGCONT, after `pause`."""
        self._signal(signal.SIGCONT)

    def kill(self) -> None:
        """SIGKILL, and wait until it is gone."""
        self._end(signal.SIGKILL, KILL_GRACE_S)

    def stop(self, grace_s: float = STOP_GRACE_S) -> None:
        """SIGTERM, after a grace SIGKILL; a process that is not there is fine."""
        for number, limit_s in ((signal.SIGTERM, grace_s), (signal.SIGKILL, KILL_GRACE_S)):
            # It may end by itself between the one and the other.
            if self.alive():
                with suppress(ProcessError):
                    self._end(number, limit_s)
        if self.alive():
            raise ProcessError(f"{self.name} does not end")
        self.pid_path.unlink(missing_ok=True)

    def log_tail(self) -> str:
        """The last lines it wrote."""
        try:
            with self.log_path.open("rb") as log:
                log.seek(max(0, self.log_path.stat().st_size - LOG_TAIL_BYTES))
                return log.read().decode(errors="replace")
        except FileNotFoundError:
            return "(no log)"

    def _recorded(self) -> tuple[int, int] | None:
        try:
            pid, start_time_ticks = self.pid_path.read_text().split()
            return int(pid), int(start_time_ticks)
        except (FileNotFoundError, ValueError):
            return None

    def _signal(self, number: signal.Signals) -> None:
        with self._handle() as handle:
            signal.pidfd_send_signal(handle.fd, number)

    def _end(self, number: signal.Signals, grace_s: float) -> None:
        deadline_s = time.monotonic() + grace_s
        with suppress(ProcessLookupError), self._handle() as handle:
            signal.pidfd_send_signal(handle.fd, number)
            # A paused process would act on SIGTERM only once it goes on.
            signal.pidfd_send_signal(handle.fd, signal.SIGCONT)
            if not handle.wait(deadline_s - time.monotonic()):
                raise ProcessError(f"{self.name} ignored {number.name} for {grace_s} s")
        if self._child is not None:
            self._child.wait(KILL_GRACE_S)
        self.pid_path.unlink(missing_ok=True)

    def _handle(self) -> _PidHandle:
        pid = self.pid()
        if pid is None:
            self.require_alive()
            raise ProcessError(f"{self.name} has no usable {self.pid_path}")
        handle = _PidHandle(pid)
        if self.pid() != pid:  # it ended between the look and the open; the pid may be another's
            handle.close()
            raise ProcessLookupError(pid)
        return handle


class _PidHandle:
    """A pidfd: it names one process for good, whatever happens to the number."""

    def __init__(self, pid: int) -> None:
        self.fd = os.pidfd_open(pid)

    def __enter__(self) -> _PidHandle:
        return self

    def __exit__(self, *_error: object) -> None:
        self.close()

    def wait(self, timeout_s: float) -> bool:
        """Whether the process ended within the time."""
        poll = select.poll()
        poll.register(self.fd, select.POLLIN)
        return bool(poll.poll(max(0.0, timeout_s) * 1000))

    def close(self) -> None:
        os.close(self.fd)


def _start_time_ticks(pid: int) -> int | None:
    """When the process started, in clock ticks since boot; None if it ended (also a zombie)."""
    try:
        text = Path(f"/proc/{pid}/stat").read_text()
    except (FileNotFoundError, ProcessLookupError):
        return None
    # Fields from the third on; the second, the name, may hold spaces and brackets.
    fields = text.rpartition(")")[2].split()
    return None if fields[0] in "ZX" else int(fields[19])
