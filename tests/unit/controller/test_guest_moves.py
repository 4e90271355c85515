"""GuestMoves: when one is begun, when it is taken back, what comes after it, and which may go."""

from dataclasses import replace
from typing import Any

import pytest

from tandem_api.kinds.guest_move import HISTORY
from tandem_api.meta import ObjectKey
from tandem_api.reasons import Reason
from tandem_api.vocabulary import MovePhase
from tandem_controller.decide import others
from tandem_controller.decide.plan import plan
from tandem_controller.decide.world.model import (
    Assign,
    DeleteMove,
    Keep,
    Unreadable,
    WriteAssignment,
)

from .moves_scenes import (
    AFTER,
    CREATED,
    LONG_AGO,
    arrived,
    begun,
    move,
    ordered,
    redundant,
    told,
    under_way,
)
from .scenes import KEY, A, B, Scene, assigned, replica, report


class TestBegin:
    @pytest.mark.parametrize("to", [{"site": "tarongers"}, {"host": B}])
    def test_it_is_assigned_to_where_the_move_says(self, to: dict[str, str]) -> None:
        decision = ordered(move(to=to)).decide()
        assert isinstance(decision, Assign)
        assert (decision.host, decision.reason) == (B, Reason.MOVE_REQUESTED)
        assert decision.proof is None
        assert decision.move is not None
        assert (decision.move.name, decision.move.uid) == ("g-1", "uid-g-1")
        assert decision.message == f"It moves from {A} to {B}: GuestMove g-1 asks for it"

    def test_the_assignment_names_it(self) -> None:
        (write,) = [w for w in ordered().plan().urgent if isinstance(w, WriteAssignment)]
        assert write.assignment.move is not None
        assert write.assignment.move.uid == "uid-g-1"
        assert write.assignment.move.name == "g-1"

    def test_failover_need_not_be_automatic(self) -> None:
        scene = ordered()
        scene.guest["failover"] = {"policy": "Manual"}
        assert isinstance(scene.decide(), Assign)

    def test_not_to_where_it_is(self) -> None:
        assert isinstance(ordered(move(to={"host": A})).decide(), Keep)

    def test_not_another_guests(self) -> None:
        other = move(spec={"guest": "other"})
        elsewhere = move(metadata={"namespace": "elsewhere"})
        assert isinstance(ordered(other, elsewhere).decide(), Keep)

    @pytest.mark.parametrize("phase", ["Succeeded", "Failed"])
    def test_not_one_that_has_ended(self, phase: str) -> None:
        assert isinstance(ordered(move(status={"phase": phase})).decide(), Keep)

    def test_not_after_its_time(self) -> None:
        assert isinstance(ordered(move(seen=LONG_AGO)).decide(), Keep)

    def test_not_one_that_has_ended_in_words_of_a_newer_version(self) -> None:
        """What has ended is never begun, whatever its phase is called."""
        ended = {"type": "Ended", "status": "True", "reason": "Moved"}
        newer = {"phase": "Forwarded", "conditions": [ended]}
        assert isinstance(ordered(move(status=newer)).decide(), Keep)
        assert isinstance(ordered(move(status={"phase": "Forwarded"})).decide(), Assign)

    def test_one_that_is_deleted_and_stays_holds_up_no_other(self) -> None:
        """Somebody's finalizer is on it."""
        gone = move(metadata={"deletionTimestamp": CREATED}, created=LONG_AGO)
        scene = ordered(gone, move("g-2"))
        decision = scene.decide()
        assert isinstance(decision, Assign)
        assert decision.move is not None
        assert decision.move.name == "g-2"

    def test_not_one_that_is_being_deleted(self) -> None:
        gone = move(metadata={"deletionTimestamp": CREATED})
        assert isinstance(ordered(gone).decide(), Keep)

    def test_the_oldest_comes_first(self) -> None:
        later = move("g-2", to={"host": A}, created="2024-05-01T09:59:30Z")
        decision = ordered(later, move()).decide()
        assert isinstance(decision, Assign)
        assert decision.move is not None
        assert decision.move.name == "g-1"

    def test_not_again_what_was_taken_back(self) -> None:
        """Its status may not say so yet."""
        scene = ordered()
        reference = {"name": "g-1", "uid": "uid-g-1"}
        scene.assignment = assigned(A, "HeartbeatFresh", move=reference)
        assert isinstance(scene.decide(), Keep)

    def test_not_while_the_mirror_is_not_redundant(self) -> None:
        scene = ordered().unlinked(B).unlinked(A)
        scene.replicas[A] = replica(A, role="Primary", connected=False)
        decision = scene.decide()
        assert isinstance(decision, Keep)
        assert decision.reason is Reason.MOVE_REQUESTED
        assert f"It stays on {A} although GuestMove g-1 asks for it" in decision.message
        said = told(scene.plan())
        assert said["phase"] == MovePhase.PENDING
        assert said["reason"] == Reason.MOVE_WAITING
        assert said["message"] == decision.message

    def test_not_into_maintenance(self) -> None:
        scene = ordered()
        scene.hosts[B] = {"maintenance": True}
        decision = scene.decide()
        assert isinstance(decision, Keep)
        assert f"host {B} is in maintenance" in decision.message

    def test_a_takeover_comes_first(self) -> None:
        scene = ordered().lost()
        decision = scene.decide()
        assert isinstance(decision, Assign)
        assert decision.reason is Reason.LEASE_LOST
        assert decision.move is None

    def test_while_it_is_paused_too(self) -> None:
        scene = ordered()
        scene.guest["paused"] = True
        scene.status = {"pausedBy": "Guest ns/g", "pausedSince": CREATED}
        (write,) = [w for w in scene.plan().urgent if isinstance(w, WriteAssignment)]
        assert write.patch["pausedBy"] is None, "its hosts must stop and start it"
        assert write.patch["pausedSince"] is None


class TestDeadDisk:
    """The owner's own disk is gone."""

    @pytest.fixture
    def scene(self) -> Scene:
        scene = ordered()
        scene.replicas[A]["volumes"]["root"]["disk"] = "Diskless"
        return scene

    @pytest.mark.parametrize("policy", ["Automatic", "Manual"])
    def test_a_move_by_hand_is_off_it(self, scene: Scene, policy: str) -> None:
        """Nothing more is asked of the mirror than to leave a dead disk by oneself."""
        scene.guest["failover"] = {"policy": policy}
        decision = scene.decide()
        assert isinstance(decision, Assign)
        assert decision.reason is Reason.LOCAL_DISK_FAILED
        assert decision.move is not None

    def test_not_without_an_order_if_failover_is_manual(self, scene: Scene) -> None:
        scene.guestmoves = (move(to={"host": A}),)
        scene.guest["failover"] = {"policy": "Manual"}
        decision = scene.decide()
        assert isinstance(decision, Keep)
        assert decision.message.endswith("to have it moved, or create a GuestMove")


class TestUnderWay:
    def test_it_goes_on(self) -> None:
        decision = begun().decide()
        assert decision == Keep(Reason.MOVE_REQUESTED, "It moves")

    def test_nothing_else_is_begun(self) -> None:
        scene = begun()
        scene.guestmoves += (move("g-2", to={"host": A}, created="2024-05-01T09:59:30Z"),)
        made = scene.plan()
        assert isinstance(made.decisions[ObjectKey("ns", "g")], Keep)
        assert told(made, "g-2")["message"] == "GuestMove g-1 comes first"

    def test_it_is_not_paused(self) -> None:
        scene = begun()
        scene.guest["paused"] = True
        assert scene.status_after().paused_by == ""

    @pytest.mark.parametrize(
        ("report_of_b", "by"),
        [
            ({"startedBy": 3}, "Guest ns/g"),
            ({"startedBy": 2}, ""),
            ({"startedAt": AFTER}, ""),
            ({"state": "Absent", "startedBy": 3}, ""),
            ({"serial": 2, "startedBy": 3}, ""),
        ],
        ids=["started since", "before", "by its clock", "it does not run", "of an earlier order"],
    )
    def test_it_is_paused_once_it_has_arrived(self, report_of_b: dict[str, Any], by: str) -> None:
        scene = arrived(begun())
        scene.guest["paused"] = True
        scene.reports[B] = report(B, **report_of_b)
        assert scene.status_after().paused_by == by

    def test_not_before_it_has_arrived_also_once_the_move_is_gone(self) -> None:
        scene = begun()
        scene.guestmoves, scene.guest["paused"] = (), True
        scene.reports = {A: report(A, "Absent")}
        assert scene.status_after().paused_by == ""

    def test_what_is_brought_back_is_paused_once_its_shutdown_can_end_it_no_more(self) -> None:
        """It was asked to stop, and goes on so far."""
        scene = begun()
        scene.guest["paused"] = True
        reference = {"name": "g-1", "uid": "uid-g-1"}
        scene.assignment = assigned(A, "HeartbeatFresh", move=reference, since=CREATED)
        assert scene.status_after().paused_by == ""
        scene.guest["shutdownTimeoutSeconds"] = 10
        assert scene.status_after().paused_by == "Guest ns/g"

    def test_it_is_not_paused_later_than_that_for_whatever_reason(self) -> None:
        scene = begun()
        scene.guest["paused"] = True
        scene.assignment = under_way(since=LONG_AGO)
        scene.reports = {A: report(A, "Absent")}
        assert scene.status_after().paused_by == "Guest ns/g"

    def test_a_pause_that_is_in_force_again_stays(self) -> None:
        """What ends where it was moved to is not started there again."""
        scene = arrived(begun())
        scene.guest["paused"] = True
        scene.status = {"pausedBy": "Guest ns/g", "pausedSince": CREATED}
        scene.reports[B] = report(B, "Absent")
        assert scene.status_after().paused_by == "Guest ns/g"

    def test_deleting_it_takes_it_back(self) -> None:
        scene = begun()
        scene.guestmoves = ()
        decision = scene.decide()
        assert isinstance(decision, Assign)
        assert decision.host == A
        assert decision.message.endswith("is taken back: GuestMove g-1 was deleted")
        assert decision.move is not None

    def test_deleting_it_takes_it_back_while_it_is_paused_too(self) -> None:
        scene = begun()
        scene.guestmoves = ()
        scene.guest["paused"] = True
        decision = scene.decide()
        assert isinstance(decision, Assign)
        assert decision.host == A

    def test_one_that_is_being_deleted_is_as_good_as_gone(self) -> None:
        gone = move(metadata={"deletionTimestamp": CREATED}, status={"phase": "Moving"})
        decision = begun(ordered(gone)).decide()
        assert isinstance(decision, Assign)
        assert decision.host == A

    def test_not_once_the_guest_has_stopped(self) -> None:
        scene = begun()
        scene.guestmoves = ()
        scene.reports = {A: report(A, "Absent")}
        assert isinstance(scene.decide(), Keep)

    def test_one_that_cannot_be_read_is_not_gone(self) -> None:
        scene = begun()
        scene.guestmoves = ()
        unread = Unreadable("GuestMove", ObjectKey("ns", "g-1"), "uid-g-1", 1, ())
        made = plan(replace(scene.snapshot(), unreadable=(unread,)))
        assert isinstance(made.decisions[ObjectKey("ns", "g")], Keep)

    def test_unless_it_is_being_deleted(self) -> None:
        scene = begun()
        scene.guestmoves = ()
        gone = Unreadable("GuestMove", ObjectKey("ns", "g-1"), "uid-g-1", 1, (), deleting=True)
        decision = plan(replace(scene.snapshot(), unreadable=(gone,))).decisions[KEY]
        assert isinstance(decision, Assign)
        assert decision.host == A
        assert decision.message.endswith("GuestMove g-1 was deleted")

    def test_its_time_being_over_takes_it_back(self) -> None:
        scene = begun()
        scene.assignment = under_way(since=LONG_AGO)
        decision = scene.decide()
        assert isinstance(decision, Assign)
        assert decision.host == A
        assert decision.message.endswith("the guest has not stopped for GuestMove g-1 within 600 s")

    def test_one_that_is_sent_has_its_own_time_for_that_at_least(self) -> None:
        """Else a long one would be taken back, in place of going by a stop and a start."""
        scene = begun()
        scene.assignment = under_way(since=LONG_AGO, live=True)
        scene.guest["migration"] = {"timeoutSeconds": 80000}
        assert isinstance(scene.decide(), Keep)
        scene.guest["migration"] = {"timeoutSeconds": 600}
        decision = scene.decide()
        assert isinstance(decision, Assign)
        assert decision.host == A
        assert decision.message.endswith("the guest was not sent for GuestMove g-1 within 630 s")

    def test_a_guest_has_its_own_time_to_stop_at_least(self) -> None:
        """Else one that was begun late would be stopped for nothing."""
        scene = begun(ordered(move(spec={"timeoutSeconds": 10}, seen=LONG_AGO)))
        assert isinstance(scene.decide(), Keep)

    def test_one_that_has_failed_is_not_gone_on_with(self) -> None:
        decision = begun(ordered(move(status={"phase": "Failed"}))).decide()
        assert isinstance(decision, Assign)
        assert decision.message.endswith("GuestMove g-1 has failed")

    def test_not_one_that_has_ended(self) -> None:
        """It has succeeded long ago; the guest is not taken back for that."""
        scene = begun(ordered(move(status={"phase": "Succeeded"})))
        scene.assignment = under_way(since=LONG_AGO)
        assert isinstance(scene.decide(), Keep)

    def test_a_lost_target_takes_it_back_and_the_assignment_says_for_which_move(self) -> None:
        scene = begun().silent(B)
        (write,) = [w for w in scene.plan().urgent if isinstance(w, WriteAssignment)]
        assert write.assignment.host == A
        assert write.assignment.move is not None
        assert write.assignment.move.uid == "uid-g-1"

    def test_a_takeover_in_the_middle_carries_it_on(self) -> None:
        scene = begun().lost()
        (write,) = [w for w in scene.plan().urgent if isinstance(w, WriteAssignment)]
        assert write.assignment.reason is Reason.LEASE_LOST
        assert write.assignment.host == B
        assert write.assignment.move is not None

    def test_a_takeover_afterwards_does_not(self) -> None:
        scene = begun(ordered(move(status={"phase": "Succeeded"}))).lost()
        (write,) = [w for w in scene.plan().urgent if isinstance(w, WriteAssignment)]
        assert write.assignment.move is None


class TestAfterwards:
    def test_failback_does_not_undo_it(self) -> None:
        scene = arrived(begun(ordered(move(status={"phase": "Succeeded"}))))
        scene.guest["failback"] = {"policy": "Automatic", "afterSeconds": 0}
        scene.mirror_conditions = [redundant(LONG_AGO)]
        decision = scene.decide()
        assert isinstance(decision, Keep)
        assert decision.reason is Reason.MOVE_REQUESTED
        assert "as GuestMove g-1 has moved it there, and stays" in decision.message

    def test_failback_does_once_it_is_there_for_another_reason(self) -> None:
        scene = arrived(begun(ordered(move(status={"phase": "Succeeded"}))))
        scene.assignment = assigned(B, "LeaseLost")
        scene.guest["failback"] = {"policy": "Automatic", "afterSeconds": 0}
        scene.mirror_conditions = [redundant(LONG_AGO)]
        decision = scene.decide()
        assert isinstance(decision, Assign)
        assert decision.reason is Reason.FAILBACK

    def test_maintenance_moves_it_all_the_same(self) -> None:
        scene = arrived(begun(ordered(move(status={"phase": "Succeeded"}))))
        scene.hosts[B] = {"maintenance": True}
        decision = scene.decide()
        assert isinstance(decision, Assign)
        assert (decision.host, decision.reason) == (A, Reason.MAINTENANCE)

    def test_the_last_to_end_stay_and_the_first_go(self) -> None:
        """Whatever the server's clock said as they were made, which may have been set since."""
        many = [
            move(
                f"g-{n:02}",
                created=f"2024-05-01T08:{59 - n:02}:00Z",
                status={"phase": "Succeeded"},
                metadata={"resourceVersion": str(95 + n)},
            )
            for n in range(HISTORY + 2)
        ]
        waiting = move("waiting", created="2024-05-01T07:00:00Z")
        elsewhere = move("o", spec={"guest": "other"}, status={"phase": "Failed"}, created=LONG_AGO)
        urgent = ordered(*many, waiting, elsewhere).plan().urgent
        gone = [write.move for write in urgent if isinstance(write, DeleteMove)]
        assert {each.metadata.name for each in gone} == {"g-00", "g-01"}


def test_one_behind_a_wall_costs_itself_alone(monkeypatch: pytest.MonkeyPatch) -> None:
    def fails(*_: Any) -> Any:
        raise ValueError("a bug")

    monkeypatch.setattr(others, "move_status", fails)
    made = ordered().plan()
    assert [str(bug.key) for bug in made.bugs] == ["ns/g-1"]
    assert isinstance(made.decisions[ObjectKey("ns", "g")], Assign)
    (judged,) = told(made)["conditions"]
    assert (judged["type"], judged["status"]) == ("Judged", "False")
