"""A disk that does not answer, neither well nor with an error. Called by ``replica`` and ``acts``.

Seen on 8.4.11 with a device mapper target that was suspended: DRBD waits for its own disk for
ever, and says that all is well; a Primary gives up a peer that does not answer a write; a disk that
was detached by force stays Failed for as long as it owes an answer, the kernel panics if one comes,
and a read that it owes is not asked of the peer before.
"""

from __future__ import annotations

from collections.abc import Collection
from copy import deepcopy
from typing import TYPE_CHECKING

from sim.drbd.state import Write, attached
from tandem_actuator.core.drbd import Traffic
from tandem_api.vocabulary import GONE_DISKS, DiskState

if TYPE_CHECKING:
    from sim.drbd.replica import Replica


def hang(replica: Replica, names: Collection[str], *, reads: bool = False) -> None:
    """What is written from now on is in the kernel alone, and so is DRBD's own metadata. ``reads``:
    the guest has to read before its next write.
    """
    for name in names:
        backing = replica.backings[name]
        if not (backing.broken or backing.hangs):
            backing.on_disk = deepcopy(backing)
            backing.to_read = reads


def answers(replica: Replica) -> None:
    """All that was written gets onto the disk, and whoever waits hears of it."""
    names = [name for name, backing in replica.backings.items() if backing.hangs]
    failed = [name for name, one in replica.volumes.items() if one.disk in GONE_DISKS]
    if set(failed) & set(names):
        replica.say("hears from a disk that it had given up")
        replica.panic()
        return
    for name in names:
        replica.backings[name].on_disk = None
    owed, replica.owed = replica.owed, {}
    for number, (_, acknowledged) in owed.items():
        write = replica.in_flight.get(number)
        if write is not None:
            replica.ended(write, acknowledged)
    _read_again(replica)
    arrived, replica.arrived = replica.arrived, []
    for write in arrived:
        replica.receive(write)


def fails(replica: Replica) -> None:
    """All that it owes ends with an error: DRBD gives it up, and asks the peer for what is read."""
    names = [name for name, backing in replica.backings.items() if backing.hangs]
    for name in names:
        replica.backings[name].forget()
    replica.fail_disk(names)
    _ended_by_the_peer(replica, names)
    _read_again(replica)


def _read_again(replica: Replica) -> None:
    for write in [one for one in replica.in_flight.values() if one.reads]:
        del replica.in_flight[write.number]
        write.reads = False
        replica.submit(write)


def _ended_by_the_peer(replica: Replica, names: Collection[str]) -> None:
    """What this side's disk owed is of no account any more."""
    for number, (at_peer, _) in list(replica.owed.items()):
        write = replica.in_flight.get(number)
        if write is None or write.volume in names:
            del replica.owed[number]
            if write is not None and at_peer:
                replica.ended(write, acknowledged=True)
    replica.arrived = [write for write in replica.arrived if write.volume not in names]


def detach(replica: Replica) -> None:
    """By force, the disks that hang. The guest goes on with the peer's, if there is one."""
    names = [
        name
        for name, volume in replica.volumes.items()
        if replica.backings[name].hangs and attached(volume.disk)
    ]
    with replica.change():
        for name in names:
            volume, owed = replica.volumes[name], len(_owed(replica, name))
            volume.disk = replica.version.given_up if owed else DiskState.DISKLESS
            volume.resyncing = False
            replica.backings[name].forget(hangs=True)
            replica.backings[name].owes = owed
    replica.say(f"gives its disks up by force: {', '.join(names)}")
    replica.wire.send(replica, lambda peer: peer.hear(replica))
    _ended_by_the_peer(replica, names)


def has_to_read(replica: Replica, write: Write) -> bool:
    """Whether this write waits for a read that the disk does not answer."""
    write.reads = replica.backings[write.volume].to_read and owes(replica, write)
    return write.reads


def owes(replica: Replica, write: Write) -> bool:
    """Whether its end waits for this side's own disk; on 9 also once that was given up by force."""
    disk = replica.volumes[write.volume].disk
    waits = attached(disk) or disk is DiskState.DETACHING
    return replica.backings[write.volume].hangs and waits


def arrived(replica: Replica, write: Write) -> None:
    """From the peer, for a disk that does not answer: in time the peer gives up."""
    replica.arrived.append(write)
    session = replica.session

    def given_up() -> None:
        if replica.arrived and replica.session == session:
            replica.say("answers no write: its peer gives it up")
            replica.wire.hang_up(replica)

    replica.wire.later(replica, replica.wire.given_up_s(), given_up)


def _owed(replica: Replica, name: str) -> list[Write]:
    asked = (*replica.in_flight.values(), *replica.arrived)
    return [write for write in asked if write.volume == name]


def traffic(replica: Replica, name: str) -> Traffic:
    """As the kernel counts it. A read that waits to be asked of the peer counts as ended there."""
    volume, backing = replica.volumes[name], replica.backings[name]
    here = [one for one in (*replica.in_flight.values(), *replica.blocked) if one.volume == name]
    reads = [one for one in here if one.reads]
    return Traffic(
        asked=len(here),
        reads=len(reads) if attached(volume.disk) else 0,
        writes=len(here) - len(reads),
        written=volume.written,
        at_disk=max(backing.owes, len(_owed(replica, name))) if backing.hangs else 0,
        moved=volume.moved,
    )
