"""Scenes with GuestMoves in them, and what is told of one."""

from typing import Any

from tandem_api.kinds.guest_move import GuestMove
from tandem_api.meta import ObjectKey
from tandem_controller.decide.world.model import Plan

from .scenes import A, B, Scene, assigned, owned_by, replica, report

CREATED = "2024-05-01T09:59:00Z"
"""A minute before WALL."""
AFTER = "2024-05-01T09:59:30Z"
LONG_AGO = "2024-05-01T09:00:00Z"


def move(
    name: str = "g-1",
    *,
    to: Any = None,
    created: str = CREATED,
    seen: str = CREATED,
    **more: Any,
) -> GuestMove:
    """``seen``: when a controller saw it first; its time is counted from there."""
    status = more.pop("status", {})
    status = {**status, "steps": {"seen": seen, **status.get("steps", {})}}
    spec = {"guest": "g", "to": to or {"site": "tarongers"}, **more.pop("spec", {})}
    metadata = {
        "namespace": "ns",
        "name": name,
        "uid": f"uid-{name}",
        "creationTimestamp": created,
        **more.pop("metadata", {}),
    }
    return GuestMove.parse({"metadata": metadata, "spec": spec, "status": status, **more})


def under_way(name: str = "g-1", host: str = B, **more: Any) -> dict[str, Any]:
    reference = {"name": name, "uid": f"uid-{name}"}
    about = {"since": CREATED, **more}
    return assigned(host, "MoveRequested", move=reference, message="It moves", **about)


def ordered(*moves: GuestMove) -> Scene:
    scene = Scene()
    scene.guestmoves = moves or (move(),)
    return scene


def begun(scene: Scene | None = None) -> Scene:
    """Assigned to B for the move; A still owns the mirror and has not stopped the guest."""
    scene = scene or ordered(move(status={"phase": "Moving", "source": A}))
    scene.assignment = under_way()
    scene.reports = {A: report(A, serial=3)}
    return scene


def arrived(scene: Scene) -> Scene:
    scene.authority = owned_by(B)
    scene.replicas = {A: replica(A), B: replica(B, role="Primary")}
    scene.reports = {A: report(A, "Absent"), B: report(B)}
    return scene


def told(made: Plan, name: str = "g-1") -> dict[str, Any]:
    """What is written into its status; empty if nothing is."""
    found = [
        write.patch
        for write in made.statuses
        if (write.kind, write.key) == ("GuestMove", ObjectKey("ns", name))
    ]
    return dict(found[0]) if found else {}


def redundant(since: str) -> dict[str, Any]:
    return {
        "type": "Redundant",
        "status": "True",
        "reason": "Redundant",
        "lastTransitionTime": since,
    }
