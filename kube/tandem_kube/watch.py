"""Following a kind: list, then watch, and list again whenever the watch ends.

A watch that ends is never resumed from where it was. A list is cheap, and after a server was
restored from a backup it is the only way to see that everything went backwards.

It never decides anything from silence: a quiet watch says nothing about freshness. Whoever needs
a fresh value reads it by quorum.
"""

import asyncio
import json
import random
from collections.abc import AsyncIterator, Callable, Coroutine
from dataclasses import dataclass
from typing import Any

from tandem_kube.errors import Expired, KubeError, Unavailable, error_of
from tandem_kube.kinds import Raw
from tandem_kube.transport import Transport

LIST_TIMEOUT_S = 10.0
OPEN_TIMEOUT_S = 5.0
SERVER_ENDS_AFTER_S = (240, 300)
"""The server is asked to end a watch after a random time within; so nothing is stale for longer."""
GRACE_S = 10.0
BACKOFF_FIRST_S = 0.1
BACKOFF_LAST_S = 5.0
LIVED_S = 5.0
"""A watch that lived this long starts the back-off anew."""


@dataclass(frozen=True)
class Synced:
    """The whole state, replacing all that was known. After the first, so after an interruption."""

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


WatchEvent = Synced | Changed | Deleted | Interrupted
Lister = Callable[[], Coroutine[Any, Any, tuple[list[Raw], str]]]


async def follow(
    transport: Transport, path: str, query: dict[str, str], lister: Lister
) -> AsyncIterator[WatchEvent]:
    """Endless. ``lister`` gives the items and the resourceVersion to watch from."""
    delays = Backoff()
    while True:
        began_s = asyncio.get_running_loop().time()
        try:
            items, version = await lister()
            yield Synced(tuple(items))
            async for event in _stream(transport, path, {**query, "resourceVersion": version}):
                yield event
        except Expired:
            pass  # The ordinary end of an old watch.
        except KubeError as error:
            yield Interrupted(str(error))
        if asyncio.get_running_loop().time() - began_s > LIVED_S:
            delays.reset()
        await asyncio.sleep(delays.next_s())


async def _stream(
    transport: Transport, path: str, query: dict[str, str]
) -> AsyncIterator[WatchEvent]:
    server_ends_s = random.randint(*SERVER_ENDS_AFTER_S)
    full = {**query, "watch": "true", "timeoutSeconds": str(server_ends_s)}
    async with transport.stream(
        path, full, open_timeout_s=OPEN_TIMEOUT_S, life_s=server_ends_s + GRACE_S
    ) as lines:
        async for line in lines:
            yield _event(line)


def _event(line: bytes) -> WatchEvent:
    """One line of a watch.

    Raises:
        KubeError: the line is an error, or cannot be read.
    """
    try:
        raw = json.loads(line)
        kind, body = raw["type"], raw["object"]
    except (ValueError, KeyError, TypeError) as error:
        raise Unavailable(f"a watch's line cannot be read: {error}") from error
    if kind == "ERROR":
        raise error_of(int(body.get("code") or 500), body)
    if kind == "DELETED":
        return Deleted(body)
    return Changed(body)


class Backoff:
    """Delays that double up to a limit, each with jitter so that clients do not march in step."""

    def __init__(self) -> None:
        self._delay_s = BACKOFF_FIRST_S

    def reset(self) -> None:
        self._delay_s = BACKOFF_FIRST_S

    def next_s(self) -> float:
        delay_s = self._delay_s
        self._delay_s = min(delay_s * 2, BACKOFF_LAST_S)
        return delay_s * random.uniform(0.5, 1.5)
