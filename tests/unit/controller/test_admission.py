"""What the webhook refuses of a spec; that it is asked at all is tried on a real server."""

import copy
from typing import Any

import kopf
import pytest

from tandem_controller.edge.admission import Admission

from .scenes import Scene

CLIENT: Any = None
"""No spec is judged by what the server would have to be asked for."""
ANA = {"username": "ana"}


def mirror(*volumes: str) -> dict[str, Any]:
    """Set up with ``root`` alone."""
    scene = Scene()
    scene.mirror["volumes"] = [{"name": name, "size": "1Gi"} for name in volumes]
    scene.mirror["replicas"] = [
        {"host": host, "devices": {name: f"/dev/vg0/{name}" for name in volumes}}
        for host in ("burjassot-1", "tarongers-1")
    ]
    return copy.deepcopy(scene.parsed_mirror().wire())


def judge(old: dict[str, Any] | None, new: dict[str, Any]) -> None:
    Admission(CLIENT).spec("Mirror", old, new, ANA)


def test_a_volume_is_not_added_to_what_is_set_up() -> None:
    with pytest.raises(kopf.AdmissionError, match=r"spec\.volumes: cannot be added once"):
        judge(mirror("root"), mirror("root", "data"))


def test_what_stood_before_keeps_nobody_from_another_edit() -> None:
    after = mirror("root", "data")
    after["spec"]["linkLossHoldoffSeconds"] = 5
    judge(mirror("root", "data"), after)


def test_what_stood_before_does_not_excuse_more() -> None:
    with pytest.raises(kopf.AdmissionError, match="without data, logs"):
        judge(mirror("root", "data"), mirror("root", "data", "logs"))


def test_and_it_may_be_taken_out() -> None:
    judge(mirror("root", "data"), mirror("root"))
