"""A real directory and a simulated one, for tests that hold for both."""

import random
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from sim.host.files import SimFiles
from tandem_actuator.adapters.files.files import FileSystem, OsFiles


@dataclass(frozen=True)
class Place:
    """``root`` is a directory that is there, and empty."""

    files: FileSystem
    root: Path
    mode_of: Callable[[Path], int]

    def put(self, path: Path, content: bytes) -> None:
        """What somebody else has left there."""
        with self.files.create(path, 0o644) as file:
            file.write(content)


def real_place(root: Path) -> Place:
    return Place(OsFiles(), root, lambda path: path.stat().st_mode & 0o777)


def simulated_place() -> Place:
    files, root = SimFiles(random.Random(1)), Path("/base")
    files.make_directory(root, 0o755)
    return Place(files, root, files.mode_of)
