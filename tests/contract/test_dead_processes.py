"""A killed process that its last write holds: on this machine's kernel and in the simulator."""

import asyncio
import contextlib
import os
import signal
import sys
from collections.abc import AsyncIterator, Awaitable, Callable
from dataclasses import dataclass
from pathlib import Path

import pytest

from sim.libvirt.processes import Idle
from tandem_actuator.adapters.libvirt.dead_processes import execute_nothing, thread_in
from tandem_actuator.adapters.libvirt.ports import Processes
from tandem_actuator.adapters.libvirt.qemu_processes import QemuProcesses
from tandem_actuator.adapters.linux.processes import LinuxProcesses

from . import frozen_file
from .simulated_libvirt import simulated_libvirtd
from .test_libvirt_ports import QEMU, UUID

WITHIN_S = 10.0
IN_A_NAMESPACE = ("unshare", "--mount", *(() if os.geteuid() == 0 else ("-U", "-r")))


@dataclass
class Held:
    """A QEMU whose guest executes, with a write that does not end until it is let go."""

    processes: Processes
    pid: int
    let_go: Callable[[], None]

    async def kill(self) -> asyncio.Task[None]:
        """→ until it has ended."""
        handle = await self.processes.open(self.pid)
        assert handle is not None
        handle.send(signal.SIGKILL)
        return asyncio.create_task(handle.ended())

    async def is_dead(self) -> bool:
        return self.pid in await execute_nothing(self.processes, [self.pid])

    async def dies(self) -> None:
        await until(self.is_dead)

    async def is_gone(self) -> bool:
        return not await self.processes.threads([self.pid])


@pytest.fixture(params=["simulated", "linux"])
async def held(request: pytest.FixtureRequest, tmp_path: Path) -> AsyncIterator[Held]:
    if request.param == "simulated":
        yield simulated()
        return
    program = (sys.executable, frozen_file.__file__, str(tmp_path), " ".join(QEMU))
    pipe = asyncio.subprocess.PIPE
    server = await asyncio.create_subprocess_exec(
        *IN_A_NAMESPACE, *program, stdin=pipe, stdout=pipe
    )
    assert server.stdin is not None
    assert server.stdout is not None
    input_, pid = server.stdin, int(await asyncio.wait_for(server.stdout.readline(), WITHIN_S))
    yield Held(LinuxProcesses(run_dir=tmp_path), pid, lambda: input_.write(b"let go\n"))
    with contextlib.suppress(ProcessLookupError):
        os.kill(pid, signal.SIGKILL)
    input_.close()
    await server.wait()


def simulated() -> Held:
    table = simulated_libvirtd().processes
    guest = Idle("ns.g", stuck=True, told=lambda: table.changed("ns.g"))
    process = table.launch("ns.g", UUID, guest)
    process.begun = True
    guest.begin()

    def let_go() -> None:
        guest.stuck = False

    return Held(table, process.pid, let_go)


async def until(happened: Callable[[], Awaitable[bool]]) -> None:
    for _ in range(200):
        if await happened():
            return
        await asyncio.sleep(0.02)
    raise AssertionError("it does not come about")


async def test_before_it_is_killed_it_executes(held: Held) -> None:
    stats = (await held.processes.threads([held.pid]))[held.pid]
    threads = [thread for stat in stats if (thread := thread_in(stat)) is not None]
    assert len(threads) == len(stats) == threads[0].threads > 1
    assert "R" in {thread.state for thread in threads}
    assert not any(thread.dies_of_sigkill or thread.is_out for thread in threads)
    assert not await held.is_dead()


async def test_killed_it_executes_nothing_and_does_not_end(held: Held) -> None:
    ended = await held.kill()
    await held.dies()
    await asyncio.sleep(0.5)
    assert await held.is_dead()
    assert not ended.done()
    stats = (await held.processes.threads([held.pid]))[held.pid]
    assert "D" in {thread.state for stat in stats if (thread := thread_in(stat)) is not None}
    ended.cancel()


async def test_its_domain_is_found_by_its_pid_file(held: Held, tmp_path: Path) -> None:
    (tmp_path / "ns.g.pid").write_text(f"{held.pid}\n")
    qemus = QemuProcesses(held.processes)
    assert await qemus.dead(["ns.g", "ns.other"]) == {"ns.g": False}
    ended = await held.kill()

    async def is_dead() -> bool:
        return await qemus.dead(["ns.g", "ns.other"]) == {"ns.g": True}

    await until(is_dead)
    ended.cancel()


async def test_once_it_is_let_go_it_ends_and_has_no_threads(held: Held) -> None:
    ended = await held.kill()
    await held.dies()
    held.let_go()
    await asyncio.wait_for(ended, WITHIN_S)
    await until(held.is_gone)
    assert not await held.is_dead()
