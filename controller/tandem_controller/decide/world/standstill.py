"""What stands still although every state of DRBD looks well, by the hosts' word.

Called by the statuses of mirrors and guests, and by ``metrics``.
"""

from collections.abc import Collection, Mapping

from tandem_api.kinds.mirror import Mirror, ReplicaReport, VolumeReport
from tandem_api.reasons import Reason
from tandem_api.vocabulary import GONE_DISKS, Connection, DiskState, Role
from tandem_controller.decide.world import replicas
from tandem_controller.decide.world.hosts import drbd_version, unfit
from tandem_controller.decide.world.model import Refusal, World
from tandem_controller.decide.world.power import off


def standstill(mirror: Mirror, world: World) -> Refusal | None:
    """Why a guest's requests do not end, or else whose disk does not answer; what helps."""
    reports = sorted(replicas.reports(mirror, world).items())
    guests = [held_up(mirror, host, world) for host, _ in reports]
    disks = [silent_disk(mirror, host, world) for host, _ in reports]
    return next((why for why in (*guests, *disks) if why is not None), None)


def held_up(mirror: Mirror, host: str, world: World) -> Refusal | None:
    """Why a guest on this host stands still: it reads or writes, and nothing of it ends."""
    report = replicas.reports(mirror, world).get(host)
    if report is None:
        return None
    if stands_for_its_link(report):
        helps = unless_parted(mirror, host, world)
        message = f"It stands still: {host}: {report.message}; {helps}"
        return Refusal(Reason.LINK_UNUSABLE, message)
    if stalled_since(report) is None:
        return None
    why = silent_disk(mirror, host, world) or _unknown(mirror, host, report)
    return Refusal(why.reason, f"It stands still: {why.message}")


def stands_for_its_link(report: ReplicaReport) -> bool:
    """Whether its owner waits for a link on which no write ends, and has not parted from it."""
    waits = report.connection != Connection.STANDALONE and report.role == Role.PRIMARY
    return report.reason is Reason.LINK_UNUSABLE and waits


def unless_parted(mirror: Mirror, owner: str, world: World) -> str:
    """What helps a guest there, besides what its host says."""
    peer, authority = mirror.peer_of(owner), mirror.status.authority
    unable = unfit(world.hosts.get(peer), peer)
    if unable is not None:
        return f"mend the one or the other: it could not go on at {peer}: {unable.message}"
    to_do = off(owner, mirror, world)
    if authority is not None and authority.both_count and authority.may_own(peer):
        return f"mend the one or the other, or {to_do} to have its guest started on {peer}"
    return (
        f"mend the one or the other, or {to_do} to be told how to go on with what {peer} has: it"
        f" may lack what {owner} wrote alone"
    )


def stalled_since(report: ReplicaReport) -> str | None:
    """Since when no read, or no write, of the guest there has ended, although it asks."""
    volumes = report.volumes.values()
    said = [since for v in volumes for since in (v.reads_stalled_since, v.writes_stalled_since)]
    return min((since for since in said if since), default=None)


def _reads_stalled(report: ReplicaReport) -> bool:
    return any(volume.reads_stalled_since for volume in report.volumes.values())


def _unknown(mirror: Mirror, host: str, report: ReplicaReport) -> Refusal:
    return Refusal(
        Reason.DRBD_STALLED,
        f"DRBD on {host} has answered none of what it asks since {stalled_since(report)}, and says"
        " that all is well. What it waits for may stand in the kernel logs of"
        f" {host} and {mirror.peer_of(host)}",
    )


def silent_disk(mirror: Mirror, host: str, world: World) -> Refusal | None:
    """A disk that gives no answer, not even an error: DRBD waits for it without end."""
    report = replicas.reports(mirror, world).get(host)
    if report is None or not _silent(report):
        return None
    helps = _what_helps(mirror, host, report, _silent(report), world)
    return Refusal(Reason.DISK_STALLED, f"{_is_silent(host, report)}. {helps}")


def held_open(mirror: Mirror, host: str, world: World) -> Refusal | None:
    """A disk that gives no answer keeps the device of a host open that is not the owner."""
    report, peer = replicas.reports(mirror, world).get(host), mirror.peer_of(host)
    if report is None or report.role != Role.PRIMARY or not _silent(report):
        return None
    said = f"{_is_silent(host, report)}, and keeps its device open"
    helps = f"If it does not come back by itself, {off(host, mirror, world)}"
    message = f"{said}. {helps} to have its guest started on {peer}"
    return Refusal(Reason.DISK_STALLED, message)


def _silent(report: ReplicaReport) -> Mapping[str, VolumeReport]:
    volumes = sorted(report.volumes.items())
    return {name: volume for name, volume in volumes if volume.disk_stalled_since}


def _is_silent(host: str, report: ReplicaReport) -> str:
    silent = _silent(report)
    since = min(volume.disk_stalled_since or "" for volume in silent.values())
    return f"the disk of {host} has not answered since {since} ({', '.join(silent)})"


def _what_helps(
    mirror: Mirror,
    host: str,
    report: ReplicaReport,
    silent: Mapping[str, VolumeReport],
    world: World,
) -> str:
    """Given up by force, a disk that owes only writes lets the guest go on with DRBD 8.4; a read
    that it owes is never asked of the peer, and on 9 later writes wait for the disk all the same.
    What no host but this one may have is not to be given up lightly.
    """
    peer = mirror.peer_of(host)
    given_up = all(v.disk in GONE_DISKS for v in silent.values())
    if given_up and stalled_since(report) is None:
        return f"DRBD uses it no more. Reboot {host} before it is used again"
    if report.role != Role.PRIMARY:
        return f"See to that disk. If it cannot be brought back, drain {host} and reboot it"
    unable = unfit(world.hosts.get(peer), peer)
    if unable is not None:
        return f"See to that disk. It cannot go on at {peer}: {unable.message}"
    to_do = off(host, mirror, world)
    there = all(v.peer_disk == DiskState.UP_TO_DATE for v in silent.values())
    has_all, authority = report.connected and there, mirror.status.authority
    if not has_all and not (authority and authority.both_count and authority.may_own(peer)):
        return (
            f"See to that disk: {peer} may lack what {host} wrote alone; if that does not come,"
            f" {to_do} to be told how to go on with what {peer} has"
        )
    if given_up or not has_all or _reads_stalled(report) or _runs_nine(host, world):
        return f"If it does not come back by itself, {to_do} to have its guest started on {peer}"
    return (
        f"If it does not come back by itself, run on {host}: {_detach(mirror, silent)}. Then the"
        f" guest goes on with the disk of {peer}, and moves there; reboot {host} before its disk"
        " is used again"
    )


def _runs_nine(host: str, world: World) -> bool:
    return drbd_version(host, world).startswith("9.")


def _detach(mirror: Mirror, volumes: Collection[str]) -> str:
    numbers = [n for n, name in enumerate(mirror.volume_names) if name in volumes]
    return " && ".join(f"drbdadm detach --force {mirror.drbd_name}/{n}" for n in numbers)
