"""Whether what is under way gets on: pure, from one look to the next.

A device can stand still while every state of DRBD looks well: its own disk does not answer, neither
well nor with an error, or DRBD itself waits for something. DRBD waits for its own disk for ever.
Called by ``workload`` with every look, and by ``report``.
"""

from collections.abc import Iterable, Mapping

from tandem_actuator.core.drbd import DrbdState, DrbdUnknown, DrbdView, Standstill, Still, Traffic
from tandem_actuator.core.mirror import fruitless

STALLED_AFTER_S = 10.0
"""DRBD itself gives up a peer that takes a write and does not answer within some 5 s."""


def followed(
    before: Standstill, drbd: DrbdView, now_s: float, wall: str, detection_s: float | None = None
) -> Standstill:
    """What is known after this look. ``detection_s`` as in ``fruitless``.

    What is under way at two looks, while nothing has ended between them, was so all the time.
    Requests that DRBD holds back, as it tells by itself, count anew once it lets them go on.
    """
    if isinstance(drbd, DrbdUnknown):
        return before
    if not isinstance(drbd, DrbdState):
        return Standstill() if before != Standstill() else before
    link = fruitless.followed(before.link, drbd, now_s, wall, detection_s)
    passing = [(name, volume.traffic) for name, volume in drbd.volumes.items()]
    asking = [] if drbd.suspended else passing
    reads = [(name, _reads_ended(one)) for name, one in asking if one.reads or _is_unseen(one)]
    writes = [(name, one.written) for name, one in asking if one.writes]
    disks = [(name, one.moved) for name, one in passing if one.at_disk]
    if not (reads or writes or disks or before.is_under_way):
        return before if link is before.link else Standstill(link=link)
    return Standstill(
        reads=_still(before.reads, reads, now_s, wall),
        writes=_still(before.writes, writes, now_s, wall),
        disks=_still(before.disks, disks, now_s, wall),
        link=link,
    )


def _is_unseen(traffic: Traffic) -> bool:
    """DRBD has something to answer that the block layer takes for ended: a read that is to be asked
    of the peer once the own disk, which was given up, has answered it.
    """
    return bool(traffic.asked) and not (traffic.reads or traffic.writes)


def _reads_ended(traffic: Traffic) -> int:
    return traffic.read if traffic.reads else traffic.read + traffic.written


def _still(
    before: Mapping[str, Still], counts: Iterable[tuple[str, int]], now_s: float, wall: str
) -> Mapping[str, Still]:
    now = {name: Still(count, now_s, wall) for name, count in counts}
    same = {name: old for name, old in before.items() if name in now and old.at == now[name].at}
    return {**now, **same}


def stalled_since(
    still: Still | None, now_s: float, after_s: float = STALLED_AFTER_S
) -> str | None:
    """Since when it does not get on, as people write it; None if it does."""
    if still is None or now_s - still.since_s < after_s:
        return None
    return still.since


def reads_stalled_since(standstill: Standstill, volume: str, now_s: float) -> str | None:
    """The same of the guest's reads. Beside a disk that hangs they are told at once: such a disk
    must not be given up.
    """
    hangs = stalled_since(standstill.disks.get(volume), now_s) is not None
    return stalled_since(standstill.reads.get(volume), now_s, 0.0 if hangs else STALLED_AFTER_S)
