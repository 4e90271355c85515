"""Numbers of DRBD: those of a mirror that cannot be read stay its own; its device may be up."""

from dataclasses import replace
from typing import Any

import pytest

from tandem_controller.decide.plan import plan
from tandem_controller.decide.world.model import SetUpMirror, Snapshot
from tandem_controller.run.store import TYPES, Store
from unit.controller.scenes import Scene


def unset() -> Scene:
    """A mirror that has no numbers yet."""
    scene = Scene()
    scene.numbers, scene.authority, scene.assignment = None, None, None
    scene.replicas, scene.reports = {}, {}
    return scene


def raw(spec: dict[str, Any], status: dict[str, Any]) -> dict[str, Any]:
    metadata = {"name": "broken", "namespace": "ns", "uid": "u", "resourceVersion": "5"}
    return {"metadata": metadata, "spec": {"volumes": "nonsense", **spec}, "status": status}


def beside(broken: dict[str, Any]) -> Snapshot:
    """The mirror without numbers, and one that cannot be read."""
    store = Store()
    for kind in TYPES:
        store.replace(kind, [broken] if kind == "Mirror" else [])
    (unreadable,) = store.unreadable()
    return replace(unset().snapshot(), unreadable=(unreadable,))


def given(snapshot: Snapshot) -> tuple[int, dict[str, int]]:
    (write,) = [write for write in plan(snapshot).urgent if isinstance(write, SetUpMirror)]
    return write.numbers.port, dict(write.numbers.minors)


def test_alone_it_gets_the_first() -> None:
    assert given(unset().snapshot()) == (7789, {"root": 0})


def test_what_an_unreadable_mirror_has_is_not_given_out_again() -> None:
    numbers = {"port": 7789, "minors": {"root": 0, "data": 1}}
    assert given(beside(raw({}, {"deviceNumbers": numbers}))) == (7790, {"root": 2})


def test_nor_the_port_that_it_asks_for() -> None:
    assert given(beside(raw({"port": 7789}, {}))) == (7790, {"root": 0})


@pytest.mark.parametrize(
    ("numbers", "expected"),
    [
        ("nonsense", (7789, {"root": 0})),
        ({"port": "7789", "minors": {"root": "0"}}, (7790, {"root": 1})),
        ({"port": 7789, "minors": "nonsense"}, (7790, {"root": 0})),
        (
            {"port": None, "minors": {"root": 0, "data": None, "x": "?", "y": -1}},
            (7789, {"root": 1}),
        ),
        ({"port": [7789], "minors": [0]}, (7789, {"root": 0})),
        ({"port": 1e400, "minors": {"root": 0.0}}, (7789, {"root": 1})),
    ],
)
def test_what_of_them_can_be_read_counts(numbers: Any, expected: tuple[int, Any]) -> None:
    assert given(beside(raw({}, {"deviceNumbers": numbers}))) == expected
