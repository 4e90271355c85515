"""What only a real API server shows of the policies: that it takes them, and what RBAC adds.

What they refuse is held against it and the simulated server alike in ``contract/``.
"""

from collections.abc import AsyncIterator, Iterator
from pathlib import Path
from typing import Any

import pytest
import yaml

from integration.identities import Clients, Scene, clients_of, policies_on, scene_in
from tandem_api.authority import Eligibility, Fenced, Override
from tandem_api.lease import lease_name
from tandem_api.reasons import Reason
from tandem_hostile import A, B
from tandem_kube import MIRRORS, Forbidden, KubeError
from tandem_lab.controlplane import ADMINISTRATOR, ControlPlane
from tandem_lab.policies import MANIFESTS

pytestmark = [pytest.mark.integration, pytest.mark.timeout(300)]
ROOT = Path(__file__).parents[2]
Raw = dict[str, Any]
NOBODY: Raw = {"owner": "", "owner_instance": ""}


@pytest.fixture(scope="module")
def policed(api_server: ControlPlane) -> Iterator[ControlPlane]:
    """With the policies in force, and without any webhook."""
    with policies_on(api_server):
        yield api_server


@pytest.fixture
async def clients(policed: ControlPlane) -> AsyncIterator[Clients]:
    async with clients_of(policed) as made:
        yield made


@pytest.fixture
async def scene(clients: Clients, namespace: str) -> Scene:
    return await scene_in(clients, namespace)


def test_there_is_no_webhook(policed: ControlPlane) -> None:
    """Else it is not the policies that are tried here."""
    assert policed.kubectl("get", "validatingwebhookconfigurations", "-o", "name") == ""


def test_the_server_finds_no_fault_with_the_types(policed: ControlPlane) -> None:
    """The status controller has looked at each, at this generation, and has no warning."""
    command = ("wait", "--for=jsonpath={.status.observedGeneration}=1", "--timeout=30s")
    names = [path.stem for path in MANIFESTS.glob("*.yaml") if path.stem != "kustomization"]
    for name in names:
        policy = f"validatingadmissionpolicy/tandem-{name}"
        policed.kubectl(*command, policy)
        raw = yaml.safe_load(policed.kubectl("get", policy, "-o", "yaml"))
        assert raw["status"].get("typeChecking", {}) == {}, raw["status"]


class TestLeases:
    async def test_a_host_makes_its_own_and_no_other(self, clients: Clients) -> None:
        """Also where there is none yet: RBAC alone cannot bind a creation to a name."""
        for client, name in ((clients.b, lease_name(A)), (clients.b, "tandem-controller")):
            with pytest.raises(Forbidden, match=f"host {B} makes no Lease but host-{B}"):
                await client.renew_lease(name, holder=B, duration_s=10, resource_version="")
        for somebody in (clients.admin, clients.controller):
            with pytest.raises(Forbidden, match="is a heartbeat; the host itself makes it"):
                await somebody.renew_lease(
                    lease_name("new"), holder="x", duration_s=10, resource_version=""
                )
        for client, name in ((clients.a, A), (clients.b, B)):
            for _ in range(2):
                await client.renew_lease(lease_name(name), holder=name, duration_s=10)

    async def test_the_controllers_make_theirs(self, clients: Clients) -> None:
        await clients.controller.renew_lease("tandem-controller", holder="x", duration_s=10)


class TestPeople:
    async def order(self, scene: Scene, by: str, epoch: int = 2) -> str:
        wanted = {"host": B, "epoch": epoch, "acceptDataLoss": True, "by": by}
        return await self.edit(scene, {"override": wanted})

    async def edit(self, scene: Scene, spec: Raw) -> str:
        try:
            await scene.clients.admin.merge_patch(MIRRORS, scene.key, {"spec": spec})
        except Forbidden as error:
            return str(error)
        return ""

    async def test_order_an_override_in_their_own_name(self, scene: Scene) -> None:
        assert await self.edit(scene, {"override": None}) == ""
        said = await self.order(scene, "ana")
        assert (
            f"spec.override.by: is ana, and it is {ADMINISTRATOR} who orders it; write that name"
            in said
        )
        assert await self.order(scene, ADMINISTRATOR) == ""
        assert await self.edit(scene, {"linkLossHoldoffSeconds": 3}) == ""

    async def test_cannot_delete_a_mirror_in_use_by_mistake(self, scene: Scene) -> None:
        admin = scene.clients.admin
        with pytest.raises(Forbidden, match=f"is in use by {A}"):
            await admin.delete(MIRRORS, scene.key)
        uid = (await scene.mirror()).metadata.uid
        note = {"metadata": {"annotations": {"tandem.dev/delete-although-in-use": uid}}}
        await admin.merge_patch(MIRRORS, scene.key, note)
        await admin.delete(MIRRORS, scene.key)

    async def test_cannot_delete_what_knows_the_only_good_copy(self, scene: Scene) -> None:
        no = Eligibility(eligible=False, reason=Reason.OVERRIDDEN)
        yes = Eligibility(eligible=True, reason=Reason.OVERRIDDEN)
        order = Override(by="ana", at_epoch=2, accept_data_loss=True, host=B)
        done: Raw = {**NOBODY, "override": order, "eligible": {A: no, B: yes}}
        assert await scene.swap("controller", **done) == ""
        with pytest.raises(Forbidden, match=f"has every write on {B} alone"):
            await scene.clients.admin.delete(MIRRORS, scene.key)

    async def test_delete_one_that_is_not_in_use(self, scene: Scene) -> None:
        fenced = {A: Fenced(instance=f"{A}/boot/run", epoch=2)}
        assert await scene.swap("a", **NOBODY, fenced=fenced) == ""
        await scene.clients.admin.delete(MIRRORS, scene.key)
        with pytest.raises(KubeError):
            await scene.mirror()
