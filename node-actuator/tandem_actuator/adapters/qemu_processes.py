"""Finds the QEMU processes of domains in /proc, without asking libvirt or QEMU.

libvirt may hang, or lose sight of a QEMU that a frozen disk holds in the kernel; what still has the
disk open is only known to the kernel. A QEMU is told by its arguments: libvirt starts each with
``-name guest=NAME,…`` and ``-uuid``. Called by the libvirt and network adapters, in their threads.

A killed QEMU whose disk is frozen is a zombie with one more thread, which waits in the kernel for
its last write and holds every open file. Such a process has no arguments any more. libvirt's pid
file tells whose it is; without that it counts against every domain (UNIDENTIFIED).
"""

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from tandem_actuator.ports import PortError

PROC = Path("/proc")
RUN_DIR = Path("/run/libvirt/qemu")
NAME_OPTION = b"-name"
UUID_OPTION = b"-uuid"
QEMU_COMM = "qemu"
UNIDENTIFIED = ""


@dataclass(frozen=True)
class QemuProcesses:
    """The QEMU processes of this machine. ``run_dir`` holds libvirt's pid and status files."""

    proc: Path = PROC
    run_dir: Path = RUN_DIR

    def by_domain(self) -> dict[str, list[int]]:
        """Process ids by domain name; UNIDENTIFIED for a stuck QEMU that could be anybody's.

        Raises:
            PortError: /proc cannot be listed.
        """
        found: dict[str, list[int]] = {}
        try:
            pids = [int(entry.name) for entry in self.proc.iterdir() if entry.name.isdigit()]
        except OSError as error:
            raise PortError(f"cannot list {self.proc}: {error}") from error
        for pid in pids:
            name = self.domain_of(pid)
            if name is not None:
                found.setdefault(name, []).append(pid)
        return found

    def of(self, name: str) -> list[int]:
        """Process ids of a domain's QEMU, also of one that is dead but for a stuck thread."""
        return self.by_domain().get(name, [])

    def domain_of(self, pid: int) -> str | None:
        """The domain that a process runs; None for anything that is no QEMU, or gone."""
        process = self.proc / str(pid)
        try:
            arguments = (process / "cmdline").read_bytes()
        except OSError:
            return None
        if arguments:
            return _domain_in(arguments.split(b"\0"))
        return self._owner(pid) if _is_stuck_qemu(process) else None

    def _owner(self, pid: int) -> str:
        for path in self.run_dir.glob("*.pid"):
            try:
                if path.read_text().strip() == str(pid):
                    return path.stem
            except OSError:
                continue
        return UNIDENTIFIED

    def taps(self, pid: int) -> set[str]:
        """Names of the tap interfaces that a process (or a thread left of it) holds open.

        Raises:
            PortError: it is there, but its open files cannot be read.
        """
        found: set[str] = set()
        for task in _tasks(self.proc / str(pid)):
            try:
                entries = list((task / "fdinfo").iterdir())
            except (FileNotFoundError, ProcessLookupError):
                continue
            except OSError as error:
                raise PortError(f"cannot read the open files of {pid}: {error}") from error
            for entry in entries:
                found |= set(_interface(entry))
            if entries:
                break  # threads share their files
        return found


def _domain_in(arguments: list[bytes]) -> str | None:
    if UUID_OPTION not in arguments or NAME_OPTION not in arguments[:-1]:
        return None
    options = arguments[arguments.index(NAME_OPTION) + 1]
    for part in options.split(b","):
        key, _, value = part.partition(b"=")
        if key == b"guest":
            return value.decode(errors="replace")
    return None


def _is_stuck_qemu(process: Path) -> bool:
    """A process without arguments: a kernel thread, a plain zombie, or what is looked for.

    proc(5): /proc/pid/stat is ``pid (comm) state …``, its 20th field is the number of threads.
    """
    try:
        head, _, tail = (process / "stat").read_text().rpartition(")")
    except OSError:
        return False
    comm, fields = head.partition("(")[2], tail.split()
    return comm.startswith(QEMU_COMM) and int(fields[17]) > 1


def _tasks(process: Path) -> Iterator[Path]:
    try:
        yield from list((process / "task").iterdir())
    except OSError:
        return


def _interface(entry: Path) -> Iterator[str]:
    """The interface behind an open file, if it is a tap (its fdinfo has a line ``iff:``)."""
    try:
        text = entry.read_text()
    except OSError:
        return
    for line in text.splitlines():
        key, _, value = line.partition(":")
        if key == "iff" and value.strip():
            yield value.strip()
