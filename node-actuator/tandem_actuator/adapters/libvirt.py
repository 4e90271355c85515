"""Domains on this host through libvirt, and beyond it where it may fail: the Libvirt port.

Domains are transient, so nothing starts again by itself, and are known by Tandem's metadata. What
libvirt says is checked against the kernel: a QEMU that libvirt does not list any more (it restarted
while the QEMU hung) is UNKNOWN, never ABSENT. A guest is destroyed by killing its QEMU
directly, and libvirt is told afterwards: a hanging libvirtd cannot keep a guest alive.

Never autostarts, never uses AUTODESTROY (an actuator's restart would kill guests), never waits for
a domain that it was not asked about. Everything that can hang stands behind ``libvirt_ports``.
Called by ``driver`` and ``loop`` through ``ports.Libvirt``.
"""

import asyncio
import contextlib
import logging
import signal
from collections.abc import AsyncIterator, Mapping
from functools import partial

import libvirt

from tandem_actuator.adapters.libvirt_calls import Calls
from tandem_actuator.adapters.libvirt_ports import (
    Domain,
    LibvirtConnection,
    Libvirtd,
    LibvirtError,
    Processes,
)
from tandem_actuator.adapters.qemu_processes import UNIDENTIFIED, QemuProcesses
from tandem_actuator.adapters.slots import Slots
from tandem_actuator.core.domain_xml import domain_name
from tandem_actuator.core.model import DomainState
from tandem_actuator.ports import CommandFailed, CommandTimeout, KilledNotGone, PortError
from tandem_api.guest import Firmware, Guest

log = logging.getLogger(__name__)

LOOK_TIMEOUT_S = 2.0
START_TIMEOUT_S = 60.0
SHUTDOWN_TIMEOUT_S = 5.0
KILL_TIMEOUT_S = 5.0
SCAN_TIMEOUT_S = 1.0
RECONNECT_PAUSE_S = 0.5
# How long a killed process may take before the list is looked at again.
GONE_POLL_S = 0.2
FORGET_TIMEOUT_S = 1.0
LOOKS_AT_A_TIME = 2
ACTS_AT_A_TIME = 16
KILLS_AT_A_TIME = 16
SCANS_AT_A_TIME = 2

ALREADY_GONE = frozenset({libvirt.VIR_ERR_NO_DOMAIN})

STATES: Mapping[int, DomainState] = {
    libvirt.VIR_DOMAIN_RUNNING: DomainState.RUNNING,
    libvirt.VIR_DOMAIN_BLOCKED: DomainState.RUNNING,
    libvirt.VIR_DOMAIN_PAUSED: DomainState.PAUSED,
    libvirt.VIR_DOMAIN_PMSUSPENDED: DomainState.PAUSED,
    libvirt.VIR_DOMAIN_CRASHED: DomainState.PAUSED,
    libvirt.VIR_DOMAIN_SHUTDOWN: DomainState.SHUTTING_DOWN,
}


class LibvirtHost:
    """The Libvirt port for one libvirtd and the processes of its machine."""

    def __init__(self, libvirtd: Libvirtd, processes: Processes) -> None:
        self._libvirtd, self._processes = libvirtd, processes
        self._qemus = QemuProcesses(processes)
        self._looks = Calls(libvirtd, LOOKS_AT_A_TIME)
        self._acts = Calls(libvirtd, ACTS_AT_A_TIME)
        self._kills = Calls(libvirtd, KILLS_AT_A_TIME)
        self._killers = asyncio.Semaphore(KILLS_AT_A_TIME)
        self._scans = Slots(SCANS_AT_A_TIME)
        self._ours: dict[tuple[str, int], bool] = {}
        self._starting: set[str] = set()

    # --- looking

    async def states(self) -> Mapping[str, DomainState]:
        """What libvirt says, corrected by what the kernel says.

        The kernel is asked first: a domain that ends in between is then still UNKNOWN, and one
        that starts in between is on libvirt's list.
        """
        running = await self._scan()
        starting = set(self._starting)
        found = await self._looks.call(self._list, LOOK_TIMEOUT_S)
        states = dict(found)
        # Tandem's names are the ones with a dot; others' are of no interest.
        for name in sorted((running | starting) - set(found)):
            if "." in name:
                states[name] = DomainState.UNKNOWN
        return states

    async def _list(self, connection: LibvirtConnection) -> dict[str, DomainState]:
        found: dict[str, DomainState] = {}
        seen: dict[tuple[str, int], bool] = {}
        for domain in await connection.active_domains():
            identity = (domain.uuid, domain.number)
            known = self._ours.get(identity)
            ours = await _is_ours(connection, domain) if known is None else known
            seen[identity] = ours
            if ours:
                found[domain.name] = _state(domain)
        self._ours = seen
        return found

    async def _scan(self) -> set[str]:
        """Domains that have a QEMU process, Tandem's or not; UNIDENTIFIED may be among them."""
        try:
            return set(await self._scans.run(self._qemus.by_domain, SCAN_TIMEOUT_S))
        except TimeoutError:
            raise CommandTimeout("/proc could not be read in time") from None

    async def disk_closed(self, name: str) -> bool:
        return not {name, UNIDENTIFIED} & await self._scan()

    async def versions(self) -> Mapping[str, str]:
        async def ask(connection: LibvirtConnection) -> tuple[int, int]:
            return await connection.library_version(), await connection.hypervisor_version()

        try:
            library, hypervisor = await self._looks.call(ask, LOOK_TIMEOUT_S)
        except PortError as error:
            log.warning("versions unknown: %s", error)
            return {"libvirt": "unknown", "qemu": "unknown"}
        return {"libvirt": _dotted(library), "qemu": _dotted(hypervisor)}

    # --- events

    async def events(self) -> AsyncIterator[str]:
        """Registers again after libvirtd was away, beginning with "re-read everything"."""
        while True:
            # One of its own each time: on an old one the registration might still be there.
            calls = Calls(self._libvirtd, slots=1)
            told: asyncio.Queue[str | None] = asyncio.Queue()
            numbers: list[int] = []
            try:
                await calls.call(partial(_register, told=told, numbers=numbers), LOOK_TIMEOUT_S)
                yield ""
                while (name := await told.get()) is not None:
                    yield name
                log.warning("libvirt closed the connection; opening it again")
            except PortError as error:
                log.warning("no events from libvirt: %s", error)
            finally:
                calls.close(partial(_unregister, numbers=numbers))
            yield ""
            await asyncio.sleep(RECONNECT_PAUSE_S)

    # --- acting

    async def start(self, guest: Guest, xml: str) -> None:
        """Until libvirt has answered, also after a timeout here, the domain counts as UNKNOWN."""
        name = domain_name(guest)
        if name in self._starting:
            raise CommandFailed(f"{name} is being started already")
        self._starting.add(name)
        fresh = guest.spec.domain.firmware is Firmware.UEFI

        async def create(connection: LibvirtConnection) -> None:
            try:
                await connection.create(xml, fresh_variables=fresh)
            finally:
                self._starting.discard(name)

        await self._acts.call(create, START_TIMEOUT_S)

    async def shutdown(self, name: str) -> None:
        async def ask(connection: LibvirtConnection) -> None:
            await connection.shutdown(await connection.lookup(name))

        await self._acts.call(ask, SHUTDOWN_TIMEOUT_S)

    async def destroy(self, name: str) -> None:
        """The process first: libvirt, told to end a guest that a frozen disk holds, would wait
        for it with the guest's lock held, and answer nothing about any guest meanwhile."""
        async with self._killers:
            killed = await self._kill_all(name)
        patience_s = FORGET_TIMEOUT_S if killed else KILL_TIMEOUT_S
        try:
            await self._kills.call(partial(_destroy, name=name), patience_s)
        except PortError as error:
            if not killed:
                raise
            # The guest is dead; that libvirt does not know it yet shows in its list.
            log.warning("libvirt was not told that %s is dead: %s", name, error)

    async def _kill_all(self, name: str) -> bool:
        """Kill every QEMU of a domain and wait until each is gone with all its threads.

        False if there was none.

        Raises:
            KilledNotGone: one is still there; a frozen disk holds it in the kernel.
            PortError: it cannot be told whether one is there.
        """
        loop = asyncio.get_running_loop()
        deadline_s = loop.time() + KILL_TIMEOUT_S
        killed: set[int] = set()
        seen = False
        while pids := await self._qemus.of(name):
            seen = True
            # However late it is, one that was seen just now may execute.
            if loop.time() >= deadline_s and killed.issuperset(pids):
                raise KilledNotGone(
                    f"QEMU of {name} (process {pids[0]}) is killed but does not end"
                )
            for pid in pids:
                if await self._kill(pid, name):
                    killed.add(pid)
        return seen

    async def _kill(self, pid: int, name: str) -> bool:
        """One process, whether it was sent the signal. The handle is opened before the look at
        whose it is, so it cannot be another."""
        handle = await self._processes.open(pid)
        if handle is None:
            return False
        try:
            if await self._qemus.domain_of(pid) != name:
                return False
            handle.send(signal.SIGKILL)
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(GONE_POLL_S):
                    await handle.ended()
            return True
        finally:
            handle.close()


def _state(domain: Domain) -> DomainState:
    if domain.state is None:
        return DomainState.UNKNOWN
    return STATES.get(domain.state, DomainState.UNKNOWN)


async def _destroy(connection: LibvirtConnection, *, name: str) -> None:
    try:
        await connection.destroy(await connection.lookup(name))
    except LibvirtError as error:
        if error.code not in ALREADY_GONE:
            raise


async def _is_ours(connection: LibvirtConnection, domain: Domain) -> bool:
    """Whether the domain carries Tandem's metadata. One that is gone meanwhile is not."""
    try:
        await connection.metadata(domain)
    except LibvirtError as error:
        if error.code in (*ALREADY_GONE, libvirt.VIR_ERR_NO_DOMAIN_METADATA):
            return False
        raise
    return True


async def _register(
    connection: LibvirtConnection, *, told: "asyncio.Queue[str | None]", numbers: list[int]
) -> None:
    with contextlib.suppress(LibvirtError):  # the test driver never closes
        await connection.on_close(lambda: told.put_nowait(None))
    numbers.append(await connection.on_lifecycle(told.put_nowait))


async def _unregister(connection: LibvirtConnection, *, numbers: list[int]) -> None:
    """A connection that is closed with a registration lives on and goes on telling."""
    for number in numbers:
        await connection.forget_lifecycle(number)
    await connection.forget_close()


def _dotted(version: int) -> str:
    """libvirt packs versions as major * 1000000 + minor * 1000 + release."""
    return f"{version // 1000000}.{version // 1000 % 1000}.{version % 1000}"
