"""Runs commands in a site host through its agent (lab/rootfs/agent.py), over the out-of-band link.

It works whatever links are cut, as long as the host runs. Used by SiteHost.
"""

from __future__ import annotations

import json
import select
import socket
import struct
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

from tandem_lab.namespace import connect
from tandem_lab.settings import LabError

PORT = 7000
CONNECT_TIMEOUT_S = 2.0
# How much longer than the command's own limit an answer may take: the agent enforces the limit.
ANSWER_GRACE_S = 5.0
FOLLOW_TIMEOUT_S = 86400.0
HEADER = struct.Struct(">cI")

OnOutput = Callable[[str, bytes], None]


class HostUnreachableError(LabError):
    """The agent did not answer: the host is dead, paused, stuck, or not up yet."""


class CommandError(LabError):
    """A command in a site host failed or ran out of time."""


@dataclass(frozen=True)
class CommandResult:
    """What a command in a site host did. `exit_code` is None if it ran out of time."""

    host: str
    argv: tuple[str, ...]
    exit_code: int | None
    stdout: str
    stderr: str
    duration_s: float

    @property
    def ok(self) -> bool:
        """True if it ended by itself with exit code 0."""
        return self.exit_code == 0

    def check(self) -> CommandResult:
        """Itself if it went well, else CommandError with what it said."""
        if self.ok:
            return self
        how = "ran out of time" if self.exit_code is None else f"exit code {self.exit_code}"
        said = (self.stdout + self.stderr)[-2000:].strip()
        raise CommandError(
            f"{self.host}: {' '.join(self.argv)}: {how} after {self.duration_s:.1f} s\n{said}"
        )


@dataclass(frozen=True)
class AgentAddress:
    """How to reach one host's agent."""

    host: str
    namespace: str
    address: str


def run_in_host(
    agent: AgentAddress,
    argv: Sequence[str],
    *,
    timeout_s: float,
    stdin: bytes = b"",
    env: Mapping[str, str] | None = None,
    on_output: OnOutput | None = None,
) -> CommandResult:
    """Run `argv` in the host; HostUnreachableError if no answer comes in time.

    `on_output` is called with "stdout" or "stderr" and bytes as they arrive; the result holds
    all output either way.
    """
    started = time.monotonic()
    request = {
        "argv": list(argv),
        "timeout_s": timeout_s,
        "stdin_bytes": len(stdin),
        "env": dict(env or {}),
    }
    try:
        connection = connect(agent.namespace, (agent.address, PORT), CONNECT_TIMEOUT_S)
        with connection:
            connection.settimeout(timeout_s + ANSWER_GRACE_S)
            connection.sendall(json.dumps(request).encode() + b"\n" + stdin)
            exit_code, output = _collect(connection, on_output)
    except OSError as error:
        raise HostUnreachableError(f"{agent.host}: {' '.join(argv)}: {error}") from error
    return CommandResult(
        host=agent.host,
        argv=tuple(argv),
        exit_code=exit_code,
        stdout=output["stdout"].decode(errors="replace"),
        stderr=output["stderr"].decode(errors="replace"),
        duration_s=time.monotonic() - started,
    )


def follow_in_host(
    agent: AgentAddress,
    argv: Sequence[str],
    on_line: Callable[[str], None],
    patience: Callable[[float], bool],
) -> None:
    """Run a command that prints lines for as long as it is listened to.

    Ends, with OSError, when the connection breaks, or when `patience` says no: it is asked after
    each second without a line, with the seconds since the last one.
    """
    request = {"argv": list(argv), "timeout_s": FOLLOW_TIMEOUT_S}
    with connect(agent.namespace, (agent.address, PORT), CONNECT_TIMEOUT_S) as connection:
        connection.sendall(json.dumps(request).encode() + b"\n")
        connection.settimeout(ANSWER_GRACE_S)
        rest, heard_s = b"", time.monotonic()
        while True:
            if not select.select([connection], [], [], 1.0)[0]:
                if not patience(time.monotonic() - heard_s):
                    raise OSError(f"{agent.host} is silent")
                continue
            kind, length = HEADER.unpack(_read_exactly(connection, HEADER.size))
            data = _read_exactly(connection, length)
            if kind not in b"oe":
                raise OSError(f"{agent.host}: {argv[0]} ended: {data.decode(errors='replace')}")
            heard_s = time.monotonic()
            *lines, rest = (rest + data).split(b"\n")
            for line in lines:
                on_line(line.decode(errors="replace"))


def _collect(
    connection: socket.socket, on_output: OnOutput | None
) -> tuple[int | None, dict[str, bytearray]]:
    output = {"stdout": bytearray(), "stderr": bytearray()}
    streams = {b"o": "stdout", b"e": "stderr"}
    while True:
        kind, length = HEADER.unpack(_read_exactly(connection, HEADER.size))
        data = _read_exactly(connection, length)
        if kind in streams:
            output[streams[kind]] += data
            if on_output is not None:
                on_output(streams[kind], data)
        elif kind == b"x":
            return int(data), output
        elif kind == b"t":
            return None, output
        elif kind == b"f":
            output["stderr"] += data
            return 127, output
        else:
            raise OSError(f"the agent sent an unknown frame {kind!r}")


def _read_exactly(connection: socket.socket, length: int) -> bytes:
    data = bytearray()
    while len(data) < length:
        chunk = connection.recv(length - len(data))
        if not chunk:
            raise OSError("the agent hung up")
        data += chunk
    return bytes(data)
