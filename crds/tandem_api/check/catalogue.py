"""All objects together, and which of them claims what: who was there first is right. Pure."""

import difflib
from collections import defaultdict
from collections.abc import Callable, Hashable, Iterable, Mapping, Sequence
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass
from typing import Generic, Protocol, Self, TypeVar

from tandem_api.kinds.guest import Guest
from tandem_api.kinds.host import Host
from tandem_api.kinds.mirror import Mirror
from tandem_api.kinds.site import Site
from tandem_api.meta import ObjectKey, Resource

R = TypeVar("R", bound=Resource)
K = TypeVar("K", bound=Hashable)
Around = Callable[[Resource], AbstractContextManager[object]]


@dataclass(frozen=True)
class Index(Generic[K, R]):
    """Who claims what of a kind. ``claims``: what each of ``objects`` does, in their order.

    ``whole``: all of them could be asked.
    """

    objects: Sequence[R]
    claims: Sequence[frozenset[K]]
    found: Mapping[K, tuple[R, ...]]
    whole: bool


class Indexer(Protocol):
    """Makes an index of objects by what they claim, each behind a wall; ``name`` is the field's."""

    def __call__(
        self, name: str, objects: Sequence[R], claims: Callable[[R], Iterable[K]], around: Around
    ) -> Mapping[K, tuple[R, ...]]: ...


def index(
    objects: Sequence[R],
    claims: Callable[[R], Iterable[K]],
    around: Around,
    before: Index[K, R] | None = None,
) -> Index[K, R]:
    """``before``: of the last time. Of that stays what the same objects claim, if nothing has come,
    gone or changed its place, and what is new claims the same.
    """
    if before is not None and before.whole and len(before.objects) == len(objects):
        pairs = enumerate(zip(before.objects, objects, strict=True))
        others = [at for at, (old, new) in pairs if old is not new]
        if not others:
            return before
        in_place = all(before.objects[at].key == objects[at].key for at in others)
        if in_place and all(
            before.claims[at] == _claimed_by(objects[at], claims, around) for at in others
        ):
            return Index(objects, before.claims, _replaced(before, objects, others), whole=True)
    every = [_claimed_by(each, claims, around) for each in objects]
    found: dict[K, list[R]] = defaultdict(list)
    for each, claimed_now in zip(objects, every, strict=True):
        for claim in claimed_now or ():
            found[claim].append(each)
    return Index(
        objects,
        [each or frozenset() for each in every],
        {claim: tuple(claimants) for claim, claimants in found.items()},
        whole=None not in every,
    )


def _claimed_by(each: R, claims: Callable[[R], Iterable[K]], around: Around) -> frozenset[K] | None:
    """None: its wall has met a bug."""
    with around(each):
        return frozenset(claims(each))
    return None


def _replaced(
    before: Index[K, R], objects: Sequence[R], others: Iterable[int]
) -> dict[K, tuple[R, ...]]:
    found = dict(before.found)
    for at in others:
        old, new = before.objects[at], objects[at]
        for claim in before.claims[at]:
            found[claim] = tuple(new if each is old else each for each in found[claim])
    return found


def _anew(
    name: str, objects: Sequence[R], claims: Callable[[R], Iterable[K]], around: Around
) -> Mapping[K, tuple[R, ...]]:
    return index(objects, claims, around).found


@dataclass(frozen=True)
class Catalogue:
    """All objects, and who claims what, indexed once for any number of checks."""

    sites: Mapping[str, Site]
    hosts: Mapping[str, Host]
    mirrors: Mapping[ObjectKey, Mirror]
    guests_by_mirror: Mapping[ObjectKey, tuple[Guest, ...]]
    guests_by_mac: Mapping[str, tuple[Guest, ...]]
    mirrors_by_device: Mapping[tuple[str, str], tuple[Mirror, ...]]
    mirrors_by_port: Mapping[tuple[str, int], tuple[Mirror, ...]]
    mirrors_by_host: Mapping[str, tuple[Mirror, ...]]
    hosts_by_address: Mapping[str, tuple[Host, ...]]
    unreadable: frozenset[tuple[str, ObjectKey]] = frozenset()

    @classmethod
    def of(
        cls,
        *,
        sites: Iterable[Site] = (),
        hosts: Iterable[Host] = (),
        mirrors: Iterable[Mirror] = (),
        guests: Iterable[Guest] = (),
        unreadable: Iterable[tuple[str, ObjectKey]] = (),
        around: Around = nullcontext,
        indexer: Indexer = _anew,
    ) -> Self:
        """Index the objects.

        ``unreadable`` are (kind, key) of objects that are there but do not parse: they have
        problems of their own, and whoever names them is not told that they do not exist.
        ``around``: the caller's wall round each object. What is behind one is there, and claims
        nothing. ``indexer``: the caller's way to an index, if it keeps them.
        """
        hosts, mirrors, guests = tuple(hosts), tuple(mirrors), tuple(guests)
        return cls(
            sites={site.metadata.name: site for site in sites},
            hosts={host.metadata.name: host for host in hosts},
            mirrors={mirror.key: mirror for mirror in mirrors},
            guests_by_mirror=indexer("guests_by_mirror", guests, _mirrors, around),
            guests_by_mac=indexer("guests_by_mac", guests, _claimed, around),
            mirrors_by_device=indexer("mirrors_by_device", mirrors, _devices, around),
            mirrors_by_port=indexer("mirrors_by_port", mirrors, _ports, around),
            mirrors_by_host=indexer("mirrors_by_host", mirrors, _hosts, around),
            hosts_by_address=indexer("hosts_by_address", hosts, _addresses, around),
            unreadable=frozenset(unreadable),
        )

    def has_site(self, name: str) -> bool:
        return name in self.sites or ("Site", ObjectKey(namespace="", name=name)) in self.unreadable

    def has_host(self, name: str) -> bool:
        return name in self.hosts or ("Host", ObjectKey(namespace="", name=name)) in self.unreadable


def _mirrors(guest: Guest) -> list[ObjectKey]:
    return [guest.mirror_key]


def _addresses(host: Host) -> list[str]:
    return [host.spec.replication_address]


def macs(guest: Guest) -> list[str]:
    return [network.mac.lower() for network in guest.spec.domain.networks]


def _claimed(guest: Guest) -> list[str]:
    """Those of the spec, and those that it runs with while an edit does not pass."""
    accepted = guest.status.accepted
    running = accepted.domain.networks if accepted else ()
    return [*macs(guest), *(network.mac.lower() for network in running)]


def _devices(mirror: Mirror) -> list[tuple[str, str]]:
    return [
        (replica.host, path)
        for replica in mirror.spec.replicas
        for path in replica.devices.values()
    ]


def _hosts(mirror: Mirror) -> list[str]:
    return [replica.host for replica in mirror.spec.replicas]


def _port(mirror: Mirror) -> int | None:
    numbers = mirror.status.device_numbers
    return numbers.port if numbers else mirror.spec.port


def _ports(mirror: Mirror) -> list[tuple[str, int]]:
    port = _port(mirror)
    return [(replica.host, port) for replica in mirror.spec.replicas] if port else []


def precedence(each: Resource) -> tuple[bool, bool, str, str]:
    """Sorts those in use first, then by age. One that was not created yet comes last.

    Actuators use it too: both must hold the same guest for the one that has a mirror.
    """
    in_use = False
    if isinstance(each, Guest):
        in_use = bool(each.status.assignment and each.status.assignment.host)
    elif isinstance(each, Mirror):
        in_use = each.status.authority is not None
    created = each.metadata.creation_timestamp
    return (not in_use, not created, created, str(each.key))


def earlier(mine: R, claimants: Iterable[R]) -> R | None:
    """Who claims the same thing with more right, if anyone does."""
    rivals = [each for each in claimants if each.key != mine.key]
    first = min(rivals, key=precedence, default=None)
    return first if first is not None and precedence(first) < precedence(mine) else None


def meant(name: str, known: Iterable[str]) -> str:
    close = difflib.get_close_matches(name, list(known), n=1)
    return f"did you mean {close[0]}?" if close else "create it, or correct the name"
