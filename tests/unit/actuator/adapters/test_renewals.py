"""Heartbeats as they are written: each over the version before it."""

from typing import Any, cast

import pytest

from tandem_actuator.adapters.kube_api import KubeApi
from tandem_actuator.ports.api import ApiConflict
from tandem_api.lease import HeartbeatContent
from tandem_api.timing import DEFAULT
from tandem_kube.errors import Conflict, NotFound

BEAT = HeartbeatContent(
    host="a-1", site="a", instance="a-1/boot/run", watchdog_armed=True, timing=DEFAULT
)


class Lease:
    """As an API server keeps it. ``version`` 0: there is none. ``over``: what each came over."""

    def __init__(self, version: int = 0) -> None:
        self.version, self.over = version, list[str | None]()

    async def get_lease(self, name: str) -> dict[str, Any]:
        assert name == "host-a-1"
        if not self.version:
            raise NotFound("no such lease")
        return {"metadata": {"resourceVersion": str(self.version)}}

    async def renew_lease(self, name: str, resource_version: str | None, **content: Any) -> str:
        self.over.append(resource_version)
        there = str(self.version) if self.version else ""
        if resource_version not in (None, there):
            raise Conflict("another version")
        self.version += 1
        return str(self.version)


def api(lease: Lease) -> KubeApi:
    return KubeApi(cast(Any, lease))


async def test_one_that_was_given_up_does_not_land_after_a_later_one() -> None:
    """It may have been under way for long: what it promises is not kept any more."""
    lease = Lease(7)
    host = api(lease)
    await host.renew(BEAT)
    given_up = lease.version
    await host.renew(BEAT)
    with pytest.raises(Conflict):
        await lease.renew_lease("host-a-1", lease.over[-1])
    assert lease.over[:2] == ["7", str(given_up)]


async def test_a_run_begins_with_the_version_that_is_there() -> None:
    """Nor does one of the run before."""
    for version in (0, 7):
        lease = Lease(version)
        await api(lease).renew(BEAT)
        assert lease.over == [str(version) if version else ""]


@pytest.mark.parametrize("becomes", [0, 3, 99])
async def test_one_that_landed_unheard_does_not_stop_the_next(becomes: int) -> None:
    """Its answer was lost, the API was restored, or the Lease is gone."""
    lease = Lease(7)
    host = api(lease)
    await host.renew(BEAT)
    lease.version = becomes
    assert await host.renew(BEAT) == str(becomes + 1)
    assert await host.renew(BEAT) == str(becomes + 2)
    assert len(lease.over) == 4


async def test_who_is_always_overtaken_gives_up() -> None:
    class Contested(Lease):
        async def renew_lease(self, name: str, resource_version: str | None, **content: Any) -> str:
            raise Conflict("somebody was quicker")

    with pytest.raises(ApiConflict):
        await api(Contested(7)).renew(BEAT)
