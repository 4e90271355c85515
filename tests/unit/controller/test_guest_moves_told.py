"""What the status of a GuestMove says: its phase, its steps, and why."""

from dataclasses import replace
from typing import Any

import pytest

from tandem_api.kinds.guest_move import GuestMoveStatus
from tandem_api.meta import Condition, ObjectKey, Problem
from tandem_api.reasons import Reason
from tandem_api.vocabulary import MovePhase
from tandem_controller.decide.plan import plan
from tandem_controller.decide.world.model import Unreadable

from .moves_scenes import CREATED, LONG_AGO, arrived, begun, move, ordered, told, under_way
from .scenes import A, B, Scene, assigned, report


class TestTold:
    def test_moving_and_since_when(self) -> None:
        scene = begun(ordered())
        said = told(scene.plan())
        assert said["phase"] == MovePhase.MOVING
        assert (said["source"], said["target"]) == (A, B)
        assert said["steps"] == {"assigned": CREATED}

    def test_when_it_has_stopped(self) -> None:
        scene = begun()
        scene.reports = {A: report(A, "Absent")}
        assert told(scene.plan())["steps"]["stopped"] == "2024-05-01T10:00:00Z"

    def test_a_step_is_told_once(self) -> None:
        steps = {"assigned": CREATED, "stopped": CREATED}
        old = {"phase": "Moving", "source": A, "steps": steps}
        scene = begun(ordered(move(status=old)))
        scene.reports = {A: report(A, "Absent")}
        assert "steps" not in told(scene.plan())

    def test_it_has_succeeded_and_how_long_the_guest_was_away(self) -> None:
        steps = {"assigned": CREATED, "stopped": "2024-05-01T09:59:52.5Z"}
        old = {"phase": "Moving", "source": A, "target": B, "steps": steps}
        scene = arrived(begun(ordered(move(status=old))))
        scene.reports[B]["steps"] = {"promoted": "2024-05-01T09:59:55Z", "authorityWon": "x"}
        said = told(scene.plan())
        assert (said["phase"], said["reason"]) == (MovePhase.SUCCEEDED, Reason.MOVED)
        assert said["awaySeconds"] == 7.5
        assert said["steps"] == {
            "ended": "2024-05-01T10:00:00Z",
            "promoted": "2024-05-01T09:59:55Z",
            "running": "2024-05-01T10:00:00Z",
        }
        told_true = {c["type"] for c in said["conditions"] if c["status"] == "True"}
        assert told_true == {"Complete", "Ended", "SpecValid"}

    def test_nobody_knows_how_long_it_was_away_whose_stop_was_not_seen(self) -> None:
        """No controller was there."""
        old = {"phase": "Moving", "source": A, "steps": {"assigned": CREATED}}
        said = told(arrived(begun(ordered(move(status=old)))).plan())
        assert said["phase"] == MovePhase.SUCCEEDED
        assert said.get("awaySeconds") is None

    def test_from_where_it_was_when_it_began(self) -> None:
        """Another move had to be done first."""
        old = {"phase": "Pending", "source": B}
        assert told(begun(ordered(move(status=old))).plan())["source"] == A

    def test_not_before_it_runs_there(self) -> None:
        scene = arrived(begun())
        scene.reports[B] = report(B, "Starting")
        assert told(scene.plan()).get("phase") in (None, MovePhase.MOVING)

    def test_not_by_what_the_target_says_of_an_earlier_order(self) -> None:
        scene = arrived(begun())
        scene.reports[B] = report(B, serial=2)
        assert told(scene.plan()).get("phase") in (None, MovePhase.MOVING)

    def test_it_has_failed_once_the_guest_runs_where_it_was(self) -> None:
        scene = begun()
        reference = {"name": "g-1", "uid": "uid-g-1"}
        about = {"move": reference, "message": "It stays: why", "since": CREATED}
        scene.assignment = assigned(A, "HeartbeatFresh", **about)
        scene.reports[A]["startedBy"] = 3
        said = told(scene.plan())
        assert (said["phase"], said["reason"]) == (MovePhase.FAILED, Reason.HEARTBEAT_FRESH)
        assert said["message"] == "It stays: why"

    def test_as_soon_as_that_if_nothing_could_have_stopped_it(self) -> None:
        """It was to be sent as it ran, and nobody has asked it to stop."""
        scene = begun()
        reference = {"name": "g-1", "uid": "uid-g-1"}
        about = {"move": reference, "since": CREATED, "undisturbed": True}
        scene.assignment = assigned(A, "HeartbeatFresh", **about)
        assert told(scene.plan())["phase"] == MovePhase.FAILED

    def test_not_while_it_may_yet_arrive(self) -> None:
        """Its host knows that the move is taken back, and is not through with it."""
        scene = begun()
        reference = {"name": "g-1", "uid": "uid-g-1"}
        about = {"move": reference, "since": CREATED, "undisturbed": True}
        scene.assignment = assigned(A, "HeartbeatFresh", **about)
        scene.reports = {A: report(A, reason="Migrating")}
        assert told(scene.plan()).get("phase") in (None, MovePhase.MOVING)

    @pytest.mark.parametrize(
        "said", [report(A, "Absent"), report(A)], ids=["down", "asked to stop"]
    )
    def test_not_while_it_is_brought_back(self, said: dict[str, Any]) -> None:
        """What was asked to stop may still do so, and a pause would then keep it down."""
        scene = begun()
        reference = {"name": "g-1", "uid": "uid-g-1"}
        scene.assignment = assigned(A, "HeartbeatFresh", move=reference, since=CREATED)
        scene.reports = {A: said}
        assert told(scene.plan()).get("phase") in (None, MovePhase.MOVING)

    def test_it_has_failed_long_after_its_time_wherever_the_guest_is(self) -> None:
        scene = begun()
        scene.assignment = under_way(since=LONG_AGO)
        scene.reports = {A: report(A, "Absent")}
        said = told(scene.plan())
        assert (said["phase"], said["reason"]) == (MovePhase.FAILED, Reason.MOVE_TIMED_OUT)
        assert said["message"].startswith(f"It does not run on {B} yet, long after its time: ")

    def test_it_has_failed_if_the_guest_shall_not_run_any_more(self) -> None:
        scene = begun()
        reference = {"name": "g-1", "uid": "uid-g-1"}
        scene.assignment = assigned("", "NotRequested", move=reference)
        scene.guest["running"] = False
        assert told(scene.plan())["phase"] == MovePhase.FAILED

    def test_it_has_failed_if_it_was_not_begun_in_time(self) -> None:
        scene = ordered(move(seen=LONG_AGO))
        scene.hosts[B] = {"maintenance": True}
        said = told(scene.plan())
        assert (said["phase"], said["reason"]) == (MovePhase.FAILED, Reason.MOVE_TIMED_OUT)
        assert said["message"].startswith("It was not begun within 600 s: ")

    def test_there_already(self) -> None:
        said = told(ordered(move(to={"host": A})).plan())
        assert (said["phase"], said["message"]) == ("Succeeded", f"It runs on {A} already")

    @pytest.mark.parametrize(
        ("changes", "message"),
        [
            ({"to": {"host": "elsewhere"}}, "spec.to: host elsewhere keeps no replica of mirror"),
            ({"to": {"site": "elsewhere"}}, "spec.to: site elsewhere keeps no replica of mirror"),
        ],
    )
    def test_nowhere_to_go(self, changes: dict[str, Any], message: str) -> None:
        said = told(ordered(move(**changes)).plan())
        assert (said["phase"], said["reason"]) == (MovePhase.FAILED, Reason.MOVE_IMPOSSIBLE)
        assert said["message"] == (
            f"{message} ns/g; {A} (site burjassot) and {B} (site tarongers) do"
        )

    def test_a_guest_that_shall_not_run(self) -> None:
        scene = ordered()
        scene.guest["running"] = False
        said = told(scene.plan())
        assert said["phase"] == MovePhase.FAILED
        assert "set spec.running to true" in said["message"]

    def test_a_guest_that_is_being_deleted(self) -> None:
        scene = ordered()
        scene.metadata["deletionTimestamp"] = CREATED
        assert told(scene.plan())["phase"] == MovePhase.FAILED

    def test_a_guest_that_is_not_there_yet(self) -> None:
        said = told(ordered(move(spec={"guest": "other"})).plan())
        assert (said["phase"], said["message"]) == (MovePhase.PENDING, "there is no guest ns/other")

    def test_a_guest_that_cannot_be_read(self) -> None:
        scene = ordered(move(spec={"guest": "other"}))
        unread = Unreadable("Guest", ObjectKey("ns", "other"), "uid-o", 1, ())
        made = plan(replace(scene.snapshot(), unreadable=(unread,)))
        assert told(made)["message"] == "guest ns/other cannot be read"

    @pytest.mark.parametrize(
        ("unread", "phase", "message"),
        [
            (True, MovePhase.MOVING, "guest ns/other cannot be read"),
            (False, MovePhase.FAILED, "there is no guest ns/other any more"),
        ],
    )
    def test_once_it_has_begun(self, unread: bool, phase: MovePhase, message: str) -> None:
        old = {"phase": "Moving", "steps": {"assigned": CREATED}}
        scene = ordered(move(spec={"guest": "other"}, status=old))
        found = Unreadable("Guest", ObjectKey("ns", "other"), "uid-o", 1, ())
        said = told(plan(replace(scene.snapshot(), unreadable=(found,) if unread else ())))
        assert (said.get("phase", "Moving"), said["message"]) == (phase, message)

    def test_the_end_is_said_of_this_object_alone(self) -> None:
        """One of the same name that was made since must not be taken for carried out."""
        ends = move(to={"host": A}, metadata={"resourceVersion": "77"})
        waits = move("g-2", spec={"guest": "other"}, metadata={"resourceVersion": "78"})
        made = ordered(ends, waits).plan()
        found = {w.key.name: w.version for w in made.statuses if w.kind == "GuestMove"}
        assert found == {"g-1": "77", "g-2": None}

    def test_since_when_it_is_known(self) -> None:
        fresh = move(spec={"guest": "other"}).model_copy(update={"status": GuestMoveStatus()})
        assert told(ordered(fresh).plan())["steps"] == {"seen": "2024-05-01T10:00:00Z"}

    def test_a_mirror_that_is_not_set_up(self) -> None:
        scene = ordered()
        scene.authority = None
        assert told(scene.plan())["message"] == "mirror g is not set up"

    def test_one_that_has_ended_stays_as_it_is(self) -> None:
        assert told(ordered(move(status={"phase": "Failed", "message": "long ago"})).plan()) == {}

    def test_a_change_of_its_phase_is_an_event(self) -> None:
        made = ordered(move(to={"host": "elsewhere"})).plan()
        (write,) = [w for w in made.statuses if w.kind == "GuestMove"]
        (notice,) = write.notices
        assert notice.warning
        assert notice.message.startswith("Failed: spec.to")

    def test_nothing_new_is_no_write(self) -> None:
        scene = begun(ordered())
        first = told(scene.plan())
        wire = {k: v for k, v in first.items() if v is not None}
        scene.guestmoves = (move(status=wire),)
        assert told(scene.plan()) == {}


def unread(**more: Any) -> Unreadable:
    problem = Problem("spec.how", "is none of Cold, Live, LiveIfPossible")
    return Unreadable("GuestMove", ObjectKey("ns", "g-1"), "uid-g-1", 1, (problem,), **more)


class TestThatCannotBeRead:
    """As where a newer version had it stored, and the present one runs again."""

    def said(self, found: Unreadable, scene: Scene | None = None) -> tuple[dict[str, Any], Any]:
        scene = scene or Scene()
        changes = told(plan(replace(scene.snapshot(), unreadable=(found,))))
        conditions = {each["type"]: each for each in changes.get("conditions", [])}
        return changes, conditions

    def test_it_says_so_where_people_wait(self) -> None:
        changes, conditions = self.said(unread())
        assert (changes["phase"], changes["reason"]) == (MovePhase.PENDING, Reason.SPEC_INVALID)
        assert changes["message"] == (
            "This controller cannot read it: spec.how: is none of Cold, Live, LiveIfPossible. It is"
            " not begun. Delete it and create another, or run a controller that can read it"
        )
        for kind in ("SpecValid", "Complete", "Ended"):
            assert conditions[kind]["status"] == "False"
        assert conditions["Ended"]["message"] == changes["message"]

    def test_one_that_was_begun_is_gone_on_with(self) -> None:
        scene = begun()
        scene.guestmoves = ()
        changes, _ = self.said(unread(), scene)
        assert changes["phase"] == MovePhase.MOVING
        assert "To take it back, delete it" in changes["message"]

    def test_the_same_is_not_said_again(self) -> None:
        _, conditions = self.said(unread())
        known = tuple(Condition.model_validate(each) for each in conditions.values())
        changes, _ = self.said(unread(conditions=known))
        assert changes == {}

    def test_of_one_that_has_ended_its_end_stays(self) -> None:
        ended = Condition(type="Ended", status="True", reason="Moved")
        changes, conditions = self.said(unread(conditions=(ended,)))
        assert set(changes) == {"conditions"}
        assert conditions["Ended"]["status"] == "True"
        assert conditions["SpecValid"]["status"] == "False"


def test_one_that_was_deleted_before_it_was_begun_has_failed() -> None:
    """Somebody's finalizer keeps it."""
    said = told(ordered(move(metadata={"deletionTimestamp": CREATED})).plan())
    assert (said["phase"], said["reason"]) == (MovePhase.FAILED, Reason.MOVE_TAKEN_BACK)
    assert said["message"] == "It was deleted before it was begun"


def test_nor_does_it_come_first() -> None:
    gone = move(metadata={"deletionTimestamp": CREATED}, created=LONG_AGO)
    scene = ordered(gone, move("g-2"), move("g-3"))
    assert told(scene.plan(), "g-3")["message"] == "GuestMove g-2 comes first"
