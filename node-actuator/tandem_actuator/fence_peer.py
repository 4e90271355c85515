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
"""

import json
import os
import socket
import subprocess
import sys
import time
from collections.abc import Iterable

DEFAULT_SOCKET = "/run/tandem/actuator.sock"
STAY_FROZEN = 1
MEANT = (STAY_FROZEN, 4, 6)
GIVE_UP_S = 6.0
RETRY_S = 0.2
CONNECT_TIMEOUT_S = 2.0
ROLE_TIMEOUT_S = 2.0
# While an answer is being waited for, look this often whether it is still worth waiting.
PATIENCE_S = 1.0
LINE_LIMIT_BYTES = 65536


class NoAnswer(Exception):
    """The actuator is not there, or went away before it answered."""


class BadAnswer(Exception):
    """What the actuator said is no answer."""


def main() -> int:
    """Entry point: the socket is the first argument, or TANDEM_SOCKET, or the default."""
    path = (sys.argv[1:] or [os.environ.get("TANDEM_SOCKET") or DEFAULT_SOCKET])[0]
    try:
        code, message = ask_until_answered(path, question())
    except Exception as error:  # anything at all: stay frozen
        code, message = STAY_FROZEN, f"failed: {error!r}"
    print(f"tandem-fence-peer: {message} (exit {code})", file=sys.stderr)
    return code


def question() -> dict[str, str]:
    """DRBD's environment variables."""
    return {key: value for key, value in os.environ.items() if key.startswith("DRBD_")}


def ask_until_answered(path: str, asked: dict[str, str]) -> tuple[int, str]:
    """Ask again and again until there is an answer, or it is not worth waiting any more."""
    began_s = time.monotonic()
    while True:
        try:
            return ask(path, asked, began_s)
        except (NoAnswer, OSError) as error:
            if not worth_waiting(asked, began_s):
                return STAY_FROZEN, f"no actuator at {path}, and no longer needed: {error}"
        time.sleep(RETRY_S)


def ask(path: str, asked: dict[str, str], began_s: float) -> tuple[int, str]:
    """Ask once and wait for the answer.

    Raises:
        NoAnswer, OSError: nobody answered.
        BadAnswer: somebody did, and not as agreed.
    """
    with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as channel:
        channel.settimeout(CONNECT_TIMEOUT_S)
        channel.connect(path)
        channel.sendall(json.dumps(asked).encode() + b"\n")
        channel.settimeout(PATIENCE_S)
        line = b""
        while not line.endswith(b"\n"):
            try:
                received = channel.recv(4096)
            except TimeoutError:
                if worth_waiting(asked, began_s):
                    continue
                return STAY_FROZEN, "the actuator did not answer in time"
            if not received:
                raise NoAnswer("it went away without an answer")
            line += received
            if len(line) > LINE_LIMIT_BYTES:
                raise BadAnswer("the answer is too long")
    return parse(line)


def parse(line: bytes) -> tuple[int, str]:
    """The exit code and message of an answer.

    Raises:
        BadAnswer: it is not one, or its code is none that the actuator may mean.
    """
    try:
        answer = json.loads(line)
        code, message = answer["exit_code"], answer.get("message", "")
    except (ValueError, TypeError, KeyError, AttributeError) as error:
        raise BadAnswer(f"not an answer: {line[:200]!r}") from error
    if type(code) is not int or code not in MEANT:
        raise BadAnswer(f"exit code {code!r} is not one of {MEANT}")
    return code, str(message)


def worth_waiting(asked: dict[str, str], began_s: float) -> bool:
    """For a Primary always; for a promotion until GIVE_UP_S."""
    return time.monotonic() - began_s < GIVE_UP_S or role(asked) != "Secondary"


def role(asked: dict[str, str]) -> str:
    """This host's role: from /proc/drbd on 8.4, by drbdsetup on 9. Unknown if it cannot be read."""
    try:
        # Not pathlib: it alone would double the time that this program takes to start.
        with open("/proc/drbd", encoding="ascii", errors="replace") as file:  # noqa: PTH123
            found = role_in(file, asked.get("DRBD_MINOR", "").split())
        return found or role_from_drbdsetup(asked.get("DRBD_RESOURCE", ""))
    except (OSError, subprocess.SubprocessError):
        return "Unknown"


def role_in(lines: Iterable[str], minors: list[str]) -> str | None:
    """The role of the first of these devices in /proc/drbd; None if it shows none."""
    for line in lines:
        number, _, rest = line.strip().partition(": ")
        if number in minors and " ro:" in rest:
            return rest.partition(" ro:")[2].partition("/")[0]
    return None


def role_from_drbdsetup(resource: str) -> str:
    """What ``drbdsetup role`` says."""
    command = ["drbdsetup", "role", resource]
    shown = subprocess.run(
        command, capture_output=True, text=True, timeout=ROLE_TIMEOUT_S, check=True
    )
    return shown.stdout.strip().partition("/")[0] or "Unknown"


if __name__ == "__main__":
    sys.exit(main())
