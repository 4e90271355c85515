"""Rules 12 to 14: every ground on which a guest is taken over, and every refusal."""

from collections.abc import Callable
from dataclasses import dataclass

import pytest

from tandem_api.kinds.guest import FencingProof, ProofKind
from tandem_api.reasons import Reason
from tandem_api.timing import DEFAULT
from tandem_controller.decide.world.model import Assign, Blocked, Keep

from .scenes import BEFORE, A, B, Beat, Scene, assigned, instance, only, owned_by, replica


@dataclass(frozen=True)
class Lost:
    """A scene in which A is lost, and what differs from the plain case."""

    name: str
    change: Callable[[Scene], object]
    reason: Reason
    says: str


def beat(scene: Scene, host: str, **changes: object) -> None:
    for name, value in changes.items():
        setattr(scene.beats[host], name, value)


def put(scene: Scene, **changes: object) -> None:
    for name, value in changes.items():
        setattr(scene, name, value)


def ordered(host: str, epoch: int = 7) -> dict[str, object]:
    return {"host": host, "epoch": epoch, "acceptDataLoss": True, "by": "maria"}


REFUSALS = [
    Lost(
        "policy",
        lambda s: s.guest.update(failover={"policy": "Manual"}),
        Reason.FAILOVER_MANUAL,
        "failover is Manual: set spec.failover.policy to Automatic",
    ),
    Lost(
        "both sites stale",
        lambda s: s.silent(B),
        Reason.BOTH_SITES_STALE,
        "rather this controller is cut off, so it acts on nothing",
    ),
    Lost(
        "the owner wrote alone",
        lambda s: put(s, authority=owned_by(A, mode="Standalone", eligible=only(A))),
        Reason.PEER_HOLDS_STANDALONE,
        "would lose those writes. To accept that, set on the mirror: spec.override:"
        f" {{host: {B}, epoch: 7, acceptDataLoss: true, by: <your user name>}}",
    ),
    Lost(
        "the owner wrote alone and lives on the link, but runs nothing",
        lambda s: put(
            s,
            authority=owned_by(A, mode="Standalone", eligible=only(A)),
            replicas={A: replica(A, role="Secondary"), B: replica(B, peerRole="Secondary")},
        ),
        Reason.PEER_HOLDS_STANDALONE,
        f"would lose those writes. {B} still sees it as Secondary over the replication link: bring"
        f" its management link back, or power {A} off",
    ),
    Lost(
        "the owner wrote alone and may run it still",
        lambda s: put(
            s,
            authority=owned_by(A, mode="Standalone", eligible=only(A)),
            replicas={A: replica(A, role="Primary"), B: replica(B, peerRole="Primary")},
        ),
        Reason.PEER_HOLDS_STANDALONE,
        f"{B} still sees it as Primary over the replication link: bring its management link back,"
        f" or power {A} off if the guest does not run there",
    ),
    Lost(
        "the target lacks writes",
        lambda s: put(s, authority=owned_by(A, eligible=only(A, "PeerDiskNotUpToDate"))),
        Reason.NOT_ELIGIBLE,
        f"{B} may lack acknowledged writes (PeerDiskNotUpToDate at epoch 7)",
    ),
    Lost(
        "protocol B",
        lambda s: s.mirror.update(protocol="B"),
        Reason.PROTOCOL_NOT_SYNCHRONOUS,
        f"with protocol B {B} may lack acknowledged writes",
    ),
    Lost(
        "protocol B, and the owner lives on the link",
        lambda s: (
            s.mirror.update(protocol="B"),
            put(s, replicas={A: replica(A, role="Primary"), B: replica(B, peerRole="Primary")}),
        ),
        Reason.PROTOCOL_NOT_SYNCHRONOUS,
        f"may lack acknowledged writes. {B} still sees it as Primary over the replication link",
    ),
    Lost(
        "an order that waits is not asked for again",
        lambda s: (
            s.mirror.update(protocol="B", override=ordered(B)),
            beat(s, A, armed=False),
            s.hosts[A].update(watchdog="None"),
        ),
        Reason.PROTOCOL_NOT_SYNCHRONOUS,
        "may lack acknowledged writes. Waiting to carry out spec.override: ",
    ),
    Lost(
        "an order for another epoch is no order",
        lambda s: s.mirror.update(protocol="B", override=ordered(B, epoch=6)),
        Reason.PROTOCOL_NOT_SYNCHRONOUS,
        "To accept that, set on the mirror: spec.override:",
    ),
    Lost(
        "the target is late, a third host is well",
        lambda s: (
            s.silent(B, DEFAULT.self_fence_seconds + 1),
            s.hosts.update({"c-1": {"site": "burjassot"}}),
            s.beats.update({"c-1": Beat()}),
        ),
        Reason.HOST_NOT_READY,
        f"cannot be replaced: {B} has sent no heartbeat since {BEFORE}",
    ),
    Lost(
        "the target's site is in maintenance",
        lambda s: s.sites.update(tarongers={"maintenance": True}),
        Reason.MAINTENANCE,
        f"{B} is not used: site tarongers is in maintenance",
    ),
    Lost(
        "the target requires a watchdog and has none",
        lambda s: beat(s, B, armed=False),
        Reason.WATCHDOG_NOT_ARMED,
        f"{B} requires a watchdog and has none armed",
    ),
    Lost(
        "the target has no room",
        lambda s: s.hosts[B].update(capacity={"memory": "512Mi", "cpus": 64}),
        Reason.NO_ROOM,
        f"{B} has no room for another 1Gi: its 512Mi are promised to other guests",
    ),
    Lost(
        "the target still sees the owner",
        lambda s: put(s, replicas={A: replica(A, role="Primary"), B: replica(B)}),
        Reason.PEER_STILL_CONNECTED,
        f"Not taking over from {A}: {B} still sees it as Primary over the replication link: bring"
        f" its management link back, or power {A} off if the guest does not run there",
    ),
    Lost(
        "the target still sees the owner, which runs no guest",
        lambda s: put(s, replicas={A: replica(A), B: {**replica(B), "peerRole": "Secondary"}}),
        Reason.PEER_STILL_CONNECTED,
        f"Not taking over from {A}: {B} still sees it as Secondary over the replication link: bring"
        f" its management link back, or power {A} off",
    ),
    Lost(
        "the target's replica is not up",
        lambda s: s.replicas.pop(B),
        Reason.MIRROR_NOT_READY,
        f"{B}'s replica is not up",
    ),
    Lost(
        "the target does not know its link",
        lambda s: s.replicas[B].update(connection="Unknown"),
        Reason.MIRROR_NOT_READY,
        f"{B}'s replica is not up",
    ),
    Lost(
        "the target's replica is marked",
        lambda s: s.replicas[B].update(marker={"reason": "AttachedNotUpToDate"}),
        Reason.MARKED_STALE,
        f"{B}'s replica is marked as possibly stale (AttachedNotUpToDate)",
    ),
    Lost(
        "no watchdog on the lost host",
        lambda s: (beat(s, A, armed=False), s.hosts[A].update(watchdog="None")),
        Reason.WAITING_FOR_FENCING_PROOF,
        "its silence does not prove that it stopped. If it is powered off, say so: set"
        f" spec.confirmedDown to boot on host {A}",
    ),
    Lost(
        "a person confirmed another boot",
        lambda s: (beat(s, A, armed=False), s.hosts[A].update(confirmedDown="older")),
        Reason.WAITING_FOR_FENCING_PROOF,
        "does not prove that it stopped",
    ),
    Lost(
        "the lost host was never heard of",
        lambda s: s.beats.pop(A),
        Reason.WAITING_FOR_FENCING_PROOF,
        f"{A} has never sent a heartbeat",
    ),
    Lost(
        "the lost host's object is gone",
        lambda s: s.hosts.pop(A),
        Reason.WAITING_FOR_FENCING_PROOF,
        f"there is no host {A}",
    ),
    Lost(
        "a fenced record of another instance",
        lambda s: (
            beat(s, A, armed=False),
            put(s, authority=owned_by(A, fenced=fenced(run="other"))),
        ),
        Reason.WAITING_FOR_FENCING_PROOF,
        "does not prove that it stopped",
    ),
]


def fenced(run: str = "run") -> dict[str, object]:
    return {A: {"instance": instance(A, run=run), "epoch": 6}}


@pytest.mark.parametrize("case", REFUSALS, ids=lambda case: case.name)
def test_refusals(case: Lost) -> None:
    scene = Scene().lost()
    case.change(scene)
    decision = scene.decide()
    assert isinstance(decision, Blocked)
    assert decision.reason is case.reason
    assert case.says in decision.message
    assert decision.takeover


GROUNDS = [
    Lost("lease lost", lambda s: None, Reason.LEASE_LOST, "has sent no heartbeat since"),
    Lost(
        "fenced, without waiting",
        lambda s: (s.silent(A, 4), put(s, authority=owned_by(A, fenced=fenced()))),
        Reason.HOST_FENCED,
        "takes over",
    ),
    Lost(
        "fenced, though the link is up",
        lambda s: (
            put(s, authority=owned_by(A, fenced=fenced())),
            s.replicas.update({B: replica(B, role="Secondary", peerRole="Secondary")}),
        ),
        Reason.HOST_FENCED,
        "takes over",
    ),
    Lost(
        "rebooted and silent again",
        lambda s: (s.silent(A, 4), beat(s, A, boot="newer")),
        Reason.HOST_REBOOTED,
        "takes over",
    ),
    Lost(
        "confirmed by a person, without a watchdog",
        lambda s: (beat(s, A, armed=False), s.hosts[A].update(confirmedDown="boot")),
        Reason.CONFIRMED_BY_PERSON,
        "takes over",
    ),
]


@pytest.mark.parametrize("case", GROUNDS, ids=lambda case: case.name)
def test_grounds(case: Lost) -> None:
    scene = Scene().lost()
    case.change(scene)
    decision = scene.decide()
    assert isinstance(decision, Assign), decision
    assert (decision.host, decision.reason) == (B, case.reason)
    assert case.says in decision.message


def test_the_proof_names_one_instance_one_epoch_and_one_lease_version() -> None:
    decision = Scene().lost().decide()
    assert isinstance(decision, Assign)
    assert decision.proof == FencingProof(
        kind=ProofKind.LEASE_LOST,
        host=A,
        instance=instance(A),
        at_epoch=7,
        lease_version="77",
        watchdog=True,
    )


def test_while_the_lease_only_is_late_nothing_happens() -> None:
    scene = Scene().lost()
    scene.silent(A, DEFAULT.lease_duration_seconds - 0.1)
    decision = scene.decide()
    assert isinstance(decision, Keep)
    assert decision.reason is Reason.WAITING_FOR_LEASE
    assert f"taken over {DEFAULT.lost_after_s:g} s after its last" in decision.message


def test_the_duration_that_counts_is_the_one_the_host_published() -> None:
    scene = Scene().lost()
    slow = DEFAULT.model_copy(update={"lease_duration_seconds": 120.0})
    scene.beats[A] = Beat(silent_s=60, timing=slow)
    assert isinstance(scene.decide(), Keep)


def test_a_lease_without_timing_is_no_ground() -> None:
    scene = Scene().lost()
    scene.beats[A].timing = None
    decision = scene.decide()
    assert not isinstance(decision, Assign)


def test_an_outage_of_the_api_is_no_ground() -> None:
    scene = Scene().lost()
    scene.covered = False
    assert isinstance(scene.decide(), Keep)


def test_a_controller_that_has_not_watched_for_long_enough_waits() -> None:
    scene = Scene().lost()
    scene.beats[A] = Beat(silent_s=5, renewed=False)
    decision = scene.decide()
    assert isinstance(decision, Keep)
    assert "has not been watched for long enough" in decision.message


def test_a_person_is_not_believed_before_the_host_was_watched() -> None:
    """The host may be alive: it is only this controller that has just started."""
    scene = Scene().lost()
    scene.hosts[A] = {"confirmedDown": "boot"}
    scene.beats[A] = Beat(silent_s=0.5, renewed=False)
    assert isinstance(scene.decide(), Keep)


def test_a_person_is_not_believed_against_a_heartbeat() -> None:
    scene = Scene()
    scene.hosts[A] = {"confirmedDown": "boot"}
    assert isinstance(scene.decide(), Keep)


def test_the_assignment_stands_while_the_target_is_at_it() -> None:
    scene = Scene().lost()
    first = scene.decide()
    assert isinstance(first, Assign)
    assert first.proof is not None
    scene.assignment = assigned(B, "LeaseLost", proof=first.proof.wire())
    decision = scene.decide()
    assert isinstance(decision, Keep)
    assert (decision.reason, decision.message) == (Reason.LEASE_LOST, first.message)


@pytest.mark.parametrize("change", [{"epoch": 8}, {"ownerInstance": instance(A, run="newer")}])
def test_a_proof_of_what_is_no_longer_so_is_made_anew(change: dict[str, object]) -> None:
    scene = Scene().lost()
    first = scene.decide()
    assert isinstance(first, Assign)
    assert first.proof is not None
    scene.assignment = assigned(B, "LeaseLost", proof=first.proof.wire())
    scene.authority = owned_by(A, **change)
    again = scene.decide()
    assert isinstance(again, Assign)
    assert again.proof != first.proof


def test_a_lease_that_was_renewed_once_more_before_it_was_lost_makes_the_proof_anew() -> None:
    scene = Scene().lost()
    first = scene.decide()
    assert isinstance(first, Assign)
    assert first.proof is not None
    scene.assignment = assigned(B, "LeaseLost", proof=first.proof.wire())
    scene.beats[A].version = "78"
    again = scene.decide()
    assert isinstance(again, Assign)
    assert again.proof is not None
    assert again.proof.lease_version == "78"
