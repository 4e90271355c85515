"""Random worlds, and what happens to them, for plans that remember: small, so that objects meet."""

from dataclasses import dataclass, field
from random import Random
from typing import Any

from tandem_api.kinds.guest import Guest
from tandem_api.kinds.guest_move import GuestMove
from tandem_api.kinds.host import Host
from tandem_api.kinds.mirror import Mirror
from tandem_api.kinds.site import Site
from tandem_api.kinds.tandem import Tandem
from tandem_api.lease import Heartbeat
from tandem_api.meta import FINALIZER, ObjectKey, Problem
from tandem_api.timing import DEFAULT
from tandem_controller.decide.world.leases import Count, LeaseTracker
from tandem_controller.decide.world.model import Plan, Snapshot, Unreadable, WriteAssignment
from tandem_lab.scale.cluster import merged

Raw = dict[str, Any]
HOSTS = {"a-1": "a", "a-2": "a", "b-1": "b", "b-2": "b"}
GUESTS = 4
START = "2024-05-01T10:00:"
TYPES = {
    "Tandem": Tandem,
    "Site": Site,
    "Host": Host,
    "Mirror": Mirror,
    "Guest": Guest,
    "GuestMove": GuestMove,
}
DISKS = (*["UpToDate"] * 15, "Inconsistent", "Outdated", "Diskless", "")
REASONS = (
    *["", "Steady", "Running"] * 5,
    "EffectFailed",
    "StartRefused",
    "SplitBrain",
    "BringingUp",
)


@dataclass
class Cluster:
    """What there is. Objects are parsed once for each of their versions, as the store does."""

    chance: Random
    now_s: float = 1000.0
    raws: dict[str, dict[str, Raw]] = field(default_factory=dict)
    parsed: dict[tuple[str, str], Any] = field(default_factory=dict)
    beats: dict[str, Count] = field(default_factory=dict)
    silent: set[str] = field(default_factory=set)
    unreadable: tuple[Unreadable, ...] = ()
    unknown: dict[tuple[str, ObjectKey], tuple[Problem, ...]] = field(default_factory=dict)
    suspicions: dict[ObjectKey, str] = field(default_factory=dict)
    links: dict[tuple[ObjectKey, str], float] = field(default_factory=dict)
    covered: bool = True

    def put(self, kind: str, name: str, raw: Raw) -> None:
        """Another version of it, if it can be read."""
        try:
            self.parsed[kind, name] = TYPES[kind].parse(raw)
        except ValueError:
            return
        self.raws.setdefault(kind, {})[name] = raw

    def drop(self, kind: str, name: str) -> None:
        if self.raws.get(kind, {}).pop(name, None) is not None:
            del self.parsed[kind, name]

    def of(self, kind: str) -> tuple[Any, ...]:
        return tuple(self.parsed[kind, name] for name in self.raws.get(kind, {}))

    @property
    def wall(self) -> str:
        minutes, seconds = divmod(self.now_s - 1000.0, 60.0)
        return f"2024-05-01T10:{int(minutes) % 60:02d}:{seconds:06.3f}Z"

    def snapshot(self) -> Snapshot:
        return Snapshot(
            now_s=self.now_s,
            wall=self.wall,
            leases=LeaseTracker(dict(self.beats), self.now_s - 0.1 if self.covered else None),
            tandems=self.of("Tandem"),
            sites=self.of("Site"),
            hosts=self.of("Host"),
            mirrors=self.of("Mirror"),
            guests=self.of("Guest"),
            guestmoves=self.of("GuestMove"),
            unreadable=self.unreadable,
            unknown_fields=dict(self.unknown),
            link_down_since_s=dict(self.links),
            suspicions=dict(self.suspicions),
        )

    def beat(self) -> None:
        """Everybody who is not silent sends a heartbeat."""
        for host in HOSTS:
            if host not in self.silent:
                self.beats[host] = self._count(host, self.beats.get(host))

    def _count(self, host: str, before: Count | None) -> Count:
        boot = before.heartbeat.instance if before else f"{host}/boot/run"
        beat = Heartbeat(
            host=host,
            instance=boot,
            version=str(self.chance.randrange(10**6)),
            watchdog_armed=before.heartbeat.watchdog_armed if before else True,
            timing=DEFAULT,
        )
        since_s = before.run_since_s if before else float("-inf")
        return Count(
            beat, self.now_s - 0.2, self.wall, renewed=before is not None, run_since_s=since_s
        )

    def carry_out(self, plan: Plan) -> None:
        """Some of the statuses are written; who wins what else is drawn by ``happen``."""
        for write in plan.statuses:
            if self.chance.random() < 0.8:
                self.merge(write.kind, write.key.name, {"status": dict(write.patch)})
        for urgent in plan.urgent:
            if self.chance.random() < 0.7 and isinstance(urgent, WriteAssignment):
                self.merge("Guest", urgent.guest.key.name, {"status": dict(urgent.patch)})

    def merge(self, kind: str, name: str, patch: Raw) -> None:
        if name in self.raws.get(kind, {}):
            raw = merged(self.raws[kind][name], patch)
            version = str(int(raw["metadata"].get("resourceVersion", "1")) + 1)
            raw["metadata"] = {**raw["metadata"], "resourceVersion": version}
            self.put(kind, name, raw)


def begun(seed: int) -> Cluster:
    """Some guests that run, some that do not."""
    made = Cluster(Random(seed))
    chance = made.chance
    for site in ("a", "b"):
        made.put("Site", site, {"metadata": {"name": site, "uid": f"u-{site}"}, "spec": {}})
    for number, (host, site) in enumerate(HOSTS.items()):
        spec: Raw = {"site": site, "replicationAddress": f"198.51.100.{number + 1}"}
        if chance.random() < 0.7:
            spec["capacity"] = {"cpus": 8, "memory": chance.choice(["2Gi", "3Gi", "8Gi"])}
        status = {"migrationPort": 1} if chance.random() < 0.7 else {}
        metadata = {"name": host, "uid": f"u-{host}"}
        made.put("Host", host, {"metadata": metadata, "spec": spec, "status": status})
    for number in range(GUESTS):
        add_guest(made, number)
    made.beat()
    made.beat()
    return made


def add_guest(made: Cluster, number: int) -> None:
    chance, name = made.chance, f"g{number}"
    a, b = chance.choice(["a-1", "a-2"]), chance.choice(["b-1", "b-2"])
    owner = chance.choice([a, a, a, b, b, ""])
    about = {"namespace": "ns", "name": name, "uid": f"u-{name}", "resourceVersion": "1"}
    devices = {"root": f"/dev/vg0/{chance.choice([name] * 9 + ['same'])}"}
    mirror: Raw = {
        "metadata": {**about, "creationTimestamp": f"2024-05-01T09:00:0{number}Z"},
        "spec": {
            "volumes": [{"name": "root", "size": "1Gi"}],
            "replicas": [{"host": host, "devices": devices} for host in (a, b)],
        },
        "status": {"replicas": {host: replica(made, host, owner) for host in (a, b)}},
    }
    if chance.random() < 0.9:
        both = {"eligible": True, "reason": "InSync"}
        mirror["status"]["authority"] = {
            "epoch": 3,
            "incarnation": f"u-{name}",
            "owner": owner,
            "ownerInstance": f"{owner}/boot/run" if owner else "",
            "eligible": {a: both, b: both},
        }
        mirror["status"]["deviceNumbers"] = {"port": 7789 + number, "minors": {"root": number}}
    made.put("Mirror", name, mirror)
    guest: Raw = {
        "metadata": {**about, "finalizers": [FINALIZER]},
        "spec": {
            "mirror": name,
            "domain": {
                "memory": "1Gi",
                "disks": [{"volume": "root"}],
                "networks": [
                    {"bridge": "br", "mac": f"52:54:00:00:00:0{chance.choice([number] * 4 + [1])}"}
                ],
            },
            "placement": {"preferredSite": chance.choice(["a", "b"])},
            "failback": {"policy": chance.choice(["Automatic", "Manual"]), "afterSeconds": 5},
        },
    }
    if owner:
        guest["status"] = {
            "assignment": assignment(made, owner),
            "hosts": {owner: report(made, owner)},
        }
    made.put("Guest", name, guest)


def replica(made: Cluster, host: str, owner: str) -> Raw:
    chance, linked = made.chance, made.chance.random() < 0.8
    disk = chance.choice(DISKS)
    found: Raw = {
        "instance": f"{host}/boot/run",
        "role": "Primary" if host == owner else "Secondary",
        "connection": "Connected" if linked else "Connecting",
        "peerRole": "Secondary" if host == owner else "Primary",
        "epochSeen": chance.choice([3, 3, 2]),
        "reason": chance.choice(REASONS),
        "message": chance.choice(["", "something"]),
        "suspended": chance.random() < 0.1,
        "volumes": {"root": {"disk": disk, "peerDisk": "UpToDate", "outOfSyncBytes": 0}},
    }
    if not linked:
        found["notConnectedSince"] = made.wall
    if chance.random() < 0.1:
        found["marker"] = {"reason": "AttachedNotUpToDate", "since": made.wall}
    return found


def assignment(made: Cluster, host: str, **more: Any) -> Raw:
    reason = made.chance.choice(["InitialPlacement", "Maintenance", "Failback", "StartRefused"])
    site = HOSTS.get(host, "")
    found = {"host": host, "site": site, "serial": 3, "reason": reason, "message": "It is there"}
    return {**found, "since": made.wall, **more}


def report(made: Cluster, host: str) -> Raw:
    chance = made.chance
    return {
        "instance": f"{host}/boot/run",
        "state": chance.choice(["Running"] * 4 + ["Absent", "Absent", "Unknown", ""]),
        "assignmentSerial": chance.choice([3, 3, 2]),
        "reason": chance.choice(REASONS),
        "message": chance.choice(["", "", "something"]),
        "refusedStart": chance.choice([""] * 9 + ["no memory"]),
    }
