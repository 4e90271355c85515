"""The API server and every program's way to it.

A request travels, is carried out at one moment, and its answer travels back. On the way it can be
lost; kept by a dead link, and delivered when that is healed, although its sender has long given up
or is dead; refused by a server that is not well. What its sender makes of all that is the real
client's doing: here nobody waits, so a program that stands still has sent what it has sent.

All chance is the given one's; all time is told by the given ``after`` and ``now``. Called by
``transport``, by the world, and by the verbs that break things.
"""

import random
from collections.abc import Callable
from dataclasses import dataclass, field
from functools import partial
from http import HTTPStatus
from typing import Any, Protocol

from sim.apiserver import failures
from sim.apiserver.failures import Failure
from sim.apiserver.feed import open_feed
from sim.apiserver.handler import Request
from sim.apiserver.server import Server
from sim.apiserver.store import Backup, Raw
from sim.apiserver.stream import LAG_S, Inbox, Stream
from sim.network.links import IN, MANAGEMENT, OUT, Network

LATENCY_S = (0.002, 0.02)
KEPT_BY_THE_NETWORK = 0.5
"""How likely a write into a dead link is carried out after it was healed."""
KEPT_FOR_S = (0.05, 3.0)
READ_LATE = 0.8
"""How likely a server that goes on carries out what it finds on a connection: it may see first that
its client has given up."""
READS_IN_S = (0.001, 0.05)
SENT_AGAIN_S = 0.2
"""A request that is longer on its way than this needs its sender's kernel, to be sent again."""
BOOKMARKS = 0.1
NO_CONNECTION = 0
"""In place of a code: the connection was refused or reset. Whoever waits is told at once."""
NO_ANSWER = -1
"""In place of a code: nothing comes back, ever."""

Answered = Callable[[int, Any], None]


class After(Protocol):
    """Let something happen later, whatever becomes of the program that asked for it."""

    def __call__(self, delay_s: float, action: Callable[[], None], /) -> object: ...


@dataclass(frozen=True)
class Refusal:
    """A server that is not well, or a way that is not. ``host``: whose, None: everybody's.

    ``code`` is of HTTP, or NO_CONNECTION, or NO_ANSWER. ``after``: what was asked is done all the
    same. ``but_leases``: what concerns Leases is answered.
    """

    code: int
    share: float = 1.0
    host: str | None = None
    methods: frozenset[str] = frozenset({"GET", "POST", "PATCH", "PUT", "DELETE"})
    after: bool = False
    but_leases: bool = False

    def means(self, host: str, request: Request) -> bool:
        """Whether it is about what this host asks."""
        if self.but_leases and "/leases" in request.path:
            return False
        return self.host in (None, host) and request.method in self.methods

    @property
    def answer(self) -> tuple[int, Any]:
        if self.code <= NO_CONNECTION:
            return self.code, "the connection was reset"
        return self.code, failures.refused(self.code).status()


@dataclass(slots=True)
class _Sent:
    """A request under way. ``life``: which life of the server's connections it belongs to."""

    wire: "Wire"
    request: Request
    answered: Answered
    inbox: Inbox | None
    life: int
    there_s: float


@dataclass
class Wire:
    """One program's way to the server. ``host`` is empty for the controller, which is beside it.

    ``program``, ``machine``: whether it lives. ``_joined``: it has a connection on which the last
    request was answered, so that a request needs only one direction.
    """

    api: "Api"
    host: str
    program: Callable[[], bool] = lambda: True
    machine: Callable[[], bool] = lambda: True
    lost_lines: float = 0.0
    doubled_lines: float = 0.0
    bookmarks: float = BOOKMARKS
    joined: bool = True

    # -- what a stream asks of it

    @property
    def chance(self) -> random.Random:
        return self.api.chance

    @property
    def watch_lag_s(self) -> tuple[float, float]:
        return self.api.watch_lag_s.get(self.host, LAG_S)

    def after(self, delay_s: float, action: Callable[[], None]) -> object:
        return self.api.after(delay_s, action)

    def now_s(self) -> float:
        return self.api.now()

    @property
    def free(self) -> bool:
        return self.api.up and self.api.joined(self.host)

    @property
    def hears(self) -> bool:
        return self.api.answers and self.wired

    @property
    def wired(self) -> bool:
        return self.api.network.passes(MANAGEMENT, receiver=self.host)

    @property
    def alive(self) -> bool:
        return self.program()

    def trip_s(self) -> float:
        """How long one way takes."""
        network, chance = self.api.network, self.chance
        low_s, high_s = self.api.latency_s
        trip_s = low_s + (high_s - low_s) * chance.random()
        trip_s += network.delay_s.get((MANAGEMENT, self.host), 0.0) / 2
        slow_s = network.slow_s.get(self.host, 0.0)
        return trip_s + slow_s * chance.random() if slow_s else trip_s

    # -- what a client asks of it

    def send(self, request: Request, answered: Answered, inbox: Inbox | None = None) -> None:
        """``answered`` is told code and body, or never. With an inbox it is a watch."""
        api = self.api
        there_s = self.trip_s() + api.network.slow_way_s.get((self.host, OUT), 0.0)
        sent = _Sent(self, request, answered, inbox, api.life, there_s)
        api.after(there_s, partial(api.arrive, sent))

    def gave_up(self) -> None:
        """No answer came in time: that connection is not used again."""
        self.joined = False


@dataclass
class Api:
    """The server and the ways to it. ``life`` is that of all its connections."""

    server: Server
    network: Network
    chance: random.Random
    after: After
    now: Callable[[], float]
    latency_s: tuple[float, float] = LATENCY_S
    up: bool = True
    refuses_when_down: bool = False
    life: int = 0
    paused: bool = False
    """Its process stands still: its kernel takes requests, which are read once it goes on."""
    unread: list[_Sent] = field(default_factory=list)
    kept: list[_Sent] = field(default_factory=list)
    streams: list[tuple[str, Stream]] = field(default_factory=list)
    watch_lag_s: dict[str, tuple[float, float]] = field(default_factory=dict)
    refusals: list[Refusal] = field(default_factory=list)
    cache_lag_s: float = 1.0
    """How late the watch cache may be that answers reads at version 0."""
    cache_stands_since_s: float | None = None
    heard: Callable[[str, Request, int], None] = lambda *_: None
    wires: list[Wire] = field(default_factory=list)
    spoilt: dict[str, tuple[float, float]] = field(default_factory=dict)
    """By host: the shares of its watches' lines that are lost, and that come twice."""

    def __post_init__(self) -> None:
        self.network.changed.append(self.stir)
        self.server.restored.append(self.break_all)
        self.server.handler.stale_at_s = self._stale_at_s

    def wire(
        self,
        host: str,
        program: Callable[[], bool] = lambda: True,
        machine: Callable[[], bool] = lambda: True,
    ) -> Wire:
        lost, doubled = self.spoilt.get(host, (0.0, 0.0))
        made = Wire(self, host, program, machine, lost, doubled)
        self.wires = [wire for wire in self.wires if wire.alive] + [made]
        return made

    @property
    def answers(self) -> bool:
        return self.up and not self.paused

    def reachable(self, host: str) -> bool:
        """Whether it answers this host."""
        return self.answers and self.joined(host)

    def joined(self, host: str) -> bool:
        """Whether frames pass both ways."""
        return not host or self.network.up(MANAGEMENT, host)

    def takes(self, wire: Wire) -> bool:
        """Whether a request gets to the server, if perhaps not its answer back."""
        sent = wire.joined and self.network.passes(MANAGEMENT, sender=wire.host)
        return self.up and (sent or self.joined(wire.host))

    # -- what happens to it

    def set_up(self, up: bool, *, told: bool = False) -> None:
        """``told``: its machine goes on, so that connections to it are reset and refused."""
        self.up, self.refuses_when_down = up, told and not up
        if told and not up:
            self.break_all()
        self.stir()

    def pause(self) -> None:
        self.paused = True
        self.stir()

    def resume(self) -> None:
        """It reads what its kernel has taken meanwhile, also of those who live no more."""
        unread, self.paused, self.unread = self.unread, False, []
        delay_s, (low_s, high_s) = 0.0, READS_IN_S
        for sent in unread:
            delay_s += low_s + (high_s - low_s) * self.chance.random()
            if self.chance.random() < READ_LATE:
                self.after(delay_s, partial(self._read, sent))
        self.stir()

    def _read(self, sent: _Sent) -> None:
        """Of connections that have ended since it finds nothing."""
        if self.paused:
            self.unread.append(sent)
        elif self.up and sent.life == self.life:
            self._carry_out(sent)

    def break_all(self) -> None:
        """Every connection ends, as when its process is started anew."""
        self.life += 1
        self.paused, self.unread = False, []
        for _, stream in list(self.streams):
            stream.close()

    def streams_of(self, host: str) -> list[Stream]:
        """The watches of the programs there; the controllers' are those of no host."""
        return [stream for name, stream in self.streams if name == host and not stream.over]

    def spoil(self, host: str, lost: float, doubled: float) -> None:
        """What the watches of the programs there tell, also those that are opened later."""
        self.spoilt[host] = lost, doubled
        for wire in self.wires:
            if wire.host == host:
                wire.lost_lines, wire.doubled_lines = lost, doubled

    def cache_stands(self, stands: bool) -> None:
        """Whether its watch cache hears of nothing; quorum reads do not ask it."""
        self.cache_stands_since_s = self.now() if stands else None

    def backup(self) -> Backup:
        return self.server.backup()

    def _stale_at_s(self) -> float:
        now_s = self.now() if self.cache_stands_since_s is None else self.cache_stands_since_s
        return now_s - self.cache_lag_s * self.chance.random()

    def stir(self) -> None:
        for _, stream in list(self.streams):
            stream.stir()
        self._deliver_kept()

    def _deliver_kept(self) -> None:
        """What the network kept arrives some time after the way is free."""
        ready = [sent for sent in self.kept if self.reachable(sent.wire.host)]
        if ready:
            self.kept = [sent for sent in self.kept if not self.reachable(sent.wire.host)]
        for sent in ready:
            low_s, high_s = KEPT_FOR_S
            sent.there_s = low_s + (high_s - low_s) * self.chance.random()
            self.after(sent.there_s, partial(self.arrive, sent))

    # -- a request's way

    def arrive(self, sent: _Sent) -> None:
        """It outlives its process, but what takes longer than a moment does not its machine."""
        wire = sent.wire
        if sent.there_s > SENT_AGAIN_S and not wire.machine():
            return
        if sent.life != self.life or self.refuses_when_down:
            self._answer(sent, NO_CONNECTION, "the connection was reset")
        elif self.takes(wire):
            self._read(sent)
        elif sent.request.writes and self.chance.random() < KEPT_BY_THE_NETWORK:
            self.kept.append(sent)

    def _carry_out(self, sent: _Sent) -> None:
        code, body = self._outcome(sent)
        if code == NO_ANSWER:
            return
        wire = sent.wire
        self.heard(wire.host, sent.request, code)
        back_s = wire.trip_s() + self.network.slow_way_s.get((wire.host, IN), 0.0)
        self.after(back_s, partial(self._answer, sent, code, body))

    def _outcome(self, sent: _Sent) -> tuple[int, Any]:
        refusal = self._refusal(sent) if self.refusals else None
        if refusal is not None and not refusal.after:
            return refusal.answer
        if sent.inbox is not None:
            try:
                return HTTPStatus.OK, open_feed(self.server.handler, sent.request)
            except Failure as failure:
                return failure.code, failure.status()
        code, body = self.server.answer(sent.wire.host, sent.request)
        return (code, body) if refusal is None else refusal.answer

    def _refusal(self, sent: _Sent) -> Refusal | None:
        for refusal in self.refusals:
            meant = refusal.means(sent.wire.host, sent.request)
            if meant and self.chance.random() < refusal.share:
                return refusal
        return None

    def _answer(self, sent: _Sent, code: int, body: Any) -> None:
        wire = sent.wire
        heard = self.up and wire.wired
        if not wire.program() or not (heard or self.refuses_when_down):
            return
        if sent.life != self.life:
            code, body = NO_CONNECTION, "the connection was reset"
        wire.joined = True
        if sent.inbox is not None and code == HTTPStatus.OK:
            stream = Stream(wire, body, sent.inbox, self._forget)
            self.streams.append((wire.host, stream))
            sent.answered(code, stream)
            if not stream.over:
                stream.begin(float(sent.request.query.get("timeoutSeconds", "1800")))
            return
        sent.answered(code, body)

    def _forget(self, stream: Stream) -> None:
        self.streams = [each for each in self.streams if each[1] is not stream]


__all__ = ["NO_ANSWER", "NO_CONNECTION", "Api", "Raw", "Refusal", "Wire"]
