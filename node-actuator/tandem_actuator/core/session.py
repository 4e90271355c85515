"""What DRBD's events have told of the connection in which this host was promoted. Pure.

That the peer is Secondary means that it has handed the guest over, if it was the guest's source
all the time since: in the same connection, and told by an event. A look cannot tell that: the peer
may have crashed and come back since the last one. Events come in the order in which they happened,
however late they are read, and where some are missing that is told.
"""

from dataclasses import dataclass, replace

from tandem_api.vocabulary import Role


@dataclass(frozen=True)
class Session:
    """As of the last event that was read. ``due``: a promotion was begun here of which nothing was
    told yet. ``broken``: one was, as the events began anew or as another was begun; what is told
    might be of that one. ``together``: the last promotion was told, and nothing since that ends it.
    ``handed``: and then that the peer has become Secondary.
    """

    due: bool = False
    broken: bool = False
    together: bool = False
    handed: bool = False

    def promoting(self) -> "Session":
        """A promotion is begun here."""
        return Session(due=True, broken=self.broken or self.due)

    def refused(self) -> "Session":
        """And nothing will be told of it."""
        return replace(self, due=False)

    def began_anew(self) -> "Session":
        """Events were missed. What is shown first, as it is at that moment, tells no order."""
        return Session(broken=self.due)

    def heard(self, role: Role | None, peer_role: Role | None, *, lost: bool) -> "Session":
        """``role``, ``peer_role``: what they are from now on, if this is about that. ``lost``: the
        connection is not there.
        """
        if role is Role.PRIMARY and self.due:
            return Session(together=not self.broken, broken=self.broken)
        if role is not None or lost or (peer_role is not None and peer_role is not Role.SECONDARY):
            return replace(self, together=False, handed=False)
        return replace(self, handed=self.together and (self.handed or peer_role is Role.SECONDARY))
