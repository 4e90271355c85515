"""A resync that stands still is told on the mirror, with since when and how far, and measured."""

from typing import Any

import pytest

from tandem_api.reasons import Reason
from tandem_controller.decide.status.mirror import mirror_status
from tandem_controller.decide.world import replicas

from .scenes import A, B, Scene

SINCE = "2024-05-01T09:50:00Z"


def stalled(scene: Scene, host: str, since: str = SINCE, **changes: Any) -> Scene:
    assert scene.authority is not None
    scene.authority.update(mode="Standalone")
    scene.replicas[host].update(resyncStalledSince=since, **changes)
    scene.replicas[host]["volumes"]["root"].update(peerDisk="Inconsistent", outOfSyncBytes=8192)
    return scene


def in_sync(scene: Scene) -> Any:
    world = scene.world()
    conditions = mirror_status(world.snapshot.mirrors[0], world, None).conditions
    return next(condition for condition in conditions if condition.type == "InSync")


def test_it_says_since_when_how_far_and_by_whose_word() -> None:
    condition = in_sync(stalled(Scene(), A))
    assert (condition.status, condition.reason) == ("False", Reason.RESYNC_STALLED)
    assert f"since {SINCE}, with 8192 bytes to go, as {A} reports" in condition.message


def test_the_longer_time_counts() -> None:
    scene = stalled(stalled(Scene(), A), B, "2024-05-01T09:00:00Z")
    message = in_sync(scene).message
    assert "since 2024-05-01T09:00:00Z" in message
    assert f"{A} and {B} reports" in message


@pytest.mark.parametrize("changes", [{"connection": "Connecting"}, {"resyncStalledSince": None}])
def test_otherwise_it_is_a_resync(changes: dict[str, Any]) -> None:
    scene = stalled(Scene(), A)
    scene.replicas[A].update(changes)
    assert in_sync(scene).reason == Reason.RESYNCING


def test_what_a_lost_host_said_does_not_count() -> None:
    scene = stalled(Scene(), A)
    scene.lost()
    world = scene.world()
    assert replicas.resync_stalled(world.snapshot.mirrors[0], world) is None
