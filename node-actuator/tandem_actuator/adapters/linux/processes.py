"""/proc, pidfds and libvirt's run directory behind ``libvirt_ports.Processes``. Decides nothing.

Reading of /proc can hang on a process that the kernel holds, so it happens in threads. Put in by
``assembly``.
"""

import asyncio
import contextlib
import os
import signal
from collections.abc import Callable, Collection, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TypeVar

from tandem_actuator.adapters.libvirt.ports import ProcessText
from tandem_actuator.adapters.linux.threads import in_thread
from tandem_actuator.ports import PortError

T = TypeVar("T")

PROC = Path("/proc")
RUN_DIR = Path("/run/libvirt/qemu")


@dataclass(frozen=True)
class LinuxProcesses:
    """``run_dir`` holds libvirt's pid and status files."""

    proc: Path = PROC
    run_dir: Path = RUN_DIR

    async def select(self, wanted: Callable[[ProcessText], T | None]) -> list[T]:
        def scan() -> list[T]:
            found = (wanted(text) for pid in self._pids() if (text := self._text(pid)))
            return [one for one in found if one is not None]

        return await in_thread(scan, "proc-scan")

    async def look(self, pid: int) -> ProcessText | None:
        return await in_thread(lambda: self._text(pid), "proc-look")

    async def first_threads(self, pids: Collection[int]) -> Mapping[int, bytes]:
        def look() -> dict[int, bytes]:
            found = {pid: self._first_thread(pid) for pid in pids}
            return {pid: stat for pid, stat in found.items() if stat}

        return await in_thread(look, "proc-threads")

    async def threads(self, pids: Collection[int]) -> Mapping[int, list[bytes]]:
        def look() -> dict[int, list[bytes]]:
            found = {pid: self._threads(pid) for pid in pids}
            return {pid: stats for pid, stats in found.items() if stats}

        return await in_thread(look, "proc-threads")

    async def open(self, pid: int) -> "PidHandle | None":
        try:
            return PidHandle(os.pidfd_open(pid))
        except ProcessLookupError:
            return None
        except OSError as error:
            raise PortError(f"cannot open process {pid}: {error}") from error

    async def taps(self, pid: int) -> set[str]:
        return await in_thread(lambda: self._taps(pid), "proc-taps")

    async def pid_files(self) -> Mapping[str, bytes]:
        return await in_thread(lambda: dict(self._pid_files()), "proc-files")

    async def status_file(self, name: str) -> bytes | None:
        return await in_thread(lambda: _content(self.run_dir / f"{name}.xml"), "proc-files")

    def _pids(self) -> list[int]:
        try:
            return [int(entry.name) for entry in self.proc.iterdir() if entry.name.isdigit()]
        except OSError as error:
            raise PortError(f"cannot list {self.proc}: {error}") from error

    def _text(self, pid: int) -> ProcessText | None:
        process = self.proc / str(pid)
        try:
            cmdline = (process / "cmdline").read_bytes()
            return ProcessText(pid, cmdline, b"" if cmdline else (process / "stat").read_bytes())
        except (FileNotFoundError, ProcessLookupError):
            return None
        except OSError as error:
            raise PortError(f"cannot read process {pid}: {error}") from error

    def _first_thread(self, pid: int) -> bytes:
        try:
            return _stat(self.proc / str(pid) / "task" / str(pid))
        except OSError as error:
            raise PortError(f"cannot read the first thread of {pid}: {error}") from error

    def _threads(self, pid: int) -> list[bytes]:
        try:
            return [_stat(task) for task in list((self.proc / str(pid) / "task").iterdir())]
        except (FileNotFoundError, ProcessLookupError):
            return []
        except OSError as error:
            raise PortError(f"cannot read the threads of {pid}: {error}") from error

    def _taps(self, pid: int) -> set[str]:
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

    def _pid_files(self) -> Iterator[tuple[str, bytes]]:
        for path in self.run_dir.glob("*.pid"):
            content = _content(path)
            if content is not None:
                yield path.stem, content


class PidHandle:
    """A pidfd."""

    def __init__(self, descriptor: int) -> None:
        self._descriptor = descriptor

    def send(self, number: int) -> None:
        try:
            signal.pidfd_send_signal(self._descriptor, number)
        except ProcessLookupError:
            return
        except OSError as error:
            raise PortError(f"cannot send signal {number}: {error}") from error

    async def ended(self) -> None:
        """A pidfd is readable once the last thread is gone, not when the first is a zombie."""
        loop = asyncio.get_running_loop()
        gone = asyncio.Event()
        loop.add_reader(self._descriptor, gone.set)
        try:
            await gone.wait()
        finally:
            loop.remove_reader(self._descriptor)

    def close(self) -> None:
        os.close(self._descriptor)


def _content(path: Path) -> bytes | None:
    with contextlib.suppress(OSError):
        return path.read_bytes()
    return None


def _stat(task: Path) -> bytes:
    """Empty: it has ended. Raises: OSError."""
    with contextlib.suppress(FileNotFoundError, ProcessLookupError):
        return (task / "stat").read_bytes()
    return b""


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
