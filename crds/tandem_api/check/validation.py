"""What is wrong with an object among the others: every refusal that needs more than one object.

It also repeats what a newer API server enforces by itself (``rules``), from what the status holds,
for servers that do not. Every problem names the field and the fix. Pure: values in, problems out.
Called by the controller before it acts on a spec, and by tests on every example.

Where two objects claim the same thing, the one that was there first is right and only the newer
one is told: nobody can spoil a running guest by creating another object.
"""

from collections.abc import Iterator

from tandem_api.check.catalogue import Catalogue, earlier, meant
from tandem_api.check.guests import mirror_change
from tandem_api.check.parsing import parse_problems
from tandem_api.kinds.guest import Guest
from tandem_api.kinds.host import Host
from tandem_api.kinds.mirror import (
    PORT_CHANGED,
    VOLUMES_ADDED,
    VOLUMES_CHANGED,
    Accepted,
    Mirror,
)
from tandem_api.kinds.site import Site
from tandem_api.kinds.tandem import NAME, ONLY_ONE, Tandem
from tandem_api.meta import Problem, Resource

__all__ = [
    "Catalogue",
    "Problem",
    "change_problems",
    "host_problems",
    "mirror_problems",
    "parse_problems",
    "site_problems",
]


# Site and host


def tandem_problems(tandem: Tandem) -> list[Problem]:
    """What is wrong with it: a second one would not be asked."""
    only = tandem.metadata.name == NAME
    return [] if only else [Problem("metadata.name", ONLY_ONE)]


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
            Problem("spec.site", f"there is no site {site}; {meant(site, catalogue.sites)}")
        )
    rival = earlier(host, catalogue.hosts_by_address.get(address, ()))
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
                f"there is no host {replica.host}; {meant(replica.host, catalogue.hosts)}",
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
            rival = earlier(mirror, catalogue.mirrors_by_device.get((replica.host, path), ()))
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
        rival = earlier(mirror, catalogue.mirrors_by_port.get((replica.host, wanted), ()))
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
    return list(mirror_change(each)) if isinstance(each, Guest) else []


# Guest
