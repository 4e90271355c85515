"""The watchdog's keeper and the actuator's side of it, over a real socket, on real time.

Everything that takes patience or chance is tried on simulated time: ``test_watchdog`` and
``test_watchdog_faults``.
"""

import asyncio
import os
import random
import socket
import time
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from pathlib import Path

import pytest

from sim.engine.kernel import Group, Kernel
from sim.host.watchdog import File, Hardware
from tandem_actuator.adapters.linux.clock import SystemClock
from tandem_actuator.adapters.linux.watchdog_keeper import UnixKeeper, UnixListener, UnixStream
from tandem_actuator.ports import PortError
from tandem_actuator.run.keeper import Keeper
from tandem_actuator.run.watchdog import KeptWatchdog

CLOCK = SystemClock()
PATIENCE_S = 10.0


class Desk:
    """A keeper on a socket of its own, with a simulated device, and how to reach it."""

    def __init__(self, folder: Path) -> None:
        self.path = folder / "watchdog.sock"
        kernel, machine = Kernel(1), Group("machine")
        self.hardware = Hardware(
            kernel, machine, CLOCK.boottime_s, lambda why: None, random.Random(1)
        )
        self._process = Group("keeper", machine)

        self.keeper = UnixKeeper(Path("/nonexistent"), self.path)

    def reached(self) -> KeptWatchdog:
        return KeptWatchdog(self.keeper)

    @asynccontextmanager
    async def keeping(self) -> AsyncIterator[None]:
        listener = UnixListener(self.path)
        device = File(self.hardware, self._process)
        task = asyncio.create_task(Keeper(device, listener, CLOCK).run())
        try:
            yield
        finally:
            task.cancel()
            await asyncio.gather(task, return_exceptions=True)


@pytest.fixture
def desk(tmp_path: Path) -> Desk:
    return Desk(tmp_path)


async def until(holds: Callable[[], bool]) -> None:
    async with asyncio.timeout(PATIENCE_S):
        while not holds():  # noqa: ASYNC110 - what it waits for has no event
            await asyncio.sleep(0.005)


async def test_it_is_armed_fed_and_left_to_starve(desk: Desk) -> None:
    async with desk.keeping():
        assert desk.path.stat().st_mode & 0o777 == 0o600
        watchdog = desk.reached()
        await watchdog.arm(1)
        assert watchdog.armed
        assert desk.hardware.timeout_s == 1
        watchdog.feed_until(CLOCK.boottime_s() + 0.3)
        await until(lambda: desk.hardware.feeds >= 2)
        await asyncio.sleep(0.4)
        starved_with = desk.hardware.feeds
        await asyncio.sleep(0.3)
        assert desk.hardware.feeds == starved_with
        watchdog.feed_until(CLOCK.boottime_s() + 5.0)
        await until(lambda: desk.hardware.feeds > starved_with)


async def test_another_actuator_takes_over(desk: Desk) -> None:
    async with desk.keeping():
        first, second = await desk.keeper.connect(), desk.reached()
        first.send(b'{"arm": 1}\n{"feed_until": null}\n{"feed_un')
        await until(lambda: desk.hardware.feeds > 0)
        assert first.receive() == b'{"error": null, "timeout": 1}\n'
        first.close()
        fed_before = desk.hardware.feeds
        await second.arm(2)
        assert desk.hardware.timeout_s == 2
        await until(lambda: desk.hardware.feeds > fed_before)
        second.feed_until(CLOCK.boottime_s() - 1.0)
        await asyncio.sleep(0.1)
        fed_before = desk.hardware.feeds
        await asyncio.sleep(0.6)
        assert desk.hardware.feeds == fed_before


async def test_a_keeper_that_ends_is_noticed_at_once(desk: Desk) -> None:
    async with desk.keeping():
        watchdog = desk.reached()
        await watchdog.arm(1)
    await until(lambda: not watchdog.armed)


async def test_a_keeper_that_does_not_look_holds_nobody_up(desk: Desk) -> None:
    """It has answered once, then it stands still: thousands of deadlines fit nowhere."""
    listener = UnixListener(desk.path)
    watchdog = desk.reached()
    arming = asyncio.create_task(watchdog.arm(1))
    keeper = await listener.accept()
    await keeper.readable()
    assert keeper.receive() == b'{"arm": 1}\n'
    keeper.send(b'{"error": null, "timeout": 1}\n')
    await arming
    slowest_s = 0.0
    for number in range(20_000):
        began_s = time.monotonic()
        watchdog.feed_until(float(number))
        slowest_s = max(slowest_s, time.monotonic() - began_s)
    assert not watchdog.armed
    assert slowest_s < 0.25
    keeper.close()
    listener.close()


async def test_a_keeper_that_does_not_answer_leaves_the_loop_alone(desk: Desk) -> None:
    listener = UnixListener(desk.path)
    ticks = 0

    async def tick() -> None:
        nonlocal ticks
        while True:
            await asyncio.sleep(0.01)
            ticks += 1

    ticking = asyncio.create_task(tick())
    with pytest.raises(PortError, match="no answer in time"):
        await desk.reached().arm(1)
    ticking.cancel()
    assert ticks > 20
    listener.close()


async def test_the_process_is_started_and_refuses_what_is_no_watchdog(tmp_path: Path) -> None:
    device, path = tmp_path / "watchdog0", tmp_path / "keeper.sock"
    device.touch()
    path.touch()  # what an earlier one left: nobody listens there
    keeper = UnixKeeper(device, path)
    try:
        for watchdog in (KeptWatchdog(keeper), KeptWatchdog(UnixKeeper(device, path))):
            with pytest.raises(PortError, match="this is no watchdog"):
                await watchdog.arm(1)  # the second finds the same process
            assert not watchdog.armed
        assert keeper.process is not None
        assert os.getsid(keeper.process.pid) == keeper.process.pid  # it outlives who started it
    finally:
        assert keeper.process is not None
        keeper.process.kill()
        keeper.process.wait()


class TestUnixStream:
    @pytest.fixture
    def ends(self) -> tuple[UnixStream, UnixStream]:
        one, other = socket.socketpair(socket.AF_UNIX)
        return UnixStream(one), UnixStream(other)

    async def test_closing_an_end_wakes_who_waits_at_it(
        self, ends: tuple[UnixStream, UnixStream]
    ) -> None:
        waiting = asyncio.create_task(ends[0].readable())
        await asyncio.sleep(0)
        ends[0].close()
        await asyncio.wait_for(waiting, 1.0)
        await asyncio.wait_for(ends[0].readable(), 1.0)
        with pytest.raises(OSError, match="descriptor"):
            ends[0].receive()
        ends[1].close()

    async def test_a_number_that_another_file_has_by_now_is_left_alone(
        self, ends: tuple[UnixStream, UnixStream]
    ) -> None:
        waiting = asyncio.create_task(ends[0].readable())
        await asyncio.sleep(0)
        ends[0].close()
        one, other = socket.socketpair(socket.AF_UNIX)  # takes the number that was given back
        next_stream = UnixStream(one)
        reading = asyncio.create_task(next_stream.readable())
        await waiting
        await asyncio.sleep(0)
        other.send(b"x")
        await asyncio.wait_for(reading, PATIENCE_S)
        for end in (next_stream, ends[1]):
            end.close()
        other.close()
