"""Whatever an object holds, an actuator goes on: it leaves it alone, or says what is wrong."""

import os
import random
from collections.abc import AsyncIterator, Mapping
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from sim.host.files import SimFiles
from tandem_actuator.adapters.files.object_cache import ObjectCache
from tandem_actuator.adapters.files.records import FileRecords
from tandem_actuator.adapters.kube_api import KubeApi
from tandem_actuator.core.drbd import DrbdState, NotConfigured, VolumeState
from tandem_actuator.core.guest.domain_xml import DomainSettings, DomainXmlError
from tandem_actuator.core.guest.domain_xml import render as render_domain
from tandem_actuator.core.host.permission import run_permission
from tandem_actuator.core.mirror import resource_file
from tandem_actuator.core.order import decide
from tandem_actuator.core.report import guest_report, replica_report
from tandem_actuator.ports.api import Changed, Removed, Synced
from tandem_actuator.run.cluster import Cluster
from tandem_actuator.run.node import NodeFacts
from tandem_actuator.run.workload import Unit
from tandem_api.authority import Instance
from tandem_api.kinds.mirror import Mirror
from tandem_api.lease import TIMING_ANNOTATION, WATCHDOG_ANNOTATION, heartbeat_of, lease_name
from tandem_api.meta import ObjectKey
from tandem_api.registry import KINDS
from tandem_api.timing import DEFAULT, drbd_timers
from tandem_api.vocabulary import Connection, DiskState, DomainState, Role
from tandem_hostile import A, B, Raw, anything, key, notes, objects, spoiled
from tandem_kube import watch

EXAMPLES = int(os.environ.get("TANDEM_EXAMPLES", "60"))
search = settings(max_examples=EXAMPLES, deadline=None, suppress_health_check=list(HealthCheck))
OBJECTS = {key(raw): raw for raw in objects()}
MINE = ObjectKey(namespace="ns", name="g")
OTHER = ObjectKey(namespace="ns", name="other")
NOW_S, WALL = 1000.0, "2024-05-01T10:00:00Z"


class Told:
    """A client whose watches tell what the test says, and then end."""

    def __init__(self, raws: list[Raw], then: list[Raw]) -> None:
        self.raws, self.then = raws, then

    async def watch(self, kind: Any) -> AsyncIterator[watch.WatchEvent]:
        yield watch.Synced(tuple(raw for raw in self.raws if raw["kind"] == kind.name))
        for raw in self.then:
            if raw["kind"] == kind.name:
                yield watch.Changed(raw)


def new_cluster() -> Cluster:
    node = NodeFacts(A, Instance(node=A, boot_id="boot", run_id="run"), DEFAULT)
    files = SimFiles(random.Random(1))
    return Cluster(
        api=None,  # type: ignore[arg-type]  # events are put in by ``fed``
        records=FileRecords(Path("/var/mirrors"), files),
        cache=ObjectCache(Path("/run/objects"), files),
        node=node,
        on_unit=lambda unit: None,
    )


async def fed(cluster: Cluster, raws: list[Raw], then: list[Raw]) -> None:
    """As the four watches would, one after another."""
    cluster.api = KubeApi(Told(raws, then))  # type: ignore[arg-type]
    for info in KINDS:
        await cluster._follow(info.type)


def drbd_state(connected: bool) -> DrbdState:
    peer = DiskState.UP_TO_DATE if connected else DiskState.UNKNOWN
    volume = VolumeState(disk=DiskState.UP_TO_DATE, peer_disk=peer)
    return DrbdState(
        role=Role.PRIMARY,
        connection=Connection.CONNECTED if connected else Connection.CONNECTING,
        peer_role=Role.SECONDARY if connected else Role.UNKNOWN,
        volumes={"root": volume, "data": volume},
        queried_at_s=NOW_S,
        suspended=frozenset() if connected else frozenset({"fencing"}),
    )


DRBD = st.sampled_from([drbd_state(True), drbd_state(False), NotConfigured(NOW_S)])
DOMAINS = st.sampled_from(list(DomainState))


def looked_at(cluster: Cluster, drbd: Any, domain: DomainState) -> dict[ObjectKey, object]:
    """All that the loops compute from a unit; the decision by mirror."""
    decisions: dict[ObjectKey, object] = {}
    for unit in cluster.units.values():
        unit.observe_drbd(drbd, NOW_S, WALL)
        unit.observe_domain(domain)
        view = unit.view(cluster.node)
        run_permission(view, NOW_S - 60.0, NOW_S)
        decision = decide(view, NOW_S, WALL)
        replica_report(view, decision.reason, decision.message, WALL, NOW_S)
        guest_report(view, decision.reason, decision.message, {})
        written(unit, cluster.node.addresses)
        decisions[unit.mirror.key] = (decision.reason, decision.message)
    cluster.match_guests()
    cluster.wanted_timing()
    return decisions


def written(unit: Unit, addresses: Mapping[str, str]) -> None:
    """The files that would be written, or the error that the driver turns into a report."""
    numbers = unit.mirror.status.device_numbers
    if numbers is not None:
        try:
            resource_file.render(
                unit.mirror,
                addresses,
                numbers,
                drbd_timers(DEFAULT),
                version_major=8,
                fence_peer="/usr/sbin/tandem-fence-peer",
            )
        except ValueError as error:
            assert str(error)
    if unit.guest is not None:
        try:
            render_domain(unit.guest, unit.mirror, DomainSettings(kvm=True, serial_dir="/tmp"))
        except DomainXmlError as error:
            assert str(error).startswith("spec.")


class TestOneBadObject:
    @search
    @given(
        data=st.data(), which=st.sampled_from(sorted(OBJECTS)), drbd=DRBD, domain=DOMAINS,
        later=st.booleans(),
    )  # fmt: skip
    async def test_never_stops_the_actuator(
        self, data: Any, which: Any, drbd: Any, domain: DomainState, later: bool
    ) -> None:
        bad = data.draw(spoiled(OBJECTS[which]))
        cluster = new_cluster()
        good = objects()
        if later:
            await fed(cluster, good, [bad])
        else:
            await fed(cluster, [bad if key(raw) == which else raw for raw in good], [])
        looked_at(cluster, drbd, domain)

    @search
    @given(
        data=st.data(), which=st.sampled_from([("Mirror", "g"), ("Guest", "g")]), drbd=DRBD,
        domain=DOMAINS,
    )  # fmt: skip
    async def test_never_changes_what_is_decided_about_another(
        self, data: Any, which: Any, drbd: Any, domain: DomainState
    ) -> None:
        expected = new_cluster()
        await fed(expected, objects(), [])
        wanted = looked_at(expected, drbd, domain)[OTHER]
        bad = data.draw(spoiled(OBJECTS[which]))
        cluster = new_cluster()
        await fed(cluster, [bad if key(raw) == which else raw for raw in objects()], [])
        assert looked_at(cluster, drbd, domain)[OTHER] == wanted

    @search
    @given(data=st.data(), which=st.sampled_from([("Mirror", "g"), ("Guest", "g")]))
    async def test_never_makes_a_running_guest_count_as_stopped(
        self, data: Any, which: Any
    ) -> None:
        """A guest that may run here is guarded whatever becomes of its objects."""
        cluster = new_cluster()
        await fed(cluster, objects(), [])
        looked_at(cluster, drbd_state(False), DomainState.RUNNING)
        bad = data.draw(spoiled(OBJECTS[which]))
        await fed(cluster, [bad if key(raw) == which else raw for raw in objects()], [])
        view = cluster.units[MINE].view(cluster.node)
        assert view.guest is not None
        assert view.guest_may_run
        assert not run_permission(view, NOW_S - 60.0, NOW_S).allowed


async def test_one_that_cannot_be_read_is_left_out_and_the_rest_told(tmp_path: Path) -> None:
    api = KubeApi(Told([{**OBJECTS["Mirror", "g"], "spec": 3}, OBJECTS["Mirror", "other"]], []))  # type: ignore[arg-type]
    told = [event async for event in api.watch(Mirror)]
    assert [[obj.key for obj in event.objects] for event in told if isinstance(event, Synced)] == [
        [OTHER]
    ]
    assert not any(isinstance(event, Changed | Removed) for event in told)


class TestHeartbeats:
    @search
    @given(timing=notes | anything.map(str), watchdog=notes, holder=st.text(max_size=20))
    def test_no_annotation_is_too_odd(self, timing: str, watchdog: str, holder: str) -> None:
        """One that cannot be read says nothing about how long its host may run."""
        beat = heartbeat_of(lease(A, timing=timing, watchdog=watchdog, holder=holder))
        assert beat is not None
        assert beat.timing is None or beat.timing.problem() is None

    @pytest.mark.parametrize("metadata", [{"labels": None}, {"labels": {}}, {"annotations": None}])
    def test_a_lease_without_labels_is_nobodys(self, metadata: Raw) -> None:
        raw = lease(A)
        raw["metadata"].update(metadata)
        beat = heartbeat_of(raw)
        assert beat is None or beat.timing is None

    def test_when_it_was_renewed_is_what_the_lease_says_or_nothing(self) -> None:
        raw = lease(A)
        raw["spec"]["renewTime"] = "2026-01-01T00:00:00.000000Z"
        beat = heartbeat_of(raw)
        assert beat is not None
        assert beat.renewed_at == raw["spec"].pop("renewTime")
        beat = heartbeat_of(raw)
        assert beat is not None
        assert beat.renewed_at == ""

    def test_only_a_hosts_own_lease_counts(self) -> None:
        """A host must not keep another one alive by a label on a Lease of its own."""
        raw = lease(A)
        raw["metadata"]["name"] = lease_name(B)
        assert heartbeat_of(raw) is None


def lease(host: str, *, timing: str = "", watchdog: str = "armed", holder: str = "x") -> Raw:
    return {
        "metadata": {
            "name": lease_name(host),
            "resourceVersion": "7",
            "labels": {"tandem.dev/host": host},
            "annotations": {TIMING_ANNOTATION: timing, WATCHDOG_ANNOTATION: watchdog},
        },
        "spec": {"holderIdentity": holder},
    }
