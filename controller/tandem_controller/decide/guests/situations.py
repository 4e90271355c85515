"""What shall become of each guest: which situation it is in, and one handler for each.

``decide`` looks at where the mirror's authority is and how its owner's heartbeat does, which gives
the ``Situation``; ``HANDLERS`` has one function for each. Every decision carries a reason and a
sentence, also the decision to leave things as they are. Called by ``plan`` for every guest.
"""

from collections.abc import Callable, Mapping
from enum import StrEnum

from tandem_api.authority import Mode
from tandem_api.kinds.guest import FencingProof, Guest, Policy, ProofKind
from tandem_api.meta import sentence
from tandem_api.reasons import Reason
from tandem_api.vocabulary import GuestPhase, Role
from tandem_controller.decide.guests import live, moves, obstacles, placement
from tandem_controller.decide.guests.pausing import unless_paused
from tandem_controller.decide.guests.takeover import takeover
from tandem_controller.decide.guests.unowned import neither_starts_it, unowned, what_helps
from tandem_controller.decide.mirrors import copies
from tandem_controller.decide.world.guestmoves import taken_back
from tandem_controller.decide.world.hosts import arms, rebooted, silence, unfit
from tandem_controller.decide.world.model import (
    Assign,
    Blocked,
    Case,
    Decision,
    Freshness,
    HostView,
    Keep,
    Refusal,
    World,
    mirror_of,
)
from tandem_controller.decide.world.power import off
from tandem_controller.decide.world.proofs import as_good, fencing_proof


class Situation(StrEnum):
    """Where a guest that shall run stands.

    HELD            authority is on hold: a person must look.
    UNINITIALISED   the replicas were never in sync.
    UNOWNED         nobody may write the mirror now.
    OWNER_HERE      the owner's host sends its heartbeat, on the boot that became owner.
    OWNER_REBOOTED  the owner's host has booted since, and sends its heartbeat.
    OWNER_SILENT    the owner's host does not send its heartbeat.
    """

    HELD = "Held"
    UNINITIALISED = "Uninitialised"
    UNOWNED = "Unowned"
    OWNER_HERE = "OwnerHere"
    OWNER_REBOOTED = "OwnerRebooted"
    OWNER_SILENT = "OwnerSilent"


def decide(guest: Guest, world: World, case: Case | None) -> Decision:
    """The one decision about a guest: ``guest`` is what is in force of it, ``case`` what is known
    of it with its mirror.
    """
    return unless_paused(_decided(guest, world, case), guest, world, case)


def _decided(guest: Guest, world: World, case: Case | None) -> Decision:
    if guest.metadata.deletion_timestamp is not None:
        return _nowhere(guest, Reason.DELETING, "it is being deleted")
    problems = world.faults_of(guest)
    if problems and guest.status.assignment is not None:
        return _unchanged_if_invalid(guest, world, case)
    if problems:
        return Blocked(Reason.SPEC_INVALID, sentence(problems))
    if not guest.spec.running:
        return _nowhere(guest, Reason.NOT_REQUESTED, "spec.running is false")
    return _wanted(guest, world, case)


def _unchanged_if_invalid(guest: Guest, world: World, case: Case | None) -> Decision:
    """It was never accepted, or is not what it was any more: as another object has changed.

    That changes nothing about a guest that runs, and must not cost it its failover.
    """
    assigned = guest.status.assignment
    assert assigned is not None
    if not assigned.host:
        return Keep(Reason.SPEC_INVALID, sentence(world.faults_of(guest)))
    decision = _wanted(guest, world, case)
    if isinstance(decision, Assign) and decision.proof is None:
        return Keep(Reason.SPEC_INVALID, sentence(world.faults_of(guest)))
    return decision


def _nowhere(guest: Guest, reason: Reason, why: str) -> Decision:
    assignment = guest.status.assignment
    if assignment is not None and not assignment.host and assignment.reason is reason:
        return Keep(reason, f"It shall not run: {why}")
    return Assign("", reason, f"It is stopped: {why}")


def _wanted(guest: Guest, world: World, case: Case | None) -> Decision:
    mirror = case.mirror if case else mirror_of(guest, world)
    if mirror is None:
        message = f"there is no mirror {guest.mirror_in_use} that can be read"
        return Keep(Reason.MIRROR_NOT_FOUND, message)
    if case is None or mirror.status.device_numbers is None:
        problems = world.problems_of(mirror)
        if problems:
            message = f"mirror {mirror.key} is not valid: {sentence(problems)}"
            return Blocked(Reason.SPEC_INVALID, message)
        return Keep(Reason.MIRROR_NOT_READY, f"mirror {mirror.key} is being set up")
    authority = case.authority
    if authority.owner and authority.owner not in case.replicas:
        return Blocked(
            Reason.SPEC_INVALID,
            f"{authority.owner} owns mirror {mirror.key}, whose replicas are on"
            f" {' and '.join(case.replicas)}; set spec.replicas back",
        )
    return HANDLERS[situation(case)](case)


def situation(case: Case) -> Situation:
    """See Situation."""
    authority = case.authority
    if authority.mode is Mode.HOLD:
        return Situation.HELD
    if not authority.owner:
        return Situation.UNOWNED if authority.initialised else Situation.UNINITIALISED
    owner = case.view(authority.owner)
    if owner is None or not owner.fresh:
        return Situation.OWNER_SILENT
    if rebooted(owner, authority.owner_instance):
        return Situation.OWNER_REBOOTED
    return Situation.OWNER_HERE


def _held(case: Case) -> Decision:
    return Blocked(
        Reason.HOLD_MODE,
        f"mirror {case.mirror.key} is on hold at epoch {case.authority.epoch}"
        f" ({case.authority.reason}); nothing is touched until a person has looked",
    )


def _uninitialised(case: Case) -> Decision:
    reports = sorted(case.mirror.status.replicas.items())
    said = [f"{host}: {report.message}" for host, report in reports if report.message]
    return Keep(
        Reason.MIRROR_NOT_READY,
        f"mirror {case.mirror.key} waits for its first sync{_list(said)}",
    )


def _list(sentences: list[str]) -> str:
    return f" ({'; '.join(sentences)})" if sentences else ""


# -- nobody owns the mirror


# -- the owner is here


def _owner_here(case: Case) -> Decision:
    """It stays, unless a move is wanted; a move under way goes on unless it cannot."""
    owner, assigned = case.authority.owner, case.assigned
    assignment = case.guest.status.assignment
    if assigned == case.mirror.peer_of(owner) and assignment is not None:
        if assignment.proof is not None and assignment.proof.kind is not ProofKind.SAME_HOST:
            return _back_to(case, f"{owner} sends its heartbeat again")
        if assignment.proof is not None and assignment.proof.host != owner:
            return _back_to(case, f"it had arrived before it was taken back to {assigned}")
        obstacle = moves.cannot_go_on(case, assigned)
        if obstacle is None and not _has_stopped(case, owner):
            obstacle = taken_back(case.guest, case.world)
        if obstacle is not None:
            return _back_to(case, f"the move to {assigned} is taken back: {obstacle.message}")
        why = live.refused(case, assignment)
        if why:
            instead = live.instead(case, assignment, why)
            return instead or _back_to(case, f"the move to {assigned} is taken back: {why}")
        waiting = _not_stopped(case) or _order_waits(case) or _not_released(case)
        return waiting or Keep(assignment.reason, assignment.message)
    if assigned != owner:
        return Assign(
            owner,
            Reason.INITIAL_PLACEMENT,
            f"It is started on {owner}, which owns the mirror",
            _same_host_proof(case),
        )
    return moves.move(case) or Keep(Reason.RUNNING, f"It belongs on {owner}")


def _has_stopped(case: Case, host: str) -> bool:
    """Whether this host, knowing the present assignment, says that the guest does not run there."""
    assignment, said = case.guest.status.assignment, case.guest.status.hosts.get(host)
    return (
        assignment is not None
        and said is not None
        and said.assignment_serial == assignment.serial
        and said.has_stopped(assignment)
    )


def _order_waits(case: Case) -> Blocked | None:
    """The owner has stopped it, as a person gave the mirror to the other host, and that waits."""
    owner, order = case.authority.owner, case.mirror.spec.override
    if order is None or not moves.ordered(case, case.assigned) or not _has_stopped(case, owner):
        return None
    refusal = copies.worse(case.mirror, order, case.world)
    return Blocked(refusal.reason, refusal.message) if refusal else None


LETTING_GO = (Reason.DEMOTING, Reason.RELEASING)


def _not_released(case: Case) -> Blocked | None:
    """The owner has stopped it, and something that fails there keeps the mirror from the other.

    Another try of the same is no news, until it has come to something.
    """
    owner, report = case.authority.owner, case.report(case.authority.owner)
    if report is None or report.reason not in (Reason.EFFECT_FAILED, *LETTING_GO):
        return None
    if not _has_stopped(case, owner) or obstacles.assigned_for_s(case) < moves.LIBVIRT_COMES_S:
        return None
    told = case.guest.status
    if report.reason in LETTING_GO:
        known = (told.phase, told.reason) == (GuestPhase.BLOCKED, Reason.EFFECT_FAILED)
        return Blocked(Reason.EFFECT_FAILED, told.message) if known else None
    message = f"{owner} has stopped it, and does not release the mirror: {report.message}"
    to_do = off(owner, case.mirror, case.world)
    return Blocked(report.reason, f"{message}. Mend that, or {to_do}")


def _not_stopped(case: Case) -> Blocked | None:
    """It runs or stands still where it is, and nobody there can be told to stop it. Or it does not
    run any more, its device being closed, and its host does not let go without libvirt's word.
    """
    owner, report = case.authority.owner, case.report(case.authority.owner)
    silent = placement.libvirt_silent(case, owner)
    if silent is None or report is None or report.not_up:
        return None
    if obstacles.assigned_for_s(case) < moves.LIBVIRT_COMES_S:
        return None
    to_do = f"{silent.message}, or {off(owner, case.mirror, case.world)}"
    if report.role != Role.PRIMARY:
        why = (
            f"{owner} has closed its device, and does not release the mirror without libvirt's word"
        )
        return Blocked(silent.reason, f"It is not moved to {case.assigned} yet: {why}: {to_do}")
    stands = "It stands still" if report.suspended else "It was left"
    return Blocked(
        silent.reason,
        f"{stands} on {owner} and cannot be stopped, to be moved to {case.assigned}: {to_do}",
        may_run=not report.suspended,
    )


def _back_to(case: Case, why: str) -> Assign:
    owner = case.authority.owner
    message, assignment = f"It stays on {owner}: {why}", case.guest.status.assignment
    by, sent = (assignment.move, assignment.live) if assignment is not None else (None, False)
    proof = _same_host_proof(case)
    return Assign(owner, Reason.HEARTBEAT_FRESH, message, proof, by, undisturbed=sent)


def _same_host_proof(case: Case) -> FencingProof:
    authority = case.authority
    return FencingProof(
        kind=ProofKind.SAME_HOST,
        host=authority.owner,
        instance=authority.owner_instance,
        at_epoch=authority.epoch,
    )


# -- the owner's host has booted since


def _owner_rebooted(case: Case) -> Decision:
    """What ran there is gone. It starts there again, unless only the other one can start it."""
    owner, target = case.authority.owner, case.mirror.peer_of(case.authority.owner)
    refusal = (
        unfit(case.view(owner), owner)
        or placement.unusable_replica(case, owner)
        or placement.cannot_run(case, owner)
    )
    told = case.guest.status
    if _tries_again(case, refusal):
        return Blocked(Reason(told.reason), told.message, takeover=True)
    neither = placement.cannot_run(case, target)
    soon = refusal is None or refusal.reason is Reason.MIRROR_NOT_READY or arms(case.view(owner))
    if soon and (case.assigned != target or neither is not None):
        return _start_again(case)
    proof = takeover(case, target)
    if isinstance(proof, FencingProof) and neither is not None and refusal is not None:
        why = neither_starts_it(case, owner, refusal, neither)
        message = f"{owner} has rebooted and cannot start it: {why}"
        return Blocked(refusal.reason, message, takeover=True)
    if isinstance(proof, FencingProof):
        why = refusal.message if refusal else f"{target} was chosen meanwhile"
        return _take(case, target, proof, f"{owner} has rebooted; {why}")
    if soon or refusal is None:
        return _start_again(case)
    refused = refusal.reason is Reason.START_REFUSED
    hint = copies.beside(case.mirror, owner, case.world) if refused else what_helps(case)
    why = f"{refusal.message}. {proof.message}{hint}"
    message = f"{owner} has rebooted and cannot start it: {why}"
    return Blocked(refusal.reason, message, takeover=True)


def _tries_again(case: Case, refusal: Refusal | None) -> bool:
    """The owner brings up once more what did not come up: that is no news before it has."""
    told, report = case.guest.status, case.report(case.authority.owner)
    known = (told.phase, told.reason) == (GuestPhase.BLOCKED, Reason.DISK_NOT_USABLE)
    waits = refusal is not None and refusal.reason is Reason.MIRROR_NOT_READY
    trying = report is not None and report.not_up and report.reason is Reason.BRINGING_UP
    return known and waits and trying


def _start_again(case: Case) -> Decision:
    owner = case.authority.owner
    message = f"{owner} has rebooted: it is started there again"
    if case.assigned == owner:
        return Keep(Reason.HOST_REBOOTED, message)
    return Assign(owner, Reason.HOST_REBOOTED, message, _same_host_proof(case))


# -- the owner's host is silent


def _owner_silent(case: Case) -> Decision:
    """Rules 12 to 14."""
    owner = case.authority.owner
    target = case.mirror.peer_of(owner)
    view = case.view(owner)
    waiting = _still_waiting(case, view)
    if waiting is not None:
        return waiting
    proof = takeover(case, target)
    if isinstance(proof, Refusal):
        return Blocked(proof.reason, proof.message, takeover=True)
    return _take(case, target, proof, silence(view) if view else f"there is no host {owner}")


def _still_waiting(case: Case, view: HostView | None) -> Decision | None:
    """Silent, but for too short a time for anything to be said about it."""
    if view is None or view.freshness in (Freshness.LOST, Freshness.NEVER):
        return None
    proof = fencing_proof(case.authority, view.name, view)
    if isinstance(proof, FencingProof):
        # No need to wait: it has stopped. But first it must be known whether it is back.
        unsure = view.freshness is Freshness.UNKNOWN
        return Keep(Reason.WAITING_FOR_LEASE, silence(view)) if unsure else None
    if case.guest.spec.failover.policy is Policy.MANUAL:
        return Keep(Reason.WAITING_FOR_LEASE, silence(view))
    return Keep(proof.reason, proof.message)


_TAKEOVER_REASONS: Mapping[ProofKind, Reason] = {
    ProofKind.LEASE_LOST: Reason.LEASE_LOST,
    ProofKind.FENCED: Reason.HOST_FENCED,
    ProofKind.REBOOTED: Reason.HOST_REBOOTED,
    ProofKind.PERSON: Reason.CONFIRMED_BY_PERSON,
    ProofKind.POWERED_OFF: Reason.POWERED_OFF,
}


def _take(case: Case, target: str, proof: FencingProof, why: str) -> Decision:
    reason = _TAKEOVER_REASONS[proof.kind]
    assignment = case.guest.status.assignment
    message = f"{target} takes over from {case.authority.owner}: {why}"
    known = assignment.proof if assignment is not None and assignment.host == target else None
    if known is not None and as_good(known, proof):
        silent = placement.libvirt_silent(case, target)
        if silent is not None and obstacles.assigned_for_s(case) >= moves.LIBVIRT_COMES_S:
            return Blocked(silent.reason, f"{message}, but {silent.message}", takeover=True)
        return Keep(reason, message)
    return Assign(target, reason, message, proof)


HANDLERS: Mapping[Situation, Callable[[Case], Decision]] = {
    Situation.HELD: _held,
    Situation.UNINITIALISED: _uninitialised,
    Situation.UNOWNED: unowned,
    Situation.OWNER_HERE: _owner_here,
    Situation.OWNER_REBOOTED: _owner_rebooted,
    Situation.OWNER_SILENT: _owner_silent,
}
assert set(HANDLERS) == set(Situation)
