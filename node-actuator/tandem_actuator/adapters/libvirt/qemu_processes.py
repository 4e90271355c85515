"""Tells which processes are QEMUs, and of which domain, without asking libvirt or QEMU.

libvirt may hang, or lose sight of a QEMU that a frozen disk holds in the kernel; what still has the
disk open is only known to the kernel. A QEMU is told by its arguments: libvirt starts each with
``-name guest=NAME,…`` and ``-uuid``. Called by the libvirt and network adapters.

A killed QEMU whose disk is frozen is a zombie with one more thread, which waits in the kernel for
its last write and holds every open file. Such a process has no arguments any more. libvirt's pid
file tells whose it is; without that it counts against every domain (UNIDENTIFIED).
"""

import contextlib
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass

from tandem_actuator.adapters.libvirt.dead_processes import execute_nothing
from tandem_actuator.adapters.libvirt.joined import Joined
from tandem_actuator.adapters.libvirt.ports import Processes, ProcessText

NAME_OPTION = b"-name"
UUID_OPTION = b"-uuid"
QEMU_COMM = b"qemu"
UNIDENTIFIED = ""


@dataclass(frozen=True)
class Qemu:
    """A QEMU process. ``domain``: None where its arguments are gone."""

    pid: int
    domain: str | None


class QemuProcesses:
    """The QEMU processes of this machine."""

    def __init__(self, processes: Processes) -> None:
        self.processes = processes
        self._scan = Joined(self._scanned)

    async def by_domain(self) -> Mapping[str, Sequence[int]]:
        """Process ids by domain name; UNIDENTIFIED for a stuck QEMU that could be anybody's.

        Raises:
            PortError: /proc cannot be read.
        """
        return await self._scan.look()

    async def _scanned(self) -> Mapping[str, Sequence[int]]:
        found: dict[str, list[int]] = {}
        owners: Mapping[int, str] | None = None
        for qemu in await self.processes.select(qemu_in):
            if qemu.domain is None and owners is None:
                owners = await self._owners()
            domain = (owners or {}).get(qemu.pid, UNIDENTIFIED)
            found.setdefault(domain if qemu.domain is None else qemu.domain, []).append(qemu.pid)
        return found

    async def of(self, name: str) -> Sequence[int]:
        """Process ids of a domain's QEMU, also of one that is dead but for a stuck thread."""
        return (await self.by_domain()).get(name, [])

    async def dead(self, names: Collection[str]) -> dict[str, bool]:
        """Of those that have a QEMU: whether none executes anything any more, nor ever will."""
        every = await self.by_domain()
        found = {name: every[name] for name in names if name in every}
        pids = [pid for of_one in found.values() for pid in of_one]
        dead = await execute_nothing(self.processes, pids)
        return {name: dead.issuperset(of_one) for name, of_one in found.items()}

    async def domain_of(self, pid: int) -> str | None:
        """The domain that a process runs; None for anything that is no QEMU, or gone."""
        text = await self.processes.look(pid)
        qemu = qemu_in(text) if text is not None else None
        return None if qemu is None else await self._domain_of(qemu)

    async def _domain_of(self, qemu: Qemu) -> str:
        if qemu.domain is not None:
            return qemu.domain
        return (await self._owners()).get(qemu.pid, UNIDENTIFIED)

    async def _owners(self) -> Mapping[int, str]:
        """By libvirt's pid files: a process's number → its domain. Of two the first counts."""
        owners: dict[int, str] = {}
        for name, content in (await self.processes.pid_files()).items():
            with contextlib.suppress(ValueError):
                owners.setdefault(int(content), name)
        return owners


def qemu_in(text: ProcessText) -> Qemu | None:
    """The QEMU that a process is, if it is one."""
    if text.cmdline:
        domain = _domain_in(text.cmdline.split(b"\0"))
        return None if domain is None else Qemu(text.pid, domain)
    return Qemu(text.pid, None) if _is_stuck_qemu(text.stat) else None


def _domain_in(arguments: list[bytes]) -> str | None:
    if UUID_OPTION not in arguments or NAME_OPTION not in arguments[:-1]:
        return None
    options = arguments[arguments.index(NAME_OPTION) + 1]
    for part in options.split(b","):
        key, _, value = part.partition(b"=")
        if key == b"guest":
            return value.decode(errors="replace")
    return None


def _is_stuck_qemu(stat: bytes) -> bool:
    """A process without arguments: a kernel thread, a plain zombie, or what is looked for.

    proc(5): /proc/pid/stat is ``pid (comm) state …``, its 20th field is the number of threads. The
    name may be anything, cut inside a character too: it is compared as it is.
    """
    head, _, tail = stat.rpartition(b")")
    comm, fields = head.partition(b"(")[2], tail.split()
    return comm.startswith(QEMU_COMM) and int(fields[17]) > 1
