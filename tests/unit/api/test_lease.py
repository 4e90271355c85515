"""What a Lease says of the reports of its host."""

from typing import Any

import pytest

from tandem_api.lease import (
    DELIVERY_ANNOTATION,
    HOST_LABEL,
    Delivery,
    HeartbeatContent,
    heartbeat_of,
    lease_name,
)
from tandem_api.timing import DEFAULT

HOST = "burjassot-1"
FAILING = Delivery(
    run="run", since="2024-05-01T10:00:00Z", count=2, of=("ns/a", "ns/b"), why="no", refused=True
)


def content(delivery: Delivery | None) -> HeartbeatContent:
    return HeartbeatContent(
        host=HOST,
        site="burjassot",
        instance=f"{HOST}/boot/run",
        watchdog_armed=True,
        timing=DEFAULT,
        delivery=delivery,
    )


def lease(annotation: str, holder: str = f"{HOST}/boot/run") -> dict[str, Any]:
    return {
        "metadata": {
            "name": lease_name(HOST),
            "resourceVersion": "7",
            "labels": {HOST_LABEL: HOST},
            "annotations": {DELIVERY_ANNOTATION: annotation},
        },
        "spec": {"holderIdentity": holder},
    }


def read(annotation: str, holder: str = f"{HOST}/boot/run") -> Delivery | None:
    beat = heartbeat_of(lease(annotation, holder))
    assert beat is not None
    return beat.delivery


@pytest.mark.parametrize("delivery", [FAILING, Delivery(run="run")])
def test_it_is_read_as_it_was_written(delivery: Delivery) -> None:
    assert read(content(delivery).annotations[DELIVERY_ANNOTATION]) == delivery


def test_that_all_arrive_is_said_too() -> None:
    """A renewal leaves annotations that it does not write."""
    assert DELIVERY_ANNOTATION in content(Delivery(run="run")).annotations
    assert DELIVERY_ANNOTATION not in content(None).annotations


def test_what_another_run_has_said_is_not_known() -> None:
    """An older version that came after it leaves it there."""
    written = content(FAILING).annotations[DELIVERY_ANNOTATION]
    assert read(written, f"{HOST}/boot/later") is None
    assert read(written, "somebody") is None


@pytest.mark.parametrize(
    "annotation",
    [
        "",
        "{}",
        "[]",
        '{"run": "run", "since": "yesterday"}',
        '{"run": "run", "since": "2024-05-01T10:00:00Z", "count": -1}',
        '{"run": "run", "of": ["' + "x" * 200 + '"]}',
        '{"run": "run", "why": "' + "x" * 300 + '"}',
    ],
)
def test_what_is_no_word_about_it_is_not_known(annotation: str) -> None:
    assert read(annotation) is None
