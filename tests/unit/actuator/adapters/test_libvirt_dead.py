"""Which guests are dead, although their processes are still there."""

import pytest

from tandem_actuator.adapters.libvirt.host import SCAN_TIMEOUT_S
from tandem_actuator.ports import CommandTimeout
from tandem_actuator.ports.libvirt import KilledNotGone

from .libvirt_scene import XML, Scene
from .test_libvirt_host import SOON_S

NAMES = ("ns.a", "ns.b")


@pytest.fixture
def scene() -> Scene:
    """Two guests run, and one of them waits for a write."""
    made = Scene()
    made.start("a").stuck = True
    made.start("b")
    return made


def dead(scene: Scene) -> set[str]:
    found = scene.play(scene.host.dead(NAMES), SOON_S)
    assert set(found) == set(NAMES)
    return {name for name, is_dead in found.items() if is_dead}


def kill(scene: Scene) -> None:
    with pytest.raises(KilledNotGone):
        scene.play(scene.host.destroy("ns.a"))


def test_one_that_waits_is_not(scene: Scene) -> None:
    assert dead(scene) == set()


def test_a_killed_one_that_a_frozen_disk_holds_is(scene: Scene) -> None:
    kill(scene)
    assert dead(scene) == {"ns.a"}
    assert scene.play(scene.host.dead(["ns.b"])) == {"ns.b": False}


def test_also_to_a_program_that_has_not_killed_it(scene: Scene) -> None:
    kill(scene)
    scene.restart()
    assert dead(scene) == {"ns.a"}


def test_it_is_seen_long_before_it_is_given_up(scene: Scene) -> None:
    killing = scene.begin(scene.host.destroy("ns.a"))
    scene.pass_s(0.3)
    assert dead(scene) == {"ns.a"}
    assert not killing.done


@pytest.mark.parametrize("how", ["hanging", "ready"])
def test_it_is_seen_without_libvirt(scene: Scene, how: str) -> None:
    setattr(scene.daemon, how, how == "hanging")
    kill(scene)
    assert dead(scene) == {"ns.a"}


def test_one_that_executes_on_after_the_signal_is_not_yet(scene: Scene) -> None:
    scene.processes.hears_late_s = 3.0
    killing = scene.begin(scene.host.destroy("ns.a"))
    scene.pass_s(2.0)
    assert dead(scene) == set()
    scene.pass_s(2.0)
    assert not killing.done
    assert dead(scene) == {"ns.a"}


def test_one_that_is_gone_is_nothing(scene: Scene) -> None:
    scene.play(scene.host.destroy("ns.b"))
    assert scene.play(scene.host.dead(NAMES)) == {"ns.a": False}


def test_one_of_which_another_qemu_executes_is_not(scene: Scene) -> None:
    kill(scene)
    scene.daemon.loses_sight_of = {"ns.a"}
    scene.daemon.ready = False
    scene.daemon.ready = True
    scene.launch(XML.format(name="ns.a"))
    assert dead(scene) == set()


def test_one_that_is_being_started_anew_is_not(scene: Scene) -> None:
    """libvirt has lost sight of it, and starts another at any moment."""
    kill(scene)
    scene.daemon.loses_sight_of = {"ns.a"}
    scene.daemon.ready = False
    scene.daemon.ready, scene.daemon.start_s = True, (2.0, 2.0)
    scene.starting("a")
    scene.pass_s(0.1)
    assert scene.play(scene.host.dead(["ns.a"])) == {"ns.a": False}


def test_one_that_lost_its_name_and_its_pid_file_could_be_anybodys(scene: Scene) -> None:
    kill(scene)
    scene.processes.loses_pid_files = True
    assert scene.play(scene.host.dead(NAMES)) == {"ns.b": False}


def test_who_cannot_be_looked_at_is_not_told(scene: Scene) -> None:
    kill(scene)
    scene.processes.hangs = True
    with pytest.raises(CommandTimeout, match="could not be read"):
        scene.play(scene.host.dead(NAMES), SCAN_TIMEOUT_S + SOON_S)
