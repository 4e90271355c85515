"""Stand-ins for the simple ports, with the same semantics and no machine behind them.

The contract tests hold each of them against its real adapter. DRBD's and the files' are the
simulator's. For tests only: nothing that runs imports this.
"""

import asyncio
from collections.abc import AsyncIterator, Mapping
from dataclasses import dataclass, field

from tandem_actuator.core.domain_xml import domain_name
from tandem_actuator.core.model import DomainState
from tandem_actuator.ports import CommandFailed, CommandTimeout, PortError
from tandem_api.guest import Guest


@dataclass
class FakeClock:
    """A clock that a test moves."""

    now_s: float = 1000.0

    def boottime_s(self) -> float:
        return self.now_s

    def wall(self) -> str:
        return f"2026-01-01T00:00:00.{int(self.now_s * 1000) % 1000000:06d}Z"

    def advance(self, seconds: float) -> None:
        self.now_s += seconds


@dataclass
class FakeLibvirt:
    """Domains in memory.

    ``hanging``: libvirtd does not answer. ``stuck``: domains whose QEMU cannot die, as with a
    frozen disk; ``refusing``: what libvirt says to a start.
    """

    domains: dict[str, DomainState] = field(default_factory=dict)
    xml: dict[str, str] = field(default_factory=dict)
    hanging: bool = False
    stuck: set[str] = field(default_factory=set)
    refusing: str = ""
    _changes: "asyncio.Queue[str]" = field(default_factory=asyncio.Queue)

    async def states(self) -> Mapping[str, DomainState]:
        self._answer()
        return dict(self.domains)

    async def events(self) -> AsyncIterator[str]:
        yield ""
        while True:
            yield await self._changes.get()

    async def start(self, guest: Guest, xml: str) -> None:
        self._answer()
        name = domain_name(guest)
        if name in self.domains:
            raise CommandFailed(f"libvirt: domain '{name}' is already active")
        if self.refusing:
            raise CommandFailed(f"libvirt: {self.refusing}")
        self.xml[name] = xml
        self.change(name, DomainState.RUNNING)

    async def shutdown(self, name: str) -> None:
        """The guest's answer is the test's to give: ``change(name, DomainState.ABSENT)``."""
        self._answer()
        if name not in self.domains:
            raise CommandFailed(f"libvirt: no domain with matching name '{name}'")

    async def destroy(self, name: str) -> None:
        if name in self.stuck:
            raise CommandTimeout(f"QEMU of {name} is killed but does not end")
        if name in self.domains:
            self.change(name, DomainState.ABSENT)

    async def disk_closed(self, name: str) -> bool:
        return name not in self.domains

    async def versions(self) -> Mapping[str, str]:
        return {"libvirt": "9.0.0", "qemu": "7.2.0"}

    def change(self, name: str, state: DomainState) -> None:
        """What the guest does by itself."""
        if state is DomainState.ABSENT:
            self.domains.pop(name, None)
        else:
            self.domains[name] = state
        self._changes.put_nowait(name)

    def _answer(self) -> None:
        if self.hanging:
            raise CommandTimeout("libvirt did not answer")


@dataclass
class FakeNetwork:
    """Remembers what was cut. ``failing``: what the kernel would say."""

    cuts: list[str] = field(default_factory=list)
    failing: str = ""

    async def cut(self, name: str) -> None:
        if self.failing:
            raise PortError(self.failing)
        self.cuts.append(name)
