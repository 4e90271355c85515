"""The host's watchdog, its device, and the process that keeps it."""

from dataclasses import dataclass
from typing import Protocol

from tandem_actuator.ports import PortError


class WatchdogTooSlow(PortError):
    """The device resets the machine later than was asked for; ``least_s``: its smallest timeout,
    if one was found.
    """

    def __init__(self, words: str, least_s: int | None) -> None:
        super().__init__(words)
        self.least_s = least_s


class Watchdog(Protocol):
    """The machine's watchdog. Something else feeds it, up to the deadline that it was told last."""

    @property
    def armed(self) -> bool: ...

    @property
    def timeout_s(self) -> int | None:
        """After so many seconds it resets at the latest; None if it is not armed. While another is
        being set it is the longer of both.
        """
        ...

    async def arm(self, timeout_s: int, until_s: float = ...) -> None:
        """Open and set it, or set another timeout; the deadline stays as it was told.

        ``until_s``: how far it may be fed where nobody has told a deadline yet.

        Raises:
            WatchdogTooSlow: it cannot do a timeout as short as this.
            PortError: there is none, it does not reset the machine, it refuses the timeout, or
                nobody answered in time. ``timeout_s`` says whether one is in force.
        """
        ...

    def feed_until(self, deadline_s: float) -> None:
        """Let it be fed until CLOCK_BOOTTIME passes the deadline; the newest call counts.

        Never waits: the guard calls it.
        """
        ...


@dataclass(frozen=True)
class WatchdogInfo:
    """``options``: bits of linux/watchdog.h (WDIOF_…). ``identity``: the driver's name."""

    options: int
    identity: str


class WatchdogDevice(Protocol):
    """The kernel's watchdog device: each method is one system call, and holds no decision.

    Each raises OSError with the kernel's words, and may hang. One process at a time has it open.
    """

    def open(self) -> None:
        """From now on the machine is reset unless it is fed."""
        ...

    def info(self) -> WatchdogInfo: ...

    def set_timeout(self, timeout_s: int) -> None:
        """Some drivers refuse what they cannot do, others set something near it."""
        ...

    def get_timeout(self) -> int: ...

    def keepalive(self) -> None: ...

    def no_way_out(self) -> bool:
        """Whether it goes on counting once it is closed; True if the kernel does not tell."""
        ...

    def close(self, *, disarm: bool) -> None:
        """``disarm``: with the magic character, so that the machine stays up if the driver can."""
        ...


class Stream(Protocol):
    """One end of a connection between two programs on this host, as the kernel offers it.

    Bytes, in order, cut anywhere. Nothing in it waits but ``readable``.
    """

    def send(self, data: bytes) -> int:
        """How much of it was taken. OSError: nothing, the other end is gone or does not read."""
        ...

    def receive(self) -> bytes:
        """What has come; empty: the other end is closed, and this was all.

        Raises:
            BlockingIOError: nothing has come since.
            OSError: the connection is broken.
        """
        ...

    async def readable(self) -> None:
        """Until ``receive`` has something to say; at once if this end is closed."""
        ...

    def close(self) -> None: ...


class StreamListener(Protocol):
    """Where connections come in."""

    async def accept(self) -> Stream:
        """The next one. Those that came meanwhile have waited. Raises: OSError."""
        ...


class KeeperProcess(Protocol):
    """The process that keeps the watchdog, seen from the actuator."""

    async def connect(self) -> Stream:
        """Raises: ConnectionRefusedError or FileNotFoundError: there is none. Other OSError."""
        ...

    async def start(self) -> None:
        """Start one that outlives this program; it listens a little later. Raises: OSError."""
        ...
