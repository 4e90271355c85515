"""Tells whether a process that was killed, and is still there, executes anything any more.

A thread that waits in the kernel for I/O outlives SIGKILL. But from the moment that the signal is
sent, no thread of the process goes back to user mode or into a guest, and none is made: each has
the signal pending before the call that sends it returns, and the kernel looks for it on every such
way. Only a thread that was executing on another processor does so for a moment longer, until it is
interrupted. So a thread is *out* once it is seen on its way to its end, or waiting (D) with SIGKILL
pending. Sources, and what was tried, are in docs/design/2026-11-30-killed-and-held.md.

Two looks, since a list of threads lacks some if others end while it is made. The first finds that
the process dies of SIGKILL, and of how many threads it still is, which its first thread tells: that
stays until all others are gone. The list of the second must be as long. So one that was not killed
costs one file, and hundreds are looked at together. Called by ``qemu_processes``.
"""

import signal
from collections.abc import Collection, Sequence
from dataclasses import dataclass

from tandem_actuator.adapters.libvirt.ports import Processes

PF_EXITING = 0x4
PF_SIGNALED = 0x400
KILLED = 1 << (signal.SIGKILL - 1)
STATE, FLAGS, THREADS, PENDING = 0, 6, 17, 28
"""Places in proc(5)'s /proc/pid/task/tid/stat after the name: its fields 3, 9, 20 and 31."""


@dataclass(frozen=True)
class Thread:
    """``flags``: the kernel's PF_…; ``pending``: signals, a bit each; ``threads``: how many the
    process is of.
    """

    state: str
    flags: int
    pending: int
    threads: int

    @property
    def exits(self) -> bool:
        return bool(self.flags & PF_EXITING)

    @property
    def dies_of_sigkill(self) -> bool:
        """So all others of the process do. One that has found the signal has it pending no more."""
        return bool(self.pending & KILLED) or (self.exits and bool(self.flags & PF_SIGNALED))

    @property
    def is_out(self) -> bool:
        """It executes nothing any more, and never will."""
        return self.exits or (self.state == "D" and bool(self.pending & KILLED))


async def execute_nothing(processes: Processes, pids: Collection[int]) -> set[int]:
    """Which of them were killed, are still there, and will never execute anything again.

    Raises: PortError, they cannot be looked up.
    """
    first = await processes.first_threads(pids)
    left = {pid: count for pid, stat in first.items() if (count := _left(stat))}
    found = await processes.threads(left) if left else {}
    return {pid for pid, stats in found.items() if _are_out(stats, left[pid])}


def _left(stat: bytes) -> int:
    """Of how many threads it was as this one was seen to die of SIGKILL; 0 if it does not."""
    thread = thread_in(stat)
    return thread.threads if thread is not None and thread.dies_of_sigkill else 0


def _are_out(stats: Sequence[bytes], count: int) -> bool:
    return 0 < len(stats) == count and all(not stat or _is_out(stat) for stat in stats)


def _is_out(stat: bytes) -> bool:
    thread = thread_in(stat)
    return thread is not None and thread.is_out


def thread_in(stat: bytes) -> Thread | None:
    """None for what cannot be read. The name may hold anything, brackets too."""
    fields = stat.rpartition(b")")[2].split()
    try:
        flags, pending, threads = (int(fields[place]) for place in (FLAGS, PENDING, THREADS))
    except (IndexError, ValueError):
        return None
    return Thread(fields[STATE].decode(errors="replace"), flags, pending, threads)
