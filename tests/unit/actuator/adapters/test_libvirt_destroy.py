"""A guest is killed: with libvirt, without it, and whatever hangs."""

import pytest

from sim.libvirt.processes import Idle
from tandem_actuator.adapters.libvirt.host import (
    FORGET_TIMEOUT_S,
    KILL_GIVEN_UP_AFTER_S,
    KILL_TIMEOUT_S,
)
from tandem_actuator.ports import CommandFailed, CommandTimeout, PortError
from tandem_actuator.ports.libvirt import KilledNotGone
from tandem_api.vocabulary import DomainState

from .libvirt_scene import XML, Scene
from .test_libvirt_host import SOON_S


@pytest.fixture
def scene() -> Scene:
    return Scene()


class TestDestroy:
    def test_a_guest_is_gone_when_it_returns(self, scene: Scene) -> None:
        guest = scene.start("a")
        scene.play(scene.host.destroy("ns.a"))
        assert (guest.executing, guest.opened, scene.processes.by_pid) == (False, False, {})
        assert scene.states() == {}
        assert scene.processes.handles == 0

    @pytest.mark.parametrize("how", ["hanging", "ready"])
    def test_a_guest_is_killed_without_libvirtd(self, scene: Scene, how: str) -> None:
        guest = scene.start("a")
        setattr(scene.daemon, how, how == "hanging")
        scene.play(scene.host.destroy("ns.a"), FORGET_TIMEOUT_S + SOON_S)
        assert not guest.executing

    def test_libvirt_is_not_asked_first(self, scene: Scene) -> None:
        """It would wait with the domain's lock held, and answer nothing about any guest."""
        scene.start("a").stuck = True
        scene.start("b")
        with pytest.raises(KilledNotGone):
            scene.play(scene.host.destroy("ns.a"))
        states = {"ns.a": DomainState.RUNNING, "ns.b": DomainState.RUNNING}
        assert scene.states() == states

    def test_a_frozen_disk_holds_it_and_it_executes_nothing(self, scene: Scene) -> None:
        guest = scene.start("a")
        guest.stuck = True
        began_s = scene.kernel.now_s
        with pytest.raises(KilledNotGone):
            scene.play(scene.host.destroy("ns.a"), KILL_TIMEOUT_S + SOON_S)
        assert not guest.executing
        assert scene.kernel.now_s - began_s >= KILL_TIMEOUT_S
        assert scene.has_qemu("ns.a")
        guest.stuck = False
        scene.play(scene.host.destroy("ns.a"))
        assert not scene.has_qemu("ns.a")
        assert scene.processes.handles == 0

    def test_a_stuck_qemu_without_its_pid_file_is_not_gone(self, scene: Scene) -> None:
        guest = scene.start("a")
        guest.stuck = scene.processes.loses_pid_files = True
        with pytest.raises(KilledNotGone):
            scene.play(scene.host.destroy("ns.a"))

    def test_a_machine_that_stands_still_has_killed_nobody_yet(self, scene: Scene) -> None:
        """However late it is: what was not killed may execute."""
        guest = scene.start("a")
        scene.processes.look_s = (0.4, 0.4)
        killing = scene.begin(scene.host.destroy("ns.a"))
        scene.pass_s(0.1)
        scene.kernel.pause(scene.program)
        scene.pass_s(2 * KILL_TIMEOUT_S)
        scene.kernel.resume(scene.program)
        scene.pass_s(2 * KILL_TIMEOUT_S)
        killing.result()
        assert not guest.executing

    @pytest.mark.parametrize("after_s", [0.3, 0.7])
    def test_a_number_that_is_used_again_kills_nobody_else(
        self, scene: Scene, after_s: float
    ) -> None:
        """What was seen is on its way: that it is there, and then whose it is."""
        first = scene.start("a")
        scene.processes.look_s = (0.4, 0.4)
        killing = scene.begin(scene.host.destroy("ns.a"))
        scene.pass_s(after_s)
        scene.processes.next_pid = scene.pid("ns.a")
        first.end("by itself")
        scene.processes.bury()
        other = Idle("ns.b")
        scene.processes.launch("ns.b", "uuid", other).begun = True
        other.begin()
        scene.pass_s(10.0)
        killing.result()
        assert other.executing
        assert scene.processes.handles == 0

    def test_every_qemu_of_a_domain_is_killed(self, scene: Scene) -> None:
        scene.start("a")
        scene.daemon.loses_sight_of = {"ns.a"}
        scene.daemon.ready = False
        scene.daemon.ready = True
        scene.launch(XML.format(name="ns.a"))
        scene.play(scene.host.destroy("ns.a"))
        assert [guest.executing for guest in scene.guests] == [False, False]

    def test_one_that_cannot_be_killed_is_not_killed(self, scene: Scene) -> None:
        guest = scene.start("a")
        scene.daemon.cannot_kill = True
        with pytest.raises(PortError) as told:
            scene.play(scene.host.destroy("ns.a"))
        assert not isinstance(told.value, KilledNotGone)
        assert guest.executing
        assert scene.processes.handles == 0

    def test_without_file_descriptors_nobody_is_gone(self, scene: Scene) -> None:
        guest = scene.start("a")
        scene.processes.no_handles = True
        with pytest.raises(PortError, match="Too many open files"):
            scene.play(scene.host.destroy("ns.a"))
        assert guest.executing

    def test_what_is_not_there_is_no_error(self, scene: Scene) -> None:
        scene.play(scene.host.destroy("ns.a"))

    def test_libvirt_need_not_notice_by_itself(self, scene: Scene) -> None:
        scene.daemon.notices_s = (60.0, 60.0)
        scene.start("a")
        scene.play(scene.host.destroy("ns.a"))
        assert scene.states() == {}

    @pytest.mark.parametrize("seed", range(10))
    def test_a_start_under_way_is_ended(self, seed: int) -> None:
        """Its QEMU is there for half of the time, and waits for libvirt."""
        scene = Scene(seed)
        scene.daemon.start_s = (2.0, 2.0)
        starting = scene.starting("a")
        scene.pass_s(1.1 + seed * 0.08)
        scene.play(scene.host.destroy("ns.a"))
        scene.pass_s(5.0)
        with pytest.raises(CommandFailed):
            starting.result()
        assert (scene.states(), scene.runs()) == ({}, {})

    def test_no_answer_about_what_was_not_killed_is_no_end(self, scene: Scene) -> None:
        """libvirt may be starting it at this moment: no process yet, but soon."""
        scene.daemon.hanging = True
        with pytest.raises(CommandTimeout):
            scene.play(scene.host.destroy("ns.a"), KILL_TIMEOUT_S + SOON_S)

    def test_a_late_end_is_not_the_next_starts(self, scene: Scene) -> None:
        scene.start("a")
        scene.daemon.stuck_calls = {"lookup"}
        scene.play(scene.host.destroy("ns.a"))
        scene.pass_s(1.0)
        scene.start("a")
        scene.daemon.answer("lookup")
        scene.pass_s(5.0)
        assert scene.states() == {"ns.a": DomainState.RUNNING}

    def test_nothing_is_started_while_libvirt_may_end_it(self, scene: Scene) -> None:
        scene.start("a")
        scene.daemon.stuck_calls = {"destroy"}
        scene.play(scene.host.destroy("ns.a"))
        scene.pass_s(1.0)
        with pytest.raises(CommandFailed, match="has not answered yet"):
            scene.start("a")
        scene.daemon.answer("destroy")
        scene.pass_s(1.0)
        scene.start("a")
        assert scene.states() == {"ns.a": DomainState.RUNNING}

    def test_a_kill_does_not_wait_for_ever_for_proc(self, scene: Scene) -> None:
        scene.start("a")
        scene.processes.hangs = True
        with pytest.raises(CommandTimeout, match="cannot be looked at"):
            scene.play(scene.host.destroy("ns.a"), KILL_GIVEN_UP_AFTER_S + SOON_S)
