"""What the release before writes, on a server with the definitions and the policies of today.

During an upgrade its hosts, or its controller, go on for a while. `releases/` holds what each of
them ever writes to a status; `record_writes.py` made it.
"""

import gzip
import json
import uuid
from collections.abc import AsyncIterator, Iterator, Mapping
from pathlib import Path
from typing import Any

import pytest

from integration.identities import Clients, clients_of
from tandem_api.meta import ObjectKey
from tandem_hostile import A, B
from tandem_kube import OWN, KubeError
from tandem_lab.controlplane import ControlPlane, apply_path
from tandem_lab.policies import apply_policies, remove_policies

pytestmark = [pytest.mark.integration, pytest.mark.timeout(300)]
ROOT = Path(__file__).parents[2]
RELEASES = sorted((Path(__file__).parent / "releases").glob("*.json.gz"))
NAMESPACE = "release-before"
WRITERS = {"": "controller", A: "a", B: "b"}
Raw = dict[str, Any]


def writes_of(path: Path) -> list[Raw]:
    found: list[Raw] = json.loads(gzip.decompress(path.read_bytes()))
    return found


@pytest.fixture(scope="module", params=RELEASES, ids=lambda path: path.name.partition(".")[0])
def writes(request: pytest.FixtureRequest) -> list[Raw]:
    return writes_of(request.param)


@pytest.fixture(scope="module")
def plane(kinds: ControlPlane) -> Iterator[ControlPlane]:
    """Definitions and rights of today; the policies come when the objects are as they were."""
    for folder in ("base", "hosts"):
        apply_path(kinds, ROOT / "manifests" / folder)
    one = (ROOT / "manifests" / "hosts" / "one-host.yaml").read_text()
    for name in (A, B):
        kinds.kubectl("apply", "-f", "-", stdin=one.replace("HOST", name))
    kinds.kubectl("create", "namespace", NAMESPACE)
    yield kinds
    kinds.kubectl("delete", "namespace", NAMESPACE, "--wait=false")
    kinds.kubectl("delete", "sites,hosts", f"--selector=release={NAMESPACE}", "--wait=false")


@pytest.fixture(autouse=True)
def without_policies(plane: ControlPlane) -> Iterator[None]:
    """Also after a failure: a second try makes its objects before they are in force, too."""
    yield
    remove_policies(plane)


@pytest.fixture
async def clients(plane: ControlPlane) -> AsyncIterator[Clients]:
    async with clients_of(plane) as made:
        yield made


class Before:
    """One write, on an object of its own that is as it was before it."""

    def __init__(self, write: Raw, name: str) -> None:
        self.kind, self.write = OWN[write["kind"]], write
        self.who = WRITERS[write["writer"]]
        namespaced = self.kind.namespaced
        self.key = ObjectKey(namespace=NAMESPACE if namespaced else "", name=name)
        self.uid = ""

    async def make(self, clients: Clients, **more: Any) -> None:
        """``more``: fields of the status besides."""
        where = {"namespace": self.key.namespace} if self.key.namespace else {}
        metadata = {"name": self.key.name, "labels": {"release": NAMESPACE}, **where}
        raw = {"metadata": metadata, "spec": self.write["spec"]}
        made = await clients.admin.create(self.kind, raw, timeout_s=10)
        self.uid = made["metadata"]["uid"]
        status = {**self.status("old"), **more}
        await clients.admin.merge_patch_status(self.kind, self.key, status, timeout_s=10)

    def status(self, which: str) -> Raw:
        """As recorded, but of the mirror as it is here."""
        found: Raw = json.loads(json.dumps(self.write[which]).replace(self.write["uid"], self.uid))
        return found

    async def make_the_write(self, clients: Clients) -> str:
        """The refusal, or nothing."""
        patch = difference(self.status("old"), self.status("new"))
        client = clients.of(self.who)
        try:
            await client.merge_patch_status(self.kind, self.key, patch, timeout_s=10)
        except KubeError as error:
            return str(error)
        return ""

    async def is_kept(self, clients: Clients) -> bool:
        """Whether the server has all of it: what a definition does not know, it drops."""
        raw = await clients.admin.get(self.kind, self.key)
        return bool(filled(raw.get("status") or {}) == filled(self.status("new")))

    @property
    def takes(self) -> bool:
        """Whether a host takes a mirror here that was another's, or nobody's."""
        was, now = (self.write[which].get("authority") or {} for which in ("old", "new"))
        return bool(now.get("owner")) and was.get("owner", "") != now.get("owner")

    @property
    def entry(self) -> Raw:
        """What the controller of today writes onto the mirror before such a claim."""
        was = self.write["old"]["authority"]
        if not was.get("owner"):
            return {"guest": self.write["name"]}
        told = {"kind": "LeaseLost", "host": was["owner"], "atEpoch": was["epoch"]}
        proof = {**told, "instance": was["ownerInstance"], "watchdog": True}
        return {"guest": self.write["name"], "proof": proof}


def difference(old: Mapping[str, Any], new: Mapping[str, Any]) -> Raw:
    """As a merge patch."""
    found: Raw = dict.fromkeys(old.keys() - new.keys())
    for name, value in new.items():
        before = old.get(name)
        if isinstance(value, Mapping) and isinstance(before, Mapping):
            inner = difference(before, value)
            if inner:
                found[name] = inner
        elif before != value:
            found[name] = value
    return found


def filled(value: Any) -> Any:
    """Without what is empty: absent and empty are the same in a status."""
    if isinstance(value, Mapping):
        inner = {name: filled(each) for name, each in value.items()}
        return {name: each for name, each in inner.items() if each not in ("", None, {}, [])}
    return [filled(each) for each in value] if isinstance(value, list) else value


async def test_everything_that_it_writes_is_taken(
    plane: ControlPlane, clients: Clients, writes: list[Raw]
) -> None:
    """On mirrors that no controller of today has written to. Nothing is dropped on the way."""
    named = uuid.uuid4().hex[:6]
    all_of_them = [Before(write, f"w{named}-{number}") for number, write in enumerate(writes)]
    for each in all_of_them:
        await each.make(clients)
    apply_policies(plane)
    refused = {
        each.key.name: said for each in all_of_them if (said := await each.make_the_write(clients))
    }
    assert refused == {}
    dropped = [each.key.name for each in all_of_them if not await each.is_kept(clients)]
    assert dropped == []
    assert {each.who for each in all_of_them} == set(WRITERS.values())


async def test_once_a_controller_of_today_has_led_a_claim_needs_its_word(
    plane: ControlPlane, clients: Clients, writes: list[Raw]
) -> None:
    """So a controller of before that leads again gets no guest taken over, and it is said why."""
    named = f"{uuid.uuid4().hex[:6]}-"  # A second try finds what the first one has left.
    claims = [
        each
        for number, write in enumerate(writes)
        if (each := Before(write, f"c{named}{number}")).takes
    ]
    told = [Before(each.write, f"t{named}{number}") for number, each in enumerate(claims)]
    assert len(claims) >= 5
    for each in claims:
        await each.make(clients, claimants={B if each.who == "a" else A: {"guest": "g"}})
    for each in told:
        await each.make(clients, claimants={each.write["writer"]: each.entry})
    apply_policies(plane)
    for each in claims:
        said = await each.make_the_write(clients)
        assert f"no guest of this mirror is assigned to {each.write['writer']}" in said
    assert [said for each in told if (said := await each.make_the_write(clients))] == []
