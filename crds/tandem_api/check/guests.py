"""What is wrong with a Guest among the other objects. Pure."""

import difflib
from collections.abc import Iterator

from tandem_api.check.catalogue import Catalogue, earlier, macs, meant
from tandem_api.check.template import template_problems
from tandem_api.kinds.domain import NETWORK_MODELS
from tandem_api.kinds.guest import Guest
from tandem_api.kinds.host import Host
from tandem_api.kinds.mirror import Mirror
from tandem_api.meta import Problem


def guest_problems(guest: Guest, catalogue: Catalogue) -> list[Problem]:
    """What is wrong with a guest among the others."""
    found = [
        *mirror_change(guest),
        *_claimed_macs(guest, catalogue),
        *hardware_problems(guest),
    ]
    key = guest.mirror_key
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
        f"there is no mirror {name} in namespace {namespace}; {meant(name, known)}",
    )


def mirror_change(guest: Guest) -> Iterator[Problem]:
    wanted, used = guest.spec.mirror, guest.mirror_in_use
    if wanted != used:
        yield Problem(
            "spec.mirror",
            f"cannot change from {used} to {wanted} before the guest has stopped; set it back to"
            f" {used}, and for a move set running: false and wait until its phase is Stopped",
        )


def _claimed_mirror(guest: Guest, catalogue: Catalogue) -> Iterator[Problem]:
    rival = earlier(guest, catalogue.guests_by_mirror.get(guest.mirror_key, ()))
    if rival:
        yield Problem(
            "spec.mirror",
            f"{guest.mirror_in_use} belongs to guest {rival.key} already; give each guest its own"
            " mirror",
        )


def _claimed_macs(guest: Guest, catalogue: Catalogue) -> Iterator[Problem]:
    for index, mac in enumerate(macs(guest)):
        rival = earlier(guest, catalogue.guests_by_mac.get(mac, ()))
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
            f"there is no site {wanted}; {meant(wanted, catalogue.sites)}",
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
