"""Events of libvirt: they come again whatever happened, and end where nobody listens any more."""

import pytest

from tandem_actuator.adapters.libvirt.news import Told

from .libvirt_scene import Scene


@pytest.fixture
def scene() -> Scene:
    return Scene()


def test_they_name_the_guest(scene: Scene) -> None:
    told = scene.follow()
    scene.start("a")
    scene.pass_s(1.0)
    assert told == ["", "ns.a"]
    scene.play(scene.host.destroy("ns.a"))
    scene.pass_s(1.0)
    assert told == ["", "ns.a", "ns.a"]


def test_they_come_again_after_libvirtd_was_away(scene: Scene) -> None:
    told = scene.follow()
    scene.start("a")
    scene.daemon.ready = False
    scene.pass_s(3.0)
    told.clear()
    scene.daemon.ready = True
    scene.pass_s(1.0)
    assert set(told) == {""}
    scene.play(scene.host.destroy("ns.a"))
    scene.pass_s(1.0)
    assert told[-1] == "ns.a"


def test_what_was_missed_is_read_again(scene: Scene) -> None:
    told = scene.follow()
    scene.pass_s(1.0)
    told.clear()
    scene.daemon.hanging = True
    scene.pass_s(10.0)
    scene.daemon.hanging = False
    scene.pass_s(1.0)
    assert told[-1] == ""


def test_one_that_is_away_is_not_asked_without_a_pause(scene: Scene) -> None:
    scene.daemon.ready = False
    told = scene.follow()
    scene.pass_s(60.0)
    assert 50 <= len(told) <= 121


def test_that_it_is_away_is_logged_once_each_time(
    scene: Scene, caplog: pytest.LogCaptureFixture
) -> None:
    scene.follow()
    for _ in range(2):
        scene.daemon.ready = False
        scene.pass_s(30.0)
        scene.daemon.ready = True
        scene.pass_s(2.0)
    said = [line for line in caplog.messages if line.startswith("no events from libvirt")]
    assert len(said) == 2


def test_a_connection_that_is_given_up_tells_no_more(scene: Scene) -> None:
    scene.daemon.stuck_calls = {"on_lifecycle"}
    told = scene.follow()
    scene.pass_s(2.3)
    scene.daemon.stuck_calls = set()
    scene.pass_s(3.0)
    scene.daemon.answer("on_lifecycle")
    scene.pass_s(3.0)
    told.clear()
    scene.start("a")
    scene.pass_s(1.0)
    assert told == ["ns.a"]
    assert scene.daemon.listening == 1


def test_tries_cost_no_connections(scene: Scene) -> None:
    scene.daemon.stuck_calls = {"on_lifecycle"}
    scene.follow()
    scene.pass_s(600.0)
    assert len(scene.daemon.connections) <= 5


def test_events_come_again_as_soon_as_a_hung_libvirtd_answers(scene: Scene) -> None:
    """However long it hung: the next try waits for it, not for its pause."""
    scene.daemon.stuck_calls = {"on_lifecycle"}
    told = scene.follow()
    scene.pass_s(1000.0)
    told.clear()
    scene.daemon.answer("on_lifecycle")
    scene.pass_s(3.0)
    scene.start("a")
    scene.pass_s(1.0)
    assert told[-1] == "ns.a"
    assert scene.daemon.listening == 1


async def heard(news: Told) -> list[str]:
    found = []
    while (name := await news.next()) is not None:
        found.append(name)
    return found


def test_many_events_are_one(scene: Scene) -> None:
    """They say where to look, and a look reads what is there by then."""
    news = Told()
    for _ in range(1000):
        news.tell("ns.a")
    news.close()
    assert scene.play(heard(news)) == ["ns.a"]


def test_events_of_many_domains_are_one(scene: Scene) -> None:
    """Each look is at all domains: of hundreds that start, each once would be hundreds of looks."""
    news = Told()
    for number in range(300):
        news.tell(f"ns.g{number}")
    news.close()
    assert scene.play(heard(news)) == [""]
