"""Talking to the Kubernetes API: quorum reads, compare-and-swap, patches, watches, leases.

Both programs use it. It carries values to and from the API server and decides nothing.
"""

from tandem_kube.client import KubeClient, Listing
from tandem_kube.errors import (
    Cause,
    Conflict,
    Expired,
    Forbidden,
    Invalid,
    KubeError,
    NoAccess,
    NotFound,
    Unavailable,
)
from tandem_kube.kinds import (
    EVENTS,
    GUEST_MOVES,
    GUESTS,
    HOSTS,
    LEASES,
    MIRRORS,
    OWN,
    SECRETS,
    SITES,
    TANDEMS,
    Kind,
    Raw,
)
from tandem_kube.transport import Access, Transport, new_socket
from tandem_kube.watch import Changed, Deleted, Ending, Interrupted, Pace, Synced, WatchEvent

__all__ = [
    "EVENTS",
    "GUESTS",
    "GUEST_MOVES",
    "HOSTS",
    "LEASES",
    "MIRRORS",
    "OWN",
    "SECRETS",
    "SITES",
    "TANDEMS",
    "Access",
    "Cause",
    "Changed",
    "Conflict",
    "Deleted",
    "Ending",
    "Expired",
    "Forbidden",
    "Interrupted",
    "Invalid",
    "Kind",
    "KubeClient",
    "KubeError",
    "Listing",
    "NoAccess",
    "NotFound",
    "Pace",
    "Raw",
    "Synced",
    "Transport",
    "Unavailable",
    "WatchEvent",
    "new_socket",
]
