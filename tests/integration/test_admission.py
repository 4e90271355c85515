"""Who may write what, on a real API server: RBAC and the admission webhook together.

Each attempt is made as the identity it is about. The webhook is the program as it is deployed, its
configuration the manifest's but for where it is found.
"""

import socket
import statistics
import time
from collections.abc import AsyncIterator, Iterator
from pathlib import Path
from typing import Any

import pytest

from integration.identities import Clients, Scene, clients_of, scene_in
from tandem_api.authority import Mode
from tandem_api.lease import lease_name
from tandem_api.reasons import Reason
from tandem_hostile import A, B, mirror
from tandem_kube import GUESTS, HOSTS, MIRRORS, Forbidden, Invalid, KubeError
from tandem_kube.kinds import Kind
from tandem_lab.admission import Admission
from tandem_lab.controlplane import ControlPlane, apply_path

pytestmark = [pytest.mark.integration, pytest.mark.timeout(300)]
ROOT = Path(__file__).parents[2]
Raw = dict[str, Any]


@pytest.fixture(scope="module")
def applied(api_server: ControlPlane) -> ControlPlane:
    for folder in ("base", "hosts"):
        apply_path(api_server, ROOT / "manifests" / folder)
    one = (ROOT / "manifests" / "hosts" / "one-host.yaml").read_text()
    for name in (A, B):
        api_server.kubectl("apply", "-f", "-", stdin=one.replace("HOST", name))
    return api_server


@pytest.fixture(scope="module")
def webhook(applied: ControlPlane, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Admission]:
    with socket.create_server(("127.0.0.1", 0)) as free:
        port = int(free.getsockname()[1])
    made = Admission(applied, tmp_path_factory.mktemp("admission"), port=port)
    made.start(die_with_parent=True)
    yield made
    made.unconfigure()
    made.process.stop()


@pytest.fixture
async def clients(applied: ControlPlane) -> AsyncIterator[Clients]:
    async with clients_of(applied) as made:
        yield made


@pytest.fixture
async def scene(webhook: Admission, clients: Clients, namespace: str) -> Scene:
    return await scene_in(clients, namespace)


REPLICA = {"role": "Secondary", "connection": "Connected"}
STANDALONE: Raw = {"mode": Mode.STANDALONE, "reason": Reason.LINK_LOST}
BY_B: Raw = {"owner": B, "owner_instance": f"{B}/boot/run"}


class TestStatuses:
    @pytest.mark.parametrize(
        ("who", "kind", "patch", "refused"),
        [
            ("a", MIRRORS, {"replicas": {A: REPLICA}}, ""),
            ("b", MIRRORS, {"replicas": {B: REPLICA}}, ""),
            ("b", MIRRORS, {"replicas": {A: REPLICA}}, f"status.replicas.{A}: belongs to host {A}"),
            ("controller", MIRRORS, {"replicas": {A: REPLICA}}, "status.replicas: is each host's"),
            ("controller", MIRRORS, {"phase": "Redundant"}, ""),
            ("a", MIRRORS, {"phase": "Redundant"}, "status.phase: is not a host's to write"),
            ("a", MIRRORS, {"authority": None}, "status.authority: cannot be removed"),
            ("admin", MIRRORS, {"authority": {"epoch": 1}}, "every write raises it by exactly one"),
            ("a", GUESTS, {"hosts": {A: {"state": "Running"}}}, ""),
            ("b", GUESTS, {"hosts": {A: {"state": "Absent"}}}, f"status.hosts.{A}: belongs to"),
            ("b", GUESTS, {"assignment": {"host": B}}, "status.assignment: is not a host's"),
            ("controller", GUESTS, {"assignment": {"host": B, "serial": 2}}, ""),
            ("a", HOSTS, {"instance": f"{A}/x/y", "bootID": "x"}, ""),
            ("b", HOSTS, {"bootID": "y"}, "forbidden"),
            ("a", HOSTS, {"phase": "Ready"}, "status.phase: is not a host's to write"),
        ],
    )
    async def test_each_writer_has_its_own_part(
        self, scene: Scene, who: str, kind: Kind[Any], patch: Raw, refused: str
    ) -> None:
        said = await scene.patch(who, kind, patch)
        assert (refused in said) if refused else said == ""


class TestAuthority:
    async def test_the_owner_is_granted_to_go_on_alone(self, scene: Scene) -> None:
        assert await scene.swap("a", **STANDALONE) == ""

    async def test_a_host_writes_in_its_own_name_alone(self, scene: Scene) -> None:
        assert "may write its own name alone" in await scene.swap("a", **BY_B)
        assert f"is {A}'s; host {B} may only claim it" in await scene.swap("b", **STANDALONE)

    async def test_a_claim_needs_the_controllers_word(self, scene: Scene) -> None:
        assert f"no guest of this mirror is assigned to {B}" in await scene.swap("b", **BY_B)
        moved = {"host": B, "mirror": "g", "serial": 2, "reason": "Maintenance", "proof": None}
        assert await scene.patch("controller", GUESTS, {"assignment": moved}) == ""
        assert "holds no proof" in await scene.swap("b", **BY_B)
        proof = {"kind": "LeaseLost", "atEpoch": 2, "instance": f"{A}/boot/run", "watchdog": True}
        assert await scene.patch("controller", GUESTS, {"assignment": {"proof": proof}}) == ""
        assert await scene.swap("b", **BY_B) == ""

    async def test_what_its_owner_wrote_alone_cannot_be_claimed(self, scene: Scene) -> None:
        assert await scene.swap("a", **STANDALONE) == ""
        assert "may have written alone" in await scene.swap("b", **BY_B)

    @pytest.mark.parametrize("raises", [0, -1, 2])
    async def test_an_epoch_rises_by_one_whoever_writes(self, scene: Scene, raises: int) -> None:
        for who in ("a", "controller", "admin"):
            assert "status.authority" in await scene.swap(who, raises=raises, request_id="x")

    async def test_a_person_may_put_it_on_hold(self, scene: Scene) -> None:
        assert await scene.swap("admin", mode=Mode.HOLD) == ""
        assert "no host may change it from Hold" in await scene.swap("a", **STANDALONE)


class TestLeases:
    """RBAC alone: a webhook must not stand between a host and its heartbeat."""

    async def test_a_host_renews_its_own_and_no_other(
        self, clients: Clients, webhook: Admission
    ) -> None:
        for name, client in ((A, clients.a), (B, clients.b)):
            await client.renew_lease(lease_name(name), holder=name, duration_s=10, timeout_s=10)
        with pytest.raises(Forbidden):
            await clients.b.renew_lease(lease_name(A), holder=B, duration_s=10, timeout_s=10)
        with pytest.raises(Forbidden):
            await clients.controller.renew_lease(lease_name(A), holder="x", duration_s=10)
        with pytest.raises(Forbidden):
            await clients.a.renew_lease("tandem-controller", holder=A, duration_s=10)


class TestPeople:
    async def edit(self, scene: Scene, kind: Kind[Any], spec: Raw) -> str:
        try:
            await scene.clients.admin.merge_patch(kind, scene.key, {"spec": spec}, timeout_s=10)
        except (Forbidden, Invalid) as error:
            return str(error)
        return ""

    async def test_are_told_at_once_what_cannot_be(self, scene: Scene) -> None:
        """By a rule of the kind where one can know, else by the webhook."""
        accepted = {"protocol": "C", "hosts": [A, B], "volumes": mirror("g")["spec"]["volumes"]}
        assert await scene.patch("controller", MIRRORS, {"accepted": accepted}) == ""
        smaller = [{"name": "root", "size": "1Gi"}, {"name": "data", "size": "1Ti"}]
        said = await self.edit(scene, MIRRORS, {"volumes": smaller})
        assert "spec.volumes[0].size: " in said
        assert "a size cannot shrink" in said
        said = await self.edit(scene, GUESTS, {"mirror": "other"})
        assert "spec.mirror: cannot change from g to other before the guest has stopped" in said
        assert await self.edit(scene, GUESTS, {"priority": 7}) == ""

    async def test_cannot_delete_a_mirror_in_use_by_mistake(self, scene: Scene) -> None:
        admin = scene.clients.admin
        with pytest.raises(Forbidden, match="is in use by burjassot-1"):
            await admin.delete(MIRRORS, scene.key, timeout_s=10)
        uid = (await scene.mirror()).metadata.uid
        note = {"metadata": {"annotations": {"tandem.dev/delete-although-in-use": uid}}}
        await admin.merge_patch(MIRRORS, scene.key, note, timeout_s=10)
        await admin.delete(MIRRORS, scene.key, timeout_s=10)


async def swap_times_s(scene: Scene, count: int = 40) -> list[float]:
    """Of link-loss grants, one after another."""
    now = await scene.mirror()
    authority = now.status.authority
    assert authority is not None
    times = []
    for _ in range(count):
        new = authority.model_copy(update={"epoch": authority.epoch + 1, **STANDALONE})
        began_s = time.monotonic()
        await scene.clients.a.swap_authority(
            scene.key, expected_epoch=authority.epoch, uid=now.metadata.uid, authority=new
        )
        times.append(time.monotonic() - began_s)
        authority = new
    return times


def _quickest_ms(times_s: list[float]) -> str:
    return f"{min(times_s) * 1e3:.1f} and {statistics.median(times_s) * 1e3:.1f} ms"


class TestWithoutTheWebhook:
    """Last in this file: they take it away."""

    async def test_what_it_costs(
        self, scene: Scene, webhook: Admission, record_property: Any
    ) -> None:
        """A busy machine costs more: of many, the quickest tell the webhook's own share."""
        with_it = await swap_times_s(scene)
        webhook.unconfigure()
        without = await swap_times_s(scene)
        webhook.configure()
        text = f"{_quickest_ms(with_it)} with the webhook, {_quickest_ms(without)} without"
        record_property("grant", text)
        print(f"quickest and median grant: {text}")
        assert min(with_it) < min(without) + 0.1

    async def test_a_webhook_that_hangs_delays_a_grant_by_a_second(
        self, scene: Scene, webhook: Admission
    ) -> None:
        webhook.process.pause()
        try:
            began_s = time.monotonic()
            assert await scene.swap("a", **STANDALONE) == ""
            assert time.monotonic() - began_s < 2.5
        finally:
            webhook.process.resume()

    async def test_a_dead_webhook_keeps_no_grant_waiting_and_no_mirror_from_being_kept(
        self, scene: Scene, webhook: Admission
    ) -> None:
        webhook.process.kill()
        began_s = time.monotonic()
        assert await scene.swap("a", **STANDALONE) == ""
        assert time.monotonic() - began_s < 2.0
        with pytest.raises(KubeError):
            await scene.clients.admin.delete(MIRRORS, scene.key, timeout_s=10)
        assert (await scene.mirror()).status.authority is not None
