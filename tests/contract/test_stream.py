"""A connection between two programs on a host: Unix sockets, and the simulator's, as they are."""

import asyncio
import socket
from collections.abc import Awaitable, Callable, Coroutine
from functools import partial
from pathlib import Path
from typing import Any

import pytest

from sim.engine.kernel import Group, Kernel
from sim.engine.loop import Loop
from sim.host.watchdog import BACKLOG, Hardware, Keepers
from sim.network.stream import connected
from tandem_actuator.adapters.linux.watchdog_keeper import UnixKeeper, UnixListener, UnixStream
from tandem_actuator.ports.watchdog import KeeperProcess, Stream

Ends = tuple[Stream, Stream]
Body = Callable[[Ends], Awaitable[None]]
LINE = b'{"feed_until": 1234.567}\n'
SOON_S = 5.0


def played(kernel: Kernel, program: Coroutine[Any, Any, None], group: Group) -> None:
    """On simulated time, to its end."""
    ended: list[BaseException | None] = []
    Loop(kernel, group, lambda: kernel.now_s, ended.append).begin(program)
    kernel.run_until(1000.0)
    assert ended, "it does not end"
    if ended[0] is not None:
        raise ended[0]


@pytest.fixture(params=["simulated", "real"])
def play(request: pytest.FixtureRequest) -> Callable[[Body], None]:
    """Plays a body with both ends of a new connection."""

    def real(body: Body) -> None:
        async def run() -> None:
            one, other = socket.socketpair(socket.AF_UNIX)
            ends = UnixStream(one), UnixStream(other)
            try:
                await body(ends)
            finally:
                for end in ends:
                    end.close()

        asyncio.run(run())

    def simulated(body: Body) -> None:
        kernel, group = Kernel(1), Group("program")

        async def run() -> None:
            await body(connected(kernel, group, group, kernel.random))

        played(kernel, run(), group)

    return real if request.param == "real" else simulated


def test_what_is_sent_comes_in_order(play: Callable[[Body], None]) -> None:
    async def body(ends: Ends) -> None:
        for number in range(3):
            assert ends[0].send(b"%d\n" % number) == 2
        async with asyncio.timeout(SOON_S):
            await ends[1].readable()
        assert ends[1].receive() == b"0\n1\n2\n"
        with pytest.raises(BlockingIOError):
            ends[1].receive()

    play(body)


def test_nothing_has_come(play: Callable[[Body], None]) -> None:
    async def body(ends: Ends) -> None:
        with pytest.raises(BlockingIOError):
            ends[0].receive()
        with pytest.raises(TimeoutError):
            async with asyncio.timeout(0.05):
                await ends[0].readable()

    play(body)


def test_who_waits_is_woken(play: Callable[[Body], None]) -> None:
    async def body(ends: Ends) -> None:
        for send, expected in ((lambda: ends[1].send(b"x"), b"x"), (ends[1].close, b"")):
            waiting = asyncio.create_task(ends[0].readable())
            await asyncio.sleep(0.01)
            assert not waiting.done()
            send()
            async with asyncio.timeout(SOON_S):
                await waiting
            assert ends[0].receive() == expected

    play(body)


def test_what_was_sent_before_the_end_is_read_before_it(play: Callable[[Body], None]) -> None:
    async def body(ends: Ends) -> None:
        ends[0].send(b"last words")
        ends[0].close()
        assert ends[1].receive() == b"last words"
        for _ in range(3):
            async with asyncio.timeout(SOON_S):
                await ends[1].readable()
            assert ends[1].receive() == b""

    play(body)


def test_nobody_is_there_to_send_to(play: Callable[[Body], None]) -> None:
    async def body(ends: Ends) -> None:
        ends[0].close()
        with pytest.raises(ConnectionError):
            ends[1].send(b"x")

    play(body)


def test_an_end_that_was_closed_here(play: Callable[[Body], None]) -> None:
    async def body(ends: Ends) -> None:
        waiting = asyncio.create_task(ends[0].readable())
        await asyncio.sleep(0.01)
        ends[0].close()
        async with asyncio.timeout(SOON_S):
            await waiting
            await ends[0].readable()
        for call in (ends[0].receive, lambda: ends[0].send(b"x")):
            with pytest.raises(OSError, match="descriptor"):
                call()
        ends[0].close()

    play(body)


def test_an_end_that_does_not_read_takes_no_more_and_holds_nobody_up(
    play: Callable[[Body], None],
) -> None:
    async def body(ends: Ends) -> None:
        sent = 0
        with pytest.raises(BlockingIOError):
            for _ in range(100_000):
                sent += ends[0].send(LINE)
        assert sent > 50 * len(LINE)
        came = b""
        while len(came) < sent:
            came += ends[1].receive()
        assert came == (LINE * len(came))[:sent]
        assert ends[0].send(LINE) == len(LINE)

    play(body)


class TestTheWayToTheKeeper:
    """``UnixKeeper`` and the simulated one: what they say where no keeper takes the call."""

    Way = tuple[KeeperProcess, Callable[[], None], Callable[[], object]]
    Play = Callable[[Callable[[Way], Awaitable[None]]], None]

    @pytest.fixture(params=["simulated", "real"])
    def play(self, request: pytest.FixtureRequest, tmp_path: Path) -> Play:
        """Plays a body with a way, how a keeper begins to listen, and how it dies."""

        def real(body: Callable[[TestTheWayToTheKeeper.Way], Awaitable[None]]) -> None:
            path, listeners = tmp_path / "keeper.sock", list[UnixListener]()

            async def run() -> None:
                await body(
                    (
                        UnixKeeper(Path("/nonexistent"), path),
                        lambda: listeners.append(UnixListener(path)),
                        partial(_close_all, listeners),
                    )
                )

            asyncio.run(run())

        def simulated(body: Callable[[TestTheWayToTheKeeper.Way], Awaitable[None]]) -> None:
            kernel, machine, actuator = Kernel(1), Group("a-1"), Group("actuator@a-1")
            clock = _Clock(kernel)
            hardware = Hardware(kernel, machine, clock.boottime_s, lambda why: None, kernel.random)
            keepers = Keepers(kernel, machine, hardware, clock, kernel.random)
            keepers.accepts_fail = 1_000_000

            def listen() -> None:
                keepers.start()
                keepers.begin()

            way = keepers.seen_by(actuator), listen, keepers.kill
            played(kernel, _awaited(body(way)), actuator)

        return real if request.param == "real" else simulated

    def test_there_is_none(self, play: Play) -> None:
        async def body(way: TestTheWayToTheKeeper.Way) -> None:
            with pytest.raises(FileNotFoundError):
                await way[0].connect()

        play(body)

    def test_it_has_died(self, play: Play) -> None:
        async def body(way: TestTheWayToTheKeeper.Way) -> None:
            keeper, listen, die = way
            listen()
            (await keeper.connect()).close()
            await asyncio.sleep(0.01)
            die()
            with pytest.raises(ConnectionRefusedError):
                await keeper.connect()

        play(body)

    def test_it_accepts_nobody(self, play: Play) -> None:
        async def body(way: TestTheWayToTheKeeper.Way) -> None:
            keeper, listen, _ = way
            listen()
            streams = []
            with pytest.raises(BlockingIOError):
                for _ in range(2 * BACKLOG):
                    streams.append(await keeper.connect())
            assert len(streams) == pytest.approx(BACKLOG, abs=1)
            for stream in streams:
                stream.close()

        play(body)


def _close_all(listeners: list[UnixListener]) -> None:
    for listener in listeners:
        listener.close()


async def _awaited(what: Awaitable[None]) -> None:
    await what


class _Clock:
    """The machine's."""

    def __init__(self, kernel: Kernel) -> None:
        self._kernel = kernel

    def boottime_s(self) -> float:
        return self._kernel.now_s

    def wall(self) -> str:
        return ""
