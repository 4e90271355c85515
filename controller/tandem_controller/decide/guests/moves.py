"""Planned moves: by hand, off a failed disk, out of maintenance, back to the preferred site.

A guest that stands still for want of any data is moved too, or people hear why it cannot be.

A move needs no proof: the assignment names the other host, the old one stops the guest, releases
the mirror, and only then the other may claim it. So a move is only ordered while nothing can be
lost by it: the mirror redundant, or all of it at the target; the target ready. Called by
``guests`` for a fresh owner.
"""

from dataclasses import replace

from tandem_api.authority import Mode
from tandem_api.kinds.guest import Policy
from tandem_api.kinds.guest_move import How
from tandem_api.reasons import Reason
from tandem_api.vocabulary import DomainState, Role
from tandem_controller.decide.guests import live
from tandem_controller.decide.guests.failback import failback
from tandem_controller.decide.guests.obstacles import (
    assigned_for_s,
    had_its_turn,
    invalid,
    keeps_it_without_a_disk,
    lack,
    lacks_by,
    manual,
    may_lack,
    next_turn_s,
    not_ready,
)
from tandem_controller.decide.guests.placement import (
    cannot_run,
    libvirt_silent,
    no_room,
    untried_hardware,
    unusable_replica,
)
from tandem_controller.decide.mirrors.copies import (
    IN_DOUBT,
    advice,
    beside,
    override_hint,
    reachable,
)
from tandem_controller.decide.world import guestmoves, replicas
from tandem_controller.decide.world.hosts import rebooted, unable, unfit
from tandem_controller.decide.world.model import Assign, Blocked, Case, Freshness, Keep, Refusal
from tandem_controller.decide.world.moments import elapsed_s
from tandem_controller.decide.world.power import off
from tandem_controller.decide.world.replicas import failed_volumes, incomplete, redundancy
from tandem_controller.decide.world.standstill import held_up
from tandem_controller.decide.world.turns import LIMITED, no_turn

LIBVIRT_COMES_S = 15.0
"""So long a host to which a guest was just assigned may be without its libvirt."""
FROZEN_S = 30.0
"""So long a guest may be frozen by a lost link before people hear of what keeps it so."""
RECONNECTS = (Reason.CONNECTING, Reason.REJOINING)
"""What an owner without its data does in between."""
ANYWHERE = (Reason.START_REFUSED, Reason.HOST_NOT_READY)
"""Moves to where it can run at all, also into maintenance."""


def move(case: Case) -> Assign | Keep | Blocked | None:
    """A move that is due from the owner's host; Keep if it must wait; None if none is wanted."""
    owner = case.authority.owner
    target = case.mirror.peer_of(owner)
    if _data_is_away(case, owner):
        return _off_no_data(case, owner, target)
    stands = _untold(case, owner) or _frozen(case, owner) or _without_libvirt(case, owner, target)
    stands = stands or _without_replica(case, owner, target)
    if stands is not None:
        return stands
    elsewhere = _refused(case, owner, target) or _off_no_replica(case, owner, target)
    if elsewhere is not None:
        return elsewhere
    wanted = (
        _disk_failed(case, owner, target)
        or _by_hand(case, target)
        or _maintenance(case, owner)
        or failback(case, owner, target)
    )
    if wanted is None or isinstance(wanted, Keep):
        return wanted
    obstacle = (
        not_ready(case, target)
        or untried_hardware(case.guest, (target,))
        or libvirt_silent(case, owner)
        or invalid(case)
        or _may_lose(case, wanted)
        or (no_turn(case.world) if wanted.reason in LIMITED else None)
    )
    if obstacle is None:
        return _begun(case, wanted, owner)
    waits = obstacle.reason is Reason.MOVE_WAITING
    return Keep(
        obstacle.reason if waits else wanted.reason,
        f"It stays on {owner} although {wanted.message}. It does not move to {target}"
        f"{' yet' if waits else ''}: {obstacle.message}",
    )


def _begun(case: Case, wanted: Assign, owner: str) -> Assign | Keep:
    """As it runs, if that is possible, unless people say how."""
    target = wanted.host
    message = f"It moves from {owner} to {target}: {wanted.message}"
    how = live.how_due(case) if wanted.move is not None else How.LIVE_IF_POSSIBLE
    if how is How.COLD or (how is not How.LIVE and wanted.reason not in live.AS_IT_RUNS):
        return replace(wanted, message=message)
    obstacle = live.impossible(case, owner, target)
    if obstacle is None:
        return replace(wanted, message=f"{message}. It goes as it runs", live=True)
    if how is How.LIVE:
        why = f"It stays on {owner} although {wanted.message}. It cannot go as it runs"
        return Keep(Reason.MOVE_WAITING, f"{why}: {obstacle.message}")
    if not live.where_not_set_up(case, owner, target):
        message = f"{message}. It cannot go as it runs: {obstacle.message}"
    return replace(wanted, message=message)


def _data_is_away(case: Case, owner: str) -> bool:
    """Another try to connect is no news, until it has come to something."""
    report, told = case.report(owner), case.guest.status
    tries = report is not None and replicas.stands_still(report) and report.reason in RECONNECTS
    known = tries and told.reason == Reason.DATA_UNREACHABLE
    return known or replicas.data_is_away(case.mirror, owner, case.world)


def _off_no_data(case: Case, owner: str, target: str) -> Assign | Blocked:
    """It writes nothing, so every acknowledged write is at the target, unless the owner was alone.

    No connection is needed: the owner stops what stands still, and releases only what was Mirrored.
    """
    why = f"{owner} reaches neither its own disk nor {target}'s"
    obstacle = manual(case) or not_ready(case, target) or invalid(case) or lack(case, target)
    if ordered(case, target):
        why, obstacle = f"{why}, and spec.override gives it to {target}", None
    if obstacle is None:
        return Assign(target, Reason.LOCAL_DISK_FAILED, f"It moves from {owner} to {target}: {why}")
    hint = ""
    if obstacle.reason is Reason.MARKED_STALE and reachable(case.mirror, target, case.world):
        order = override_hint(target, case.authority.epoch)
        alone = case.authority.mode is Mode.STANDALONE or not case.authority.may_own(target)
        lacks = f", which lacks what {owner} wrote alone" if alone else ""
        hint = f". To go on with what {target} has all the same{lacks}, set on the mirror: {order}"
    return Blocked(
        Reason.DATA_UNREACHABLE,
        f"It stands still: {why}. Bring one of them back (a reboot of {owner} may bring its disk"
        f" back). It is not moved to {target}: {obstacle.message}{hint}",
    )


def _untold(case: Case, owner: str) -> Blocked | None:
    """Its host only guards it, by a bug, and tells nothing of what becomes of it."""
    report = case.report(owner)
    if report is None or not report.bug or not report.not_up:
        return None
    message = f"It is not known whether it runs on {owner}: {report.bug}"
    return Blocked(Reason.INTERNAL_ERROR, message, may_run=True)


def _frozen(case: Case, owner: str) -> Blocked | None:
    """It stands still, and something on its host keeps that from asking for leave to go on.

    Another try of the same is no news.
    """
    report, told = case.report(owner), case.guest.status
    if report is None or not report.suspended:
        return None
    if elapsed_s(report.not_connected_since, case.world.snapshot) < FROZEN_S:
        return None
    if report.reason is Reason.CONNECTING and told.reason == Reason.EFFECT_FAILED:
        return Blocked(Reason.EFFECT_FAILED, told.message)
    if report.reason is not Reason.EFFECT_FAILED:
        return None
    hint = beside(case.mirror, owner, case.world) or ". Mend that"
    return Blocked(report.reason, f"It stands still on {owner}: {report.message}{hint}")


def _without_libvirt(case: Case, owner: str, target: str) -> Blocked | None:
    """The owner's libvirt does not answer. A guest whose device is closed does not run there.

    It cannot be moved: who cannot ask libvirt does not release what may run.
    """
    silent, report = libvirt_silent(case, owner), case.report(owner)
    if silent is None or report is None or report.not_up:
        return None
    may_run = report.role == Role.PRIMARY
    if assigned_for_s(case) < LIBVIRT_COMES_S:
        return None
    doubt = "It is not known whether it runs: " if may_run else ""
    return _off_by_hand(
        case, owner, target, replace(silent, message=doubt + silent.message), may_run
    )


WITHOUT_REPLICA = (
    Reason.EFFECT_FAILED,
    Reason.METADATA_MISSING,
    Reason.METADATA_OF_OTHER_DRBD,
)


def _without_replica(case: Case, owner: str, target: str) -> Blocked | None:
    """The owner has lost its device since it became the owner, and brings it up in vain."""
    view, report = case.view(owner), case.report(owner)
    if view is None or report is None or rebooted(view, report.instance):
        return None
    if report.reason not in WITHOUT_REPLICA or not report.not_up:
        return None
    why = unusable_replica(case, owner)
    if why is None or assigned_for_s(case) < LIBVIRT_COMES_S:
        return None
    return _off_by_hand(case, owner, target, replace(why, message=f"{why.message}. Mend that"))


def _off_by_hand(
    case: Case, owner: str, target: str, why: Refusal, may_run: bool = False
) -> Blocked:
    """The owner cannot be told to let go: a person can power it off, if the other is as good."""
    obstacle = (
        unable(case.view(target), target)
        or cannot_run(case, target)
        or no_room(case, target)
        or unusable_replica(case, target)
        or may_lack(case, target)
    )
    if obstacle is None:
        to_do = off(owner, case.mirror, case.world)
        message = f"{why.message}, or {to_do} to have it started on {target}"
        return Blocked(why.reason, message, may_run=may_run)
    message = f"{why.message}. It does not go to {target}: {obstacle.message}"
    if obstacle.reason in IN_DOUBT:
        message = f"{message}{beside(case.mirror, owner, case.world)}"
    return Blocked(why.reason, message, may_run=may_run)


def ordered(case: Case, target: str) -> bool:
    """Whether a person has given the mirror to this host, and its owner's copy is of no use: then
    the owner stops, as the order waits for that.
    """
    order = case.mirror.spec.override
    return (
        order is not None
        and order.accept_data_loss
        and (order.host, order.epoch) == (target, case.authority.epoch)
        and not reachable(case.mirror, case.authority.owner, case.world)
    )


def _refused(case: Case, owner: str, target: str) -> Assign | Keep | None:
    """The owner's host says that it cannot start it: to the other one, if that may be able to.

    If both cannot, they take turns, ever more rarely: either may have been mended.
    """
    assignment, report = case.guest.status.assignment, case.guest.status.hosts.get(owner)
    if assignment is None or report is None or report.reason is not Reason.START_REFUSED:
        return None
    if report.assignment_serial != assignment.serial or not report.has_stopped(assignment):
        return None
    obstacle = (
        had_its_turn(case, owner, target)
        or unable(case.view(target), target)
        or no_room(case, target)
        or unusable_replica(case, target)
        or libvirt_silent(case, target)
        or may_lack(case, target)
    )
    if obstacle is None:
        message = f"It moves from {owner} to {target}: {report.refused_start}"
        turn_s = next_turn_s(case)
        return Assign(target, Reason.START_REFUSED, message, turn_seconds=turn_s)
    message = f"{report.message or report.refused_start}. It does not go to {target}"
    in_doubt = obstacle.reason in (*IN_DOUBT, Reason.NOT_YET_IN_SYNC)
    hint = beside(case.mirror, owner, case.world) if in_doubt else ""
    return Keep(Reason.START_REFUSED, f"{message}: {obstacle.message}{hint}")


def _off_no_replica(case: Case, owner: str, target: str) -> Assign | Blocked | None:
    """The guest has ended, and the owner's replica cannot be started from: its disk was lost.

    It releases the mirror, so that the target can have it as soon as that may be started from: by
    itself, or by a person's word.
    """
    assignment, why = case.guest.status.assignment, stranded(case, owner)
    said = case.guest.status.hosts.get(owner)
    if why is None or said is None or assignment is None:
        return None
    if said.assignment_serial != assignment.serial:
        return None
    obstacle = (
        manual(case)
        or unfit(case.view(target), target)
        or no_room(case, target)
        or cannot_run(case, target)
        or invalid(case)
        or lacks_by(case, target, advice(case.mirror, target, case.world))
    )
    if obstacle is None or ordered(case, target):
        message = f"It moves from {owner} to {target}: {why.message}"
        return Assign(target, Reason.LOCAL_DISK_FAILED, message)
    message = f"{owner} cannot start it: {why.message}. It does not go to {target}"
    return Blocked(why.reason, f"{message}: {obstacle.message}")


def stranded(case: Case, owner: str) -> Refusal | None:
    """Why an owner that does not run the guest cannot start it from its own replica, or None."""
    said, view = case.guest.status.hosts.get(owner), case.view(owner)
    if (
        said is None
        or view is None
        or rebooted(view, said.instance)
        or said.state != DomainState.ABSENT
    ):
        return None
    report = case.report(owner)
    if report is None or report.not_up:
        return None  # that it does not tell its state may be a moment's fault
    if report.epoch_seen < case.authority.epoch or replicas.in_sync(case.mirror, case.world):
        return None  # it has claimed since it said that, or is about to clear its marker
    refusal = unusable_replica(case, owner)
    gone = (Reason.MARKED_STALE, Reason.DISK_NOT_USABLE)
    return refusal if refusal is not None and refusal.reason in gone else None


def _may_lose(case: Case, wanted: Assign) -> Refusal | None:
    """Why acknowledged writes, or the redundancy that there is, may not outlive the move."""
    if wanted.reason is Reason.LOCAL_DISK_FAILED:
        owner = case.authority.owner
        return (
            incomplete(case.mirror, wanted.host, case.world)
            or keeps_it_without_a_disk(case)
            or held_up(case.mirror, owner, case.world)  # it can be neither sent nor ended
        )
    return redundancy(case.mirror, case.world)


def cannot_go_on(case: Case, target: str) -> Refusal | None:
    """Why a move under way must be taken back, or None.

    While the old host stops, less is needed than to begin: it keeps the mirror until it released.
    """
    authority = case.authority
    if ordered(case, target):
        return _known_unfit(case, target)
    if not authority.both_count or not authority.may_own(target):
        return Refusal(
            Reason.RESYNCING, f"{target} no longer has every write (epoch {authority.epoch})"
        )
    refusal = _known_unfit(case, target) or keeps_it_without_a_disk(case)
    if refusal is None and stranded(case, authority.owner) is None:
        refusal = unusable_replica(case, target)
    return refusal or libvirt_silent(case, target)


def _known_unfit(case: Case, target: str) -> Refusal | None:
    """A controller that was away, or has just begun, knows of nobody whether they are well."""
    view, assignment = case.view(target), case.guest.status.assignment
    if view is not None and view.freshness is Freshness.UNKNOWN:
        return None
    anywhere = assignment is not None and assignment.reason in ANYWHERE
    return unable(view, target) if anywhere and not ordered(case, target) else unfit(view, target)


def _disk_failed(case: Case, owner: str, target: str) -> Assign | Keep | None:
    """Its own disk is gone: it lives on the other site's over the link, and dies with either."""
    failed = failed_volumes(case.report(owner))
    if not failed:
        return None
    why = f"the disk of {owner} has failed ({', '.join(failed)})"
    by_hand = guestmoves.due_to(target, case)
    if case.guest.spec.failover.policy is Policy.MANUAL and by_hand is None:
        return Keep(
            Reason.LOCAL_DISK_FAILED,
            f"It runs on {owner} although {why}, with the data of {target}; failover is Manual:"
            " set spec.failover.policy to Automatic to have it moved, or create a GuestMove",
        )
    return Assign(target, Reason.LOCAL_DISK_FAILED, why, move=by_hand)


def _by_hand(case: Case, target: str) -> Assign | None:
    """As a person has ordered, if that is to the other host."""
    move = guestmoves.due_to(target, case)
    if move is None:
        return None
    return Assign(target, Reason.MOVE_REQUESTED, f"GuestMove {move.name} asks for it", move=move)


def _maintenance(case: Case, owner: str) -> Assign | None:
    view = case.view(owner)
    if view is None or not view.maintenance:
        return None
    target = case.mirror.peer_of(owner)
    return Assign(target, Reason.MAINTENANCE, f"{view.maintenance} is in maintenance")
