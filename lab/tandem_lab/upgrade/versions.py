"""The files of a revision, as a host or the third place has them installed.

The programs, their definitions and manifests are the revision's. What makes a host of the lab boot
(lab/rootfs) is this checkout's: it is no part of the product, and an older one boots no image of
today. A revision whose programs need other Python packages than today's image has cannot be played.
"""

from __future__ import annotations

import shutil
from pathlib import Path

from tandem_lab.settings import SOURCE_DIR, LabError
from tandem_lab.shell import run
from tandem_lab.source import Checkout, pyproject

FOLDERS = ("base", "controller", "crds", "kube", "manifests", "node-actuator")
ROOTFS = "lab/rootfs"
ACTUATOR_SETTINGS = "node-actuator/tandem_actuator/settings.py"
LAWFUL = "controller/tandem_controller/decide/world/lawful.py"
GIT_TIMEOUT_S = 60.0
MOVES = "crds/tandem.dev_guestmoves.yaml"


def unpack(revision: str, below: Path) -> Checkout:
    """The revision's files, in a folder of its own. LabError: there is no such revision, or it
    needs packages that today's hosts do not have.
    """
    commit = _git("rev-parse", "--short", f"{revision}^{{commit}}").strip()
    directory = below / commit
    shutil.rmtree(directory, ignore_errors=True)
    directory.mkdir(parents=True)
    archive = below / f"{commit}.tar"
    _git("archive", f"--output={archive}", commit, *FOLDERS, "pyproject.toml")
    run(["tar", "-xf", archive, "-C", directory])
    archive.unlink()
    shutil.copytree(SOURCE_DIR / ROOTFS, directory / ROOTFS)
    if not (directory / MOVES).exists():
        raise LabError(f"{revision} has no GuestMove, by which guests are moved and sent home here")
    missing = sorted(_packages(directory) - _packages(SOURCE_DIR))
    if missing:
        raise LabError(f"{revision} needs what today's hosts do not have: {', '.join(missing)}")
    checkout = Checkout(commit, directory)
    checkout.compile()
    return checkout


def sends_guests(checkout: Checkout) -> bool:
    """Whether its hosts can send each other guests as these run."""
    return checkout.names("migration_port", ACTUATOR_SETTINGS)


def calls_handovers_unlawful(checkout: Checkout) -> bool:
    """Whether its controller takes each live move's handover for a forged authority (condition
    Lawful), as all did until 1 December 2026.
    """
    return sends_guests(checkout) and not checkout.names("hands_over(", LAWFUL)


def _packages(directory: Path) -> set[str]:
    project = pyproject(directory)["project"]
    extras = project.get("optional-dependencies", {})
    return {*project.get("dependencies", []), *extras.get("node-actuator", [])}


def _git(*arguments: str) -> str:
    return run(["git", "-C", SOURCE_DIR, *arguments], timeout_s=GIT_TIMEOUT_S)
