"""Starts daemons that outlive the program that started them, and finds and ends them again.

A daemon is remembered by process id *and* start time, so that a number that was reused by the
system is never signalled. A daemon's session (it and everything it started) ends together.
Used for site hosts and for the attendant.
"""

from __future__ import annotations

import contextlib
import json
import os
import signal
import subprocess
import time
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path

import psutil

from tandem_lab.settings import LabError

KILL_TIMEOUT_S = 10.0
POLL_S = 0.01
STOPS_WITHIN_S = 5.0
SESSION_NICE = -10


@dataclass(frozen=True)
class Daemon:
    """A process that leads its own session. `created_s` is its start, in seconds since 1970."""

    pid: int
    created_s: float

    def process(self) -> psutil.Process | None:
        """The live process, or None if it ended (a zombie has ended)."""
        try:
            process = psutil.Process(self.pid)
            if process.status() == psutil.STATUS_ZOMBIE:
                _reap(self.pid)
                return None
            return process if abs(process.create_time() - self.created_s) < 0.02 else None
        except psutil.NoSuchProcess:
            return None

    def save(self, path: Path) -> None:
        """Remember it in a file, for later programs."""
        path.write_text(json.dumps(asdict(self)))

    @classmethod
    def load(cls, path: Path) -> Daemon | None:
        """The remembered daemon, or None if there is none (or the file was cut short)."""
        try:
            data = json.loads(path.read_text())
            return cls(pid=int(data["pid"]), created_s=float(data["created_s"]))
        except (FileNotFoundError, ValueError, KeyError, TypeError):
            return None


def start_daemon(argv: Sequence[str | Path], log: Path, pid_file: Path) -> Daemon:
    """Start `argv` in a session of its own, with its output appended to `log`."""
    with log.open("ab") as output:
        child = subprocess.Popen(
            [str(word) for word in argv],
            stdin=subprocess.DEVNULL,
            stdout=output,
            stderr=subprocess.STDOUT,
            start_new_session=True,
        )
    daemon = Daemon(pid=child.pid, created_s=psutil.Process(child.pid).create_time())
    daemon.save(pid_file)
    prefer(child.pid)
    # Its end is collected through psutil; without this Python would complain at its own end.
    child.returncode = 0
    return daemon


def prefer(pid: int) -> None:
    """Let the session of this process go before whatever else keeps the machine busy.

    The lab's hosts stand for machines of their own, which would not miss the deadlines of their
    watchdogs because somebody compiles next door. Where the kernel groups processes by session
    (autogroup), a process's own nice value says nothing about other sessions.
    """
    with contextlib.suppress(OSError):
        Path(f"/proc/{pid}/autogroup").write_text(str(SESSION_NICE))
    with contextlib.suppress(OSError):
        os.setpriority(os.PRIO_PROCESS, pid, SESSION_NICE)


def kill_session(daemon: Daemon) -> None:
    """SIGKILL the daemon and all of its session, and wait until they are gone."""
    deadline = time.monotonic() + KILL_TIMEOUT_S
    leader = daemon.process()
    members = session_members(daemon) if leader is None else [leader, *session_members(daemon)]
    while members:
        for process in members:
            _signal(process.pid, signal.SIGKILL)
        _reap(daemon.pid)
        if time.monotonic() > deadline:
            raise LabError(f"processes of session {daemon.pid} survive SIGKILL: {members}")
        time.sleep(POLL_S)
        members = session_members(daemon)


def session_members(daemon: Daemon) -> list[psutil.Process]:
    """The live processes of the daemon's session. Its leader may be gone already."""
    members = []
    for process in psutil.process_iter():
        try:
            if (
                os.getsid(process.pid) == daemon.pid
                and process.create_time() >= daemon.created_s - 0.02
                and process.status() != psutil.STATUS_ZOMBIE
            ):
                members.append(process)
        except (psutil.NoSuchProcess, ProcessLookupError):
            continue
    return members


def stop_session(daemon: Daemon) -> None:
    """Stop the session's processes where they are (SIGSTOP), as a host that stalls.

    On a busy machine one that waits for a disk stops a moment later: until then it is waited for.
    """
    for process in _untraced(daemon):
        _signal(process.pid, signal.SIGSTOP)
    end_s = time.monotonic() + STOPS_WITHIN_S
    while daemon.process() and not is_stopped(daemon) and time.monotonic() < end_s:
        time.sleep(POLL_S)


def continue_session(daemon: Daemon) -> None:
    """Let a stopped session go on (SIGCONT)."""
    for process in _untraced(daemon):
        _signal(process.pid, signal.SIGCONT)


def is_stopped(daemon: Daemon) -> bool:
    """True if the daemon is there but stopped."""
    process = daemon.process()
    return process is not None and process.status() == psutil.STATUS_STOPPED


def _untraced(daemon: Daemon) -> list[psutil.Process]:
    # The processes of a user-mode Linux are traced by its kernel: a stop signal to one of them
    # would be reported to that kernel, which does not expect it. They stand still without it.
    return [process for process in session_members(daemon) if _tracer(process.pid) == 0]


def _tracer(pid: int) -> int:
    try:
        for line in Path(f"/proc/{pid}/status").read_text().splitlines():
            if line.startswith("TracerPid:"):
                return int(line.split()[1])
    except (FileNotFoundError, ProcessLookupError):
        pass
    return 0


def _signal(pid: int, number: signal.Signals) -> None:
    with contextlib.suppress(ProcessLookupError):
        os.kill(pid, number)


def _reap(pid: int) -> None:
    """Collect the process if it was our own child; someone else's is not ours to collect."""
    with contextlib.suppress(ChildProcessError):
        os.waitpid(pid, os.WNOHANG)
