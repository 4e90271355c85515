"""Runs programs on this machine, always with a time limit and an error that says what they said.

Used by the modules that set the lab up. Commands inside a site host go through agent_client.
"""

from __future__ import annotations

import subprocess
from collections.abc import Mapping, Sequence
from pathlib import Path

from tandem_lab.settings import LabError

DEFAULT_TIMEOUT_S = 30.0
SAID_CHARACTERS = 3000


class ProgramError(LabError):
    """A program on this machine failed."""


def run(
    argv: Sequence[str | Path],
    *,
    timeout_s: float = DEFAULT_TIMEOUT_S,
    stdin: str | None = None,
    cwd: Path | None = None,
    env: Mapping[str, str] | None = None,
) -> str:
    """Run `argv` and return its standard output; ProgramError unless it exits 0 in time."""
    command = [str(word) for word in argv]
    try:
        result = subprocess.run(
            command,
            input=stdin,
            stdin=subprocess.DEVNULL if stdin is None else None,
            capture_output=True,
            text=True,
            errors="replace",
            timeout=timeout_s,
            cwd=cwd,
            env=env,
            check=False,
        )
    except subprocess.TimeoutExpired as error:
        raise ProgramError(f"{' '.join(command)}: still running after {timeout_s:g} s") from error
    if result.returncode != 0:
        said = (result.stdout + result.stderr)[-SAID_CHARACTERS:].strip()
        raise ProgramError(f"{' '.join(command)}: exit code {result.returncode}\n{said}")
    return result.stdout
