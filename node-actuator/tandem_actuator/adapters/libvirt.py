"""Domains on this host through libvirt, and beyond it where it may fail: the Libvirt port.

Domains are transient, so nothing starts again by itself, and are known by Tandem's metadata. What
libvirt says is checked against the kernel: a QEMU that libvirt does not list any more (it restarted
while the QEMU hung) is UNKNOWN, never ABSENT. A guest is destroyed by killing its QEMU
directly, and libvirt is told afterwards: a hanging libvirtd cannot keep a guest alive.

Never autostarts, never uses AUTODESTROY (an actuator's restart would kill guests), never waits for
a domain that it was not asked about. Called by ``driver`` and ``loop`` through ``ports.Libvirt``.
"""

import asyncio
import contextlib
import logging
import os
import select
import signal
import threading
import time
from collections.abc import AsyncIterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from typing import Any

import libvirt

from tandem_actuator.adapters.libvirt_connection import ALREADY_GONE, Connection
from tandem_actuator.adapters.qemu_processes import UNIDENTIFIED, QemuProcesses
from tandem_actuator.core.domain_xml import TANDEM_XMLNS, domain_name
from tandem_actuator.core.model import DomainState
from tandem_actuator.ports import CommandFailed, CommandTimeout, KilledNotGone, PortError
from tandem_api.guest import Guest

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

STATES: Mapping[int, DomainState] = {
    libvirt.VIR_DOMAIN_RUNNING: DomainState.RUNNING,
    libvirt.VIR_DOMAIN_BLOCKED: DomainState.RUNNING,
    libvirt.VIR_DOMAIN_PAUSED: DomainState.PAUSED,
    libvirt.VIR_DOMAIN_PMSUSPENDED: DomainState.PAUSED,
    libvirt.VIR_DOMAIN_CRASHED: DomainState.PAUSED,
    libvirt.VIR_DOMAIN_SHUTDOWN: DomainState.SHUTTING_DOWN,
}


class LibvirtHost:
    """The Libvirt port for one connection URI."""

    def __init__(self, uri: str, processes: QemuProcesses | None = None) -> None:
        self._uri = uri
        self._processes = processes or QemuProcesses()
        self._looks = Connection(uri, "look", threads=2)
        self._acts = Connection(uri, "act", threads=16)
        self._kills = Connection(uri, "destroy", threads=16)
        self._killers = ThreadPoolExecutor(16, thread_name_prefix="kill-qemu")
        self._scans = ThreadPoolExecutor(2, thread_name_prefix="proc-scan")
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
        for name in (running | starting) - set(found):
            if "." in name:
                states[name] = DomainState.UNKNOWN
        return states

    def _list(self, connection: Any) -> dict[str, DomainState]:
        stats = connection.getAllDomainStats(
            libvirt.VIR_DOMAIN_STATS_STATE, libvirt.VIR_CONNECT_GET_ALL_DOMAINS_STATS_ACTIVE
        )
        found: dict[str, DomainState] = {}
        seen: dict[tuple[str, int], bool] = {}
        for domain, values in stats:
            identity = (domain.UUIDString(), domain.ID())
            known = self._ours.get(identity)
            ours = seen[identity] = _is_ours(domain) if known is None else known
            if ours:
                found[domain.name()] = STATES.get(values.get("state.state"), DomainState.UNKNOWN)
        self._ours = seen
        return found

    async def _scan(self) -> set[str]:
        """Domains that have a QEMU process, Tandem's or not; UNIDENTIFIED may be among them."""
        loop = asyncio.get_running_loop()
        try:
            async with asyncio.timeout(SCAN_TIMEOUT_S):
                found = await loop.run_in_executor(self._scans, self._processes.by_domain)
        except TimeoutError:
            raise CommandTimeout("/proc could not be read in time") from None
        return set(found)

    async def disk_closed(self, name: str) -> bool:
        return not {name, UNIDENTIFIED} & await self._scan()

    async def versions(self) -> Mapping[str, str]:
        def ask(connection: Any) -> tuple[int, int]:
            return connection.getLibVersion(), connection.getVersion()

        try:
            library, hypervisor = await self._looks.call(ask, LOOK_TIMEOUT_S)
        except PortError as error:
            log.warning("versions unknown: %s", error)
            return {"libvirt": "unknown", "qemu": "unknown"}
        return {"libvirt": _dotted(library), "qemu": _dotted(hypervisor)}

    # --- events

    async def events(self) -> AsyncIterator[str]:
        """Registers again after libvirtd was away, beginning with "re-read everything"."""
        queue: asyncio.Queue[str] = asyncio.Queue()
        loop = asyncio.get_running_loop()

        def on_event(connection: Any, domain: Any, event: int, detail: int, _: Any) -> None:
            with contextlib.suppress(RuntimeError):  # the loop is closed: we are on our way out
                loop.call_soon_threadsafe(queue.put_nowait, domain.name())

        while True:
            broken = threading.Event()
            # One of its own each time: on an old one the registration might still be there.
            connection = Connection(self._uri, "events", threads=1)
            numbers: list[int] = []
            register = partial(_register, on_event=on_event, broken=broken, numbers=numbers)
            try:
                await connection.call(register, LOOK_TIMEOUT_S)
                yield ""
                while not broken.is_set():
                    with contextlib.suppress(TimeoutError):
                        async with asyncio.timeout(RECONNECT_PAUSE_S):
                            yield await queue.get()
                log.warning("libvirt closed the connection; opening it again")
            except PortError as error:
                log.warning("no events from libvirt: %s", error)
            finally:
                connection.close(partial(_unregister, numbers=numbers))
            yield ""
            await asyncio.sleep(RECONNECT_PAUSE_S)

    # --- acting

    async def start(self, guest: Guest, xml: str) -> None:
        """Until libvirt has answered, also after a timeout here, the domain counts as UNKNOWN."""
        name = domain_name(guest)
        if name in self._starting:
            raise CommandFailed(f"{name} is being started already")
        self._starting.add(name)

        def create(connection: Any) -> None:
            try:
                connection.createXML(xml, 0)
            finally:
                self._starting.discard(name)

        await self._acts.call(create, START_TIMEOUT_S)

    async def shutdown(self, name: str) -> None:
        await self._acts.call(lambda c: c.lookupByName(name).shutdown(), SHUTDOWN_TIMEOUT_S)

    async def destroy(self, name: str) -> None:
        """The process first: libvirt, told to end a guest that a frozen disk holds, would wait
        for it with the guest's lock held, and answer nothing about any guest meanwhile."""
        loop = asyncio.get_running_loop()
        killed = await loop.run_in_executor(
            self._killers, kill_processes, self._processes, name, KILL_TIMEOUT_S
        )
        patience_s = FORGET_TIMEOUT_S if killed else KILL_TIMEOUT_S
        try:
            await self._kills.call(lambda connection: _destroy(connection, name), patience_s)
        except PortError as error:
            if not killed:
                raise
            # The guest is dead; that libvirt does not know it yet shows in its list.
            log.warning("libvirt was not told that %s is dead: %s", name, error)


def kill_processes(processes: QemuProcesses, name: str, timeout_s: float) -> bool:
    """Kill every QEMU of a domain and wait until each is gone with all its threads.

    False if there was none. Blocks; called in a thread.

    Raises:
        KilledNotGone: one is still there; a frozen disk holds it in the kernel.
    """
    deadline_s = time.monotonic() + timeout_s
    seen = False
    while pids := processes.of(name):
        seen = True
        if time.monotonic() >= deadline_s:
            raise KilledNotGone(f"QEMU of {name} (process {pids[0]}) is killed but does not end")
        for pid in pids:
            _kill_and_wait(processes, pid, name)
    return seen


def _kill_and_wait(processes: QemuProcesses, pid: int, name: str) -> None:
    """One process. The handle is opened before the look at whose it is, so it cannot be another."""
    try:
        handle = os.pidfd_open(pid)
    except OSError:
        return
    try:
        if processes.domain_of(pid) != name:
            return
        with contextlib.suppress(ProcessLookupError):
            signal.pidfd_send_signal(handle, signal.SIGKILL)
        # Readable once the last thread is gone, not when the first is a zombie.
        waiting = select.poll()
        waiting.register(handle, select.POLLIN)
        waiting.poll(GONE_POLL_S * 1000)
    finally:
        os.close(handle)


def _destroy(connection: Any, name: str) -> None:
    try:
        connection.lookupByName(name).destroyFlags(0)
    except libvirt.libvirtError as error:
        if error.get_error_code() not in ALREADY_GONE:
            raise


def _is_ours(domain: Any) -> bool:
    """Whether the domain carries Tandem's metadata. One that is gone meanwhile is not."""
    try:
        domain.metadata(libvirt.VIR_DOMAIN_METADATA_ELEMENT, TANDEM_XMLNS, 0)
    except libvirt.libvirtError as error:
        if error.get_error_code() in (*ALREADY_GONE, libvirt.VIR_ERR_NO_DOMAIN_METADATA):
            return False
        raise
    return True


def _register(
    connection: Any, *, on_event: Any, broken: threading.Event, numbers: list[int]
) -> None:
    with contextlib.suppress(libvirt.libvirtError):  # the test driver never closes
        connection.registerCloseCallback(lambda c, reason, _: broken.set(), None)
    kind = libvirt.VIR_DOMAIN_EVENT_ID_LIFECYCLE
    numbers.append(connection.domainEventRegisterAny(None, kind, on_event, None))


def _unregister(connection: Any, *, numbers: list[int]) -> None:
    """A connection that is closed with a registration lives on and goes on telling."""
    for number in numbers:
        connection.domainEventDeregisterAny(number)
    connection.unregisterCloseCallback()


def _dotted(version: int) -> str:
    """libvirt packs versions as major * 1000000 + minor * 1000 + release."""
    return f"{version // 1000000}.{version // 1000 % 1000}.{version % 1000}"
