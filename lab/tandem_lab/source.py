"""The project's own packages, as site hosts see them: mounted from the checkout, read-only.

Which folders these are is read from pyproject.toml, so that a new package needs no change here.
"""

from __future__ import annotations

import compileall
import tomllib
from functools import cache
from typing import Any

from tandem_lab.settings import SOURCE_DIR

# Mounted, but of no use in a host.
NOT_FOR_HOSTS = ("controller", "lab", "tests")


@cache
def pyproject() -> dict[str, Any]:
    """The project's pyproject.toml."""
    return tomllib.loads((SOURCE_DIR / "pyproject.toml").read_text())


def source_folders() -> list[str]:
    """Folders of the checkout that programs in a host import packages from."""
    folders: list[str] = pyproject()["tool"]["hatch"]["build"]["dev-mode-dirs"]
    return [folder for folder in folders if folder not in NOT_FOR_HOSTS]


def compile_sources() -> None:
    """Byte-compile them: a host cannot keep the result, and would compile at each start."""
    for folder in source_folders():
        compileall.compile_dir(SOURCE_DIR / folder, quiet=2)
