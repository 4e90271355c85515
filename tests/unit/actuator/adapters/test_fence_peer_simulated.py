"""The fence-peer program on the simulated loop, over the death of one actuator."""

import asyncio
import random
from collections.abc import Mapping
from pathlib import Path

from sim.engine.kernel import Group, Kernel
from sim.engine.loop import Loop
from sim.network.fence_channel import Outside, Roles, SimSockets, proc_drbd
from tandem_actuator import fence_peer
from tandem_actuator.adapters.fence_server import Answer, FenceServer

PATH = Path("/run/tandem/actuator.sock")


async def never(environment: Mapping[str, str]) -> tuple[int, str]:
    await asyncio.Event().wait()
    raise AssertionError("unreachable")


async def yes(environment: Mapping[str, str]) -> tuple[int, str]:
    return 4, "go on"


def played(
    seed: int, asks_at_s: float = 0.0, told_again_at_s: float = 5.0
) -> list[tuple[float, tuple[int, str]]]:
    """Nobody is there for 2 s; the first actuator never answers and is killed at 5; then at 9…"""
    kernel, sockets, said = Kernel(seed), SimSockets(), []
    groups = [Group(name) for name in ("handler", "first", "second")]
    loops = [Loop(kernel, group, lambda: kernel.now_s, lambda why: None) for group in groups]

    async def actuator(answer: Answer) -> None:
        async with FenceServer(PATH, answer, sockets):
            await asyncio.Event().wait()

    async def handler() -> None:
        roles = Roles(lambda: proc_drbd([(20, "Primary")]))
        outside = Outside(sockets, PATH, random.Random(seed), roles)
        answered = await fence_peer.answer(outside, {"DRBD_MINOR": "20"})
        said.append((kernel.now_s, answered))

    def killed() -> None:
        groups[1].stop()
        sockets.program_ends(loops[1].asyncio)

    kernel.after(asks_at_s, groups[0], lambda: loops[0].begin(handler()))
    kernel.after(2.0, groups[0], lambda: loops[1].begin(actuator(never)))
    kernel.after(5.0, groups[0], killed)
    kernel.after(told_again_at_s, groups[0], killed)
    kernel.after(9.0, groups[0], lambda: loops[2].begin(actuator(yes)))
    kernel.run_until(20.0)
    for loop in loops:
        loop.discard()
    return said


def test_it_asks_until_an_actuator_lives_to_answer() -> None:
    ((at_s, answered),) = played(1)
    assert answered == (4, "go on")
    assert 9.0 < at_s < 9.0 + 2 * fence_peer.RETRY_S


def test_an_end_that_is_told_again_is_not_that_of_the_next_actuator() -> None:
    """As when the machine is paused: all that ever ran on it is told."""
    ((at_s, answered),) = played(1, asks_at_s=13.0, told_again_at_s=12.0)
    assert answered == (4, "go on")
    assert 13.0 < at_s < 13.0 + fence_peer.RETRY_S


def test_one_seed_is_one_result() -> None:
    assert played(7) == played(7)
    assert played(7) != played(8)
