"""What a host says of itself in its Lease, and what is read of it."""

import pytest

from tandem_api.lease import LINK_ANNOTATION, HeartbeatContent, heartbeat_of, lease_name
from tandem_api.timing import DEFAULT

HOLDER = "a-1/boot1/run1"


@pytest.mark.parametrize("acknowledged", [True, False])
@pytest.mark.parametrize("holder", [HOLDER, "a-1/boot1/run2", ""])
def test_by_what_a_host_lives_is_told_under_its_own_name(acknowledged: bool, holder: str) -> None:
    """A holder of an older version leaves the annotation as it is, and lives otherwise."""
    said = HeartbeatContent(
        host="a-1",
        site="a",
        instance=HOLDER,
        watchdog_armed=True,
        timing=DEFAULT,
        link_acknowledged=acknowledged,
    )
    metadata = {
        "name": lease_name("a-1"),
        "resourceVersion": "7",
        "labels": said.labels,
        "annotations": said.annotations,
    }
    read = heartbeat_of({"metadata": metadata, "spec": {"holderIdentity": holder}})
    assert read is not None
    assert read.link_acknowledged is (acknowledged and holder == HOLDER)
    del metadata["annotations"][LINK_ANNOTATION]  # type: ignore[attr-defined]
    read = heartbeat_of({"metadata": metadata, "spec": {"holderIdentity": HOLDER}})
    assert read is not None
    assert not read.link_acknowledged
