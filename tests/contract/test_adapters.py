"""Both programs' adapters of the API, on the simulated server and on the real one (integration).

What they promise is in ``tandem_actuator.ports`` and ``tandem_controller.ports``: what is written
only if nothing has changed, what becomes of what is gone, and which error is which.
"""

import asyncio
import contextlib
import uuid
from collections.abc import AsyncIterator
from typing import Any

import pytest

from tandem_actuator.adapters.kube_api import KubeApi as ActuatorApi
from tandem_actuator.ports import api
from tandem_api.authority import Authority, Instance
from tandem_api.kinds.guest import FencingProof, ProofKind
from tandem_api.kinds.mirror import Claimant, Mirror, ReplicaReport, VolumeReport
from tandem_api.lease import HeartbeatContent, lease_name
from tandem_api.meta import ObjectKey
from tandem_api.timing import DEFAULT
from tandem_controller import ports as controller_ports
from tandem_controller.decide.election import LEASE_NAME, Seen
from tandem_controller.edge.kube import KubeApi as ControllerApi
from tandem_kube import EVENTS, LEASES, MIRRORS, KubeClient, NotFound

PATIENCE_S = 30.0


@pytest.fixture
def controller(client: KubeClient) -> ControllerApi:
    return ControllerApi(client)


@pytest.fixture
def actuator(client: KubeClient) -> ActuatorApi:
    return ActuatorApi(client)


@pytest.fixture
async def key(client: KubeClient, namespace: str) -> ObjectKey:
    """Of a mirror that was just made."""
    devices = {"root": "/dev/vg0/root"}
    spec = {
        "volumes": [{"name": "root", "size": "16Mi"}],
        "replicas": [{"host": h, "devices": devices} for h in ("a-1", "b-1")],
    }
    body = {"metadata": {"namespace": namespace, "name": "m"}, "spec": spec}
    await client.create(MIRRORS, body, timeout_s=PATIENCE_S)
    return ObjectKey(namespace=namespace, name="m")


async def with_authority(controller: ControllerApi, key: ObjectKey, epoch: int = 1) -> Mirror:
    """The mirror, its authority at this epoch."""
    mirror = await controller.read_mirror(key)
    first = Authority(epoch=1, incarnation=mirror.metadata.uid)
    await controller.set_up_mirror(mirror, {"authority": first.wire()})
    for old in range(1, epoch):
        new = first.model_copy(update={"epoch": old + 1})
        await controller.swap_authority(key, mirror.metadata.uid, old, new)
    return await controller.read_mirror(key)


async def rewritten(controller: ControllerApi, key: ObjectKey) -> None:
    """Somebody else writes something."""
    await controller.write_status("Mirror", key, {"message": str(uuid.uuid4())}, None)


class TestStatus:
    async def test_with_a_version_only_on_that_one(
        self, controller: ControllerApi, key: ObjectKey
    ) -> None:
        version = (await controller.read_mirror(key)).metadata.resource_version
        await rewritten(controller, key)
        with pytest.raises(controller_ports.ApiConflict):
            await controller.write_status("Mirror", key, {"phase": "A"}, version)
        assert (await controller.read_mirror(key)).status.phase == ""
        version = (await controller.read_mirror(key)).metadata.resource_version
        await controller.write_status("Mirror", key, {"phase": "A"}, version)
        assert (await controller.read_mirror(key)).status.phase == "A"

    async def test_what_is_gone_is_a_conflict(
        self, controller: ControllerApi, key: ObjectKey
    ) -> None:
        gone = ObjectKey(namespace=key.namespace, name="gone")
        with pytest.raises(controller_ports.ApiConflict):
            await controller.write_status("Mirror", gone, {"phase": "A"}, None)
        assert await controller.read_object("Mirror", gone) is None

    async def test_what_is_wrong_is_refused(
        self, controller: ControllerApi, key: ObjectKey
    ) -> None:
        with pytest.raises(controller_ports.ApiRefused):
            await controller.write_status("Mirror", key, {"phase": 7}, None)

    async def test_a_mirror_is_set_up_if_it_is_still_as_it_was(
        self, controller: ControllerApi, key: ObjectKey
    ) -> None:
        mirror = await controller.read_mirror(key)
        await rewritten(controller, key)
        with pytest.raises(controller_ports.ApiConflict):
            await controller.set_up_mirror(mirror, {"phase": "A"})
        mirror = await controller.read_mirror(key)
        metadata = mirror.metadata.model_copy(update={"uid": str(uuid.uuid4())})
        with pytest.raises(controller_ports.ApiConflict):
            await controller.set_up_mirror(
                mirror.model_copy(update={"metadata": metadata}), {"phase": "A"}
            )

    async def test_finalizers_with_a_version(
        self, controller: ControllerApi, key: ObjectKey
    ) -> None:
        old = (await controller.read_mirror(key)).metadata.resource_version
        await rewritten(controller, key)
        with pytest.raises(controller_ports.ApiConflict):
            await controller.write_finalizers("Mirror", key, ("tandem.dev/x",), old)
        new = (await controller.read_mirror(key)).metadata.resource_version
        await controller.write_finalizers("Mirror", key, ("tandem.dev/x",), new)
        metadata = (await controller.read_mirror(key)).metadata
        assert metadata.finalizers == ("tandem.dev/x",)
        await controller.write_finalizers("Mirror", key, (), metadata.resource_version)


class TestClaimants:
    def proof(self, epoch: int) -> Claimant:
        proof = FencingProof(kind=ProofKind.LEASE_LOST, host="a-1", instance="x", at_epoch=epoch)
        return Claimant(guest="g", proof=proof)

    async def test_without_a_proof_only_on_that_version(
        self, controller: ControllerApi, key: ObjectKey
    ) -> None:
        mirror = await with_authority(controller, key)
        await rewritten(controller, key)
        with pytest.raises(controller_ports.ApiConflict):
            await controller.add_claimant(mirror, "b-1", Claimant(guest="g"))
        mirror = await controller.read_mirror(key)
        assert mirror.status.claimants is None
        await controller.add_claimant(mirror, "b-1", Claimant(guest="g"))
        assert (await controller.read_mirror(key)).status.claimants == {"b-1": Claimant(guest="g")}

    async def test_with_a_proof_as_long_as_it_is_that_epoch(
        self, controller: ControllerApi, key: ObjectKey
    ) -> None:
        mirror = await with_authority(controller, key, epoch=2)
        await rewritten(controller, key)
        await controller.add_claimant(mirror, "b-1", self.proof(2))
        claimants = (await controller.read_mirror(key)).status.claimants
        assert claimants == {"b-1": self.proof(2)}
        assert mirror.status.authority is not None
        new = mirror.status.authority.model_copy(update={"epoch": 3})
        await controller.swap_authority(key, mirror.metadata.uid, 2, new)
        with pytest.raises(controller_ports.ApiConflict):
            await controller.add_claimant(mirror, "a-1", self.proof(2))

    async def test_the_other_entries_stay(self, controller: ControllerApi, key: ObjectKey) -> None:
        for host in ("a-1", "b-1"):
            mirror = await controller.read_mirror(key)
            await controller.write_status("Mirror", key, {"phase": "A"}, None)
            mirror = await controller.read_mirror(key)
            await controller.add_claimant(mirror, host, Claimant(guest="g"))
        claimants = (await controller.read_mirror(key)).status.claimants
        assert claimants is not None
        assert set(claimants) == {"a-1", "b-1"}

    async def test_another_mirror_of_that_name_gets_none(
        self, controller: ControllerApi, key: ObjectKey
    ) -> None:
        mirror = await with_authority(controller, key, epoch=2)
        metadata = mirror.metadata.model_copy(update={"uid": str(uuid.uuid4())})
        other = mirror.model_copy(update={"metadata": metadata})
        with pytest.raises(controller_ports.ApiConflict):
            await controller.add_claimant(other, "b-1", self.proof(2))


class TestElection:
    @pytest.fixture(autouse=True)
    async def nobody_leads(self, client: KubeClient) -> AsyncIterator[None]:
        yield
        with contextlib.suppress(NotFound):
            await client.delete(LEASES, ObjectKey(namespace="tandem-system", name=LEASE_NAME))

    async def test_of_two_who_make_it_one_leads(self, controller: ControllerApi) -> None:
        assert await controller.read_election() == Seen("", None)
        version = await controller.renew_election("one", None, transitions=0)
        with pytest.raises(controller_ports.ApiConflict):
            await controller.renew_election("two", None, transitions=0)
        assert await controller.read_election() == Seen("one", version, 0)

    async def test_of_two_who_take_it_over_one_leads(self, controller: ControllerApi) -> None:
        old = await controller.renew_election("one", None, transitions=0)
        new = await controller.renew_election("two", old, transitions=1)
        for holder in ("one", "three"):
            with pytest.raises(controller_ports.ApiConflict):
                await controller.renew_election(holder, old)
        assert await controller.read_election() == Seen("two", new, 1)


class TestHeartbeats:
    @pytest.fixture
    def content(self) -> HeartbeatContent:
        host = f"h-{uuid.uuid4().hex[:8]}"
        instance = str(Instance(node=host, boot_id="1", run_id="2"))
        return HeartbeatContent(
            host=host, site="a", instance=instance, watchdog_armed=True, timing=DEFAULT
        )

    async def test_each_has_a_new_version_and_says_all(
        self, actuator: ActuatorApi, controller: ControllerApi, content: HeartbeatContent
    ) -> None:
        assert await actuator.read_heartbeat(content.host) is None
        first, second = [await actuator.renew(content) for _ in range(2)]
        assert first != second
        found = await actuator.read_heartbeat(content.host)
        assert found is not None
        assert (found.version, found.timing, found.watchdog_armed) == (second, DEFAULT, True)
        assert found.instance == content.instance
        heard = await controller.heartbeats(PATIENCE_S)
        assert [each for each in heard if each.host == content.host] == [found]

    async def test_one_that_landed_unheard_does_not_stop_the_next(
        self, actuator: ActuatorApi, client: KubeClient, content: HeartbeatContent
    ) -> None:
        """Its answer was lost, or somebody else wrote there, or the Lease is gone."""
        await actuator.renew(content)
        name = lease_name(content.host)
        await client.renew_lease(name, holder=content.instance, duration_s=10)
        renewed = await actuator.renew(content)
        found = await actuator.read_heartbeat(content.host)
        assert found is not None
        assert found.version == renewed

    async def test_what_is_no_hosts_is_not_heard(
        self, client: KubeClient, controller: ControllerApi, content: HeartbeatContent
    ) -> None:
        await client.renew_lease(
            f"other-{content.host}",
            holder=content.instance,
            duration_s=10,
            labels=content.labels,
            annotations=content.annotations,
        )
        heard = await controller.heartbeats(PATIENCE_S)
        assert [each for each in heard if each.host == content.host] == []


class TestActuator:
    async def test_a_swap_at_another_epoch_is_a_conflict(
        self, actuator: ActuatorApi, controller: ControllerApi, key: ObjectKey
    ) -> None:
        mirror = await with_authority(controller, key, epoch=2)
        assert mirror.status.authority is not None
        new = mirror.status.authority.model_copy(update={"epoch": 3})
        for uid, epoch in ((mirror.metadata.uid, 1), ("another", 2)):
            with pytest.raises(api.ApiConflict):
                await actuator.swap_authority(key, uid, epoch, new)
        written = await actuator.swap_authority(key, mirror.metadata.uid, 2, new)
        assert written.status.authority == new

    async def test_what_is_gone_is_gone(self, actuator: ActuatorApi, key: ObjectKey) -> None:
        gone = ObjectKey(namespace=key.namespace, name="gone")
        with pytest.raises(api.ApiGone):
            await actuator.read_mirror(gone)
        with pytest.raises(api.ApiGone):
            await actuator.report_replica(gone, "a-1", ReplicaReport())

    async def test_a_report_replaces_the_one_before(
        self, actuator: ActuatorApi, key: ObjectKey
    ) -> None:
        volumes = {name: VolumeReport(disk="UpToDate") for name in ("root", "data")}
        first = ReplicaReport(role="Primary", connection="Connected", volumes=volumes)
        await actuator.report_replica(key, "a-1", first)
        second = ReplicaReport(connection="Connecting", volumes={"root": volumes["root"]})
        await actuator.report_replica(key, "a-1", second, first)
        await actuator.report_replica(key, "b-1", first)
        replicas = (await actuator.read_mirror(key)).status.replicas
        assert replicas == {"a-1": second, "b-1": first}


async def test_events_counted_at_the_same_moment_are_both_counted(
    client: KubeClient, namespace: str, key: ObjectKey
) -> None:
    regarding = await client.get(MIRRORS, key)

    async def tell() -> Any:
        return await client.event(regarding, "Normal", "InSync", "All is well.")

    await tell()
    await asyncio.gather(tell(), tell())
    (event,) = (await client.list(EVENTS, namespace)).items
    assert event["count"] == 3
