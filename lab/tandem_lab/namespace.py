"""Enters the lab's network namespace, for the time it takes to open a socket.

A socket stays in the namespace it was opened in, so that one program can talk to site hosts
without living there. Only the calling thread moves, and it always moves back.

Also how a namespace ends: with everything that runs in it.
"""

from __future__ import annotations

import ctypes
import os
import signal
import socket
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from tandem_lab.settings import LabError
from tandem_lab.shell import run

CLONE_NEWNET = 0x40000000
NAMESPACES = Path("/run/netns")
HOME_NAMESPACE = Path("/proc/thread-self/ns/net")
LEAVE_TIMEOUT_S = 10.0


def namespace_path(name: str) -> Path:
    """Where `ip netns` keeps the namespace."""
    return NAMESPACES / name


def namespace_exists(name: str) -> bool:
    """True if it is there and not merely a leftover file."""
    path = namespace_path(name)
    return path.exists() and path.stat().st_dev != NAMESPACES.stat().st_dev


def remove_namespace(name: str) -> None:
    """SIGKILL whatever runs in it, wait for that, and remove it. Fine if it is not there.

    Raises LabError if something does not leave.
    """
    if not namespace_path(name).exists():
        return
    deadline_s = time.monotonic() + LEAVE_TIMEOUT_S
    while namespace_exists(name) and (pids := _pids(name)):
        if time.monotonic() > deadline_s:
            raise LabError(f"processes {pids} do not leave namespace {name}")
        for pid in pids:
            with suppress(ProcessLookupError):
                os.kill(pid, signal.SIGKILL)
        time.sleep(0.02)
    run(["ip", "netns", "delete", name])


def connect(name: str, address: tuple[str, int], timeout_s: float) -> socket.socket:
    """A TCP connection made inside namespace `name`; OSError as from socket.connect."""
    with inside(name):
        connection = socket.socket(socket.AF_INET, socket.SOCK_STREAM)
    try:
        connection.settimeout(timeout_s)
        connection.connect(address)
    except BaseException:
        connection.close()
        raise
    connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
    return connection


@contextmanager
def inside(name: str) -> Iterator[None]:
    """Run the block with this thread inside namespace `name`; FileNotFoundError if it is gone."""
    with HOME_NAMESPACE.open("rb") as home, namespace_path(name).open("rb") as other:
        _setns(other.fileno())
        try:
            yield
        finally:
            _setns(home.fileno())


def _setns(descriptor: int) -> None:
    libc = ctypes.CDLL(None, use_errno=True)
    if libc.setns(descriptor, CLONE_NEWNET) != 0:
        number = ctypes.get_errno()
        raise OSError(number, f"setns: {os.strerror(number)}")


def _pids(name: str) -> list[int]:
    """Its live processes."""
    pids = [int(word) for word in run(["ip", "netns", "pids", name]).split()]
    return [pid for pid in pids if not _is_zombie(pid)]


def _is_zombie(pid: int) -> bool:
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] == "Z"
    except (FileNotFoundError, ProcessLookupError):
        return True
