"""The user-mode Linux kernel: Debian's package, and the library that it is started with."""

from __future__ import annotations

from pathlib import Path

from tandem_lab.settings import LAB_DIR
from tandem_lab.setup import stamps
from tandem_lab.setup.packages import KERNEL_PACKAGE
from tandem_lab.shell import run

PRELOAD_SOURCE = LAB_DIR / "kernel/xstate.c"
KERNEL_RECIPE = stamps.digest(["kernel 1", KERNEL_PACKAGE])


def preload_stamp() -> str:
    """Changes when the library must be compiled again."""
    return stamps.digest(["preload 1", PRELOAD_SOURCE])


def compile_preload(library: Path) -> None:
    """Compile what lets the kernel run on processors with AMX; see its source."""
    run(["gcc", "-Wall", "-Werror", "-O2", "-shared", "-fPIC", "-o", library, PRELOAD_SOURCE])
