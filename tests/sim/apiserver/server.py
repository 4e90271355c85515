"""The server as the rest of the simulator sees it: typed objects, and what happens to them.

Everything is kept raw (``store``); a typed object is read from it when somebody asks, once for each
version. People's hands and scenarios put objects here directly; programs come by ``answer``.
Called by ``api``, the world, the referee and its truth.
"""

from collections.abc import Callable, Iterator, Mapping
from contextlib import suppress
from http import HTTPStatus
from typing import Any, TypeVar

from pydantic import ValidationError

from sim.apiserver.failures import forbidden
from sim.apiserver.handler import Handler, Request
from sim.apiserver.kinds import Served, served_kinds, served_name
from sim.apiserver.patches import shared
from sim.apiserver.policies import PERSON, denied, person, user_of
from sim.apiserver.review import REVIEWED, Review
from sim.apiserver.store import Backup, Raw, Store
from tandem_api.authority import Authority
from tandem_api.kinds.guest import Guest
from tandem_api.kinds.mirror import Mirror
from tandem_api.lease import LEASE_NAMESPACE, Heartbeat, heartbeat_of, lease_name
from tandem_api.meta import ObjectKey, ObjectMeta, Resource
from tandem_api.registry import KINDS

R = TypeVar("R", bound=Resource)
EPOCH = "2026-01-01T00:00:00Z"


class Missing(Exception):
    """There is no such object."""


class Server:
    """Every method happens at one moment.

    ``policed``: the policies are in force, as where Tandem is installed; if not, ``review`` still
    hears what they would refuse. ``people``: whose ways are those of people, and of no program.
    """

    def __init__(
        self,
        now: Callable[[], float] = lambda: 0.0,
        wall: Callable[[], str] = lambda: EPOCH,
        *,
        policed: bool = True,
    ) -> None:
        self.policed, self.people = policed, set[str]()
        self._user = person(PERSON)
        self.store = Store(now)
        self.handler = Handler(self.store, wall)
        self.handler.admission, self.handler.written = self._admission, self._written
        self.review = Review()
        self.strangers: set[str] = set()
        self.restored: list[Callable[[], None]] = []
        self.on_authority: list[Callable[[Mirror, Authority | None], None]] = []
        self.objects = Objects(self)
        self.leases = Leases(self)
        self._read: dict[tuple[str, ObjectKey], tuple[Raw, Resource]] = {}

    @property
    def version(self) -> int:
        return self.store.version

    def answer(self, host: str, request: Request) -> tuple[int, Raw]:
        """What a program there asks for, in its own name. No host: a controller."""
        if host in self.strangers:
            why = f'User "{host}" may not do that'
            return HTTPStatus.FORBIDDEN, forbidden(request.path, "", why).status()
        if host in self.people:
            self._user = person(host)
        else:
            self.review.writer = self.review.of(host)
            self._user = user_of(self.review.writer)
        try:
            return self.handler.answer(request)
        finally:
            self.review.writer, self._user = None, person(PERSON)

    # -- typed objects

    def raw(self, kind: str, key: ObjectKey) -> Raw | None:
        return self.handler.shelf(served_name(kind)).objects.get(key)

    def typed(self, kind: str, raw: Raw) -> Resource:
        """The object, read once for each version of it."""
        metadata = raw["metadata"]
        place = kind, ObjectKey(metadata.get("namespace", ""), metadata["name"])
        known = self._read.get(place)
        if known is not None and known[0] is raw:
            return known[1]
        parsed: Resource | None = _read_anew(*known, raw) if known is not None else None
        if parsed is None:
            parsed = served_name(kind).kind.parse(raw)
            assert parsed is not None
        self._read[place] = raw, parsed
        return parsed

    def get(self, kind: type[R], key: ObjectKey) -> R:
        """Raises: Missing."""
        raw = self.raw(kind.__name__, key)
        if raw is None:
            raise Missing(f"{kind.__name__} {key} is not there")
        found = self.typed(kind.__name__, raw)
        assert isinstance(found, kind)
        return found

    def every(self, kind: type[R]) -> list[R]:
        """All that can be read."""
        raws = self.handler.shelf(served_name(kind.__name__)).objects.values()
        found: list[R] = []
        for raw in raws:
            with suppress(ValidationError):
                obj = self.typed(kind.__name__, raw)
                found += [obj] if isinstance(obj, kind) else []
        return found

    def put_unread(self, kind: str, raw: Raw) -> None:
        """Something that was stored by a newer version, whose words no type of today knows."""
        served, metadata = served_name(kind), raw["metadata"]
        key = ObjectKey(metadata.get("namespace", ""), metadata["name"])
        about = {"apiVersion": served.kind.api_version, "kind": kind}
        born = {**self.handler.birth(served), **metadata}
        self.handler.put(served, key, {**about, **raw, "metadata": born})

    def put(self, obj: R, *, judged: bool = True) -> R:
        """A person puts it there, its status too. Raises: Failure, if the server would not.

        Whoever writes back what was read before changes just what differs. Not ``judged``: it was
        written before there were the rules and policies of today.
        """
        policed = self.policed
        self.handler.applies_rules, self.policed = judged, policed and judged
        try:
            return self._put(obj)
        finally:
            self.handler.applies_rules, self.policed = True, policed

    def _put(self, obj: R) -> R:
        kind = type(obj).__name__
        served, old = served_name(kind), self.raw(kind, obj.key)
        new = self._raw_of(served, old, obj)
        stored = old if old is not None and new == old else self._stored(served, obj, old, new)
        found = self.typed(kind, stored)
        assert isinstance(found, type(obj))
        return found

    def _stored(self, served: Served, obj: Resource, old: Raw | None, new: Raw) -> Raw:
        metadata = new["metadata"]
        if metadata.get("deletionTimestamp") and not metadata.get("finalizers"):
            return self.handler.remove(served, obj.key, new)
        shaped = self.handler.judged(served, new, old)
        self.handler.admit(served, old, shaped, "")
        return self.handler.put(served, obj.key, shaped)

    def _raw_of(self, served: Served, old: Raw | None, obj: Resource) -> Raw:
        raw: Raw = dict(obj.wire())
        status = self._status_of(served, old, obj, raw)
        before: Mapping[str, Any] = old["metadata"] if old else self.handler.birth(served)
        metadata = {k: v for k, v in raw["metadata"].items() if v not in ("", {}, [], 0)}
        metadata = {**before, **{k: v for k, v in metadata.items() if k != "resourceVersion"}}
        if not obj.metadata.finalizers:
            metadata.pop("finalizers", None)
        if old is not None and shared(old["spec"], raw["spec"]) is not old["spec"]:
            metadata["generation"] = before.get("generation", 0) + 1
        new = {
            "apiVersion": served.kind.api_version,
            "kind": served.kind.name,
            "metadata": metadata,
            "spec": raw["spec"],
        }
        if status:
            new["status"] = status
        return new if old is None else dict(shared(old, new))

    def _status_of(self, served: Served, old: Raw | None, obj: Resource, raw: Raw) -> Raw:
        """As programs write it; what is as it was stays to the letter."""
        status: Raw = _without_empty(raw.get("status") or {})
        if old is None:
            return status
        known: Any = self.typed(served.kind.name, old)
        new: Any = obj
        was, now = known.status, new.status
        before = old.get("status") or {}
        for name, field in type(now).model_fields.items():
            wire = field.alias or name
            if getattr(was, name) == getattr(now, name):
                status.pop(wire, None)
                status |= {wire: before[wire]} if wire in before else {}
        return status

    def delete(self, kind: type[Resource], key: ObjectKey) -> None:
        """A person asks for its end: with finalizers it only says so."""
        path = served_name(kind.__name__).kind.path(key.namespace, key.name)
        self.handler.answer(Request("DELETE", path, {}))

    def remove(self, kind: type[Resource], key: ObjectKey) -> None:
        """It is gone, with its finalizers or without."""
        served = served_name(kind.__name__)
        self.handler.remove(served, key, self.handler.shelf(served).objects[key])

    # -- backups

    def backup(self) -> Backup:
        return self.store.backup()

    def restore(self, backup: Backup) -> None:
        """Everything is as it was then, also the version: what was written since never was."""
        self.store.restore(backup)
        for tell in list(self.restored):
            tell()

    # -- what the handler asks and tells

    def _admission(self, served: Served, old: Raw | None, new: Raw | None, subresource: str) -> str:
        if not self.policed and not self.review.broken:
            return ""
        why = denied(served, subresource, self._user, old, new)
        if subresource == "status" and old is not None and new is not None:
            self._look(served.kind.name, old, new)
        if why:
            what = f"{served.kind.name} {_key(new or old or {})}"
            self.review.refused(what, why, self._claimed(old, new), lambda: self.every(Guest))
        return why if self.policed else ""

    def _look(self, kind: str, old: Raw, new: Raw) -> None:
        if self.review.seen is not None and kind in REVIEWED:
            self.review.look(self._parsed(kind, old), self._parsed(kind, new))

    def _claimed(self, old: Raw | None, new: Raw | None) -> Mirror | None:
        """The mirror as it was, of which who asks would be the owner."""
        asks, owner = self.review.writer, (_authority(new) or {}).get("owner")
        if old is None or asks is None or not owner or owner != asks.host:
            return None
        return self._mirror(old)

    def _parsed(self, kind: str, raw: Raw) -> Resource:
        known = self._read.get((kind, _key(raw)))
        if known is not None and known[0] is raw:
            return known[1]
        parsed: Resource = served_name(kind).kind.parse(raw)
        return parsed

    def _written(self, served: Served, old: Raw | None, new: Raw | None) -> None:
        if served.kind.name != "Mirror" or new is None or not self.on_authority:
            return
        before, after = _authority(old), _authority(new)
        if before is after or before == after:
            return
        was = None if old is None else self._mirror(old).status.authority
        for told in list(self.on_authority):
            told(self._mirror(new), was)

    def _mirror(self, raw: Raw) -> Mirror:
        found = self._parsed("Mirror", raw)
        assert isinstance(found, Mirror)
        return found


def _read_anew(before: Raw, parsed: Any, raw: Raw) -> Any:
    """With the same spec only the rest is read: what a spec is held against takes time."""
    if before.get("spec") is not raw.get("spec"):
        return None
    parts: dict[str, Any] = {"metadata": ObjectMeta.model_validate(raw["metadata"])}
    if before.get("status") is not raw.get("status"):
        parts["status"] = type(parsed.status).model_validate(raw.get("status") or {})
    return parsed.model_copy(update=parts)


def _authority(raw: Raw | None) -> Any:
    return ((raw or {}).get("status") or {}).get("authority")


def _key(raw: Raw) -> ObjectKey:
    metadata = raw["metadata"]
    return ObjectKey(metadata.get("namespace", ""), metadata["name"])


def _without_empty(value: Any) -> Any:
    """Without what a status has by default; claimants may be there and empty."""
    if isinstance(value, dict):
        inner = {k: _without_empty(v) for k, v in value.items()}
        return {k: v for k, v in inner.items() if k == "claimants" or v not in ("", None, {}, [])}
    return [_without_empty(v) for v in value] if isinstance(value, list) else value


class Objects(Mapping[tuple[str, ObjectKey], Resource]):
    """Our own kinds, by the kind's name and the object's key."""

    def __init__(self, server: Server) -> None:
        self._server = server

    def __getitem__(self, place: tuple[str, ObjectKey]) -> Resource:
        raw = self._server.raw(*place)
        if raw is None:
            raise KeyError(place)
        return self._server.typed(place[0], raw)

    def __iter__(self) -> Iterator[tuple[str, ObjectKey]]:
        for info in KINDS:
            for key in self._server.handler.shelf(served_name(info.kind)).objects:
                yield info.kind, key

    def __len__(self) -> int:
        return sum(1 for _ in self)


class Leases(Mapping[str, Heartbeat]):
    """The heartbeats, by their host."""

    def __init__(self, server: Server) -> None:
        self._server = server

    @property
    def _raw(self) -> Mapping[ObjectKey, Raw]:
        return self._server.handler.shelf(served_kinds()["leases"]).objects

    def __getitem__(self, host: str) -> Heartbeat:
        found = heartbeat_of(self._raw[ObjectKey(LEASE_NAMESPACE, lease_name(host))])
        if found is None:
            raise KeyError(host)
        return found

    def __iter__(self) -> Iterator[str]:
        for raw in self._raw.values():
            found = heartbeat_of(raw)
            if found is not None:
                yield found.host

    def __len__(self) -> int:
        return sum(1 for _ in self)
