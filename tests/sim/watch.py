"""Following the objects of one kind: a list, then every change in order, late by a little.

The counterpart of ``tandem_kube.watch``: one that breaks is never resumed from where it was but
begins anew with a list. That each ends now and then, and the next goes on, is not to be seen. What
happens to it on the way is the network's and the scenario's doing: it lags, it falls silent, it is
closed. Called by ``actuator`` and ``controller``.
"""

from collections.abc import Callable, Generator
from dataclasses import dataclass

from sim.api import Client, History
from sim.kernel import Command, Sleep
from tandem_api.meta import ObjectKey, Resource

LAG_S = (0.005, 0.05)
SILENT_FOR_S = 11.0
"""TCP's keepalive ends a connection that has been dead for so long (``tandem_kube.transport``)."""


@dataclass(frozen=True)
class Listed:
    """The whole state, replacing all that was known."""

    objects: tuple[Resource, ...]


News = Listed | Resource | ObjectKey


class Watch:
    """One kind, for one program. ``_silent_since_s``: nothing has come through since then."""

    def __init__(
        self, client: Client, kind: type[Resource], deliver: Callable[[News], None]
    ) -> None:
        self.client, self.kind, self.deliver = client, kind, deliver
        self.api, self.kernel, self.group = client.api, client.api.kernel, client.group
        self.history: History = self.api.server.history[kind.__name__]
        self._seen, self._life, self._on_the_way = 0, 0, False
        self._silent_since_s: float | None = None

    def begin(self) -> None:
        """For as long as its program lives."""
        self.history.told.append(self._tell)
        self.api.stirred.append(self._stir)
        self.api.server.restored.append(self.close)
        self.kernel.spawn(self.group, self._list(self._life))

    def close(self) -> None:
        """It ends, and its program knows: list again."""
        self._life += 1
        self._on_the_way, self._silent_since_s = False, None
        self.kernel.after(self.kernel.between(0.05, 0.5), self.group, self._again)

    def fall_silent(self) -> None:
        """Nothing comes through any more, and its program learns of that only after a while."""
        self._life += 1
        self._on_the_way = True
        life = self._life

        def notice() -> None:
            if life == self._life:
                self.close()

        self.kernel.after(self.kernel.between(SILENT_FOR_S - 6.0, SILENT_FOR_S), self.group, notice)

    def _again(self) -> None:
        self._life += 1
        self.kernel.spawn(self.group, self._list(self._life))

    def _list(self, life: int) -> Generator[Command, bool, None]:
        self._on_the_way = True
        while True:
            yield Sleep(self.client.trip_s())
            if self.client.reachable:
                break
            yield Sleep(self.kernel.between(0.3, 1.5))
        objects = tuple(self.api.server.every(self.kind))
        self._seen = len(self.history.entries)
        yield Sleep(self.client.trip_s())
        if life == self._life:
            self.deliver(Listed(objects))
            self._on_the_way = False
            self._tell()

    def _tell(self) -> None:
        """There is something new."""
        if not self.group.alive:
            self._forget()
        elif not self._on_the_way and self._seen < len(self.history.entries):
            self._on_the_way = True
            self._send(self.kernel.between(*self.api.lag_s.get(self.client.host, LAG_S)))

    def _send(self, delay_s: float) -> None:
        life, until = self._life, len(self.history.entries)

        def arrive() -> None:
            if life == self._life:
                self._arrive(until)

        self.kernel.after(delay_s, self.group, arrive)

    def _arrive(self, until: int) -> None:
        if not self.client.hears:
            self._silent_since_s = self.kernel.now_s
            return
        self._on_the_way = False
        news, self._seen = self.history.entries[self._seen : until], until
        for entry in news:
            self.deliver(entry)
        self._tell()

    def _stir(self) -> None:
        """The way may be free again: TCP sends again what was lost, unless it has given up."""
        if not self.group.alive:
            self._forget()
        elif self._silent_since_s is not None and self.client.hears:
            silent_s, self._silent_since_s = self.kernel.now_s - self._silent_since_s, None
            if silent_s > SILENT_FOR_S:
                self.close()
            else:
                self._send(self.kernel.between(0.05, 0.5 + silent_s / 2))

    def _forget(self) -> None:
        for told, mine in (
            (self.history.told, self._tell),
            (self.api.stirred, self._stir),
            (self.api.server.restored, self.close),
        ):
            if mine in told:
                told.remove(mine)
