"""What a host does to a mirror and its guest, step by step, as generators of effects.

Each procedure yields effects, hears their outcomes and ends with a Finished. It holds no state
between two runs: whatever it did is seen again in the next view, so a crash between any two
effects leaves something that ``decide`` can go on from. The order of the effects is the point of
each procedure and is argued where it is not obvious. ``decide`` chooses which one runs.
"""

from collections.abc import Generator
from dataclasses import replace

from tandem_actuator.core import authority as rules
from tandem_actuator.core.authority import Refusal
from tandem_actuator.core.drbd import DrbdState
from tandem_actuator.core.effects import (
    Adjust,
    CheckFiles,
    Connect,
    CopyToPeer,
    CutNetwork,
    Demote,
    DestroyGuest,
    Disconnect,
    DrbdRead,
    Effect,
    Failed,
    Finished,
    GenerationsRead,
    MirrorRead,
    Outcome,
    Procedure,
    QueryDrbd,
    ReadGenerations,
    ReadMirror,
    ResumeIo,
    UpdateRecord,
)
from tandem_actuator.core.mirror.differences import COPIES_WHEN_TOLD, asked
from tandem_actuator.core.mirror.diverged import may_discard
from tandem_actuator.core.mirror.resync import may_part
from tandem_actuator.core.mirror.transaction import Proposer, Won, failed, refused, transact, words
from tandem_actuator.core.model import View
from tandem_api.kinds.mirror import Marker
from tandem_api.reasons import Reason
from tandem_api.vocabulary import Role


def sequence(reason: Reason, message: str, *steps: tuple[str, Effect]) -> Procedure:
    """Effects one after another; the first that fails ends it."""
    for what, effect in steps:
        outcome = yield effect
        if isinstance(outcome, Failed):
            return failed(what, outcome)
    return Finished(reason, message, progress=True)


def set_marker(view: View, reason: Reason, wall: str) -> Procedure:
    """Rule 8: this replica must not be promoted until it was in sync again."""
    marker = Marker(reason=reason, since=wall)
    return (
        yield from sequence(
            reason,
            "marked this replica as possibly stale",
            ("the durable record", UpdateRecord(marker=marker)),
        )
    )


def clear_marker(view: View) -> Procedure:
    """Rule 8: only on a fresh sight of everything connected and UpToDate."""
    fresh = yield QueryDrbd()
    if not isinstance(fresh, DrbdRead) or not isinstance(fresh.drbd, DrbdState):
        return Finished(Reason.UNKNOWN_STATE, "DRBD does not tell its state", progress=False)
    if not fresh.drbd.in_sync:
        return Finished(Reason.NOT_YET_IN_SYNC, "not in sync any more", progress=False)
    if fresh.drbd.out_of_sync_bytes:
        return Finished(Reason.NOT_YET_IN_SYNC, rules.not_copied(fresh.drbd), progress=False)
    return (
        yield from sequence(
            Reason.IN_SYNC,
            "in sync: the marker is cleared",
            ("the durable record", UpdateRecord(marker=None)),
        )
    )


def note_epoch(view: View) -> Procedure:
    """Remember the highest epoch seen, so that a regression is noticed after a reboot too.

    Who is not the owner any more owes nothing: what the other one has counts. So it is where a
    person has said so.
    """
    authority = view.mirror.status.authority
    assert authority is not None
    override = authority.override
    given = not authority.owner and override is not None and override.host == view.peer
    theirs = authority.owner == view.peer or given
    outcome = yield UpdateRecord(
        epoch=authority.epoch,
        incarnation=authority.incarnation,
        owes_copy=False if theirs else None,
        bits_gone=False if theirs else None,
    )
    if not isinstance(outcome, Failed):
        return Finished(Reason.STEADY, f"noted epoch {authority.epoch}", progress=True)
    assignment = view.guest.status.assignment if view.guest else None
    awaited = assignment is not None and assignment.host == view.host and not view.guest_may_run
    if not (view.unrecorded and awaited):
        return failed("the durable record", outcome)
    why = f"{view.host} cannot start it: {view.unrecorded}. It is tried again by itself"
    return Finished(Reason.START_REFUSED, why, progress=True, failed=True)


def restore(view: View) -> Procedure:
    """Say that both replicas count (rule 7), and note of which generation that was said.

    It is read first: a write that is acknowledged by one alone afterwards begins another.
    """
    noted = yield from read_generations()
    won = yield from transact(view, rules.restore)
    if isinstance(won, Refusal):
        return refused(won)
    return (yield from sequence(Reason.IN_SYNC, "mirrored", ("the durable record", noted)))


def read_generations() -> Generator[Effect, Outcome, UpdateRecord]:
    """What to note of them: nothing of one that is not known, or that the peer does not have."""
    read = yield ReadGenerations()
    found = read.generations if isinstance(read, GenerationsRead) else {}
    both = {name: each.current for name, each in found.items() if not each.parted}
    return UpdateRecord(generations=both)


def change_authority(view: View, propose: Proposer, reason: Reason, message: str) -> Procedure:
    """One swap and nothing else: degrade, adopt, release, withdraw."""
    won = yield from transact(view, propose)
    return refused(won) if isinstance(won, Refusal) else Finished(reason, message, progress=True)


def listen(why: str) -> Procedure:
    """Whether the API answers at all, where it confirms no heartbeat: the shell counts that."""
    read = yield ReadMirror()
    if not isinstance(read, MirrorRead):
        return Finished(Reason.API_UNREACHABLE, words(read), progress=False, failed=True)
    return Finished(Reason.START_FAILED, why, progress=False, failed=True)


def demote(view: View) -> Procedure:
    """Make the device Secondary once nothing holds it."""
    return (yield from sequence(Reason.DEMOTING, "device is Secondary", ("demote", Demote())))


def fence(view: View) -> Procedure:
    """Rule 11, in this order: a frozen guest cannot be killed at once, but it can be silenced."""
    failed: list[str] = []
    for what, effect in (
        ("cutting its network", CutNetwork()),
        ("destroying it", DestroyGuest()),
        ("demoting its device", Demote()),
    ):
        outcome = yield effect
        if isinstance(outcome, Failed):
            failed.append(f"{what}: {outcome.message}")
    if failed:
        return Finished(Reason.SELF_FENCING, "; ".join(failed), progress=True, failed=True)
    return Finished(Reason.SELF_FENCED, "stopped the guest", progress=True)


def rejoin(view: View, *, discard: bool) -> Procedure:
    """Connect from StandAlone. Discarding needs the authority's word that the peer has it all."""
    if discard:
        read = yield ReadMirror()
        if not isinstance(read, MirrorRead):
            return Finished(Reason.API_UNREACHABLE, words(read), progress=False, failed=True)
        if not may_discard(read.mirror.status.authority, replace(view, record=read.record)):
            why = "the authority does not allow to discard"
            return Finished(Reason.SPLIT_BRAIN, why, progress=False)
        stored = yield UpdateRecord(marker=Marker(reason=Reason.REJOINING))
        if isinstance(stored, Failed):
            return failed("the durable record", stored)
    return (
        yield from sequence(
            Reason.REJOINING,
            "connecting to the peer" + (", discarding what only this side has" if discard else ""),
            # Ends whose options differ refuse each other for ever.
            ("adjust", Adjust()),
            ("connect", Connect(discard_my_data=discard)),
        )
    )


def thaw_to_discard(view: View) -> Procedure:
    """Let a frozen, taken-over Primary's dead guest go, so that its device can be closed.

    The guest's network is cut and it is being killed; the write that is pending ends in a replica
    that is about to be discarded. The authority is asked first: a thaw that were not backed by
    the peer's ownership would be a second writer.
    """
    read = yield ReadMirror()
    if not isinstance(read, MirrorRead):
        return Finished(Reason.API_UNREACHABLE, words(read), progress=False, failed=True)
    authority = read.mirror.status.authority
    if authority is None or authority.owner != view.peer or authority.may_own(view.host):
        return Finished(Reason.STEADY, "the authority does not allow to thaw", progress=False)
    stored = yield UpdateRecord(epoch=authority.epoch, marker=Marker(reason=Reason.TAKEN_OVER))
    if isinstance(stored, Failed):
        return failed("the durable record", stored)
    return (
        yield from sequence(
            Reason.REJOINING,
            "thawed the dead guest's device",
            ("cut network", CutNetwork()),
            ("thaw", ResumeIo()),
        )
    )


def unread(host: str, why: str) -> str:
    """What to tell where drbdadm cannot read its files, and what helps."""
    return (
        f"DRBD's files cannot be read on {host}, so that DRBD could not ask whether it may go on"
        f" alone: {why}. Correct or remove what is named, until drbdadm sh-nop says nothing there"
    )


def ask_again(view: View) -> Procedure:
    """Make DRBD ask its fence-peer handler again: it does so once per loss, and never by itself.

    Needed where the first answer was no, or got lost with the program that was to give it. To
    disconnect from a peer that is back is a graceful goodbye, and it may come back after any look:
    so leave to write alone is won first (rule 9).
    """
    fresh = yield QueryDrbd()
    if not isinstance(fresh, DrbdRead) or not isinstance(fresh.drbd, DrbdState):
        return Finished(Reason.UNKNOWN_STATE, "DRBD does not tell its state", progress=False)
    if not fresh.drbd.frozen:
        return Finished(Reason.LINK_IS_BACK, "not frozen any more", progress=False)
    checked = yield CheckFiles()
    if isinstance(checked, Failed):  # leave would lead to nothing, and keep the other host out
        why = unread(view.host, checked.message)
        return Finished(Reason.EFFECT_FAILED, why, progress=False, failed=True)
    won = yield from transact(view, rules.grant_link_loss)
    if not isinstance(won, Won):
        return refused(won)
    return (yield from _connect_anew("connected anew, so that DRBD asks again", Disconnect()))


def note_copy(*, gone: bool) -> Procedure:
    """That the peer lacks something, before DRBD 9 may forget it; or that it has, if ``gone``."""
    noted = UpdateRecord(bits_gone=True) if gone else UpdateRecord(owes_copy=True)
    return (yield from sequence(Reason.NOT_YET_IN_SYNC, "noted", ("the durable record", noted)))


def copy_again(view: View) -> Procedure:
    """Have DRBD make a copy that it has forgotten.

    On 8.4 by connecting anew: a Primary that disconnects begins a generation. For a moment only its
    host's heartbeat lets the guest run then, so that must be fresh. On 9 it begins one with its
    next write only; parted without one, DRBD clears the bits and copies nothing. There it is told.
    """
    won = yield from transact(view, rules.copy_again)
    if not isinstance(won, Won):
        return refused(won)
    if view.drbd_major >= COPIES_WHEN_TOLD:
        return (yield from _tell_to_copy(view, won))
    first = Disconnect(needs_heartbeat=True)
    return (yield from _connect_anew("connected anew, so that DRBD copies", first))


def _tell_to_copy(view: View, won: Won) -> Procedure:
    """What the bits say; all, if they are gone, or were since it was noted that they are there.

    From then on the peer's own disk says that it is not current, durably, until it has everything:
    the note is not needed any more.
    """
    fresh = yield QueryDrbd()
    if not isinstance(fresh, DrbdRead) or not isinstance(fresh.drbd, DrbdState):
        return Finished(Reason.UNKNOWN_STATE, "DRBD does not tell its state", progress=False)
    whole = view.record.bits_gone or not fresh.drbd.out_of_sync_bytes
    answered = asked(won.mirror, view.peer) or None
    paid = UpdateRecord(owes_copy=False, bits_gone=False, copied_for=answered)
    return (
        yield from sequence(
            Reason.NOT_YET_IN_SYNC,
            "told DRBD to copy whole disks" if whole else "told DRBD to copy",
            ("copy", CopyToPeer(whole)),
            ("the durable record", paid),
        )
    )


def resync_again(view: View) -> Procedure:
    """Connect anew where a resync stands still, so that DRBD begins it again."""
    fresh = yield QueryDrbd()
    if not isinstance(fresh, DrbdRead) or not isinstance(fresh.drbd, DrbdState):
        return Finished(Reason.UNKNOWN_STATE, "DRBD does not tell its state", progress=False)
    if not may_part(replace(view, drbd=fresh.drbd)):
        return Finished(Reason.STEADY, "that resync has ended", progress=False)
    first = Disconnect()
    if fresh.drbd.role is Role.PRIMARY:
        won = yield from transact(view, rules.resync_again)
        if not isinstance(won, Won):
            return refused(won)
        first = Disconnect(needs_heartbeat=True)
    return (yield from _connect_anew("connected anew, so that the resync begins again", first))


def _connect_anew(message: str, first: Disconnect) -> Procedure:
    return (
        yield from sequence(
            Reason.CONNECTING, message, ("disconnect", first), ("connect", Connect())
        )
    )
