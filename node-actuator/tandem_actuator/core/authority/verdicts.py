"""What a transition is told, and what it answers."""

from dataclasses import dataclass

from tandem_actuator.core.drbd import DrbdView
from tandem_actuator.core.model import Record
from tandem_api.authority import Authority, Instance
from tandem_api.reasons import Reason


@dataclass(frozen=True)
class Proposal:
    """Swap this in. ``force`` is true only where a person's override allows it."""

    authority: Authority
    force: bool = False


@dataclass(frozen=True)
class Settled:
    """Nothing to swap: the authority already says it. ``force`` as in Proposal."""

    authority: Authority
    force: bool = False


@dataclass(frozen=True)
class Refusal:
    """Not now, and why."""

    reason: Reason
    message: str


Verdict = Proposal | Settled | Refusal


@dataclass(frozen=True)
class Facts:
    """What a host knows first-hand, gathered after the quorum read.

    ``now_s``, ``link_lost_at_s`` and ``last_packet_at_s`` (the peer's last came no later, None if
    that is not known) are on the host's CLOCK_BOOTTIME. ``heartbeat`` is the old
    owner's lease from a quorum read, where the transition needs it.
    """

    host: str
    peer: str
    instance: Instance
    record: Record
    drbd: DrbdView
    now_s: float
    link_lost_at_s: float | None = None
    last_packet_at_s: float | None = None
    link_wait_s: float = 0.0
