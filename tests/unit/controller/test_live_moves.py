"""Whether a move goes as the guest runs, and what becomes of one that could not."""

from typing import Any

import pytest

from tandem_api.kinds.guest import Assignment
from tandem_api.kinds.guest_move import GuestMove, How
from tandem_api.reasons import Reason
from tandem_controller.decide.guests import live
from tandem_controller.decide.world.model import Assign, Case, Keep, WriteAssignment, case_of

from .moves_scenes import begun, move, ordered, told, under_way
from .scenes import A, B, Scene, assigned, moving, owned_by, replica, report

PORT = {"status": {"migrationPort": 7790}}
SAME_HOST = {
    "kind": "SameHost",
    "host": A,
    "instance": f"{A}/boot/run",
    "atEpoch": 7,
}
WHY = f"not sent to {B}: no such CPU"


def able(scene: Scene) -> Scene:
    """Both hosts say where they take guests in."""
    scene.hosts = {A: {**scene.hosts[A], **PORT}, B: {**scene.hosts[B], **PORT}}
    return scene


def by_hand(how: str | None = None) -> GuestMove:
    return move(spec={"how": how} if how else {})


def case(scene: Scene) -> Case:
    world = scene.world()
    made = case_of(world.in_force(scene.parsed_guest()), world)
    assert made is not None
    return made


def assigns(scene: Scene) -> Assign:
    decision = scene.decide()
    assert isinstance(decision, Assign), decision
    return decision


def written(scene: Scene) -> WriteAssignment:
    (write,) = [each for each in scene.plan().urgent if isinstance(each, WriteAssignment)]
    return write


class TestHow:
    def test_as_it_runs_if_that_is_possible(self) -> None:
        decision = assigns(able(ordered()))
        assert (decision.host, decision.live) == (B, True)
        assert decision.message == (
            f"It moves from {A} to {B}: GuestMove g-1 asks for it. It goes as it runs"
        )

    @pytest.mark.parametrize("how", ["Live", "LiveIfPossible", None])
    def test_the_assignment_says_so(self, how: str | None) -> None:
        write = written(able(ordered(by_hand(how))))
        assert (write.assignment.host, write.assignment.live) == (B, True)
        assert write.assignment.proof is None
        assert write.assignment.move is not None

    def test_by_a_stop_and_a_start_if_people_say_so(self) -> None:
        scene = able(ordered(by_hand("Cold")))
        decision = assigns(scene)
        assert (decision.host, decision.live) == (B, False)
        assert decision.message == f"It moves from {A} to {B}: GuestMove g-1 asks for it"
        assert not written(scene).assignment.live

    def test_a_guest_with_uefi_is_stopped_and_started(self) -> None:
        scene = able(ordered())
        scene.guest["domain"] = {
            "memory": "1Gi",
            "disks": [{"volume": "root"}],
            "firmware": "UEFI",
        }
        assert not assigns(scene).live

    @pytest.mark.parametrize(
        ("here", "there", "live"),
        [
            ("8.4.11", "8.4.12", True),
            ("9.2.19", "9.3.3", True),
            ("8.4.11", "9.2.19", False),
            ("9.2.19", "8.4.11", False),
            ("", "9.2.19", True),
        ],
    )
    def test_two_kinds_of_drbd_are_not_both_primary(
        self, here: str, there: str, live: bool
    ) -> None:
        scene = able(ordered())
        for name, version in ((A, here), (B, there)):
            scene.hosts[name] = {"status": {**PORT["status"], "versions": {"drbd": version}}}
        assert assigns(scene).live is live

    def test_and_people_are_told_which_two(self) -> None:
        scene = able(ordered(by_hand("Live")))
        for name, version in ((A, "8.4.11"), (B, "9.2.19")):
            scene.hosts[name] = {"status": {**PORT["status"], "versions": {"drbd": version}}}
        decision = scene.decide()
        assert isinstance(decision, Keep)
        assert f"{A} runs DRBD 8.4.11 and {B} runs DRBD 9.2.19: two of one kind" in decision.message

    def test_by_a_stop_and_a_start_if_it_cannot_else(self) -> None:
        decision = assigns(ordered(by_hand("LiveIfPossible")))
        assert (decision.host, decision.live) == (B, False)

    def test_or_not_at_all_if_people_say_so(self) -> None:
        decision = ordered(by_hand("Live")).decide()
        assert isinstance(decision, Keep)
        assert decision.reason is Reason.MOVE_WAITING
        assert decision.message == (
            f"It stays on {A} although GuestMove g-1 asks for it. It cannot go as it runs:"
            f" {A} does not tell a migrationPort: live migration is not set up there"
        )

    def test_people_hear_of_it(self) -> None:
        said = told(ordered(by_hand("Live")).plan())
        assert said["reason"] == Reason.MOVE_WAITING
        assert "It cannot go as it runs" in said["message"]

    def test_a_drained_site_is_left_as_it_runs(self) -> None:
        decision = assigns(able(moving()))
        assert (decision.host, decision.reason, decision.live) == (B, Reason.MAINTENANCE, True)
        assert not assigns(moving()).live

    def test_a_failed_disk_is_left_as_it_runs(self) -> None:
        """It writes on the other host's."""
        scene = able(Scene())
        scene.replicas[A]["volumes"]["root"]["disk"] = "Diskless"
        decision = assigns(scene)
        assert (decision.reason, decision.live) == (Reason.LOCAL_DISK_FAILED, True)
        scene.hosts[B] = {}
        assert not assigns(scene).live

    def test_one_that_stands_still_in_the_middle_is_judged_anew(self) -> None:
        """Neither its own disk nor the other's: what is sent neither goes on nor ends."""
        scene = able(Scene())
        scene.replicas[A]["volumes"]["root"]["disk"] = "Diskless"
        order = assigns(scene)
        scene.replicas[A].update(reason="DataUnreachable", connection="Connecting")
        known = case(scene)
        sent = Assignment(host=B, serial=1, reason=order.reason, live=True)
        why = live.refused(known, sent)
        assert why == f"{A} reaches neither its own disk nor {B}'s"
        assert live.instead(known, sent, why) is None

    def test_so_it_is_if_people_say_as_it_runs_or_not_at_all(self) -> None:
        """It would not have moved by itself."""
        scene = able(ordered(by_hand("Live")))
        scene.guest["failover"] = {"policy": "Manual"}
        scene.replicas[A]["volumes"]["root"]["disk"] = "Diskless"
        assert assigns(scene).live
        scene.hosts[B] = {}
        assert isinstance(scene.decide(), Keep)

    def test_a_takeover_never_goes_on_with_memory(self) -> None:
        scene = able(ordered().lost())
        decision = assigns(scene)
        assert (decision.reason, decision.live) == (Reason.LEASE_LOST, False)

    @pytest.mark.parametrize("how", list(How))
    def test_what_a_move_orders_is_what_it_says(self, how: How) -> None:
        assert live.ordered(by_hand(how.value)) is how

    def test_other_moves_go_as_it_runs_if_that_is_possible(self) -> None:
        assert live.ordered(None) is How.LIVE_IF_POSSIBLE


class TestImpossible:
    def why(self, scene: Scene) -> str:
        found = live.impossible(case(scene), A, B)
        return found.message if found is not None else ""

    def test_nothing_speaks_against_it(self) -> None:
        assert self.why(able(Scene())) == ""

    @pytest.mark.parametrize("host", [A, B])
    def test_both_hosts_must_tell_where_they_take_guests_in(self, host: str) -> None:
        scene = able(Scene())
        scene.hosts[host] = {}
        assert self.why(scene) == (
            f"{host} does not tell a migrationPort: live migration is not set up there"
        )

    @pytest.mark.parametrize("state", ["Absent", "Paused", "Unknown", "Starting"])
    def test_it_must_run(self, state: str) -> None:
        scene = able(Scene())
        scene.reports = {A: report(A, state)}
        assert self.why(scene) == f"{A} does not say that it runs there"

    def test_by_the_owners_own_word(self) -> None:
        scene = able(Scene())
        scene.reports = {B: report(B)}
        assert self.why(scene) == f"{A} does not say that it runs there"

    @pytest.mark.parametrize("protocol", ["A", "B"])
    def test_two_hosts_write_with_protocol_c_alone(self, protocol: str) -> None:
        scene = able(Scene())
        scene.mirror["protocol"] = protocol
        assert self.why(scene) == (
            f"protocol {protocol} lets no two hosts write. It can go by a stop and a start"
        )

    def test_where_that_alone_is_in_the_way_it_is_told_as_it_stops(self) -> None:
        scene = able(ordered())
        scene.mirror["protocol"] = "B"
        decision = assigns(scene)
        assert not decision.live
        assert "It cannot go as it runs: protocol B lets no two hosts write" in decision.message

    def test_the_mirror_must_be_redundant(self) -> None:
        scene = able(Scene())
        scene.replicas[A]["volumes"]["root"]["peerDisk"] = "Inconsistent"
        assert self.why(scene)


def sent(how: str | None = None, refused: str = WHY, **more: Any) -> Scene:
    """Assigned to B as it runs, and A says that it could not send it."""
    scene = able(begun(ordered(by_hand(how))))
    scene.assignment = under_way(live=True)
    scene.reports = {A: report(A, refusedMove=refused, **more)}
    return scene


class TestUnderWay:
    def test_it_goes_on(self) -> None:
        for scene in (sent(refused=""), sent("Live", refused="")):
            decision = scene.decide()
            assert isinstance(decision, Keep)
            assert decision.reason is Reason.MOVE_REQUESTED

    def test_it_goes_on_while_the_authority_says_that_it_migrates(self) -> None:
        scene = sent(refused="")
        migration = {"id": "m1", "source": A, "target": B}
        scene.authority = owned_by(A, mode="Migrating", migration=migration)
        assert isinstance(scene.decide(), Keep)

    @pytest.mark.parametrize("how", [None, "LiveIfPossible"])
    def test_what_could_not_be_sent_goes_by_a_stop_and_a_start(self, how: str | None) -> None:
        decision = assigns(sent(how))
        assert (decision.host, decision.reason, decision.live) == (B, Reason.MOVE_REQUESTED, False)
        assert decision.message == f"It moves to {B} by a stop and a start, as it was {WHY}"
        assert decision.proof is None

    def test_as_the_same_move_by_another_order(self) -> None:
        scene = sent()
        write = written(scene)
        assert write.assignment.serial == 4
        assert write.assignment.move is not None
        assert write.assignment.move.uid == "uid-g-1"
        assert not write.assignment.live

    def test_or_is_taken_back_if_people_said_so(self) -> None:
        decision = assigns(sent("Live"))
        assert (decision.host, decision.reason) == (A, Reason.HEARTBEAT_FRESH)
        assert decision.message == f"It stays on {A}: the move to {B} is taken back: {WHY}"
        assert decision.move is not None
        assert (decision.live, decision.undisturbed) == (False, True)
        assert written(sent("Live")).assignment.undisturbed

    def test_one_that_was_asked_to_stop_may_do_so_yet(self) -> None:
        scene = sent("Live")
        scene.assignment, scene.beats[B].silent_s = under_way(), 60.0
        decision = assigns(scene)
        assert (decision.host, decision.undisturbed) == (A, False)

    def test_also_out_of_maintenance(self) -> None:
        scene = able(moving())
        scene.assignment = assigned(B, "Maintenance", live=True)
        scene.reports = {A: report(A, refusedMove=WHY)}
        decision = assigns(scene)
        assert (decision.host, decision.reason, decision.live) == (B, Reason.MAINTENANCE, False)

    @pytest.mark.parametrize(
        "changes",
        [
            {"assignment": under_way()},
            {"assignment": under_way(live=True, serial=4)},
            {"reports": {A: report(A)}},
            {"reports": {A: report(A, refusedMove=WHY, serial=2)}},
            {"reports": {B: report(B, "Absent", refusedMove=WHY)}},
            {"reports": {}},
        ],
        ids=["cold", "newer-order", "not-refused", "older-report", "targets", "nobody"],
    )
    def test_what_is_said_of_another_order_or_by_another_does_not_count(
        self, changes: dict[str, Any]
    ) -> None:
        scene = sent()
        for name, value in changes.items():
            setattr(scene, name, value)
        decision = scene.decide()
        assert not isinstance(decision, Assign), decision


class TestArrived:
    """The target owns it."""

    def handed_over(self) -> Scene:
        scene = sent(refused="")
        scene.authority = owned_by(B, handedOver="m1")
        scene.replicas = {A: replica(A), B: replica(B, role="Primary")}
        scene.reports = {A: report(A, "Absent"), B: report(B)}
        return scene

    def test_it_belongs_there(self) -> None:
        scene = self.handed_over()
        decision = scene.decide()
        assert isinstance(decision, Keep)
        assert told(scene.plan())["phase"] == "Succeeded"

    def test_what_arrived_before_it_was_taken_back_stays_where_it_is(self) -> None:
        """The two crossed: to send it back, it would be stopped for nothing."""
        scene = self.handed_over()
        scene.assignment = assigned(A, "HeartbeatFresh", proof=SAME_HOST, serial=4)
        decision = assigns(scene)
        assert decision.host == B
        assert decision.message == (
            f"It stays on {B}: it had arrived before it was taken back to {A}"
        )
        assert decision.proof is not None
        assert (decision.proof.host, decision.proof.at_epoch) == (B, 7)

    def test_a_move_back_that_is_wanted_is_gone_on_with(self) -> None:
        """A plain move to A, by a proof of nothing."""
        scene = able(self.handed_over())
        scene.assignment = assigned(A, "Failback", serial=4, live=True)
        decision = scene.decide()
        assert isinstance(decision, Keep)
        assert decision.reason is Reason.FAILBACK
