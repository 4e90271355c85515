"""What a host runs of a guest: the spec that was found valid, or the last one that was."""

from typing import Any

import pytest

from tandem_api.kinds.guest import Guest


def spec(memory: str) -> dict[str, Any]:
    return {"mirror": "g", "domain": {"memory": memory, "disks": [{"volume": "root"}]}}


def guest(*, accepted: bool = True, judged: str = "", at: int = 0) -> Guest:
    """Written with 2Gi at generation 7; 1Gi was accepted once. ``judged``: SpecValid, at ``at``."""
    valid = {"type": "SpecValid", "status": judged, "reason": "x", "observedGeneration": at}
    status = {
        **({"accepted": spec("1Gi")} if accepted else {}),
        "conditions": [valid] if judged else [],
    }
    metadata = {"name": "g", "namespace": "ns", "uid": "u", "generation": 7}
    return Guest.parse({"metadata": metadata, "spec": spec("2Gi"), "status": status})


@pytest.mark.parametrize(
    ("found", "memory"),
    [
        (guest(judged="False", at=7), "1Gi"),
        (guest(judged="True", at=7), "2Gi"),
        (guest(judged="True", at=6), "1Gi"),
        (guest(judged="False", at=6), "1Gi"),
        (guest(), "1Gi"),
        (guest(accepted=False, judged="False", at=7), "2Gi"),
        (guest(accepted=False, judged="True", at=6), "2Gi"),
        (guest(accepted=False), "2Gi"),
    ],
    ids=[
        "a bad edit",
        "a good one, judged by a controller that notes nothing",
        "an edit that nobody has judged yet",
        "an edit after a bad one",
        "no word on it at all",
        "never accepted",
        "a controller of an older release",
        "new",
    ],
)
def test_what_is_run(found: Guest, memory: str) -> None:
    assert found.in_force.domain.memory == memory
