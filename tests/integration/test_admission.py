"""What the admission webhook refuses, and what happens without it, on a real API server.

The webhook is the program as it is deployed, its configuration the manifest's but for where it is
found. What the server refuses by itself is in ``test_policies``.
"""

import socket
import time
from collections.abc import AsyncIterator, Iterator
from pathlib import Path
from typing import Any

import kopf
import pytest

from integration.identities import Clients, Scene, clients_of, scene_in
from tandem_api.authority import Mode
from tandem_api.meta import ObjectKey
from tandem_api.reasons import Reason
from tandem_controller.edge.admission import Admission as Judge
from tandem_hostile import A, B, mirror
from tandem_kube import GUESTS, HOSTS, MIRRORS, SITES, Forbidden, Invalid, KubeError
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


async def edit(scene: Scene, kind: Kind[Any], spec: Raw) -> str:
    """By a person. The refusal, or nothing."""
    try:
        await scene.clients.admin.merge_patch(kind, scene.key, {"spec": spec}, timeout_s=10)
    except (Forbidden, Invalid) as error:
        return str(error)
    return ""


async def test_people_are_told_at_once_what_cannot_be(scene: Scene) -> None:
    """By a rule of the kind where one can know, else by the webhook."""
    accepted = {"protocol": "C", "hosts": [A, B], "volumes": mirror("g")["spec"]["volumes"]}
    assert await scene.patch("controller", MIRRORS, {"accepted": accepted}) == ""
    smaller = [{"name": "root", "size": "1Gi"}, {"name": "data", "size": "1Ti"}]
    said = await edit(scene, MIRRORS, {"volumes": smaller})
    assert "spec.volumes[0].size: " in said
    assert "cannot shrink from" in said
    said = await edit(scene, GUESTS, {"mirror": "other"})
    assert "spec.mirror: cannot change from g to other before the guest has stopped" in said
    assert await edit(scene, GUESTS, {"priority": 7}) == ""
    tpm = "<domain><devices><tpm model='tpm-crb'/></devices></domain>"
    said = await edit(scene, GUESTS, {"domain": {"template": tpm}})
    assert "spec.domain.template: has a TPM, whose state lies on one host" in said


async def test_what_was_stored_before_a_check_was_can_still_be_stopped(scene: Scene) -> None:
    spec = {
        "mirror": "g",
        "domain": {
            "memory": "1Gi",
            "disks": [{"volume": "root"}],
            "template": "<domain><devices><tpm model='tpm-crb'/></devices></domain>",
        },
    }
    old = {"metadata": {"name": "g", "namespace": "n"}, "spec": spec}
    judge = Judge(scene.clients.admin)
    with pytest.raises(kopf.AdmissionError, match="has a TPM"):
        judge.spec("Guest", None, old, {})
    judge.spec("Guest", old, {**old, "spec": {**spec, "running": False}}, {})


def key(name: str) -> ObjectKey:
    return ObjectKey(namespace="", name=name)


async def test_what_is_in_use_is_not_deleted_by_mistake(clients: Clients, scene: Scene) -> None:
    """A site by its hosts, a host by the mirrors that keep a replica on it."""
    admin = clients.admin
    await admin.create(SITES, {"metadata": {"name": "burjassot"}, "spec": {}})
    with pytest.raises(Forbidden, match=f"site burjassot is in use by host {A}; delete what uses"):
        await admin.delete(SITES, key("burjassot"), timeout_s=10)
    with pytest.raises(Forbidden, match=f"host {A} is in use by mirror .*/g"):
        await admin.delete(HOSTS, key(A), timeout_s=10)
    uid = (await admin.get(SITES, key("burjassot")))["metadata"]["uid"]
    note = {"metadata": {"annotations": {"tandem.dev/delete-although-in-use": uid}}}
    await admin.merge_patch(SITES, key("burjassot"), note)
    await admin.delete(SITES, key("burjassot"), timeout_s=10)


async def test_what_is_not_in_use_is_deleted(clients: Clients, webhook: Admission) -> None:
    made = {"metadata": {"name": "spare"}, "spec": {"site": "tarongers"}}
    made["spec"]["replicationAddress"] = "198.51.100.77"
    await clients.admin.create(HOSTS, made)
    await clients.admin.delete(HOSTS, key("spare"), timeout_s=10)


class TestWithoutTheWebhook:
    """Last in this file: they take it away."""

    @pytest.mark.parametrize("gone", ["hanging", "dead"])
    async def test_no_grant_is_kept_waiting_and_nothing_in_use_is_deleted(
        self, scene: Scene, webhook: Admission, gone: str
    ) -> None:
        """Nobody asks it about a status: what is urgent does not know that it is gone."""
        (webhook.process.pause if gone == "hanging" else webhook.process.kill)()
        try:
            began_s = time.monotonic()
            assert await scene.swap("a", mode=Mode.STANDALONE, reason=Reason.LINK_LOST) == ""
            assert time.monotonic() - began_s < 0.9
            assert await edit(scene, GUESTS, {"priority": 8}) == ""
            with pytest.raises(KubeError):
                await scene.clients.admin.delete(HOSTS, key(A), timeout_s=10)
            assert (await scene.clients.admin.get(HOSTS, key(A)))["metadata"]["name"] == A
        finally:
            if gone == "hanging":
                webhook.process.resume()
