"""Following a kind, against a scripted server on the loopback: how a watch ends decides what next.

The real server's part is in tests/integration/test_watches.py.
"""

import asyncio
import json
import time
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import aclosing, asynccontextmanager

import pytest
from aiohttp import web
from kubernetes.aio.client import Configuration

from tandem_kube import Changed, Deleted, Ending, Interrupted, KubeClient, Pace, Synced, WatchEvent
from tandem_kube.kinds import MIRRORS, Raw
from tandem_kube.transport import HttpTransport
from tandem_kube.watch import INITIAL_EVENTS_END

LIFE_S = 1
PACE = Pace(life_s=(LIFE_S, LIFE_S), grace_s=0.5, early_s=0.4)
Turn = Callable[[web.StreamResponse], Awaitable[None]]
REFUSED = {"message": "sendInitialEvents is forbidden for watch"}


def thing(name: str, version: int) -> Raw:
    metadata = {"namespace": "ns", "name": name, "resourceVersion": str(version)}
    return {"kind": "Mirror", "metadata": metadata}


def line(kind: str, body: Raw) -> bytes:
    return json.dumps({"type": kind, "object": body}).encode() + b"\n"


def mark(version: int, *, all_told: bool = False) -> bytes:
    notes = {"annotations": {INITIAL_EVENTS_END: "true"}} if all_told else {}
    return line("BOOKMARK", {"metadata": {"resourceVersion": str(version), **notes}})


def tells(*lines: bytes, lives_s: float = LIFE_S) -> Turn:
    """A watch that says this and ends in order after so long."""

    async def turn(response: web.StreamResponse) -> None:
        for each in lines:
            await response.write(each)
        await asyncio.sleep(lives_s)

    return turn


def cut_after(*lines: bytes) -> Turn:
    """A watch whose connection is cut in the middle."""

    async def turn(response: web.StreamResponse) -> None:
        await tells(*lines, lives_s=0.1)(response)
        assert response._req is not None
        assert response._req.transport is not None
        response._req.transport.abort()

    return turn


class Server:
    """Answers each watch by the next turn of the script, and remembers what was asked.

    A turn that is a number is an error status. When the script has ended, everything hangs.
    """

    def __init__(self, *script: Turn | int) -> None:
        self.script = list(script)
        self.watches: list[dict[str, str]] = []
        self.lists = 0

    async def answer(self, request: web.Request) -> web.StreamResponse:
        if "watch" not in request.query:
            self.lists += 1
            body = {"items": [thing("listed", 5)], "metadata": {"resourceVersion": "7"}}
            return web.json_response(body)
        self.watches.append(dict(request.query))
        turn: Turn | int = self.script.pop(0) if self.script else tells(lives_s=30)
        if isinstance(turn, int):
            return web.json_response(REFUSED, status=turn)
        response = web.StreamResponse()
        await response.prepare(request)
        await turn(response)
        return response


@asynccontextmanager
async def following(server: Server, pace: Pace = PACE) -> AsyncIterator[AsyncIterator[WatchEvent]]:
    app = web.Application()
    app.router.add_get("/{path:.*}", server.answer)
    runner = web.AppRunner(app, shutdown_timeout=0.1)
    await runner.setup()
    await web.TCPSite(runner, "127.0.0.1", 0).start()
    configuration = Configuration()
    configuration.host = f"http://127.0.0.1:{runner.addresses[0][1]}"
    client = KubeClient(HttpTransport(configuration), pace=pace)
    try:
        async with aclosing(client.watch(MIRRORS)) as events:
            yield events
    finally:
        await client.close()
        await runner.cleanup()


async def take(events: AsyncIterator[WatchEvent], count: int) -> list[WatchEvent]:
    async with asyncio.timeout(10):
        return [await anext(events) for _ in range(count)]


FIRST = (line("ADDED", thing("a", 3)), mark(4, all_told=True))
ALL = Synced((thing("a", 3),))


async def test_everything_comes_on_the_watch_itself() -> None:
    server = Server(tells(*FIRST, line("MODIFIED", thing("a", 6))))
    async with following(server) as events:
        assert await take(events, 2) == [ALL, Changed(thing("a", 6))]
    asked = server.watches[0]
    assert asked["sendInitialEvents"] == "true"
    assert asked["resourceVersionMatch"] == "NotOlderThan"
    assert asked["allowWatchBookmarks"] == "true"
    assert "resourceVersion" not in asked, "from a version it would be no quorum read"
    assert server.lists == 0


async def test_what_changes_while_everything_is_told_is_in_it() -> None:
    lines = [
        line("ADDED", thing("a", 1)),
        line("ADDED", thing("b", 2)),
        line("MODIFIED", thing("b", 3)),
        line("DELETED", thing("a", 4)),
        mark(4, all_told=True),
    ]
    async with following(Server(tells(*lines))) as events:
        assert await take(events, 1) == [Synced((thing("b", 3),))]


@pytest.mark.parametrize(
    ("last", "version"),
    [(mark(9), "9"), (line("DELETED", thing("a", 8)), "8"), (b"", "4")],
    ids=["bookmark", "event", "nothing"],
)
async def test_one_that_ended_in_order_goes_on_from_where_it_was(last: bytes, version: str) -> None:
    server = Server(tells(*FIRST, last), tells(line("ADDED", thing("c", 10))))
    async with following(server) as events:
        told = await take(events, 3 if b"DELETED" in last else 2)
    assert told[0] == ALL
    assert told[-1] == Changed(thing("c", 10))
    assert server.watches[1]["resourceVersion"] == version
    assert "sendInitialEvents" not in server.watches[1]


async def test_one_on_which_nothing_comes_is_dead_and_begun_anew() -> None:
    server = Server(tells(*FIRST, lives_s=60), tells(*FIRST))
    async with following(server) as events:
        await take(events, 1)
        began_s = time.monotonic()
        interrupted, again = await take(events, 2)
    assert isinstance(interrupted, Interrupted)
    assert interrupted.ending is Ending.IDLE
    assert again == ALL
    assert PACE.idle_s(LIFE_S) - 0.2 < time.monotonic() - began_s < PACE.idle_s(LIFE_S) + 2


async def test_one_that_is_not_quiet_is_not_dead() -> None:
    async def turn(response: web.StreamResponse) -> None:
        await tells(*FIRST, lives_s=1.0)(response)
        await tells(mark(5), lives_s=1.0)(response)

    async with following(Server(turn, tells(*FIRST))) as events:
        assert await take(events, 2) == [ALL, ALL]


@pytest.mark.parametrize(
    ("turn", "ending"),
    [
        (cut_after(*FIRST), Ending.BROKEN),
        (tells(*FIRST, lives_s=0.1), Ending.BROKEN),
        (tells(*FIRST, b"{", lives_s=0.1), Ending.BROKEN),
        (tells(*FIRST, line("ERROR", {"code": 410})), Ending.EXPIRED),
        (tells(*FIRST, line("ERROR", {"code": 500})), Ending.BROKEN),
    ],
    ids=["cut", "ended early", "garbled", "expired", "error"],
)
async def test_after_any_other_end_everything_is_told_anew(turn: Turn, ending: Ending) -> None:
    """From where it was a watch would tell nothing, were the server restored from a backup."""
    server = Server(turn, tells(*FIRST))
    async with following(server) as events:
        first, interrupted, again = await take(events, 3)
    assert first == again == ALL
    assert isinstance(interrupted, Interrupted)
    assert interrupted.ending is ending
    assert "resourceVersion" not in server.watches[1]


@pytest.mark.parametrize("status", [403, 429, 503])
async def test_one_that_cannot_be_begun_is_tried_again(status: int) -> None:
    async with following(Server(status, tells(*FIRST))) as events:
        interrupted, synced = await take(events, 2)
    assert isinstance(interrupted, Interrupted)
    assert interrupted.ending is Ending.REFUSED
    assert synced == ALL


async def test_a_server_that_streams_no_lists_is_asked_for_one() -> None:
    server = Server(422, tells(line("MODIFIED", thing("listed", 8))), tells())
    async with following(server) as events:
        synced, changed = await take(events, 2)
    assert synced == Synced(({**thing("listed", 5), "apiVersion": MIRRORS.api_version},)), (
        "and it is no interruption"
    )
    assert changed == Changed(thing("listed", 8))
    assert server.lists == 1
    assert server.watches[1]["resourceVersion"] == "7"


async def test_a_server_that_does_not_understand_is_noticed() -> None:
    """It takes the watch for an ordinary one, and never says that it has told all."""
    server = Server(tells(line("ADDED", thing("a", 3))), tells())
    async with following(server) as events:
        interrupted, synced = await take(events, 2)
    assert isinstance(interrupted, Interrupted)
    assert isinstance(synced, Synced)
    assert server.lists == 1


async def test_now_and_then_everything_is_told_anew_all_the_same() -> None:
    pace = Pace(PACE.life_s, PACE.grace_s, PACE.early_s, list_again_s=(0.1, 0.2))
    server = Server(tells(*FIRST), tells(*FIRST))
    async with following(server, pace) as events:
        assert await take(events, 2) == [ALL, ALL]


async def test_a_program_that_stood_still_begins_with_everything() -> None:
    """It cannot know what became of the server meanwhile."""
    server = Server(tells(*FIRST, line("DELETED", thing("a", 5))), tells(*FIRST))
    async with following(server) as events:
        await take(events, 2)
        await asyncio.sleep(PACE.idle_s(LIFE_S) + 0.5)
        assert await take(events, 1) == [ALL]


async def test_a_deletion_is_told() -> None:
    async with following(Server(tells(*FIRST, line("DELETED", thing("a", 5))))) as events:
        assert await take(events, 2) == [ALL, Deleted(thing("a", 5))]
