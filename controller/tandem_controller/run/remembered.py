"""What is remembered of each mirror from one look to the next: its authority, a lost link. Pure.

A mirror that is the very same object as at the last look, and of which nothing is waited for, is
not looked at again: there are thousands, and this is done on the loop. Called by ``loop``.
"""

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property

from tandem_api.kinds.guest import Guest
from tandem_api.kinds.mirror import Mirror
from tandem_api.meta import ObjectKey
from tandem_controller.decide.walls import Walls
from tandem_controller.decide.world import lawful
from tandem_controller.decide.world.lawful import Sighting
from tandem_controller.decide.world.links import Key, observe_links


@dataclass(frozen=True)
class Remembered:
    """After a look at ``mirrors``. ``links``: see ``Snapshot.link_down_since_s``. ``settled``:
    those of which another look at the same object comes to the same.
    """

    mirrors: Sequence[Mirror] = ()
    links: Mapping[Key, float] = field(default_factory=dict)
    sightings: Mapping[ObjectKey, Sighting] = field(default_factory=dict)
    settled: Mapping[ObjectKey, Mirror] = field(default_factory=dict)

    @cached_property
    def suspicions(self) -> Mapping[ObjectKey, str]:
        return lawful.suspicions(self.sightings)


def remember(
    before: Remembered,
    mirrors: Sequence[Mirror],
    guests: Sequence[Guest],
    now_s: float | None,
    walls: Walls,
) -> Remembered:
    """``now_s``: None if the Leases cannot be read, so that nothing is counted. Behind a wall a
    link's count begins anew, and the authority that was seen last stays: what it was changed to
    meanwhile is judged later.
    """
    if mirrors is before.mirrors and len(before.settled) == len(mirrors):
        return before
    found: dict[Key, float] = {}
    sightings: dict[ObjectKey, Sighting] = {}
    settled: dict[ObjectKey, Mirror] = {}
    users = _Users(guests)
    for mirror in mirrors:
        key = mirror.key
        known = before.sightings.get(key)
        if known is not None:
            sightings[key] = known
            if before.settled.get(key) is mirror:
                settled[key] = mirror
                continue
        with walls.around(mirror):
            if now_s is not None:
                found |= observe_links(before.links, [mirror], now_s)
            sightings |= lawful.observe(before.sightings, [mirror], users.of(mirror))
            if mirror.spec.override is None and sightings[key].taken_from is None:
                settled[key] = mirror
    return Remembered(mirrors, found, sightings, settled)


class _Users:
    """Guests by their mirror, found once somebody asks."""

    def __init__(self, guests: Sequence[Guest]) -> None:
        self._guests = guests

    @cached_property
    def _by_mirror(self) -> Mapping[ObjectKey, Sequence[Guest]]:
        found: dict[ObjectKey, list[Guest]] = {}
        for guest in self._guests:
            found.setdefault(guest.mirror_key, []).append(guest)
        return found

    def of(self, mirror: Mirror) -> Iterable[Guest]:
        return _Lazily(self, mirror)

    def found(self, mirror: Mirror) -> Sequence[Guest]:
        return self._by_mirror.get(mirror.key, ())


class _Lazily(Iterable[Guest]):
    def __init__(self, users: _Users, mirror: Mirror) -> None:
        self._users, self._mirror = users, mirror

    def __iter__(self) -> Iterator[Guest]:
        return iter(self._users.found(self._mirror))
