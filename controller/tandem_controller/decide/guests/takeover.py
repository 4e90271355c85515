"""Rules 12 to 14: whether the guest of a host that cannot be asked may be started at the other.

``takeover`` returns a proof that names the one instance and the one epoch it is about, or the
refusal. The rules are asked in the order in which people should hear of them. The taker's actuator
checks the proof against what it reads itself, and adds what only it knows: how long its own end
of the replication link has been down.

Called by ``situations`` for owners that are silent. The taker's host looks at all of it again, at
first hand (``core/authority/claim`` there).
"""

from collections.abc import Callable

from tandem_api.authority import Mode
from tandem_api.kinds.guest import FencingProof, Policy, ProofKind
from tandem_api.kinds.mirror import Protocol, ReplicaReport
from tandem_api.reasons import Reason
from tandem_api.vocabulary import Role
from tandem_controller.decide.guests.placement import no_room, unusable_replica
from tandem_controller.decide.mirrors.copies import advice
from tandem_controller.decide.mirrors.override import Grant, override
from tandem_controller.decide.world.hosts import rebooted, silence, unfit
from tandem_controller.decide.world.model import Case, Refusal
from tandem_controller.decide.world.power import off
from tandem_controller.decide.world.proofs import fenced, fencing_proof, outrun


def takeover(case: Case, target: str) -> FencingProof | Refusal:
    """May ``target`` start the guest although ``case.authority.owner`` has not released it?"""
    for rule in RULES:
        refusal = rule(case, target)
        if refusal is not None:
            return refusal
    owner = case.authority.owner
    return fencing_proof(case.authority, owner, case.view(owner))


def _policy(case: Case, target: str) -> Refusal | None:
    if case.guest.spec.failover.policy is Policy.AUTOMATIC:
        return None
    return Refusal(
        Reason.FAILOVER_MANUAL,
        f"{_owner_silence(case)}, and failover is Manual: set spec.failover.policy to Automatic to"
        f" have it started on {target}",
    )


def _not_all_stale(case: Case, target: str) -> Refusal | None:
    if not case.world.nobody_fresh:
        return None
    return Refusal(
        Reason.BOTH_SITES_STALE,
        "No host of any site sends its heartbeat: rather this controller is cut off, so it acts on"
        " nothing",
    )


def _owner_wrote_alone(case: Case, target: str) -> Refusal | None:
    authority = case.authority
    if authority.mode is not Mode.STANDALONE:
        return None
    report = case.report(target)
    since = report.not_connected_since if report else None
    return Refusal(
        Reason.PEER_HOLDS_STANDALONE,
        f"Refused: {authority.owner} was allowed to write alone"
        f"{f' since {since}' if since else ''} (epoch {authority.epoch}); starting on {target}"
        f" would lose those writes. {_advice(case, target)}",
    )


def _advice(case: Case, target: str) -> str:
    """What a person can do. Nothing is given up while the owner lives on the link."""
    report = case.report(target)
    if report is None or not report.connected or _gone_though_connected(case, report):
        return _waiting_order(case, target) or advice(case.mirror, target, case.world)
    return _while_seen(case, report, target)


def _waiting_order(case: Case, target: str) -> str:
    """What keeps a person's order from being carried out: who has given it is not asked again."""
    order = case.mirror.spec.override
    if order is None or (order.host, order.epoch) != (target, case.authority.epoch):
        return ""
    waits = override(case.mirror, case.world)
    if isinstance(waits, Grant):
        return "spec.override is being carried out"
    return waits.message if isinstance(waits, Refusal) else ""


def _while_seen(case: Case, report: ReplicaReport, target: str) -> str:
    """What a person can do while the owner is known to live by the link alone."""
    seen = f"{target} still sees it as {report.peer_role or 'alive'} over the replication link"
    to_do = off(case.authority.owner, case.mirror, case.world)
    told = f"{seen}: bring its management link back, or {to_do}"
    # On a Secondary no guest runs.
    return told if report.peer_role == Role.SECONDARY else f"{told} if the guest does not run there"


def _eligible(case: Case, target: str) -> Refusal | None:
    if case.authority.may_own(target):
        return None
    entry = case.authority.eligible.get(target)
    why = entry.reason if entry else Reason.NOT_INITIALISED
    return Refusal(
        Reason.NOT_ELIGIBLE,
        f"Refused: {target} may lack acknowledged writes ({why} at epoch {case.authority.epoch}),"
        f" and {_owner_silence(case)}. {_advice(case, target)}",
    )


def _synchronous(case: Case, target: str) -> Refusal | None:
    protocol = case.mirror.spec.protocol
    if protocol is Protocol.C:
        return None
    return Refusal(
        Reason.PROTOCOL_NOT_SYNCHRONOUS,
        f"Refused: with protocol {protocol} {target} may lack acknowledged writes."
        f" {_advice(case, target)}",
    )


def _target_fit(case: Case, target: str) -> Refusal | None:
    refusal = unfit(case.view(target), target) or no_room(case, target)
    if refusal is None:
        return None
    closed = refusal.reason is Reason.MAINTENANCE
    hint = ". To have it used all the same set spec.maintenance to false there" if closed else ""
    message = f"{_owner_silence(case)}, and cannot be replaced: {refusal.message}{hint}"
    return Refusal(refusal.reason, message)


def _link_down(case: Case, target: str) -> Refusal | None:
    """The link is the second heartbeat: while it lives, so does the owner."""
    report, owner = case.report(target), case.authority.owner
    if report is None or report.not_up:
        why = f": {report.bug}" if report is not None and report.bug else ""
        return Refusal(
            Reason.MIRROR_NOT_READY,
            f"Not taking over from {owner}: {target}'s replica is not up{why}",
        )
    if not report.connected:
        return None
    if _gone_though_connected(case, report):
        return None
    what_to_do = _while_seen(case, report, target)
    return Refusal(Reason.PEER_STILL_CONNECTED, f"Not taking over from {owner}: {what_to_do}")


def _gone_though_connected(case: Case, report: ReplicaReport) -> bool:
    """The link is up, but not to an instance that runs the guest: a new boot, or a fenced one."""
    owner = case.view(case.authority.owner)
    if owner is not None and rebooted(owner, case.authority.owner_instance):
        return True
    return fenced(case.authority, case.authority.owner) and report.peer_role == Role.SECONDARY


def _no_marker(case: Case, target: str) -> Refusal | None:
    refusal = unusable_replica(case, target)
    if refusal is None or refusal.reason is not Reason.MARKED_STALE:
        return refusal
    what_to_do = _advice(case, target)
    return Refusal(refusal.reason, f"{_owner_silence(case)}, and {refusal.message}. {what_to_do}")


def _stopped(case: Case, target: str) -> Refusal | None:
    owner = case.authority.owner
    view = case.view(owner)
    proof = fencing_proof(case.authority, owner, view)
    if isinstance(proof, Refusal) or view is None or proof.kind is not ProofKind.LEASE_LOST:
        return proof if isinstance(proof, Refusal) else None
    return outrun(case.authority, view, target)


Rule = Callable[[Case, str], Refusal | None]
RULES: tuple[Rule, ...] = (
    _policy,
    _not_all_stale,
    _owner_wrote_alone,
    _eligible,
    _synchronous,
    _target_fit,
    _link_down,
    _no_marker,
    _stopped,
)


def waits_for_proof_alone(case: Case, target: str) -> bool:
    """Whether ``target`` could take over at once, if only it were proven that the owner stopped."""
    if any(rule(case, target) is not None for rule in RULES if rule is not _stopped):
        return False
    return _stopped(case, target) is not None


def _owner_silence(case: Case) -> str:
    owner = case.view(case.authority.owner)
    return silence(owner) if owner else f"there is no host {case.authority.owner}"
