"""kopf's part: it watches all kinds and tells of each object. No decision is taken here.

kopf keeps the watches alive and logs in; ``on.event`` handlers write nothing to the objects, so
an idle cluster sees no write. What kopf cannot tell (an object that vanished while a watch was
down) the loop's re-lists do. ``watching`` begins it anew when its watches are dead and it does not
know.

kopf runs in a thread and an event loop of its own, as it offers: when it ends it cancels every task
of its loop, whosever they are, and in the main thread it would take the process's signals. What it
tells is taken in by the controller's loop.
"""

import asyncio
import contextlib
import logging
import threading
from collections import deque
from collections.abc import Callable, Coroutine
from functools import partial
from typing import Any

import aiohttp
import kopf

from tandem_api import registry
from tandem_api.meta import GROUP, VERSION
from tandem_api.registry import Component
from tandem_controller.decide import watches
from tandem_controller.ports import Opened, Raw, Told
from tandem_kube import Access, new_socket

log = logging.getLogger(__name__)

OPERATOR: Any = "tandem"  # kopf keeps the type to itself
"""kopf's name for itself, in its peering, which is off. Without one it asks for the user's name,
and in a container the user has none."""
WATCHED = {info.plural: info.kind for info in registry.watched_by(Component.CONTROLLER)}
Login = Callable[[], Access]
Operator = Callable[[], Coroutine[Any, Any, None]]

CONNECT_TIMEOUT_S = 5.0
REQUEST_TIMEOUT_S = 10.0
BACKOFFS_S = (0.3, 0.5, 1.0, 1.0, 2.0, 2.0, 3.0, 3.0, 5.0, 5.0)
"""Together longer than ``watches.IDLE_S``: a watch is tried for ever, a first list that long."""
TURN_S = 0.01
"""For so long what was told is taken in before others have their turn."""
STOP_S = 1.0
"""kopf would wait for 5 s for what it has left behind of a watch that was busy."""

# It says at each start that it does not handle the process's signals, as if it should.
logging.getLogger("kopf._core.reactor.running").setLevel(logging.ERROR)


class KopfWatchers:
    """The Watchers port: kopf's operator in a thread of its own, once for each beginning."""

    def __init__(self, login: Login) -> None:
        self._login = login

    def begin(self, told: Told, opened: Opened) -> "KopfWatcher":
        """Both are called in the event loop that calls this."""
        loop, end = asyncio.get_running_loop(), threading.Event()
        operator = partial(
            kopf.operator,
            registry=self._registry(loop, told, opened),
            settings=settings(),
            identity=OPERATOR,
            clusterwide=True,
            standalone=True,
            stop_flag=end,
        )
        return KopfWatcher(loop, end, operator)

    def _registry(
        self, loop: asyncio.AbstractEventLoop, told: Told, opened: Opened
    ) -> kopf.OperatorRegistry:
        """Handlers of its own, so that tests can run several controllers in one process.

        They run in kopf's loop; what they tell is taken in by ``loop``.
        """
        registry, inbox = kopf.OperatorRegistry(), Inbox(loop)

        def hear(plural: str) -> None:
            kind = WATCHED.get(plural)
            if kind is not None:
                inbox.put(partial(opened, kind))

        async def log_in(**_: Any) -> kopf.AiohttpSession:
            return session_for(self._login(), hear)

        def tell(kind: str, gone: bool, raw: Raw) -> None:
            inbox.put(partial(told, kind, gone, raw))

        kopf.on.login(registry=registry)(log_in)
        for plural, kind in WATCHED.items():
            kopf.on.event(GROUP, VERSION, plural, registry=registry, id=plural)(_feeder(tell, kind))
        return registry


class Inbox:
    """What another thread hands over to ``loop``, taken in in its order, and a little at a time:
    when a site is lost it is thousands of objects at once, and the loop has Leases to read.
    """

    def __init__(self, loop: asyncio.AbstractEventLoop) -> None:
        self._loop = loop
        self._waiting: deque[Callable[[], None]] = deque()
        self._called = False

    def put(self, act: Callable[[], None]) -> None:
        """From any thread."""
        self._waiting.append(act)
        if not self._called:
            self._called = True
            self._loop.call_soon_threadsafe(self._take)

    def _take(self) -> None:
        self._called = False  # first: what is put from now on may come too late for this turn
        end_s = self._loop.time() + TURN_S
        try:
            while self._waiting and self._loop.time() < end_s:
                self._waiting.popleft()()
        finally:
            if self._waiting and not self._called:
                self._called = True
                self._loop.call_soon(self._take)


class KopfWatcher:
    """One beginning: a thread that runs ``operator`` until ``end`` is set."""

    def __init__(
        self, loop: asyncio.AbstractEventLoop, end: threading.Event, operator: Operator
    ) -> None:
        self._loop, self._end, self._operator = loop, end, operator
        self.ended: asyncio.Future[BaseException | None] = loop.create_future()
        threading.Thread(target=self._run, name="kopf", daemon=True).start()

    def stop(self) -> None:
        self._end.set()

    def _run(self) -> None:
        error: BaseException | None = None
        try:
            asyncio.run(_until(self._end, self._operator))
        except BaseException as caught:  # Whatever it is, it must not be silent.
            error = caught
        with contextlib.suppress(RuntimeError):  # The controller has ended.
            self._loop.call_soon_threadsafe(self._finish, error)

    def _finish(self, error: BaseException | None) -> None:
        if not self.ended.done():
            self.ended.set_result(error)


async def _until(end: threading.Event, operator: Operator) -> None:
    """kopf until ``end`` is set, and then no longer than it should take."""
    asyncio.get_running_loop().set_exception_handler(hear_problem)
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


def hear_problem(loop: asyncio.AbstractEventLoop, context: dict[str, Any]) -> None:
    """kopf's watches that end with the program complain of it at times: nobody waits for them."""
    if "asyncgen" in context:
        log.debug("kopf: %s", context["message"])
    else:
        loop.default_exception_handler(context)


def _feeder(told: Told, kind: str) -> Callable[..., Any]:
    async def feed(event: Any, **_: Any) -> None:
        told(kind, event["type"] == "DELETED", dict(event["object"]))

    return feed


class NoEssence(kopf.DiffBaseStorage):
    """Nothing is kept of how an object was: kopf would copy each object for it, whenever it hears
    of it, and nobody here asks what was changed.
    """

    def build(self, *, body: Any, extra_fields: Any = None) -> Any:
        return {}

    def fetch(self, *, body: Any) -> Any:
        return None

    def store(self, *, body: Any, patch: Any, essence: Any) -> None:
        """Never called: it has no handlers of changes."""


class NoProgress(kopf.ProgressStorage):
    """Nothing is kept of how far a handler has come: each is called once, and is done."""

    def fetch(self, *, key: Any, body: Any) -> Any:
        return None

    def store(self, *, key: Any, record: Any, body: Any, patch: Any) -> None:
        """Never called, and so are the others."""

    def purge(self, *, key: Any, body: Any, patch: Any) -> None: ...

    def touch(self, *, body: Any, patch: Any, value: Any) -> None: ...

    def clear(self, *, essence: Any) -> Any:
        return essence


def settings() -> kopf.OperatorSettings:
    """kopf as a watcher only."""
    chosen = kopf.OperatorSettings()
    # Without the right to list CRDs and namespaces every handler would wait for a minute.
    chosen.scanning.disabled = True
    chosen.posting.enabled = False
    chosen.peering.standalone = True
    chosen.persistence.diffbase_storage = NoEssence()
    chosen.persistence.progress_storage = NoProgress()
    chosen.watching.server_timeout = watches.LIFE_S
    chosen.watching.inactivity_timeout = watches.IDLE_S
    chosen.watching.connect_timeout = CONNECT_TIMEOUT_S
    chosen.networking.connect_timeout = CONNECT_TIMEOUT_S
    chosen.networking.request_timeout = REQUEST_TIMEOUT_S
    chosen.networking.error_backoffs = BACKOFFS_S
    return chosen


def session_for(connection: Access, opened: Callable[[str], None]) -> kopf.AiohttpSession:
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


def connection_info(connection: Access) -> kopf.ConnectionInfo:
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
