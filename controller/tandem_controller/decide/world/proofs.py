"""Rule 13: what proves that a host's instance runs and writes nothing any more. Pure."""

from tandem_api.authority import Authority, Instance
from tandem_api.kinds.guest import FencingProof, ProofKind
from tandem_api.reasons import Reason
from tandem_controller.decide.world.clocks import ClockState
from tandem_controller.decide.world.hosts import rebooted, silence
from tandem_controller.decide.world.model import Case, Freshness, HostView, Refusal

SILENT = (Freshness.LATE, Freshness.LOST, Freshness.NEVER)


def fencing_proof(authority: Authority, host: str, view: HostView | None) -> FencingProof | Refusal:
    """Proof that the owner's instance has stopped, the quickest first; or what is missing."""
    instance = authority.owner_instance
    if fenced(authority, host):
        return _proof(ProofKind.FENCED, authority, host, view)
    if view is None:
        return Refusal(
            Reason.WAITING_FOR_FENCING_PROOF,
            f"there is no host {host}, so nothing proves that it has stopped",
        )
    if rebooted(view, instance):
        return _proof(ProofKind.REBOOTED, authority, host, view)
    if _confirmed_down(view, instance) and view.freshness in SILENT:
        return _proof(ProofKind.PERSON, authority, host, view)
    if _switched_off(view, instance) and view.freshness in SILENT:
        return _proof(ProofKind.POWERED_OFF, authority, host, view)
    return _by_lease(authority, view)


def proven_to_have_stopped(case: Case) -> bool:
    """Whether the owner's instance has certainly stopped, without any wait that a taker counts."""
    owner = case.authority.owner
    proof = fencing_proof(case.authority, owner, case.view(owner))
    return isinstance(proof, FencingProof) and proof.kind is not ProofKind.LEASE_LOST


def stop_unproven(case: Case) -> str:
    """What to tell of an owner that is lost and was told to stop its guest."""
    owner = case.authority.owner
    view = case.view(owner)
    if view is None:
        return f"there is no host {owner}, so nothing proves that it has stopped"
    return _needs_proof(case.authority, view, f"{silence(view)}, so it has not been told").message


def fenced(authority: Authority, host: str) -> bool:
    """Whether the owner's instance itself said that it has stopped everything."""
    record = authority.fenced.get(host)
    return record is not None and record.instance == authority.owner_instance


def as_good(known: FencingProof, proof: FencingProof) -> bool:
    """Whether nothing comes of giving a host this proof in place of what it has. What time has
    proven is not proven anew because a fence agent's word comes after it: a claim is under way.
    """
    later = proof.kind is ProofKind.POWERED_OFF and known.kind is ProofKind.LEASE_LOST
    by_time = {"kind": known.kind} if later else {}
    return _proves_the_same(known, proof.model_copy(update=by_time))


def _proves_the_same(known: FencingProof, proof: FencingProof) -> bool:
    """Of a silence its heartbeat counts, since the next one ends it. What has stopped in another
    way has stopped for good, however many heartbeats its host sends since then.
    """
    if proof.kind is not ProofKind.LEASE_LOST:
        latest = {"lease_version": proof.lease_version, "watchdog": proof.watchdog}
        known = known.model_copy(update=latest)
    return known == proof


def _by_lease(authority: Authority, view: HostView) -> FencingProof | Refusal:
    heartbeat, name = view.heartbeat, view.name
    if heartbeat is None or heartbeat.timing is None:
        return _needs_proof(authority, view, f"{silence(view)} that says how long it may run")
    if view.freshness is not Freshness.LOST:
        duration_s = heartbeat.timing.lost_after_s
        return Refusal(
            Reason.WAITING_FOR_LEASE,
            f"{silence(view)}; its guests are taken over {duration_s:g} s after its last",
        )
    if not heartbeat.watchdog_armed:
        return _needs_proof(authority, view, f"{silence(view)} and has no watchdog armed")
    if view.clock.state is ClockState.TOO_SLOW:
        return _needs_proof(authority, view, f"{silence(view)}, and {_slow(name)}")
    return _proof(ProofKind.LEASE_LOST, authority, name, view)


def outrun(authority: Authority, view: HostView, target: str) -> Refusal | None:
    """Why the wait that ``target`` counts on its own clock does not prove that a silent host has
    stopped, or None.
    """
    if target not in view.clock.outrun_by:
        return None
    return _needs_proof(authority, view, f"{silence(view)}, and {_fast(view.name, target)}")


def no_time_would_tell(view: HostView, target: str) -> Refusal | None:
    """Of a host that is heard: why no wait, once it is silent, would let ``target`` take over."""
    so = "so its silence would not prove that it stopped"
    if view.clock.state is ClockState.TOO_SLOW:
        return Refusal(Reason.CLOCK_TOO_SLOW, f"{_slow(view.name)}, {so}")
    if target in view.clock.outrun_by:
        return Refusal(Reason.CLOCK_TOO_FAST, f"{_fast(view.name, target)}, {so}")
    return None


def _slow(host: str) -> str:
    return f"the clock of {host} was seen to run more slowly than clockRateRatio allows"


def _fast(host: str, target: str) -> str:
    return (
        f"the clock of {target} was seen to run more than clockRateRatio times as fast as that of"
        f" {host}"
    )


def _needs_proof(authority: Authority, view: HostView, what: str) -> Refusal:
    owner = Instance.parse(authority.owner_instance)
    boot_id = owner.boot_id if owner else "<its status.bootID>"
    return Refusal(
        Reason.WAITING_FOR_FENCING_PROOF,
        f"{what}: its silence does not prove that it stopped. If it is powered off, say so: set"
        f" spec.confirmedDown to {boot_id} on host {view.name}",
    )


def _proof(kind: ProofKind, authority: Authority, host: str, view: HostView | None) -> FencingProof:
    heartbeat = view.heartbeat if view else None
    return FencingProof(
        kind=kind,
        host=host,
        instance=authority.owner_instance,
        at_epoch=authority.epoch,
        lease_version=heartbeat.version if heartbeat else "",
        watchdog=heartbeat.watchdog_armed if heartbeat else False,
        link_acknowledged=heartbeat.link_acknowledged if heartbeat else False,
    )


def _switched_off(view: HostView, instance: str) -> bool:
    """By its fence agent's word, which a heartbeat since then would have refuted."""
    word, beat, owner = view.host.status.powered_off, view.heartbeat, Instance.parse(instance)
    if word is None or beat is None or owner is None:
        return False
    return (word.boot_id, word.lease_version) == (owner.boot_id, beat.version)


def _confirmed_down(view: HostView, instance: str) -> bool:
    confirmed, owner = view.host.spec.confirmed_down, Instance.parse(instance)
    return confirmed is not None and owner is not None and confirmed == owner.boot_id
