"""Following a kind: everything that there is, then each change, for ever.

Where the server streams lists, everything comes on the watch itself; elsewhere it is listed first.

**A watch that is dead is noticed.** A quiet watch and a dead one look the same, and a server sends
no bookmark on a quiet one. So the server is asked to end each watch after ``Pace.life_s``: that
end is the sign of life, and one on which nothing at all came for ``Pace.idle_s`` is dead.

**What may go on from where it was.** Only a watch that the server itself ended when it was asked
to: the next one begins at once, from the last version. After any other end everything is listed
anew: what broke a watch may have been a restore of the server from a backup, after which versions
go backwards, and a watch from a version that is yet to come tells nothing, without an error.

It never decides anything from silence: a quiet watch says nothing about freshness. Whoever needs
a fresh value reads it by quorum.
"""

import asyncio
import random
from collections.abc import AsyncGenerator, Callable, Coroutine
from contextlib import aclosing
from dataclasses import dataclass
from enum import StrEnum
from typing import Any, NamedTuple

from tandem_kube.errors import Expired, Invalid, KubeError, Stalled, Unavailable, error_of
from tandem_kube.kinds import Raw
from tandem_kube.transport import Transport

LIST_TIMEOUT_S = 10.0
OPEN_TIMEOUT_S = 5.0
BACKOFF_FIRST_S = 0.1
BACKOFF_LAST_S = 5.0
LIVED_S = 5.0
"""A watch that lived this long starts the back-off anew."""
INITIAL_EVENTS_END = "k8s.io/initial-events-end"
CHANCE = random.Random()
"""Another one gives the same results again."""


@dataclass(frozen=True)
class Pace:
    """How long a watch lives, how long it may be silent, and when everything is listed anew.

    ``life_s``: whole seconds, at random within, so that many clients do not march in step.
    ``early_s``: one that ends so much before its time was not ended by its time.
    """

    life_s: tuple[int, int] = (8, 12)
    grace_s: float = 3.0
    early_s: float = 1.5
    list_again_s: tuple[float, float] = (240.0, 300.0)

    def idle_s(self, life_s: int) -> float:
        """How long nothing may come on a watch that shall live so long."""
        return life_s + self.grace_s


PACE = Pace()


class Ending(StrEnum):
    """Why a watch had to be started anew. Its ordinary end is none of them."""

    IDLE = "Idle"
    """Nothing came within the limit, not even its end: the way to the server is dead."""
    BROKEN = "Broken"
    """The connection was cut, or the server ended it before its time."""
    REFUSED = "Refused"
    """It could not be begun: the server is not reached, or says no."""
    EXPIRED = "Expired"
    """The server no longer keeps the version to go on from."""


@dataclass(frozen=True)
class Synced:
    """The whole state, replacing all that was known. First, and again after an interruption."""

    items: tuple[Raw, ...]


@dataclass(frozen=True)
class Changed:
    """An object was added or modified."""

    object: Raw


@dataclass(frozen=True)
class Deleted:
    """An object is gone, or no longer matches the selector. Its last state."""

    object: Raw


@dataclass(frozen=True)
class Interrupted:
    """Nothing is seen until the next Synced. The message is for people."""

    message: str
    ending: Ending


WatchEvent = Synced | Changed | Deleted | Interrupted
Lister = Callable[[], Coroutine[Any, Any, tuple[list[Raw], str]]]


async def follow(
    transport: Transport,
    path: str,
    query: dict[str, str],
    lister: Lister,
    pace: Pace = PACE,
    chance: random.Random = CHANCE,
) -> AsyncGenerator[WatchEvent, None]:
    """Endless. ``lister`` gives the items and the resourceVersion to watch from."""
    follower, delays = _Follower(transport, path, query, lister, pace, chance), Backoff(chance)
    while True:
        began_s = _now_s()
        try:
            async with aclosing(follower.once()) as events:
                async for event in events:
                    yield event
        except KubeError as error:
            yield follower.interrupted(error)
            if _now_s() - began_s > LIVED_S:
                delays.reset()
            await asyncio.sleep(delays.next_s())
        else:
            delays.reset()


class _Follower:
    """One kind's watches, one after another, and what the next one has to know."""

    def __init__(
        self,
        transport: Transport,
        path: str,
        query: dict[str, str],
        lister: Lister,
        pace: Pace,
        chance: random.Random,
    ) -> None:
        self._transport, self._path, self._query = transport, path, query
        self._lister, self._pace, self._chance = lister, pace, chance
        self._streams_lists = True
        self._version = ""  # to go on from; empty: everything is to be told first
        self._list_again_at_s = 0.0
        self._open = False

    def interrupted(self, error: KubeError) -> Interrupted:
        """The last one ended by an error; the next begins with everything."""
        self._version = ""
        match error:
            case Stalled():
                ending = Ending.IDLE
            case Expired():
                ending = Ending.EXPIRED
            case _:
                ending = Ending.BROKEN if self._open else Ending.REFUSED
        return Interrupted(str(error), ending)

    async def once(self) -> AsyncGenerator[WatchEvent, None]:
        """One watch, from its beginning to its ordinary end; any other end is an error."""
        self._open = False
        now_s = _now_s()
        if now_s > self._list_again_at_s:
            self._version = ""
        if not self._version:
            self._list_again_at_s = now_s + self._chance.uniform(*self._pace.list_again_s)
            if not self._streams_lists:
                items, self._version = await self._lister()
                yield Synced(tuple(items))
        try:
            async with aclosing(self._stream(self._chance.randint(*self._pace.life_s))) as events:
                async for event in events:
                    yield event
        except Invalid:
            if self._version or not self._streams_lists:
                raise
            self._streams_lists = False  # This server streams no lists.

    async def _stream(self, life_s: int) -> AsyncGenerator[WatchEvent, None]:
        first = None if self._version else _First()
        began_s = _now_s()
        async with self._transport.stream(
            self._path,
            {**self._query, **self._parameters(life_s)},
            open_timeout_s=OPEN_TIMEOUT_S,
            life_s=self._pace.idle_s(life_s) + LIST_TIMEOUT_S,
            idle_s=self._pace.idle_s(life_s),
        ) as lines:
            self._open = True
            async for value in lines:
                line = read_line(value)
                if first is None:
                    self._version = line.version or self._version
                    if line.event is not None:
                        yield line.event
                elif line.all_told:
                    self._version, synced, first = line.version, first.synced(), None
                    yield synced
                else:
                    first.take(line.event)
        self._judge_end(first, _now_s() - began_s, life_s)

    def _parameters(self, life_s: int) -> dict[str, str]:
        common = {"watch": "true", "allowWatchBookmarks": "true", "timeoutSeconds": str(life_s)}
        if self._version:
            return {**common, "resourceVersion": self._version}
        # Without a version: as fresh as a quorum read.
        return {**common, "sendInitialEvents": "true", "resourceVersionMatch": "NotOlderThan"}

    def _judge_end(self, first: "_First | None", lived_s: float, life_s: int) -> None:
        """The server ended it: was it time, and had everything been told?"""
        if lived_s < life_s - self._pace.early_s:
            raise Unavailable(f"the server ended a watch of {life_s} s after {lived_s:.1f} s")
        if first is not None:
            self._streams_lists = False
            raise Unavailable(f"the server did not say within {life_s} s that it had told all")
        if lived_s > self._pace.idle_s(life_s):
            # This program stood still, and cannot know what became of the server meanwhile.
            self._version = ""


class _First:
    """What a streamed list has told so far. Changes may come between."""

    def __init__(self) -> None:
        self._items: dict[tuple[str, str], Raw] = {}

    def take(self, event: WatchEvent | None) -> None:
        match event:
            case Changed(raw):
                self._items[_key(raw)] = raw
            case Deleted(raw):
                self._items.pop(_key(raw), None)

    def synced(self) -> Synced:
        return Synced(tuple(self._items.values()))


def _key(raw: Raw) -> tuple[str, str]:
    metadata = raw["metadata"]
    return metadata.get("namespace", ""), metadata["name"]


class Line(NamedTuple):
    """One line of a watch. A bookmark has a version and no event; ``all_told``: the list's end."""

    event: Changed | Deleted | None
    version: str
    all_told: bool


def read_line(raw: Any) -> Line:
    """One line of a watch, from what its JSON says.

    Raises:
        KubeError: the line is an error, or cannot be read.
    """
    try:
        kind, body = raw["type"], raw["object"]
        if kind == "ERROR":
            raise error_of(int(body.get("code") or 500), body)
        metadata = body["metadata"]
        version = str(metadata.get("resourceVersion") or "")
        if kind == "BOOKMARK":
            told = (metadata.get("annotations") or {}).get(INITIAL_EVENTS_END) == "true"
            return Line(None, version, told)
    except (ValueError, KeyError, TypeError, AttributeError) as error:
        raise Unavailable(f"a watch's line cannot be read: {error}") from error
    return Line(Deleted(body) if kind == "DELETED" else Changed(body), version, False)


def _now_s() -> float:
    return asyncio.get_running_loop().time()


class Backoff:
    """Delays that double up to a limit, each with jitter so that clients do not march in step."""

    def __init__(self, chance: random.Random = CHANCE) -> None:
        self._chance, self._delay_s = chance, BACKOFF_FIRST_S

    def reset(self) -> None:
        self._delay_s = BACKOFF_FIRST_S

    def next_s(self) -> float:
        delay_s = self._delay_s
        self._delay_s = min(delay_s * 2, BACKOFF_LAST_S)
        return delay_s * self._chance.uniform(0.5, 1.5)
