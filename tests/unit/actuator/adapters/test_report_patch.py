"""A report as a merge patch: afterwards the API shows the report, and nothing of the one before."""

import pytest

from sim.apiserver.patches import merged
from tandem_actuator.adapters.kube_api import _whole
from tandem_api.kinds.guest import GuestReport
from tandem_api.kinds.mirror import ReplicaReport, VolumeReport
from tandem_api.meta import Model

ROOT, DATA = VolumeReport(disk="UpToDate"), VolumeReport(disk="Failed", out_of_sync_bytes=4096)
STARTED = GuestReport(instance="a/1/1", steps={"authorityWon": "09:00", "domainStarted": "09:01"})


@pytest.mark.parametrize(
    ("before", "after"),
    [
        (STARTED, GuestReport(instance="a/1/2")),
        (STARTED, GuestReport(instance="a/1/1", steps={"authorityWon": "10:00"})),
        (ReplicaReport(volumes={"root": ROOT, "data": DATA}), ReplicaReport(connection="Unknown")),
        (ReplicaReport(volumes={"data": DATA}), ReplicaReport(volumes={"root": ROOT})),
    ],
)
def test_a_key_that_is_gone_does_not_stay(before: Model, after: Model) -> None:
    stored = merged(before.wire(), _whole(after, before))
    assert type(after).model_validate(stored) == after
