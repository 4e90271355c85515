"""Who may claim a mirror is level with its guests' assignments, whatever happened before."""

from dataclasses import replace
from typing import Any

import pytest

from tandem_api.kinds.guest import FencingProof, ProofKind
from tandem_api.kinds.mirror import Claimant
from tandem_api.meta import ObjectKey, Problem
from tandem_controller.decide.plan import plan
from tandem_controller.decide.world.model import (
    Plan,
    Unreadable,
    WriteAssignment,
    WriteClaimant,
    WriteStatus,
)
from unit.controller.scenes import A, B, Scene, assigned, guest, instance, moving

BY_A: dict[str, Any] = {A: {"guest": "g"}}
BY_B: dict[str, Any] = {B: {"guest": "g"}}


def lost_proof() -> FencingProof:
    return FencingProof(
        kind=ProofKind.LEASE_LOST,
        host=A,
        instance=instance(A),
        at_epoch=7,
        lease_version="77",
        watchdog=True,
    )


def assignment_in(plan: Plan) -> WriteAssignment:
    (write,) = (write for write in plan.urgent if isinstance(write, WriteAssignment))
    return write


def claimant_writes(plan: Plan) -> list[WriteClaimant]:
    return [write for write in plan.urgent if isinstance(write, WriteClaimant)]


def mirror_patch(plan: Plan) -> WriteStatus | None:
    return next((write for write in plan.statuses if write.kind == "Mirror"), None)


def test_nothing_is_written_while_nothing_changes() -> None:
    made = Scene().plan()
    assert claimant_writes(made) == []
    patch = mirror_patch(made)
    assert patch is None or "claimants" not in patch.patch


def test_a_takeover_brings_its_proof_along() -> None:
    write = assignment_in(Scene().lost().plan())
    assert write.claimant is not None
    assert (write.claimant.host, write.assignment.host) == (B, B)
    assert write.claimant.claimant == Claimant(guest="g", proof=lost_proof())
    assert write.assignment.proof == lost_proof()


def test_a_planned_move_needs_no_proof() -> None:
    write = assignment_in(moving().plan())
    assert write.claimant is not None
    assert (write.claimant.host, write.claimant.claimant) == (B, Claimant(guest="g"))


def test_the_entry_of_who_has_the_guest_now_stays_until_the_assignment_is_written() -> None:
    """A crash between the two writes must not leave the one that is assigned without."""
    patch = mirror_patch(moving().plan())
    assert patch is None or "claimants" not in patch.patch


def test_an_entry_that_is_there_is_not_written_again() -> None:
    """After a crash, or a conflict, between the two writes."""
    scene = Scene().lost()
    scene.claimants = {**BY_A, B: {"guest": "g", "proof": lost_proof().wire()}}
    assert assignment_in(scene.plan()).claimant is None


def test_a_proof_of_before_is_replaced() -> None:
    scene = Scene().lost()
    older = lost_proof().model_copy(update={"at_epoch": 5})
    scene.claimants = {**BY_A, B: {"guest": "g", "proof": older.wire()}}
    write = assignment_in(scene.plan())
    assert write.claimant is not None
    assert write.claimant.claimant.proof == lost_proof()


@pytest.mark.parametrize("claimants", [{}, BY_B, {A: {"guest": "another"}}])
def test_what_lacks_for_an_assignment_that_stays_is_mended(claimants: dict[str, Any]) -> None:
    """After a restore of one of the two, a hand edit, a mirror that was made again."""
    scene = Scene(claimants=claimants)
    (write,) = claimant_writes(scene.plan())
    assert (write.host, write.claimant) == (A, Claimant(guest="g"))


@pytest.mark.parametrize(("at_epoch", "mended"), [(7, False), (6, True)], ids=["now", "before"])
def test_a_proof_about_the_present_is_not_mended_away(at_epoch: int, mended: bool) -> None:
    """Two controllers believe that they lead: this one has not heard of the other's assignment."""
    proof = lost_proof().model_copy(update={"at_epoch": at_epoch})
    scene = Scene(claimants={A: {"guest": "g", "proof": proof.wire()}})
    assert bool(claimant_writes(scene.plan())) is mended


def test_what_was_assigned_before_there_was_the_field_is_added() -> None:
    scene = Scene(claimants=None)
    snapshot = scene.snapshot()
    (mirror,) = snapshot.mirrors
    status = mirror.status.model_copy(update={"claimants": None})
    old = replace(snapshot, mirrors=(mirror.model_copy(update={"status": status}),))
    (write,) = claimant_writes(plan(old))
    assert (write.host, write.mirror.status.claimants) == (A, None)


def test_entries_of_whom_nothing_is_assigned_to_go_with_the_version_that_was_seen() -> None:
    scene = Scene(claimants={**BY_A, **BY_B})
    write = mirror_patch(scene.plan())
    assert write is not None
    assert write.patch["claimants"] == {B: None}
    assert write.version == scene.parsed_mirror().metadata.resource_version


def test_an_entry_that_this_very_plan_adds_is_not_taken_away_by_it() -> None:
    """It is there already, from a plan that crashed before its second write."""
    scene = moving()
    scene.claimants = {**BY_A, **BY_B}
    patch = mirror_patch(scene.plan())
    assert patch is None or "claimants" not in patch.patch


def test_other_writes_to_a_mirror_need_no_version() -> None:
    writes = [w for w in Scene().plan().statuses if "claimants" not in w.patch]
    assert writes
    assert {write.version for write in writes} == {None}


def test_a_stop_takes_the_entry_away_after_it() -> None:
    stopping = Scene(guest={"running": False})
    assert assignment_in(stopping.plan()).claimant is None
    stopped = Scene(guest={"running": False}, assignment=assigned(""), claimants=BY_A)
    write = mirror_patch(stopped.plan())
    assert write is not None
    assert write.patch["claimants"] == {A: None}


def test_of_two_guests_on_one_mirror_the_one_that_was_first_counts() -> None:
    """They would else be written in turn, in every plan."""
    scene = Scene()
    second = guest("h", status={"assignment": {**assigned(A), "mirror": "g"}}, mirror="g")
    scene.more = [second]
    assert claimant_writes(scene.plan()) == []


def test_no_entry_goes_while_a_guest_there_cannot_be_read() -> None:
    """It may be the one that the entry is for: of a newer release, or edited by hand."""
    snapshot = Scene(claimants={**BY_A, **BY_B}).snapshot()
    for namespace, narrows in (("ns", False), ("another", True)):
        key = ObjectKey(namespace=namespace, name="h")
        unreadable = Unreadable("Guest", key, "uid-h", 1, (Problem("spec", "is unknown"),))
        patch = mirror_patch(plan(replace(snapshot, unreadable=(unreadable,))))
        assert (patch is not None and "claimants" in patch.patch) is narrows
