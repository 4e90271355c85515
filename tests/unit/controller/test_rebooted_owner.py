"""What becomes of a guest whose owner has rebooted."""

from typing import Any

import pytest

from tandem_api.kinds.guest import ProofKind
from tandem_api.reasons import Reason
from tandem_api.vocabulary import GuestPhase
from tandem_controller.decide.status.guest import guest_phase
from tandem_controller.decide.world.model import Assign, Blocked, Keep, case_of

from .scenes import A, B, Scene, assigned, instance, only, owned_by, replica, report


def rebooted() -> Scene:
    scene = Scene()
    scene.beats[A].boot = "newer"
    return scene


def test_a_rebooted_owner_starts_it_again() -> None:
    decision = rebooted().decide()
    assert decision == Keep(Reason.HOST_REBOOTED, f"{A} has rebooted: it is started there again")


def test_a_rebooted_owner_without_libvirt_is_replaced() -> None:
    scene = rebooted()
    scene.replicas[A]["instance"] = instance(A, boot="newer")
    said = report(A, "Unknown", message="libvirt does not tell the guest's state")
    scene.reports[A] = {**said, "instance": instance(A, boot="newer")}
    decision = scene.decide()
    assert isinstance(decision, Assign)
    assert decision.host == B
    assert decision.proof is not None
    assert decision.proof.kind is ProofKind.REBOOTED


def test_a_rebooted_owner_whose_replica_is_stale_is_replaced() -> None:
    scene = rebooted()
    scene.replicas[A]["marker"] = {"reason": "AttachedNotUpToDate"}
    decision = scene.decide()
    assert isinstance(decision, Assign)
    assert decision.host == B
    assert decision.proof is not None
    assert decision.proof.kind is ProofKind.REBOOTED


def test_a_rebooted_owner_that_cannot_be_replaced_either_is_told() -> None:
    scene = rebooted()
    scene.replicas[A]["marker"] = {"reason": "AttachedNotUpToDate"}
    scene.authority = owned_by(A, mode="Standalone", eligible=only(A))
    decision = scene.decide()
    assert isinstance(decision, Blocked)
    assert "possibly stale" in decision.message
    assert "would lose those writes" in decision.message


@pytest.mark.parametrize(
    "replica_of_a",
    [
        replica(A, volumes={"root": {"disk": "Diskless"}}),
        replica(A, volumes={}),
        replica(A, connection="NotConfigured", reason="EffectFailed", message="attach: no device"),
        replica(A, connection="Unknown", reason="UnknownState", message="no answer"),
    ],
    ids=["a dead disk", "no disk", "it cannot be brought up", "DRBD does not tell"],
)
def test_a_rebooted_owner_without_a_usable_disk_is_replaced(replica_of_a: dict[str, Any]) -> None:
    scene = rebooted()
    scene.replicas[A] = {**replica_of_a, "instance": instance(A, boot="newer")}
    decision = scene.decide()
    assert isinstance(decision, Assign)
    assert decision.host == B
    assert decision.proof is not None
    assert decision.proof.kind is ProofKind.REBOOTED


@pytest.mark.parametrize(
    "replica_of_a",
    [
        replica(A, volumes={"root": {"disk": "Diskless"}}),
        replica(A, connection="NotConfigured", reason="BringingUp") | {"boot": "newer"},
    ],
    ids=["what it said before its boot", "it is being brought up"],
)
def test_a_rebooted_owner_is_waited_for_while_it_comes_up(replica_of_a: dict[str, Any]) -> None:
    scene = rebooted()
    boot = replica_of_a.pop("boot", "boot")
    scene.replicas[A] = {**replica_of_a, "instance": instance(A, boot=boot)}
    assert isinstance(scene.decide(), Keep)


@pytest.fixture
def told() -> Scene:
    """Its disk is dead, nobody can replace it, and people were told so; it is tried once more."""
    scene = rebooted()
    scene.authority = owned_by(A, mode="Standalone", eligible=only(A))
    again = replica(A, connection="NotConfigured", reason="BringingUp")
    scene.replicas[A] = {**again, "instance": instance(A, boot="newer")}
    scene.status = {"phase": "Blocked", "reason": "DiskNotUsable", "message": "its disk is dead"}
    return scene


def test_another_try_to_bring_up_what_does_not_come_up_is_no_news(told: Scene) -> None:
    decision = told.decide()
    assert decision == Blocked(Reason.DISK_NOT_USABLE, "its disk is dead", takeover=True)


@pytest.mark.parametrize(
    "status",
    [{"phase": "Starting", "reason": "DiskNotUsable"}, {"phase": "Blocked", "reason": "LeaseLost"}],
)
def test_the_first_try_is_waited_for(told: Scene, status: dict[str, str]) -> None:
    told.status = status
    assert isinstance(told.decide(), Keep)


def test_what_has_come_up_is_started_again(told: Scene) -> None:
    told.replicas[A] = {**replica(A), "instance": instance(A, boot="newer")}
    assert isinstance(told.decide(), Keep)


@pytest.mark.parametrize(
    ("reason", "phase"), [("UnknownState", GuestPhase.FAILED), ("BringingUp", GuestPhase.STARTING)]
)
def test_where_the_replica_does_not_come_up_the_guest_has_failed(
    reason: str, phase: GuestPhase
) -> None:
    scene = Scene().unowned()
    scene.replicas[A] = replica(A, connection="NotConfigured", reason=reason)
    scene.reports = {A: report(A, "Absent")}
    guest, world = scene.parsed_guest(), scene.world()
    waits = Keep(Reason.WAITING_FOR_LEASE, "")
    case = case_of(guest, world)
    assert guest_phase(guest, guest.status.assignment, case, waits, world) is phase


def test_a_takeover_under_way_gets_a_new_proof_when_the_owner_has_rebooted() -> None:
    scene = rebooted()
    proof = {"kind": "LeaseLost", "host": A, "instance": instance(A), "atEpoch": 7}
    scene.assignment = assigned(B, "LeaseLost", proof=proof)
    decision = scene.decide()
    assert isinstance(decision, Assign)
    assert decision.host == B
    assert decision.proof is not None
    assert decision.proof.kind is ProofKind.REBOOTED


def chosen(scene: Scene) -> Scene:
    """The other host is assigned, with the proof that was decided."""
    decision = scene.decide()
    assert isinstance(decision, Assign)
    assert decision.proof is not None
    scene.assignment = assigned(B, decision.reason, proof=decision.proof.wire())
    return scene


def test_a_rebooted_owner_that_sends_heartbeats_is_replaced_once() -> None:
    """Each of them has another version, and none is news: what ran there before has stopped."""
    scene = rebooted()
    scene.replicas[A]["marker"] = {"reason": "AttachedNotUpToDate"}
    chosen(scene).beats[A].version = "78"
    scene.beats[A].armed = False
    assert isinstance(scene.decide(), Keep)


def test_but_a_silence_that_ended_and_began_again_is_another_one() -> None:
    """The taker compares the version of the heartbeat that the silence began with."""
    scene = chosen(Scene().lost())
    assert isinstance(scene.decide(), Keep)
    scene.beats[A].version = "78"
    again = scene.decide()
    assert isinstance(again, Assign)
    assert again.proof is not None
    assert again.proof.lease_version == "78"
