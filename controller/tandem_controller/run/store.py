"""What the API holds, as last seen: fed by watches, by re-lists and by the answers to own writes.

Objects are parsed once, when they change. One that does not parse is kept as unreadable, with the
reasons, so that it can be told. Called by ``handlers``, ``loop`` and ``execute``; it decides
nothing and does no I/O.
"""

import contextlib
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, replace
from typing import Any, TypeVar

from pydantic import ValidationError

from tandem_api import registry
from tandem_api.check.parsing import LAST_APPLIED
from tandem_api.check.validation import parse_problems
from tandem_api.meta import Condition, ObjectKey, Problem, Resource
from tandem_base.bugs import Bug
from tandem_base.bugs import bug as bug_of
from tandem_controller.decide.world.model import Unreadable
from tandem_controller.ports import KINDS, Raw

V = TypeVar("V")
TYPES: Mapping[str, type[Resource]] = {kind: registry.BY_NAME[kind].type for kind in KINDS}


@dataclass(frozen=True)
class Entry:
    """One object: its version, what it parses to (or not), and what no type knows of it.

    After a restore of the API two objects of one name may have one version: only the uid tells them
    apart. ``written`` is what a user last wrote, in short: while it is the same, so are the
    problems. ``bug``: reading it failed, by no fault of whoever wrote it.
    """

    version: int
    uid: str
    written: tuple[object, ...]
    parsed: Resource | None
    unreadable: Unreadable | None
    problems: tuple[Problem, ...]
    bug: Bug | None = None

    def is_same(self, raw: Raw) -> bool:
        return self.version == version_of(raw) and self.uid == _uid(raw)

    def is_older(self, raw: Raw) -> bool:
        """Than this one, or another object that there is instead of it."""
        same_moment = self.version == version_of(raw) and self.uid != _uid(raw)
        return self.version < version_of(raw) or same_moment


def key_of(raw: Raw) -> ObjectKey:
    metadata = raw["metadata"]
    return ObjectKey(namespace=metadata.get("namespace", ""), name=metadata["name"])


class Store:
    """All objects of KINDS. ``generation`` rises with every change."""

    def __init__(self, on_change: Callable[[], None] = lambda: None) -> None:
        self._objects: dict[str, dict[ObjectKey, Entry]] = {kind: {} for kind in TYPES}
        self._synced: set[str] = set()
        self._on_change = on_change
        self._views: dict[str, Any] = {}
        """What was asked of it since its last change."""
        self.generation = 0

    @property
    def synced(self) -> bool:
        """Whether every kind was listed completely at least once."""
        return self._synced == set(TYPES)

    def put(self, kind: str, raw: Raw) -> None:
        """An object as it is now. An older version than the one known is left out.

        A watch may lag behind the answer to an own write. resourceVersions are compared as
        numbers, as every server that keeps them in etcd counts them.
        """
        key = key_of(raw)
        known = self._objects[kind].get(key)
        if known is None or known.is_older(raw):
            self._objects[kind][key] = _entry(kind, key, raw, known)
            self._changed()

    def remove(self, kind: str, key: ObjectKey) -> None:
        """It is gone."""
        if self._objects[kind].pop(key, None) is not None:
            self._changed()

    def newest(self, kind: str) -> int:
        """The version of its newest object."""
        return max((entry.version for entry in self._objects[kind].values()), default=0)

    def replace(self, kind: str, raws: Iterable[Raw], newer: int | None = None) -> None:
        """The whole state of a kind: what is not in it is gone, and older versions count too.

        ``newer``: what has become known since, of later versions than this, is no part of the list.
        """
        old = self._objects[kind]
        new: dict[ObjectKey, Entry] = {}
        if newer is not None:
            new = {key: entry for key, entry in old.items() if entry.version > newer}
        for raw in raws:
            key = key_of(raw)
            known = old.get(key)
            if key not in new:
                new[key] = known if known and known.is_same(raw) else _entry(kind, key, raw, known)
        first = kind not in self._synced
        self._synced.add(kind)
        if first or _moments(old) != _moments(new):
            self._objects[kind] = new
            self._changed()

    def parsed(self, kind: str) -> tuple[Any, ...]:
        """The readable objects of a kind; the same tuple until something changes."""
        return self._view(kind, lambda: self._parsed(kind))

    def _parsed(self, kind: str) -> tuple[Any, ...]:
        return tuple(entry.parsed for entry in self._objects[kind].values() if entry.parsed)

    def get(self, kind: str, key: ObjectKey) -> Resource | None:
        """One readable object."""
        entry = self._objects[kind].get(key)
        return entry.parsed if entry else None

    def unreadable(self) -> tuple[Unreadable, ...]:
        return self._view("(unreadable)", self._unreadable)

    def _unreadable(self) -> tuple[Unreadable, ...]:
        return tuple(
            entry.unreadable
            for entries in self._objects.values()
            for entry in entries.values()
            if entry.unreadable
        )

    def bugs(self) -> tuple[Bug, ...]:
        """Of objects of which an earlier state stands for the one that reading failed on."""
        return self._view("(bugs)", self._bugs)

    def _bugs(self) -> tuple[Bug, ...]:
        return tuple(
            entry.bug
            for entries in self._objects.values()
            for entry in entries.values()
            if entry.bug and entry.parsed
        )

    def unknown_fields(self) -> Mapping[tuple[str, ObjectKey], tuple[Problem, ...]]:
        """What users wrote and no type knows, for the objects that are readable otherwise."""
        return self._view("(unknown)", self._unknown_fields)

    def _unknown_fields(self) -> dict[tuple[str, ObjectKey], tuple[Problem, ...]]:
        return {
            (kind, key): entry.problems
            for kind, entries in self._objects.items()
            for key, entry in entries.items()
            if entry.parsed and entry.problems
        }

    def _view(self, name: str, make: Callable[[], V]) -> V:
        if name not in self._views:
            self._views[name] = make()
        found: V = self._views[name]
        return found

    def _changed(self) -> None:
        self.generation += 1
        self._views.clear()
        self._on_change()


def version_of(raw: Raw) -> int:
    """Comparable with others of the same server, of any kind."""
    return int(raw["metadata"]["resourceVersion"])


def _uid(raw: Raw) -> str:
    return str(raw["metadata"].get("uid", ""))


def _moments(entries: Mapping[ObjectKey, Entry]) -> dict[ObjectKey, tuple[int, str]]:
    return {key: (entry.version, entry.uid) for key, entry in entries.items()}


def _written(raw: Raw) -> tuple[object, ...]:
    metadata = raw["metadata"]
    applied = (metadata.get("annotations") or {}).get(LAST_APPLIED)
    return _uid(raw), metadata.get("generation"), applied


def _entry(kind: str, key: ObjectKey, raw: Raw, known: Entry | None) -> Entry:
    """A wall: an object that our own code cannot take in is not absent, and costs no other."""
    try:
        return _read(kind, key, raw, known)
    except Exception as error:
        return _unread(kind, key, raw, known, bug_of(kind, key, error))


def _unread(kind: str, key: ObjectKey, raw: Raw, known: Entry | None, bug: Bug) -> Entry:
    """As it was known before, for what it has; but nothing is decided on a mirror of the past."""
    version, uid = version_of(raw), _uid(raw)
    if known is not None and known.parsed is not None and known.uid == uid and kind != "Mirror":
        return Entry(version, uid, (), known.parsed, None, known.problems, bug)
    told = (Problem("", f"Tandem failed on it ({bug.where}): a bug in Tandem"),)
    try:
        unreadable = replace(_unreadable(kind, key, raw, told), bug=bug)
    except Exception:
        generation = raw["metadata"].get("generation", 0)
        unreadable = Unreadable(kind, key, uid, generation, told, numbers_known=False, bug=bug)
    return Entry(version, uid, (), None, unreadable, told, bug)


def _read(kind: str, key: ObjectKey, raw: Raw, known: Entry | None) -> Entry:
    version, uid, written = version_of(raw), _uid(raw), _written(raw)
    try:
        parsed = TYPES[kind].parse(raw)
    except ValidationError:
        problems = tuple(parse_problems(TYPES[kind], raw))
        return Entry(version, uid, written, None, _unreadable(kind, key, raw, problems), problems)
    if known is not None and known.parsed is not None and known.written == written:
        return Entry(version, uid, written, parsed, None, known.problems)
    return Entry(version, uid, written, parsed, None, tuple(parse_problems(TYPES[kind], raw)))


def _unreadable(kind: str, key: ObjectKey, raw: Raw, problems: tuple[Problem, ...]) -> Unreadable:
    metadata, minors = raw["metadata"], _in(raw, "status", "deviceNumbers", "minors")
    return Unreadable(
        kind=kind,
        key=key,
        uid=metadata.get("uid", ""),
        generation=metadata.get("generation", 0),
        problems=problems,
        conditions=_conditions(raw),
        ports=_numbers([_in(raw, "spec", "port"), _in(raw, "status", "deviceNumbers", "port")]),
        minors=_numbers(minors.values() if isinstance(minors, Mapping) else ()),
        deleting=bool(metadata.get("deletionTimestamp")),
    )


def _in(raw: Any, *path: str) -> Any:
    """What is there, or None."""
    for name in path:
        raw = raw.get(name) if isinstance(raw, Mapping) else None
    return raw


def _numbers(values: Iterable[Any]) -> frozenset[int]:
    """Those that are numbers, also where somebody has written them as text."""
    found = set()
    for value in values:
        with contextlib.suppress(TypeError, ValueError, OverflowError):
            found.add(int(value))
    return frozenset(found)


def _conditions(raw: Raw) -> tuple[Condition, ...]:
    """Those that can be read: the others may be what is wrong with the object."""
    status = raw.get("status")
    listed = status.get("conditions") if isinstance(status, Mapping) else None
    found = []
    for each in listed if isinstance(listed, list) else ():
        with contextlib.suppress(ValidationError):
            found.append(Condition.model_validate(each))
    return tuple(found)
