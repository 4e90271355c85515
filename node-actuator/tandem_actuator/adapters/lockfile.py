"""One actuator per host: an exclusive lock that the kernel drops when its holder is gone.

An actuator may use what an earlier run on the same boot was granted only because this lock proves
that the earlier run has ended. So it is taken before anything else and held until the end.
"""

import fcntl
import os
from pathlib import Path
from types import TracebackType
from typing import Self

from tandem_actuator.ports import PortError


class LockHeld(PortError):
    """Another actuator runs on this host."""


class HostLock:
    """``with HostLock(path):`` holds the lock, or raises LockHeld at once."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self._descriptor: int | None = None

    def acquire(self) -> None:
        """Take the lock without waiting.

        Raises:
            LockHeld: another process has it; the message gives its process id.
            PortError: the file cannot be opened.
        """
        try:
            self.path.parent.mkdir(parents=True, exist_ok=True)
            descriptor = os.open(self.path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
        except OSError as error:
            raise PortError(f"cannot open the lock {self.path}: {error}") from error
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            holder = os.read(descriptor, 32).decode(errors="replace").strip() or "unknown"
            os.close(descriptor)
            raise LockHeld(
                f"another actuator runs on this host (process {holder}; lock {self.path})"
            ) from None
        os.truncate(descriptor, 0)
        os.write(descriptor, f"{os.getpid()}\n".encode())
        self._descriptor = descriptor

    def release(self) -> None:
        """Give it up. The file stays: removing it would let two processes hold two files."""
        if self._descriptor is not None:
            os.close(self._descriptor)
            self._descriptor = None

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
