"""What the adapters of libvirt and of guests' processes need from the machine: nothing is decided.

Each method is one call of libvirt, or one look at the kernel. It has no time limit: it may hang,
answer late, or take effect although nobody waits any more. The real ones are in
``libvirt_connection``, ``linux_processes`` and ``linux_taps``; the simulator's pass the same tests.
"""

from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Protocol, TypeVar

from tandem_actuator.ports import CommandFailed

T = TypeVar("T")


class LibvirtError(CommandFailed):
    """libvirt said no. ``code``: a member of its virErrorNumber."""

    def __init__(self, words: str, code: int = -1) -> None:
        super().__init__(words)
        self.code = code


@dataclass(frozen=True)
class Domain:
    """An active domain as libvirt told it.

    ``number``: another one for each time that it is started. ``state``: a virDomainState, None
    where none was told. ``handle``: the connection's own name for it.
    """

    name: str
    uuid: str
    number: int
    state: int | None = None
    handle: object = field(default=None, compare=False, repr=False)


class LibvirtConnection(Protocol):
    """An open connection. Everything raises LibvirtError; callbacks come on the caller's loop."""

    async def alive(self) -> bool: ...

    async def active_domains(self) -> Sequence[Domain]:
        """Every active domain with its state, Tandem's or not."""
        ...

    async def metadata(self, domain: Domain) -> str:
        """The element of Tandem's that the domain carries."""
        ...

    async def create(self, xml: str, *, fresh_variables: bool = False) -> None:
        """Start a transient domain; ``fresh_variables``: its UEFI has none of an earlier start."""
        ...

    async def validate(self, xml: str) -> None:
        """Define it, held against libvirt's schema, and undefine it. Nothing is started."""
        ...

    async def lookup(self, name: str) -> Domain: ...

    async def shutdown(self, domain: Domain) -> None: ...

    async def resume(self, domain: Domain) -> None: ...

    async def destroy(self, domain: Domain) -> None: ...

    async def library_version(self) -> int: ...

    async def hypervisor_version(self) -> int: ...

    async def on_close(self, tell: Callable[[], None]) -> None:
        """Tell when the connection is lost."""
        ...

    async def forget_close(self) -> None: ...

    async def on_lifecycle(self, tell: Callable[[str], None]) -> int:
        """Tell the name of every domain that starts, ends or changes; → the registration."""
        ...

    async def forget_lifecycle(self, registration: int) -> None: ...

    async def close(self) -> None: ...


class Libvirtd(Protocol):
    """The daemon."""

    async def open(self) -> LibvirtConnection:
        """A new connection. Raises: LibvirtError."""
        ...


@dataclass(frozen=True)
class ProcessText:
    """A process as /proc has it. ``stat`` is only read where there are no arguments."""

    pid: int
    cmdline: bytes
    stat: bytes = b""


class ProcessHandle(Protocol):
    """One process, and never another that got its number later."""

    def send(self, number: int) -> None:
        """Send it a signal; no error if it is gone. Raises: PortError."""
        ...

    async def ended(self) -> None:
        """Until its last thread is gone, which is later than that it is a zombie."""
        ...

    def close(self) -> None: ...


class Processes(Protocol):
    """The processes of this machine, and what libvirt keeps about its own.

    A process that is gone is left out, or None. Everything else that keeps it from being read is
    a PortError: a process that cannot be seen is not gone.
    """

    async def select(self, wanted: Callable[[ProcessText], T | None]) -> list[T]:
        """What ``wanted`` makes of each process, but None. It runs off the loop, and is pure."""
        ...

    async def look(self, pid: int) -> ProcessText | None: ...

    async def first_threads(self, pids: Collection[int]) -> Mapping[int, bytes]:
        """The ``stat`` of the first thread of each."""
        ...

    async def threads(self, pids: Collection[int]) -> Mapping[int, Sequence[bytes]]:
        """The ``stat`` of each of their threads that a list has; empty for one that ended since. A
        list that is made while threads end may lack others.
        """
        ...

    async def open(self, pid: int) -> ProcessHandle | None: ...

    async def taps(self, pid: int) -> set[str]:
        """The tap interfaces that a process, or a thread that is left of it, holds open."""
        ...

    async def pid_files(self) -> Mapping[str, bytes]:
        """libvirt's pid files, by domain; those that can be read."""
        ...

    async def status_file(self, name: str) -> bytes | None:
        """libvirt's own file about a domain, if it can be read."""
        ...


class Taps(Protocol):
    """Network interfaces."""

    async def take_down(self, interface: str) -> None:
        """No error if it is gone. Raises: OSError, the kernel refused or it is still up."""
        ...
