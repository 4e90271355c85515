"""Another DRBD for the lab's hosts than their kernel's own: modules from a folder that is given.

It reads and judges files; hosts load them while they boot (lab/rootfs/services/boot). Nothing is
built and nothing fetched, and without a folder hosts run what their kernel has. Called by
`SiteHost` before each boot, by `Deployment` and by tests.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from pathlib import Path

from tandem_lab.settings import MODULES_VARIABLE, LabError, Settings
from tandem_lab.setup.kernel import kernel_version

# What must be there. Others that these need may be beside them.
NAMES = ("drbd.ko", "drbd_transport_tcp.ko")


@dataclass(frozen=True)
class DrbdModules:
    """Modules that fit the lab's kernel, DRBD's own all of one version."""

    files: tuple[Path, ...]
    version: str

    @property
    def major(self) -> int:
        return int(self.version.split(".")[0])


def given_modules(settings: Settings, folder: Path | None) -> DrbdModules | None:
    """The modules of this folder, which hosts are to load; None: their kernel's own.

    LabError names the file that cannot be used, and why.
    """
    if folder is None:
        return None
    kernel = kernel_version(settings)
    files = tuple(folder / name for name in NAMES)
    others = sorted(set(folder.glob("*.ko")) - set(files))
    versions = [_version(path, kernel) for path in files]
    for path in others:
        _version(path, kernel)
    if len(set(versions)) != 1:
        told = ", ".join(f"{path.name} is {v}" for path, v in zip(files, versions, strict=True))
        raise LabError(
            f"{MODULES_VARIABLE}={folder}: modules of several DRBDs ({told});"
            " give a folder with those of one"
        )
    return DrbdModules((*files, *others), versions[0])


def _version(path: Path, kernel: str) -> str:
    """What version a module says that it is, if this kernel loads it; may be empty."""
    try:
        content = path.read_bytes()
    except OSError as error:
        raise LabError(
            f"{MODULES_VARIABLE}: {path} cannot be read ({error.strerror}); it names a folder with"
            f" {' and '.join(NAMES)}"
        ) from error
    built_for = _said(content, "vermagic").split()
    if not built_for:
        raise LabError(
            f"{MODULES_VARIABLE}: {path} is no module of a kernel, or compressed: it says no"
            " vermagic"
        )
    if built_for[0] != kernel:
        raise LabError(
            f"{MODULES_VARIABLE}: {path} is built for Linux {built_for[0]}, and the lab's kernel is"
            f" {kernel}: build it for that one, or unset {MODULES_VARIABLE}"
        )
    return _said(content, "version")


def _said(content: bytes, key: str) -> str:
    """What a module says of itself (`modinfo`); empty if it does not."""
    found = re.search(rb"(?:^|\0)%s=([^\0]*)\0" % key.encode(), content)
    return found[1].decode(errors="replace").strip() if found else ""
