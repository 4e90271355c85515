"""What one replica lacks is copied from the other, and what may happen to a copy.

At its end the target knows first, the source one latency later, as in DRBD. Called by ``pair``.
"""

from __future__ import annotations

from enum import Enum, auto
from typing import TYPE_CHECKING

from sim.drbd.state import attached
from tandem_actuator.ports import CommandFailed
from tandem_api.vocabulary import DiskState

if TYPE_CHECKING:
    from sim.drbd.pair import Pair
    from sim.drbd.replica import Replica

RESYNC_BASE_S = 0.2
COPY_BEGINS_S = (0.05, 0.5)


class CopyEnds(Enum):
    """8.4 kernels have been seen to miss the end of a copy, until they connect anew."""

    WELL = auto()
    ON_NEITHER = auto()
    UNHEARD = auto()


def forget_bits(name: str, one: Replica, two: Replica) -> None:
    """Of replicas of one generation, as they meet."""
    disks = (one.volumes[name].disk, two.volumes[name].disk)
    if one.version.meeting_clears_bits and all(map(attached, disks)):
        for replica in (one, two):
            backing = replica.backings[name]
            replica.volumes[name].ahead = backing.bitmap = backing.bits = 0


def verify(pair: Pair, replica: Replica, name: str) -> None:
    """What differs is noted at both ends, and not copied. Raises: CommandFailed."""
    peer = pair.peer_now(replica)
    if peer is None:
        raise CommandFailed("not connected")
    for one in (replica, peer):
        differ = len(replica.holds(name) ^ peer.holds(name))
        one.volumes[name].ahead += differ
        one.backings[name].bits += differ
        one.changed(one)


def copy_to_peer(pair: Pair, replica: Replica, *, whole: bool) -> None:
    """Just what the bits say, or all, while both stay connected. Raises: CommandFailed."""
    if not replica.version.copies_when_told:
        raise CommandFailed("DRBD 8.4 copies whole disks only when told to; connect it anew")
    peer = pair.peer_now(replica)
    idle = {name: v for name, v in replica.volumes.items() if not v.resyncing}
    lacking = [name for name, volume in idle.items() if whole or volume.ahead]
    if peer is None or not lacking:
        raise CommandFailed("DRBD knows of nothing that its peer lacks")
    for name in lacking:
        replica.backings[name].bitmap = pair.new_generation()
        with replica.change():
            volume = replica.volumes[name]
            volume.peer_disk, volume.resyncing = DiskState.INCONSISTENT, True
        with peer.change():
            volume = peer.volumes[name]
            volume.disk, volume.resyncing = DiskState.INCONSISTENT, True
        copy(pair, name, replica, peer, replica.session)


def compare_bitmaps(pair: Pair, name: str, source: Replica, target: Replica, session: int) -> None:
    """Before a copy between equal generations. If the link is lost now, the kernel has
    forgotten that there was something to copy, but for the bits that it holds."""
    if source.version.forgets_copies:
        source.backings[name].bitmap = target.backings[name].bitmap = 0

    def seen(disk: DiskState, peer_disk: DiskState) -> None:
        with target.change():
            target.volumes[name].disk = disk
        with source.change():
            source.volumes[name].peer_disk = peer_disk

    def begin() -> None:
        both = (source.volumes[name].disk, target.volumes[name].disk)
        if not (target.session == session == source.session and all(map(attached, both))):
            return
        if not pair.path_up():
            pair.kernel.after(0.1, pair.sides[source.host].group, begin)
        else:
            source.backings[name].bitmap = pair.new_generation()
            seen(DiskState.INCONSISTENT, DiskState.INCONSISTENT)
            copy(pair, name, source, target, session)

    seen(DiskState.OUTDATED, DiskState.CONSISTENT)
    pair.happened(source.host, "Compared")
    begins_s = pair.kernel.between(*COPY_BEGINS_S)
    pair.kernel.after(begins_s, pair.sides[source.host].group, begin)


def copy(pair: Pair, name: str, source: Replica, target: Replica, session: int) -> None:
    missing = len(source.holds(name) ^ target.holds(name))
    duration_s = pair.resync_s if missing else RESYNC_BASE_S

    def same() -> bool:
        return target.session == session and source.session == session

    def finish() -> None:
        if not same() or target.volumes[name].disk is not DiskState.INCONSISTENT:
            return
        if not attached(source.volumes[name].disk):
            # There is nothing to copy from any more: it stays as it is, half a copy.
            source.volumes[name].resyncing = target.volumes[name].resyncing = False
            return
        if not pair.path_up() or pair.network.narrow or source.sync_paused or target.sync_paused:
            pair.kernel.after(0.2, pair.sides[target.host].group, finish)
            return
        ends, pair.next_copy = pair.next_copy, CopyEnds.WELL
        if ends is CopyEnds.ON_NEITHER:
            pair.say("a copy stands still at 100 %")
            pair.stalled.append(finish)
        else:
            _copied(pair, name, source, target, heard=ends is CopyEnds.WELL)

    pair.kernel.after(duration_s, pair.sides[target.host].group, finish)


def end_stalled(pair: Pair) -> None:
    """Copies end as they should, also those that stand still."""
    pair.next_copy = CopyEnds.WELL
    stalled, pair.stalled = pair.stalled, []
    for end in stalled:
        end()


def _copied(pair: Pair, name: str, source: Replica, target: Replica, *, heard: bool) -> None:
    """The target is done. The source hears of it by a packet.

    What the target, as Primary, has written and sent is not copied over: DRBD locks it.
    """
    theirs, mine = source.backings[name], target.backings[name]
    under_way = {w.number for w in target.in_flight.values() if w.volume == name}
    mine.data.intersection_update(under_way)
    mine.data.update(theirs.data)
    mine.history |= theirs.history | {mine.current}
    mine.current, mine.bitmap, mine.bits = theirs.current, 0, 0
    volume = target.volumes[name]
    volume.disk, volume.resyncing, volume.ahead = DiskState.UP_TO_DATE, False, 0

    def source_done(peer: Replica) -> None:
        peer.volumes[name].resyncing, peer.volumes[name].ahead = False, 0
        peer.backings[name].bitmap = peer.backings[name].bits = 0
        peer.volumes[name].cold = True
        peer.hear(target)
        peer.volumes[name].crashed = False

    pair.say(f"{target.host} is up to date")
    if heard:
        pair.send(target, source_done)
    else:
        pair.say(f"{source.host} misses the end of a copy")
        session = target.session
        pair.stalled.append(
            lambda: pair.send(target, source_done) if target.session == session else None
        )
    pair.happened(target.host, "Copied")
    volume.crashed &= target.version.remembers_crash_after_copy
    target.save()
    volume.crashed = False
    target.changed(target)
