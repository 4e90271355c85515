"""What can go wrong with a simulated file system, and what it keeps of each file."""

from dataclasses import dataclass, field
from enum import StrEnum
from pathlib import Path


class Operation(StrEnum):
    """What a program can ask for, one step each; between any two of them power may be cut."""

    CREATE = "create"
    WRITE = "write"
    SYNC = "sync"
    READ = "read"
    RENAME = "rename"
    UNLINK = "unlink"
    LIST = "list"
    MAKE_DIRECTORY = "make directory"
    SYNC_DIRECTORY = "sync directory"
    LOCK = "lock"


CHANGES = frozenset(
    {
        Operation.CREATE,
        Operation.WRITE,
        Operation.RENAME,
        Operation.UNLINK,
        Operation.MAKE_DIRECTORY,
    }
)


class Damage(StrEnum):
    """What can become of a file's content, on the disk as well."""

    EMPTY = "empty"
    TORN = "torn"
    FLIPPED = "flipped"
    ZEROED = "zeroed"


@dataclass(eq=False)
class File:
    """``synced``: what the disk surely has. ``lost``: written before a sync that failed, and so
    not written by a later one that says it succeeds.
    """

    mode: int
    content: bytes = b""
    synced: bytes = b""
    lost: bool = False
    locked: bool = False


@dataclass(frozen=True)
class _Change:
    """Of the names in a directory, all at once: what each of them means after it."""

    names: dict[str, "Node | None"]


@dataclass(eq=False)
class Directory:
    """``names`` as programs see them; ``synced`` as the disk surely has them; ``changes``: how the
    one became the other, in order.
    """

    mode: int = 0o755
    names: dict[str, "Node"] = field(default_factory=dict)
    synced: dict[str, "Node"] = field(default_factory=dict)
    changes: list[_Change] = field(default_factory=list)

    def change(self, names: dict[str, "Node | None"]) -> None:
        apply(self.names, names)
        self.changes.append(_Change(names))

    def sync(self) -> None:
        self.synced = dict(self.names)
        self.changes.clear()


Node = File | Directory


def apply(names: dict[str, Node], change: dict[str, Node | None]) -> None:
    for name, node in change.items():
        if node is None:
            names.pop(name, None)
        else:
            names[name] = node


@dataclass
class Fault:
    """``times``: how often it still happens; None: until it is mended."""

    operation: Operation
    number: int
    under: Path
    times: int | None

    def hits(self, operation: Operation, path: Path) -> bool:
        if operation is not self.operation or self.times == 0:
            return False
        if path != self.under and self.under not in path.parents:
            return False
        if self.times is not None:
            self.times -= 1
        return True
