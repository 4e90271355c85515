"""Tells whether a process that was killed, and is still there, executes anything any more.

A thread that waits in the kernel for I/O outlives SIGKILL. But from the moment that the signal is
sent, no thread of the process goes back to user mode or into a guest, and none is made: each has
the signal pending before the call that sends it returns, and the kernel looks for it on every such
way. Only a thread that was executing on another processor does so for a moment longer, until it is
interrupted. So a thread is *out* once it is seen on its way to its end, or waiting (D) with SIGKILL
pending. Sources, and what was tried, are in docs/design/2026-11-30-killed-and-held.md.

Two looks, since a list of threads lacks some if others end while it is made. The first finds that
the process dies of SIGKILL, and of how many threads it still is; the list of the second must be as
long. Called by ``qemu_processes``.
"""

import signal
from collections.abc import Sequence
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


async def executes_nothing(processes: Processes, pid: int) -> bool:
    """Whether it was killed, is still there, and will never execute anything again.

    Raises: PortError, it cannot be looked up.
    """
    left = _left(await processes.threads(pid))
    stats = await processes.threads(pid) if left else ()
    return 0 < len(stats) == left and all(not stat or _is_out(stat) for stat in stats)


def _left(stats: Sequence[bytes]) -> int:
    """Of how many threads it was as one was seen to die of SIGKILL; 0 if none was."""
    dying = (each for each in map(thread_in, stats) if each is not None and each.dies_of_sigkill)
    return min((each.threads for each in dying), default=0)


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
