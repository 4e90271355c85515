"""When a new generation of the data begins: who keeps the only copy while somebody writes.

Called by ``replica``, ``promotion``.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from sim.drbd.disk import better
from sim.drbd.state import Moment, attached, lost_contact
from tandem_api.vocabulary import DiskState, Role

if TYPE_CHECKING:
    from sim.drbd.replica import Replica


def begin(replica: Replica, before: Moment) -> None:
    """Who keeps the only copy while somebody writes begins a new generation of the data."""
    for name, volume in replica.volumes.items():
        if volume.disk is not DiskState.UP_TO_DATE or replica.backings[name].bitmap:
            continue
        lost = lost_contact(before.peer_disk(name), volume.peer_disk)
        if lost and Role.PRIMARY in (replica.role, replica.peer_role):
            if replica.suspended:
                volume.generation_due = True
            else:
                is_alone(replica, name)
        diskless_peer = not better(volume.peer_disk, DiskState.NEGOTIATING)
        promoted = replica.peer_role is Role.PRIMARY and before.peer_role is not Role.PRIMARY
        if diskless_peer and promoted:
            is_alone(replica, name)


def is_alone(replica: Replica, name: str) -> None:
    """A generation begins, at once or with what is written next."""
    if replica.version.begins_with_next_write:
        replica.volumes[name].begins_with_write = True
    else:
        rotate(replica, name)


def before_a_write(replica: Replica, name: str) -> None:
    """That ends without the peer."""
    if replica.volumes[name].begins_with_write:
        replica.volumes[name].begins_with_write = False
        rotate(replica, name)


def rotate(replica: Replica, name: str) -> None:
    backing, volume = replica.backings[name], replica.volumes[name]
    backing.rotate(replica.wire.new_generation())
    if attached(volume.disk):
        volume.expects = backing.current
    replica.wire.send(replica, lambda peer: learn(peer, name, replica))


def learn(replica: Replica, name: str, peer: Replica) -> None:
    """The peer's current generation. Without a disk of one's own it is the one to work with."""
    if not attached(replica.volumes[name].disk) and replica.role is Role.PRIMARY:
        volume = replica.volumes[name]
        volume.expects, volume.follows = peer.backings[name].current, not volume.met


def begin_due(replica: Replica) -> None:
    for name, volume in replica.volumes.items():
        if volume.generation_due and attached(volume.disk):
            rotate(replica, name)
        elif volume.generation_due:
            volume.expects = replica.wire.new_generation()
        volume.generation_due = False
