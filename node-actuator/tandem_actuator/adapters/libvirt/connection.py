"""libvirt-python behind ``libvirt_ports``: each call in a thread, and nothing else.

It blocks, and a call may never come back. When a connection is opened, what a hung call means for
the next and how long anybody waits is for ``libvirt_calls`` to say. Put in by ``assembly``.
"""

import asyncio
import contextlib
import logging
import threading
from collections.abc import Callable, Sequence
from typing import Any, TypeVar

import libvirt

from tandem_actuator.adapters.libvirt.ports import Domain, LibvirtError
from tandem_actuator.adapters.linux.threads import in_thread
from tandem_actuator.core.guest.domain_xml import TANDEM_XMLNS

log = logging.getLogger(__name__)

T = TypeVar("T")

KEEPALIVE_INTERVAL_S = 1
KEEPALIVE_COUNT = 3

_events_started = threading.Lock()
_events_thread: threading.Thread | None = None


def start_event_loop() -> None:
    """Start libvirt's event loop in a thread, once per process and before the first connection.

    Keepalive and events work only with it.
    """
    global _events_thread  # noqa: PLW0603 - libvirt itself keeps one loop per process
    with _events_started:
        if _events_thread is not None:
            return
        # libvirt prints every error to stderr unless it is given something else to do.
        libvirt.registerErrorHandler(lambda context, error: None, None)
        libvirt.virEventRegisterDefaultImpl()
        _events_thread = threading.Thread(target=_event_loop, name="libvirt-events", daemon=True)
        _events_thread.start()


def _event_loop() -> None:
    while True:
        if libvirt.virEventRunDefaultImpl() < 0:
            log.error("libvirt's event loop failed; going on")


class RealLibvirtd:
    """The daemon behind one connection URI."""

    def __init__(self, uri: str) -> None:
        self._uri = uri

    async def open(self) -> "RealConnection":
        start_event_loop()
        return RealConnection(await in_words(self._open))

    def _open(self) -> Any:
        connection = libvirt.open(self._uri)
        # The test driver and old servers have none; a dead socket is noticed anyway.
        with contextlib.suppress(libvirt.libvirtError):
            connection.setKeepAlive(KEEPALIVE_INTERVAL_S, KEEPALIVE_COUNT)
        return connection


class RealConnection:
    """A virConnect. A Domain's handle is its virDomain."""

    def __init__(self, connection: Any) -> None:
        self._connection = connection

    async def alive(self) -> bool:
        return bool(await in_words(self._connection.isAlive))

    async def active_domains(self) -> Sequence[Domain]:
        def ask() -> list[Domain]:
            stats = self._connection.getAllDomainStats(
                libvirt.VIR_DOMAIN_STATS_STATE,
                libvirt.VIR_CONNECT_GET_ALL_DOMAINS_STATS_ACTIVE,
            )
            return [_domain(found, values.get("state.state")) for found, values in stats]

        return await in_words(ask)

    async def metadata(self, domain: Domain) -> str:
        found: Any = domain.handle
        kind = libvirt.VIR_DOMAIN_METADATA_ELEMENT
        return str(await in_words(lambda: found.metadata(kind, TANDEM_XMLNS, 0)))

    async def create(self, xml: str, *, fresh_variables: bool = False) -> None:
        flags = libvirt.VIR_DOMAIN_START_RESET_NVRAM if fresh_variables else 0
        await in_words(lambda: self._connection.createXML(xml, flags))

    async def validate(self, xml: str) -> None:
        def work() -> None:
            kind = libvirt.VIR_DOMAIN_DEFINE_VALIDATE
            self._connection.defineXMLFlags(xml, kind).undefine()

        await in_words(work)

    async def lookup(self, name: str) -> Domain:
        return _domain(await in_words(lambda: self._connection.lookupByName(name)))

    async def shutdown(self, domain: Domain) -> None:
        found: Any = domain.handle
        await in_words(found.shutdown)

    async def resume(self, domain: Domain) -> None:
        """What runs already is left alone: not every driver of libvirt's takes that for done."""
        found: Any = domain.handle

        def work() -> None:
            if found.state()[0] != libvirt.VIR_DOMAIN_RUNNING:
                found.resume()

        await in_words(work)

    async def destroy(self, domain: Domain) -> None:
        found: Any = domain.handle
        await in_words(lambda: found.destroyFlags(0))

    async def library_version(self) -> int:
        return int(await in_words(self._connection.getLibVersion))

    async def hypervisor_version(self) -> int:
        return int(await in_words(self._connection.getVersion))

    async def on_close(self, tell: Callable[[], None]) -> None:
        on_loop = _on_this_loop(tell)

        def register() -> None:
            self._connection.registerCloseCallback(lambda c, reason, _: on_loop(), None)

        await in_words(register)

    async def forget_close(self) -> None:
        await in_words(self._connection.unregisterCloseCallback)

    async def on_lifecycle(self, tell: Callable[[str], None]) -> int:
        on_loop = _on_this_loop(tell)

        def on_event(connection: Any, domain: Any, event: int, detail: int, _: Any) -> None:
            on_loop(domain.name())

        kind = libvirt.VIR_DOMAIN_EVENT_ID_LIFECYCLE
        return int(
            await in_words(
                lambda: self._connection.domainEventRegisterAny(None, kind, on_event, None)
            )
        )

    async def forget_lifecycle(self, registration: int) -> None:
        await in_words(lambda: self._connection.domainEventDeregisterAny(registration))

    async def close(self) -> None:
        await in_words(self._connection.close)


async def in_words(work: Callable[[], T]) -> T:
    """A blocking call of libvirt's, in a thread. Raises: LibvirtError, in its words."""
    try:
        return await in_thread(work, "libvirt")
    except libvirt.libvirtError as error:
        words = f"libvirt: {error.get_error_message() or error}"
        raise LibvirtError(words, error.get_error_code()) from error


def _domain(found: Any, state: int | None = None) -> Domain:
    return Domain(found.name(), found.UUIDString(), found.ID(), state, found)


def _on_this_loop(tell: Callable[..., None]) -> Callable[..., None]:
    """libvirt tells in a thread of its own."""
    loop = asyncio.get_running_loop()

    def on_loop(*arguments: object) -> None:
        with contextlib.suppress(RuntimeError):  # the loop is closed: we are on our way out
            loop.call_soon_threadsafe(tell, *arguments)

    return on_loop
