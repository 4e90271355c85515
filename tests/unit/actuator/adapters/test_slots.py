"""Calls that may hang: how many at a time, what is left behind, and the program's end."""

import asyncio
import subprocess
import sys
import threading
from collections.abc import Callable, Coroutine

import pytest

from tandem_actuator.adapters.libvirt.slots import Slots
from tandem_actuator.adapters.linux.threads import in_thread

ENDS_BESIDE_A_HUNG_CALL = """
import asyncio, threading
from tandem_actuator.adapters.libvirt.slots import Slots
from tandem_actuator.adapters.linux.threads import in_thread

async def main():
    try:
        await Slots(1).run(lambda: in_thread(threading.Event().wait, "hangs"), 0.05)
    except TimeoutError:
        print("given up on", flush=True)

asyncio.run(main())
"""


class Calls:
    """Calls that begin in an order, and end when they are told to."""

    def __init__(self) -> None:
        self.begun: list[str] = []
        self.ended: list[str] = []
        self.may_end: dict[str, asyncio.Event] = {}

    def one(self, name: str) -> Callable[[], Coroutine[None, None, str]]:
        self.may_end[name] = asyncio.Event()

        async def call() -> str:
            self.begun.append(name)
            await self.may_end[name].wait()
            self.ended.append(name)
            return name

        return call


async def test_a_call_that_is_given_up_on_goes_on_and_keeps_its_slot() -> None:
    slots, calls = Slots(1), Calls()
    with pytest.raises(TimeoutError):
        await slots.run(calls.one("hung"), 0.01)
    with pytest.raises(TimeoutError):
        await slots.run(calls.one("starved"), 0.01)
    third = asyncio.create_task(slots.run(calls.one("third"), 5.0))
    await asyncio.sleep(0)
    calls.may_end["hung"].set()
    calls.may_end["third"].set()
    assert await third == "third"
    assert calls.begun == ["hung", "third"]
    assert calls.ended == ["hung", "third"]


async def test_the_limit_is_for_both_waits() -> None:
    slots, calls = Slots(1), Calls()
    first = asyncio.create_task(slots.run(calls.one("first"), 5.0))
    await asyncio.sleep(0)
    loop = asyncio.get_running_loop()
    loop.call_later(0.2, calls.may_end["first"].set)
    began_s = loop.time()
    with pytest.raises(TimeoutError):
        await slots.run(calls.one("second"), 0.4)
    assert loop.time() - began_s < 0.55
    await first


async def test_what_is_cancelled_goes_on_as_well() -> None:
    slots, calls = Slots(1), Calls()
    waiting = asyncio.create_task(slots.run(calls.one("first"), 5.0))
    await asyncio.sleep(0.01)
    waiting.cancel()
    await asyncio.gather(waiting, return_exceptions=True)
    later = asyncio.create_task(slots.run(calls.one("second"), 5.0))
    await asyncio.sleep(0.01)
    assert calls.begun == ["first"]
    for name in ("first", "second"):
        calls.may_end[name].set()
    assert await later == "second"


async def test_an_error_is_raised_to_who_waits() -> None:
    async def fail() -> None:
        raise ValueError("no")

    slots = Slots(1)
    for _ in range(2):
        with pytest.raises(ValueError, match="no"):
            await slots.run(fail, 5.0)


async def test_what_is_begun_for_later_waits_for_its_slot() -> None:
    slots, done = Slots(1), asyncio.Event()

    async def farewell() -> None:
        done.set()

    calls = Calls()
    with pytest.raises(TimeoutError):
        await slots.run(calls.one("hung"), 0.01)
    slots.later(farewell)
    await asyncio.sleep(0.01)
    assert not done.is_set()
    calls.may_end["hung"].set()
    await asyncio.wait_for(done.wait(), 5.0)


async def test_a_thread_answers_and_fails_on_the_loop() -> None:
    assert await in_thread(threading.get_ident, "test") != threading.get_ident()
    with pytest.raises(ZeroDivisionError):
        await in_thread(lambda: 1 // 0, "test")


async def test_a_thread_that_nobody_waits_for_any_more_is_harmless() -> None:
    may_end = threading.Event()
    with pytest.raises(TimeoutError):
        async with asyncio.timeout(0.01):
            await in_thread(may_end.wait, "hung")
    left = [one.daemon for one in threading.enumerate() if one.name == "hung"]
    may_end.set()
    await asyncio.sleep(0.05)
    assert left == [True]


def test_a_hung_call_does_not_keep_the_program_from_ending() -> None:
    ended = subprocess.run(
        [sys.executable, "-c", ENDS_BESIDE_A_HUNG_CALL],
        capture_output=True,
        text=True,
        timeout=20,
        check=False,
    )
    assert (ended.returncode, ended.stdout, ended.stderr) == (0, "given up on\n", "")
