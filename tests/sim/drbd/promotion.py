"""Making a replica Primary, with the handler that may have to be asked. Called by ``replica``."""

from __future__ import annotations

from collections.abc import Generator
from typing import TYPE_CHECKING

from sim.drbd.disk import better
from sim.drbd.generations import is_alone
from sim.drbd.state import attached, may_be_current
from sim.engine.kernel import Command, Sleep
from tandem_actuator.ports import CommandFailed
from tandem_api.vocabulary import DiskState, Role

if TYPE_CHECKING:
    from sim.drbd.replica import Replica

PROMOTION_TRIES = 4


def promote(replica: Replica, *, force: bool) -> Generator[Command, bool, None]:
    """Raises: CommandFailed."""
    yield Sleep(0.05)
    make_current = expect_outdated = False
    asked, version = 0, replica.version
    for _ in range(PROMOTION_TRIES):
        while replica.wire.committing(replica):
            yield Sleep(0.05)  # a request to a peer that does not answer waits
        if replica.role is Role.PRIMARY:
            return
        disks = [v.disk for v in replica.volumes.values()]
        current = make_current or all(disk is DiskState.UP_TO_DATE for disk in disks)
        if _lacks_data(replica, current=current):
            if force and all(better(disk, DiskState.NEGOTIATING) for disk in disks):
                make_current = True
                expect_outdated = not version.force_asks_for_consistent
            elif asked == version.asks_per_promotion:
                break
            elif DiskState.CONSISTENT in disks and DiskState.INCONSISTENT not in disks:
                asked += 1
                make_current = yield from _fence_peer(replica)
            else:
                break
        elif not replica.connected and not expect_outdated and replica.peer_may_be_current:
            if asked == version.asks_per_promotion:
                break
            asked += 1
            fenced = yield from _fence_peer(replica)
            expect_outdated = force and not fenced
        else:
            _promoted(replica, make_current=make_current, forced=force and make_current)
            while replica.hangs:
                yield Sleep(0.05)  # it is Primary, and its metadata are not written
            return
    raise CommandFailed("promotion was refused")


def _lacks_data(replica: Replica, *, current: bool) -> bool:
    """Whether a Primary here would have no data. Raises: CommandFailed if the peer is one."""
    if not replica.connected:
        return not current
    if replica.peer_role is Role.PRIMARY and not replica.two_primaries:
        raise CommandFailed("multiple primaries not allowed by config")
    return not current and any(
        not better(v.disk, DiskState.INCONSISTENT)
        and not better(v.peer_disk, DiskState.INCONSISTENT)
        for v in replica.volumes.values()
    )


def _fence_peer(replica: Replica) -> Generator[Command, bool, bool]:
    """The handler, while the promotion waits. Whether the peer is out."""
    if not replica.may_ask:
        return False
    connects, replica.deciding = replica.connects, replica.version.promotion_holds_handshake
    code = yield from replica.ask_handler(replica)
    replica.deciding = False
    if replica.connected or connects != replica.connects:
        return False
    return replica.heed(code)


def _promoted(replica: Replica, *, make_current: bool, forced: bool) -> None:
    with replica.change():
        replica.role, replica.discard = Role.PRIMARY, False
        for volume in replica.volumes.values():
            volume.cold = True
            if make_current and attached(volume.disk):
                volume.disk = DiskState.UP_TO_DATE
            if not replica.connected and may_be_current(volume.peer_disk):
                volume.peer_disk = DiskState.OUTDATED  # forced
    for name, volume in replica.volumes.items():
        alone = not replica.connected or not better(volume.peer_disk, DiskState.FAILED)
        forgets = replica.version.force_begins_two_generations or not alone
        if forced and forgets and attached(volume.disk):
            replica.backings[name].rotate_again(replica.wire.new_generation())
        elif alone and attached(volume.disk):
            is_alone(replica, name)
    replica.say("is Primary")
    replica.save()
    replica.wire.send(replica, lambda peer: peer.hear(replica))
