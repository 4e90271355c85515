"""How each kind shows in ``kubectl get``.

Holds values only. Asked for by ``registry``. A column answers "is it all right?" for somebody who
looks at a list; everything else is in ``kubectl describe``.
"""

from dataclasses import dataclass
from typing import Literal


@dataclass(frozen=True)
class Column:
    """One column of ``kubectl get``; ``wide`` ones show with ``-o wide`` only.

    A ``date`` shows as an age. So that ages need no writes, the status holds the moment at which
    something began, and kubectl counts from there.
    """

    name: str
    path: str
    type: Literal["string", "integer", "number", "date"] = "string"
    wide: bool = False


def _condition(kind: str) -> str:
    return f'.status.conditions[?(@.type=="{kind}")].status'


AGE = Column("Age", ".metadata.creationTimestamp", "date")
MESSAGE = Column("Message", ".status.message", wide=True)

TANDEM = (
    Column("Paused", ".spec.paused"),
    Column("Guests-Paused", ".status.guestsPaused", "integer"),
    Column("Moves-At-Once", ".spec.moves.maxConcurrent", "integer"),
    AGE,
)
SITE = (
    Column("Status", ".status.phase"),
    Column("Lease", ".status.lease"),
    Column("Since", ".status.leaseSince", "date"),
    Column("Hosts", ".status.hosts"),
    Column("Guests", ".status.guests", "integer"),
    Column("If-Peer-Fails", ".status.ifPeerFails"),
    Column("Maintenance", ".spec.maintenance", wide=True),
    Column("Drained", _condition("Drained"), wide=True),
    Column("Paused", ".spec.paused", wide=True),
    Column("Profile", ".spec.profile", wide=True),
    AGE,
)
HOST = (
    Column("Status", ".status.phase"),
    Column("Site", ".spec.site"),
    Column("Lease", ".status.lease"),
    Column("Since", ".status.leaseSince", "date"),
    Column("Watchdog", _condition("WatchdogArmed")),
    Column("Guests", ".status.guests", "integer"),
    Column("Replication", ".spec.replicationAddress", wide=True),
    Column("Memory", ".spec.capacity.memory", wide=True),
    Column("Maintenance", ".spec.maintenance", wide=True),
    Column("Drained", _condition("Drained"), wide=True),
    Column("Paused", ".spec.paused", wide=True),
    AGE,
)
MIRROR = (
    Column("Phase", ".status.phase"),
    Column("Owner", ".status.owner"),
    Column("Mode", ".status.authority.mode"),
    Column("Connected", _condition("Connected")),
    Column("In-Sync", _condition("InSync")),
    Column("Reason", ".status.reason"),
    Column("Epoch", ".status.authority.epoch", "integer", wide=True),
    Column("Protocol", ".spec.protocol", wide=True),
    Column("Paused", ".spec.paused", wide=True),
    MESSAGE,
    AGE,
)
GUEST = (
    Column("Phase", ".status.phase"),
    Column("Site", ".status.site"),
    Column("Host", ".status.host"),
    Column("Mirror", ".status.mirror"),
    Column("Protected", ".status.protected"),
    Column("Reason", ".status.reason"),
    Column("Priority", ".spec.priority", "integer", wide=True),
    Column("Paused-By", ".status.pausedBy", wide=True),
    MESSAGE,
    AGE,
)
GUEST_MOVE = (
    Column("Guest", ".spec.guest"),
    Column("Phase", ".status.phase"),
    Column("From", ".status.source"),
    Column("To", ".status.target"),
    Column("Away-Seconds", ".status.awaySeconds", "number"),
    Column("Reason", ".status.reason"),
    MESSAGE,
    AGE,
)
