"""Two replicas that part by agreement, and one that is outdated by hand. Called by ``replica``."""

from __future__ import annotations

from typing import TYPE_CHECKING

from sim.drbd.disk import better
from sim.drbd.state import attached
from tandem_actuator.ports import CommandFailed
from tandem_api.vocabulary import Connection, DiskState, Role

if TYPE_CHECKING:
    from sim.drbd.replica import Replica


def disconnect(replica: Replica) -> None:
    """Gracefully: the Secondary outdates itself, so the Primary needs to ask nobody.

    Raises: CommandFailed.
    """
    if replica.connection is Connection.STANDALONE:
        return
    peer = replica.wire.peer_now(replica)
    if peer is not None and not _cannot_outdate(replica, peer):
        _agree_to_part(replica, peer)
    replica.say("disconnects gracefully")
    replica.connection = Connection.STANDALONE
    replica.wire.hang_up(replica)


def _cannot_outdate(replica: Replica, peer: Replica) -> bool:
    """Nothing can be outdated without a disk: a Primary then just loses the connection.

    Raises: CommandFailed, of a version that does not let them part then.
    """
    disks = [[attached(v.disk) for v in one.volumes.values()] for one in (replica, peer)]
    one_is_primary = Role.PRIMARY in (replica.role, peer.role)
    if one_is_primary and not all(map(all, disks)) and not replica.version.leaves_diskless:
        raise CommandFailed("refusing to be Primary while the peer is not outdated")
    return not all(disks[0]) and replica.role is Role.SECONDARY and peer.role is Role.PRIMARY


def _agree_to_part(replica: Replica, peer: Replica) -> None:
    if replica.role is peer.role is Role.PRIMARY:
        raise CommandFailed("neither of two Primaries can be outdated")
    for one in (replica, peer):
        would_lack = any(v.disk is not DiskState.UP_TO_DATE for v in one.volumes.values())
        if one.role is Role.PRIMARY and would_lack and not one.without_data:
            raise CommandFailed("need access to up-to-date data")
    for one, two in ((replica, peer), (peer, replica)):
        if one.role is Role.PRIMARY:
            mark_outdated(two)
            with one.change():
                for name, volume in one.volumes.items():
                    volume.peer_disk = two.volumes[name].disk
                    if attached(volume.disk) and not attached(volume.peer_disk):
                        volume.peer_disk = DiskState.OUTDATED


def outdate(replica: Replica) -> None:
    """By hand. Raises: CommandFailed."""
    disks = [v.disk for v in replica.volumes.values()]
    if any(not better(disk, DiskState.INCONSISTENT) for disk in disks):
        raise CommandFailed("disk state is lower than outdated")
    if replica.connected:
        _outdate_connected(replica, disks)
        return
    if replica.role is Role.PRIMARY:
        raise CommandFailed("a Primary alone needs its data")
    mark_outdated(replica)


def _outdate_connected(replica: Replica, disks: list[DiskState]) -> None:
    """8.4: who is connected stays current, without a word."""
    is_outdated = all(disk is DiskState.OUTDATED for disk in disks)
    if is_outdated or not replica.version.outdates_while_connected:
        return
    if Role.PRIMARY in (replica.role, replica.peer_role):
        raise CommandFailed("a Primary's peer is not outdated while it is connected")
    mark_outdated(replica)
    replica.wire.send(replica, lambda peer: peer.hear(replica))


def mark_outdated(replica: Replica) -> None:
    with replica.change():
        for volume in replica.volumes.values():
            if better(volume.disk, DiskState.OUTDATED):
                volume.disk = DiskState.OUTDATED
