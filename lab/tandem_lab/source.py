"""The project's own packages, as site hosts see them: mounted from a checkout, read-only.

Usually that is the checkout that this module is in, for all hosts and for what runs at the third
place. To play an upgrade, each host may have another: a link in the host's folder says which. Which
folders have packages is read from pyproject.toml, so that a new package needs no change here.
"""

from __future__ import annotations

import compileall
import os
import tomllib
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any

from tandem_lab.settings import SOURCE_DIR

# Mounted, but of no use in a host.
NOT_FOR_HOSTS = ("controller", "lab", "tests")


@dataclass(frozen=True)
class Checkout:
    """All files of one version of the project. ``name``: what people call it."""

    name: str
    directory: Path

    @property
    def here(self) -> bool:
        """Whether it is the one that this program runs from."""
        return self.directory == SOURCE_DIR

    @property
    def package_folders(self) -> list[str]:
        """Folders that packages are imported from."""
        folders: list[str] = pyproject(self.directory)["tool"]["hatch"]["build"]["dev-mode-dirs"]
        return folders

    @property
    def environment(self) -> dict[str, str]:
        """What a Python of this machine needs to import from it rather than from here."""
        if self.here:
            return {}
        folders = (str(self.directory / folder) for folder in self.package_folders)
        return {"PYTHONPATH": os.pathsep.join(folders)}

    def names(self, word: str, path: str) -> bool:
        """Whether a file of it has the word: whether it knows a setting, say. False: no file."""
        file = self.directory / path
        return file.exists() and word in file.read_text()

    def compile(self) -> None:
        """Byte-compile it: a host cannot keep the result, and would compile at each start."""
        for folder in self.package_folders:
            if folder not in NOT_FOR_HOSTS:
                compileall.compile_dir(self.directory / folder, quiet=2)

    def give(self, link: Path) -> None:
        """What the link's host sees from now on; what it has read already stays as it was."""
        link.parent.mkdir(parents=True, exist_ok=True)
        new = link.with_suffix(".new")
        new.unlink(missing_ok=True)
        new.symlink_to(self.directory)
        new.rename(link)


HERE = Checkout("this checkout", SOURCE_DIR)


@cache
def pyproject(directory: Path = SOURCE_DIR) -> dict[str, Any]:
    """The project's pyproject.toml."""
    return tomllib.loads((directory / "pyproject.toml").read_text())


def source_folders() -> list[str]:
    """Folders of the checkout that programs in a host import packages from."""
    return [folder for folder in HERE.package_folders if folder not in NOT_FOR_HOSTS]
