"""What the ports below the libvirt adapter do: on the machine itself and in the simulator.

libvirt is its own test driver here, whose domains are no processes; processes are the machine's.
"""

import asyncio
import signal
import sys
from collections.abc import AsyncIterator, Awaitable, Callable
from dataclasses import dataclass

import libvirt
import pytest

from sim.libvirt.processes import Idle
from tandem_actuator.adapters.libvirt.connection import RealLibvirtd
from tandem_actuator.adapters.libvirt.ports import (
    Domain,
    LibvirtConnection,
    Libvirtd,
    LibvirtError,
    Processes,
)
from tandem_actuator.adapters.libvirt.qemu_processes import Qemu, qemu_in
from tandem_actuator.adapters.linux.processes import LinuxProcesses
from tandem_actuator.core.guest.domain_xml import TANDEM_XMLNS

from .simulated_libvirt import simulated_libvirtd

UUID = "6e1c0f4e-8c4d-5b0e-9c35-0d8f3a1b2c4d"
DOMAIN = (
    f'<domain type="test"><name>ns.g</name><uuid>{UUID}</uuid><memory>8192</memory>'
    f"<os><type>hvm</type></os>{{}}</domain>"
)
OURS = DOMAIN.format(f'<metadata><tandem:guest xmlns:tandem="{TANDEM_XMLNS}" name="g"/></metadata>')
THEIRS = DOMAIN.format("")
QEMU = ("-name", "guest=ns.g,debug-threads=on", "-uuid", UUID)


@pytest.fixture(params=["simulated", "test-driver"])
async def libvirtd(request: pytest.FixtureRequest) -> Libvirtd:
    if request.param == "simulated":
        return simulated_libvirtd()
    return RealLibvirtd("test:///default")


@pytest.fixture
async def connection(libvirtd: Libvirtd) -> AsyncIterator[LibvirtConnection]:
    opened = await libvirtd.open()
    yield opened
    for domain in await ours(opened):
        await opened.destroy(domain)
    await opened.close()


async def ours(connection: LibvirtConnection) -> list[Domain]:
    """The test driver comes with a domain of its own."""
    return [found for found in await connection.active_domains() if found.name == "ns.g"]


class TestLibvirtConnection:
    async def test_it_lives_until_it_is_closed(self, libvirtd: Libvirtd) -> None:
        connection = await libvirtd.open()
        assert await connection.alive()
        await connection.close()
        with pytest.raises(LibvirtError):
            await connection.active_domains()

    async def test_a_domain_that_was_made_is_listed(self, connection: LibvirtConnection) -> None:
        await connection.create(OURS)
        (domain,) = await ours(connection)
        assert (domain.name, domain.uuid) == ("ns.g", UUID)
        assert domain.state == libvirt.VIR_DOMAIN_RUNNING
        assert await connection.lookup("ns.g") == Domain("ns.g", UUID, domain.number)
        assert 'name="g"' in await connection.metadata(domain)

    async def test_each_start_has_a_number_of_its_own(self, connection: LibvirtConnection) -> None:
        numbers = set()
        for _ in range(2):
            await connection.create(OURS)
            (domain,) = await ours(connection)
            numbers.add(domain.number)
            await connection.destroy(domain)
        assert len(numbers) == 2

    async def test_a_domain_of_others_has_no_metadata(self, connection: LibvirtConnection) -> None:
        await connection.create(THEIRS)
        with pytest.raises(LibvirtError) as told:
            await connection.metadata((await ours(connection))[0])
        assert told.value.code == libvirt.VIR_ERR_NO_DOMAIN_METADATA

    async def test_a_domain_is_made_once(self, connection: LibvirtConnection) -> None:
        await connection.create(OURS)
        with pytest.raises(LibvirtError, match="already"):
            await connection.create(OURS)

    async def test_what_was_destroyed_is_gone(self, connection: LibvirtConnection) -> None:
        await connection.create(OURS)
        (domain,) = await ours(connection)
        await connection.destroy(domain)
        assert await ours(connection) == []
        for call in (connection.destroy, connection.shutdown, connection.metadata):
            with pytest.raises(LibvirtError):
                await call(domain)

    async def test_nobody_is_no_domain(self, connection: LibvirtConnection) -> None:
        with pytest.raises(LibvirtError, match="Domain not found") as told:
            await connection.lookup("ns.nobody")
        assert told.value.code == libvirt.VIR_ERR_NO_DOMAIN

    async def test_what_is_no_xml_is_refused(self, connection: LibvirtConnection) -> None:
        with pytest.raises(LibvirtError):
            await connection.create("<domain/>")

    async def test_what_is_tried_is_not_there_afterwards(
        self, connection: LibvirtConnection
    ) -> None:
        await connection.validate(OURS)
        assert await ours(connection) == []
        with pytest.raises(LibvirtError, match="Domain not found"):
            await connection.lookup("ns.g")

    async def test_what_is_no_domain_does_not_pass_a_trial(
        self, connection: LibvirtConnection
    ) -> None:
        with pytest.raises(LibvirtError):
            await connection.validate("<domain/>")

    async def test_events_name_the_domain_until_they_are_not_wanted(
        self, connection: LibvirtConnection
    ) -> None:
        told: list[str] = []
        registration = await connection.on_lifecycle(told.append)
        await connection.create(OURS)
        await until(lambda: told == ["ns.g"] or len(told) > 1)
        assert set(told) == {"ns.g"}
        await connection.destroy((await ours(connection))[0])
        await asyncio.sleep(0.2)
        await connection.forget_lifecycle(registration)
        told.clear()
        await connection.create(OURS)
        await asyncio.sleep(0.2)
        assert told == []

    async def test_versions_are_numbers(self, connection: LibvirtConnection) -> None:
        assert await connection.library_version() > 1_000_000
        assert await connection.hypervisor_version() > 0


@dataclass
class Machine:
    """Processes, one of which looks like a QEMU, and how to reap it."""

    processes: Processes
    pid: int
    reap: Callable[[], Awaitable[object]]


async def _nothing() -> None:
    await asyncio.sleep(0.5)


@pytest.fixture(params=["simulated", "linux"])
async def machine(request: pytest.FixtureRequest) -> AsyncIterator[Machine]:
    if request.param == "simulated":
        table = simulated_libvirtd().processes
        process = table.launch("ns.g", UUID, Idle("ns.g"))
        yield Machine(table, process.pid, _nothing)
        return
    sleep = "import time; time.sleep(60)"
    program = await asyncio.create_subprocess_exec(sys.executable, "-c", sleep, *QEMU)
    await asyncio.sleep(0.1)  # it has its arguments once it has begun
    yield Machine(LinuxProcesses(), program.pid, program.wait)
    if program.returncode is None:
        program.kill()
        await program.wait()


class TestProcesses:
    async def test_a_qemu_is_found_among_all(self, machine: Machine) -> None:
        assert Qemu(machine.pid, "ns.g") in await machine.processes.select(qemu_in)
        text = await machine.processes.look(machine.pid)
        assert text is not None
        assert qemu_in(text) == Qemu(machine.pid, "ns.g")

    async def test_a_bug_in_what_is_wanted_is_heard(self, machine: Machine) -> None:
        def wanted(text: object) -> None:
            raise ValueError("a bug")

        with pytest.raises(ValueError, match="a bug"):
            await machine.processes.select(wanted)

    async def test_one_that_is_killed_is_gone(self, machine: Machine) -> None:
        handle = await machine.processes.open(machine.pid)
        assert handle is not None
        ended = asyncio.create_task(handle.ended())
        await asyncio.sleep(0.05)
        assert not ended.done()
        handle.send(signal.SIGKILL)
        await asyncio.wait_for(ended, 5.0)
        await asyncio.wait_for(handle.ended(), 5.0)
        await machine.reap()
        handle.send(signal.SIGKILL)  # no error
        handle.close()
        assert await machine.processes.look(machine.pid) is None
        assert await machine.processes.open(machine.pid) is None

    async def test_nobody_has_no_taps_and_no_file(self, machine: Machine) -> None:
        assert await machine.processes.taps(2**22 + 1) == set()
        assert await machine.processes.status_file("ns.nobody") is None
        assert "ns.nobody" not in await machine.processes.pid_files()


async def until(happened: Callable[[], bool]) -> None:
    for _ in range(100):
        if happened():
            return
        await asyncio.sleep(0.05)
