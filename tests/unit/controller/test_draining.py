"""A host or a site in maintenance: when it counts as emptied, and what holds it up."""

from dataclasses import replace

import pytest

from tandem_api.kinds.tandem import Tandem
from tandem_api.meta import FINALIZER, Condition, ObjectKey, condition
from tandem_api.reasons import Reason
from tandem_api.vocabulary import HostPhase, SitePhase
from tandem_controller.decide.known import world_of
from tandem_controller.decide.status.draining import stuck
from tandem_controller.decide.status.site import host_status, site_status
from tandem_controller.decide.walls import Walls
from tandem_controller.decide.world.model import Assign, Unreadable

from .scenes import KEY, A, B, Scene, assigned, guest, mirror, moving, report

AWAY = {A: report(A, "Absent"), B: report(B)}


def host_in_maintenance(**changes: object) -> Scene:
    scene = Scene(**changes)  # type: ignore[arg-type]
    scene.hosts[A]["maintenance"] = True
    return scene


def of_host(scene: Scene) -> Condition | None:
    world = scene.world()
    return condition(host_status(world.hosts[A], world).conditions, "Drained")


def of_site(scene: Scene) -> Condition | None:
    world = scene.world()
    return condition(site_status(world.sites["burjassot"], world).conditions, "Drained")


def test_a_guest_is_moved_off_a_host() -> None:
    decision = host_in_maintenance().decide()
    assert isinstance(decision, Assign)
    assert (decision.host, decision.reason) == (B, Reason.MAINTENANCE)
    assert decision.message == f"It moves from {A} to {B}: host {A} is in maintenance"


def test_none_is_put_there() -> None:
    scene = host_in_maintenance(assignment=None).unowned()
    decision = scene.decide()
    assert isinstance(decision, Assign)
    assert decision.host == B


def test_its_phase_says_so_and_its_site_has_one_host_less() -> None:
    world = host_in_maintenance().world()
    assert host_status(world.hosts[A], world).phase == HostPhase.MAINTENANCE
    status = site_status(world.sites["burjassot"], world)
    assert (status.phase, status.hosts) == (SitePhase.NOT_READY, "0/1")


def test_the_host_is_named_where_its_site_is_in_maintenance_too() -> None:
    scene = host_in_maintenance()
    scene.sites["burjassot"]["maintenance"] = True
    assert f"host {A} is in maintenance" in scene.decide().message


class TestDrained:
    def test_what_is_not_in_maintenance_says_nothing(self) -> None:
        assert of_host(Scene()) is of_site(Scene()) is None
        assert of_site(host_in_maintenance()) is None

    def test_a_site_in_maintenance_has_its_hosts_emptied(self) -> None:
        scene = Scene(assignment=assigned(B), reports=AWAY)
        scene.sites["burjassot"]["maintenance"] = True
        for found in (of_host(scene), of_site(scene)):
            assert found is not None
            assert (found.status, found.reason) == ("True", Reason.DRAINED)

    def test_what_is_still_there_is_named_with_what_holds_it_up(self) -> None:
        scene = host_in_maintenance(status={"message": "It stays, as it must"})
        found = of_host(scene)
        assert found is not None
        assert (found.status, found.reason) == ("False", Reason.DRAINING)
        assert found.message == "1 guest is still here (ns/g: It stays, as it must)"

    def test_of_many_some_are_named(self) -> None:
        scene = host_in_maintenance(status={"message": "it moves"})
        told = {"assignment": assigned(A), "message": "it moves"}
        scene.more = [guest(f"g{number}", status=told) for number in range(4)]
        found = of_host(scene)
        assert found is not None
        assert found.message.startswith("5 guests are still here (ns/g: it moves; ns/g0: it moves;")
        assert found.message.endswith("; and 2 more)")

    @pytest.mark.parametrize("state", ["Running", "Unknown"])
    def test_until_the_host_says_that_it_has_stopped(self, state: str) -> None:
        scene = host_in_maintenance(assignment=assigned(B), reports={A: report(A, state)})
        found = of_host(scene)
        assert found is not None
        assert found.message == (
            f"1 guest is still here (ns/g: {A} has not said yet that it has stopped there)"
        )

    def test_until_it_says_so_of_the_order_to_go(self) -> None:
        """What it said before may have been before a start."""
        older = {A: report(A, "Absent", serial=2)}
        found = of_host(host_in_maintenance(assignment=assigned(B), reports=older))
        assert found is not None
        assert found.status == "False"

    @pytest.mark.parametrize("host", [A, B])
    def test_a_lost_host_may_run_it_all_the_same(self, host: str) -> None:
        """Only its way to the API may be cut; nobody must switch it off for that."""
        scene = host_in_maintenance(assignment=assigned(host), reports={A: report(A)}).silent(A)
        found = of_host(scene)
        assert found is not None
        assert found.status == "False"

    def test_a_guest_that_cannot_be_read_may_be_there(self) -> None:
        scene = host_in_maintenance(assignment=None).unowned()
        unread = Unreadable("Guest", KEY, "uid", 1, ())
        world = world_of(replace(scene.snapshot(), unreadable=(unread,)), Walls())
        found = condition(host_status(world.hosts[A], world).conditions, "Drained")
        assert found is not None
        assert found.message == "guest ns/g cannot be read, and may be here"

    def test_a_guest_of_nobody_is_not_there(self) -> None:
        scene = host_in_maintenance(assignment=None).unowned()
        found = of_host(scene)
        assert found is not None
        assert found.status == "True"


def crowd(number: int, room: str) -> Scene:
    """So many more guests than ``g`` that are to leave A, one at a time, for B, which has room."""
    scene = moving()
    scene.hosts[B] = {"capacity": {"memory": room, "cpus": 8}}
    one = {"metadata": {"name": "default"}, "spec": {"moves": {"maxConcurrent": 1}}}
    scene.tandems = (Tandem.parse(one),)
    scene.guest["priority"] = 900
    known = {"assignment": assigned(A), "hosts": {A: report(A)}, "phase": "Running"}
    finalizers = {"finalizers": [FINALIZER]}
    for name in (f"g{one}" for one in range(number)):
        about = {"metadata": mirror(name).metadata, "spec": mirror(name).spec}
        scene.more_mirrors.append(scene.parsed_mirror().model_copy(update=about))
        scene.more.append(guest(name, status=known, metadata=finalizers))
    return scene


def foreseen(scene: Scene) -> Condition:
    """Of the site, with what is decided in the same plan."""
    made = scene.plan()
    kept = stuck(made.world, made.decisions)
    found = condition(site_status(made.world.sites["burjassot"], made.world, kept).conditions, KIND)
    assert found is not None
    return found


KIND = "Drained"


class TestForeseen:
    def test_none_can_leave_where_the_other_site_is_in_maintenance_too(self) -> None:
        scene = moving()
        scene.sites["tarongers"]["maintenance"] = True
        found = foreseen(scene)
        assert (found.status, found.reason) == ("False", Reason.DRAIN_BLOCKED)
        assert found.message.startswith(
            "1 guest is still here, and it cannot leave as things are (ns/g: It stays on"
        )
        assert f"{B} is not used: site tarongers is in maintenance" in found.message

    def test_who_only_waits_for_a_turn_can_leave(self) -> None:
        found = foreseen(crowd(2, "3Gi"))
        assert (found.status, found.reason) == ("False", Reason.DRAINING)

    def test_the_room_is_gone_by_the_time_that_its_turn_comes(self) -> None:
        """One is begun, one will be, and then there is none left."""
        scene = crowd(2, "2Gi")
        assert scene.plan().decisions[ObjectKey("ns", "g1")].reason is Reason.MOVE_WAITING
        found = foreseen(scene)
        assert found.reason == Reason.DRAIN_BLOCKED
        assert found.message.startswith("3 guests are still here, and 1 of them cannot leave")
        assert f"ns/g1: {B} has no room for another 1Gi" in found.message
        assert "ns/g0" not in found.message

    def test_where_there_is_room_for_none(self) -> None:
        message = foreseen(crowd(2, "1Mi")).message
        assert message.startswith("3 guests are still here, and none of them can leave")

    def test_a_smaller_one_goes_all_the_same(self) -> None:
        scene = crowd(2, "2Gi")
        large = {"memory": "1500Mi", "disks": [{"volume": "root"}]}
        spec = guest("g0", domain=large).spec
        scene.more[0] = scene.more[0].model_copy(update={"spec": spec})
        message = foreseen(scene).message
        assert "ns/g0" in message and "ns/g1" not in message

    def test_a_move_that_cannot_be_ended_is_told(self) -> None:
        """Its host was told to stop it, and nobody there can be asked."""
        scene = moving()
        scene.assignment = assigned(B, "Maintenance")
        scene.reports = {A: report(A, "Unknown")}
        assert foreseen(scene).reason == Reason.DRAIN_BLOCKED

    def test_what_is_on_its_way_is_not_stuck(self) -> None:
        scene = moving()
        scene.assignment = assigned(B, "Maintenance")
        assert foreseen(scene).reason == Reason.DRAINING

    def test_nothing_is_told_where_nothing_is_in_maintenance(self) -> None:
        scene = Scene()
        scene.hosts[B] = {"capacity": {"memory": "1Mi", "cpus": 8}}
        made = scene.plan()
        assert stuck(made.world, made.decisions) == {}
