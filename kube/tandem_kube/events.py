"""Kubernetes events about objects, the same one counted up instead of written anew.

The event's name is made from what it says, so the same words about the same object meet the same
event, also after a restart and also from another replica of the program. core/v1 is used and not
events.k8s.io: every ``kubectl describe`` shows its times and counts.

An event is for people. Losing one is no error worth acting on; callers log it and go on.
"""

import hashlib
from collections.abc import Callable, Mapping
from datetime import UTC, datetime
from typing import Any

from tandem_api.meta import ObjectKey
from tandem_kube.errors import Conflict
from tandem_kube.kinds import EVENTS, Raw
from tandem_kube.transport import MERGE_PATCH, Transport

CLUSTER_SCOPED_NAMESPACE = "default"
"""Where events about objects without a namespace go; the server insists."""
MESSAGE_LIMIT = 1024
TRIES = 3


class EventSink:
    """Writes events of one component."""

    def __init__(self, transport: Transport, component: str, wall: Callable[[], datetime]) -> None:
        self._transport, self._component, self._wall = transport, component, wall

    async def record(
        self,
        regarding: Mapping[str, Any],
        kind: str,
        reason: str,
        message: str,
        *,
        timeout_s: float,
    ) -> None:
        """Write it, or count up the one that says the same.

        ``regarding`` is a raw object, or as much of one as names it: apiVersion, kind, metadata.

        Raises:
            KubeError: it could not be written.
        """
        body = event_body(regarding, self._component, kind, reason, message, _text(self._wall()))
        for _ in range(TRIES):
            try:
                path = EVENTS.path(body["metadata"]["namespace"])
                await self._transport.call("POST", path, body=body, timeout_s=timeout_s)
                return
            except Conflict:
                if await self._count_up(body, timeout_s):
                    return

    async def _count_up(self, body: Raw, timeout_s: float) -> bool:
        """False if somebody else counted at the same moment."""
        key = ObjectKey(**{k: body["metadata"][k] for k in ("namespace", "name")})
        path = EVENTS.path(key.namespace, key.name)
        found = await self._transport.call("GET", path, timeout_s=timeout_s)
        patch = {
            "metadata": {"resourceVersion": found["metadata"]["resourceVersion"]},
            "count": int(found.get("count") or 1) + 1,
            "lastTimestamp": body["lastTimestamp"],
        }
        try:
            await self._transport.call(
                "PATCH", path, body=patch, content_type=MERGE_PATCH, timeout_s=timeout_s
            )
        except Conflict:
            return False
        return True


def event_body(
    regarding: Mapping[str, Any], component: str, kind: str, reason: str, message: str, now: str
) -> Raw:
    """The event as the API wants it. The same words about the same object give the same name."""
    metadata = regarding["metadata"]
    namespace = metadata.get("namespace") or CLUSTER_SCOPED_NAMESPACE
    words = "\0".join((metadata.get("uid", ""), component, kind, reason, message))
    digest = hashlib.sha256(words.encode()).hexdigest()[:16]
    return {
        "apiVersion": EVENTS.api_version,
        "kind": EVENTS.name,
        "metadata": {"namespace": namespace, "name": f"{metadata['name']}.{digest}"},
        "involvedObject": {
            "apiVersion": regarding["apiVersion"],
            "kind": regarding["kind"],
            "namespace": metadata.get("namespace", ""),
            "name": metadata["name"],
            "uid": metadata.get("uid", ""),
        },
        "type": kind,
        "reason": reason,
        "message": message[:MESSAGE_LIMIT],
        "source": {"component": component},
        "firstTimestamp": now,
        "lastTimestamp": now,
        "count": 1,
    }


def _text(moment: datetime) -> str:
    return moment.astimezone(UTC).isoformat(timespec="seconds").replace("+00:00", "Z")
