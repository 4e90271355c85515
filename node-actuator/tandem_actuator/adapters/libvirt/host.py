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
import itertools
import logging
import signal
from collections.abc import AsyncIterator, Callable, Collection, Coroutine, Mapping
from functools import partial
from typing import Any, TypeVar

import libvirt

from tandem_actuator.adapters.libvirt.calls import Calls
from tandem_actuator.adapters.libvirt.joined import Joined
from tandem_actuator.adapters.libvirt.news import Told, register, unregister
from tandem_actuator.adapters.libvirt.ports import (
    Domain,
    LibvirtConnection,
    Libvirtd,
    LibvirtError,
    Processes,
    ProcessHandle,
)
from tandem_actuator.adapters.libvirt.qemu_processes import QemuProcesses
from tandem_actuator.adapters.libvirt.slots import Slots
from tandem_actuator.core.guest.domain_xml import domain_name
from tandem_actuator.ports import CommandFailed, CommandTimeout, PortError
from tandem_actuator.ports.libvirt import KilledNotGone
from tandem_api.kinds.domain import Firmware
from tandem_api.kinds.guest import Guest
from tandem_api.vocabulary import DomainState

log = logging.getLogger(__name__)

T = TypeVar("T")

LOOK_TIMEOUT_S = 2.0
START_TIMEOUT_S = 60.0
SHUTDOWN_TIMEOUT_S = 5.0
RESUME_TIMEOUT_S = 5.0
KILL_TIMEOUT_S = 5.0
SCAN_TIMEOUT_S = 1.0
KILL_GIVEN_UP_AFTER_S = 4 * KILL_TIMEOUT_S
RECONNECT_PAUSE_S = 0.5
HUNG_PAUSE_S = 60.0
HUNG_PAUSE_MAX_S = 3600.0
# How long a killed process may take before the list is looked at again.
GONE_POLL_S = 0.2
FORGET_TIMEOUT_S = 1.0
LOOKS_AT_A_TIME = 2
ACTS_AT_A_TIME = 16
KILLS_AT_A_TIME = 16
KILLERS_AT_A_TIME = 64
"""A guest that is killed takes a moment to end, and hundreds may have to within a second."""
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
        self._killers = Slots(KILLERS_AT_A_TIME)
        self._states = Joined(self._look)
        self._scans = Slots(SCANS_AT_A_TIME)
        self._ours: dict[tuple[str, int], bool] = {}
        self._starting: set[str] = set()
        self._ending: list[str] = []
        self._moments = itertools.count(1)
        self._started_at: dict[str, int] = {}
        self._newest: tuple[int, Mapping[str, DomainState]] = (0, {})

    # --- looking

    async def states(self) -> Mapping[str, DomainState]:
        return await self._states.look()

    async def _look(self) -> Mapping[str, DomainState]:
        """What libvirt says, corrected by what the kernel says.

        The kernel is asked first: a domain that ends in between is then still UNKNOWN, and one
        that starts in between is on libvirt's list, or was begun since and is UNKNOWN. Looks may
        end in another order than they began: what a newer one has said is not taken back.
        """
        began = next(self._moments)
        running = await self._scan()
        starting = set(self._starting)
        found = await self._looks.call(self._list, LOOK_TIMEOUT_S)
        starting |= {name for name, at in self._started_at.items() if at > began}
        states = dict(found)
        # Tandem's names are the ones with a dot; others' are of no interest.
        for name in sorted((running | starting) - set(found)):
            if "." in name:
                states[name] = DomainState.UNKNOWN
        self._newest = max(self._newest, (began, states), key=lambda look: look[0])
        return self._newest[1]

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
        """Domains that have a QEMU process, Tandem's or not."""
        return set(await self._seen(self._qemus.by_domain))

    async def dead(self, names: Collection[str]) -> Mapping[str, bool]:
        """A start that is under way may bring another QEMU at any moment."""
        starting = self._starting & set(names)
        found = await self._seen(partial(self._qemus.dead, names))
        return found | dict.fromkeys(starting | self._starting & set(names), False)

    async def _seen(self, look: Callable[[], Coroutine[Any, Any, T]]) -> T:
        try:
            return await self._scans.run(look, SCAN_TIMEOUT_S)
        except TimeoutError:
            raise CommandTimeout("/proc could not be read in time") from None

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
        hung_s, said = RECONNECT_PAUSE_S, ""
        while True:
            # One of its own each time: on an old one the registration might still be there.
            calls = Calls(self._libvirtd, slots=1)
            told, numbers = Told(), list[int]()
            pause_s = RECONNECT_PAUSE_S
            try:
                await calls.call(partial(register, told=told, numbers=numbers), LOOK_TIMEOUT_S)
                hung_s, said = RECONNECT_PAUSE_S, ""
                yield ""
                while (name := await told.next()) is not None:
                    yield name
                log.warning("libvirt closed the connection; opening it again")
            except PortError as error:
                if str(error) != said:  # as it is away it says so with each try
                    log.warning("no events from libvirt: %s", error)
                said = str(error)
                if isinstance(error, CommandTimeout):
                    pause_s, hung_s = hung_s, min(max(HUNG_PAUSE_S, 2 * hung_s), HUNG_PAUSE_MAX_S)
            finally:
                calls.close(partial(unregister, numbers=numbers))
            yield ""
            # Each try that hangs costs a connection for as long as it does.
            await asyncio.sleep(RECONNECT_PAUSE_S)
            await calls.idle(pause_s - RECONNECT_PAUSE_S)

    # --- acting

    async def start(self, guest: Guest, xml: str) -> None:
        """From when libvirt is asked until it has answered, also after a timeout here, the domain
        counts as UNKNOWN. One that it was never asked for was no start, and will be none.
        """
        name = domain_name(guest)
        if name in self._starting:
            raise CommandFailed(f"{name} is being started already")
        if name in self._ending:
            # libvirt knows it by its uuid, which stays: what ends late would end this start.
            raise CommandFailed(f"libvirt has not answered yet that the last {name} has ended")
        self._starting.add(name)
        fresh = guest.in_force.domain.firmware is Firmware.UEFI
        self._started_at[name] = next(self._moments)
        order = _Order()

        async def create(connection: LibvirtConnection) -> None:
            order.carry_out()
            try:
                await connection.create(xml, fresh_variables=fresh)
            finally:
                self._starting.discard(name)

        try:
            await self._acts.call(create, START_TIMEOUT_S)
        finally:
            if order.withdraw():
                self._starting.discard(name)

    async def shutdown(self, name: str) -> None:
        async def ask(connection: LibvirtConnection) -> None:
            await connection.shutdown(await connection.lookup(name))

        await self._acts.call(ask, SHUTDOWN_TIMEOUT_S)

    async def resume(self, name: str) -> None:
        """What had to wait for a connection is not done once nobody waits for it any more."""
        order = _Order()

        async def ask(connection: LibvirtConnection) -> None:
            domain = await connection.lookup(name)
            order.carry_out()
            await connection.resume(domain)

        try:
            await self._acts.call(ask, RESUME_TIMEOUT_S)
        finally:
            order.withdraw()

    async def destroy(self, name: str) -> None:
        """The process first: libvirt, told to end a guest that a frozen disk holds, would wait
        for it with the guest's lock held, and answer nothing about any guest meanwhile."""
        try:
            killed = await self._killers.run(partial(self._kill_all, name), KILL_GIVEN_UP_AFTER_S)
        except TimeoutError:
            raise CommandTimeout(f"the processes of {name} cannot be looked at") from None
        patience_s = FORGET_TIMEOUT_S if killed else KILL_TIMEOUT_S
        order = _Order()
        try:
            await self._kills.call(partial(self._end, name=name, order=order), patience_s)
        except PortError as error:
            if not killed:
                raise
            # The guest is dead; that libvirt does not know it yet shows in its list.
            log.warning("libvirt was not told that %s is dead: %s", name, error)
        finally:
            order.withdraw()

    async def _end(self, connection: LibvirtConnection, *, name: str, order: "_Order") -> None:
        try:
            domain = await connection.lookup(name)
            order.carry_out()
            self._ending.append(name)
            try:
                await connection.destroy(domain)
            finally:
                self._ending.remove(name)
        except LibvirtError as error:
            if error.code not in ALREADY_GONE:
                raise

    async def _kill_all(self, name: str) -> bool:
        """Kill every QEMU of a domain and wait until each is gone with all its threads.

        A pidfd is held of each until it is gone: a killed QEMU that a frozen disk holds has lost
        its name, and may have lost libvirt's pid file. False if there was none.

        Raises:
            KilledNotGone: one is still there; a frozen disk holds it in the kernel.
            PortError: it cannot be told whether one is there.
        """
        loop = asyncio.get_running_loop()
        deadline_s = loop.time() + KILL_TIMEOUT_S
        killed: dict[int, ProcessHandle] = {}
        seen = False
        try:
            while (pids := await self._qemus.of(name)) or killed:
                seen = True
                for pid in set(pids) - set(killed):
                    await self._kill(pid, name, killed)
                await _wait_for(killed)
                # However late it is, one that was seen just now may execute.
                if killed and loop.time() >= deadline_s and killed.keys() >= set(pids):
                    raise KilledNotGone(
                        f"QEMU of {name} (process {min(killed)}) is killed but does not end"
                    )
        finally:
            for handle in killed.values():
                handle.close()
        return seen

    async def _kill(self, pid: int, name: str, killed: dict[int, ProcessHandle]) -> None:
        """One process. The handle is opened before the look at whose it is, so it cannot be
        another."""
        handle = await self._processes.open(pid)
        if handle is None:
            return
        try:
            if await self._qemus.domain_of(pid) == name:
                handle.send(signal.SIGKILL)
                killed[pid] = handle
        finally:
            if pid not in killed:
                handle.close()


class _Order:
    """Something that is asked for once, and withdrawn if nobody waits for it any more: what had to
    wait for a connection, or for another answer, is then not done.
    """

    def __init__(self) -> None:
        self._carried_out = self._withdrawn = False

    def carry_out(self) -> None:
        """From here on it may take effect. Raises: CommandFailed: it must not."""
        if self._withdrawn:
            raise CommandFailed("nobody waits for it any more")
        self._carried_out = True

    def withdraw(self) -> bool:
        """Whether it will never be carried out."""
        self._withdrawn = True
        return not self._carried_out


async def _wait_for(killed: dict[int, ProcessHandle]) -> None:
    """A little. What has ended is closed and left out."""
    for pid, handle in list(killed.items()):
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(GONE_POLL_S):
                await handle.ended()
            del killed[pid]
            handle.close()


def _state(domain: Domain) -> DomainState:
    if domain.state is None:
        return DomainState.UNKNOWN
    return STATES.get(domain.state, DomainState.UNKNOWN)


async def _is_ours(connection: LibvirtConnection, domain: Domain) -> bool:
    """Whether the domain carries Tandem's metadata. One that is gone meanwhile is not."""
    try:
        await connection.metadata(domain)
    except LibvirtError as error:
        if error.code in (*ALREADY_GONE, libvirt.VIR_ERR_NO_DOMAIN_METADATA):
            return False
        raise
    return True


def _dotted(version: int) -> str:
    """libvirt packs versions as major * 1000000 + minor * 1000 + release."""
    return f"{version // 1000000}.{version // 1000 % 1000}.{version % 1000}"
