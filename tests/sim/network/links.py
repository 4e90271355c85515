"""The links: who can reach whom now. Cables are cut silently, as a dead fibre is.

``management`` leads from every host to the API; ``replication`` joins the hosts, each end of it
leads to all others. A host's end can be cut in one direction only, and two hosts can be kept from
each other alone. Called by the API's clients, by DRBD, and by the verbs that cut and
heal.
"""

from collections.abc import Callable

MANAGEMENT, REPLICATION = "management", "replication"
IN, OUT = "in", "out"
"""As a host sees it: what it receives, what it sends."""


class Network:
    """Which cables are cut: a link as a whole (host "") or one host's end of it, or one direction
    of that. ``slow_s``: how much longer a trip over a host's end of the management link may take;
    ``slow_way_s``: how much longer one way of it does take;
    ``delay_s``: how much longer what comes from a host takes, per link. ``narrow``: large packets
    get lost on the replication link, as where a path takes less than its ends believe.
    """

    def __init__(self) -> None:
        self._cut: set[tuple[str, str, str]] = set()
        self._apart: set[frozenset[str]] = set()
        self.slow_s: dict[str, float] = {}
        self.slow_way_s: dict[tuple[str, str], float] = {}
        self.delay_s: dict[tuple[str, str], float] = {}
        self.narrow = self.was_narrow = False
        self.changed: list[Callable[[], None]] = []

    def cut(self, link: str, host: str = "", direction: str = "") -> None:
        for one in (direction,) if direction else (IN, OUT):
            self._cut.add((link, host, one))
        self._tell()

    def heal(self, link: str, host: str = "") -> None:
        """Healing a link as a whole mends every host's end too, and joins who was parted."""
        self._cut -= {end for end in self._cut if end[0] == link and host in ("", end[1])}
        if link == REPLICATION and not host:
            self._apart.clear()
        self._tell()

    def part(self, one: str, other: str) -> None:
        """Between these two nothing passes on the replication link, whatever passes to others."""
        self._apart.add(frozenset((one, other)))
        self._tell()

    def join(self, one: str, other: str) -> None:
        """As before they were parted."""
        self._apart.discard(frozenset((one, other)))
        self._tell()

    def squeeze(self, *, narrow: bool) -> None:
        """From now on large packets get lost on the replication link, or pass again."""
        self.narrow = narrow
        self.was_narrow |= narrow
        self._tell()

    def _parted(self, link: str, *hosts: str) -> bool:
        return link == REPLICATION and frozenset(hosts) in self._apart

    def slow(self, host: str, seconds: float) -> None:
        """Every trip between this host and the API takes up to this much longer; 0 is normal."""
        self.slow_s[host] = seconds

    def _tell(self) -> None:
        for told in self.changed:
            told()

    def passes(self, link: str, sender: str = "", receiver: str = "") -> bool:
        """Whether frames pass from one host to another ("": what is not a host)."""
        if not self._cut and not self._apart:
            return True
        ends = ((link, "", OUT), (link, sender, OUT), (link, receiver, IN))
        cut = any(end in self._cut for end in ends)
        return not cut and not self._parted(link, sender, receiver)

    def up(self, link: str, *hosts: str) -> bool:
        """Whether frames pass both ways between these hosts (and what is behind the link)."""
        if not self._cut and not self._apart:
            return True
        cut = any((link, end, way) in self._cut for end in ("", *hosts) for way in (IN, OUT))
        return not cut and not self._parted(link, *hosts)
