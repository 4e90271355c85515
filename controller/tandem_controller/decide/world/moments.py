"""How long ago something was, as this controller counts it. Pure.

Statuses say when something was by a wall clock, and a wall clock may be set: its own, that of the
replica which led before, or of the host that wrote it. So of each such moment the controller notes
when it first met it, by its monotonic clock, and how long ago that was by its wall clock then. From
there on it counts by itself, whatever is done to any wall clock. What was ahead of the wall clock
when it was met was written by a clock that has been set since, or by another one: it counts from
then on, or it would count for as long as that clock was wrong.

Nothing but patience may depend on it: a controller that begins after its clock has jumped knows no
better. Called by ``loop``, which keeps what was noted, and by whoever waits for something.
"""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from itertools import chain
from typing import Protocol

from tandem_api.check.catalogue import Around
from tandem_api.kinds.guest import Guest
from tandem_api.kinds.guest_move import GuestMove
from tandem_api.kinds.host import Host
from tandem_api.kinds.mirror import Mirror
from tandem_api.kinds.site import Site
from tandem_api.meta import ObjectKey, Resource, by_the_wall_s, condition, moment

AHEAD_S = 60.0
"""By more than this two controllers' clocks do not differ unless one of them is wrong."""


@dataclass(frozen=True)
class First:
    """When a moment was met, on the monotonic clock, and how long ago it was then; in seconds.
    ``ahead``: it is yet to come by the wall clock, as that was set last.
    """

    met_s: float
    was_s: float
    ahead: bool = False


class Now(Protocol):
    """What is asked of a snapshot: two clocks at one moment, and what was met until then."""

    @property
    def now_s(self) -> float: ...
    @property
    def wall(self) -> str: ...
    @property
    def moments(self) -> Mapping[str, First]: ...


def elapsed_s(since: str | None, now: Now) -> float:
    """How long ago that was, never less than nothing; nothing if it cannot be read."""
    first = now.moments.get(since or "")
    if first is not None:
        return first.was_s + now.now_s - first.met_s
    return max(0.0, by_the_wall_s(since, now.wall))


def ahead(since: str | None, now: Now) -> bool:
    """Whether that is yet to come by this controller's clock, so that it is to be told anew."""
    first = now.moments.get(since or "")
    return first is not None and first.ahead


# -- what is noted


@dataclass(frozen=True)
class _Kind:
    """The objects of one kind, and the moments that each of them has."""

    objects: Sequence[Resource] = ()
    by_key: Mapping[ObjectKey, tuple[Resource, tuple[str, ...]]] = field(default_factory=dict)


@dataclass(frozen=True)
class Noted:
    """What was met by now: ``firsts`` by what it says. ``wall``, ``now_s``: the clocks then."""

    kinds: Mapping[str, _Kind] = field(default_factory=dict)
    firsts: Mapping[str, First] = field(default_factory=dict)
    wall: str = ""
    now_s: float = 0.0


def noted(
    before: Noted, found: Mapping[str, Sequence[Resource]], now_s: float, wall: str, around: Around
) -> Noted:
    """With what these objects say, by kind. What none of them says any more is forgotten."""
    was_set = _was_set(before, now_s, wall)
    same = all(kind in before.kinds and before.kinds[kind].objects is found[kind] for kind in found)
    if same and not was_set:
        return before
    kinds = {kind: _of(before.kinds.get(kind, _Kind()), found[kind], around) for kind in found}
    said = (texts for kind in kinds.values() for _, texts in kind.by_key.values())
    texts = dict.fromkeys(chain.from_iterable(said))
    firsts = {text: before.firsts.get(text) or _first(text, now_s, wall) for text in texts}
    if was_set:
        firsts = {t: replace(each, ahead=_is_ahead(t, wall)) for t, each in firsts.items()}
    return Noted(kinds, firsts, wall, now_s)


def _first(text: str, now_s: float, wall: str) -> First:
    return First(now_s, max(0.0, by_the_wall_s(text, wall)), _is_ahead(text, wall))


def _is_ahead(text: str, wall: str) -> bool:
    return by_the_wall_s(text, wall) < -AHEAD_S


def _was_set(before: Noted, now_s: float, wall: str) -> bool:
    """Whether the wall clock was set since."""
    passed_s = by_the_wall_s(before.wall, wall) if before.wall else now_s - before.now_s
    return abs(passed_s - (now_s - before.now_s)) > AHEAD_S


def _of(before: _Kind, objects: Sequence[Resource], around: Around) -> _Kind:
    """An object that is the very same has the same moments: there are thousands."""
    if before.objects is objects:
        return before
    found: dict[ObjectKey, tuple[Resource, tuple[str, ...]]] = {}
    for obj in objects:
        known = before.by_key.get(obj.key)
        if known is not None and known[0] is obj:
            found[obj.key] = known
            continue
        with around(obj):
            found[obj.key] = obj, tuple(text for text in _texts(obj) if text and moment(text))
    return _Kind(objects, found)


def _texts(obj: Resource) -> Iterator[str | None]:
    """Those from which something is counted, or which people count on."""
    match obj:
        case Guest():
            if obj.status.assignment is not None:
                yield obj.status.assignment.since
            for each in obj.status.recent_takeovers:
                yield each.at
        case Mirror():
            redundant = condition(obj.status.conditions, "Redundant")
            yield redundant.last_transition_time if redundant is not None else None
            for report in obj.status.replicas.values():
                yield report.not_connected_since
        case GuestMove():
            yield obj.status.steps.get("seen")
            yield obj.status.steps.get("stopped")
        case Host() | Site():
            yield obj.status.lease_since
