"""``KubeClient``: what Tandem's programs ask of the API server, and nothing more.

Reads are quorum reads: they carry no resourceVersion, so the server may not answer from a cache.
Writes are merge patches of one object, or set some fields of its status if it is still just that
object: the compare-and-swap of a mirror's authority, and its first status. Nothing
is retried here: whether a second try is right is the caller's decision.

Every call raises only ``KubeError`` (and pydantic.ValidationError where it returns a parsed type).
"""

import random
from collections.abc import AsyncGenerator, Callable, Mapping, Sequence
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, NamedTuple, TypeVar

from tandem_api.authority import Authority
from tandem_api.kinds.mirror import Claimant, Mirror, MirrorStatus
from tandem_api.lease import LEASE_NAMESPACE
from tandem_api.meta import ObjectKey
from tandem_api.timing import API_TIMEOUT_S
from tandem_kube.errors import Conflict, NotFound
from tandem_kube.events import EventSink
from tandem_kube.kinds import LEASES, MIRRORS, Kind, Raw
from tandem_kube.transport import (
    JSON_PATCH,
    MERGE_PATCH,
    Access,
    Transport,
    open_transport,
)
from tandem_kube.watch import CHANCE, LIST_TIMEOUT_S, PACE, Pace, WatchEvent, follow

T = TypeVar("T")


class Listing(NamedTuple):
    """What a list gave, and the resourceVersion that it is of."""

    items: list[Raw]
    resource_version: str


def _wall_clock() -> datetime:
    return datetime.now(UTC)


class KubeClient:
    """One API server, one identity. Make it with ``await KubeClient.load(…)``.

    ``wall`` is what people read in Leases and events; ``chance`` spreads watches in time.
    """

    def __init__(
        self,
        transport: Transport,
        component: str = "tandem",
        pace: Pace = PACE,
        *,
        wall: Callable[[], datetime] = _wall_clock,
        chance: random.Random = CHANCE,
    ) -> None:
        self._transport, self._pace = transport, pace
        self._wall, self._chance = wall, chance
        self._events = EventSink(transport, component, wall)

    @classmethod
    async def load(
        cls, kubeconfig: Path | None = None, *, component: str = "tandem", pace: Pace = PACE
    ) -> "KubeClient":
        """From a kubeconfig file; None: a pod's own account, else as kubectl would.

        ``component`` is who events are from, ``pace`` that of watches. Nothing is sent yet.
        """
        return cls(await open_transport(kubeconfig), component, pace)

    async def close(self) -> None:
        """End every connection; watches in progress end with an error."""
        await self._transport.close()

    def connection(self) -> Access:
        """Where the server is and how to log in, for another client of the same identity."""
        return self._transport.connection()

    # -- reading

    async def get(
        self, kind: Kind[Any], key: ObjectKey, *, timeout_s: float = API_TIMEOUT_S
    ) -> Raw:
        """A quorum read of one object."""
        path = kind.path(key.namespace, key.name)
        return await self._transport.call("GET", path, timeout_s=timeout_s)

    async def fetch(self, kind: Kind[T], key: ObjectKey, *, timeout_s: float = API_TIMEOUT_S) -> T:
        """A quorum read of one object, parsed."""
        return kind.parse(await self.get(kind, key, timeout_s=timeout_s))

    async def list(
        self,
        kind: Kind[Any],
        namespace: str | None = None,
        *,
        label_selector: str = "",
        timeout_s: float = LIST_TIMEOUT_S,
    ) -> Listing:
        """A quorum read of all objects, of one namespace or of all."""
        query = {"labelSelector": label_selector} if label_selector else {}
        path = kind.path(namespace or "")
        found = await self._transport.call("GET", path, query=query, timeout_s=timeout_s)
        for item in found["items"]:
            # Items of a list lack what single objects have.
            item.setdefault("apiVersion", kind.api_version)
            item.setdefault("kind", kind.name)
        return Listing(found["items"], found["metadata"]["resourceVersion"])

    def watch(
        self, kind: Kind[Any], *, namespace: str | None = None, label_selector: str = ""
    ) -> AsyncGenerator[WatchEvent, None]:
        """Endless: Synced with everything, then each change; Interrupted and Synced as need be."""
        query = {"labelSelector": label_selector} if label_selector else {}

        async def lister() -> Listing:
            return await self.list(kind, namespace, label_selector=label_selector)

        path = kind.path(namespace or "")
        return follow(self._transport, path, query, lister, self._pace, self._chance)

    # -- writing

    async def merge_patch(
        self,
        kind: Kind[Any],
        key: ObjectKey,
        patch: Mapping[str, Any],
        *,
        resource_version: str | None = None,
        subresource: str = "",
        timeout_s: float = API_TIMEOUT_S,
    ) -> Raw:
        """Merge into an object: null removes, lists are replaced whole.

        With ``resource_version`` only if the object is still that version, else Conflict.
        """
        body = dict(patch)
        if resource_version is not None:
            body["metadata"] = {**patch.get("metadata", {}), "resourceVersion": resource_version}
        path = kind.path(key.namespace, key.name, subresource)
        return await self._transport.call(
            "PATCH", path, body=body, content_type=MERGE_PATCH, timeout_s=timeout_s
        )

    async def merge_patch_status(
        self,
        kind: Kind[Any],
        key: ObjectKey,
        patch: Mapping[str, Any],
        *,
        resource_version: str | None = None,
        timeout_s: float = API_TIMEOUT_S,
    ) -> Raw:
        """Merge ``patch`` into ``status``: it holds what stands below that word.

        An empty string is sent as null, so it removes the field: in a Tandem status the two mean
        the same, and what reads it meets one form only.
        """
        return await self.merge_patch(
            kind,
            key,
            {"status": {k: _empty_to_null(v) for k, v in patch.items()}},
            resource_version=resource_version,
            subresource="status",
            timeout_s=timeout_s,
        )

    async def set_in_status(
        self,
        kind: Kind[Any],
        key: ObjectKey,
        fields: Mapping[str, Any],
        *,
        uid: str,
        resource_version: str,
        empty: bool,
        timeout_s: float = API_TIMEOUT_S,
    ) -> Raw:
        """Replace whole fields of ``status`` if the object is still this one, in this version.

        Unlike a merge patch of a status, where the server ignores a uid: after a restore another
        object can have the same name and version. ``empty``: there is nothing in the status yet.

        Raises:
            Conflict: it is another object or another version. Nothing was changed.
        """
        wanted = {name: _without_empty(value) for name, value in fields.items()}
        changes = {"/status": wanted} if empty else {f"/status/{k}": v for k, v in wanted.items()}
        patch = [
            {"op": "test", "path": "/metadata/uid", "value": uid},
            {"op": "test", "path": "/metadata/resourceVersion", "value": resource_version},
            *({"op": "add", "path": path, "value": value} for path, value in changes.items()),
        ]
        path = kind.path(key.namespace, key.name, "status")
        return await self._transport.call(
            "PATCH", path, body=patch, content_type=JSON_PATCH, timeout_s=timeout_s
        )

    async def add_claimant(
        self,
        mirror: Mirror,
        host: str,
        claimant: Claimant,
        *,
        timeout_s: float = API_TIMEOUT_S,
    ) -> Raw:
        """Put a host's entry into a mirror's claimants.

        With a proof about the present epoch, as long as it is that epoch: the hosts' reports, of
        which there are many just then, do not matter. Else only in this version.

        Raises:
            Conflict: it has not, or it is another mirror. Nothing was changed.
        """
        seen, path = mirror.metadata, "/status/claimants"
        entry: Any = _without_empty(claimant.wire())
        if mirror.status.claimants is None:
            add = {"op": "add", "path": path, "value": {host: entry}}
        else:
            add = {"op": "add", "path": f"{path}/{host}", "value": entry}
        if claimant.proves_at(mirror.status.authority):
            as_judged = {"path": "/status/authority/epoch", "value": claimant.at_epoch}
        else:
            as_judged = {"path": "/metadata/resourceVersion", "value": seen.resource_version}
        patch = [
            {"op": "test", "path": "/metadata/uid", "value": seen.uid},
            {"op": "test", **as_judged},
            add,
        ]
        where = MIRRORS.path(seen.namespace, seen.name, "status")
        return await self._transport.call(
            "PATCH", where, body=patch, content_type=JSON_PATCH, timeout_s=timeout_s
        )

    async def create(
        self, kind: Kind[Any], body: Mapping[str, Any], *, timeout_s: float = API_TIMEOUT_S
    ) -> Raw:
        """Make an object; Conflict if it is there."""
        path = kind.path(body["metadata"].get("namespace", ""))
        full = {"apiVersion": kind.api_version, "kind": kind.name, **body}
        return await self._transport.call("POST", path, body=full, timeout_s=timeout_s)

    async def delete(
        self, kind: Kind[Any], key: ObjectKey, *, uid: str = "", timeout_s: float = API_TIMEOUT_S
    ) -> None:
        """Ask for an object's end; with ``uid`` only if it is still that one, else Conflict."""
        path, body = kind.path(key.namespace, key.name), {"preconditions": {"uid": uid}}
        await self._transport.call("DELETE", path, body=body if uid else None, timeout_s=timeout_s)

    async def swap_authority(
        self,
        key: ObjectKey,
        *,
        expected_epoch: int | None,
        uid: str,
        authority: Authority,
        timeout_s: float = API_TIMEOUT_S,
    ) -> Mirror:
        """Replace a mirror's authority if it still has this epoch (None: if it has none yet).

        Raises:
            Conflict: somebody else wrote first, or the mirror was made anew. Nothing was changed.
            Unavailable: it may have landed, or may still land. Read again, compare requestID.
        """
        if expected_epoch is None:
            return await self._first_authority(key, uid, authority, timeout_s)
        patch = [
            {"op": "test", "path": "/metadata/uid", "value": uid},
            {"op": "test", "path": "/status/authority/epoch", "value": expected_epoch},
            {"op": "replace", "path": "/status/authority", "value": _wire(authority)},
        ]
        path = MIRRORS.path(key.namespace, key.name, "status")
        return Mirror.parse(
            await self._transport.call(
                "PATCH", path, body=patch, content_type=JSON_PATCH, timeout_s=timeout_s
            )
        )

    async def _first_authority(
        self, key: ObjectKey, uid: str, authority: Authority, timeout_s: float
    ) -> Mirror:
        """A JSON patch cannot test that something is absent; the resourceVersion can."""
        mirror = await self.fetch(MIRRORS, key, timeout_s=timeout_s)
        if mirror.metadata.uid != uid or mirror.status.authority is not None:
            raise Conflict(f"{key} has an authority already, or is another mirror of that name")
        written = await self.set_in_status(
            MIRRORS,
            key,
            {"authority": _wire(authority)},
            uid=uid,
            resource_version=mirror.metadata.resource_version,
            empty=mirror.status == MirrorStatus(),
            timeout_s=timeout_s,
        )
        return Mirror.parse(written)

    # -- leases

    async def get_lease(self, name: str, *, timeout_s: float = API_TIMEOUT_S) -> Raw:
        """A quorum read of a Lease in Tandem's namespace."""
        key = ObjectKey(namespace=LEASE_NAMESPACE, name=name)
        return await self.get(LEASES, key, timeout_s=timeout_s)

    async def list_leases(
        self, label_selector: str = "", *, timeout_s: float = API_TIMEOUT_S
    ) -> Listing:
        """A quorum read of the Leases in Tandem's namespace."""
        return await self.list(
            LEASES, LEASE_NAMESPACE, label_selector=label_selector, timeout_s=timeout_s
        )

    async def renew_lease(
        self,
        name: str,
        *,
        holder: str,
        duration_s: float,
        labels: Mapping[str, str] | None = None,
        annotations: Mapping[str, str] | None = None,
        resource_version: str | None = None,
        transitions: int | None = None,
        timeout_s: float = API_TIMEOUT_S,
    ) -> str:
        """Renew a Lease, or make it if there is none; returns the new resourceVersion.

        With ``resource_version`` only if it is still that version (empty: only if there is no
        such Lease), else Conflict. ``transitions`` says that the holder is a new one, and how
        often the Lease has passed on by that (0 in a new one); it also sets acquireTime.
        """
        now = self._wall().astimezone(UTC).isoformat(timespec="microseconds")
        now = now.replace("+00:00", "Z")
        spec: dict[str, Any] = {
            "holderIdentity": holder,
            "renewTime": now,
            "leaseDurationSeconds": max(1, round(duration_s)),
        }
        if transitions is not None:
            spec |= {"acquireTime": now, "leaseTransitions": transitions}
        metadata = {"labels": dict(labels or {}), "annotations": dict(annotations or {})}
        key = ObjectKey(namespace=LEASE_NAMESPACE, name=name)
        body = {"metadata": metadata, "spec": spec}
        if resource_version == "":
            return await self._create_lease(key, body, timeout_s)
        try:
            written = await self.merge_patch(
                LEASES, key, body, resource_version=resource_version, timeout_s=timeout_s
            )
        except NotFound:
            if resource_version is not None:
                raise Conflict(f"lease {name} is gone") from None
            return await self._create_lease(key, body, timeout_s)
        return str(written["metadata"]["resourceVersion"])

    async def _create_lease(self, key: ObjectKey, body: Mapping[str, Any], timeout_s: float) -> str:
        spec = {"acquireTime": body["spec"]["renewTime"], **body["spec"]}
        metadata = {**body["metadata"], "namespace": key.namespace, "name": key.name}
        full = {"metadata": metadata, "spec": spec}
        written = await self.create(LEASES, full, timeout_s=timeout_s)
        return str(written["metadata"]["resourceVersion"])

    # -- events

    async def event(
        self,
        regarding: Mapping[str, Any],
        kind: str,
        reason: str,
        message: str,
        *,
        timeout_s: float = API_TIMEOUT_S,
    ) -> None:
        """Record an event about an object; ``kind`` is Normal or Warning. See ``events``."""
        await self._events.record(regarding, kind, reason, message, timeout_s=timeout_s)


def _wire(authority: Authority) -> Any:
    """As it is stored: without empty strings, see ``merge_patch_status``."""
    return {k: v for k, v in authority.wire().items() if v != ""}


def _empty_to_null(value: Any) -> Any:
    if isinstance(value, Mapping):
        return {k: _empty_to_null(v) for k, v in value.items()}
    if isinstance(value, Sequence) and not isinstance(value, str):
        return [_without_empty(item) for item in value]
    return None if value == "" else value


def _without_empty(value: Any) -> Any:
    """Inside a list nothing is merged, so nothing is removed: it must not be there."""
    if not isinstance(value, Mapping):
        return value
    return {k: _without_empty(v) for k, v in value.items() if v not in ("", None)}
