"""The durable record: what the driver believes of it when the disk refuses, and what becomes of a
mirror whose record cannot be read. On the real records and a simulated file system.
"""

import asyncio
import errno
import json
import random
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any, cast

import pytest

from sim.host.file_faults import Damage, Operation
from sim.host.files import SimFiles
from tandem_actuator.adapters.fakes import FakeClock
from tandem_actuator.adapters.files.object_cache import ObjectCache
from tandem_actuator.adapters.files.records import FileRecords
from tandem_actuator.core import effects as fx
from tandem_actuator.core.authority import held
from tandem_actuator.core.guest.domain_xml import DomainSettings
from tandem_actuator.core.model import Record
from tandem_actuator.ports.api import Synced
from tandem_actuator.ports.drbd import DrbdEvent
from tandem_actuator.run.cluster import Cluster
from tandem_actuator.run.driver import Driver
from tandem_actuator.run.node import NodeFacts
from tandem_actuator.run.outside import Ports
from tandem_actuator.run.workload import STORES_TRIED, Unit
from tandem_api.authority import Authority, Instance
from tandem_api.kinds.guest import Guest
from tandem_api.kinds.mirror import Marker, Mirror
from tandem_api.reasons import Reason
from tandem_api.timing import DEFAULT
from tandem_api.vocabulary import DomainState
from tandem_hostile import A, guest, mirror

STATE, OBJECTS = Path("/var/lib/tandem/mirrors"), Path("/run/tandem/objects")
NODE = NodeFacts(A, Instance(node=A, boot_id="boot", run_id="run"), DEFAULT)
MIRROR, GUEST = Mirror.parse(mirror("g")), Guest.parse(guest("g"))
NAME = MIRROR.drbd_name
MARKER = Marker(reason=Reason.LOCAL_DISK_FAILED)


class Host:
    """A unit, its driver and its disk. Only what a record needs is there."""

    def __init__(self, seed: int = 1) -> None:
        self.disk = SimFiles(random.Random(seed))
        self.records = FileRecords(STATE, self.disk)
        ports = Ports(
            api=None,  # type: ignore[arg-type]
            drbd=None,  # type: ignore[arg-type]
            libvirt=None,  # type: ignore[arg-type]
            network=None,  # type: ignore[arg-type]
            records=self.records,
            clock=None,  # type: ignore[arg-type]
        )
        settings = DomainSettings(kvm=True, serial_dir="/tmp")
        self.driver = Driver(ports, NODE, settings, lambda unit: "")
        self.unit = Unit(mirror=MIRROR, record=Record(uid="uid-g"))

    def use(self, disk: "SlowDisk") -> None:
        self.driver.recording.ports = replace(self.driver.ports, off_loop=disk.run)

    async def update(self, effect: fx.UpdateRecord) -> fx.Outcome:
        return await self.driver.perform(self.unit, effect)

    def stored(self) -> Record | None:
        """What the next boot will find."""
        self.disk.power_cut()
        self.disk.power_on()
        self.disk.mend()
        return FileRecords(STATE, self.disk).load(NAME)


async def test_what_is_done_is_durable() -> None:
    host = Host()
    update = fx.UpdateRecord(epoch=4, owned_epoch=4, marker=MARKER, attached=True)
    assert await host.update(update) == fx.Done()
    assert host.unit.record == Record("uid-g", "", 4, 4, MARKER, True)
    assert host.stored() == host.unit.record


@pytest.mark.parametrize("operation", [Operation.CREATE, Operation.WRITE, Operation.SYNC])
async def test_what_the_disk_refuses_is_not_believed(operation: Operation) -> None:
    """Whatever asks the record next would take an epoch or a marker for durable that is not."""
    host = Host()
    await host.update(fx.UpdateRecord(epoch=4))
    host.disk.fail(operation, errno.ENOSPC)
    outcome = await host.update(fx.UpdateRecord(epoch=5, marker=MARKER))
    assert isinstance(outcome, fx.Failed)
    assert "No space left" in outcome.message
    assert host.unit.record == Record("uid-g", max_epoch=4)
    assert host.stored() == host.unit.record


async def test_what_was_refused_once_is_stored_the_next_time() -> None:
    host = Host()
    host.disk.fail(Operation.WRITE, times=1)
    assert isinstance(await host.update(fx.UpdateRecord(epoch=5)), fx.Failed)
    assert await host.update(fx.UpdateRecord(epoch=5)) == fx.Done()
    assert host.stored() == Record("uid-g", max_epoch=5)


async def test_a_record_that_is_as_it_was_is_not_written() -> None:
    host = Host()
    await host.update(fx.UpdateRecord(epoch=4))
    host.disk.read_only = True
    assert await host.update(fx.UpdateRecord(epoch=4)) == fx.Done()


async def test_a_marker_whose_clearing_failed_stays_on_the_disk() -> None:
    """Else a replica that is stale is trusted after the next boot."""
    for seed in range(20):
        host = Host(seed)
        await host.update(fx.UpdateRecord(marker=MARKER))
        host.disk.fail(Operation.SYNC_DIRECTORY, times=1)
        assert isinstance(await host.update(fx.UpdateRecord(marker=None)), fx.Failed)
        assert await host.update(fx.UpdateRecord(marker=MARKER)) == fx.Done()
        stored = host.stored()
        assert stored is not None
        assert stored.marker == MARKER


async def test_that_the_disk_was_behind_is_known_until_it_is_noted() -> None:
    host = Host()
    host.unit.was_behind = True
    host.disk.read_only = True
    assert isinstance(await host.update(fx.UpdateRecord(marker=MARKER)), fx.Failed)
    assert host.unit.was_behind


def cluster_on(disk: SimFiles, run: SimFiles) -> Cluster:
    return Cluster(
        api=None,  # type: ignore[arg-type]  # the tests tell what a watch would
        records=FileRecords(STATE, disk),
        cache=ObjectCache(OBJECTS, run),
        node=NODE,
        on_unit=lambda unit: None,
    )


def a_guest_runs_and_the_actuator_is_restarted() -> tuple[SimFiles, SimFiles]:
    """Disk and tmpfs as the earlier run has left them."""
    disk, run = SimFiles(random.Random(1)), SimFiles(random.Random(2), tmpfs=True)
    FileRecords(STATE, disk).store(NAME, Record("uid-g", max_epoch=7, attached=True))
    ObjectCache(OBJECTS, run).store(MIRROR, GUEST)
    return disk, run


@pytest.mark.parametrize("how", [Damage.EMPTY, Damage.ZEROED])
def test_what_runs_is_guarded_although_its_record_cannot_be_read(how: Damage) -> None:
    disk, run = a_guest_runs_and_the_actuator_is_restarted()
    disk.damage(STATE / f"{NAME}.json", how)
    cluster = cluster_on(disk, run)
    cluster.recall()
    assert [unit.guest for unit in cluster.units.values()] == [GUEST]


def test_fields_of_a_newer_version_outlive_an_older_one() -> None:
    disk, run = a_guest_runs_and_the_actuator_is_restarted()
    path = STATE / f"{NAME}.json"
    disk.put(path, json.dumps({**json.loads(disk.read(path)), "newer": [1, 2]}).encode())
    cluster = cluster_on(disk, run)
    cluster.recall()
    (unit,) = cluster.units.values()
    assert unit.record == Record("uid-g", max_epoch=7, attached=True)
    cluster.records.store(NAME, Record("uid-g", max_epoch=8, attached=True))
    assert json.loads(disk.read(path))["newer"] == [1, 2]


def test_a_record_that_cannot_be_read_just_now_is_read_again() -> None:
    disk, run = a_guest_runs_and_the_actuator_is_restarted()
    disk.fail(Operation.READ, times=1)
    cluster = cluster_on(disk, run)
    cluster.recall()
    (unit,) = cluster.units.values()
    refusal = held(MIRROR, unit.record)
    assert refusal is not None
    assert refusal.reason is Reason.HOLD_RECORD_UNREADABLE
    cluster.take(Mirror, Synced((MIRROR,)))
    cluster.read_record_again(unit)
    assert unit.record == Record("uid-g", max_epoch=7, attached=True)


def test_a_guest_may_run_whose_record_cannot_be_read() -> None:
    """Its boot is not known, and libvirt does not tell."""
    unit = Unit(mirror=MIRROR, record=Record(uid="uid-g", unreadable="damaged"))
    assert unit.view(NODE).guest_may_run
    unit.observe_domain(DomainState.ABSENT)
    assert not unit.view(NODE).guest_may_run


async def test_what_cannot_be_read_is_not_replaced() -> None:
    host = Host()
    host.unit.record = Record(uid="uid-g", unreadable="damaged")
    assert isinstance(await host.update(fx.UpdateRecord(epoch=9)), fx.Failed)
    assert host.stored() is None


async def test_what_is_damaged_later_is_written_anew() -> None:
    host = Host()
    await host.update(fx.UpdateRecord(epoch=4))
    host.disk.damage(STATE / f"{NAME}.json", Damage.ZEROED)
    assert await host.update(fx.UpdateRecord(epoch=5)) == fx.Done()
    assert host.stored() == Record("uid-g", max_epoch=5)


class SlowDisk:
    """Syncs take until they are let go on."""

    def __init__(self) -> None:
        self.begun, self.goes_on = 0, asyncio.Event()

    async def run(self, work: Callable[[], None]) -> None:
        self.begun += 1
        await self.goes_on.wait()
        work()


async def test_the_loop_goes_on_while_a_disk_syncs() -> None:
    host, disk = Host(), SlowDisk()
    host.use(disk)
    storing = asyncio.create_task(host.update(fx.UpdateRecord(epoch=5)))
    await asyncio.sleep(0.01)
    assert not storing.done()
    assert host.unit.record.max_epoch == 0, "not durable yet"
    disk.goes_on.set()
    assert await storing == fx.Done()
    assert host.stored() == Record("uid-g", max_epoch=5)


async def test_two_that_write_a_record_lose_nothing_of_each_other() -> None:
    host, disk = Host(), SlowDisk()
    host.use(disk)
    changes = (fx.UpdateRecord(epoch=5), fx.UpdateRecord(marker=MARKER))
    storing = [asyncio.create_task(host.update(change)) for change in changes]
    await asyncio.sleep(0.01)
    assert disk.begun == 1
    disk.goes_on.set()
    assert await asyncio.gather(*storing) == [fx.Done(), fx.Done()]
    assert host.stored() == Record("uid-g", max_epoch=5, marker=MARKER)


async def test_one_that_nobody_waits_for_is_not_overtaken() -> None:
    """What is being written cannot be stopped: it would be on the disk after the next."""
    host, disk = Host(), SlowDisk()
    host.use(disk)
    first = asyncio.create_task(host.update(fx.UpdateRecord(epoch=5)))
    await asyncio.sleep(0.01)
    first.cancel()
    second = asyncio.create_task(host.update(fx.UpdateRecord(marker=MARKER)))
    await asyncio.sleep(0.01)
    assert disk.begun == 1
    disk.goes_on.set()
    await second
    assert host.stored() == Record("uid-g", max_epoch=5, marker=MARKER)


async def test_that_the_disk_was_behind_again_is_not_forgotten() -> None:
    host, disk = Host(), SlowDisk()
    host.use(disk)
    host.unit.observe_event(DrbdEvent("m", was_behind=True))
    storing = asyncio.create_task(host.update(fx.UpdateRecord(marker=None, epoch=5)))
    await asyncio.sleep(0.01)
    assert host.unit.was_behind, "until it is noted"
    host.unit.observe_event(DrbdEvent("m", was_behind=True))
    disk.goes_on.set()
    await storing
    assert host.unit.was_behind


class Epochs:
    """The API, for swaps alone."""

    def __init__(self) -> None:
        self.swaps = 0

    async def swap_authority(self, *arguments: object) -> Mirror:
        self.swaps += 1
        return MIRROR


async def test_no_epoch_is_raised_that_could_not_be_noted() -> None:
    host, api = Host(), Epochs()
    host.driver.ports = replace(host.driver.ports, api=cast(Any, api))
    authority = Authority.model_validate({"epoch": 5, "incarnation": "uid-g", "mode": "Mirrored"})
    host.disk.read_only = True
    assert isinstance(await host.update(fx.UpdateRecord(epoch=4)), fx.Failed)
    for _ in range(3):
        outcome = await host.driver.perform(host.unit, fx.Swap(4, authority))
        assert isinstance(outcome, fx.Failed)
        assert "Read-only" in outcome.message
    assert api.swaps == 0
    host.disk.read_only = False
    assert isinstance(await host.driver.perform(host.unit, fx.Swap(4, authority)), fx.Swapped)


@pytest.mark.parametrize("why", ["Released", "InSync"])
async def test_what_is_given_up_needs_no_note(why: str) -> None:
    host, api = Host(), Epochs()
    host.driver.ports = replace(host.driver.ports, api=cast(Any, api))
    host.disk.read_only = True
    assert isinstance(await host.update(fx.UpdateRecord(epoch=4)), fx.Failed)
    raw = {"epoch": 5, "incarnation": "uid-g", "mode": "Mirrored", "reason": why}
    swap = fx.Swap(4, Authority.model_validate(raw))
    assert isinstance(await host.driver.perform(host.unit, swap), fx.Swapped)
    assert api.swaps == 1


class TestAClaim:
    """Whoever has claimed and can note nothing keeps everybody else from the mirror."""

    def host(self) -> tuple[Host, Epochs]:
        host, api = Host(), Epochs()
        clock = FakeClock()
        host.driver.ports = replace(host.driver.ports, api=cast(Any, api), clock=clock)
        return host, api

    def claim(self, epoch: int) -> fx.Swap:
        claimed = {"epoch": epoch + 1, "incarnation": "uid-g", "owner": A, "reason": "Claimed"}
        return fx.Swap(epoch, Authority.model_validate(claimed))

    async def test_is_not_sent_by_a_host_that_cannot_keep_a_record(self) -> None:
        host, api = self.host()
        host.disk.read_only = True
        outcome = await host.driver.perform(host.unit, self.claim(4))
        assert isinstance(outcome, fx.Failed)
        assert "Read-only" in outcome.message
        assert api.swaps == 0

    async def test_a_disk_that_hangs_for_a_moment_is_no_refusal(self) -> None:
        host, _ = self.host()
        host.disk.read_only = True
        for _ in range(STORES_TRIED):
            assert host.unit.unrecorded == ""
            await host.driver.perform(host.unit, self.claim(4))
        assert "Read-only" in host.unit.unrecorded
        host.disk.read_only = False
        await host.update(fx.UpdateRecord(epoch=4))
        assert host.unit.unrecorded == ""

    async def test_is_sent_by_one_that_can(self) -> None:
        host, api = self.host()
        assert isinstance(await host.driver.perform(host.unit, self.claim(4)), fx.Swapped)
        assert api.swaps == 1

    @pytest.mark.parametrize(("later_s", "tried"), [(1.0, False), (2.0, True)])
    async def test_one_store_speaks_for_many_for_a_moment(
        self, later_s: float, tried: bool
    ) -> None:
        host, _ = self.host()
        await host.driver.perform(host.unit, self.claim(4))
        host.disk.read_only = True
        cast(FakeClock, host.driver.ports.clock).now_s += later_s
        outcome = await host.driver.perform(host.unit, self.claim(5))
        assert isinstance(outcome, fx.Failed) is tried

    async def test_nothing_else_waits_for_that(self) -> None:
        """Who says that it writes alone must be able to say so, whatever its disk does."""
        host, _ = self.host()
        host.disk.read_only = True
        raw = {"epoch": 5, "incarnation": "uid-g", "owner": A, "reason": "PeerDiskNotUpToDate"}
        swap = fx.Swap(4, Authority.model_validate(raw))
        assert isinstance(await host.driver.perform(host.unit, swap), fx.Swapped)
