"""A host's file system: what is written is lost at a power cut, unless it was synced.

``SimFiles`` is a ``FileSystem`` in memory that keeps apart what a program sees and what the disk
surely has. ``sync`` of a file makes its content durable, ``sync_directory`` the names in it; a
rename is whole. A power cut leaves what is durable, and of everything else what chance says: a
name may be there without its content, with a part of it, or still mean the old file. On a tmpfs
nothing outlives a power cut. A program that ends loses its locks and nothing else.

Faults are switched on by ``fail`` and ``damage``. What it cannot do: take long. The port is
synchronous, so that nothing comes between reading and writing; a loop that stands still for a slow
disk is the world's to simulate. Called by ``world`` and by tests.
"""

import errno
import os
import random
from collections.abc import Callable, Iterator
from pathlib import Path
from types import TracebackType
from typing import Self

from sim.host.file_faults import CHANGES, Damage, Directory, Fault, File, Node, Operation, apply

GROWS = frozenset({Operation.CREATE, Operation.WRITE, Operation.MAKE_DIRECTORY})


class _Handle:
    """An open file. It means the file and not the name, which may be another's by now."""

    def __init__(self, files: "SimFiles", path: Path, file: File, *, locks: bool = False) -> None:
        self._files, self._path, self._file, self._locks = files, path, file, locks

    def write(self, content: bytes) -> None:
        try:
            self._files.step(Operation.WRITE, self._path)
        except OSError as error:
            if error.errno == errno.ENOSPC:  # what there was room for is there
                self._file.content += content[: len(content) // 2]
            raise
        self._file.content += content

    def sync(self) -> None:
        try:
            self._files.step(Operation.SYNC, self._path)
        except OSError:
            self._file.lost = True
            raise
        if not self._file.lost:
            self._file.synced = self._file.content

    def close(self) -> None:
        if self._locks:
            self._file.locked = self._locks = False

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.close()


class SimFiles:
    """One file system with its own root. ``tmpfs``: in memory only.

    ``before``: called before each operation, with what and where; tests cut the power in it.
    """

    def __init__(self, chance: random.Random, *, tmpfs: bool = False) -> None:
        self._chance, self._tmpfs = chance, tmpfs
        self._root = Directory()
        self._faults: list[Fault] = []
        self._off = False
        self.read_only = False
        self.full = False
        self.before: Callable[[Operation, Path], None] = lambda operation, path: None

    # -- what a program asks for

    def create(self, path: Path, mode: int) -> _Handle:
        self.step(Operation.CREATE, path)
        return _Handle(self, path, self._opened(path, mode, truncate=True))

    def read(self, path: Path) -> bytes:
        self.step(Operation.READ, path)
        return self._file(path).content

    def rename(self, old: Path, new: Path) -> None:
        self.step(Operation.RENAME, new)
        if old.parts[:-1] != new.parts[:-1]:
            raise _error(errno.EXDEV, old)
        file, directory = self._file(old), self._above(new)
        if isinstance(directory.names.get(new.name), Directory):
            raise _error(errno.EISDIR, new)
        directory.change({old.name: None, new.name: file})

    def unlink(self, path: Path) -> None:
        self.step(Operation.UNLINK, path)
        self._file(path)
        self._above(path).change({path.name: None})

    def list_names(self, directory: Path) -> list[str]:
        self.step(Operation.LIST, directory)
        return list(self._directory(directory).names)

    def is_directory(self, path: Path) -> bool:
        try:
            self._directory(path)
        except OSError:
            return False
        return True

    def make_directory(self, path: Path, mode: int) -> None:
        self.step(Operation.MAKE_DIRECTORY, path)
        directory = self._above(path)
        if path.name in directory.names:
            raise _error(errno.EEXIST, path)
        directory.change({path.name: Directory(mode)})

    def sync_directory(self, path: Path) -> None:
        self.step(Operation.SYNC_DIRECTORY, path)
        self._directory(path).sync()

    def lock(self, path: Path, mode: int) -> _Handle:
        self.step(Operation.LOCK, path)
        file = self._opened(path, mode, truncate=False)
        if file.locked:
            raise _error(errno.EAGAIN, path)
        file.locked = True
        return _Handle(self, path, file, locks=True)

    def mode_of(self, path: Path) -> int:
        """For tests: no program asks."""
        return self._node(path).mode

    def every(self) -> list[Path]:
        """All its files, for tests."""
        found = self._all(self._root, Path("/"))
        return [path for path, node in found if isinstance(node, File)]

    # -- what can happen to it

    def power_cut(self) -> None:
        """From now on it does not answer, until ``power_on``."""
        self._off = True
        self.program_ends()
        if self._tmpfs:
            self._root = Directory()
        else:
            self._crash(self._root, {})

    def power_on(self) -> None:
        """As it was left. A fault of the disk stays."""
        self._off = False

    def program_ends(self) -> None:
        """Killed or not: the kernel drops its locks, and keeps what it has written."""
        for _, node in self._all(self._root, Path("/")):
            if isinstance(node, File):
                node.locked = False

    def fail(
        self,
        operation: Operation,
        number: int = errno.EIO,
        under: Path = Path("/"),
        times: int | None = None,
    ) -> None:
        """From now on this operation ends with that errno, so many times or until ``mend``.

        A sync that fails has lost what it was to keep: a later one succeeds and does not bring
        it back, as it is on Linux.
        """
        self._faults.append(Fault(operation, number, under, times))

    @property
    def well(self) -> bool:
        """Whether every operation works."""
        return not (self._faults or self.read_only or self.full)

    def mend(self) -> None:
        """Every operation works again. What is damaged stays damaged."""
        self._faults.clear()
        self.read_only = self.full = False

    def damage(self, path: Path, how: Damage) -> None:
        """What is on the disk is no longer what was written there."""
        file = self._file(path)
        file.content = file.synced = self._damaged(file.content, how)

    def put(self, path: Path, content: bytes) -> None:
        """A file that somebody else left here, durable."""
        directory = self._root
        for part in path.parts[1:-1]:
            found = directory.names.get(part)
            if found is None:
                directory.change({part: Directory()})
                found = directory.names[part]
            assert isinstance(found, Directory), f"{path}: {part} is a file"
            directory.sync()
            directory = found
        directory.change({path.name: File(0o644, content, content)})
        directory.sync()

    # -- inside

    def step(self, operation: Operation, path: Path) -> None:
        """Before an operation. Raises: OSError."""
        self.before(operation, path)
        if self._off:
            raise _error(errno.EIO, path)
        if self.read_only and operation in CHANGES:
            raise _error(errno.EROFS, path)
        if self.full and operation in GROWS:
            raise _error(errno.ENOSPC, path)
        for fault in self._faults:
            if fault.hits(operation, path):
                raise _error(fault.number, path)

    def _opened(self, path: Path, mode: int, *, truncate: bool) -> File:
        directory = self._above(path)
        found = directory.names.get(path.name)
        if isinstance(found, Directory):
            raise _error(errno.EISDIR, path)
        if found is None:
            found = File(mode)
            directory.change({path.name: found})
        elif truncate:
            found.content = b""
        found.lost = found.lost and not truncate
        return found

    def _node(self, path: Path) -> Node:
        node: Node | None = self._root
        for part in path.parts[1:]:
            if not isinstance(node, Directory):
                raise _error(errno.ENOTDIR, path)
            node = node.names.get(part)
            if node is None:
                raise _error(errno.ENOENT, path)
        assert node is not None
        return node

    def _file(self, path: Path) -> File:
        node = self._node(path)
        if isinstance(node, Directory):
            raise _error(errno.EISDIR, path)
        return node

    def _directory(self, path: Path) -> Directory:
        node = self._node(path)
        if isinstance(node, File):
            raise _error(errno.ENOTDIR, path)
        return node

    def _above(self, path: Path) -> Directory:
        """The directory that it is in, or is to be in."""
        node: Node | None = self._root
        for part in path.parts[1:-1]:
            node = node.names.get(part) if isinstance(node, Directory) else None
        return node if isinstance(node, Directory) else self._directory(path.parent)

    def _all(self, directory: Directory, path: Path) -> Iterator[tuple[Path, Node]]:
        for name, node in directory.names.items():
            yield path / name, node
            if isinstance(node, Directory):
                yield from self._all(node, path / name)

    def _crash(self, directory: Directory, seen: dict[File, None]) -> None:
        """Only a part of what was not synced has reached the disk, in no order."""
        left = dict(directory.synced)
        for change in directory.changes:
            if self._chance.random() < 0.5:
                apply(left, change.names)
        directory.names = left
        directory.sync()
        for node in left.values():
            if isinstance(node, Directory):
                self._crash(node, seen)
            elif node not in seen:
                seen[node] = None
                self._crash_file(node)

    def _crash_file(self, file: File) -> None:
        if file.content != file.synced:
            torn = [self._damaged(file.content, how) for how in (Damage.TORN, Damage.ZEROED)]
            file.content = self._chance.choice([file.synced, file.content, b"", *torn])
        file.synced, file.lost = file.content, False

    def _damaged(self, content: bytes, how: Damage) -> bytes:
        match how:
            case Damage.EMPTY:
                return b""
            case Damage.ZEROED:
                return bytes(len(content))
            case Damage.TORN:
                return content[: self._chance.randrange(max(1, len(content)))]
            case Damage.FLIPPED:
                at = self._chance.randrange(max(1, len(content)))
                flipped = bytes(
                    byte ^ (1 << self._chance.randrange(8)) for byte in content[at:][:1]
                )
                return content[:at] + flipped + content[at + 1 :]


def _error(number: int, path: Path) -> OSError:
    return OSError(number, os.strerror(number), str(path))
