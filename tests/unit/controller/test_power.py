"""What it costs to power a host off for the sake of one guest."""

from dataclasses import replace
from typing import Any

import pytest

from tandem_api.meta import ObjectKey
from tandem_api.reasons import Reason
from tandem_controller.decide.known import world_of
from tandem_controller.decide.walls import Walls
from tandem_controller.decide.world.model import Blocked, Keep, Unreadable
from tandem_controller.decide.world.power import off

from .scenes import A, B, Scene, assigned, guest, instance, mirror, owned_by, replica, report


def beside(*names: str, said: dict[str, Any] | None = None, role: str = "Primary") -> Scene:
    """Other guests of which A has said something."""
    scene = Scene()
    for name in names:
        status = {"hosts": {A: said or report(A)}, "assignment": assigned(A)}
        scene.more.append(guest(name, status=status))
        replicas = {A: replica(A, role=role), B: replica(B)}
        scene.more_mirrors.append(
            mirror(name, status={"replicas": replicas, "authority": owned_by(A)})
        )
    return scene


def words(scene: Scene, host: str = A) -> str:
    return off(host, scene.parsed_mirror(), scene.world())


def test_nothing_else_runs_there() -> None:
    assert words(Scene()) == f"power {A} off"
    assert words(beside("other"), B) == f"power {B} off"


def test_others_that_run_there_are_named() -> None:
    assert words(beside("other")) == f"power {A} off (which ends ns/other there, too)"
    assert words(beside("b", "a")) == f"power {A} off (which ends ns/a and ns/b there, too)"


def test_of_many_there_is_the_number() -> None:
    told = words(beside("a", "b", "c", "d", "e"))
    assert told == f"power {A} off (which ends ns/a and ns/b and ns/c and 2 more there, too)"


def test_one_that_cannot_be_read_may_run_there() -> None:
    scene = beside("other")
    unread = Unreadable("Guest", ObjectKey("ns", "bad"), "uid-bad", 1, ())
    world = world_of(replace(scene.snapshot(), unreadable=(unread,)), Walls())
    ends = "ns/other and perhaps ns/bad, which cannot be read, there, too"
    assert off(A, scene.parsed_mirror(), world) == f"power {A} off (which ends {ends})"


@pytest.mark.parametrize(
    "said",
    [report(A, "Absent"), {**report(A), "instance": instance(A, boot="earlier")}],
    ids=["has stopped", "before a boot"],
)
def test_what_does_not_run_there_is_not(said: dict[str, Any]) -> None:
    assert words(beside("other", said=said)) == f"power {A} off"


@pytest.mark.parametrize(("role", "named"), [("Primary", True), ("Secondary", False)])
def test_where_libvirt_does_not_tell_the_device_does(role: str, named: bool) -> None:
    assert ("ns/other" in words(beside("other", said=report(A, "Unknown"), role=role))) is named


def test_a_start_that_is_refused_beside_one_that_runs() -> None:
    scene = beside("other")
    message = f"{A} cannot start it"
    refused = {"refusedStart": "no bridge", "reason": "StartRefused", "message": message}
    scene.reports = {A: {**report(A, "Absent"), **refused}}
    scene.replicas[B] = {**replica(B), "marker": {"reason": "AttachedNotUpToDate"}}
    decision = scene.decide()
    assert isinstance(decision, Keep)
    assert decision.reason is Reason.START_REFUSED
    assert f"or power {A} off (which ends ns/other there, too) to go on with what {B} has" in (
        decision.message
    )


def test_a_silent_libvirt_beside_one_that_may_run() -> None:
    scene = beside("other", said=report(A, "Unknown"))
    scene.reports = {A: report(A, "Unknown", reason="UnknownState")}
    decision = scene.decide()
    assert isinstance(decision, Blocked)
    told = f"or power {A} off (which ends ns/other there, too) to have it started on {B}"
    assert told in decision.message
