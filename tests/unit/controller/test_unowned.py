"""A guest whose mirror nobody owns goes to a host that can start it."""

from tandem_controller.decide.world.model import Assign, Blocked, Keep

from .scenes import WALL, A, B, Scene, assigned, replica
from .test_refused_starts import WHY, refuses, silent_libvirt


class TestUnowned:
    def unowned(self, host: str) -> Scene:
        scene = Scene().unowned()
        scene.assignment = assigned(host)
        return scene

    def test_one_that_can_start_it_comes_first(self) -> None:
        scene = Scene().unowned()
        scene.assignment = None
        first = scene.decide()
        assert isinstance(first, Assign)
        scene.reports = {first.host: refuses(first.host)}
        second = scene.decide()
        assert isinstance(second, Assign)
        assert second.host != first.host

    def test_a_host_whose_libvirt_went_silent_is_left(self) -> None:
        scene = self.unowned(B)
        scene.reports = {B: silent_libvirt(B)}
        decision = scene.decide()
        assert isinstance(decision, Assign)
        assert decision.host == A
        assert "libvirt does not answer" in decision.message

    def test_also_for_one_in_maintenance_and_it_stays_there(self) -> None:
        scene = self.unowned(B)
        scene.sites["burjassot"] = {"maintenance": True}
        scene.reports = {B: silent_libvirt(B)}
        decision = scene.decide()
        assert isinstance(decision, Assign)
        assert decision.host == A
        scene.assignment = assigned(A, decision.reason)
        assert isinstance(scene.decide(), Keep)

    def test_but_not_if_neither_answers(self) -> None:
        scene = self.unowned(B)
        scene.reports = {host: silent_libvirt(host) for host in (A, B)}
        decision = scene.decide()
        assert isinstance(decision, Blocked)
        assert decision.message == (
            f"libvirt does not answer on {B}: look at libvirtd there. It does not go to {A}:"
            f" libvirt does not answer on {A}: look at libvirtd there"
        )

    def test_which_is_not_said_while_libvirt_may_be_coming(self) -> None:
        scene = self.unowned(B)
        scene.reports = {host: silent_libvirt(host) for host in (A, B)}
        assert scene.assignment is not None
        scene.assignment["since"] = WALL
        assert isinstance(scene.decide(), Keep)

    def test_a_host_in_maintenance_without_a_watchdog_is_no_last_resort(self) -> None:
        scene = self.unowned(B)
        scene.reports = {B: silent_libvirt(B)}
        scene.sites["burjassot"] = {"maintenance": True}
        assert isinstance(scene.decide(), Assign)
        scene.beats[A].armed = False
        decision = scene.decide()
        assert isinstance(decision, Blocked)
        assert f"{A} requires a watchdog" in decision.message

    def test_what_a_person_can_do_where_the_other_copy_is_in_doubt(self) -> None:
        """It can be gone on with once nobody has a better one."""
        scene = self.unowned(B)
        scene.reports = {B: refuses(B)}
        scene.replicas[A] = {**replica(A), "marker": {"reason": "AttachedNotUpToDate"}}
        decision = scene.decide()
        assert isinstance(decision, Keep)
        assert decision.message.startswith(f"{B} could not start it: {WHY}")
        assert f"Mend that, or power {B} off to go on with what {A} has" in decision.message
