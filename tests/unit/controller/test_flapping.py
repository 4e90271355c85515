"""Failback to a site that comes and goes: it waits longer with each takeover from there."""

from typing import Any

from tandem_controller.decide.world.model import Assign, Keep

from .moves_scenes import CREATED, redundant
from .scenes import A, B, Scene, assigned, instance, moving, owned_by, replica, report


class TestFlapping:
    """Failback to a site that comes and goes."""

    @staticmethod
    def back(*ats: str, after_s: int = 600, since: str = "2024-05-01T09:45:00Z") -> Any:
        scene = Scene()
        scene.authority = owned_by(B)
        scene.replicas = {A: replica(A), B: replica(B, role="Primary")}
        scene.assignment, scene.reports = assigned(B, "LeaseLost"), {B: report(B)}
        scene.guest["failback"] = {"policy": "Automatic", "afterSeconds": after_s}
        scene.mirror_conditions = [redundant(since)]
        taken = [{"site": "burjassot", "at": at} for at in ats]
        scene.status = {"recentTakeovers": [{"site": "tarongers", "at": CREATED}, *taken]}
        return scene.decide()

    def test_after_one_it_goes_home_as_its_spec_says(self) -> None:
        assert isinstance(self.back("2024-05-01T09:00:00Z"), Assign)

    def test_after_two_it_waits_twice_as_long(self) -> None:
        waits = self.back("2024-05-01T06:00:00Z", "2024-05-01T09:00:00Z")
        assert isinstance(waits, Keep)
        assert waits.message == (
            f"It moves to {A} once the mirror has been redundant for 1200 s (since"
            " 2024-05-01T09:45:00Z), as it was taken over from burjassot 2 times within a day: as"
            " it stands not before 2024-05-01T10:05:00+00:00"
        )

    def test_and_then_it_goes(self) -> None:
        both = ("2024-05-01T06:00:00Z", "2024-05-01T09:00:00Z")
        assert isinstance(self.back(*both, since="2024-05-01T09:39:00Z"), Assign)

    def test_what_was_more_than_a_day_ago_does_not_count(self) -> None:
        assert isinstance(self.back("2024-04-30T09:59:00Z", "2024-05-01T09:00:00Z"), Assign)

    def test_a_minute_at_least(self) -> None:
        three = ("2024-05-01T06:00:00Z", "2024-05-01T07:00:00Z", "2024-05-01T08:00:00Z")
        waits = self.back(*three, after_s=0, since="2024-05-01T09:56:01Z")
        assert isinstance(waits, Keep)
        assert "redundant for 240 s" in waits.message

    def test_a_day_at_most(self) -> None:
        many = [f"2024-05-01T0{n}:00:00Z" for n in range(1, 10)]
        assert "redundant for 86400 s" in self.back(*many).message

    def test_more_than_a_day_if_people_say_so(self) -> None:
        many = [f"2024-05-01T0{n}:00:00Z" for n in range(1, 10)]
        assert "redundant for 100000 s" in self.back(*many, after_s=100000).message

    def test_a_takeover_is_noted_with_the_site(self) -> None:
        scene = Scene().lost()
        old = [{"site": "tarongers", "at": at} for at in ("2024-04-29T00:00:00Z", CREATED)]
        scene.status = {"recentTakeovers": old}
        noted = [(each.site, each.at) for each in scene.status_after().recent_takeovers]
        assert noted == [("tarongers", CREATED), ("burjassot", "2024-05-01T10:00:00Z")]

    def test_only_the_newest_are_kept(self) -> None:
        scene = Scene().lost()
        ats = [f"2024-05-01T08:{n:02}:00Z" for n in range(20)]
        scene.status = {"recentTakeovers": [{"site": "burjassot", "at": at} for at in ats]}
        noted = [each.at for each in scene.status_after().recent_takeovers]
        assert noted == [*ats[-15:], "2024-05-01T10:00:00Z"]

    def test_another_proof_of_the_same_loss_is_none(self) -> None:
        """It is back before the other has claimed, and has rebooted."""
        scene = Scene().lost()
        proof = {"kind": "LeaseLost", "host": A, "instance": instance(A), "atEpoch": 7}
        scene.assignment = assigned(B, "LeaseLost", proof=proof)
        scene.status = {"recentTakeovers": [{"site": "burjassot", "at": CREATED}]}
        assert isinstance(scene.decide(), Assign)
        assert len(scene.status_after().recent_takeovers) == 1
        scene.assignment = assigned(B, "LeaseLost", proof={**proof, "atEpoch": 5})
        assert len(scene.status_after().recent_takeovers) == 2

    def test_a_planned_move_is_none(self) -> None:
        assert moving().status_after().recent_takeovers == ()
