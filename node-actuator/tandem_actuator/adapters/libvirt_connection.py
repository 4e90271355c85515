"""Connections to libvirt, and the threads that wait for it.

libvirt-python blocks, so every call runs in a thread with a time limit. libvirtd serves a few
calls per connection at a time (max_client_requests, 5): calls that may hang get connections of
their own, so that they cannot keep a look at the domains from being answered. A connection that
broke is opened again by the next call. Called by ``adapters.libvirt`` only.
"""

import asyncio
import contextlib
import logging
import threading
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from typing import Any, TypeVar

import libvirt

from tandem_actuator.ports import CommandFailed, CommandTimeout

log = logging.getLogger(__name__)

T = TypeVar("T")

KEEPALIVE_INTERVAL_S = 1
KEEPALIVE_COUNT = 3
ALREADY_GONE = frozenset({libvirt.VIR_ERR_NO_DOMAIN})

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


class Connection:
    """One connection, opened when first needed and again after it broke."""

    def __init__(self, uri: str, name: str, threads: int) -> None:
        start_event_loop()
        self.uri = uri
        self._name = name
        self._lock = threading.Lock()
        self._connection: libvirt.virConnect | None = None
        self._threads = ThreadPoolExecutor(threads, thread_name_prefix=f"libvirt-{name}")

    async def call(self, work: Callable[[Any], T], timeout_s: float) -> T:
        """Run ``work(connection)`` in a thread.

        Raises:
            CommandFailed: libvirt refused, with its words.
            CommandTimeout: no answer in time; the call may still take effect.
        """
        loop = asyncio.get_running_loop()
        try:
            async with asyncio.timeout(timeout_s):
                return await loop.run_in_executor(self._threads, self._run, work)
        except TimeoutError:
            raise CommandTimeout(f"libvirt did not answer within {timeout_s:g} s") from None
        except libvirt.libvirtError as error:
            raise CommandFailed(f"libvirt: {error.get_error_message() or error}") from error

    def _run(self, work: Callable[[Any], T]) -> T:
        return work(self._get())

    def _get(self) -> Any:
        with self._lock:
            if self._connection is not None and not _alive(self._connection):
                self._drop()
            if self._connection is None:
                connection = libvirt.open(self.uri)
                # The test driver and old servers have none; a dead socket is noticed anyway.
                with contextlib.suppress(libvirt.libvirtError):
                    connection.setKeepAlive(KEEPALIVE_INTERVAL_S, KEEPALIVE_COUNT)
                self._connection = connection
            return self._connection

    def close(self, farewell: Callable[[Any], None]) -> None:
        """Close it as soon as its threads are done, after ``farewell``; returns at once."""
        self._threads.submit(self._close, farewell)
        self._threads.shutdown(wait=False)

    def _close(self, farewell: Callable[[Any], None]) -> None:
        with self._lock:
            if self._connection is not None:
                with contextlib.suppress(libvirt.libvirtError):
                    farewell(self._connection)
                self._drop()

    def _drop(self) -> None:
        assert self._connection is not None
        with contextlib.suppress(libvirt.libvirtError):
            self._connection.close()
        self._connection = None


def _alive(connection: Any) -> bool:
    try:
        return bool(connection.isAlive())
    except libvirt.libvirtError:
        return False
