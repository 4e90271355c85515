"""An edit that does not pass is not in force: what was accepted before is decided by, and shown."""

from typing import Any

import pytest

from tandem_api.meta import condition
from tandem_api.reasons import Reason
from tandem_api.vocabulary import GuestPhase
from tandem_controller.decide.world.model import Assign, Keep, WriteAssignment

from .scenes import A, B, Scene, guest, moving, report

GOOD: dict[str, Any] = {"memory": "1Gi", "disks": [{"volume": "root"}]}
BAD: dict[str, Any] = {**GOOD, "memory": "3Gi", "disks": [{"volume": "no-such-volume"}]}


def edited(scene: Scene | None = None, **accepted: Any) -> Scene:
    """A guest that was accepted, and then edited badly."""
    scene = scene or Scene()
    scene.status["accepted"] = {
        "mirror": "g",
        "domain": GOOD,
        "placement": {"preferredSite": "burjassot"},
        **accepted,
    }
    scene.guest["domain"] = BAD
    return scene


class TestTheStatus:
    def test_it_runs_on_and_is_protected(self) -> None:
        status = edited().status_after()
        assert (status.phase, status.protected) == (GuestPhase.RUNNING, "True")

    def test_which_edit_is_not_in_force_and_which_field_is_wrong(self) -> None:
        scene = edited()
        scene.metadata["generation"] = 7
        status = scene.status_after()
        assert status.reason == Reason.SPEC_INVALID
        assert "edit (generation 7) is not in force" in status.message
        assert "spec.domain.disks[0].volume: mirror ns/g has no volume" in status.message
        valid = condition(status.conditions, "SpecValid")
        assert valid is not None
        assert valid.status == "False"

    def test_what_was_accepted_is_kept(self) -> None:
        accepted = edited().status_after().accepted
        assert accepted is not None
        assert accepted.domain.memory == "1Gi"

    def test_what_is_valid_is_accepted(self) -> None:
        scene = edited()
        scene.guest["domain"] = {**GOOD, "memory": "2Gi"}
        status = scene.status_after()
        assert status.accepted is not None
        assert status.accepted.domain.memory == "2Gi"
        assert status.reason == Reason.RUNNING

    def test_what_never_passed_is_not(self) -> None:
        scene = Scene()
        scene.guest["domain"] = BAD
        status = scene.status_after()
        assert status.accepted is None
        assert status.protected == "False"

    def test_what_else_there_is_to_say_is_said_first(self) -> None:
        scene = edited(Scene().silent(A))
        status = scene.status_after()
        assert status.reason != Reason.SPEC_INVALID
        assert "Besides, the last edit" in status.message


class TestDecisions:
    def test_it_is_taken_over(self) -> None:
        (write,) = [
            w for w in edited(Scene().lost()).plan().urgent if isinstance(w, WriteAssignment)
        ]
        assert write.assignment.host == B
        assert "accepted" not in write.patch

    def test_it_is_moved_out_of_a_site_in_maintenance(self) -> None:
        decision = edited(moving()).decide()
        assert isinstance(decision, Assign)
        assert decision.host == B

    def test_it_is_started_again(self) -> None:
        scene = edited(Scene().unowned())
        scene.assignment = None
        assert isinstance(scene.decide(), Assign)

    def test_no_field_of_the_edit_is_in_force(self) -> None:
        scene = edited(Scene().lost())
        scene.guest["failover"] = {"policy": "Manual"}
        scene.guest["running"] = False
        decision = scene.decide()
        assert isinstance(decision, Assign)
        assert decision.host == B

    def test_the_first_assignment_notes_what_is_accepted(self) -> None:
        scene = Scene().unowned()
        scene.assignment = None
        (write,) = [w for w in scene.plan().urgent if isinstance(w, WriteAssignment)]
        accepted: Any = write.patch["accepted"]
        assert accepted["domain"]["memory"] == "1Gi"

    def test_room_is_kept_for_what_runs(self) -> None:
        assert edited().world().load(A).memory_bytes == 2**30

    def test_what_was_accepted_may_be_wrong_by_now(self) -> None:
        """As after another object has changed. Nothing stops it, and it is not said to be safe."""
        scene = edited(domain=BAD)
        assert isinstance(scene.decide(), Keep)
        assert scene.status_after().protected == "False"


def networks(mac: str) -> dict[str, Any]:
    return {**GOOD, "networks": [{"bridge": "br0", "mac": mac}]}


@pytest.mark.parametrize("mac", ["52:54:00:00:00:01", "52:54:00:00:00:02"])
def test_the_address_that_it_runs_with_is_not_given_away(mac: str) -> None:
    """Nor the one that it wants and does not get, since the guest was there first."""
    scene = edited(domain=networks("52:54:00:00:00:01"))
    scene.guest["domain"] = {**BAD, "networks": [{"bridge": "br0", "mac": "52:54:00:00:00:02"}]}
    other = guest("late", domain=networks(mac))
    scene.more = [other]
    told = [str(each) for each in scene.world().problems_of(other)]
    assert any(f"{mac} belongs to guest ns/g already" in each for each in told)


def test_a_stopped_guest_stays_stopped_and_says_so() -> None:
    scene = edited(running=False)
    scene.guest["running"] = True
    scene.assignment = {**(scene.assignment or {}), "host": "", "reason": "NotRequested"}
    scene.authority = {**(scene.authority or {}), "owner": "", "ownerInstance": ""}
    scene.reports = {A: report(A, "Absent")}
    status = scene.status_after()
    assert (status.phase, status.reason) == (GuestPhase.STOPPED, Reason.SPEC_INVALID)
