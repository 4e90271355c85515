"""``tandem-fence-peer``: the program that DRBD calls before it lets a Primary go on alone.

It decides nothing. It takes DRBD's question to the actuator over a unix socket and ends with the
exit code that the actuator says: 4 (the peer is fenced: go on), 6 (the peer is Primary) or 1 (stay
frozen). Whatever goes wrong ends with 1. It never ends with 0, 3, 5 or 7, and with 4 or 6 only
because the actuator said so in a whole, well-formed answer: those make DRBD act.

How long it waits depends on why it was called, which DRBD does not say:

- The link was lost and this host is Primary. Its I/O is frozen, DRBD does not ask again by itself,
  and any answer but 4 leaves it frozen. So it waits for as long as it takes: for the actuator to
  be started again, and for the actuator to reach the API. Should the link come back meanwhile, DRBD
  goes on by itself and ignores this program.
- This host is being promoted. DRBD holds up every other change of the resource until it is
  answered, and asks up to four times. The actuator promotes, so it answers at once, if it lives. If
  it does not, nobody waits for this promotion any more, and 1 is right: each call ends after
  GIVE_UP_S, after the fourth the kernel is free again, and the next actuator finds a Secondary and
  decides anew.

The device's role tells the two apart: during a promotion it is still Secondary. A role that cannot
be read counts as the first case.

Started by drbdadm with DRBD's environment. It uses the standard library alone and imports nothing
of Tandem, so that it starts fast and also runs as a plain file: ``python3 -I -S fence_peer.py``.

Whom it asks, for how long and what it makes of an answer are coroutines that need no event loop:
they ask an ``Outside``, which holds no decision. The real one blocks; the simulator's takes its
time on a simulated loop.
"""

import contextlib
import json
import os
import socket
import subprocess
import sys
import time
from collections.abc import Coroutine, Iterable
from typing import NoReturn

DEFAULT_SOCKET = "/run/tandem/actuator.sock"
STDERR = 2
STAY_FROZEN = 1
MEANT = (STAY_FROZEN, 4, 6)
GIVE_UP_S = 6.0
RETRY_S = 0.2
CONNECT_TIMEOUT_S = 2.0
ROLE_TIMEOUT_S = 2.0
# While an answer is being waited for, look this often whether it is still worth waiting.
PATIENCE_S = 1.0
LINE_LIMIT_BYTES = 65536


TYPE_CHECKING = False  # typing takes a while to import
if TYPE_CHECKING:
    from typing import Protocol

    class Channel(Protocol):
        """A connection to the actuator. Closed by whoever asked for it."""

        async def send(self, content: bytes, timeout_s: float) -> None:
            """Raises: OSError."""
            ...

        async def receive(self, timeout_s: float) -> bytes:
            """What has come; empty at the end.

            Raises:
                TimeoutError: nothing came in this time.
                OSError: the connection is broken.
            """
            ...

        def close(self) -> None: ...

    class Outside(Protocol):
        """What the program needs from its host."""

        def now_s(self) -> float:
            """On a clock that only goes on."""
            ...

        async def sleep(self, seconds: float) -> None: ...

        async def connect(self, timeout_s: float) -> Channel:
            """Raises: OSError."""
            ...

        def devices(self) -> str:
            """/proc/drbd. Raises: OSError."""
            ...

        def role(self, resource: str) -> str:
            """What ``drbdsetup role`` says. Raises: OSError, SubprocessError."""
            ...


class NoAnswer(Exception):
    """The actuator is not there, or went away before it answered."""


class BadAnswer(Exception):
    """What the actuator said is no answer."""


def main() -> NoReturn:
    """Entry point: the socket is the first argument, or TANDEM_SOCKET, or the default.

    Nothing that cannot be said may change the answer. What the kernel has drbdadm start may have a
    console that was hung up; Python ends with 1 or 120 then, whatever it was told to end with.
    """
    path = (sys.argv[1:] or [os.environ.get("TANDEM_SOCKET") or DEFAULT_SOCKET])[0]
    code, message = run(answer(Host(path), question()))
    with contextlib.suppress(OSError):
        os.write(STDERR, f"tandem-fence-peer: {message} (exit {code})\n".encode(errors="replace"))
    os._exit(code)


def question() -> dict[str, str]:
    """DRBD's environment variables."""
    return {key: value for key, value in os.environ.items() if key.startswith("DRBD_")}


async def answer(outside: "Outside", asked: dict[str, str]) -> tuple[int, str]:
    """The exit code, and what to tell people."""
    try:
        return await ask_until_answered(outside, asked)
    except Exception as error:  # anything at all: stay frozen
        return STAY_FROZEN, f"failed: {error!r}"


async def ask_until_answered(outside: "Outside", asked: dict[str, str]) -> tuple[int, str]:
    """Ask again and again until there is an answer, or it is not worth waiting any more."""
    began_s = outside.now_s()
    while True:
        try:
            return await ask(outside, asked, began_s)
        except (NoAnswer, OSError) as error:
            if not worth_waiting(outside, asked, began_s):
                return STAY_FROZEN, f"no actuator, and no longer needed: {error}"
        await outside.sleep(RETRY_S)


async def ask(outside: "Outside", asked: dict[str, str], began_s: float) -> tuple[int, str]:
    """Ask once and wait for the answer.

    Raises:
        NoAnswer, OSError: nobody answered.
        BadAnswer: somebody did, and not as agreed.
    """
    channel = await outside.connect(CONNECT_TIMEOUT_S)
    try:
        await channel.send(json.dumps(asked).encode() + b"\n", CONNECT_TIMEOUT_S)
        line = b""
        while not line.endswith(b"\n"):
            try:
                received = await channel.receive(PATIENCE_S)
            except TimeoutError:
                if worth_waiting(outside, asked, began_s):
                    continue
                return STAY_FROZEN, "the actuator did not answer in time"
            if not received:
                raise NoAnswer("it went away without an answer")
            line += received
            if len(line) > LINE_LIMIT_BYTES:
                raise BadAnswer("the answer is too long")
    finally:
        channel.close()
    return parse(line)


def parse(line: bytes) -> tuple[int, str]:
    """The exit code and message of an answer.

    Raises:
        BadAnswer: it is not one, or its code is none that the actuator may mean.
    """
    try:
        said = json.loads(line)
        code, message = said["exit_code"], said.get("message", "")
    except (ValueError, TypeError, KeyError, AttributeError) as error:
        raise BadAnswer(f"not an answer: {line[:200]!r}") from error
    if type(code) is not int or code not in MEANT:
        raise BadAnswer(f"exit code {code!r} is not one of {MEANT}")
    return code, str(message)


def worth_waiting(outside: "Outside", asked: dict[str, str], began_s: float) -> bool:
    """For a Primary always; for a promotion until GIVE_UP_S."""
    return outside.now_s() - began_s < GIVE_UP_S or role(outside, asked) != "Secondary"


def role(outside: "Outside", asked: dict[str, str]) -> str:
    """This host's role: from /proc/drbd on 8.4, by drbdsetup on 9. Unknown if it cannot be read."""
    try:
        found = role_in(outside.devices().splitlines(), asked.get("DRBD_MINOR", "").split())
        return found or outside.role(asked.get("DRBD_RESOURCE", ""))
    except (OSError, subprocess.SubprocessError):
        return "Unknown"


def role_in(lines: Iterable[str], minors: list[str]) -> str | None:
    """The role of the first of these devices in /proc/drbd; None if it shows none."""
    for line in lines:
        number, _, rest = line.strip().partition(": ")
        if number in minors and " ro:" in rest:
            return rest.partition(" ro:")[2].partition("/")[0]
    return None


class Host:
    """The real outside: every call blocks, so that a coroutine that asks it never waits."""

    def __init__(self, path: str) -> None:
        self.path = path

    def now_s(self) -> float:
        return time.monotonic()

    async def sleep(self, seconds: float) -> None:
        time.sleep(seconds)  # noqa: ASYNC251  # there is no event loop

    async def connect(self, timeout_s: float) -> "Channel":
        channel = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
        try:
            channel.settimeout(timeout_s)
            channel.connect(self.path)
        except OSError:
            channel.close()
            raise
        return UnixChannel(channel)

    def devices(self) -> str:
        # Not pathlib: it alone would double the time that this program takes to start.
        with open("/proc/drbd", encoding="ascii", errors="replace") as file:  # noqa: PTH123
            return file.read()

    def role(self, resource: str) -> str:
        command = ["drbdsetup", "role", resource]
        shown = subprocess.run(
            command, capture_output=True, text=True, timeout=ROLE_TIMEOUT_S, check=True
        )
        return shown.stdout.strip().partition("/")[0] or "Unknown"


class UnixChannel:
    """A connected socket."""

    def __init__(self, channel: socket.socket) -> None:
        self._socket = channel

    async def send(self, content: bytes, timeout_s: float) -> None:
        self._socket.settimeout(timeout_s)
        self._socket.sendall(content)

    async def receive(self, timeout_s: float) -> bytes:
        self._socket.settimeout(timeout_s)
        return self._socket.recv(4096)

    def close(self) -> None:
        self._socket.close()


def run(coroutine: Coroutine[None, None, tuple[int, str]]) -> tuple[int, str]:
    """To its end. With an outside that blocks it never waits for anything else."""
    try:
        coroutine.send(None)
    except StopIteration as end:
        code, message = end.value
        return code, message
    raise AssertionError("something in it waits for an event loop")


if __name__ == "__main__":
    main()
