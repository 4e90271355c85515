"""The links: who can reach whom now. Cables are cut silently, as a dead fibre is.

``management`` leads from every host to the API; ``replication`` joins the hosts. Called by the
API's clients, by DRBD, and by the verbs that cut and heal.
"""

from collections.abc import Callable

MANAGEMENT, REPLICATION = "management", "replication"


class Network:
    """Which cables are cut: a link as a whole (host "") or one host's end of it."""

    def __init__(self) -> None:
        self._cut: set[tuple[str, str]] = set()
        self.healed: list[Callable[[], None]] = []

    def cut(self, link: str, host: str = "") -> None:
        self._cut.add((link, host))

    def heal(self, link: str, host: str = "") -> None:
        """Healing a link as a whole mends every host's end too."""
        mended = {end for end in self._cut if end[0] == link and host in ("", end[1])}
        self._cut -= mended
        for told in self.healed:
            told()

    def up(self, link: str, *hosts: str) -> bool:
        """Whether frames pass on this link between these hosts (and what is behind it)."""
        return not any((link, end) in self._cut for end in ("", *hosts))

    @property
    def whole(self) -> bool:
        return not self._cut
