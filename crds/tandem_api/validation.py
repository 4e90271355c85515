"""What is wrong with an object among the others: every refusal that needs more than one object.

It also repeats what a newer API server enforces by itself (``rules``), from what the status holds,
for servers that do not. Every problem names the field and the fix. Pure: values in, problems out.
Called by the controller before it acts on a spec, and by tests on every example.

Where two objects claim the same thing, the one that was there first is right and only the newer
one is told: nobody can spoil a running guest by creating another object.
"""

import difflib
from collections import defaultdict
from collections.abc import Callable, Hashable, Iterable, Iterator, Mapping
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass
from typing import Self, TypeVar

from tandem_api.check.template import template_problems
from tandem_api.guest import NETWORK_MODELS, Guest
from tandem_api.host import Host
from tandem_api.meta import ObjectKey, Problem, Resource
from tandem_api.mirror import (
    PORT_CHANGED,
    VOLUMES_ADDED,
    VOLUMES_CHANGED,
    Accepted,
    Mirror,
)
from tandem_api.parsing import parse_problems
from tandem_api.site import Site

__all__ = [
    "Catalogue",
    "Problem",
    "change_problems",
    "guest_problems",
    "hardware_problems",
    "host_problems",
    "mirror_problems",
    "parse_problems",
    "site_problems",
]

R = TypeVar("R", bound=Resource)
K = TypeVar("K", bound=Hashable)
Around = Callable[[Resource], AbstractContextManager[object]]


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
    ) -> Self:
        """Index the objects.

        ``unreadable`` are (kind, key) of objects that are there but do not parse: they have
        problems of their own, and whoever names them is not told that they do not exist.
        ``around``: the caller's wall round each object. What is behind one is there, and claims
        nothing.
        """
        hosts, mirrors, guests = list(hosts), list(mirrors), list(guests)
        return cls(
            sites={site.metadata.name: site for site in sites},
            hosts={host.metadata.name: host for host in hosts},
            mirrors={mirror.key: mirror for mirror in mirrors},
            guests_by_mirror=_index(guests, lambda guest: [_mirror_key(guest)], around),
            guests_by_mac=_index(guests, _claimed, around),
            mirrors_by_device=_index(mirrors, _devices, around),
            mirrors_by_port=_index(mirrors, _ports, around),
            hosts_by_address=_index(hosts, lambda host: [host.spec.replication_address], around),
            unreadable=frozenset(unreadable),
        )

    def has_site(self, name: str) -> bool:
        return name in self.sites or ("Site", ObjectKey(namespace="", name=name)) in self.unreadable

    def has_host(self, name: str) -> bool:
        return name in self.hosts or ("Host", ObjectKey(namespace="", name=name)) in self.unreadable


def _index(
    objects: Iterable[R], claims: Callable[[R], Iterable[K]], around: Around
) -> Mapping[K, tuple[R, ...]]:
    found: dict[K, list[R]] = defaultdict(list)
    for each in objects:
        with around(each):
            for claim in set(claims(each)):
                found[claim].append(each)
    return {claim: tuple(claimants) for claim, claimants in found.items()}


def _mirror_key(guest: Guest) -> ObjectKey:
    return ObjectKey(namespace=guest.metadata.namespace, name=guest.mirror_in_use)


def _macs(guest: Guest) -> list[str]:
    return [network.mac.lower() for network in guest.spec.domain.networks]


def _claimed(guest: Guest) -> list[str]:
    """Those of the spec, and those that it runs with while an edit does not pass."""
    accepted = guest.status.accepted
    running = accepted.domain.networks if accepted else ()
    return [*_macs(guest), *(network.mac.lower() for network in running)]


def _devices(mirror: Mirror) -> list[tuple[str, str]]:
    return [
        (replica.host, path)
        for replica in mirror.spec.replicas
        for path in replica.devices.values()
    ]


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


def _earlier(mine: R, claimants: Iterable[R]) -> R | None:
    """Who claims the same thing with more right, if anyone does."""
    rivals = [each for each in claimants if each.key != mine.key]
    first = min(rivals, key=precedence, default=None)
    return first if first is not None and precedence(first) < precedence(mine) else None


def _meant(name: str, known: Iterable[str]) -> str:
    close = difflib.get_close_matches(name, list(known), n=1)
    return f"did you mean {close[0]}?" if close else "create it, or correct the name"


# Site and host


def site_problems(site: Site) -> list[Problem]:
    """What is wrong with a site. Its type refuses unsafe timing, and so does this."""
    problem = site.spec.timing.problem()
    return [Problem("spec.heartbeat", problem)] if problem else []


def host_problems(host: Host, catalogue: Catalogue) -> list[Problem]:
    """What is wrong with a host among the others."""
    found: list[Problem] = []
    site, address = host.spec.site, host.spec.replication_address
    if not catalogue.has_site(site):
        found.append(
            Problem("spec.site", f"there is no site {site}; {_meant(site, catalogue.sites)}")
        )
    rival = _earlier(host, catalogue.hosts_by_address.get(address, ()))
    if rival:
        found.append(
            Problem(
                "spec.replicationAddress",
                f"{address} belongs to host {rival.key} already; give each host its own",
            )
        )
    return found


# Mirror


def mirror_problems(mirror: Mirror, catalogue: Catalogue) -> list[Problem]:
    """What is wrong with a mirror among the others and against what was accepted before."""
    return [
        *_host_names(mirror, catalogue),
        *_sites_of_replicas(mirror, catalogue),
        *_claimed_devices(mirror, catalogue),
        *_claimed_port(mirror, catalogue),
        *_changes(mirror, catalogue),
    ]


def _host_names(mirror: Mirror, catalogue: Catalogue) -> Iterator[Problem]:
    for index, replica in enumerate(mirror.spec.replicas):
        if not catalogue.has_host(replica.host):
            yield Problem(
                f"spec.replicas[{index}].host",
                f"there is no host {replica.host}; {_meant(replica.host, catalogue.hosts)}",
            )


def _sites_of_replicas(mirror: Mirror, catalogue: Catalogue) -> Iterator[Problem]:
    first, second = (catalogue.hosts.get(replica.host) for replica in mirror.spec.replicas)
    if first and second and first.spec.site == second.spec.site:
        yield Problem(
            "spec.replicas",
            f"{first.key} and {second.key} are both in site {first.spec.site}, so its loss would"
            " take both; name a host of another site",
        )


def _claimed_devices(mirror: Mirror, catalogue: Catalogue) -> Iterator[Problem]:
    for index, replica in enumerate(mirror.spec.replicas):
        for volume, path in replica.devices.items():
            rival = _earlier(mirror, catalogue.mirrors_by_device.get((replica.host, path), ()))
            if rival:
                yield Problem(
                    f"spec.replicas[{index}].devices.{volume}",
                    f"{path} on {replica.host} belongs to mirror {rival.key} already; give each"
                    " volume its own device",
                )


def _claimed_port(mirror: Mirror, catalogue: Catalogue) -> Iterator[Problem]:
    wanted, numbers = mirror.spec.port, mirror.status.device_numbers
    if wanted is None:
        return
    if numbers and numbers.port != wanted:
        yield Problem(
            "spec.port",
            f"{PORT_CHANGED}: it was set up with {numbers.port}, and this is {wanted}",
        )
        return
    for replica in mirror.spec.replicas:
        rival = _earlier(mirror, catalogue.mirrors_by_port.get((replica.host, wanted), ()))
        if rival:
            yield Problem(
                "spec.port",
                f"{wanted} on {replica.host} belongs to mirror {rival.key} already; choose"
                " another, or remove it and Tandem chooses",
            )
            return


def _changes(mirror: Mirror, catalogue: Catalogue) -> Iterator[Problem]:
    accepted = mirror.status.accepted
    if accepted:
        yield from _protocol_change(mirror, accepted, catalogue)
        yield from _host_change(mirror, accepted)
        yield from _volume_changes(mirror, accepted)
    yield from added_volumes(mirror)


def _protocol_change(mirror: Mirror, accepted: Accepted, catalogue: Catalogue) -> Iterator[Problem]:
    was, now = accepted.protocol, mirror.spec.protocol
    user = _user_of(mirror, catalogue)
    if was is not now and user:
        yield Problem(
            "spec.protocol",
            f"cannot change from {was} to {now} while {user}; set it back to {was}, or set"
            " running: false on the guest first",
        )


def _user_of(mirror: Mirror, catalogue: Catalogue) -> str | None:
    """Who writes to the mirror now, in words."""
    for guest in catalogue.guests_by_mirror.get(mirror.key, ()):
        if guest.status.assignment and guest.status.assignment.host:
            return f"guest {guest.key} runs on {guest.status.assignment.host}"
    authority = mirror.status.authority
    return f"{authority.owner} uses the mirror" if authority and authority.owner else None


def _host_change(mirror: Mirror, accepted: Accepted) -> Iterator[Problem]:
    for index, replica in enumerate(mirror.spec.replicas):
        if replica.host not in accepted.hosts:
            yield Problem(
                f"spec.replicas[{index}].host",
                f"is {replica.host}, but the replicas are on {' and '.join(accepted.hosts)} and"
                " cannot move; set it back, or make a new mirror and copy the data",
            )


def _volume_changes(mirror: Mirror, accepted: Accepted) -> Iterator[Problem]:
    before = [volume.name for volume in accepted.volumes if _in_force(mirror, volume.name)]
    now = [volume.name for volume in mirror.spec.volumes]
    if now[: len(before)] != before:
        yield Problem(
            "spec.volumes",
            f"{VOLUMES_CHANGED}: they must begin with {', '.join(before)}",
        )
        return
    for index, (old, new) in enumerate(zip(accepted.volumes, mirror.spec.volumes, strict=False)):
        if new.size.bytes < old.size.bytes:
            yield Problem(
                f"spec.volumes[{index}].size",
                f"cannot shrink from {old.size} to {new.size}, since data would be cut off; set"
                f" it back to {old.size}, or make it larger",
            )


def _in_force(mirror: Mirror, volume: str) -> bool:
    """Whether it was set up, as far as that is known. A release before accepted more than that."""
    return mirror.status.device_numbers is None or volume in mirror.volume_names


def added_volumes(mirror: Mirror) -> list[Problem]:
    """What the mirror goes on without: the one problem of a mirror that keeps nothing from it."""
    added = mirror.added_volumes
    if not added:
        return []
    goes_on = f"it goes on with {', '.join(mirror.volume_names)}, without {', '.join(added)}"
    return [Problem("spec.volumes", f"{VOLUMES_ADDED}: {goes_on}")]


def change_problems(each: Resource) -> list[Problem]:
    """What of an object's own spec may not be changed as it stands, whatever the others are.

    For admission: transition rules, on servers that enforce none as well.
    """
    if isinstance(each, Mirror):
        return list(_changes(each, Catalogue.of(mirrors=[each])))
    return list(_mirror_change(each)) if isinstance(each, Guest) else []


# Guest


def guest_problems(guest: Guest, catalogue: Catalogue) -> list[Problem]:
    """What is wrong with a guest among the others."""
    found = [
        *_mirror_change(guest),
        *_claimed_macs(guest, catalogue),
        *hardware_problems(guest),
    ]
    key = _mirror_key(guest)
    mirror = catalogue.mirrors.get(key)
    if mirror is None:
        absent = [] if ("Mirror", key) in catalogue.unreadable else [_no_mirror(guest, catalogue)]
        return [*absent, *_preferred_site(guest, None, catalogue), *found]
    return [
        *_claimed_mirror(guest, catalogue),
        *_disks(guest, mirror),
        *_cdroms(guest, mirror, catalogue),
        *_preferred_site(guest, mirror, catalogue),
        *_capacity(guest, mirror, catalogue),
        *found,
    ]


def hardware_problems(guest: Guest) -> list[Problem]:
    """What is wrong with its hardware by itself, beyond what its type checks."""
    return [*_network_models(guest), *template_problems(guest.spec.domain)]


def _no_mirror(guest: Guest, catalogue: Catalogue) -> Problem:
    namespace, name = guest.metadata.namespace, guest.mirror_in_use
    known = [key.name for key in catalogue.mirrors if key.namespace == namespace]
    return Problem(
        "spec.mirror",
        f"there is no mirror {name} in namespace {namespace}; {_meant(name, known)}",
    )


def _mirror_change(guest: Guest) -> Iterator[Problem]:
    wanted, used = guest.spec.mirror, guest.mirror_in_use
    if wanted != used:
        yield Problem(
            "spec.mirror",
            f"cannot change from {used} to {wanted} before the guest has stopped; set it back to"
            f" {used}, and for a move set running: false and wait until its phase is Stopped",
        )


def _claimed_mirror(guest: Guest, catalogue: Catalogue) -> Iterator[Problem]:
    rival = _earlier(guest, catalogue.guests_by_mirror.get(_mirror_key(guest), ()))
    if rival:
        yield Problem(
            "spec.mirror",
            f"{guest.mirror_in_use} belongs to guest {rival.key} already; give each guest its own"
            " mirror",
        )


def _claimed_macs(guest: Guest, catalogue: Catalogue) -> Iterator[Problem]:
    for index, mac in enumerate(_macs(guest)):
        rival = _earlier(guest, catalogue.guests_by_mac.get(mac, ()))
        if rival:
            yield Problem(
                f"spec.domain.networks[{index}].mac",
                f"{mac} belongs to guest {rival.key} already; choose another",
            )


def _disks(guest: Guest, mirror: Mirror) -> Iterator[Problem]:
    names = mirror.volume_names
    for index, disk in enumerate(guest.spec.domain.disks):
        if disk.volume not in names:
            yield Problem(
                f"spec.domain.disks[{index}].volume",
                f"mirror {mirror.key} has no volume {disk.volume}, only {', '.join(names)};"
                " name one of them",
            )


def _cdroms(guest: Guest, mirror: Mirror, catalogue: Catalogue) -> Iterator[Problem]:
    """A drive that reads a mirror's disk would see it change, or the wrong half of it."""
    hosts = [replica.host for replica in mirror.spec.replicas]
    for index, drive in enumerate(guest.spec.domain.cdroms):
        owners = [o for h in hosts for o in catalogue.mirrors_by_device.get((h, drive.source), ())]
        if owners or drive.source.startswith("/dev/drbd"):
            whose = f"of mirror {owners[0].key}" if owners else "of a mirror"
            yield Problem(
                f"spec.domain.cdroms[{index}].source",
                f"{drive.source} is a disk {whose}; name an image or a drive",
            )


def _network_models(guest: Guest) -> Iterator[Problem]:
    for index, network in enumerate(guest.spec.domain.networks):
        if network.model not in NETWORK_MODELS:
            close = difflib.get_close_matches(network.model, NETWORK_MODELS, n=1)
            advice = f"did you mean {close[0]}?" if close else "use virtio, e1000e or rtl8139"
            yield Problem(
                f"spec.domain.networks[{index}].model",
                f"{network.model} is no card that QEMU has; {advice}",
            )


def _preferred_site(guest: Guest, mirror: Mirror | None, catalogue: Catalogue) -> Iterator[Problem]:
    wanted = guest.spec.placement.preferred_site
    if wanted is None:
        return
    if not catalogue.has_site(wanted):
        yield Problem(
            "spec.placement.preferredSite",
            f"there is no site {wanted}; {_meant(wanted, catalogue.sites)}",
        )
        return
    hosts = [host for host in _hosts_of(mirror, catalogue) if host] if mirror else []
    sites = sorted({host.spec.site for host in hosts})
    if len(sites) == 2 and wanted not in sites:
        yield Problem(
            "spec.placement.preferredSite",
            f"the mirror has no replica in {wanted}; choose {' or '.join(sites)}",
        )


def _hosts_of(mirror: Mirror, catalogue: Catalogue) -> list[Host | None]:
    return [catalogue.hosts.get(replica.host) for replica in mirror.spec.replicas]


def _capacity(guest: Guest, mirror: Mirror, catalogue: Catalogue) -> Iterator[Problem]:
    """Only if no host of the mirror could ever hold the guest; less is the planner's business."""
    hosts = [host for host in _hosts_of(mirror, catalogue) if host]
    capacities = [host.spec.capacity for host in hosts if host.spec.capacity]
    if not hosts or len(capacities) < len(hosts):
        return
    domain, names = guest.spec.domain, " and ".join(str(host.key) for host in hosts)
    largest = max((each.memory for each in capacities), key=lambda memory: memory.bytes)
    if domain.memory.bytes > largest.bytes:
        yield Problem(
            "spec.domain.memory",
            f"{domain.memory} is more than {names} can give; ask for at most {largest}",
        )
    cpus = max(each.cpus for each in capacities)
    if domain.cpus > cpus:
        yield Problem(
            "spec.domain.cpus",
            f"{domain.cpus} is more than {names} can give; ask for at most {cpus}",
        )
