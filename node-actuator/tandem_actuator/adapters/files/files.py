"""What is asked of a file system, the real one, and how a file is replaced on it.

Called by the adapters that keep something in files: the durable records, DRBD's files, and what
outlives a run on a tmpfs. Everything here is synchronous and has no timeout: a disk that does not
answer holds up its caller.
"""

import contextlib
import fcntl
import os
from collections.abc import Iterator, Sequence
from functools import lru_cache
from pathlib import Path
from types import TracebackType
from typing import Protocol, Self


class OpenFile(Protocol):
    """``with``: it is closed at the end. What was written is durable only after ``sync``."""

    def write(self, content: bytes) -> None:
        """All of it, or OSError; then a part of it may be there."""
        ...

    def sync(self) -> None:
        """What was written is durable. After an OSError nobody knows what is."""
        ...

    def close(self) -> None: ...

    def __enter__(self) -> Self: ...

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None: ...


class FileSystem(Protocol):
    """One call is one operation, seen whole by every other. All raise OSError, as named by POSIX.

    Names that were made, replaced or removed are durable after ``sync_directory`` of the directory
    that they are in.
    """

    def create(self, path: Path, mode: int) -> OpenFile:
        """An empty file to write to. One that is there is emptied, and keeps its mode."""
        ...

    def read(self, path: Path) -> bytes: ...

    def rename(self, old: Path, new: Path) -> None:
        """Within a directory; a file that has the new name is replaced."""
        ...

    def unlink(self, path: Path) -> None: ...

    def list_names(self, directory: Path) -> Sequence[str]: ...

    def is_directory(self, path: Path) -> bool: ...

    def make_directory(self, path: Path, mode: int) -> None:
        """The directory that it is to be in must be there."""
        ...

    def sync_directory(self, path: Path) -> None: ...

    def lock(self, path: Path, mode: int) -> OpenFile:
        """Make the file if it is not there, and lock it until it is closed or the program ends.

        Raises:
            BlockingIOError: it is locked already.
        """
        ...


class _OsFile:
    """A descriptor."""

    def __init__(self, descriptor: int) -> None:
        self._descriptor = descriptor

    def write(self, content: bytes) -> None:
        left = memoryview(content)
        while left:
            left = left[os.write(self._descriptor, left) :]

    def sync(self) -> None:
        os.fsync(self._descriptor)

    def close(self) -> None:
        os.close(self._descriptor)

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.close()


class OsFiles:
    """This machine's own."""

    def create(self, path: Path, mode: int) -> OpenFile:
        flags = os.O_WRONLY | os.O_CREAT | os.O_TRUNC | os.O_CLOEXEC
        return _OsFile(os.open(path, flags, mode))

    def read(self, path: Path) -> bytes:
        return path.read_bytes()

    def rename(self, old: Path, new: Path) -> None:
        old.replace(new)

    def unlink(self, path: Path) -> None:
        path.unlink()

    def list_names(self, directory: Path) -> Sequence[str]:
        return os.listdir(directory)  # noqa: PTH208  # names are wanted, not paths

    def is_directory(self, path: Path) -> bool:
        return path.is_dir()

    def make_directory(self, path: Path, mode: int) -> None:
        path.mkdir(mode)

    def sync_directory(self, path: Path) -> None:
        descriptor = os.open(path, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
        try:
            os.fsync(descriptor)
        finally:
            os.close(descriptor)

    def lock(self, path: Path, mode: int) -> OpenFile:
        descriptor = os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, mode)
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError:
            os.close(descriptor)
            raise
        return _OsFile(descriptor)


OS_FILES: FileSystem = OsFiles()


def replace_file(
    path: Path, content: bytes, mode: int = 0o644, files: FileSystem = OS_FILES
) -> None:
    """A crash leaves either the old file or the new one, never half of one.

    Durable when it returns: the content is synced before it gets its name, the name after.

    Raises:
        OSError: it could not be written. The old file is untouched, unless it was the last step
            that failed: then either may be there after a crash.
    """
    draft = _draft(path)
    with _removed_on_error(draft, files):
        with files.create(draft, mode) as file:
            file.write(content)
            file.sync()
        files.rename(draft, path)
    files.sync_directory(path.parent)


def swap_file(path: Path, content: bytes, mode: int = 0o644, files: FileSystem = OS_FILES) -> None:
    """Replace a file that nobody needs after a crash of the machine: whole, but not durable.

    Raises:
        OSError: it could not be written; the old file is untouched.
    """
    draft = _draft(path)
    with _removed_on_error(draft, files):
        with files.create(draft, mode) as file:
            file.write(content)
        files.rename(draft, path)


def make_directories(path: Path, mode: int, files: FileSystem = OS_FILES) -> None:
    """Make sure that a directory is there, with those above it, and that it stays.

    It is synced also where it is there already: the run that made it may have been killed before
    it had synced it, and whatever is stored in it would be lost with it.

    Raises:
        OSError: one of them cannot be made.
    """
    if not files.is_directory(path):
        make_directories(path.parent, 0o755, files)
        files.make_directory(path, mode)
    files.sync_directory(path.parent)


@lru_cache(maxsize=1024)
def _draft(path: Path) -> Path:
    """Always the same files are replaced, again and again."""
    return path.with_name(f".{path.name}.new")


@contextlib.contextmanager
def _removed_on_error(draft: Path, files: FileSystem) -> Iterator[None]:
    """A draft that came to nothing must not take up room on what may be a full disk."""
    try:
        yield
    except OSError:
        with contextlib.suppress(OSError):
            files.unlink(draft)
        raise
