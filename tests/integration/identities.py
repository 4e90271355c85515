"""Tandem's objects on a real API server, written by the identities that would write them.

Called by the tests of what each identity may do.
"""

from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from tandem_api.authority import Authority, Eligibility
from tandem_api.kinds.guest import FencingProof
from tandem_api.kinds.mirror import Claimant, Mirror
from tandem_api.meta import ObjectKey
from tandem_api.reasons import Reason
from tandem_hostile import A, B, guest, host, mirror
from tandem_kube import GUESTS, HOSTS, MIRRORS, Forbidden, KubeClient, KubeError
from tandem_kube.kinds import Kind
from tandem_lab.controlplane import ControlPlane, apply_path
from tandem_lab.policies import apply_policies, remove_policies

ROOT = Path(__file__).parents[2]
Raw = dict[str, Any]


@contextmanager
def policies_on(plane: ControlPlane) -> Iterator[None]:
    """With everybody's rights and the policies in force; the rights stay."""
    for folder in ("base", "hosts"):
        apply_path(plane, ROOT / "manifests" / folder)
    one = (ROOT / "manifests" / "hosts" / "one-host.yaml").read_text()
    for name in (A, B):
        plane.kubectl("apply", "-f", "-", stdin=one.replace("HOST", name))
    apply_policies(plane)
    try:
        yield
    finally:
        remove_policies(plane)


@dataclass
class Clients:
    """One client for each identity."""

    admin: KubeClient
    controller: KubeClient
    a: KubeClient
    b: KubeClient

    def of(self, name: str) -> KubeClient:
        found = getattr(self, name)
        assert isinstance(found, KubeClient)
        return found


@asynccontextmanager
async def clients_of(plane: ControlPlane) -> AsyncIterator[Clients]:
    """Their rights must be there already."""
    paths = (
        plane.admin_kubeconfig(),
        plane.serviceaccount_kubeconfig("tandem-system", "tandem-controller"),
        plane.user_kubeconfig(f"tandem:host:{A}", ["tandem:hosts"]),
        plane.user_kubeconfig(f"tandem:host:{B}", ["tandem:hosts"]),
    )
    made = [await KubeClient.load(path, component="test") for path in paths]
    yield Clients(*made)
    for client in made:
        await client.close()


@dataclass
class Scene:
    """A guest on a mirror, owned by A."""

    clients: Clients
    key: ObjectKey

    async def patch(self, who: str, kind: Kind[Any], patch: Raw) -> str:
        """The refusal, or nothing."""
        key = ObjectKey(namespace="", name=A) if kind is HOSTS else self.key
        try:
            await self.clients.of(who).merge_patch_status(kind, key, patch, timeout_s=10)
        except Forbidden as error:
            return str(error)
        return ""

    async def mirror(self) -> Mirror:
        return await self.clients.admin.fetch(MIRRORS, self.key)

    async def admit(self, host: str, proof: FencingProof | None = None) -> None:
        """The controller lets a host claim the mirror."""
        seen, claimant = await self.mirror(), Claimant(guest="g", proof=proof)
        await self.clients.controller.add_claimant(seen, host, claimant)

    async def assign(
        self, host: str, proof: FencingProof | None = None, reason: str = "LeaseLost"
    ) -> str:
        """The two writes of an assignment."""
        await self.admit(host, proof)
        told = {"host": host, "mirror": "g", "serial": 2, "reason": reason}
        told["proof"] = proof.wire() if proof else None
        return await self.patch("controller", GUESTS, {"assignment": told})

    async def swap(self, who: str, raises: int = 1, **changes: Any) -> str:
        """A swap of the authority: the refusal, or nothing."""
        now = await self.mirror()
        was = now.status.authority
        assert was is not None
        new = was.model_copy(update={"epoch": was.epoch + raises, **changes})
        try:
            await self.clients.of(who).swap_authority(
                self.key,
                expected_epoch=was.epoch,
                uid=now.metadata.uid,
                authority=new,
                timeout_s=10,
            )
        except Forbidden as error:
            return str(error)
        return ""


async def bare(kind: Kind[Any], raw: Raw, client: KubeClient, namespace: str = "") -> None:
    """Create the object, then its status, as an administrator before the webhook is asked."""
    metadata = {"name": raw["metadata"]["name"]}
    if namespace:
        metadata["namespace"] = namespace
    await client.create(kind, {"metadata": metadata, "spec": raw["spec"]}, timeout_s=10)


def without_order(raw: Raw) -> Raw:
    """A mirror as it is made: nobody orders an override of it yet."""
    return {**raw, "spec": {k: v for k, v in raw["spec"].items() if k != "override"}}


async def scene_in(clients: Clients, namespace: str) -> Scene:
    """By the identities that would write it."""
    scene = Scene(clients, ObjectKey(namespace=namespace, name="g"))
    for name in (A, B):
        try:
            await bare(HOSTS, host(name), clients.admin)
        except KubeError as error:
            assert "already" in str(error) or "exists" in str(error)
    await bare(MIRRORS, without_order(mirror("g")), clients.admin, namespace)
    await bare(GUESTS, guest("g"), clients.admin, namespace)
    uid = (await scene.mirror()).metadata.uid
    both = Eligibility(eligible=True, reason=Reason.IN_SYNC)
    first = Authority(epoch=1, incarnation=uid, eligible={A: both, B: both})
    numbers = {"port": 7789, "minors": {"root": 0, "data": 1}}
    status = {"authority": first.wire(), "deviceNumbers": numbers, "claimants": {}}
    assert await scene.patch("controller", MIRRORS, status) == ""
    assert await scene.assign(A, reason="InitialPlacement") == ""
    claimed: Raw = {"owner": A, "owner_instance": f"{A}/boot/run", "reason": Reason.CLAIMED}
    assert await scene.swap("a", **claimed) == ""
    return scene
