"""The API server's own look at every write to a status: who writes what.

It finds what ``writers`` refuses, which is what the policies in a real server refuse. A program
that is right is refused nothing, but for a claim by an assignment that was taken back meanwhile. So
every other finding is a broken promise: something would hang on a rule that is too strict. Nothing
is kept from being written by it unless it ``enforces``: hosts are safe among each other without it,
and what a rule of theirs is for must show. The other policies (heartbeats, orders, deletions) the
server enforces by itself, and tells this one of what it refuses. Called by ``api``; tests look at
``seen``, all that was written.
"""

from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from typing import Any

from tandem_api.check.writers import Party, Writer, order_for, proves, status_problems
from tandem_api.kinds.guest import Guest
from tandem_api.kinds.mirror import Mirror
from tandem_api.meta import Problem, Resource
from tandem_api.registry import KINDS

Raw = dict[str, Any]
REVIEWED = {info.kind for info in KINDS if info.hosts_entries or info.hosts_own}
"""A kind of which no host writes anything needs no rule about who writes what."""


@dataclass(frozen=True)
class Reviewed:
    """One write to a status."""

    writer: Writer
    old: Resource
    new: Resource


@dataclass
class Review:
    """``writer`` is who asks just now; None: nobody does, a scenario puts something there."""

    writer: Writer | None = None
    enforces: bool = False
    seen: Callable[[Reviewed], None] | None = None
    broken: list[Callable[[str], None]] = field(default_factory=list)

    def of(self, host: str) -> Writer:
        """Programs on hosts have a host; the controller has none."""
        return Writer(Party.HOST, host) if host else Writer(Party.CONTROLLER)

    def problems(self, old: Resource | None, new: Resource, guests: Iterable[Guest]) -> str:
        """Why this must not be written, or nothing. ``broken`` is told of a rule's fault."""
        if self.writer is None or old is None:
            return ""
        before, after = old.wire(), new.wire()
        objects = {id(before): old, id(after): new}
        kind = type(new).__name__
        return self.raw_problems(kind, before, after, lambda raw: objects[id(raw)], lambda: guests)

    def raw_problems(
        self,
        kind: str,
        old: Raw,
        new: Raw,
        read: Callable[[Raw], Resource],
        guests: Callable[[], Iterable[Guest]],
    ) -> str:
        """The same of raw objects."""
        if self.writer is None or kind not in REVIEWED:
            return ""
        if self.seen is not None:
            self.seen(Reviewed(self.writer, read(old), read(new)))
        found = status_problems(kind, self.writer, old, new)
        if found:
            before = read(old)
            if not (isinstance(before, Mirror) and _taken_back(self.writer, before, guests())):
                self._tell(before, found)
        return "; ".join(map(str, found)) if self.enforces else ""

    def refused(self, what: str, why: str) -> None:
        """A policy kept a write that is not of a status from being made. A person's may be."""
        if self.writer is not None:
            for told in self.broken:
                told(f"the API server refuses {self.writer} a write to {what}: {why}")

    def _tell(self, new: Resource, found: list[Problem]) -> None:
        for told in self.broken:
            told(f"the API server refuses {self.writer} a write to {new.key}: {found[0]}")


def _taken_back(writer: Writer, mirror: Mirror, guests: Iterable[Guest]) -> bool:
    """Whether no assignment lets this host claim the mirror any more."""
    was = mirror.status.authority
    if writer.party is not Party.HOST or was is None or was.owner == writer.host:
        return False
    order = order_for(mirror, writer.host, guests)
    return order is None or bool(was.owner and not proves(order.proof, was))
