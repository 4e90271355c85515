"""What the two hosts' reports on a mirror come to: connected, in sync, redundant.

A report of a host whose heartbeat is not fresh may be old and is left out, and so is one from
before its last boot: what a dead host said last is not how things are. Called by ``moves`` and by
the statuses of mirrors and guests.
"""

from tandem_api.authority import Mode
from tandem_api.kinds.mirror import Mirror, ReplicaReport
from tandem_api.reasons import Reason
from tandem_api.vocabulary import GONE_DISKS, DiskState, Role
from tandem_controller.decide.world import delivery
from tandem_controller.decide.world.hosts import rebooted
from tandem_controller.decide.world.model import Freshness, Refusal, World

KNOWN_STATES = (Freshness.FRESH, Freshness.LATE, Freshness.UNKNOWN)
"""Of these hosts the last report still counts: they are not known to be gone."""


def reports(mirror: Mirror, world: World) -> dict[str, ReplicaReport]:
    """The reports that count, by host. One judgement asks for them again and again."""
    known = world.kept.get(id(mirror)) if world.kept is not None else None
    if known is not None:
        return known
    found: dict[str, ReplicaReport] = {}
    for host, report in mirror.status.replicas.items():
        view = world.hosts.get(host)
        if view is None or view.freshness not in KNOWN_STATES:
            continue
        if not rebooted(view, report.instance):
            found[host] = report
    if world.kept is not None:
        world.kept[id(mirror)] = found
    return found


def connected(mirror: Mirror, world: World) -> bool | None:
    """Whether the replicas are connected; None if nobody can tell."""
    said = [report.connected for report in reports(mirror, world).values()]
    return all(said) if said else None


def in_sync(mirror: Mirror, world: World) -> bool | None:
    """Whether both replicas hold the same, every volume; None if nobody can tell."""
    counted = reports(mirror, world)
    if not counted:
        return None
    return all(_both_up_to_date(mirror, report) for report in counted.values())


def differing_though_current(mirror: Mirror, world: World) -> int:
    """How many bytes differ, as DRBD knows it, although it calls both replicas current."""
    counted = reports(mirror, world).values()
    if not all(_called_current(mirror, report) for report in counted):
        return 0
    return max(map(bytes_known_to_differ, counted), default=0)


def _both_up_to_date(mirror: Mirror, report: ReplicaReport) -> bool:
    return _called_current(mirror, report) and not bytes_known_to_differ(report)


def _called_current(mirror: Mirror, report: ReplicaReport) -> bool:
    names = set(mirror.volume_names)
    if not report.connected or not names <= set(report.volumes):
        return False
    return all(
        (volume.disk, volume.peer_disk) == (DiskState.UP_TO_DATE, DiskState.UP_TO_DATE)
        for volume in report.volumes.values()
    )


def bytes_known_to_differ(report: ReplicaReport) -> int:
    """Of all volumes, as DRBD knows it."""
    return sum(volume.out_of_sync_bytes or 0 for volume in report.volumes.values())


def split_brain(mirror: Mirror, world: World) -> ReplicaReport | None:
    """The report of a host that found its replica to have diverged, if one did."""
    return next(
        (r for r in reports(mirror, world).values() if r.reason is Reason.SPLIT_BRAIN), None
    )


def redundancy(mirror: Mirror, world: World) -> Refusal | None:
    """Why the loss of either host would stop or cost something, or None if it would not."""
    authority = mirror.status.authority
    if authority is None or not authority.initialised:
        return Refusal(Reason.NOT_INITIALISED, "the mirror was never in sync yet")
    diverged = split_brain(mirror, world)
    if diverged is not None:
        return Refusal(Reason.SPLIT_BRAIN, diverged.message or "the replicas have diverged")
    if connected(mirror, world) is not True:
        return Refusal(Reason.NOT_CONNECTED, "the replicas are not connected")
    if in_sync(mirror, world) is not True:
        resyncing = Refusal(Reason.RESYNCING, "the replicas are not in sync")
        return resync_stalled(mirror, world) or resyncing
    behind = [r.host for r in mirror.spec.replicas if not authority.may_own(r.host)]
    if not authority.both_count or behind:
        return Refusal(
            Reason.NOT_YET_IN_SYNC,
            f"authority is {authority.mode} at epoch {authority.epoch}"
            + (f" without {' and '.join(behind)}" if behind else ""),
        )
    known = (delivery.refusal(mirror, each.host, world) for each in mirror.spec.replicas)
    return next((why for why in known if why is not None), None)


def failed_volumes(report: ReplicaReport | None) -> tuple[str, ...]:
    """The volumes that are in use on this host without its own disk."""
    return missing_volumes(report) if report is not None and report.role == Role.PRIMARY else ()


def missing_volumes(report: ReplicaReport | None) -> tuple[str, ...]:
    """The volumes of which this host has no disk."""
    if report is None:
        return ()
    return tuple(name for name, v in sorted(report.volumes.items()) if v.disk in GONE_DISKS)


def data_is_away(mirror: Mirror, host: str, world: World) -> bool:
    """Whether this host says that its guest stands still, having neither its disk nor the link."""
    report = reports(mirror, world).get(host)
    return report is not None and report.reason is Reason.DATA_UNREACHABLE


def stands_still(report: ReplicaReport) -> bool:
    """Whether writes there are suspended, or would have to go to a disk that is not there. A
    connection ends the suspension for want of data, also one that brings none.
    """
    return report.suspended or bool(failed_volumes(report) and not report.connected)


def incomplete(mirror: Mirror, host: str, world: World) -> Refusal | None:
    """Why this host's replica may not be all there is, or None if it has every write."""
    authority = mirror.status.authority
    if authority is None or not authority.both_count or not authority.may_own(host):
        return Refusal(Reason.NOT_ELIGIBLE, f"{host} may lack acknowledged writes")
    if connected(mirror, world) is not True:
        return Refusal(Reason.NOT_CONNECTED, "the replicas are not connected")
    report = reports(mirror, world).get(host)
    names = set(mirror.volume_names)
    volumes = report.volumes.items() if report else ()
    good = {n for n, v in volumes if v.disk == DiskState.UP_TO_DATE and not v.out_of_sync_bytes}
    if names <= good:
        return None
    return Refusal(Reason.RESYNCING, f"{host}'s replica is not up to date")


def resync_percent(mirror: Mirror, world: World) -> int | None:
    """How far a resync has come; None if none is known to run."""
    behind = [
        bytes_known_to_differ(report)
        for report in reports(mirror, world).values()
        if report.connected
    ]
    if not behind or not max(behind):
        return None
    total = sum(volume.size.bytes for volume in mirror.spec.volumes)
    return max(0, min(99, int(100 * (1 - max(behind) / total))))


def resync_stalled(mirror: Mirror, world: World) -> Refusal | None:
    """Since when a resync copies nothing, by the word of a host; None if none stands still."""
    said = {
        host: report.resync_stalled_since
        for host, report in sorted(reports(mirror, world).items())
        if report.resync_stalled_since and report.connected
    }
    if not said:
        return None
    since = min(said.values())
    left = max(
        sum(
            volume.out_of_sync_bytes or 0
            for volume in reports(mirror, world)[host].volumes.values()
        )
        for host in said
    )
    return Refusal(
        Reason.RESYNC_STALLED,
        f"the resync has copied nothing since {since}, with {left} bytes to go, as"
        f" {' and '.join(said)} reports; it is begun again, more and more rarely. If that does not"
        " help: look for I/O errors in both hosts' kernel logs, and whether somebody has paused it",
    )


def column(mirror: Mirror, world: World) -> str:
    """The mirror in a word or two, for ``kubectl get guests``."""
    authority = mirror.status.authority
    if authority is None or not authority.initialised:
        return "NotInitialised"
    if split_brain(mirror, world):
        return "SplitBrain"
    linked = connected(mirror, world)
    if linked is None:
        return "Unknown"
    if not linked:
        return "Standalone" if authority.mode is Mode.STANDALONE else "Disconnected"
    if in_sync(mirror, world):
        return "InSync"
    percent = resync_percent(mirror, world)
    return "NotInSync" if percent is None else f"Resync {percent}%"
