"""Which Python packages the site hosts need: what pyproject says the node actuator depends on.

Used to build the root image. It builds wheels here, since a site host has no network and no
compiler.
"""

from __future__ import annotations

import sys
from pathlib import Path

from tandem_lab.shell import run
from tandem_lab.source import pyproject

WHEELS_TIMEOUT_S = 900.0
EXTRA = "node-actuator"


def actuator_requirements() -> list[str]:
    """`[project] dependencies` and the actuator's extra."""
    project = pyproject()["project"]
    extras: dict[str, list[str]] = project.get("optional-dependencies", {})
    return [*project.get("dependencies", []), *extras.get(EXTRA, [])]


def build_wheels(requirements: list[str], directory: Path) -> None:
    """Wheels of `requirements` and of what they need, for this machine's Python."""
    directory.mkdir(parents=True)
    run(
        [sys.executable, "-m", "pip", "wheel", "-q", "-w", directory, *requirements],
        timeout_s=WHEELS_TIMEOUT_S,
    )
