"""kopf's part: it watches the four kinds and feeds the store. No decision is taken here.

kopf keeps the watches alive and logs in; ``on.event`` handlers write nothing to the objects, so
an idle cluster sees no write. What kopf cannot tell (an object that vanished while a watch was
down) the loop's re-lists do. kopf is begun anew when its watches are dead and it does not know:
``decide.watches`` says when.

kopf runs in a thread and an event loop of its own, as it offers: when it ends it cancels every task
of its loop, whosever they are, and in the main thread it would take the process's signals. What it
tells is taken in by the controller's loop.
"""

import asyncio
import contextlib
import logging
import threading
import time
from collections.abc import Callable, Coroutine
from functools import partial
from typing import Any

import aiohttp
import kopf

from tandem_api.meta import GROUP, VERSION
from tandem_base.waits import set_within
from tandem_controller.decide import watches
from tandem_controller.decide.watches import Restart
from tandem_controller.metrics import Metrics
from tandem_controller.ports import Raw
from tandem_controller.store import Store, key_of, version_of
from tandem_kube import Connection, new_socket

log = logging.getLogger(__name__)

OPERATOR: Any = "tandem"  # kopf keeps the type to itself
"""kopf's name for itself, in its peering, which is off. Without one it asks for the user's name,
and in a container the user has none."""
PLURALS = {"Site": "sites", "Host": "hosts", "Mirror": "mirrors", "Guest": "guests"}
KINDS = {plural: kind for kind, plural in PLURALS.items()}
Login = Callable[[], Connection]

CONNECT_TIMEOUT_S = 5.0
REQUEST_TIMEOUT_S = 10.0
BACKOFFS_S = (0.3, 0.5, 1.0, 1.0, 2.0, 2.0, 3.0, 3.0, 5.0, 5.0)
"""Together longer than ``watches.IDLE_S``: a watch is tried for ever, a first list that long."""
LOOK_S = 0.5
AGAIN_S = (1.0, 30.0)
"""Between two beginnings of kopf; it doubles from the first to the last."""
LIVED_S = 60.0
STOP_S = 1.0
"""kopf would wait for 5 s for what it has left behind of a watch that was busy."""
EXIT_TIMEOUT_S = 4.0
"""Then its thread is left to itself."""

# It says at each start that it does not handle the process's signals, as if it should.
logging.getLogger("kopf._core.reactor.running").setLevel(logging.ERROR)


class Watching:
    """kopf's operator, as often as it takes, and what is known of its watches."""

    def __init__(self, store: Store, login: Login, metrics: Metrics) -> None:
        self._store, self._login, self._metrics = store, login, metrics
        self._watches = dict(watches.begun(tuple(PLURALS), time.monotonic()))

    # -- what is seen of kopf's watches

    def told(self, kind: str) -> int:
        """The newest version that a watch has told."""
        return self._watches[kind].told

    def take(self, kind: str, gone: bool, raw: Raw) -> None:
        """A watch has told this."""
        self._watches[kind] = watches.told(self._watches[kind], version_of(raw), time.monotonic())
        if gone:
            self._store.remove(kind, key_of(raw))
        else:
            self._store.put(kind, raw)

    def listed(self, kind: str, told_before: int, newest: int, version: int) -> None:
        """A list was answered; see ``watches.listed``."""
        self._watches[kind] = watches.listed(
            self._watches[kind], told_before, newest, version, time.monotonic()
        )

    def opened(self, plural: str) -> None:
        """The server has answered to a watch of kopf's."""
        kind = KINDS.get(plural)
        if kind is None:
            return
        self._watches[kind], ending = watches.opened(self._watches[kind], time.monotonic())
        if ending is not None:
            self._restarted(kind, ending)

    def _restarted(self, kind: str, why: Restart) -> None:
        log.warning("watch of %s begun anew: %s", kind, why)
        self._metrics.watch_restarted(kind, why)

    # -- kopf

    async def run(self, stop: asyncio.Event, reachable: Callable[[], bool]) -> None:
        """Until ``stop`` is set.

        ``reachable``: whether the server answers; an outage is not held against kopf.
        """
        delay_s = AGAIN_S[0]
        while not stop.is_set():
            began_s = time.monotonic()
            self._watches = dict(watches.begun(tuple(PLURALS), began_s))
            await self._run_once(stop, reachable)
            if time.monotonic() - began_s > LIVED_S:
                delay_s = AGAIN_S[0]
            await set_within(stop, delay_s)
            delay_s = min(2 * delay_s, AGAIN_S[1])

    async def _run_once(self, stop: asyncio.Event, reachable: Callable[[], bool]) -> None:
        """Until ``stop`` is set, or kopf gave up, or its watches are found dead."""
        end = threading.Event()
        thread, ended = self._begin(end)
        try:
            while not stop.is_set() and not ended.done():
                dead = watches.failure(self._watches, time.monotonic())
                if dead is not None and reachable():
                    self._restarted(*dead)
                    break
                await set_within(stop, LOOK_S)
        finally:
            gave_up = ended.done()
            end.set()
            await asyncio.wait([ended], timeout=EXIT_TIMEOUT_S)
            if ended.done():
                thread.join()  # It has said its last word.
        if gave_up:
            log.error("kopf gave up: %s", ended.result())
            self._metrics.watch_restarted("", Restart.FAILED)

    def _begin(
        self, end: threading.Event
    ) -> "tuple[threading.Thread, asyncio.Future[BaseException | None]]":
        """kopf in a thread of its own, until ``end`` is set; the thread, and what comes of it."""
        loop = asyncio.get_running_loop()
        ended: asyncio.Future[BaseException | None] = loop.create_future()

        operator = partial(
            kopf.operator,
            registry=self._registry(loop),
            settings=settings(),
            identity=OPERATOR,
            clusterwide=True,
            standalone=True,
            stop_flag=end,
        )

        def finish(error: BaseException | None) -> None:
            if not ended.done():
                ended.set_result(error)

        def run() -> None:
            error: BaseException | None = None
            try:
                asyncio.run(_until(end, operator))
            except BaseException as caught:  # Whatever it is, it must not be silent.
                error = caught
            with contextlib.suppress(RuntimeError):  # The controller has ended.
                loop.call_soon_threadsafe(finish, error)

        thread = threading.Thread(target=run, name="kopf", daemon=True)
        thread.start()
        return thread, ended

    def _registry(self, loop: asyncio.AbstractEventLoop) -> kopf.OperatorRegistry:
        """Handlers of its own, so that tests can run several controllers in one process.

        They run in kopf's loop; what they tell is taken in by ``loop``.
        """
        registry = kopf.OperatorRegistry()

        def opened(plural: str) -> None:
            loop.call_soon_threadsafe(self.opened, plural)

        async def log_in(**_: Any) -> kopf.AiohttpSession:
            return session_for(self._login(), opened)

        def told(kind: str, gone: bool, raw: Raw) -> None:
            loop.call_soon_threadsafe(self.take, kind, gone, raw)

        kopf.on.login(registry=registry)(log_in)
        for kind, plural in PLURALS.items():
            kopf.on.event(GROUP, VERSION, plural, registry=registry, id=plural)(_feeder(told, kind))
        return registry


async def _until(end: threading.Event, operator: Callable[[], Coroutine[Any, Any, None]]) -> None:
    """kopf until ``end`` is set, and then no longer than it should take."""
    ending = asyncio.create_task(asyncio.to_thread(end.wait))
    running = asyncio.create_task(operator())
    try:
        await asyncio.wait([running, ending], return_when=asyncio.FIRST_COMPLETED)
        await asyncio.wait([running], timeout=STOP_S)
    finally:
        end.set()  # Threads wait for it.
        running.cancel()
    with contextlib.suppress(asyncio.CancelledError):
        await running


def _feeder(told: Callable[[str, bool, Raw], None], kind: str) -> Callable[..., Any]:
    async def feed(event: Any, **_: Any) -> None:
        told(kind, event["type"] == "DELETED", dict(event["object"]))

    return feed


def settings() -> kopf.OperatorSettings:
    """kopf as a watcher only."""
    chosen = kopf.OperatorSettings()
    # Without the right to list CRDs and namespaces every handler would wait for a minute.
    chosen.scanning.disabled = True
    chosen.posting.enabled = False
    chosen.peering.standalone = True
    chosen.watching.server_timeout = watches.LIFE_S
    chosen.watching.inactivity_timeout = watches.IDLE_S
    chosen.watching.connect_timeout = CONNECT_TIMEOUT_S
    chosen.networking.connect_timeout = CONNECT_TIMEOUT_S
    chosen.networking.request_timeout = REQUEST_TIMEOUT_S
    chosen.networking.error_backoffs = BACKOFFS_S
    return chosen


def session_for(connection: Connection, opened: Callable[[str], None]) -> kopf.AiohttpSession:
    """Our client's way to the server, for kopf's own; each watch that begins is told."""
    info = connection_info(connection)

    async def answered(_: Any, __: Any, answer: aiohttp.TraceRequestEndParams) -> None:
        if "watch" in answer.url.query and answer.response.ok:
            opened(answer.url.name)

    trace = aiohttp.TraceConfig()
    trace.on_request_end.append(answered)
    # The limit of kopf's own session, and a dead peer is noticed as by our own client.
    connector = aiohttp.TCPConnector(limit=0, ssl=info.as_ssl_context(), socket_factory=new_socket)
    session = aiohttp.ClientSession(
        connector=connector, headers=info.as_http_headers(), trace_configs=[trace]
    )
    return kopf.AiohttpSession(server=connection.server, aiohttp_session=session)


def connection_info(connection: Connection) -> kopf.ConnectionInfo:
    """How kopf would log in by itself."""
    return kopf.ConnectionInfo(
        server=connection.server,
        ca_path=connection.ca_path or None,
        insecure=None if connection.verify else True,
        scheme="Bearer" if connection.token else None,
        token=connection.token or None,
        certificate_path=connection.certificate_path or None,
        private_key_path=connection.key_path or None,
    )
