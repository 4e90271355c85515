"""Reports: what one of them runs into is its own matter. On the real loop, on simulated time."""

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any, cast

import pytest

from sim.engine.kernel import Group, Kernel
from sim.engine.loop import Loop
from tandem_actuator.adapters.kube_api import KubeApi
from tandem_actuator.core.model import Record
from tandem_actuator.ports import PortError
from tandem_actuator.ports.api import ApiGone, ApiRefused, ApiUnavailable, Changed, Removed
from tandem_actuator.run.loop import Actuator
from tandem_actuator.run.metrics import Metrics
from tandem_actuator.run.node import NodeFacts
from tandem_actuator.run.outside import Kept, Ports
from tandem_actuator.run.refused import REFUSED_PAUSE_MAX_S
from tandem_actuator.run.walls import Walls
from tandem_actuator.run.watchdog import NoWatchdog
from tandem_actuator.run.workload import Unit
from tandem_api.authority import Instance
from tandem_api.kinds.guest import Guest
from tandem_api.kinds.host import DrbdFiles, Host
from tandem_api.kinds.mirror import Mirror
from tandem_api.lease import HeartbeatContent
from tandem_api.meta import ObjectKey
from tandem_api.timing import DEFAULT
from tandem_hostile import A, guest, mirror
from tandem_kube.errors import Forbidden, Invalid, KubeError, Unavailable

from .turning import Exits

LAST_S = 300.0


@dataclass
class Reports:
    """The API server, for reports alone. ``fails``: by what is reported, and how."""

    fails: dict[str, type[PortError]]
    now_s: Callable[[], float]
    tried: list[tuple[float, str]] = field(default_factory=list)
    came: set[str] = field(default_factory=set)

    async def report_replica(self, key: ObjectKey, *rest: object) -> None:
        self._take(f"mirror {key.name}")

    async def report_guest(self, key: ObjectKey, *rest: object) -> None:
        self._take(f"guest {key.name}")

    def _take(self, what: str) -> None:
        self.tried.append((self.now_s(), what))
        if what in self.fails:
            raise self.fails[what]("no")
        self.came.add(what)


class Bench:
    """The actuator's report loop, with three mirrors and their guests."""

    def __init__(self, fails: dict[str, type[PortError]]) -> None:
        self.kernel = Kernel(1)
        self.api = Reports(fails, lambda: self.kernel.now_s)
        node = NodeFacts(A, Instance(node=A, boot_id="boot", run_id="run"), DEFAULT)
        ports = cast(Any, dict.fromkeys(("drbd", "libvirt", "network", "records")))
        ports = Ports(api=cast(Any, self.api), clock=cast(Any, self), **ports)
        driver = cast(Any, type("NoDriver", (), {"walls": Walls(ports.clock)})())
        unused = cast(Any, None)
        kept = Kept(permits=unused, starts=Exits(), looks=unused, cache=unused)
        self.actuator = Actuator(node, ports, driver, NoWatchdog(), Metrics(), kept)
        for name in "abc":
            parsed = Mirror.parse(mirror(name))
            unit = Unit(mirror=parsed, record=Record(uid=parsed.metadata.uid))
            unit.observe_guest(Guest.parse(guest(name)))
            self.actuator.cluster.units[parsed.key] = unit

    def boottime_s(self) -> float:
        return self.kernel.now_s

    def wall(self) -> str:
        return f"wall {self.kernel.now_s:.0f}"

    def play(self) -> None:
        errors: list[BaseException | None] = []
        loop = Loop(self.kernel, Group("actuator"), self.boottime_s, errors.append)
        loop.begin(self.actuator.reports.run())
        self.kernel.run_until(LAST_S)
        assert errors == []


EVERY = {f"{kind} {name}" for kind in ("mirror", "guest") for name in "abc"}


@pytest.mark.parametrize("what", ["mirror a", "guest a", "mirror b"])
@pytest.mark.parametrize("how", [ApiRefused, ApiUnavailable, ApiGone])
def test_one_that_fails_keeps_no_other_from_being_delivered(
    what: str, how: type[PortError]
) -> None:
    bench = Bench({what: how})
    bench.play()
    assert bench.api.came == EVERY - {what}


def test_what_is_refused_is_tried_again_more_and_more_seldom() -> None:
    bench = Bench({"mirror a": ApiRefused})
    bench.play()
    tries = [at_s for at_s, what in bench.api.tried if what == "mirror a"]
    assert 5 < len(tries) < 15
    assert tries[-1] > LAST_S - REFUSED_PAUSE_MAX_S - 1.0


class Client:
    """A client of the API server that fails in one way, or counts its heartbeats."""

    def __init__(self, error: KubeError | None = None) -> None:
        self.error, self.beats = error, 0

    async def merge_patch_status(self, *arguments: object) -> None:
        if self.error:
            raise self.error

    async def get_lease(self, name: str) -> dict[str, dict[str, str]]:
        return {"metadata": {"resourceVersion": "1"}}

    async def renew_lease(self, *arguments: object, **more: object) -> str:
        self.beats += 1
        return "2"


@pytest.mark.parametrize(
    ("error", "told"),
    [
        (Forbidden("403"), ApiRefused),
        (Invalid("422"), ApiRefused),
        (Unavailable("503"), ApiUnavailable),
    ],
)
async def test_a_refusal_is_told_from_no_answer(error: KubeError, told: type[PortError]) -> None:
    api = KubeApi(cast(Any, Client(error)))
    with pytest.raises(ApiUnavailable) as raised:
        await api.report_host(
            A, Instance(node=A, boot_id="b", run_id="r"), {}, None, DrbdFiles(readable=True)
        )
    assert type(raised.value) is told


async def test_heartbeats_have_connections_of_their_own() -> None:
    client, heart = Client(), Client()
    api = KubeApi(cast(Any, client), heart=cast(Any, heart))
    instance = f"{A}/boot/run"
    beat = HeartbeatContent(
        host=A, site="a", instance=instance, watchdog_armed=True, timing=DEFAULT
    )
    await api.renew(beat)
    assert (client.beats, heart.beats) == (0, 1)


def test_a_host_object_that_is_deleted_ends_no_heartbeat() -> None:
    cluster = Bench({}).actuator.cluster
    spec = {"site": "a", "replicationAddress": "192.0.2.1"}
    host = Host.parse({"metadata": {"name": A, "uid": "u"}, "spec": spec})
    assert cluster.site == ""
    cluster.take(Host, Changed(host))
    assert cluster.site == "a"
    cluster.take(Host, Removed(host.key))
    assert cluster.site == "a"
