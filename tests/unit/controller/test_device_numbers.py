"""The device numbers of a mirror: unique, in the order of its volumes, and never changed."""

from typing import Any

import pytest

from tandem_api.kinds.mirror import DeviceNumbers
from tandem_api.reasons import Reason
from tandem_controller.decide.status.mirror import mirror_status
from tandem_controller.decide.world.model import Assign, SetUpMirror

from .scenes import A, B, Scene, replica


def set_up(scene: Scene) -> list[SetUpMirror]:
    return [write for write in scene.plan().urgent if isinstance(write, SetUpMirror)]


def numbers(scene: Scene) -> DeviceNumbers:
    (found,) = (write for write in set_up(scene) if write.mirror.key.name == "g")
    return found.numbers


def with_volumes(*names: str, minors: dict[str, int] | None) -> Scene:
    spec: dict[str, Any] = {
        "volumes": [{"name": name, "size": "1Gi"} for name in names],
        "replicas": [
            {"host": host, "devices": {name: f"/dev/vg0/{name}" for name in names}}
            for host in (A, B)
        ],
    }
    held = None if minors is None else {"port": 7789, "minors": minors}
    return Scene(mirror=spec, numbers=held)


def not_in_use(*names: str, minors: dict[str, int] | None) -> Scene:
    scene = with_volumes(*names, minors=minors)
    scene.authority = None
    return scene


def test_a_volume_that_is_added_comes_after_those_that_are_there() -> None:
    """DRBD numbers a resource's volumes by the order of their device numbers, on both hosts."""
    found = numbers(not_in_use("root", "data", minors={"root": 5}))
    assert list(found.minors.items()) == [("root", 5), ("data", 6)]


def test_what_a_mirror_has_it_keeps() -> None:
    found = numbers(not_in_use("root", "data", "logs", minors={"root": 5, "data": 9}))
    assert found == DeviceNumbers(port=7789, minors={"root": 5, "data": 9, "logs": 10})


def test_new_ones_are_in_the_order_of_the_volumes() -> None:
    found = numbers(not_in_use("root", "data", minors=None))
    assert found.minors["root"] < found.minors["data"]


class TestAVolumeAddedToAMirrorInUse:
    """Refused by the server's rules; the object may be older than they are."""

    def test_it_gets_no_number_and_the_mirror_says_so(self) -> None:
        scene = with_volumes("root", "data", minors={"root": 5})
        assert set_up(scene) == []
        status = mirror_status(scene.parsed_mirror(), scene.world(), None)
        assert status.reason == Reason.SPEC_INVALID
        assert status.message.startswith("spec.volumes: cannot be added once the mirror is set up")
        assert status.message.endswith("it goes on with root, without data")

    def test_the_mirror_is_as_redundant_as_it_was(self) -> None:
        scene = with_volumes("root", "data", minors={"root": 5})
        assert mirror_status(scene.parsed_mirror(), scene.world(), None).phase == "Redundant"
        assert scene.lost().decide() == Assign(
            B,
            Reason.LEASE_LOST,
            scene.decide().message,
            scene.decide().proof,  # type: ignore[union-attr]
        )

    def test_a_guest_is_started_on_it(self) -> None:
        scene = with_volumes("root", "data", minors={"root": 5}).unowned()
        scene.assignment = None
        decision = scene.decide()
        assert isinstance(decision, Assign), decision
        assert decision.host == A

    def test_but_not_with_another_problem_beside(self) -> None:
        scene = with_volumes("root", "data", minors={"root": 5}).unowned()
        scene.assignment = None
        scene.mirror["port"] = 7790
        assert scene.decide().reason is Reason.SPEC_INVALID

    def test_a_number_of_an_older_release_is_taken_back(self) -> None:
        """The owner's Primary lacks the volume: so it never had it."""
        found = numbers(with_volumes("root", "data", minors={"root": 5, "data": 6}))
        assert found == DeviceNumbers(port=7789, minors={"root": 5})

    @pytest.mark.parametrize(
        "report",
        [
            replica(A),
            {**replica(A, role="Primary"), "volumes": {}},
            {**replica(A, role="Primary"), "instance": f"{A}/boot before/run"},
        ],
        ids=["Secondary", "of which nothing is known", "before its last boot"],
    )
    def test_but_by_no_weaker_word(self, report: dict[str, Any]) -> None:
        scene = with_volumes("root", "data", minors={"root": 5, "data": 6})
        scene.replicas = {A: report, B: replica(B)}
        assert set_up(scene) == []

    def test_nor_by_the_word_of_who_does_not_own_it(self) -> None:
        scene = with_volumes("root", "data", minors={"root": 5, "data": 6})
        scene.replicas = {A: replica(A), B: replica(B, role="Primary")}
        assert set_up(scene) == []
