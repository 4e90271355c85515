"""The user-mode Linux kernel: Debian's package, and the library that it is started with."""

from __future__ import annotations

from pathlib import Path

from tandem_lab import apt
from tandem_lab.settings import LAB_DIR, LabError, Settings
from tandem_lab.setup import stamps
from tandem_lab.setup.packages import KERNEL_PACKAGE, KERNEL_REVISION, KERNEL_VERSION
from tandem_lab.shell import run

PRELOAD_SOURCE = LAB_DIR / "kernel/xstate.c"
# Not the revision: a kernel that is there already is the right one if it says so of itself.
KERNEL_RECIPE = stamps.digest(["kernel 1", KERNEL_PACKAGE])
MODULES = "usr/lib/uml/modules"


def preload_stamp() -> str:
    """Changes when the library must be compiled again."""
    return stamps.digest(["preload 1", PRELOAD_SOURCE])


def compile_preload(library: Path) -> None:
    """Compile what lets the kernel run on processors with AMX; see its source."""
    run(["gcc", "-Wall", "-Werror", "-O2", "-shared", "-fPIC", "-o", library, PRELOAD_SOURCE])


def unpack_kernel(target: Path, progress: apt.Progress) -> None:
    """The pinned revision, or, if the archive has moved on, the one that it has."""
    pinned = f"{KERNEL_PACKAGE}={KERNEL_REVISION}"
    if not apt.offers(KERNEL_PACKAGE, KERNEL_REVISION):
        progress(f"apt knows no {pinned} (Linux {KERNEL_VERSION}): taking the one that it has")
        pinned = KERNEL_PACKAGE
    apt.unpack_packages([pinned], target, progress)


def kernel_version(settings: Settings) -> str:
    """Of the lab's kernel, as it calls itself; LabError if there is none yet."""
    found = sorted(path.name for path in (settings.kernel_dir / MODULES).glob("*"))
    if len(found) != 1:
        raise LabError(f"{settings.kernel_dir} has no kernel's modules: run `tandem-lab setup`")
    return found[0]
