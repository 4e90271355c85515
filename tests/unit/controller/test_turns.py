"""How many guests are moved at a time, and who comes first."""

from typing import Any

import pytest

from tandem_api.meta import FINALIZER, ObjectKey
from tandem_api.reasons import Reason
from tandem_controller.decide.world.model import Assign, Keep

from .moves_scenes import CREATED, LONG_AGO, move, told
from .scenes import (
    A,
    B,
    Scene,
    assigned,
    authority_of,
    guest,
    instance,
    mirror,
    moving,
    replica,
    report,
)
from .test_pausing import tandem


class TestTurns:
    """How many are moved at a time, and who comes first."""

    @pytest.fixture
    def scene(self) -> Scene:
        """In maintenance, so that all are to leave A; two others are under way already."""
        scene = moving()
        self.others(scene, "x", "y")
        return scene

    @staticmethod
    def others(scene: Scene, *names: str, phase: str = "Moving", **more: Any) -> None:
        for name in names:
            status = {"assignment": assigned(B, "Maintenance", since=CREATED), "phase": phase}
            scene.more.append(guest(name, status={**status, **more}))

    def test_no_third(self, scene: Scene) -> None:
        decision = scene.decide()
        assert isinstance(decision, Keep)
        assert decision.reason is Reason.MOVE_WAITING
        assert decision.message == (
            f"It stays on {A} although site burjassot is in maintenance. It does not move to {B}"
            " yet: 2 guests are being moved already, of at most 2 at a time; its turn comes by"
            " priority (spec.moves.maxConcurrent of Tandem default)"
        )

    def test_as_many_as_people_say(self, scene: Scene) -> None:
        scene.tandems = (tandem(moves={"maxConcurrent": 3}),)
        assert isinstance(scene.decide(), Assign)

    def test_not_as_another_tandem_says(self, scene: Scene) -> None:
        scene.tandems = (tandem("other", moves={"maxConcurrent": 3}),)
        assert isinstance(scene.decide(), Keep)

    @pytest.mark.parametrize("phase", ["Running", "Blocked", "Failed", "Unknown", "Stopped"])
    def test_what_has_arrived_or_is_stuck_holds_no_place(self, phase: str) -> None:
        scene = moving()
        self.others(scene, "x", "y", phase=phase)
        assert isinstance(scene.decide(), Assign)

    def test_nor_what_takes_too_long(self) -> None:
        scene = moving()
        self.others(scene, "x", "y", assignment=assigned(B, "Maintenance", since=LONG_AGO))
        assert isinstance(scene.decide(), Assign)

    def test_a_guest_may_have_longer_to_stop(self) -> None:
        """Six minutes ago: its plug is not to be pulled yet."""
        scene = moving()
        for name in ("x", "y"):
            about = {"assignment": assigned(B, "Maintenance", since="2024-05-01T09:54:00Z")}
            status = {**about, "phase": "Moving"}
            scene.more.append(guest(name, status=status, shutdownTimeoutSeconds=600))
        assert isinstance(scene.decide(), Keep)

    @pytest.mark.parametrize("reason", ["LocalDiskFailed", "StartRefused", "LeaseLost"])
    def test_nor_what_had_to_be_moved(self, reason: str) -> None:
        scene = moving()
        self.others(scene, "x", "y", assignment=assigned(B, reason, since=CREATED))
        assert isinstance(scene.decide(), Assign)

    def test_a_guest_that_had_to_be_moved_does_not_wait(self, scene: Scene) -> None:
        scene.replicas[A]["volumes"]["root"]["disk"] = "Diskless"
        decision = scene.decide()
        assert isinstance(decision, Assign)
        assert decision.reason is Reason.LOCAL_DISK_FAILED

    def test_a_takeover_does_not_wait(self, scene: Scene) -> None:
        decision = scene.lost().decide()
        assert isinstance(decision, Assign)
        assert decision.reason is Reason.LEASE_LOST

    def test_a_move_by_hand_waits_and_says_so(self, scene: Scene) -> None:
        scene.guestmoves = (move(),)
        made = scene.plan()
        assert isinstance(made.decisions[ObjectKey("ns", "g")], Keep)
        assert "2 guests are being moved already" in told(made)["message"]

    def test_what_is_begun_in_this_plan_counts(self) -> None:
        """Both are to go, one may: not the more important, but the one that was ordered."""
        scene = moving()
        scene.tandems = (tandem(moves={"maxConcurrent": 1}),)
        scene.guestmoves = (move(),)
        scene.guest["priority"] = 1
        rival = scene.parsed_mirror().model_copy(
            update={"metadata": mirror("rival").metadata, "spec": mirror("rival").spec}
        )
        scene.more_mirrors.append(rival)
        status = {"assignment": assigned(A), "hosts": {A: report(A)}, "phase": "Running"}
        scene.more.append(
            guest("rival", status=status, metadata={"finalizers": [FINALIZER]}, priority=900)
        )
        made = scene.plan()
        assert isinstance(made.decisions[ObjectKey("ns", "g")], Assign)
        assert isinstance(made.decisions[ObjectKey("ns", "rival")], Keep)

    def test_who_was_reset_has_the_room_before_who_is_moved(self) -> None:
        """Its owner has rebooted, is heard again, and cannot bring its replica up."""
        scene = moving()
        scene.hosts[B] = {"capacity": {"memory": "1Gi", "cpus": 8}}
        scene.guest["priority"] = 900
        scene.guestmoves = (move(),)
        down = scene.parsed_mirror()
        stuck = replica(A, connection="NotConfigured", reason="EffectFailed")
        boot = instance(A, boot="earlier")
        authority = authority_of(scene).model_copy(update={"owner_instance": boot})
        replicas = mirror("down", status={"replicas": {A: stuck, B: replica(B)}}).status.replicas
        status = down.status.model_copy(update={"authority": authority, "replicas": replicas})
        about = {"metadata": mirror("down").metadata, "spec": mirror("down").spec}
        scene.more_mirrors.append(down.model_copy(update={**about, "status": status}))
        known: dict[str, Any] = {"assignment": assigned(A)}
        known["hosts"] = {A: report(A, instance=boot)}
        finalizers = {"finalizers": [FINALIZER]}
        scene.more.append(guest("down", status=known, metadata=finalizers, priority=1))
        made = scene.plan()
        taken = made.decisions[ObjectKey("ns", "down")]
        assert isinstance(taken, Assign)
        assert (taken.host, taken.reason) == (B, Reason.HOST_REBOOTED)
        assert isinstance(made.decisions[ObjectKey("ns", "g")], Keep)

    def test_who_is_down_has_the_room_before_who_is_moved(self) -> None:
        """``g`` is to leave A for B, and is more important; the other runs nowhere."""
        scene = moving()
        scene.hosts[B] = {"capacity": {"memory": "1Gi", "cpus": 8}}
        scene.guest["priority"] = 900
        down = scene.parsed_mirror().model_copy(
            update={"metadata": mirror("down").metadata, "spec": mirror("down").spec}
        )
        authority = authority_of(scene).model_copy(update={"owner": "", "owner_instance": ""})
        status = down.status.model_copy(
            update={"authority": authority, "replicas": parsed_replicas()}
        )
        scene.more_mirrors.append(down.model_copy(update={"status": status}))
        scene.more.append(guest("down", metadata={"finalizers": [FINALIZER]}, priority=1))
        made = scene.plan()
        taken = made.decisions[ObjectKey("ns", "down")]
        assert isinstance(taken, Assign)
        assert taken.host == B
        stays = made.decisions[ObjectKey("ns", "g")]
        assert isinstance(stays, Keep)
        assert "no room" in stays.message


def parsed_replicas() -> Any:
    both = {A: replica(A), B: replica(B)}
    return mirror("down", status={"replicas": both}).status.replicas
