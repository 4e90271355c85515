"""One watch on its way: lines that lag, are lost, come twice; a connection that falls silent.

A way that is cut loses nothing by itself: TCP sends again what was lost, once the way is free, if
neither end has given up. The client's kernel gives up first, by its keepalive. Called by ``api``;
a scenario reaches into one by its methods.
"""

import random
from collections.abc import Callable
from typing import Any, Protocol

from sim.apiserver.feed import Feed, error_line
from sim.apiserver.store import Raw

LAG_S = (0.005, 0.05)
KEEPALIVE_S = (6.0, 11.0)
"""After so long on a dead way the client's kernel ends a connection (``tandem_kube.transport``)."""


class Inbox(Protocol):
    """The client's end."""

    def deliver(self, lines: list[Raw]) -> None:
        """Lines have arrived."""
        ...

    def end(self) -> None:
        """The server has ended the answer, in order."""
        ...

    def fail(self, why: str) -> None:
        """The connection is broken."""
        ...


class Way(Protocol):
    """Between this client and the server, as it is now."""

    lost_lines: float
    """The share of lines that never come."""
    doubled_lines: float
    bookmarks: float
    """How often a bookmark comes with what there is to tell."""

    @property
    def chance(self) -> random.Random: ...

    @property
    def watch_lag_s(self) -> tuple[float, float]: ...

    def after(self, delay_s: float, action: Callable[[], None]) -> Any: ...

    def now_s(self) -> float: ...

    def trip_s(self) -> float:
        """How long the next thing from the server takes."""
        ...

    @property
    def free(self) -> bool:
        """Whether frames pass both ways."""
        ...

    @property
    def hears(self) -> bool:
        """Whether what the server sends gets here."""
        ...

    @property
    def wired(self) -> bool:
        """The same of its machine, whether the server itself runs or not."""
        ...

    @property
    def alive(self) -> bool:
        """Whether there is a program that waits."""
        ...


class Stream:
    """From the answer to the request until either end has closed it."""

    def __init__(
        self, way: Way, feed: Feed, inbox: Inbox, closed: Callable[["Stream"], None]
    ) -> None:
        self._way, self._feed, self._inbox, self._closed = way, feed, inbox, closed
        self.lag_s: tuple[float, float] | None = None
        self.over = False
        self._on_the_way = self._ending = self._muted = self._broken = False
        self._waits_since_s: float | None = None  # something, for the way to be free
        self._dead_since_s: float | None = None

    def begin(self, life_s: float) -> None:
        """The answer has arrived, and everything that comes first with it."""
        self._feed.shelf.watchers.append(self._tell)
        self._send_on(self._feed.first)
        if self._feed.fails:
            self._end_now()
            return
        self._way.after(life_s, self._end)
        self.stir()
        self._tell()

    # -- what a scenario does

    def fall_silent(self) -> None:
        """Nothing comes any more, and keepalives are answered all the same: by what stands
        between. The client learns of it by its own patience alone.
        """
        self._muted = True

    def close(self, why: str = "the connection was closed") -> None:
        """It is broken, and the client is told as soon as it can be."""
        if self.over:
            return
        self._broken = True
        self._way.after(self._way.trip_s(), lambda: self._break(why) if self._way.wired else None)

    def end_early(self) -> None:
        """The server ends it in order, long before its time."""
        self._end()

    def fail(self, status: Raw) -> None:
        """The server says that it cannot go on, such as 410."""
        if not self.over and not self._muted:
            self._send_on([error_line(status)])
            self._end_now()

    # -- the network

    def stir(self) -> None:
        """The way may be free, or dead, otherwise than before."""
        if self.over or not self._way.alive:
            self.forget()
            return
        if not self._way.free:
            self._die_slowly()
            return
        self._dead_since_s = None
        if self._broken:
            self.close()
        elif self._waits_since_s is not None:
            silent_s, self._waits_since_s = self._way.now_s() - self._waits_since_s, None
            self._send(self._between(0.05, 0.5 + silent_s / 2))

    def _die_slowly(self) -> None:
        if self._dead_since_s is not None or self._muted:
            return
        since_s = self._dead_since_s = self._way.now_s()

        def look() -> None:
            if self._dead_since_s == since_s:
                self._break("nothing answers on this connection any more")

        self._way.after(self._between(*KEEPALIVE_S), look)

    # -- lines

    def _tell(self) -> None:
        """There is something new."""
        if self.over or not self._way.alive:
            self.forget()
        elif not self._on_the_way and self._feed.behind:
            self._on_the_way = True
            self._send(self._between(*(self.lag_s or self._way.watch_lag_s)))

    def _send(self, delay_s: float) -> None:
        until = len(self._feed.shelf.events)
        self._way.after(delay_s, lambda: self._arrive(until))

    def _arrive(self, until: int) -> None:
        if self.over or self._muted or self._broken:
            return
        if not self._way.hears:
            self._waits_since_s = self._way.now_s()
            return
        self._on_the_way = False
        lines = self._feed.take(until)
        if lines and self._way.chance.random() < self._way.bookmarks:
            lines.append(self._feed.mark())
        self._send_on(lines)
        if self._ending:
            self._end_now()
        else:
            self._tell()

    def _send_on(self, lines: list[Raw]) -> None:
        way = self._way
        if way.lost_lines:
            lines = [line for line in lines if way.chance.random() >= way.lost_lines]
        if way.doubled_lines:
            doubled = (line for line in lines for _ in range(2))
            lines = [
                line
                for number, line in enumerate(doubled)
                if number % 2 == 0 or way.chance.random() < way.doubled_lines
            ]
        if lines:
            self._inbox.deliver(lines)

    # -- its end

    def _end(self) -> None:
        """It has lived as long as it was asked to; what is on the way comes before its end."""
        if self.over:
            return
        self._ending = True
        if not self._on_the_way:
            self._on_the_way = True
            self._send(self._way.trip_s())

    def _end_now(self) -> None:
        if not self.over:
            self._inbox.end()
            self.forget()

    def _break(self, why: str) -> None:
        if not self.over:
            self._inbox.fail(why)
            self.forget()

    def forget(self) -> None:
        """Nobody waits for it any more, or it is told."""
        if not self.over:
            self.over = True
            if self._tell in self._feed.shelf.watchers:
                self._feed.shelf.watchers.remove(self._tell)
            self._closed(self)

    def _between(self, low_s: float, high_s: float) -> float:
        return low_s + (high_s - low_s) * self._way.chance.random()
