"""Finds the QEMU processes of a domain in /proc, without asking libvirt or QEMU.

libvirt may hang, or lose sight of a QEMU that a frozen disk holds in the kernel; what still has the
disk open is only known to the kernel. A QEMU is told by its arguments: libvirt starts each with
``-name guest=NAME,…``. Called by the libvirt and network adapters, in their threads.

A killed QEMU whose disk is frozen is a zombie with one more thread that is alive in the kernel: the
process has no arguments any more, but that thread has, and it holds every open file.
"""

from collections.abc import Iterator
from pathlib import Path

from tandem_actuator.ports import PortError

PROC = Path("/proc")
NAME_OPTION = b"-name"
# What identifies a QEMU besides its name option: libvirt always gives the domain's uuid.
UUID_OPTION = b"-uuid"


def pids_by_domain(proc: Path = PROC) -> dict[str, list[int]]:
    """Process ids of all QEMU processes that libvirt started, by domain name.

    Raises:
        PortError: /proc cannot be listed.
    """
    found: dict[str, list[int]] = {}
    for pid in _pids(proc):
        name = _domain_of(proc / str(pid))
        if name:
            found.setdefault(name, []).append(pid)
    return found


def pids_of(name: str, proc: Path = PROC) -> list[int]:
    """Process ids of a domain's QEMU, also of one that is dead but for a stuck thread."""
    return pids_by_domain(proc).get(name, [])


def taps_of(pid: int, proc: Path = PROC) -> set[str]:
    """Names of the tap interfaces that a process (or a thread left of it) holds open.

    Raises:
        PortError: it is there, but its open files cannot be read.
    """
    found: set[str] = set()
    for task in _tasks(proc / str(pid)):
        try:
            entries = list((task / "fdinfo").iterdir())
        except (FileNotFoundError, ProcessLookupError):
            continue
        except PermissionError as error:
            raise PortError(f"cannot read the open files of process {pid}: {error}") from error
        for entry in entries:
            found |= set(_interface(entry))
        if entries:
            break  # threads share their files
    return found


def _pids(proc: Path) -> list[int]:
    try:
        return [int(entry.name) for entry in proc.iterdir() if entry.name.isdigit()]
    except OSError as error:
        raise PortError(f"cannot list {proc}: {error}") from error


def _domain_of(process: Path) -> str | None:
    """The domain that a process runs; None for anything that is no QEMU, or gone."""
    arguments = _arguments(process)
    if arguments is None or not any(arguments):
        # No arguments: a kernel thread, or a zombie, of which threads may be left.
        for task in _tasks(process):
            arguments = _arguments(task)
            if arguments and any(arguments):
                break
    if not arguments or UUID_OPTION not in arguments or NAME_OPTION not in arguments:
        return None
    position = arguments.index(NAME_OPTION) + 1
    if position >= len(arguments):
        return None
    for part in arguments[position].split(b","):
        key, _, value = part.partition(b"=")
        if key == b"guest":
            return value.decode(errors="replace")
    return None


def _arguments(process: Path) -> list[bytes] | None:
    try:
        return (process / "cmdline").read_bytes().split(b"\0")
    except OSError:
        return None


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
