"""Whether a resync gets on: pure, from one look to the next.

DRBD 8.4 can miss the end of a resync: it stands at 100 %, with nothing out of sync, for ever, on
the source alone or on both sides. One that copies nothing at all, for whatever reason, looks the
same from here. Called by ``workload`` with every look, and by the rules.
"""

from dataclasses import replace

from tandem_actuator.core.drbd import DrbdState, DrbdUnknown, DrbdView
from tandem_actuator.core.model import Resync, View
from tandem_api.vocabulary import DiskState, Role

STALLED_AFTER_S = 60.0
"""DRBD copies 250 KiB/s at the very least, however busy the disks are: a block each look."""
PRIMARY_WAITS = 2
"""A Secondary can connect anew without a risk to the guest: it may try first."""
DOUBLINGS = 5
"""What did not help is tried more and more rarely, in the end every 32 minutes."""


def followed(before: Resync | None, drbd: DrbdView, now_s: float, wall: str) -> Resync | None:
    """What is known after this look. None: no resync is under way, nor to be expected."""
    if isinstance(drbd, DrbdUnknown):
        return before
    if not isinstance(drbd, DrbdState) or drbd.in_sync:
        return None
    left = left_bytes(drbd)
    if left is None:
        return before and replace(before, left_bytes=None, moved_at_s=now_s, moved_at=wall)
    if before is None:
        return Resync(left, now_s, wall)
    if before.left_bytes is None or left < before.left_bytes:
        return replace(before, left_bytes=left, moved_at_s=now_s, moved_at=wall)
    return before


def left_bytes(drbd: DrbdState) -> int | None:
    """What a resync under way has still to copy; None without one. A verify is none."""
    copied = [
        volume.out_of_sync_bytes
        for volume in drbd.volumes.values()
        if volume.resyncing
        and {volume.disk, volume.peer_disk} == {DiskState.INCONSISTENT, DiskState.UP_TO_DATE}
    ]
    return sum(copied) if copied and drbd.connected else None


def stalled_since(resync: Resync | None, now_s: float) -> str | None:
    """Since when it has not moved, as people write it; None while it does."""
    if resync is None or resync.left_bytes is None or now_s - resync.moved_at_s < STALLED_AFTER_S:
        return None
    return resync.moved_at


def is_to_be_renewed(view: View, now_s: float) -> bool:
    """Whether this host is to connect anew now, which makes DRBD begin the resync again."""
    resync, drbd = view.resync, view.drbd
    if resync is None or not isinstance(drbd, DrbdState) or not may_part(view):
        return False
    waits = 1 << min(resync.renewals, DOUBLINGS)
    if drbd.role is Role.PRIMARY:
        waits *= PRIMARY_WAITS
    return now_s - resync.moved_at_s >= waits * STALLED_AFTER_S


def may_part(view: View) -> bool:
    """Whether a resync is under way that this host may interrupt.

    Not under a guest whose data come from the peer. A Secondary that parts from a Primary has noted
    before that it is behind; a Primary asks the authority besides.
    """
    drbd = view.drbd
    if not isinstance(drbd, DrbdState) or left_bytes(drbd) is None:
        return False
    if drbd.role is Role.PRIMARY:
        return drbd.own_up_to_date
    alone = drbd.peer_role is Role.SECONDARY
    return drbd.role is Role.SECONDARY and (alone or view.record.marker is not None)
