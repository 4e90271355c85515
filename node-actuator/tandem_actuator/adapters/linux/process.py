"""Runs a program with a time limit, for the adapters that have to use command-line tools.

It never raises for a program that says no: callers judge the exit code. It never waits for ever:
a program that a frozen device holds in the kernel survives SIGKILL, so it is killed and left
behind, and the caller hears CommandTimeout.
"""

import asyncio
import contextlib
import os
import shlex
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from tandem_actuator.ports import CommandFailed, CommandTimeout, PortError

# drbdadm finds its own helpers by PATH; a service manager may give none.
SEARCH_PATH = "/usr/sbin:/usr/bin:/sbin:/bin"

_left_behind: set[asyncio.Task[int]] = set()


@dataclass(frozen=True)
class Finished:
    """A program that ended by itself. ``words`` is what it had to say, for a message."""

    argv: tuple[str, ...]
    code: int
    stdout: str
    stderr: str

    @property
    def words(self) -> str:
        lines = (self.stderr.strip() or self.stdout.strip()).splitlines()
        return "; ".join(line.strip() for line in lines if line.strip())

    def check(self) -> "Finished":
        """Itself, or CommandFailed with the program's own words."""
        if self.code != 0:
            said = self.words or "it said nothing"
            raise CommandFailed(f"{shlex.join(self.argv)} ended with {self.code}: {said}")
        return self


async def run(
    argv: Sequence[str], *, timeout_s: float, env: Mapping[str, str] | None = None
) -> Finished:
    """Run a program to its end, with no input.

    Raises:
        CommandTimeout: it did not end in time; whether it took effect is unknown.
        PortError: it could not be started.
    """
    environment = {**os.environ, "PATH": SEARCH_PATH, "LC_ALL": "C", **(env or {})}
    try:
        process = await asyncio.create_subprocess_exec(
            *argv,
            stdin=asyncio.subprocess.DEVNULL,
            stdout=asyncio.subprocess.PIPE,
            stderr=asyncio.subprocess.PIPE,
            env=environment,
            start_new_session=True,
        )
    except OSError as error:
        raise PortError(f"cannot run {argv[0]}: {error}") from error
    try:
        async with asyncio.timeout(timeout_s):
            stdout, stderr = await process.communicate()
    except TimeoutError:
        abandon(process)
        raise CommandTimeout(f"{shlex.join(argv)} did not end within {timeout_s:g} s") from None
    except asyncio.CancelledError:
        abandon(process)
        raise
    assert process.returncode is not None
    return Finished(
        tuple(argv), process.returncode, stdout.decode(errors="replace"), stderr.decode()
    )


def abandon(process: asyncio.subprocess.Process) -> None:
    """Kill a program, and reap it whenever the kernel lets go of it."""
    with contextlib.suppress(ProcessLookupError):
        process.kill()
    task = asyncio.get_running_loop().create_task(process.wait())
    _left_behind.add(task)
    task.add_done_callback(_left_behind.discard)
