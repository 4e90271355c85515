"""Two Primaries at once: when that is allowed, and when it can be forbidden. Called by ``drbd``."""

from __future__ import annotations

from typing import TYPE_CHECKING

from tandem_actuator.ports import CommandFailed
from tandem_api.vocabulary import Connection, Role

if TYPE_CHECKING:
    from sim.drbd import Replica


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


def adjust(replica: Replica) -> None:
    """Options as in a file that allows no two. Raises: CommandFailed."""
    if replica.two_primaries and replica.connection is not Connection.STANDALONE:
        allow(replica, allowed=False)
    replica.two_primaries = False


def as_it_connects(replica: Replica) -> None:
    """From StandAlone, with such a file."""
    alone = replica.connection is Connection.STANDALONE
    if alone and not replica.version.keeps_connection_options:
        replica.two_primaries = False
