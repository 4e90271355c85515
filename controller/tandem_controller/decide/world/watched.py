"""A world that notes what is asked of it: so that it is known on what a judgement rests. Pure.

Judgements are functions of values. One that is made again of the same object, in a world that would
answer all that it asked as before, comes to the same. So whoever wants to spare it gives it this
world instead of the plain one, keeps what was noted, and compares (``changed``): nothing is assumed
about what a rule looks at, not of other objects and not of the time.

A host's view has two kinds of fields. Some change with every heartbeat, and are noted one by one as
they are read; of all others the view as a whole is noted. Called by ``known`` and ``memory``.
"""

from collections.abc import Callable, Hashable, Iterable, Iterator, Mapping
from dataclasses import fields
from typing import Any, TypeVar, cast

from tandem_api.check.catalogue import Catalogue
from tandem_api.lease import Heartbeat
from tandem_api.meta import Resource
from tandem_controller.decide.world.model import HostView, Load, Snapshot, World

K = TypeVar("K", bound=Hashable)
V = TypeVar("V")
Asked = tuple[str, Hashable]
"""A part of the world, and what of it."""
Note = Callable[[Asked], None]

WHOLE = "(whole)"
"""All of a part, and its order."""


class WatchedMapping(Mapping[K, V]):
    """Of a part of the world that ``changed`` has compared."""

    __slots__ = ("_note", "_part", "_real")

    def __init__(self, part: str, real: Mapping[K, V], note: Note) -> None:
        self._part, self._real, self._note = part, real, note

    def __getitem__(self, key: K) -> V:
        self._note((self._part, key))
        return self._real[key]

    def get(self, key: K, default: Any = None) -> Any:
        self._note((self._part, key))
        return self._real.get(key, default)

    def __contains__(self, key: object) -> bool:
        self._note((self._part, key))
        return key in self._real

    def __iter__(self) -> Iterator[K]:
        self._note((self._part, WHOLE))
        return iter(self._real)

    def __len__(self) -> int:
        self._note((self._part, WHOLE))
        return len(self._real)


class WatchedFields:
    """Of a value with fields that ``changed_fields`` has compared. ``parts``: fields that note more
    finely what is asked of them.
    """

    def __init__(self, part: str, real: object, note: Note, parts: Mapping[str, Any]) -> None:
        self._part, self._real, self._note, self._parts = part, real, note, parts

    def __getattr__(self, name: str) -> Any:
        if name in self._parts:
            return self._parts[name]
        self._note((self._part, name))
        return getattr(self._real, name)


class WatchedHeartbeat:
    """Of one host: what each heartbeat changes is noted by itself."""

    __slots__ = ("_name", "_note", "_real")

    def __init__(self, real: Heartbeat, name: str, note: Note) -> None:
        self._real, self._name, self._note = real, name, note

    def __getattr__(self, name: str) -> Any:
        if name not in STEADY_IN_HEARTBEAT:
            self._note((f"heartbeat.{name}", self._name))
        return getattr(self._real, name)


STEADY_IN_HEARTBEAT = (
    *("host", "instance", "watchdog_armed", "watchdog_least_s", "timing", "delivery"),
    "link_acknowledged",
)
STEADY_IN_VIEW = ("host", "site", "freshness", "problems", "clock")
MOVING_IN_VIEW = ("silent_s", "last_seen", "run_s")
MOVING_IN_HEARTBEAT = ("version", "renewed_at", "clock_s")
assert {*STEADY_IN_VIEW, *MOVING_IN_VIEW, "heartbeat"} == {f.name for f in fields(HostView)}
assert {*STEADY_IN_HEARTBEAT, *MOVING_IN_HEARTBEAT} == set(Heartbeat.model_fields)


class WatchedHost(HostView):
    """A view whose fields are noted if they change with each heartbeat."""

    def __init__(self, real: HostView, note: Note) -> None:
        beat = real.heartbeat
        made = {field: getattr(real, field) for field in STEADY_IN_VIEW}
        made["heartbeat"] = WatchedHeartbeat(beat, real.name, note) if beat is not None else None
        self.__dict__.update(made, _real=real, _note=note)

    def _moving(self, field: str) -> Any:
        real: HostView = self.__dict__["_real"]
        self.__dict__["_note"]((field, real.name))
        return getattr(real, field)

    silent_s = property(lambda self: self._moving("silent_s"))
    last_seen = property(lambda self: self._moving("last_seen"))
    run_s = property(lambda self: self._moving("run_s"))


class Totals:
    """What is counted while decisions are made, each on top of those before it: each answer is
    noted by what it was. ``loads``, ``moving``: as in World.
    """

    def __init__(self, loads: Mapping[str, Load], moving: int) -> None:
        self.loads, self.moving = dict(loads), moving
        self.said: dict[str, object] = {}

    def answer(self, what: str) -> object:
        return self.moving if what == MOVING else self.loads.get(what)


MOVING = "(moving)"
"""Which no host is called."""


class WatchedLoads(Mapping[str, Load]):
    """Of the totals, as they are just now."""

    def __init__(self, totals: Totals) -> None:
        self._totals = totals

    def __getitem__(self, host: str) -> Load:
        self._totals.said[host] = self._totals.loads.get(host)
        return self._totals.loads[host]

    def __iter__(self) -> Iterator[str]:
        raise NotImplementedError("nothing asks for all of them")

    def __len__(self) -> int:
        raise NotImplementedError("nothing asks for all of them")


class WatchedWorld(World):
    """See ``watched``."""

    def __init__(self, real: World, note: Note, totals: Totals, kept: dict[int, Any]) -> None:
        hosts = {name: WatchedHost(view, note) for name, view in real.hosts.items()}
        made: dict[str, Any] = {
            "snapshot": _snapshot(real.snapshot, note),
            "catalogue": watched_catalogue(real.catalogue, note),
            "hosts": WatchedMapping("hosts", hosts, note),
            "loads": WatchedLoads(totals),
            "kept": kept,
        }
        made |= {part: WatchedMapping(part, getattr(real, part), note) for part in MAPPINGS}
        self.__dict__.update(made, _real=real, _note=note, _totals=totals)

    @property
    def nobody_fresh(self) -> bool:
        self.__dict__["_note"](("world", "nobody_fresh"))
        return bool(self.__dict__["_real"].nobody_fresh)

    @property
    def moving(self) -> int:
        totals: Totals = self.__dict__["_totals"]
        totals.said[MOVING] = totals.moving
        return totals.moving


MAPPINGS = ("problems", "accepted", "moves", "users")
"""Parts of the world that are mappings, and nothing else."""
CATALOGUE = tuple(each.name for each in fields(Catalogue) if each.name != "unreadable")
SNAPSHOT = ("link_down_since_s", "suspicions", "moments")
"""Parts of the snapshot that are asked by key."""


def watched_catalogue(real: Catalogue, note: Note) -> Catalogue:
    parts: dict[str, Any] = {
        name: WatchedMapping(f"catalogue.{name}", getattr(real, name), note) for name in CATALOGUE
    }
    return Catalogue(**parts, unreadable=cast(Any, WatchedSet(real.unreadable, note)))


class WatchedSet:
    """The objects that cannot be read: of few of them, all are noted."""

    def __init__(self, real: frozenset[Any], note: Note) -> None:
        self._real, self._note = real, note

    def __contains__(self, each: object) -> bool:
        self._note(("catalogue", "unreadable"))
        return each in self._real

    def __iter__(self) -> Iterator[Any]:
        self._note(("catalogue", "unreadable"))
        return iter(self._real)


def _snapshot(real: Snapshot, note: Note) -> Snapshot:
    parts = {name: WatchedMapping(name, getattr(real, name), note) for name in SNAPSHOT}
    return cast(Snapshot, WatchedFields("snapshot", real, note, parts))


# -- what is another than before


def same(one: Any, other: Any) -> bool:
    """Whether nobody could tell them apart. Objects are the same only if they are one and the same:
    what is written because of one names it.
    """
    if one is other:
        return True
    if type(one) is not type(other) or isinstance(one, Resource):
        return False
    if isinstance(one, tuple):
        return len(one) == len(other) and all(map(same, one, other))
    return bool(one == other)


def changed(part: str, old: Mapping[K, V], new: Mapping[K, V]) -> Iterator[Asked]:
    """What of a mapping is another one now."""
    if old is new:
        return
    missing = object()
    found = [key for key, value in new.items() if not same(old.get(key, missing), value)]
    found += [key for key in old if key not in new]
    if found or not all(map(lambda a, b: a == b, old, new)):
        yield part, WHOLE
    for key in found:
        yield part, key


def changed_fields(part: str, old: object, new: object, names: Iterable[str]) -> Iterator[Asked]:
    for name in names:
        if not same(getattr(old, name), getattr(new, name)):
            yield part, name


def changed_catalogue(old: Catalogue, new: Catalogue) -> Iterator[Asked]:
    for name in CATALOGUE:
        yield from changed(f"catalogue.{name}", getattr(old, name), getattr(new, name))
    yield from changed_fields("catalogue", old, new, ("unreadable",))


def changed_world(old: World, new: World) -> Iterator[Asked]:
    """All but the catalogue, and what is counted as decisions are made (``loads``, ``moving``)."""
    yield from _changed_hosts(old.hosts, new.hosts)
    for part in MAPPINGS:
        yield from changed(part, getattr(old, part), getattr(new, part))
    for part in SNAPSHOT:
        yield from changed(part, getattr(old.snapshot, part), getattr(new.snapshot, part))
    names = (each.name for each in fields(Snapshot) if each.name not in SNAPSHOT)
    yield from changed_fields("snapshot", old.snapshot, new.snapshot, names)
    yield from changed_fields("world", old, new, ("nobody_fresh",))


def _changed_hosts(old: Mapping[str, HostView], new: Mapping[str, HostView]) -> Iterator[Asked]:
    names = [name for name, view in new.items() if not _same_view(old.get(name), view)]
    names += [name for name in old if name not in new]
    if names or list(old) != list(new):
        yield "hosts", WHOLE
    for name in names:
        yield "hosts", name
    for name in old.keys() | new.keys():
        yield from _changed_beat(name, old.get(name), new.get(name))


def _same_view(old: HostView | None, new: HostView) -> bool:
    if old is None or not all(same(getattr(old, f), getattr(new, f)) for f in STEADY_IN_VIEW):
        return False
    one, other = old.heartbeat, new.heartbeat
    if one is None or other is None:
        return one is other
    return all(same(getattr(one, f), getattr(other, f)) for f in STEADY_IN_HEARTBEAT)


def _changed_beat(name: str, old: HostView | None, new: HostView | None) -> Iterator[Asked]:
    for field in MOVING_IN_VIEW:
        if old is None or new is None or not same(getattr(old, field), getattr(new, field)):
            yield field, name
    one, other = old and old.heartbeat, new and new.heartbeat
    for field in MOVING_IN_HEARTBEAT:
        if one is None or other is None or not same(getattr(one, field), getattr(other, field)):
            yield f"heartbeat.{field}", name
