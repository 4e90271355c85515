"""Rule 15: a person gives a mirror to a host that may lack acknowledged writes.

The person names the exact epoch, so that the order is about what they saw. It waits as a takeover
does: until the other host is known not to write. Then the loser is out until it has discarded what
only it has. Called by ``plan``, and again by ``execute`` on a fresh read right before the swap.
"""

from collections.abc import Iterable
from dataclasses import dataclass

from tandem_api.authority import PROTOCOL, Authority, Eligibility, Mode, Override, next_epoch
from tandem_api.kinds.guest import Assignment, GuestReport, ProofKind
from tandem_api.kinds.mirror import Mirror, OverrideRequest, ReplicaReport
from tandem_api.lease import Heartbeat
from tandem_api.reasons import Reason
from tandem_api.timing import DEFAULT
from tandem_api.vocabulary import NOT_CONFIGURED, DomainState, Role
from tandem_controller.decide.mirrors.copies import worse
from tandem_controller.decide.world.hosts import rebooted
from tandem_controller.decide.world.model import HostView, Refusal, World
from tandem_controller.decide.world.pausing import order_paused_by, pause
from tandem_controller.decide.world.proofs import fencing_proof
from tandem_controller.decide.world.replicas import redundancy


@dataclass(frozen=True)
class Grant:
    """Swap this in; the sentence says on what ground."""

    authority: Authority
    message: str


def override(mirror: Mirror, world: World) -> Grant | Refusal | None:
    """What becomes of a mirror's spec.override; None if there is none, or it is done with."""
    order, authority = mirror.spec.override, mirror.status.authority
    if order is None or authority is None or _applied(authority, order):
        return None
    if order.host not in {replica.host for replica in mirror.spec.replicas}:
        return Refusal(
            Reason.OVERRIDE_STALE, f"spec.override.host: {order.host} keeps no replica of it"
        )
    if not order.accept_data_loss:
        return Refusal(Reason.OVERRIDE_WAITING, "spec.override.acceptDataLoss is false")
    if order.epoch != authority.epoch:
        return _stale(mirror, world, order, authority)
    refused = _too_new_or_unused(authority) or _is_sent(authority, order)
    refused = refused or worse(mirror, order, world) or _paused(mirror, world)
    if refused is not None:
        return refused
    ground = _owner_stopped(mirror, world, authority)
    if isinstance(ground, Refusal):
        return Refusal(ground.reason, f"Waiting to carry out spec.override: {ground.message}")
    new = _overridden(authority, order, mirror.peer_of(order.host))
    return Grant(new, f"{order.by} gave it to {order.host}: {ground}")


def _too_new_or_unused(authority: Authority) -> Refusal | None:
    if authority.min_protocol > PROTOCOL:
        return Refusal(
            Reason.OVERRIDE_WAITING,
            f"the mirror needs protocol {authority.min_protocol}, and this controller knows"
            f" {PROTOCOL}: upgrade it",
        )
    if not authority.initialised:
        return Refusal(
            Reason.OVERRIDE_WAITING,
            "the replicas were never in sync, so neither has anything that the other lacks; remove"
            " spec.override, and let both hosts bring it up",
        )
    return None


def _is_sent(authority: Authority, order: OverrideRequest) -> Refusal | None:
    """The guest may execute at the target of its migration before that owns the mirror."""
    migration = authority.migration
    if authority.mode is not Mode.MIGRATING or migration is None or order.host == migration.target:
        return None
    return Refusal(
        Reason.OVERRIDE_WAITING,
        f"the guest is on its way and may run on {migration.target} already: {order.host} hands the"
        " mirror over or takes it back first, and then it is another epoch",
    )


def _paused(mirror: Mirror, world: World) -> Refusal | None:
    """Half an order would be worse than none: stopped at the owner, and not started elsewhere."""
    by, order = order_paused_by(mirror, world), mirror.spec.override
    if not by or order is None:
        return None
    would = pause(by, f"give it to {order.host} (spec.override)")
    return Refusal(Reason.OVERRIDE_WAITING, would.message)


def owner_is_as_judged(mirror: Mirror, world: World, heartbeats: Iterable[Heartbeat]) -> bool:
    """Whether the owner's heartbeat, read after the mirror, is still the one that was judged.

    Heartbeats from before the owner claimed would say of it what was true of the last one.
    """
    owner = mirror.status.authority.owner if mirror.status.authority else ""
    view = world.hosts.get(owner)
    judged = view.heartbeat if view else None
    now = next((heartbeat for heartbeat in heartbeats if heartbeat.host == owner), None)
    if judged is None or now is None or view is None:
        return judged is now
    return now.instance == judged.instance if view.fresh else now.version == judged.version


def _applied(authority: Authority, order: OverrideRequest) -> bool:
    done = authority.override
    return done is not None and (done.at_epoch, done.host) == (order.epoch, order.host)


def _stale(
    mirror: Mirror, world: World, order: OverrideRequest, authority: Authority
) -> Refusal | None:
    if order.epoch < authority.epoch and redundancy(mirror, world) is None:
        return None  # An order of the past, and all is well: not worth a complaint.
    return Refusal(
        Reason.OVERRIDE_STALE,
        f"spec.override names epoch {order.epoch}, but it is epoch {authority.epoch} now (owner"
        f" {authority.owner or 'nobody'}, {authority.mode}): look again, then set the present"
        " epoch, or remove it",
    )


def _owner_stopped(mirror: Mirror, world: World, authority: Authority) -> str | Refusal:
    """On what ground nobody is known to write; or what is missing.

    Who is not the owner does not write: every promotion there is refused.
    """
    owner = authority.owner
    if not owner:
        return "nobody owned it"
    view, report = world.hosts.get(owner), mirror.status.replicas.get(owner)
    if view is not None and view.fresh and not rebooted(view, authority.owner_instance):
        return _fresh_owner_stopped(mirror, world, view, report)
    proof = fencing_proof(authority, owner, view)
    if isinstance(proof, Refusal):
        return Refusal(Reason.OVERRIDE_WAITING, proof.message)
    if proof.kind is ProofKind.LEASE_LOST:
        waiting = _link_wait(mirror, world, view)
        if waiting is not None:
            return waiting
    return f"{owner} writes no more, {_GROUNDS[proof.kind]}"


def _fresh_owner_stopped(
    mirror: Mirror, world: World, view: HostView, report: ReplicaReport | None
) -> str | Refusal:
    """A living owner must have no order to run the guest, and say that it obeys and is Secondary.

    Its role alone does not tell: it may have been reported before a start that is still under way.
    """
    heartbeat = view.heartbeat
    for guest in world.catalogue.guests_by_mirror.get(mirror.key, ()):
        assignment, said = guest.status.assignment, guest.status.hosts.get(view.name)
        if assignment is None or assignment.mirror not in ("", mirror.metadata.name):
            continue  # it was never told to run on this mirror
        if assignment.host == view.name:
            return Refusal(
                Reason.OVERRIDE_WAITING,
                f"guest {guest.key} is assigned to {view.name}, which sends its heartbeat; set"
                " running: false on it first",
            )
        known = said is not None and heartbeat and said.instance == heartbeat.instance
        if said is None or not known or not _obeys(said, assignment):
            return Refusal(
                Reason.OVERRIDE_WAITING,
                f"{view.name} sends its heartbeat and does not say yet that guest {guest.key} has"
                f" stopped there (it says: {said.state if said else 'nothing'})",
            )
    current = report is not None and heartbeat and report.instance == heartbeat.instance
    if report is not None and current and report.role == Role.SECONDARY:
        return f"{view.name} is not Primary"
    if report is not None and current and report.connection == NOT_CONFIGURED:
        return f"its device is not up on {view.name}"  # as where the disk is dead
    role = report.role if report and report.role else "in an unknown role"
    return Refusal(
        Reason.OVERRIDE_WAITING, f"{view.name} sends its heartbeat and is {role}; stop it first"
    )


def _obeys(said: GuestReport, assignment: Assignment) -> bool:
    """Whether a host knows this assignment, and neither runs the guest nor is starting it.

    Where libvirt does not tell, the device's role does: no guest runs on a Secondary.
    """
    return said.assignment_serial >= assignment.serial and said.state in (
        DomainState.ABSENT,
        DomainState.UNKNOWN,
    )


def _link_wait(mirror: Mirror, world: World, loser: HostView | None) -> Refusal | None:
    """The other half of rule 12: the loser may have lived on the replication link."""
    order = mirror.spec.override
    assert order is not None
    winner, now_s = mirror.status.replicas.get(order.host), world.snapshot.now_s
    view = world.hosts.get(order.host)
    if winner is None or view is None or not view.fresh or not winner.link_down:
        return Refusal(
            Reason.OVERRIDE_WAITING,
            f"{order.host} must report that it is not connected to the other host",
        )
    since_s = world.snapshot.link_down_since_s.get((mirror.key, order.host), now_s)
    heartbeat = loser.heartbeat if loser else None
    timing = heartbeat.timing if heartbeat and heartbeat.timing else DEFAULT
    if now_s - since_s >= timing.link_wait_s:
        return None
    return Refusal(
        Reason.OVERRIDE_WAITING,
        "the other host may have lived on the replication link"
        f" until {order.host} lost it; it is safe {timing.link_wait_s:g} s after that",
    )


_GROUNDS = {
    ProofKind.LEASE_LOST: "its heartbeat was lost and its watchdog has acted",
    ProofKind.FENCED: "it reported that it had stopped",
    ProofKind.REBOOTED: "it has rebooted",
    ProofKind.POWERED_OFF: "its fence agent confirmed that it is powered off",
    ProofKind.PERSON: "a person confirmed that it is powered off",
}


def _overridden(authority: Authority, order: OverrideRequest, loser: str) -> Authority:
    eligible = {
        order.host: Eligibility(eligible=True, reason=Reason.OVERRIDDEN),
        loser: Eligibility(eligible=False, reason=Reason.OVERRIDDEN),
    }
    return next_epoch(
        authority,
        "",  # the swap has a name of its own
        Reason.OVERRIDDEN,
        mends=True,
        owner="",
        owner_instance="",
        mode=Mode.MIRRORED,
        eligible=eligible,
        fenced={},
        migration=None,
        override=Override(
            by=order.by, at_epoch=order.epoch, accept_data_loss=True, host=order.host
        ),
    )
