"""Two Primaries at once: when that is allowed, and when it can be forbidden.

Called by ``replica`` and ``ports``.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from tandem_actuator.ports import CommandFailed
from tandem_api.vocabulary import Connection, Role

if TYPE_CHECKING:
    from sim.drbd.replica import Replica


def allow(replica: Replica, *, allowed: bool) -> None:
    """From either end for both, while they are connected; else at this end alone.

    Raises: CommandFailed.
    """
    if replica.connection is Connection.STANDALONE and not replica.version.keeps_connection_options:
        raise CommandFailed("unknown connection")
    if not allowed and replica.role is replica.peer_role is Role.PRIMARY:
        raise CommandFailed("cannot clear allow-two-primaries as long as there are two")
    replica.two_primaries = allowed
    replica.wire.send(replica, lambda peer: setattr(peer, "two_primaries", allowed))


def adjust(replica: Replica, *, allowed: bool = False) -> None:
    """Options as in the file. Raises: CommandFailed."""
    differs = replica.two_primaries != allowed
    if differs and replica.connection is not Connection.STANDALONE:
        allow(replica, allowed=allowed)
    replica.two_primaries = allowed


def as_it_connects(replica: Replica, *, allowed: bool = False) -> None:
    """From StandAlone, with the options that the file has."""
    alone = replica.connection is Connection.STANDALONE
    if alone and not replica.version.keeps_connection_options:
        replica.two_primaries = allowed
