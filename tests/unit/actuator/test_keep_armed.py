"""The actuator keeps the watchdog armed, with the timeout in force, and says whether it is."""

import asyncio
import json
import math
import random
from dataclasses import dataclass, field
from typing import Any, cast

import pytest

from sim.host.watchdog import LATE_S
from tandem_actuator.core.drbd import DrbdState
from tandem_actuator.core.model import Record
from tandem_actuator.run.loop import Actuator
from tandem_actuator.run.metrics import Metrics
from tandem_actuator.run.node import NodeFacts
from tandem_actuator.run.outside import Kept, Ports
from tandem_actuator.run.walls import Walls
from tandem_actuator.run.watchdog import KeptWatchdog, NoWatchdog
from tandem_actuator.run.workload import Unit
from tandem_api.authority import Instance
from tandem_api.kinds.mirror import Mirror
from tandem_api.kinds.site import SiteSpec
from tandem_api.lease import HeartbeatContent, heartbeat_of, unarmed_host
from tandem_api.timing import DEFAULT, FAST, Timing
from tandem_api.vocabulary import Connection, DomainState, Role
from tandem_hostile import A, mirror

from .turning import Exits, NoLooks
from .watchdog_bench import BOOTED_S, W_S, Machine


@dataclass
class Leases:
    """The API server, for heartbeats alone. What each said, and what the device had then."""

    machine: Machine
    said: list[tuple[HeartbeatContent, int]] = field(default_factory=list)

    async def renew(self, heartbeat: HeartbeatContent) -> str:
        await asyncio.sleep(0.02)
        self.said.append((heartbeat, self.machine.hardware.timeout_s))
        return str(len(self.said))


class NoPermits:
    """Nothing is kept for a next run."""

    def store(self, renewal_sent_at_s: float, timing: Timing) -> None: ...


class Host:
    """The real actuator on the bench, with nothing to do but what a test begins."""

    def __init__(self, machine: Machine, watchdog: KeptWatchdog | NoWatchdog) -> None:
        self.node = NodeFacts(A, Instance(node=A, boot_id="boot", run_id="run"), DEFAULT)
        self.leases, unused = Leases(machine), cast(Any, None)
        ports = Ports(
            api=cast(Any, self.leases),
            drbd=unused,
            libvirt=unused,
            network=unused,
            records=unused,
            clock=machine,
            chance=random.Random(1),
        )
        self.wanted = DEFAULT
        driver = type("NoDriver", (), {"walls": Walls(machine)})()
        self.actuator = Actuator(
            self.node,
            ports,
            cast(Any, driver),
            watchdog,
            Metrics(),
            Kept(permits=cast(Any, NoPermits()), starts=Exits(), looks=NoLooks(), cache=unused),
        )
        self.actuator.heart.site = lambda: "a"
        self.actuator.heart.wanted = lambda: self.wanted

    def use(self, timing: Timing) -> None:
        self.wanted = self.node.timing = timing

    async def run(self) -> None:
        """Arming, and the guard."""
        async with asyncio.TaskGroup() as tasks:
            tasks.create_task(self.actuator.arming.run())
            tasks.create_task(self.actuator._guard())


@pytest.fixture
def machine() -> Machine:
    return Machine()


@pytest.fixture
def host(machine: Machine) -> Host:
    """Its actuator's loops are under way: arming, and the guard, with no guest here."""
    return started(machine)


def started(machine: Machine) -> Host:
    hosts: list[Host] = []

    async def program(watchdog: KeptWatchdog) -> None:
        hosts.append(Host(machine, watchdog))
        hosts[0].node.guarding = True
        await hosts[0].run()

    machine.play(program)
    machine.run(3.0)
    return hosts[0]


def test_it_is_armed_with_the_timeout_in_force(machine: Machine, host: Host) -> None:
    assert host.node.watchdog_armed
    assert machine.hardware.timeout_s == DEFAULT.watchdog_seconds
    machine.run(100.0)
    assert machine.reset_s == math.inf


def test_a_slow_device_is_armed_by_doing_what_is_said(machine: Machine) -> None:
    """iTCO takes nothing below 4 s. What the message has for the Site is written into it."""
    machine.hardware.smallest_s = 4
    host = started(machine)
    assert not host.node.watchdog_armed
    words = unarmed_host(A, host.node.watchdog_least_s, DEFAULT)
    assert "takes no timeout below 4 s" in words and "Optional" not in words
    heartbeat = json.loads(words.partition("heartbeat:")[2])
    site = SiteSpec.model_validate({"profile": "Custom", "heartbeat": heartbeat})
    assert (site.timing.watchdog_seconds, site.timing.lease_duration_seconds) == (4, 11.0)
    host.use(site.timing)
    machine.run(6.0)
    assert host.node.watchdog_armed
    assert machine.hardware.timeout_s == 4
    assert host.node.watchdog_least_s is None


def test_without_a_better_way_it_may_do_without_one() -> None:
    for least_s in (None, 301):
        assert "set spec.watchdog to Optional" in unarmed_host(A, least_s, DEFAULT)


def test_another_timing_is_another_timeout(machine: Machine, host: Host) -> None:
    for timing, until_s in ((FAST, 10.0), (DEFAULT, 20.0), (FAST, 100.0)):
        host.use(timing)
        machine.run(until_s)
        assert machine.hardware.timeout_s == timing.watchdog_seconds
        assert host.node.watchdog_armed
    assert machine.reset_s == math.inf


def test_a_keeper_that_dies_is_replaced_before_the_machine_is_reset(
    machine: Machine, host: Host
) -> None:
    machine.keepers.kill()
    machine.run(20.0)
    assert machine.keepers.started == 2
    assert host.node.watchdog_armed
    assert machine.reset_s == math.inf


def test_without_one_it_says_so_and_tries_again(machine: Machine) -> None:
    machine.hardware.present = False
    hosts: list[Host] = []

    async def program(watchdog: KeptWatchdog) -> None:
        hosts.append(Host(machine, watchdog))
        hosts[0].node.guarding = hosts[0].node.watchdog_armed = True
        await hosts[0].run()

    machine.play(program)
    machine.run(10.0)
    assert not hosts[0].node.watchdog_armed
    machine.hardware.present = True
    machine.run(12.0)
    assert hosts[0].node.watchdog_armed


def test_a_new_keeper_is_fed_in_time_by_a_new_run(machine: Machine) -> None:
    """Both were killed on a host that no guest runs on: the permit says Fast, libvirt is away."""
    machine.keepers.starts_in_s = (0.2, 0.2)

    async def program(watchdog: KeptWatchdog) -> None:
        host = Host(machine, watchdog)
        host.use(FAST)
        await host.run()

    machine.play(program)
    machine.run(10.0)
    assert machine.reset_s == math.inf


async def test_where_none_is_wanted_nothing_is_kept_armed(machine: Machine) -> None:
    host = Host(machine, NoWatchdog())
    await asyncio.wait_for(host.actuator.arming.run(), 5.0)
    assert not host.node.watchdog_armed


def unit(*, lapsed: bool) -> Unit:
    """A guest that runs here, with its peer out of sight."""
    parsed = Mirror.parse(mirror("m"))
    found = Unit(mirror=parsed, record=Record(uid=parsed.metadata.uid))
    found.observe_domain(DomainState.RUNNING)
    found.drbd = DrbdState(
        role=Role.PRIMARY,
        connection=Connection.CONNECTING,
        peer_role=Role.UNKNOWN,
        volumes={},
        suspended=frozenset(),
        queried_at_s=BOOTED_S,
    )
    found.lapses = int(lapsed)
    return found


class TestWithoutADeadline:
    """No heartbeat counts and the link is down: nothing says until when a guest may run here."""

    @pytest.mark.parametrize("lapsed", [True, False])
    def test_the_machine_is_reset(self, machine: Machine, host: Host, lapsed: bool) -> None:
        """A lapse that no swap has affirmed; or no heartbeat was ever confirmed. The fence hangs:
        it has nothing to fence with.
        """
        here = unit(lapsed=lapsed)
        here.fence_task = cast(Any, asyncio.Future(loop=asyncio.new_event_loop()))
        host.actuator.cluster.units[here.mirror.key] = here
        host.node.renewal_sent_at_s = machine.boottime_s() if lapsed else None
        machine.run(3.0 + DEFAULT.self_fence_seconds + DEFAULT.fencing_seconds + W_S + 1.0)
        assert machine.reset_s < math.inf

    def test_with_one_it_is_reset_in_time(self, machine: Machine, host: Host) -> None:
        """The same, but a heartbeat was confirmed once, and counts."""
        here = unit(lapsed=False)
        here.fence_task = cast(Any, asyncio.Future(loop=asyncio.new_event_loop()))
        host.actuator.cluster.units[here.mirror.key] = here
        host.node.renewal_sent_at_s = sent_at_s = machine.boottime_s()
        machine.run(100.0)
        deadline_s = sent_at_s + DEFAULT.self_fence_seconds + DEFAULT.fencing_seconds
        assert deadline_s < machine.reset_s <= deadline_s + W_S + LATE_S[1]


class TestTimingInForce:
    def test_a_timeout_that_the_device_refuses_resets_nothing(
        self, machine: Machine, host: Host
    ) -> None:
        """A Site set to Fast, on hosts whose watchdog cannot do less than 2 s."""
        machine.hardware.smallest_s = W_S
        here = unit(lapsed=False)
        host.actuator.cluster.units[here.mirror.key] = here

        async def beat() -> None:
            while True:
                host.node.renewal_sent_at_s = machine.boottime_s()
                await asyncio.sleep(1.0)

        async def program(watchdog: KeptWatchdog) -> None:
            await beat()

        machine.play(program)
        machine.run(10.0)
        host.use(FAST)
        machine.run(60.0)
        assert machine.reset_s == math.inf

    @pytest.mark.parametrize("refused", [True, False])
    def test_no_heartbeat_promises_a_shorter_timeout_than_the_device_has(
        self, machine: Machine, refused: bool
    ) -> None:
        """Others count on what a heartbeat says, from when it was sent."""
        hosts: list[Host] = []

        async def program(watchdog: KeptWatchdog) -> None:
            hosts.append(Host(machine, watchdog))
            async with asyncio.TaskGroup() as tasks:
                tasks.create_task(hosts[0].run())
                tasks.create_task(hosts[0].actuator.heart.run())

        machine.hardware.smallest_s = W_S if refused else 1
        machine.play(program)
        for number in range(20):
            for step in range(14):
                machine.run(5.0 + 1.4 * number + 0.1 * step)
                last, _ = hosts[0].leases.said[-1]
                has_s = machine.hardware.timeout_s
                assert not last.watchdog_armed or has_s <= last.timing.watchdog_seconds
            hosts[0].wanted = FAST if number % 2 else DEFAULT
        said = hosts[0].leases.said
        assert len(said) > 20
        wrong = [
            had_s
            for heartbeat, had_s in said
            if heartbeat.watchdog_armed and heartbeat.timing.watchdog_seconds < had_s
        ]
        assert wrong == []


def test_the_smallest_timeout_goes_with_the_heartbeat() -> None:
    for armed, least_s in ((True, None), (False, None), (False, 4)):
        content = HeartbeatContent(
            host=A,
            site="s",
            instance="i",
            watchdog_armed=armed,
            watchdog_least_s=least_s,
            timing=DEFAULT,
        )
        metadata = {
            "name": f"host-{A}",
            "labels": content.labels,
            "annotations": content.annotations,
            "resourceVersion": "1",
        }
        found = heartbeat_of({"metadata": metadata})
        assert found is not None
        assert (found.watchdog_armed, found.watchdog_least_s) == (armed, least_s)
