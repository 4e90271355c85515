"""One request to the server, from its method and path to the answer's code and body.

It does what kube-apiserver does with a custom resource: a patch is of the object as it is just
now, with the preconditions that it names; a status is written by its own path and nothing else is;
a write that changes nothing makes no version; an object with finalizers goes when the last one is
gone. Called by ``api``, at one moment.
"""

import json
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from http import HTTPStatus
from typing import Any

from sim.apiserver import failures
from sim.apiserver.failures import Failure
from sim.apiserver.kinds import Route, Served, route, served_kinds
from sim.apiserver.patches import CannotApply, json_patched, merged, shared
from sim.apiserver.rules import broken_rules
from sim.apiserver.schema import ABSENT
from sim.apiserver.selectors import selects
from sim.apiserver.store import FIRST_VERSION, Raw, Shelf, Store, sorted_objects
from tandem_api.meta import ObjectKey
from tandem_kube.transport import JSON_PATCH, MERGE_PATCH

CHANGEABLE = ("labels", "annotations", "finalizers", "ownerReferences")
"""The metadata that a client may change."""
BLOCKING = {
    "FieldValueRequired",
    "FieldValueTypeInvalid",
    "FieldValueNotSupported",
    "FieldValueTooLong",
    "FieldValueTooMany",
}
"""After one of these no rule is judged, and the server says so."""
UNCHECKED = (
    "Invalid value: null: some validation rules were not checked because the object was invalid;"
    " correct the existing errors to complete validation"
)
NAMESPACES = frozenset({"default", "kube-system", "tandem-system", "sim"})
Admission = Callable[[Served, Raw | None, Raw | None, str], str]
"""Why that must not become this; empty: it may. None: nothing was there, or nothing shall be. Last,
the subresource."""


@dataclass(frozen=True, slots=True)
class Request:
    """What a client asks. ``body`` is the JSON text, empty if there is none."""

    method: str
    path: str
    query: Mapping[str, str]
    body: str = ""
    content_type: str = ""

    @property
    def writes(self) -> bool:
        return self.method != "GET"


def _lets_in(served: Served, old: Raw | None, new: Raw | None, subresource: str) -> str:
    return ""


class Handler:
    """``stale_at_s``: of which time the watch cache is that answers reads at version 0."""

    def __init__(self, store: Store, wall: Callable[[], str]) -> None:
        self.store, self._wall = store, wall
        self.admission: Admission = _lets_in
        self.written: Callable[[Served, Raw | None, Raw | None], None] = lambda *_: None
        self.stale_at_s: Callable[[], float] = store.now
        self.namespaces = set(NAMESPACES)
        self.applies_rules = True
        self.streams_lists = True
        self._made = 0

    def answer(self, request: Request) -> tuple[int, Raw]:
        """The code and the body. Whoever is answered must change nothing in it."""
        try:
            return self._do(request)
        except Failure as failure:
            return failure.code, failure.status()

    def _do(self, request: Request) -> tuple[int, Raw]:
        where = route(request.path)
        if where is None:
            raise failures.no_such_resource()
        match request.method:
            case "GET" if where.name:
                return HTTPStatus.OK, self._get(where, request.query)
            case "GET":
                return HTTPStatus.OK, self._list(where, request.query)
            case "POST" if not where.name:
                return HTTPStatus.CREATED, self._create(where, request)
            case "PATCH" if where.name:
                return HTTPStatus.OK, self._patch(where, request)
            case "PUT" if where.name:
                return HTTPStatus.OK, self._replace(where, request)
            case "DELETE" if where.name:
                return HTTPStatus.OK, self._delete(where, request)
        said = "the server does not allow this method on the requested resource"
        raise Failure(HTTPStatus.METHOD_NOT_ALLOWED, "MethodNotAllowed", said)

    # -- reading

    def shelf(self, served: Served) -> Shelf:
        return self.store.shelf(served.kind.plural)

    def seen(self, served: Served, query: Mapping[str, str]) -> tuple[Mapping[ObjectKey, Raw], int]:
        """The objects, and the version that they are of.

        A read without a version goes by quorum; one with a version is answered by a cache, which
        may be late, but not later than that.
        """
        shelf, wanted = self.shelf(served), query.get("resourceVersion", "")
        if not wanted:
            return shelf.objects, self.store.version
        if int(wanted) > self.store.version:
            raise failures.too_large(int(wanted), self.store.version)
        objects, version = shelf.as_of(self.stale_at_s())
        if version < int(wanted):
            return shelf.objects, self.store.version
        return objects, version

    def _get(self, where: Route, query: Mapping[str, str]) -> Raw:
        found = self.seen(where.served, query)[0].get(_key(where))
        if found is None:
            raise failures.not_found(where.served.resource, where.name)
        return found

    def _list(self, where: Route, query: Mapping[str, str]) -> Raw:
        objects, version = self.seen(where.served, query)
        selector, kind = query.get("labelSelector", ""), where.served.kind
        items = [
            raw
            for key, raw in sorted_objects(objects)
            if where.namespace in ("", key.namespace) and selects(selector, raw)
        ]
        if not where.served.own:  # Items of a list of a built-in kind lack what single ones have.
            items = [
                {k: v for k, v in raw.items() if k not in ("apiVersion", "kind")} for raw in items
            ]
        return {
            "apiVersion": kind.api_version,
            "kind": f"{kind.name}List",
            "metadata": {"resourceVersion": str(version)},
            "items": items,
        }

    # -- writing

    def _create(self, where: Route, request: Request) -> Raw:
        served, body = where.served, _object(request.body)
        metadata = body.get("metadata") or {}
        name, namespace = str(metadata.get("name") or ""), where.namespace
        if not name:
            said = "Required value: name or generateName is required"
            raise failures.invalid(served.kind.name, "", [failures.cause("metadata.name", said)])
        if namespace != metadata.get("namespace", namespace):
            said = "the namespace of the provided object does not match the request"
            raise failures.bad_request(said)
        if served.kind.namespaced and namespace not in self.namespaces:
            raise failures.not_found("namespaces", namespace)
        new = {k: v for k, v in body.items() if not (served.own and k == "status")}
        new["metadata"] = {
            **{k: metadata[k] for k in CHANGEABLE if metadata.get(k)},
            "name": name,
            **({"namespace": namespace} if namespace else {}),
            **self.birth(served),
        }
        if _is_elsewhere(served, namespace, new):
            where_to = failures.cause("involvedObject.namespace", "does not match event.namespace")
            raise failures.invalid(served.kind.name, name, [where_to])
        new |= {"apiVersion": served.kind.api_version, "kind": served.kind.name}
        shaped = self.judged(served, new, None)
        self.admit(served, None, shaped, "")
        key = ObjectKey(namespace, name)
        if (
            key in self.shelf(served).objects
        ):  # Looked at last: what is refused is refused there, too.
            raise failures.already_exists(served.resource, name)
        if request.query.get("dryRun"):
            return shaped
        return self.put(served, key, shaped)

    def birth(self, served: Served) -> Raw:
        """What the server itself says of a new object."""
        self._made += 1
        uid = f"00000000-0000-4000-8000-{self._made:012x}"
        generation = {"generation": 1} if served.own else {}
        return {"uid": uid, "creationTimestamp": self._wall(), **generation}

    def _patch(self, where: Route, request: Request) -> Raw:
        old, patch = self._present(where), _json(request.body)
        match request.content_type:
            case t if t == MERGE_PATCH and isinstance(patch, dict):
                new = merged(old, patch)
            case t if t == JSON_PATCH and isinstance(patch, list):
                try:
                    new = json_patched(old, patch)
                except CannotApply as error:
                    raise failures.unpatchable() from error
            case _:
                raise failures.bad_request(f"no patch of type {request.content_type}")
        return self._update(where, old, new)

    def _replace(self, where: Route, request: Request) -> Raw:
        old = self._present(where)
        return self._update(where, old, shared(old, _object(request.body)))

    def _present(self, where: Route) -> Raw:
        found = self.shelf(where.served).objects.get(_key(where))
        if found is None:
            raise failures.not_found(where.served.resource, where.name)
        return found

    def _update(self, where: Route, old: Raw, asked: Raw) -> Raw:
        served = where.served
        before, metadata = old["metadata"], asked.get("metadata") or {}
        if metadata.get("resourceVersion", before["resourceVersion"]) != before["resourceVersion"]:
            raise failures.conflict(served.resource, where.name)
        new = self._status_of(old, asked) if where.subresource else self._main_of(where, old, asked)
        if new is old:
            return old
        shaped = self.judged(served, new, old)
        if shaped == old:
            return old
        self.admit(served, old, shaped, where.subresource)
        if before.get("deletionTimestamp") and not shaped["metadata"].get("finalizers"):
            return self.remove(served, _key(where), shaped)
        return self.put(served, _key(where), shaped)

    @staticmethod
    def _status_of(old: Raw, asked: Raw) -> Raw:
        """By the path of the status nothing else is written, the metadata neither."""
        if asked.get("status") is old.get("status"):
            return old
        new = {k: v for k, v in old.items() if k != "status"}
        return {**new, "status": asked["status"]} if asked.get("status") is not None else new

    def _main_of(self, where: Route, old: Raw, asked: Raw) -> Raw:
        """By the path of the object everything but the status is written."""
        served, before, metadata = where.served, old["metadata"], asked.get("metadata") or {}
        if metadata.get("uid", before["uid"]) != before["uid"]:
            said = f'Invalid value: "{metadata["uid"]}": field is immutable'
            fields = [failures.cause("metadata.uid", said)]
            raise failures.invalid(served.kind.name, where.name, fields)
        kept = {k: v for k, v in before.items() if k not in CHANGEABLE}
        kept |= {k: metadata[k] for k in CHANGEABLE if metadata.get(k)}
        new = {**asked, **{k: old[k] for k in ("apiVersion", "kind")}}
        if served.own:
            new.pop("status", None)
            new |= {"status": old["status"]} if "status" in old else {}
            if any(new.get(k) != old.get(k) for k in new.keys() | old.keys() if k != "metadata"):
                kept["generation"] = before.get("generation", 0) + 1
        new["metadata"] = shared(before, kept)
        return old if new == old else new

    def judged(self, served: Served, new: Raw, old: Raw | None) -> Raw:
        """Shaped by the schema. Raises: Failure, if schema or rules refuse it."""
        whole: Any = ABSENT if old is None else old
        shaped: Raw = served.node.shaped_root(new, whole)
        found = list(served.node.problems_of_root(shaped, whole))
        if served.own and self.applies_rules:
            if any(each["reason"] in BLOCKING for each in found):
                found.append(failures.cause("<nil>", UNCHECKED))
            else:
                found += broken_rules(served.node, shaped, whole)
        if found:
            name = new["metadata"]["name"]
            shown = f"{served.kind.name}.{served.kind.group}" if served.own else served.kind.name
            raise failures.invalid(shown, name, found)
        return shaped

    def admit(self, served: Served, old: Raw | None, new: Raw | None, subresource: str) -> None:
        """Raises: Failure, if it is refused. Not asked of a write that changes nothing."""
        why = self.admission(served, old, new, subresource)
        if why:
            name = (new or old or {})["metadata"]["name"]
            raise failures.forbidden(served.resource, name, why)

    def _delete(self, where: Route, request: Request) -> Raw:
        served, old, key = where.served, self._present(where), _key(where)
        options = _object(request.body) if request.body else {}
        wanted, has = (options.get("preconditions") or {}).get("uid"), old["metadata"]["uid"]
        if wanted not in (None, has):
            said = (
                f"the UID in the precondition ({wanted}) does not match the UID in record ({has})."
                " The object might have been deleted and then recreated"
            )
            kind = f"{served.kind.name}.{served.kind.group}" if served.own else served.kind.name
            raise failures.conflict(kind, where.name, said)
        self.admit(served, old, None, "")
        metadata = old["metadata"]
        if not metadata.get("finalizers"):
            return self.remove(served, key, old)
        if metadata.get("deletionTimestamp"):
            return old
        ended = {"deletionTimestamp": self._wall(), "deletionGracePeriodSeconds": 0}
        if "generation" in metadata:
            ended["generation"] = metadata["generation"] + 1
        return self.put(served, key, {**old, "metadata": {**metadata, **ended}})

    def put(self, served: Served, key: ObjectKey, new: Raw) -> Raw:
        """Store it, judged or not."""
        self.written(served, self.shelf(served).objects.get(key), new)
        return self.store.write(served.kind.plural, key, new)

    def remove(self, served: Served, key: ObjectKey, last: Raw) -> Raw:
        """Whatever finalizers it has."""
        self.written(served, self.shelf(served).objects.get(key), None)
        return self.store.remove(served.kind.plural, key, last)


def _key(where: Route) -> ObjectKey:
    return ObjectKey(where.namespace, where.name)


def _json(text: str) -> Any:
    try:
        return json.loads(text, parse_constant=_no_number)
    except ValueError as error:
        raise failures.bad_request(f"the body cannot be read: {error}") from error


def _no_number(word: str) -> Any:
    raise ValueError(f"{word} is no JSON")


def _object(text: str) -> Raw:
    found = _json(text)
    if not isinstance(found, dict):
        raise failures.bad_request("the body is no object")
    return found


def _is_elsewhere(served: Served, namespace: str, new: Raw) -> bool:
    """An event stands where its object is; those about objects of the cluster in one place."""
    if served is not served_kinds()["events"]:
        return False
    of = (new.get("involvedObject") or {}).get("namespace") or ""
    return namespace != (of or "default")


__all__ = ["FIRST_VERSION", "Admission", "Handler", "Request"]
