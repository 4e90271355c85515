"""What may happen to a random world between two plans. Called by ``test_memory``."""

from dataclasses import replace
from typing import Any

from tandem_api.meta import ObjectKey, Problem
from tandem_controller.decide.world.model import Unreadable

from .worlds import GUESTS, HOSTS, Cluster, add_guest, assignment, replica, report

Raw = dict[str, Any]


def happen(made: Cluster) -> str:
    """One thing, of which the name is told."""
    happening = made.chance.choice(HAPPENINGS)
    happening(made)
    return happening.__name__


def time_passes(made: Cluster) -> None:
    made.now_s += made.chance.choice([0.1, 1.0, 4.0, 20.0, 200.0, 2000.0])
    if made.chance.random() < 0.8:
        made.beat()


def hosts_beat(made: Cluster) -> None:
    made.beat()


def host_is_silent(made: Cluster) -> None:
    """Or a whole site is, or nobody any more."""
    one = made.chance.choice(list(HOSTS))
    made.silent = made.chance.choice([set(), {one}, {"a-1", "a-2"}])


def silence_is_counted(made: Cluster) -> None:
    made.now_s += made.chance.choice([4.0, 11.0])
    made.beat()


def host_boots(made: Cluster) -> None:
    host = made.chance.choice(list(HOSTS))
    count = made.beats[host]
    armed = made.chance.random() < 0.7
    instance = f"{host}/{made.chance.choice(['boot', 'boot2'])}/run"
    changes = {"instance": instance, "watchdog_armed": armed}
    beat = count.heartbeat.model_copy(update=changes)
    made.beats[host] = replace(count, heartbeat=beat, run_since_s=made.now_s)


def leases_are_read_or_not(made: Cluster) -> None:
    made.covered = made.chance.random() < 0.9


def replica_is_reported(made: Cluster) -> None:
    name = _name(made)
    if name in made.raws["Mirror"]:
        raw = made.raws["Mirror"][name]
        host = made.chance.choice(raw["spec"]["replicas"])["host"]
        owner = raw["status"].get("authority", {}).get("owner", "")
        made.merge("Mirror", name, {"status": {"replicas": {host: replica(made, host, owner)}}})


def hosts_obey(made: Cluster) -> None:
    """The host that a guest is assigned to owns its mirror and runs it."""
    name = _name(made)
    guest, mirror = made.raws["Guest"].get(name, {}), made.raws["Mirror"].get(name, {})
    assigned = guest.get("status", {}).get("assignment", {})
    host, authority = assigned.get("host"), mirror.get("status", {}).get("authority")
    if not host or not authority or not made.beats.get(host):
        return
    instance = made.beats[host].heartbeat.instance
    owner = {"owner": host, "ownerInstance": instance, "epoch": authority["epoch"] + 1}
    made.merge("Mirror", name, {"status": {"authority": {**owner, "mode": "Mirrored"}}})
    for each in mirror["spec"]["replicas"]:
        said = {**replica(made, each["host"], host), "reason": "Steady", "marker": None}
        seen = {"instance": made.beats[each["host"]].heartbeat.instance, "connection": "Connected"}
        made.merge("Mirror", name, {"status": {"replicas": {each["host"]: {**said, **seen}}}})
    runs = {"instance": instance, "state": "Running", "assignmentSerial": assigned["serial"]}
    reports = {
        other: {"state": "Absent", "assignmentSerial": assigned["serial"]} for other in HOSTS
    }
    known = guest["status"].get("hosts", {})
    absent = {other: said for other, said in reports.items() if other in known}
    said = {host: {**report(made, host), **runs, "refusedStart": "", "reason": "Running"}}
    made.merge("Guest", name, {"status": {"hosts": {**absent, **said}}})


def link_is_lost(made: Cluster) -> None:
    name = _name(made)
    for each in made.raws["Mirror"].get(name, {}).get("spec", {}).get("replicas", ()):
        said = {"connection": "Connecting", "peerRole": "Unknown", "notConnectedSince": made.wall}
        made.merge("Mirror", name, {"status": {"replicas": {each["host"]: said}}})


def guest_is_reported(made: Cluster) -> None:
    host = made.chance.choice(list(HOSTS))
    made.merge("Guest", _name(made), {"status": {"hosts": {host: report(made, host)}}})


def authority_changes(made: Cluster) -> None:
    name = _name(made)
    raw = made.raws["Mirror"].get(name)
    if raw is None or "authority" not in raw["status"]:
        return
    was = raw["status"]["authority"]
    owner = made.chance.choice([*(each["host"] for each in raw["spec"]["replicas"]), ""])
    changes = {
        "epoch": was["epoch"] + 1,
        "owner": owner,
        "ownerInstance": f"{owner}/{made.chance.choice(['boot', 'boot2'])}/run" if owner else "",
        "mode": made.chance.choice(["Mirrored"] * 8 + ["Standalone", "Hold"]),
    }
    made.merge("Mirror", name, {"status": {"authority": changes}})


def guest_is_assigned(made: Cluster) -> None:
    host = made.chance.choice([*HOSTS, ""])
    made.merge("Guest", _name(made), {"status": {"assignment": assignment(made, host)}})


def move_is_under_way(made: Cluster) -> None:
    changes = {"phase": made.chance.choice(["Moving", "Running"])}
    made.merge("Guest", _name(made), {"status": changes})


def guest_is_edited(made: Cluster) -> None:
    edits: tuple[Raw, ...] = (
        {"paused": made.chance.random() < 0.5},
        {"running": made.chance.random() < 0.5},
        {"priority": made.chance.randrange(3)},
        {"mirror": f"g{made.chance.randrange(GUESTS)}"} if made.chance.random() < 0.3 else {},
        {"placement": {"preferredSite": made.chance.choice(["a", "b", "a", "b", "c"])}},
        {"failover": {"policy": made.chance.choice(["Automatic", "Manual"])}},
        {"domain": {"memory": made.chance.choice(["1Gi", "2Gi", "64Gi"])}},
    )
    made.merge("Guest", _name(made), {"spec": made.chance.choice(edits)})


def mirror_is_edited(made: Cluster) -> None:
    name = _name(made)
    if name not in made.raws["Mirror"]:
        return
    raw = made.raws["Mirror"][name]
    order = {
        "host": made.chance.choice(raw["spec"]["replicas"])["host"],
        "epoch": raw["status"].get("authority", {}).get("epoch", 1),
        "acceptDataLoss": made.chance.random() < 0.8,
        "by": "ana",
    }
    edits: tuple[Raw, ...] = (
        {"paused": made.chance.random() < 0.5},
        {"protocol": made.chance.choice(["A", "C"])},
        {"override": order},
        {"override": None},
        {"port": made.chance.choice([None, 7789, 7790])},
    )
    made.merge("Mirror", name, {"spec": made.chance.choice(edits)})
    if made.chance.random() < 0.5:
        made.links[ObjectKey("ns", name), order["host"]] = made.now_s


def host_is_edited(made: Cluster) -> None:
    edits: tuple[Raw, ...] = (
        {"maintenance": made.chance.random() < 0.5},
        {"paused": made.chance.random() < 0.5},
        {"confirmedDown": made.chance.choice([None, "boot"])},
        {"site": made.chance.choice(["a", "b", "c"])} if made.chance.random() < 0.2 else {},
        {"capacity": {"cpus": 8, "memory": made.chance.choice(["1Gi", "4Gi"])}},
    )
    made.merge("Host", made.chance.choice(list(HOSTS)), {"spec": made.chance.choice(edits)})


def site_is_edited(made: Cluster) -> None:
    edits: tuple[Raw, ...] = (
        {"maintenance": made.chance.random() < 0.5},
        {"paused": made.chance.random() < 0.5},
        {"priority": made.chance.randrange(3)},
    )
    made.merge("Site", made.chance.choice(["a", "b"]), {"spec": made.chance.choice(edits)})


def tandem_comes_or_goes(made: Cluster) -> None:
    if made.raws.get("Tandem"):
        made.drop("Tandem", next(iter(made.raws["Tandem"])))
    else:
        spec = {"paused": made.chance.random() < 0.5, "moves": {"maxConcurrent": 1}}
        made.put("Tandem", "tandem", {"metadata": {"name": "tandem", "uid": "u-t"}, "spec": spec})


def move_is_ordered(made: Cluster) -> None:
    name = f"m{made.chance.randrange(3)}"
    metadata = {
        "namespace": "ns",
        "name": name,
        "uid": f"u-{name}-{made.chance.randrange(10**6)}",
        "resourceVersion": "1",
        "creationTimestamp": made.wall,
    }
    to = made.chance.choice([{"site": "a"}, {"site": "b"}, {"host": "b-1"}])
    spec = {"guest": _name(made), "to": to, "timeoutSeconds": 60}
    made.drop("GuestMove", name)
    made.put("GuestMove", name, {"metadata": metadata, "spec": spec})


def guest_comes_or_goes(made: Cluster) -> None:
    number = made.chance.randrange(GUESTS)
    if f"g{number}" in made.raws["Guest"]:
        made.drop(made.chance.choice(["Guest", "Mirror"]), f"g{number}")
    else:
        add_guest(made, number)


def guest_is_being_deleted(made: Cluster) -> None:
    changes = {"deletionTimestamp": made.chance.choice([made.wall, None, None])}
    made.merge("Guest", _name(made), {"metadata": changes})


def something_cannot_be_read(made: Cluster) -> None:
    kind = made.chance.choice(["Guest", "Mirror", "Host"])
    place = ObjectKey("" if kind == "Host" else "ns", "strange")
    wrong = (Problem("spec", "is wrong"),)
    gone = made.unreadable and made.chance.random() < 0.5
    made.unreadable = () if gone else (Unreadable(kind, place, "u", 1, wrong),)


def something_unknown_is_written(made: Cluster) -> None:
    key = "Guest", ObjectKey("ns", _name(made))
    if made.unknown.pop(key, None) is None:
        made.unknown[key] = (Problem("spec.colour", "is not known"),)


def authority_is_doubted(made: Cluster) -> None:
    key = ObjectKey("ns", _name(made))
    if made.suspicions.pop(key, None) is None:
        made.suspicions[key] = "its epoch fell"


def everything_is_listed_anew(made: Cluster) -> None:
    """In another order, and some of it read once more."""
    for kind, raws in made.raws.items():
        order = list(raws.items())
        made.chance.shuffle(order)
        made.raws[kind] = dict(order)
        for name, raw in order:
            if made.chance.random() < 0.3:
                made.put(kind, name, raw)


def _name(made: Cluster) -> str:
    return f"g{made.chance.randrange(GUESTS)}"


HAPPENINGS = (
    time_passes,
    time_passes,
    hosts_beat,
    hosts_beat,
    host_is_silent,
    silence_is_counted,
    host_boots,
    leases_are_read_or_not,
    hosts_obey,
    hosts_obey,
    hosts_obey,
    link_is_lost,
    replica_is_reported,
    guest_is_reported,
    authority_changes,
    guest_is_assigned,
    move_is_under_way,
    guest_is_edited,
    mirror_is_edited,
    host_is_edited,
    site_is_edited,
    tandem_comes_or_goes,
    move_is_ordered,
    guest_comes_or_goes,
    guest_is_being_deleted,
    something_cannot_be_read,
    something_unknown_is_written,
    authority_is_doubted,
    everything_is_listed_anew,
)
