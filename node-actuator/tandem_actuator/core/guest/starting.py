"""A host becomes the owner of a mirror, then Primary, and starts its guest: effects, step by step.

As in ``procedures``, the order is the point. ``decide`` chooses when (``rules``).
"""

from collections.abc import Generator
from dataclasses import replace

from tandem_actuator.core import authority as rules
from tandem_actuator.core.authority import Facts, Refusal, Verdict
from tandem_actuator.core.drbd import DrbdState
from tandem_actuator.core.effects import (
    CheckFiles,
    Disconnect,
    DrbdRead,
    Effect,
    Failed,
    Finished,
    HeartbeatRead,
    Outcome,
    Procedure,
    Promote,
    QueryDrbd,
    ReadHeartbeat,
    StartGuest,
    UpdateRecord,
    Wait,
)
from tandem_actuator.core.mirror.procedures import read_generations, sequence, unread
from tandem_actuator.core.mirror.transaction import Won, failed, refused, transact, words
from tandem_actuator.core.model import View
from tandem_api.authority import Mode
from tandem_api.kinds.guest import ProofKind
from tandem_api.kinds.mirror import Mirror
from tandem_api.lease import Heartbeat
from tandem_api.reasons import Reason
from tandem_api.vocabulary import Role

START_PAUSES_S = (1.0, 3.0)
"""Between tries to start a guest on one claim."""
_NEEDS_HEARTBEAT = {ProofKind.LEASE_LOST, ProofKind.REBOOTED, ProofKind.POWERED_OFF}


def claim_and_start(view: View) -> Procedure:
    """Become owner, then Primary, then start the guest (rules 6 and 14).

    One claim is good for several tries: whether it still is, the driver asks before each. What was
    sent here before is gone, and the guest is not to be taken for that as soon as it stands still.
    """
    return (yield from _unfit_alone(view)) or (yield from _claimed_and_started(view))


def claim_what_runs(view: View) -> Procedure:
    """It was sent here as it ran, and who has sent it is lost. DRBD asks for the rest."""
    won = yield from _claimed(view)
    if isinstance(won, Finished):
        return won
    cleared = ("the durable record", UpdateRecord(incoming=None))
    return (yield from sequence(Reason.CLAIMED, "owns what runs here", cleared))


def _claimed(view: View) -> Generator[Effect, Outcome, Won | Finished]:
    assignment = view.guest.status.assignment if view.guest else None
    heartbeat: Heartbeat | None = None
    if assignment and assignment.proof and assignment.proof.kind in _NEEDS_HEARTBEAT:
        read = yield ReadHeartbeat(view.peer)
        if not isinstance(read, HeartbeatRead):
            return Finished(Reason.API_UNREACHABLE, words(read), progress=False, failed=True)
        heartbeat = read.heartbeat
        if heartbeat is None:
            return Finished(Reason.LEASE_CHANGED, f"{view.peer} has no lease", progress=False)

    def propose(mirror: Mirror, facts: Facts, request_id: str) -> Verdict:
        return rules.claim(mirror, facts, assignment, heartbeat, request_id)

    won = yield from transact(view, propose)
    return refused(won) if isinstance(won, Refusal) else won


def _claimed_and_started(view: View) -> Procedure:
    won = yield from _claimed(view)
    if isinstance(won, Finished):
        return won
    noted = yield from _claimed_of(view, won)
    if not (isinstance(view.drbd, DrbdState) and view.drbd.role is Role.PRIMARY):
        outcome = yield from _promoted(view, won)
        if isinstance(outcome, Failed):
            return failed("promote", outcome)
        beside = yield from _beside_another(view)
        if beside is not None:
            return beside
    stored = yield replace(noted, started_boot_id=view.instance.boot_id, incoming=None)
    if isinstance(stored, Failed):
        return failed("the durable record", stored)
    started = yield from _tried(won.since_s)
    if isinstance(started, Failed):
        return _not_started(started)
    return Finished(Reason.STARTING, "guest started", progress=True)


def _unfit_alone(view: View) -> Generator[Effect, Outcome, Finished | None]:
    """Why no claim is to be made without the peer: the promotion would ask, and drbdadm starts what
    answers. A claim that leads to nothing would keep the other host from going on.
    """
    if isinstance(view.drbd, DrbdState) and (view.drbd.connected or view.drbd.role is Role.PRIMARY):
        return None
    checked = yield CheckFiles()
    if not isinstance(checked, Failed):
        return None
    why = f"{view.host} cannot start it: {unread(view.host, checked.message)}"
    return Finished(Reason.START_REFUSED, why, progress=True, failed=True)


def _promoted(view: View, won: Won) -> Generator[Effect, Outcome, Outcome]:
    """Beside a peer without a disk DRBD promotes what is Outdated as it is, and it stands still for
    want of data. Only alone, and forced by a person's override, does it become current.
    """
    if won.force and isinstance(view.drbd, DrbdState) and view.drbd.nobody_current:
        parted = yield Disconnect()
        if isinstance(parted, Failed):
            return parted
    return (yield Promote(force=won.force))


def _beside_another(view: View) -> Generator[Effect, Outcome, Finished | None]:
    """Why not beside the peer: where somebody has allowed two Primaries, no kernel refuses one.

    Each looks once it is Primary itself, so of two at least one sees the other.
    """
    if not (isinstance(view.drbd, DrbdState) and view.drbd.connected):
        return None
    fresh = yield QueryDrbd()
    drbd = fresh.drbd if isinstance(fresh, DrbdRead) else None
    if not isinstance(drbd, DrbdState):
        return Finished(Reason.UNKNOWN_STATE, words(fresh), progress=False, failed=True)
    if not (drbd.connected and drbd.peer_role is Role.PRIMARY):
        return None
    return Finished(
        Reason.PEER_STILL_PRIMARY,
        f"not started: {view.peer} is Primary, too, as somebody has allowed two Primaries of"
        f" {view.mirror.drbd_name}. It is tried again by itself. Once {view.peer} is Secondary, on"
        f" {view.host}: drbdadm net-options --allow-two-primaries=no {view.mirror.drbd_name}",
        progress=False,
        failed=True,
    )


def _claimed_of(view: View, won: Won) -> Generator[Effect, Outcome, UpdateRecord]:
    """Of which generation both replicas count, if they do. Nobody writes before the promotion."""
    authority = won.mirror.status.authority
    promoted = isinstance(view.drbd, DrbdState) and view.drbd.role is Role.PRIMARY
    if authority is None or authority.mode is not Mode.MIRRORED or promoted:
        return UpdateRecord()
    return (yield from read_generations())


def _tried(claimed_at_s: float) -> Generator[Effect, Outcome, Outcome]:
    """The last of so many tries to start the guest.

    Refused by libvirt only where the device is still Primary: a fence that ends late demotes it.
    """
    started = yield StartGuest(claimed_at_s)
    for pause_s in (*START_PAUSES_S, None):
        if not (isinstance(started, Failed) and started.refused):
            return started
        fresh = yield QueryDrbd()
        drbd = fresh.drbd if isinstance(fresh, DrbdRead) else None
        if not (isinstance(drbd, DrbdState) and drbd.role is Role.PRIMARY):
            return replace(started, refused=False)
        if pause_s is not None:
            yield Wait(pause_s)
            started = yield StartGuest(claimed_at_s)
    return started


def _not_started(outcome: Failed) -> Finished:
    reason = Reason.START_REFUSED if outcome.refused else Reason.START_FAILED
    return Finished(reason, outcome.message, progress=True, failed=True)
