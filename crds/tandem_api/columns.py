"""How each kind presents itself to the API server and to ``kubectl``: names and columns.

Holds values only. Called by ``crdgen``. A column answers "is it all right?" for somebody who
looks at a list; everything else is in ``kubectl describe``.
"""

from dataclasses import dataclass
from typing import Literal

from tandem_api.guest import Guest
from tandem_api.host import Host
from tandem_api.meta import Resource
from tandem_api.mirror import Mirror
from tandem_api.site import Site

CATEGORY = "tandem"


@dataclass(frozen=True)
class Column:
    """One column of ``kubectl get``; ``wide`` ones show with ``-o wide`` only.

    A ``date`` shows as an age. So that ages need no writes, the status holds the moment at which
    something began, and kubectl counts from there.
    """

    name: str
    path: str
    type: Literal["string", "integer", "date"] = "string"
    wide: bool = False


@dataclass(frozen=True)
class KindInfo:
    """What a CustomResourceDefinition says about a kind beside its schema."""

    type: type[Resource]
    plural: str
    short: str
    namespaced: bool
    columns: tuple[Column, ...]

    @property
    def kind(self) -> str:
        return self.type.__name__


def _condition(kind: str) -> str:
    return f'.status.conditions[?(@.type=="{kind}")].status'


AGE = Column("Age", ".metadata.creationTimestamp", "date")
MESSAGE = Column("Message", ".status.message", wide=True)

SITE = KindInfo(
    type=Site,
    plural="sites",
    short="tsite",
    namespaced=False,
    columns=(
        Column("Status", ".status.phase"),
        Column("Lease", ".status.lease"),
        Column("Since", ".status.leaseSince", "date"),
        Column("Hosts", ".status.hosts"),
        Column("Guests", ".status.guests", "integer"),
        Column("If-Peer-Fails", ".status.ifPeerFails"),
        Column("Maintenance", ".spec.maintenance", wide=True),
        Column("Profile", ".spec.profile", wide=True),
        AGE,
    ),
)
HOST = KindInfo(
    type=Host,
    plural="hosts",
    short="thost",
    namespaced=False,
    columns=(
        Column("Status", ".status.phase"),
        Column("Site", ".spec.site"),
        Column("Lease", ".status.lease"),
        Column("Since", ".status.leaseSince", "date"),
        Column("Watchdog", _condition("WatchdogArmed")),
        Column("Replication", ".spec.replicationAddress", wide=True),
        Column("Memory", ".spec.capacity.memory", wide=True),
        AGE,
    ),
)
MIRROR = KindInfo(
    type=Mirror,
    plural="mirrors",
    short="mir",
    namespaced=True,
    columns=(
        Column("Phase", ".status.phase"),
        Column("Owner", ".status.owner"),
        Column("Mode", ".status.authority.mode"),
        Column("Connected", _condition("Connected")),
        Column("In-Sync", _condition("InSync")),
        Column("Reason", ".status.reason"),
        Column("Epoch", ".status.authority.epoch", "integer", wide=True),
        Column("Protocol", ".spec.protocol", wide=True),
        MESSAGE,
        AGE,
    ),
)
GUEST = KindInfo(
    type=Guest,
    plural="guests",
    short="gst",
    namespaced=True,
    columns=(
        Column("Phase", ".status.phase"),
        Column("Site", ".status.site"),
        Column("Host", ".status.host"),
        Column("Mirror", ".status.mirror"),
        Column("Protected", ".status.protected"),
        Column("Reason", ".status.reason"),
        Column("Priority", ".spec.priority", "integer", wide=True),
        MESSAGE,
        AGE,
    ),
)

KINDS = (SITE, HOST, MIRROR, GUEST)
