"""The rules about copying: what the owner notes before it, and what is begun anew. Pure."""

from tandem_actuator.core import authority as rules
from tandem_actuator.core.authority import Proposal
from tandem_actuator.core.decision import Decision, Start, Task, authority_of, drbd_of
from tandem_actuator.core.drbd import DrbdState
from tandem_actuator.core.mirror import procedures, transaction
from tandem_actuator.core.mirror.differences import (
    COPIES_WHEN_TOLD,
    is_asked_for_a_copy,
    was_copied_for,
)
from tandem_actuator.core.mirror.resync import is_to_be_renewed
from tandem_actuator.core.mirror.rules import COPY_FORGOTTEN_AFTER_S
from tandem_actuator.core.model import View
from tandem_api.reasons import Reason
from tandem_api.vocabulary import Role


def note_copy(view: View, now_s: float, wall: str) -> Decision | None:
    """What a peer lacks that DRBD does not copy is noted at once: 9 forgets it as the two meet.

    That it has is noted, too: what it finds out after that is not all. So is what the peer alone
    has seen, and says by its marker.
    """
    authority, drbd, record = authority_of(view), drbd_of(view), view.record
    if view.drbd_major < COPIES_WHEN_TOLD or view.unrecorded:
        return None
    owner = authority.owner == view.host and drbd.role is Role.PRIMARY
    has_bits = bool(drbd.out_of_sync_bytes)
    found = (has_bits or is_asked_for_a_copy(view)) and not record.owes_copy
    gone = record.owes_copy and not has_bits and not record.bits_gone
    if not (owner and drbd.in_sync and (found or gone)):
        return None
    return Start(
        Task.NOTE_COPY,
        Reason.NOT_YET_IN_SYNC,
        f"{rules.not_copied(drbd)}: noting that, before a copy is made",
        lambda: procedures.note_copy(gone=gone),
    )


def difference_found(view: View, now_s: float, wall: str) -> Decision | None:
    """Rule 8 beside an owner, where DRBD calls both current and has bits, as after a verification.

    The owner says so, too, but may not be able to: its host can die while the API is away.
    """
    drbd, marker = drbd_of(view), view.record.marker
    beside = authority_of(view).owner == view.peer and drbd.role is Role.SECONDARY
    if not (beside and drbd.in_sync and drbd.out_of_sync_bytes):
        return None
    if marker is not None and not was_copied_for(view):
        return None
    return Start(
        Task.SET_MARKER,
        Reason.DIFFERENCE_FOUND,
        f"{rules.not_copied(drbd)}: marking this replica as possibly stale",
        lambda: procedures.set_marker(view, Reason.DIFFERENCE_FOUND, wall),
    )


def owed(view: View, now_s: float, wall: str) -> Decision | None:
    """Before the replica is up, and whatever is not known: the other host may claim meanwhile.

    Without the API nobody can claim, and what is held up then can wait. But a Primary has more to
    do: it says so by ``degrade``, in its turn.
    """
    running = isinstance(view.drbd, DrbdState) and view.drbd.role is Role.PRIMARY
    if not view.record.owes_copy or view.unrecorded or running:
        return None
    verdict = rules.owed(view.mirror, transaction.facts_of(view), "")
    if not isinstance(verdict, Proposal):
        return None
    return Start(
        Task.DEGRADE,
        Reason.PEER_DISK_NOT_UP_TO_DATE,
        f"{view.peer} lacks what was not copied to it: saying so before anything depends on it",
        lambda: procedures.change_authority(
            view, rules.owed, Reason.PEER_DISK_NOT_UP_TO_DATE, "the peer is out until in sync"
        ),
    )


def copy_again(view: View, now_s: float, wall: str) -> Decision | None:
    """DRBD takes both for current, but has bits for what the peer lacks: it forgot to copy.

    A peer that is Primary too can be neither parted from nor copied to.
    """
    if drbd_of(view).peer_role is Role.PRIMARY:
        return None
    verdict = rules.copy_again(view.mirror, transaction.facts_of(view), "")
    since_s = view.in_sync_since_s
    if not isinstance(verdict, Proposal) or since_s is None:
        return None
    if now_s - since_s < COPY_FORGOTTEN_AFTER_S:
        return None
    return Start(
        Task.COPY_AGAIN,
        Reason.NOT_YET_IN_SYNC,
        f"{rules.not_copied(drbd_of(view))}: {_how_it_copies(view)}",
        lambda: procedures.copy_again(view),
    )


def _how_it_copies(view: View) -> str:
    if view.drbd_major >= COPIES_WHEN_TOLD:
        return "telling it to copy"
    return "connecting them anew, so that it copies"


def resync_again(view: View, now_s: float, wall: str) -> Decision | None:
    """It stands still, and DRBD itself never begins it anew while it is connected."""
    if not is_to_be_renewed(view, now_s):
        return None
    if drbd_of(view).role is Role.PRIMARY:
        verdict = rules.resync_again(view.mirror, transaction.facts_of(view), "")
        if not isinstance(verdict, Proposal):
            return None
    return Start(
        Task.RESYNC_AGAIN,
        Reason.RESYNC_STALLED,
        "the resync does not get on: connecting anew, so that it begins again",
        lambda: procedures.resync_again(view),
    )
