"""libvirt and the network of guests, as the actuator needs them."""

from collections.abc import AsyncIterator, Collection, Mapping
from typing import Protocol

from tandem_actuator.ports import CommandTimeout, PortError
from tandem_api.kinds.guest import Guest
from tandem_api.vocabulary import DomainState


class KilledNotGone(CommandTimeout):
    """SIGKILL was delivered, and the guest executes nothing more; the kernel still holds it."""


class Libvirt(Protocol):
    """Domains on this host. A guest's domain is found by its metadata, not only by name."""

    async def states(self) -> Mapping[str, DomainState]:
        """Domains that Tandem started, by domain name (``domain_name(guest)``).

        Raises:
            PortError: libvirt cannot be asked. Every guest is then UNKNOWN.
        """
        ...

    def events(self) -> AsyncIterator[str]:
        """Names of domains whose lifecycle changed; empty: re-read everything."""
        ...

    async def start(self, guest: Guest, xml: str) -> None:
        """Create a transient domain. CommandFailed carries libvirt's words."""
        ...

    async def shutdown(self, name: str) -> None:
        """Ask the guest to power off (ACPI). Returns at once."""
        ...

    async def resume(self, name: str) -> None:
        """Let a domain go on that stands still.

        Raises: PortError; it may take effect all the same.
        """
        ...

    async def destroy(self, name: str) -> None:
        """Pull the plug; returns once the process is gone. Own thread pool: it may hang.

        Raises:
            KilledNotGone: it is dead, but a frozen disk keeps its process from ending.
        """
        ...

    async def dead(self, names: Collection[str]) -> Mapping[str, bool]:
        """Of these domains, those that have processes or are being started: whether they were
        killed, and execute nothing any more nor ever will. Looked up in the kernel alone.

        Raises:
            PortError: it cannot be looked up.
        """
        ...

    async def versions(self) -> Mapping[str, str]:
        """``{"libvirt": …, "qemu": …}``."""
        ...


class Premises(Protocol):
    """What a guest needs of this host besides DRBD: looked at, and nothing is changed by it."""

    async def refusal(self, xml: str) -> str:
        """Why libvirt does not take such a domain, in its words; empty if it does.

        It is defined with validation and undefined again, so it must bear a name of its own.

        Raises:
            PortError: libvirt does not answer.
        """
        ...

    async def missing(self, paths: Collection[str]) -> Collection[str]:
        """Those that are not there. Raises: PortError, it cannot be told in time."""
        ...

    async def device_bytes(self, paths: Collection[str]) -> Mapping[str, int]:
        """The sizes of block devices; what cannot be measured is left out."""
        ...


class Unseen:
    """The Premises of which nothing is known."""

    async def refusal(self, xml: str) -> str:
        raise PortError("libvirt is not asked here")

    async def missing(self, paths: Collection[str]) -> Collection[str]:
        raise PortError("nobody looks here")

    async def device_bytes(self, paths: Collection[str]) -> Mapping[str, int]:
        return {}


class Network(Protocol):
    """The guests' cards on this host."""

    async def cut(self, name: str) -> None:
        """Take down every tap of the domain, without the help of QEMU or libvirt."""
        ...
