"""What the API server's own policies refuse, in which words: of the simulated one and the real one.

Of an object and not its status; who may write what of that is in ``test_status_policies.py``.
"""

from typing import Any

import pytest

from integration.identities import Scene, without_order
from tandem_api.lease import lease_name
from tandem_api.meta import ObjectKey
from tandem_hostile import A, B, mirror
from tandem_kube import HOSTS, LEASES, MIRRORS, Forbidden, KubeClient, NotFound
from tandem_lab.controlplane import ADMINISTRATOR

Raw = dict[str, Any]
BY = "ValidatingAdmissionPolicy '{0}' with binding '{0}' denied request: "


async def made(client: KubeClient, name: str) -> str:
    """The refusal, or nothing."""
    body = {
        "metadata": {"name": name, "namespace": "tandem-system"},
        "spec": {"holderIdentity": "x", "leaseDurationSeconds": 9},
    }
    try:
        await client.create(LEASES, body, timeout_s=10)
    except Forbidden as error:
        return str(error)
    return ""


def no_lease(name: str, why: str) -> str:
    by = BY.format("tandem-heartbeats")
    return f'403: leases.coordination.k8s.io "{name}" is forbidden: {by}metadata.name: {why}'


class TestHeartbeats:
    @pytest.mark.parametrize("name", [lease_name(A), "tandem-controller", "host-elsewhere"])
    async def test_a_host_makes_no_other(self, scene: Scene, name: str) -> None:
        why = f"host {B} makes no Lease but host-{B}"
        assert await made(scene.clients.b, name) == no_lease(name, why)

    @pytest.mark.parametrize("who", ["admin", "controller"])
    async def test_nobody_makes_a_hosts(self, scene: Scene, who: str) -> None:
        why = "host-new is a heartbeat; the host itself makes it"
        assert await made(scene.clients.of(who), "host-new") == no_lease("host-new", why)

    async def test_it_makes_its_own_and_goes_on_with_it(self, scene: Scene) -> None:
        assert await made(scene.clients.a, lease_name(A)) == ""
        await scene.clients.a.renew_lease(lease_name(A), holder=A, duration_s=10)

    async def test_it_is_judged_also_where_there_is_one_already(self, scene: Scene) -> None:
        assert await made(scene.clients.a, lease_name(A)) == ""
        said = await made(scene.clients.b, lease_name(A))
        assert said == no_lease(lease_name(A), f"host {B} makes no Lease but host-{B}")

    async def test_the_controllers_make_theirs(self, scene: Scene) -> None:
        await scene.clients.controller.renew_lease("tandem-controller", holder="x", duration_s=10)


async def edited(scene: Scene, spec: Raw) -> str:
    """By the administrator: the refusal, or nothing."""
    try:
        await scene.clients.admin.merge_patch(MIRRORS, scene.key, {"spec": spec})
    except Forbidden as error:
        return str(error)
    return ""


def order(by: str, epoch: int = 2) -> Raw:
    return {"host": B, "epoch": epoch, "acceptDataLoss": True, "by": by}


def no_order(name: str, by: str) -> str:
    why = f"is {by}, and it is {ADMINISTRATOR} who orders it; write that name"
    policy = BY.format("tandem-override")
    return f'403: mirrors.tandem.dev "{name}" is forbidden: {policy}spec.override.by: {why}'


class TestOrders:
    async def test_are_given_in_ones_own_name(self, scene: Scene) -> None:
        assert await edited(scene, {"override": order("ana")}) == no_order("g", "ana")
        assert await edited(scene, {"override": order(ADMINISTRATOR)}) == ""

    async def test_are_judged_where_they_change(self, scene: Scene) -> None:
        assert await edited(scene, {"override": order(ADMINISTRATOR)}) == ""
        assert await edited(scene, {"linkLossHoldoffSeconds": 3}) == ""
        assert await edited(scene, {"override": {"by": "ana"}}) == no_order("g", "ana")
        assert await edited(scene, {"override": None}) == ""

    async def test_are_judged_in_a_new_mirror(self, scene: Scene) -> None:
        raw = without_order(mirror("h"))
        metadata = {"name": "h", "namespace": scene.key.namespace}
        body = {"metadata": metadata, "spec": {**raw["spec"], "override": order("ana", 1)}}
        with pytest.raises(Forbidden) as refused:
            await scene.clients.admin.create(MIRRORS, body, timeout_s=10)
        assert str(refused.value) == no_order("h", "ana")
        body["spec"]["override"]["by"] = ADMINISTRATOR
        await scene.clients.admin.create(MIRRORS, body, timeout_s=10)

    async def test_the_controller_goes_on_with_a_mirror_that_has_one(self, scene: Scene) -> None:
        assert await edited(scene, {"override": order(ADMINISTRATOR)}) == ""
        note = {"metadata": {"annotations": {"tandem.dev/note": "x"}}}
        await scene.clients.controller.merge_patch(MIRRORS, scene.key, note)
        assert (await scene.mirror()).metadata.annotations["tandem.dev/note"] == "x"


class TestDeletions:
    async def test_of_a_mirror_in_use_are_refused(self, scene: Scene) -> None:
        seen = await scene.mirror()
        with pytest.raises(Forbidden) as refused:
            await scene.clients.admin.delete(MIRRORS, scene.key)
        assert str(refused.value) == (
            f'403: mirrors.tandem.dev "g" is forbidden: {BY.format("tandem-mirror-deletion")}'
            f"metadata: mirror {scene.key} is in use by {A} (Mirrored), and which copy counts would"
            " be forgotten; delete its guest first. To delete it all the same, annotate it:"
            f" tandem.dev/delete-although-in-use: {seen.metadata.uid}"
        )

    async def test_what_the_message_says_works(self, scene: Scene) -> None:
        uid = (await scene.mirror()).metadata.uid
        note = {"metadata": {"annotations": {"tandem.dev/delete-although-in-use": uid}}}
        await scene.clients.admin.merge_patch(MIRRORS, scene.key, note)
        await scene.clients.admin.delete(MIRRORS, scene.key)
        with pytest.raises(NotFound):
            await scene.mirror()

    async def test_of_what_has_no_policy_are_not(self, scene: Scene) -> None:
        await scene.clients.admin.delete(HOSTS, ObjectKey("", A))
