"""What hosts say of guests and replicas, and what people are shown of it."""

from typing import Any

import pytest

from tandem_api.meta import FINALIZER, condition
from tandem_api.reasons import Reason
from tandem_api.vocabulary import GuestPhase
from tandem_controller.decide.world.model import Keep, WriteFinalizers
from tandem_controller.decide.world.replicas import in_sync, redundancy

from .scenes import A, B, Scene, assigned, instance, moving, report


class TestReplicasThatAreKnownToDiffer:
    """DRBD calls both current and has bits for what one lacks, as after a verification."""

    def differing(self, host: str) -> Scene:
        scene = moving()
        scene.replicas[host]["volumes"]["root"]["outOfSyncBytes"] = 4096
        return scene

    @pytest.mark.parametrize("host", [A, B])
    def test_are_not_in_sync(self, host: str) -> None:
        scene = self.differing(host)
        assert in_sync(scene.parsed_mirror(), scene.world()) is False
        refusal = redundancy(scene.parsed_mirror(), scene.world())
        assert refusal is not None
        assert refusal.reason is Reason.RESYNCING
        assert scene.status_after().protected == "False"

    def test_are_not_moved_onto(self) -> None:
        assert isinstance(self.differing(A).decide(), Keep)

    def test_not_off_a_failed_disk_either(self) -> None:
        scene = self.differing(B)
        scene.sites = {"burjassot": {}, "tarongers": {}}
        scene.replicas[A]["volumes"]["root"].update(disk="Diskless")
        assert isinstance(scene.decide(), Keep)


class TestPaused:
    def paused(self) -> Scene:
        scene = Scene()
        message = f"libvirt says that the guest is paused on {A}"
        scene.reports = {A: {**report(A, "Paused"), "reason": "GuestPaused", "message": message}}
        return scene

    def test_it_has_failed_and_why_is_said(self) -> None:
        status = self.paused().status_after()
        assert (status.phase, status.reason) == (GuestPhase.FAILED, Reason.GUEST_PAUSED)
        assert "is paused" in status.message
        running = condition(status.conditions, "Running")
        assert running is not None
        assert (running.status, running.reason) == ("False", Reason.GUEST_PAUSED)


class TestABadEdit:
    """It goes on as it was started, but nobody could start it as it is written now."""

    def test_protects_nothing_and_stops_nothing(self) -> None:
        scene = Scene()
        scene.guest["domain"] = {"memory": "1Gi", "disks": [{"volume": "no-such-volume"}]}
        assert scene.world().problems_of(scene.parsed_guest())
        status = scene.status_after()
        assert (status.phase, status.protected) == (GuestPhase.RUNNING, "False")
        protected = condition(status.conditions, "Protected")
        assert protected is not None
        assert protected.reason == Reason.SPEC_INVALID
        assert "no-such-volume" in protected.message


@pytest.mark.parametrize("protocol", ["A", "B"])
def test_without_protocol_c_the_other_host_may_lack_something(protocol: str) -> None:
    """It is refused a takeover for that."""
    scene = Scene()
    assert scene.status_after().protected == "True"
    scene.mirror["protocol"] = protocol
    status = scene.status_after()
    protected = condition(status.conditions, "Protected")
    assert (status.phase, status.protected) == (GuestPhase.RUNNING, "False")
    assert protected is not None
    assert protected.reason == Reason.PROTOCOL_NOT_SYNCHRONOUS
    assert f"with protocol {protocol} {B} may lack acknowledged writes" in protected.message


class TestTriesAgain:
    @pytest.mark.parametrize(
        ("before", "serial", "phase"),
        [
            ("Failed", 3, GuestPhase.FAILED),
            ("Starting", 3, GuestPhase.STARTING),
            ("Failed", 2, GuestPhase.STARTING),
        ],
        ids=["a try after a failure", "a first try", "an earlier order's"],
    )
    def test_a_phase_does_not_flap(self, before: str, serial: int, phase: GuestPhase) -> None:
        scene = Scene(reports={A: report(A, "Absent", serial=serial, reason="Starting")})
        scene.status = {"phase": before}
        assert scene.status_after().phase == phase

    def test_nor_do_its_words(self) -> None:
        trying = report(A, "Starting", reason="Starting", message="claiming and starting")
        scene = Scene(reports={A: trying})
        scene.status = {"phase": "Failed", "reason": "StartFailed", "message": "no bridge br0"}
        status = scene.status_after()
        assert (status.reason, status.message) == ("StartFailed", "no bridge br0")
        scene.status["phase"] = "Starting"
        assert "claiming and starting" in scene.status_after().message


class TestDeletedBesideALostHost:
    """The owner's host is lost, failover was Manual, and the guest is deleted."""

    def deleted(self, **of_host: Any) -> Scene:
        scene = Scene().lost()
        scene.guest["failover"] = {"policy": "Manual"}
        scene.metadata = {
            "finalizers": [FINALIZER],
            "deletionTimestamp": "2024-05-01T09:59:00Z",
        }
        scene.assignment = assigned("", "Deleting", serial=4)
        scene.reports = {A: report(A, serial=3), B: report(B, "Absent", serial=4)}
        scene.hosts[A] = of_host
        return scene

    def gone(self, scene: Scene) -> bool:
        return any(
            isinstance(write, WriteFinalizers) and FINALIZER not in write.finalizers
            for write in scene.plan().urgent
        )

    def test_it_stays_while_nothing_proves_that_it_has_stopped(self) -> None:
        scene = self.deleted()
        assert not self.gone(scene)
        status = scene.status_after()
        assert status.phase == GuestPhase.UNKNOWN
        assert "spec.confirmedDown to boot" in status.message

    def test_and_goes_once_a_person_says_so_as_the_message_asks(self) -> None:
        scene = self.deleted(confirmedDown="boot")
        assert self.gone(scene)
        assert scene.status_after().phase == GuestPhase.STOPPED

    def test_or_the_host_itself_has_said_so(self) -> None:
        scene = self.deleted()
        assert scene.authority is not None
        scene.authority["fenced"] = {A: {"instance": instance(A), "epoch": 7}}
        assert self.gone(scene)

    def test_a_word_about_another_boot_is_none(self) -> None:
        assert not self.gone(self.deleted(confirmedDown="older"))
