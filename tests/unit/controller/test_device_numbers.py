"""The device numbers of a mirror: unique, in the order of its volumes, and never changed."""

from typing import Any

from tandem_api.mirror import DeviceNumbers
from tandem_controller.decide.setup import set_up

from .scenes import A, B, Scene


def numbers(scene: Scene) -> DeviceNumbers:
    (found,) = (write for write in set_up(scene.world()) if write.mirror.key.name == "g")
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


def test_a_volume_that_is_added_comes_after_those_that_are_there() -> None:
    """DRBD numbers a resource's volumes by the order of their device numbers, on both hosts."""
    found = numbers(with_volumes("root", "data", minors={"root": 5}))
    assert list(found.minors.items()) == [("root", 5), ("data", 6)]


def test_what_a_mirror_has_it_keeps() -> None:
    found = numbers(with_volumes("root", "data", "logs", minors={"root": 5, "data": 9}))
    assert found == DeviceNumbers(port=7789, minors={"root": 5, "data": 9, "logs": 10})


def test_new_ones_are_in_the_order_of_the_volumes() -> None:
    found = numbers(with_volumes("root", "data", minors=None))
    assert found.minors["root"] < found.minors["data"]
