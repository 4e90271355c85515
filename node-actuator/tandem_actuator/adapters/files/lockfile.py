"""One actuator per host: an exclusive lock that the kernel drops when its holder is gone.

An actuator may use what an earlier run on the same boot was granted only because this lock proves
that the earlier run has ended. So it is taken before anything else and held until the end.
"""

import contextlib
import os
from pathlib import Path
from types import TracebackType
from typing import Self

from tandem_actuator.adapters.files.files import OS_FILES, FileSystem, OpenFile, make_directories
from tandem_actuator.ports import PortError


class LockHeld(PortError):
    """Another actuator runs on this host."""


class HostLock:
    """``with HostLock(path):`` holds the lock, or raises LockHeld at once."""

    def __init__(
        self, path: Path, files: FileSystem = OS_FILES, process_id: int | None = None
    ) -> None:
        self.path, self._files = path, files
        self._process_id = os.getpid() if process_id is None else process_id
        self._held: OpenFile | None = None

    def acquire(self) -> None:
        """Take the lock without waiting.

        Raises:
            LockHeld: another process has it; the message gives its process id.
            PortError: the file cannot be opened.
        """
        try:
            make_directories(self.path.parent, 0o755, self._files)
            self._held = self._files.lock(self.path, 0o600)
        except BlockingIOError:
            raise LockHeld(
                f"another actuator runs on this host (process {self._holder()}; lock {self.path})"
            ) from None
        except OSError as error:
            raise PortError(f"cannot open the lock {self.path}: {error}") from error
        # Who holds it is for people only: a full disk is no reason not to run.
        with contextlib.suppress(OSError), self._files.create(self.path, 0o600) as file:
            file.write(f"{self._process_id}\n".encode())

    def _holder(self) -> str:
        try:
            return self._files.read(self.path).decode(errors="replace").strip() or "unknown"
        except OSError:
            return "unknown"

    def release(self) -> None:
        """Give it up. The file stays: removing it would let two processes hold two files."""
        if self._held is not None:
            self._held.close()
            self._held = None

    def __enter__(self) -> Self:
        self.acquire()
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.release()
