"""Who leads among the controller's replicas: an own Lease, counted on monotonic clocks.

``kubernetes.aio.leaderelection`` was looked at: it counts on the wall clock and offers no moment
until which leadership is certain. Here the leader's own time ends before any other replica may
begin: it counts LEASE_S from *before* it sent its last confirmed renewal, the others wait
CLOCK_RATE_RATIO * LEASE_S + MARGIN_S from when they saw that renewal.

Two leaders at once would still do no harm (every assignment is written with a resourceVersion as
its precondition, and authority is a compare-and-swap); this keeps them from quarrelling.

Pure; called by ``lead``, which does the reading and writing.
"""

from dataclasses import dataclass, replace

from tandem_api.timing import LEAST_CLOCK_RATE_RATIO, MARGIN_S

LEASE_NAME = "tandem-controller"
LEASE_S = 4.0
RENEW_INTERVAL_S = 1.0
CLOCK_RATE_RATIO = LEAST_CLOCK_RATE_RATIO
WAIT_S = CLOCK_RATE_RATIO * LEASE_S + MARGIN_S

assert RENEW_INTERVAL_S * 2 < LEASE_S


@dataclass(frozen=True)
class Seen:
    """The Lease as a quorum read gave it. No holder: nobody leads. No version: it is not there.

    ``transitions``: how often it passed to another holder, as ``kubectl`` and others read it.
    """

    holder: str
    version: str | None
    transitions: int = 0


@dataclass(frozen=True)
class Election:
    """What one replica knows.

    ``until_s``: it leads before this moment and not after. ``seen`` and ``seen_s``: the Lease's
    present version, and when this replica first saw it.
    """

    identity: str
    seen: Seen | None = None
    seen_s: float = 0.0
    until_s: float = float("-inf")

    def leads(self, now_s: float) -> bool:
        return now_s < self.until_s


@dataclass(frozen=True)
class Renew:
    """Write the Lease if it still has this version (None: make it).

    ``transitions``: for a new holder, how often it will have passed on; None: the holder stays.
    """

    version: str | None
    transitions: int | None = None


@dataclass(frozen=True)
class Follow:
    """Somebody else leads, or may still."""

    holder: str


def observe(election: Election, seen: Seen, now_s: float) -> Election:
    """Take in a quorum read that was answered at ``now_s``."""
    if election.seen is not None and election.seen == seen:
        return election
    return replace(election, seen=seen, seen_s=now_s)


def next_step(election: Election, now_s: float) -> Renew | Follow:
    """What to do after a read."""
    seen = election.seen
    if seen is None:
        raise AssertionError("a step needs a read first")
    if seen.holder == election.identity:
        return Renew(seen.version)
    if seen.version is None:
        return Renew(None, 0)
    free = not seen.holder or now_s - election.seen_s >= WAIT_S
    return Renew(seen.version, seen.transitions + 1) if free else Follow(seen.holder)


def renewed(election: Election, version: str, sent_s: float, now_s: float) -> Election:
    """A renewal that was sent at ``sent_s`` is confirmed."""
    transitions = election.seen.transitions if election.seen is not None else 0
    seen = Seen(election.identity, version, transitions)
    return replace(election, seen=seen, seen_s=now_s, until_s=sent_s + LEASE_S)


def resigned(election: Election) -> Election:
    """Lead no longer, whatever the Lease says."""
    return replace(election, until_s=float("-inf"))
