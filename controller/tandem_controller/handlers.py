"""kopf's part: it watches the four kinds and feeds the store. No decision is taken here.

kopf keeps the watches alive and logs in; ``on.event`` handlers write nothing to the objects, so
an idle cluster sees no write. What kopf cannot tell (an object that vanished while a watch was
down) the loop's re-lists do.
"""

import asyncio
import logging
from collections.abc import Callable
from typing import Any

import kopf

from tandem_api.meta import GROUP, VERSION
from tandem_controller.store import Store, key_of
from tandem_kube import Connection

log = logging.getLogger(__name__)

OPERATOR: Any = "tandem"  # kopf keeps the type to itself
"""kopf's name for itself, in its peering, which is off. Without one it asks for the user's name,
and in a container the user has none."""
PLURALS = {"Site": "sites", "Host": "hosts", "Mirror": "mirrors", "Guest": "guests"}
Login = Callable[[], Connection]


def registry_for(store: Store, login: Login) -> kopf.OperatorRegistry:
    """Handlers of its own, so that tests can run several controllers in one process."""
    registry = kopf.OperatorRegistry()

    async def log_in(**_: Any) -> kopf.ConnectionInfo:
        return connection_info(login())

    kopf.on.login(registry=registry)(log_in)
    for kind, plural in PLURALS.items():
        kopf.on.event(GROUP, VERSION, plural, registry=registry, id=plural)(_feeder(store, kind))
    return registry


def _feeder(store: Store, kind: str) -> Callable[..., Any]:
    async def feed(event: Any, **_: Any) -> None:
        raw = dict(event["object"])
        if event["type"] == "DELETED":
            store.remove(kind, key_of(raw))
        else:
            store.put(kind, raw)

    return feed


def settings() -> kopf.OperatorSettings:
    """kopf as a watcher only."""
    chosen = kopf.OperatorSettings()
    # Without the right to list CRDs and namespaces every handler would wait for a minute.
    chosen.scanning.disabled = True
    chosen.posting.enabled = False
    chosen.peering.standalone = True
    chosen.watching.server_timeout = 300
    chosen.watching.connect_timeout = 5
    return chosen


def connection_info(connection: Connection) -> kopf.ConnectionInfo:
    """Our client's way to the server, for kopf's own."""
    return kopf.ConnectionInfo(
        server=connection.server,
        ca_path=connection.ca_path or None,
        insecure=None if connection.verify else True,
        scheme="Bearer" if connection.token else None,
        token=connection.token or None,
        certificate_path=connection.certificate_path or None,
        private_key_path=connection.key_path or None,
    )


async def watch(store: Store, login: Login, stop: asyncio.Event) -> None:
    """Until ``stop`` is set."""
    await kopf.operator(
        registry=registry_for(store, login),
        settings=settings(),
        identity=OPERATOR,
        clusterwide=True,
        standalone=True,
        stop_flag=stop,
    )
