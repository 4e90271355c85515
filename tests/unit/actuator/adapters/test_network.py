"""Cutting a guest off its network, run as it is on simulated processes and taps."""

import pytest

from tandem_actuator.adapters.libvirt.network import CUT_TIMEOUT_S
from tandem_actuator.ports import CommandTimeout, PortError

from .libvirt_scene import Scene

SOON_S = 0.5


@pytest.fixture
def scene() -> Scene:
    return Scene()


def test_every_tap_is_taken_down(scene: Scene) -> None:
    guest = scene.start("a", cards=3)
    scene.play(scene.network.cut("ns.a"))
    assert not guest.heard
    assert list(scene.processes.tap_is_down.values()) == [True] * 3


def test_libvirts_file_tells_where_open_files_do_not(scene: Scene) -> None:
    guest = scene.start("a")
    scene.processes.hides_taps = True
    scene.play(scene.network.cut("ns.a"))
    assert not guest.heard


def test_others_are_heard(scene: Scene) -> None:
    other = scene.start("b")
    scene.start("a")
    scene.play(scene.network.cut("ns.a"))
    assert other.heard


def test_one_that_is_refused_keeps_no_other_up(scene: Scene) -> None:
    scene.start("a", cards=2)
    scene.daemon.taps.refused = {min(scene.processes.tap_is_down)}
    with pytest.raises(PortError, match=r"cannot take down the taps of ns\.a: vnet0"):
        scene.play(scene.network.cut("ns.a"))
    assert list(scene.processes.tap_is_down.values()) == [False, True]


def test_it_works_without_libvirtd(scene: Scene) -> None:
    guest = scene.start("a")
    scene.daemon.hanging = True
    scene.play(scene.network.cut("ns.a"), SOON_S)
    assert not guest.heard


def test_a_kernel_that_hangs_is_given_up_on(scene: Scene) -> None:
    scene.start("a")
    scene.daemon.taps.hangs = True
    with pytest.raises(CommandTimeout):
        scene.play(scene.network.cut("ns.a"), CUT_TIMEOUT_S + SOON_S)


def test_who_is_not_there_is_no_error(scene: Scene) -> None:
    scene.play(scene.network.cut("ns.a"))
