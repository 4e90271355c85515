"""What the reports of a mirror's two hosts come to, where they are not complete."""

from typing import Any

import pytest

from tandem_api.kinds.mirror import Mirror
from tandem_controller.decide.world import replicas
from tandem_controller.decide.world.links import observe_links

from .scenes import A, B, Scene, replica

DATA = {"disk": "UpToDate", "peerDisk": "UpToDate", "outOfSyncBytes": 0}


def two_volumes(*lacking: str) -> Scene:
    """A mirror with two volumes; these hosts do not say anything of the second."""
    scene = Scene()
    names = ("root", "data")
    scene.mirror = {
        "volumes": [{"name": name, "size": "1Gi"} for name in names],
        "replicas": [
            {"host": host, "devices": {name: f"/dev/vg0/{name}" for name in names}}
            for host in (A, B)
        ],
    }
    scene.numbers = {"port": 7789, "minors": {name: n for n, name in enumerate(names)}}
    for host in (A, B):
        said: Any = replica(host, role="Primary" if host == A else "Secondary")
        if host not in lacking:
            said["volumes"]["data"] = DATA
        scene.replicas[host] = said
    return scene


@pytest.mark.parametrize(("lacking", "in_sync"), [((), True), ((A,), False), ((B,), False)])
def test_a_volume_that_a_report_lacks_is_not_in_sync(
    lacking: tuple[str, ...], in_sync: bool
) -> None:
    scene = two_volumes(*lacking)
    mirror, world = scene.parsed_mirror(), scene.world()
    assert replicas.in_sync(mirror, world) is in_sync
    assert (replicas.redundancy(mirror, world) is None) is in_sync


def ordered(connection: str) -> Mirror:
    """A person gives the mirror to B, which says this of its link."""
    scene = Scene()
    scene.mirror = {"override": {"host": B, "epoch": 5, "acceptDataLoss": True, "by": "ana"}}
    scene.replicas[B] = {**replica(B), "connection": connection}
    return scene.parsed_mirror()


@pytest.mark.parametrize(
    ("connection", "down"),
    [("Connecting", True), ("StandAlone", True), ("Connected", False), ("Unknown", False)],
)
def test_the_wait_before_an_override_runs_while_the_link_is_known_to_be_down(
    connection: str, down: bool
) -> None:
    mirror = ordered(connection)
    assert observe_links({}, [mirror], 10.0) == ({(mirror.key, B): 10.0} if down else {})


def test_it_goes_on_from_where_it_began_and_ends_with_the_link() -> None:
    mirror = ordered("Connecting")
    known = observe_links({}, [mirror], 10.0)
    assert observe_links(known, [mirror], 20.0) == known
    assert observe_links(known, [ordered("Unknown")], 20.0) == {}
