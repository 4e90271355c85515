"""A cluster of any size as raw objects: two sites, hosts in pairs, guests that all run, protected.

What hosts would report stands on the objects; what the controller would write is worked out by its
own plans (``settled``), so that one that starts on it finds nothing to do. Called by the benchmarks
of scale, which keep the objects on a server.
"""

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Any

from tandem_api.kinds.guest import Guest
from tandem_api.kinds.host import Host
from tandem_api.kinds.mirror import Mirror
from tandem_api.kinds.site import Site
from tandem_api.lease import LEASE_NAMESPACE, Heartbeat, HeartbeatContent, lease_name
from tandem_api.meta import FINALIZER, ObjectKey
from tandem_api.timing import DEFAULT
from tandem_controller.decide.plan import plan
from tandem_controller.decide.world.leases import Count, LeaseTracker
from tandem_controller.decide.world.model import Snapshot

Raw = dict[str, Any]
SITES = ("burjassot", "tarongers")
NAMESPACE = "bench"
SINCE = "2026-01-01T00:00:00Z"
MEMORY_GIB = 2
FIRST_PORT = 7789
NOW_S = 1000.0
PLANS = 10
"""So many it takes at most until nothing is left to be written."""


@dataclass(frozen=True)
class Size:
    """``hosts``: of both sites together. Half of the guests run at each site."""

    guests: int
    hosts: int


@dataclass
class Cluster:
    """Raw objects by kind and key."""

    objects: dict[str, dict[ObjectKey, Raw]] = field(default_factory=dict)

    def put(self, kind: str, raw: Raw) -> None:
        metadata = raw["metadata"]
        key = ObjectKey(metadata.get("namespace", ""), metadata["name"])
        self.objects.setdefault(kind, {})[key] = raw

    def of(self, kind: str) -> Iterable[Raw]:
        return self.objects.get(kind, {}).values()


def host_name(site: int, number: int) -> str:
    return f"{SITES[site]}-{number}"


def instance(host: str) -> str:
    """Its only run on its only boot."""
    return f"{host}/boot/run"


def host_names(size: Size, site: int) -> list[str]:
    return [host_name(site, number) for number in range(size.hosts // 2)]


def cluster(size: Size) -> Cluster:
    """As its hosts have reported it, and nobody else has written anything to a status."""
    made = Cluster()
    for at, site in enumerate(SITES):
        made.put("Site", {"metadata": _metadata(site), "spec": {}, "status": {}})
        for number in range(size.hosts // 2):
            made.put("Host", _host(at, number, size))
    for number in range(size.guests):
        owner, other = _pair(number, size)
        made.put("Mirror", _mirror(number, owner, other, size))
        made.put("Guest", _guest(number, owner))
    return made


def settled(size: Size) -> Cluster:
    """The same once a controller has written all that it has to say of it."""
    made = cluster(size)
    for _ in range(PLANS):
        writes = [*(found := plan(snapshot(made))).urgent, *found.statuses]
        assert not found.urgent, found.urgent[0]
        if not writes:
            return made
        for write in found.statuses:
            raw = made.objects[write.kind][write.key]
            raw["status"] = merged(raw.get("status", {}), write.patch)
    raise AssertionError("there is always something to write")


def snapshot(found: Cluster) -> Snapshot:
    """All of it, each host's heartbeat renewed half a second ago."""
    hosts = [raw["metadata"]["name"] for raw in found.of("Host")]
    beats = {host: Count(_heartbeat(host), NOW_S - 0.6, SINCE, True) for host in hosts}
    return Snapshot(
        now_s=NOW_S,
        wall=datetime.now(UTC).isoformat(timespec="milliseconds").replace("+00:00", "Z"),
        leases=LeaseTracker(beats, read_s=NOW_S - 0.1),
        sites=tuple(Site.parse(raw) for raw in found.of("Site")),
        hosts=tuple(Host.parse(raw) for raw in found.of("Host")),
        mirrors=tuple(Mirror.parse(raw) for raw in found.of("Mirror")),
        guests=tuple(Guest.parse(raw) for raw in found.of("Guest")),
    )


def merged(old: Any, patch: Mapping[str, Any]) -> Raw:
    """A merge patch, applied."""
    new = dict(old) if isinstance(old, Mapping) else {}
    for name, value in patch.items():
        if value is None:
            new.pop(name, None)
        else:
            new[name] = merged(new.get(name), value) if isinstance(value, Mapping) else value
    return new


def unlinked(mirror: Raw, host: str) -> Raw:
    """The patch of a mirror's status by which a host says that it has lost the other one."""
    volume = {"disk": "UpToDate", "peerDisk": "DUnknown"}
    volumes = {each["name"]: volume for each in mirror["spec"]["volumes"]}
    report = {"connection": "Connecting", "peerRole": "Unknown", "volumes": volumes}
    return {"replicas": {host: report}}


def hosts_of(mirror: Raw) -> Iterator[str]:
    return (replica["host"] for replica in mirror["spec"]["replicas"])


def lease(host: str) -> Raw:
    """What the host writes once a second, but for the time."""
    site = host.rpartition("-")[0]
    said = HeartbeatContent(
        host=host, site=site, instance=instance(host), watchdog_armed=True, timing=DEFAULT
    )
    name = {"name": lease_name(host), "namespace": LEASE_NAMESPACE}
    metadata = {**name, "labels": said.labels, "annotations": said.annotations}
    return {"metadata": metadata, "spec": {"holderIdentity": instance(host)}}


# -- single objects


def _metadata(name: str, namespace: str = "") -> Raw:
    found = {
        "name": name,
        "uid": f"uid-{name}",
        "resourceVersion": "1",
        "generation": 1,
        "creationTimestamp": SINCE,
    }
    return {**found, "namespace": namespace} if namespace else found


def _pair(number: int, size: Size) -> tuple[str, str]:
    """Owner and other: guests go round the hosts, and every second one runs at the other site."""
    pairs = size.hosts // 2
    here, place = number % 2, (number // 2) % pairs
    return host_name(here, place), host_name(1 - here, place)


def _host(at: int, number: int, size: Size) -> Raw:
    name = host_name(at, number)
    guests = -(-size.guests // (size.hosts // 2))
    capacity = {"cpus": 64, "memory": f"{(guests + 1) * MEMORY_GIB}Gi"}
    address = f"10.{at}.{number // 250}.{number % 250 + 1}"
    spec = {"site": SITES[at], "replicationAddress": address, "capacity": capacity}
    status = {"instance": instance(name), "migrationPort": 49152}
    return {"metadata": _metadata(name), "spec": spec, "status": status}


def _mirror(number: int, owner: str, other: str, size: Size) -> Raw:
    name = f"g{number}"
    hosts = sorted((owner, other))
    devices = {"root": f"/dev/vg0/{name}-root", "data": f"/dev/vg0/{name}-data"}
    volumes = [{"name": "root", "size": "20Gi"}, {"name": "data", "size": "100Gi"}]
    both = {"eligible": True, "reason": "InSync"}
    authority = {
        "epoch": 3,
        "incarnation": f"uid-{name}",
        "owner": owner,
        "ownerInstance": instance(owner),
        "mode": "Mirrored",
        "reason": "Claimed",
        "eligible": {owner: both, other: both},
    }
    minors = {"root": 2 * number, "data": 2 * number + 1}
    status = {
        "authority": authority,
        "claimants": {owner: {"guest": name}},
        "deviceNumbers": {"port": FIRST_PORT + number, "minors": minors},
        "replicas": {owner: _replica(owner, "Primary"), other: _replica(other, "Secondary")},
    }
    replicas = [{"host": host, "devices": devices} for host in hosts]
    return {
        "metadata": _metadata(name, NAMESPACE),
        "spec": {"volumes": volumes, "replicas": replicas},
        "status": status,
    }


def _replica(host: str, role: str) -> Raw:
    sizes = {"root": 21 * 2**30, "data": 101 * 2**30}
    volumes = {
        name: {"disk": "UpToDate", "peerDisk": "UpToDate", "outOfSyncBytes": 0, "deviceBytes": size}
        for name, size in sizes.items()
    }
    return {
        "instance": instance(host),
        "role": role,
        "connection": "Connected",
        "peerRole": "Secondary" if role == "Primary" else "Primary",
        "epochSeen": 3,
        "volumes": volumes,
        "reason": "Steady",
    }


def _guest(number: int, owner: str) -> Raw:
    name, site = f"g{number}", owner.rpartition("-")[0]
    mac = f"52:54:00:{number >> 16 & 255:02x}:{number >> 8 & 255:02x}:{number & 255:02x}"
    domain = {
        "cpus": 2,
        "memory": f"{MEMORY_GIB}Gi",
        "disks": [{"volume": "root", "boot": 1}, {"volume": "data"}],
        "networks": [{"bridge": "br-users", "mac": mac}],
    }
    spec = {"mirror": name, "domain": domain, "placement": {"preferredSite": site}}
    assignment = {
        "host": owner,
        "site": site,
        "mirror": name,
        "serial": 1,
        "reason": "InitialPlacement",
        "message": f"It is started on {owner}",
        "since": SINCE,
    }
    report = {
        "instance": instance(owner),
        "state": "Running",
        "assignmentSerial": 1,
        "reason": "Running",
        "startedAt": SINCE,
    }
    metadata = {**_metadata(name, NAMESPACE), "finalizers": [FINALIZER]}
    status = {"assignment": assignment, "hosts": {owner: report}}
    return {"metadata": metadata, "spec": spec, "status": status}


def _heartbeat(host: str) -> Heartbeat:
    return Heartbeat(
        host=host, instance=instance(host), version="1", watchdog_armed=True, timing=DEFAULT
    )
