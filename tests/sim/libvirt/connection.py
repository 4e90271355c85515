"""A connection to the simulated libvirtd: the LibvirtConnection port, and the daemon's side of it.

A call goes there, waits for its turn, is served, and its answer comes back; each takes its time,
and a connection may be lost at any of these points. Called by ``libvirtd``.
"""

import asyncio
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial
from typing import TYPE_CHECKING, Any

import libvirt

from sim.libvirt.processes import Process, Reply, tell
from tandem_actuator.adapters.libvirt.ports import Domain, LibvirtError

if TYPE_CHECKING:
    from sim.libvirt.libvirtd import SimulatedLibvirtd

ANSWER_S = (0.001, 0.02)
CLIENT_REQUESTS = 5
"""max_client_requests: calls of one connection that are served at a time."""
LOST = "internal error: client socket is closed"
SILENT = "internal error: connection closed due to keepalive timeout"

Work = Callable[["Request"], None]


@dataclass(eq=False)
class Active:
    """A domain that libvirtd knows. ``locked``: nobody else may look at it. ``whole``: all of it
    was sent here, and it waits to be resumed.
    """

    domain: Domain
    metadata: str | None
    process: Process
    state: int
    locked: bool = False
    whole: bool = False


@dataclass(eq=False)
class Request:
    """One call on its way."""

    connection: "Connection"
    method: str
    work: Work
    reply: Reply[Any]

    def answer(self, result: Any) -> None:
        self._done(partial(self.reply.answer, result))

    def fail(self, words: str, code: int = libvirt.VIR_ERR_INTERNAL_ERROR) -> None:
        self._done(partial(self.reply.fail, LibvirtError(f"libvirt: {words}", code)))

    def _done(self, told: Callable[[], None]) -> None:
        self.connection.daemon.on_its_way(self.method, told)
        self.connection.served(self)


class Connection:
    """A LibvirtConnection, and what the daemon has of it."""

    def __init__(self, daemon: "SimulatedLibvirtd") -> None:
        self.daemon = daemon
        self.lost = self.closed = self.silent = False
        self.loop = asyncio.get_running_loop()
        self.waiting: list[Request] = []
        self.serving: list[Request] = []
        self.queued: list[Request] = []
        self.on_events: dict[int, Callable[[str], None]] = {}
        self.on_lost: Callable[[], None] | None = None

    # --- the port

    async def alive(self) -> bool:
        return not self.lost

    async def active_domains(self) -> Sequence[Domain]:
        found: Sequence[Domain] = await self._ask("active_domains", self.daemon.list_domains)
        return found

    async def metadata(self, domain: Domain) -> str:
        def work(request: Request, active: Active) -> None:
            if active.metadata is None:
                request.fail("no metadata", libvirt.VIR_ERR_NO_DOMAIN_METADATA)
            else:
                request.answer(active.metadata)

        return str(await self._ask_about(domain, "metadata", work))

    async def create(self, xml: str, *, fresh_variables: bool = False) -> None:
        await self._ask("create", self.daemon.starting(xml))

    async def validate(self, xml: str) -> None:
        def work(request: Request) -> None:
            if "<name>" in xml:
                request.answer(None)
            else:
                request.fail("XML error: a domain without a name", libvirt.VIR_ERR_XML_ERROR)

        await self._ask("validate", work)

    async def lookup(self, name: str) -> Domain:
        def work(request: Request) -> None:
            active = self.daemon.active.get(name)
            if active is None:
                no_domain(request, name)
            else:
                request.answer(active.domain)

        found: Domain = await self._ask("lookup", work)
        return found

    async def shutdown(self, domain: Domain) -> None:
        def work(request: Request, active: Active) -> None:
            active.process.guest.ask_to_stop()
            request.answer(None)

        await self._ask_about(domain, "shutdown", work)

    async def resume(self, domain: Domain) -> None:
        """What was sent here begins; what stands still, for it was to be sent, goes on."""

        def work(request: Request, active: Active) -> None:
            if active.whole:
                active.process.begun, active.whole = True, False
                active.process.guest.begin()
            elif active.process.begun:
                active.process.guest.go_on()
            else:
                words = "Requested operation is not valid: domain is not paused"
                request.fail(words, libvirt.VIR_ERR_OPERATION_INVALID)
                return
            active.state = libvirt.VIR_DOMAIN_RUNNING
            self.daemon.tell_of(active.domain.name)
            request.answer(None)

        await self._ask_about(domain, "resume", work)

    async def destroy(self, domain: Domain) -> None:
        await self._ask_about(domain, "destroy", self.daemon.destroy)

    async def library_version(self) -> int:
        return int(await self._ask("library_version", lambda request: request.answer(9000000)))

    async def hypervisor_version(self) -> int:
        return int(await self._ask("hypervisor_version", lambda request: request.answer(7002000)))

    async def on_close(self, tell: Callable[[], None]) -> None:
        self.on_lost = tell

    async def forget_close(self) -> None:
        self.on_lost = None

    async def on_lifecycle(self, tell: Callable[[str], None]) -> int:
        def work(request: Request) -> None:
            self.daemon.registrations += 1
            self.on_events[self.daemon.registrations] = tell
            request.answer(self.daemon.registrations)

        return int(await self._ask("on_lifecycle", work))

    async def forget_lifecycle(self, registration: int) -> None:
        def work(request: Request) -> None:
            self.on_events.pop(registration, None)
            request.answer(None)

        await self._ask("forget_lifecycle", work)

    async def close(self) -> None:
        """With a registration it lives on, and goes on telling."""
        self.closed = True
        if not self.on_events:
            self.hang_up(LOST)

    # --- inside

    async def _ask(self, method: str, work: Work) -> Any:
        if self.lost:
            raise LibvirtError(f"libvirt: {LOST}", libvirt.VIR_ERR_INTERNAL_ERROR)
        request = Request(self, method, work, Reply())
        self.waiting.append(request)
        self.daemon.later(ANSWER_S, lambda: self.daemon.arrives(request))
        return await request.reply

    async def _ask_about(
        self, domain: Domain, method: str, work: Callable[[Request, Active], None]
    ) -> Any:
        """libvirtd finds it by its uuid, so it may be another start of the same guest."""

        def find(request: Request) -> None:
            for active in self.daemon.active.values():
                if active.domain.uuid == domain.uuid:
                    work(request, active)
                    return
            no_domain(request, domain.name)

        return await self._ask(method, find)

    def arrived(self, request: Request) -> None:
        """It is served when its turn comes."""
        if len(self.serving) >= CLIENT_REQUESTS:
            self.queued.append(request)
            return
        self.serving.append(request)
        self.daemon.serve(request)

    def served(self, request: Request) -> None:
        if request in self.serving:
            self.serving.remove(request)
        if request in self.waiting:
            self.waiting.remove(request)
        if self.queued and not self.lost:
            self.arrived(self.queued.pop(0))

    def hang_up(self, words: str) -> None:
        """It is lost: who waits hears so. What the daemon has begun goes on."""
        if self.lost:
            return
        self.lost, self.silent = True, words == SILENT
        error = LibvirtError(f"libvirt: {words}", libvirt.VIR_ERR_INTERNAL_ERROR)
        waiting, self.waiting, self.queued = self.waiting, [], []
        self.on_events.clear()
        for request in waiting:
            request.reply.fail(error)
        if self.on_lost is not None and not self.closed:
            tell(self.loop, self.on_lost)
        if self in self.daemon.connections:
            self.daemon.connections.remove(self)


def no_domain(request: Request, name: str) -> None:
    request.fail(
        f"Domain not found: no domain with matching name '{name}'", libvirt.VIR_ERR_NO_DOMAIN
    )
