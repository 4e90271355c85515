"""What is remembered of mirrors: each that is another one is looked at, and what waits is."""

from tandem_controller.decide.walls import Walls
from tandem_controller.run.remembered import Remembered, remember

from .scenes import KEY, A, B, Scene, mirror, owned_by


def test_the_same_mirrors_are_not_looked_at_again() -> None:
    mirrors = (Scene().parsed_mirror(), mirror("other"))
    first = remember(Remembered(), mirrors, (), 1.0, Walls())
    assert remember(first, mirrors, (), 2.0, Walls()) is first


def test_one_that_is_another_object_is() -> None:
    scene = Scene()
    first = remember(Remembered(), (scene.parsed_mirror(),), (), 1.0, Walls())
    scene.authority = {**owned_by(A), "epoch": 3}
    again = remember(first, (scene.parsed_mirror(),), (), 2.0, Walls())
    assert "its epoch fell" in again.suspicions[KEY]


def test_a_lost_link_is_counted_as_long_as_there_is_an_order() -> None:
    scene = Scene().lost()
    scene.mirror["override"] = {"host": B, "epoch": 7, "acceptDataLoss": True, "by": "ana"}
    mirrors = (scene.parsed_mirror(),)
    first = remember(Remembered(), mirrors, (), 5.0, Walls())
    assert remember(first, mirrors, (), 9.0, Walls()).links == {(KEY, B): 5.0}
    gap = remember(first, mirrors, (), None, Walls())
    assert gap.links == {}
    assert remember(gap, mirrors, (), 12.0, Walls()).links == {(KEY, B): 12.0}


def test_who_took_a_mirror_is_asked_again_until_an_assignment_shows_that_it_might() -> None:
    """The watch of guests may be slower."""
    scene = Scene()
    first = remember(Remembered(), (scene.parsed_mirror(),), (scene.parsed_guest(),), 1.0, Walls())
    taken = Scene(authority={**owned_by(B), "epoch": 8})
    mirrors = (taken.parsed_mirror(),)
    doubted = remember(first, mirrors, (scene.parsed_guest(),), 2.0, Walls())
    assert doubted.suspicions
    proof = {"kind": "LeaseLost", "host": A, "instance": f"{A}/boot/run", "atEpoch": 7}
    scene.assignment = {"host": B, "serial": 4, "reason": "LeaseLost", "proof": proof}
    assert not remember(doubted, mirrors, (scene.parsed_guest(),), 3.0, Walls()).suspicions


def test_a_guest_of_another_namespace_says_nothing_of_a_mirror_of_the_same_name() -> None:
    scene = Scene()
    first = remember(Remembered(), (scene.parsed_mirror(),), (), 1.0, Walls())
    mirrors = (Scene(authority={**owned_by(B), "epoch": 8}).parsed_mirror(),)
    proof = {"kind": "LeaseLost", "host": A, "instance": f"{A}/boot/run", "atEpoch": 7}
    scene.assignment = {"host": B, "serial": 4, "reason": "LeaseLost", "proof": proof}
    mine = scene.parsed_guest()
    elsewhere = mine.metadata.model_copy(update={"namespace": "elsewhere"})
    other = mine.model_copy(update={"metadata": elsewhere})
    assert remember(first, mirrors, (other,), 2.0, Walls()).suspicions
    assert not remember(first, mirrors, (other, mine), 2.0, Walls()).suspicions


def test_what_is_gone_is_forgotten() -> None:
    first = remember(Remembered(), (mirror("a"), mirror("b")), (), 1.0, Walls())
    assert set(remember(first, first.mirrors[:1], (), 2.0, Walls()).sightings) == {
        first.mirrors[0].key
    }
