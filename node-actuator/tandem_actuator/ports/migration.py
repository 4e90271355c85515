"""Sending a guest to another host as it runs, as the actuator needs it."""

from dataclasses import dataclass
from typing import Protocol

from tandem_actuator.ports import CommandFailed


@dataclass(frozen=True)
class Arrival:
    """What is expected: this domain, for this migration, from this host, and no other. ``xml``: as
    this host would start it.
    """

    name: str
    migration: str
    peer: str
    xml: str


@dataclass(frozen=True)
class Destination:
    """Where a host takes guests in."""

    peer: str
    address: str
    port: int


class Migrations(Protocol):
    """This host's libvirt, and the way to the other hosts' for nothing but this."""

    @property
    def port(self) -> int | None:
        """Where this host takes guests in; None: it cannot."""
        ...

    async def receive(self, arrival: Arrival) -> None:
        """From now on let this in. Raises: PortError."""
        ...

    async def stop_receiving(self, name: str) -> None:
        """Nothing of it is let in any more."""
        ...

    async def send(self, name: str, migration: str, to: Destination) -> None:
        """Until all of it is there, paused, and nothing of it here.

        Raises:
            PortError: anything else. Whether it runs here is for libvirt to say.
        """
        ...

    async def stop_sending(self, name: str) -> None:
        """Close the way: libvirt gives it up if it still can. What comes of it, ``send`` tells."""
        ...


class NoMigrations:
    """A host that can neither send nor take in."""

    port = None
    WHY = "live migration is not set up on this host"

    async def receive(self, arrival: Arrival) -> None:
        raise CommandFailed(self.WHY)

    async def stop_receiving(self, name: str) -> None:
        return

    async def send(self, name: str, migration: str, to: Destination) -> None:
        raise CommandFailed(self.WHY)

    async def stop_sending(self, name: str) -> None:
        return
