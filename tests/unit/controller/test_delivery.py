"""Hosts whose heartbeats arrive and whose reports do not: what is told, and what is decided."""

from typing import Any

import pytest

from tandem_api.lease import Delivery
from tandem_api.meta import Condition, condition
from tandem_api.reasons import Reason
from tandem_controller.decide.status.site import DRBD_FILES, REPORTS, host_status
from tandem_controller.decide.world.model import Assign, Blocked, Keep
from tandem_controller.edge.metrics import ObjectMetrics

from .scenes import A, B, Scene, guest, instance, moving, only, owned_by, replica, report

SINCE = "2024-05-01T09:59:00Z"
WHY = "PATCH /mirrors/g/status: TimeoutError"


def undelivered(**changes: Any) -> Delivery:
    about = {"since": SINCE, "count": 1, "of": ("ns/g",), "why": WHY}
    return Delivery.model_validate({"run": "run", **about, **changes})


def scene_with(host: str, **changes: Any) -> Scene:
    scene = Scene()
    scene.beats[host].delivery = undelivered(**changes)
    return scene


def of_host(scene: Scene, host: str, kind: str = REPORTS) -> Condition | None:
    world = scene.world()
    return condition(host_status(world.hosts[host], world).conditions, kind)


class TestTheHost:
    def test_one_whose_reports_arrive(self) -> None:
        scene = Scene()
        scene.beats[A].delivery = Delivery(run="run")
        told = of_host(scene, A)
        assert told is not None
        assert (told.status, told.reason) == ("True", Reason.REPORTS_DELIVERED)

    def test_one_that_does_not_tell_is_believed(self) -> None:
        assert of_host(Scene(), A) is None
        status = Scene().status_after()
        assert (status.reason, status.protected) == (Reason.RUNNING, "True")

    @pytest.mark.parametrize(
        ("refused", "look_for"), [(False, "large packets"), (True, f"look at {A}'s rights")]
    )
    def test_one_whose_reports_do_not(self, refused: bool, look_for: str) -> None:
        told = of_host(scene_with(A, refused=refused), A)
        assert told is not None
        assert (told.status, told.reason) == ("False", Reason.REPORTS_UNDELIVERED)
        assert f"since {SINCE} no report about ns/g has passed from or to {A}" in told.message
        assert WHY in told.message
        assert look_for in told.message

    def test_too_many_to_name(self) -> None:
        told = of_host(scene_with(A, of=(), count=17), A)
        assert told is not None
        assert "no report about 17 objects has passed" in told.message

    def test_one_that_hears_of_nothing(self) -> None:
        scene = scene_with(A, of=(), count=0, deaf=True)
        told = of_host(scene, A)
        assert told is not None
        assert "neither report nor news about anything has passed" in told.message
        assert "neither report nor news about it has passed" in scene.status_after().message

    def test_what_one_that_is_lost_said_last_stands(self) -> None:
        scene = scene_with(A)
        known = of_host(scene, A)
        assert known is not None
        scene.hosts[A] = {"status": {"conditions": [known.wire()]}}
        scene.beats[A].silent_s, scene.beats[A].delivery = 60.0, Delivery(run="run")
        assert of_host(scene, A) == known

    def test_the_number(self) -> None:
        def number(scene: Scene) -> dict[str, float]:
            metrics = ObjectMetrics("1")
            metrics.plan, metrics.leads = scene.plan(), True
            return {
                sample.labels["host"]: sample.value
                for family in metrics.collect()
                for sample in family.samples
                if sample.name == "tandem_host_reports_delivered"
            }

        scene = scene_with(A)
        assert number(scene) == {A: 0.0}
        scene.beats[B].delivery = Delivery(run="run")
        assert number(scene) == {A: 0.0, B: 1.0}
        assert number(scene.lost()) == {B: 1.0}


class TestTheGuest:
    def test_it_says_of_when_it_is(self) -> None:
        status = scene_with(A).status_after()
        assert (status.phase, status.reason) == ("Running", Reason.REPORTS_UNDELIVERED)
        assert f"What is known from {A} is of {SINCE}" in status.message
        assert f"If the guest stands still there, power {A} off to have it started on {B}" in (
            status.message
        )
        assert status.protected == "False"

    @pytest.mark.parametrize(
        ("reports_of", "told"), [((), True), (("ns/other",), False), (("ns/g", "ns/other"), True)]
    )
    def test_others_of_the_same_host_are_told_of(
        self, reports_of: tuple[str, ...], told: bool
    ) -> None:
        status = scene_with(A, of=reports_of).status_after()
        assert (status.reason == Reason.REPORTS_UNDELIVERED) is told
        assert (status.protected == "False") is told

    def test_what_was_said_before_stays(self) -> None:
        scene = scene_with(A)
        scene.replicas[A]["volumes"]["root"]["writesStalledSince"] = SINCE
        message = scene.status_after().message
        assert "It stands still: " in message
        assert f"What is known from {A} is of {SINCE}" in message

    def test_one_that_is_being_taken_over(self) -> None:
        """Its phase is the last that was told."""
        scene = scene_with(A)
        scene.reports = {A: report(A, "Absent", reason="Starting", message="starting it")}
        status = scene.status_after()
        assert status.phase == "Starting"
        assert status.reason == Reason.STARTING
        assert f"What is known from {A} is of {SINCE}" in status.message

    def test_what_its_owner_wrote_alone(self) -> None:
        scene = scene_with(A)
        scene.authority = owned_by(A, mode="Standalone", eligible=only(A))
        message = scene.status_after().message
        assert (
            f"{B} may lack what {A} wrote alone. If the guest stands still there, power" in message
        )

    @pytest.mark.parametrize("how", ["lost", "unheard"])
    def test_nothing_is_powered_off_for_nothing(self, how: str) -> None:
        scene = scene_with(A)
        if how == "lost":
            scene.silent(B)
        else:
            scene.beats[B].delivery = undelivered()
        message = scene.status_after().message
        assert f"It could not go on at {B}" in message
        assert "power" not in message

    def test_what_that_would_end_is_named(self) -> None:
        scene = scene_with(A)
        scene.more = [guest("other", status={"hosts": {A: report(A)}})]
        assert f"power {A} off (which ends ns/other there, too)" in scene.status_after().message

    def test_it_is_not_known_what_the_other_host_has(self) -> None:
        """Of the guest itself that is no news."""
        status = scene_with(B).status_after()
        assert (status.phase, status.reason) == ("Running", Reason.RUNNING)
        protected = condition(status.conditions, "Protected")
        assert protected is not None
        assert (protected.status, protected.reason) == ("False", Reason.REPORTS_UNDELIVERED)
        assert f"what is known from {B} is of {SINCE}" in protected.message

    def test_a_host_that_is_lost_is_lost(self) -> None:
        scene = scene_with(A).lost()
        assert "What is known from" not in scene.status_after().message


class TestWhatIsDecided:
    @pytest.mark.parametrize("host", [A, B])
    def test_nothing_is_moved_meanwhile(self, host: str) -> None:
        scene = moving()
        assert isinstance(scene.decide(), Assign)
        scene.beats[host].delivery = undelivered()
        decision = scene.decide()
        assert isinstance(decision, Keep)
        assert f"what is known from {host} is of {SINCE}" in decision.message

    @pytest.mark.parametrize(("refused", "taken"), [(False, False), (True, True)])
    def test_what_can_claim_nothing_takes_nothing_over(self, refused: bool, taken: bool) -> None:
        scene = scene_with(B, refused=refused).lost()
        decision = scene.decide()
        if taken:
            assert isinstance(decision, Assign)
            return
        assert isinstance(decision, Blocked)
        assert decision.reason is Reason.REPORTS_UNDELIVERED
        assert f"{B} can claim nothing" in decision.message

    def test_a_guest_is_started_where_the_mirror_can_be_claimed(self) -> None:
        scene = Scene().unowned()
        scene.assignment = None
        assert isinstance(scene.decide(), Assign)
        scene.beats[A].delivery = undelivered()
        decision = scene.decide()
        assert isinstance(decision, Assign)
        assert decision.host == B

    def test_an_owner_that_has_rebooted_is_replaced(self) -> None:
        scene = scene_with(A)
        scene.beats[A].boot = "newer"
        scene.replicas = {A: replica(A), B: replica(B)}
        scene.replicas[A]["instance"] = instance(A, boot="newer")
        scene.reports = {}
        decision = scene.decide()
        assert isinstance(decision, Assign)
        assert decision.host == B


class TestDrbdsFiles:
    WORDS = "drbd.d/stray.res:1: Parse error"

    def scene(self, host: str, words: str) -> Scene:
        scene = Scene()
        files = {"readable": not words, "message": words}
        scene.hosts[host] = {"status": {"drbdFiles": files}}
        return scene

    def test_it_is_not_known(self) -> None:
        assert of_host(Scene(), A, DRBD_FILES) is None
        assert Scene().status_after().protected == "True"

    def test_they_are_read(self) -> None:
        told = of_host(self.scene(A, ""), A, DRBD_FILES)
        assert told is not None
        assert (told.status, told.reason) == ("True", Reason.DRBD_FILES_READABLE)

    def test_they_are_not(self) -> None:
        told = of_host(self.scene(A, self.WORDS), A, DRBD_FILES)
        assert told is not None
        assert (told.status, told.reason) == ("False", Reason.DRBD_FILES_UNREADABLE)
        assert self.WORDS in told.message
        assert "until drbdadm sh-nop says nothing there" in told.message

    @pytest.mark.parametrize(("host", "protected"), [(A, "True"), (B, "False")])
    def test_what_would_be_taken_over_there_is_not_protected(
        self, host: str, protected: str
    ) -> None:
        """An owner that can ask nobody sends no heartbeat then, and is taken over."""
        status = self.scene(host, self.WORDS).status_after()
        assert status.protected == protected
        told = condition(status.conditions, "Protected")
        assert told is not None
        assert (self.WORDS in told.message) is (host == B)
