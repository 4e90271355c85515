"""An owner that lost its own disk and whose guest has ended: somebody else may have the mirror."""

from typing import Any

import pytest

from tandem_api.reasons import Reason
from tandem_controller.decide.mirrors.copies import doubted
from tandem_controller.decide.world.model import Assign, Blocked, Keep

from .scenes import A, B, Scene, assigned, instance, only, owned_by, replica, report

MARKER = {"reason": "LocalDiskFailed"}
DOUBT = {"reason": "AttachedNotUpToDate"}


def disk(word: str, peer: str = "UpToDate") -> dict[str, Any]:
    return {"root": {"disk": word, "peerDisk": peer, "outOfSyncBytes": 0}}


def stranded(marker_there: dict[str, Any] | None = None) -> Scene:
    """A owns the mirror; its disk is gone, and the guest is not there."""
    scene = Scene()
    scene.replicas = {
        A: replica(A, marker=MARKER, volumes=disk("Diskless"), epochSeen=7),
        B: replica(
            B, marker=marker_there, volumes=disk("Consistent" if marker_there else "UpToDate")
        ),
    }
    scene.reports = {A: report(A, "Absent", reason="MarkedStale")}
    return scene


@pytest.mark.parametrize("marker_there", [None, DOUBT])
def test_it_lets_the_other_host_have_it(marker_there: dict[str, Any] | None) -> None:
    """Also if that is in doubt of its own copy: nothing is gained by keeping the mirror."""
    decision = stranded(marker_there).decide()
    assert isinstance(decision, Assign)
    assert (decision.host, decision.reason, decision.proof) == (B, Reason.LOCAL_DISK_FAILED, None)


def test_and_does_not_take_it_back_for_that_doubt() -> None:
    scene = stranded(DOUBT)
    scene.assignment = assigned(B, "LocalDiskFailed")
    assert isinstance(scene.decide(), Keep)


def test_what_is_proposed_then_is_carried_out() -> None:
    """An override waits until the guest is not assigned to the owner any more."""
    scene = stranded()
    scene.authority = owned_by(A, mode="Standalone", eligible=only(A))
    decision = scene.decide()
    assert isinstance(decision, Blocked)
    assert f"spec.override: {{host: {B}, epoch: 7," in decision.message
    scene.mirror["override"] = {"host": B, "epoch": 7, "acceptDataLoss": True, "by": "maria"}
    decision = scene.decide()
    assert isinstance(decision, Assign)
    assert decision.host == B


def test_a_guest_that_still_runs_is_not_moved_there() -> None:
    scene = stranded(DOUBT)
    scene.reports = {A: report(A)}
    scene.replicas[A]["role"] = "Primary"
    assert isinstance(scene.decide(), Keep)
    scene.assignment = assigned(B, "LocalDiskFailed")
    back = scene.decide()
    assert isinstance(back, Assign)
    assert back.host == A


@pytest.mark.parametrize(
    "said",
    [
        report(A, "Absent", serial=2, reason="MarkedStale"),
        {**report(A, "Absent", reason="MarkedStale"), "instance": instance(A, boot="older")},
    ],
    ids=["before the last order", "before its last boot"],
)
def test_an_old_word_of_its_host_counts_for_nothing(said: dict[str, Any]) -> None:
    scene = stranded()
    scene.reports = {A: said}
    assert isinstance(scene.decide(), Keep)


def test_a_moment_in_which_drbd_does_not_answer_moves_nothing() -> None:
    scene = stranded()
    silent = {"connection": "Unknown", "role": "Unknown", "volumes": {}, "reason": "UnknownState"}
    scene.replicas[A] = {**scene.replicas[A], **silent, "marker": None}
    assert isinstance(scene.decide(), Keep)


def test_a_copy_that_may_lack_writes_is_a_persons_to_give() -> None:
    scene = stranded(DOUBT)
    scene.authority = {**(scene.authority or {}), "eligible": only(A), "mode": "Standalone"}
    decision = scene.decide()
    assert isinstance(decision, Blocked)
    assert f"{A} cannot start it" in decision.message
    assert f"spec.override: {{host: {B}, epoch: 7, acceptDataLoss: true" in decision.message


def test_failover_by_hand_is_a_persons_too() -> None:
    scene = stranded()
    scene.guest["failover"] = {"policy": "Manual"}
    decision = scene.decide()
    assert isinstance(decision, Blocked)
    assert "set spec.failover.policy to Automatic" in decision.message


class TestNobodyOwnsIt:
    def released(self) -> Scene:
        scene = stranded(DOUBT).unowned()
        scene.replicas = stranded(DOUBT).replicas
        scene.reports = {A: report(A, "Absent")}
        scene.assignment = assigned(B, "LocalDiskFailed")
        return scene

    def test_a_person_is_told_which_copy_there_is(self) -> None:
        decision = self.released().decide()
        assert isinstance(decision, Blocked)
        assert f"{B} has every acknowledged write, unless its disk had failed" in decision.message
        assert f"spec.override: {{host: {B}, epoch: 7, acceptDataLoss: true" in decision.message

    def test_not_one_that_lacks_writes(self) -> None:
        scene = self.released()
        scene.authority = {**(scene.authority or {}), "eligible": only(A)}
        assert doubted(scene.parsed_mirror(), scene.world()) == ""

    def test_not_while_both_are_there_to_find_out_by_themselves(self) -> None:
        scene = self.released()
        scene.replicas[A] = replica(A, marker=DOUBT, volumes=disk("Consistent"))
        assert doubted(scene.parsed_mirror(), scene.world()) == ""

    def test_what_one_that_was_found_to_differ_lacks(self) -> None:
        scene = self.released()
        scene.replicas[B]["marker"] = {"reason": "DifferenceFound", "since": "then"}
        told = doubted(scene.parsed_mirror(), scene.world())
        assert told.startswith(f"{A} has what {B} was found to lack: bring it back")
        assert f"spec.override: {{host: {B}, epoch: 7, acceptDataLoss: true" in told

    def test_what_one_whose_disk_had_failed_may_lack(self) -> None:
        """What was written meanwhile is on the other one alone, whose disk cannot be read."""
        scene = self.released()
        scene.replicas[B]["marker"] = MARKER
        told = doubted(scene.parsed_mirror(), scene.world())
        assert told.startswith(f"{A} may have what was written after {B}'s disk had failed")
        coming = scene.replicas[A]
        scene.replicas[A] = {**replica(A), "connection": "NotConfigured", "reason": "BringingUp"}
        scene.replicas[A]["volumes"] = {}
        hint = doubted(scene.parsed_mirror(), scene.world())
        assert hint.startswith(f"Wait until {A} has brought its replica up")
        scene.replicas[A] = coming
        assert f"spec.override: {{host: {B}, epoch: 7, acceptDataLoss: true" in told

    def test_nor_is_an_owner_that_has_rebooted_left_without_a_word(self) -> None:
        scene = Scene().silent(A)
        scene.authority = {
            **(scene.authority or {}),
            "owner": B,
            "ownerInstance": instance(B, "old"),
        }
        scene.replicas[B] = replica(B, connected=False, marker=DOUBT, volumes=disk("Consistent"))
        scene.assignment, scene.reports = assigned(B), {B: report(B, "Absent")}
        decision = scene.decide()
        assert isinstance(decision, Blocked)
        assert f"spec.override: {{host: {B}, epoch: 7, acceptDataLoss: true" in decision.message

    def test_not_one_that_is_not_in_doubt(self) -> None:
        scene = self.released()
        del scene.replicas[B]["marker"]
        assert doubted(scene.parsed_mirror(), scene.world()) == ""


def test_it_goes_to_the_other_host_if_the_one_that_has_it_cannot() -> None:
    """As one that can keep no record of what it owns."""
    scene = Scene().unowned()
    scene.reports = {A: report(A, "Absent", refusedStart="Read-only file system")}
    decision = scene.decide()
    assert isinstance(decision, Assign)
    assert decision.host == B
    assert "Read-only file system" in decision.message
    scene.reports[B] = report(B, "Absent", refusedStart="no bridge")
    assert isinstance(scene.decide(), Keep)


def test_what_it_said_before_it_claimed_moves_nothing() -> None:
    """Both had rebooted: its marker is cleared, it has claimed, and its report is on the way."""
    scene = stranded()
    scene.replicas[A] = replica(A, marker=DOUBT, epochSeen=6)
    scene.replicas[B] = replica(B)
    assert not isinstance(scene.decide(), Assign)


def test_nor_a_marker_that_is_about_to_be_cleared() -> None:
    scene = stranded()
    scene.replicas[A] = replica(A, marker=DOUBT, epochSeen=7)
    scene.replicas[B] = replica(B)
    assert not isinstance(scene.decide(), Assign)
    scene.replicas[A] = replica(A, marker=DOUBT, epochSeen=7, connected=False)
    scene.replicas[B] = replica(B, connected=False)
    assert isinstance(scene.decide(), Assign)
