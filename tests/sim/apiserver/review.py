"""What the API server's policies refuse is told to who judges the programs.

A program that is right is refused nothing, but for a claim by an assignment that was taken back
meanwhile. So every other refusal is a broken promise: something would hang on a rule that is too
strict. Where the policies are not in force (``policies: false`` in a scenario) it is told all the
same: hosts are safe among each other without them, and what a rule of theirs is for must show.
Called by ``apiserver.server``; tests look at ``seen``, all that is written to a status of which
hosts write a part, refused or not.
"""

from collections.abc import Callable, Iterable
from dataclasses import dataclass, field

from tandem_api.check.writers import Party, Writer, order_for, proves
from tandem_api.kinds.guest import Guest
from tandem_api.kinds.mirror import Mirror
from tandem_api.meta import Resource
from tandem_api.registry import KINDS

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
    seen: Callable[[Reviewed], None] | None = None
    broken: list[Callable[[str], None]] = field(default_factory=list)

    def of(self, host: str) -> Writer:
        """Programs on hosts have a host; the controller has none."""
        return Writer(Party.HOST, host) if host else Writer(Party.CONTROLLER)

    def look(self, old: Resource, new: Resource) -> None:
        """Somebody writes to a status, of a kind that is ``REVIEWED``."""
        if self.writer is None or self.seen is None:
            return
        self.seen(Reviewed(self.writer, old, new))

    def refused(
        self,
        what: str,
        why: str,
        claimed: Mirror | None = None,
        guests: Callable[[], Iterable[Guest]] = tuple,
    ) -> None:
        """A policy refuses this. A person's write may be. ``claimed``: which mirror it claims."""
        if self.writer is None:
            return
        if claimed is not None and _taken_back(self.writer, claimed, guests()):
            return
        for told in self.broken:
            told(f"the API server refuses {self.writer} a write to {what}: {why}")


def _taken_back(writer: Writer, mirror: Mirror, guests: Iterable[Guest]) -> bool:
    """Whether no assignment lets this host claim the mirror any more."""
    was = mirror.status.authority
    if writer.party is not Party.HOST or was is None or was.owner == writer.host:
        return False
    order = order_for(mirror, writer.host, guests)
    return order is None or bool(was.owner and not proves(order.proof, was))
