"""What the server keeps: raw objects, one counter of versions for all, and what became of them.

A stored object is never changed in place: a write puts another one in its stead. So a watcher, a
backup and a stale cache may hold the same object as the store does. Versions count on through all
kinds; a restore from a backup makes them go backwards, as it does with etcd.

Nothing here judges what is written. Called by ``handler``, ``feed`` and ``server``.
"""

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any, NamedTuple

from tandem_api.meta import ObjectKey

Raw = dict[str, Any]
FIRST_VERSION = 100


@dataclass(frozen=True, slots=True)
class Event:
    """One change. ``line`` is what a watch tells of it; ``before`` is the object as it was."""

    version: int
    at_s: float
    key: ObjectKey
    line: Raw
    before: Raw | None

    @property
    def type(self) -> str:
        return str(self.line["type"])

    @property
    def after(self) -> Raw | None:
        return None if self.line["type"] == "DELETED" else self.line["object"]


@dataclass
class Shelf:
    """All objects of one kind. ``compacted``: no watch can begin before that version any more."""

    objects: dict[ObjectKey, Raw] = field(default_factory=dict)
    events: list[Event] = field(default_factory=list)
    watchers: list[Callable[[], None]] = field(default_factory=list)
    compacted: int = 0

    def tell(self) -> None:
        for told in list(self.watchers):
            told()

    def since(self, version: int) -> int:
        """The index of the first event after that version."""
        index = len(self.events)
        while index and self.events[index - 1].version > version:
            index -= 1
        return index

    def as_of(self, at_s: float) -> tuple[Mapping[ObjectKey, Raw], int]:
        """The objects as they were at that time, and the version of the last change before it."""
        index = len(self.events)
        while index and self.events[index - 1].at_s > at_s:
            index -= 1
        if index == len(self.events):
            return self.objects, self.events[-1].version if self.events else FIRST_VERSION
        objects = dict(self.objects)
        for event in reversed(self.events[index:]):
            if event.before is None:
                objects.pop(event.key, None)
            else:
                objects[event.key] = event.before
        return objects, self.events[index - 1].version if index else FIRST_VERSION


class Backup(NamedTuple):
    """Everything that there was at one moment."""

    version: int
    objects: Mapping[str, Mapping[ObjectKey, Raw]]


class Store:
    """The shelves, by the plural of their kind. Every method happens at one moment."""

    def __init__(self, now: Callable[[], float]) -> None:
        self.now = now
        self.version = FIRST_VERSION
        self._shelves: dict[str, Shelf] = {}

    def shelf(self, plural: str) -> Shelf:
        found = self._shelves.get(plural)
        if found is None:
            found = self._shelves[plural] = Shelf()
        return found

    def write(self, plural: str, key: ObjectKey, raw: Raw) -> Raw:
        """Put it in place of what is there, as the next version."""
        shelf = self.shelf(plural)
        before = shelf.objects.get(key)
        stored = self._versioned(raw)
        shelf.objects[key] = stored
        self._add(shelf, key, {"type": "MODIFIED" if before else "ADDED", "object": stored}, before)
        return stored

    def remove(self, plural: str, key: ObjectKey, last: Raw | None = None) -> Raw:
        """It is gone. ``last``: as it was told to be at its end, if other than stored."""
        shelf = self.shelf(plural)
        before = shelf.objects.pop(key)
        gone = self._versioned(last or before)
        self._add(shelf, key, {"type": "DELETED", "object": gone}, before)
        return gone

    def _versioned(self, raw: Raw) -> Raw:
        self.version += 1
        return {**raw, "metadata": {**raw["metadata"], "resourceVersion": str(self.version)}}

    def _add(self, shelf: Shelf, key: ObjectKey, line: Raw, before: Raw | None) -> None:
        shelf.events.append(Event(self.version, self.now(), key, line, before))
        shelf.tell()

    def compact(self) -> None:
        """What has been is forgotten: a watch can go on from now only."""
        for shelf in self._shelves.values():
            shelf.compacted = self.version

    def backup(self) -> Backup:
        objects = {plural: dict(shelf.objects) for plural, shelf in self._shelves.items()}
        return Backup(self.version, objects)

    def restore(self, backup: Backup) -> None:
        """Everything is as it was then, also the version: what was written since never was."""
        self.version = backup.version
        for plural, shelf in self._shelves.items():
            shelf.objects = dict(backup.objects.get(plural, {}))
            del shelf.events[shelf.since(backup.version) :]
            shelf.compacted = min(shelf.compacted, backup.version)


def sorted_objects(objects: Mapping[ObjectKey, Raw]) -> Iterator[tuple[ObjectKey, Raw]]:
    """As a list gives them: by namespace and name."""
    for key in sorted(objects):
        yield key, objects[key]
