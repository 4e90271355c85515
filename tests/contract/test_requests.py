"""What a server does with requests, below the client: versions, metadata, statuses, endings.

The simulated server and the real one (integration) answer the same. What a client never asks for
but a mistake in it would is here, too: such as a read at version 0, which need not be fresh.
"""

from typing import Any

import pytest

from tandem_api.meta import ObjectKey
from tandem_kube import (
    EVENTS,
    LEASES,
    MIRRORS,
    SITES,
    Conflict,
    Invalid,
    KubeClient,
    NotFound,
    Unavailable,
)
from tandem_kube.transport import JSON_PATCH, MERGE_PATCH
from tandem_kube.watch import INITIAL_EVENTS_END

PATIENCE_S = 30.0
STREAMED = {"sendInitialEvents": "true", "resourceVersionMatch": "NotOlderThan"}
Raw = dict[str, Any]


def mirror_body(namespace: str, name: str = "m", **metadata: Any) -> Raw:
    devices = {"root": "/dev/vg0/root"}
    return {
        "metadata": {"namespace": namespace, "name": name, **metadata},
        "spec": {
            "volumes": [{"name": "root", "size": "16Mi"}],
            "replicas": [{"host": h, "devices": devices} for h in ("a-1", "b-1")],
        },
    }


class Sender:
    """Requests about one mirror."""

    def __init__(self, client: KubeClient, key: ObjectKey) -> None:
        self.client, self.key = client, key

    async def call(self, method: str, subresource: str = "", **given: Any) -> Raw:
        path = MIRRORS.path(self.key.namespace, self.key.name, subresource)
        return await self.client._transport.call(method, path, timeout_s=PATIENCE_S, **given)

    async def merge(self, patch: Raw, subresource: str = "") -> Raw:
        return await self.call("PATCH", subresource, body=patch, content_type=MERGE_PATCH)

    async def json(self, *operations: Raw, subresource: str = "status") -> Raw:
        return await self.call("PATCH", subresource, body=list(operations), content_type=JSON_PATCH)


@pytest.fixture
async def mirror(client: KubeClient, namespace: str) -> Sender:
    await client.create(MIRRORS, mirror_body(namespace), timeout_s=PATIENCE_S)
    return Sender(client, ObjectKey(namespace=namespace, name="m"))


def version(raw: Raw) -> int:
    return int(raw["metadata"]["resourceVersion"])


async def test_a_new_object_is_filled_in(client: KubeClient, namespace: str) -> None:
    body = mirror_body(namespace, uid="mine", generation=7, creationTimestamp=None)
    body["status"] = {"phase": "Mine"}
    body["spec"]["unheardOf"] = 1
    made = await client.create(MIRRORS, body, timeout_s=PATIENCE_S)
    assert made["metadata"]["uid"] != "mine"
    assert made["metadata"]["generation"] == 1
    assert made["metadata"]["creationTimestamp"]
    assert "status" not in made
    assert "unheardOf" not in made["spec"]
    assert (made["spec"]["protocol"], made["spec"]["linkLossHoldoffSeconds"]) == ("C", 2)
    assert (made["kind"], made["apiVersion"]) == ("Mirror", "tandem.dev/v1alpha1")


async def test_defaults_within_defaults(client: KubeClient, namespace: str) -> None:
    body = {"metadata": {"name": f"s-{namespace}"}}
    made = await client.create(SITES, body, timeout_s=PATIENCE_S)
    off = {"maintenance": False, "paused": False}
    assert made["spec"] == {"profile": "Default", "priority": 0, **off}
    await client.delete(SITES, ObjectKey(namespace="", name=f"s-{namespace}"))


async def test_an_object_without_what_it_needs(client: KubeClient, namespace: str) -> None:
    with pytest.raises(Invalid) as refused:
        await client.create(MIRRORS, {"metadata": {"namespace": namespace, "name": "m"}})
    assert {cause.field for cause in refused.value.causes} == {"spec"}


async def test_nowhere(client: KubeClient, namespace: str) -> None:
    with pytest.raises(NotFound):
        await client.create(MIRRORS, mirror_body(f"{namespace}-other"), timeout_s=PATIENCE_S)
    key = ObjectKey(namespace=namespace, name="nobody")
    with pytest.raises(NotFound):
        await client.merge_patch_status(MIRRORS, key, {"phase": "A"})
    with pytest.raises(NotFound):
        await client.delete(MIRRORS, key)


async def test_a_write_that_changes_nothing_makes_no_version(mirror: Sender) -> None:
    first = await mirror.merge({"status": {"phase": "A"}}, "status")
    again = await mirror.merge({"status": {"phase": "A"}}, "status")
    none = await mirror.merge({"status": {"message": None}}, "status")
    pruned = await mirror.merge({"status": {"unheardOf": 1}}, "status")
    assert version(first) == version(again) == version(none) == version(pruned)


async def test_a_generation_counts_specs(mirror: Sender) -> None:
    status = await mirror.merge({"status": {"phase": "A"}}, "status")
    labelled = await mirror.merge({"metadata": {"labels": {"a": "b"}}})
    spec = await mirror.merge({"spec": {"linkLossHoldoffSeconds": 3}})
    generations = [raw["metadata"]["generation"] for raw in (status, labelled, spec)]
    assert generations == [1, 1, 2]
    assert version(status) < version(labelled) < version(spec)


async def test_a_status_is_written_by_its_own_path_alone(mirror: Sender) -> None:
    await mirror.merge({"status": {"phase": "A"}}, "status")
    other = await mirror.merge({"status": {"phase": "B"}, "spec": {"protocol": "B"}})
    assert (other["status"], other["spec"]["protocol"]) == ({"phase": "A"}, "B")
    patch = {
        "status": {"phase": "C"},
        "spec": {"protocol": "A"},
        "metadata": {"labels": {"a": "b"}},
    }
    status = await mirror.merge(patch, "status")
    assert (status["status"], status["spec"]["protocol"]) == ({"phase": "C"}, "B")
    assert "labels" not in status["metadata"]


async def test_a_uid_is_no_precondition_of_a_merge_patch_of_a_status(mirror: Sender) -> None:
    written = await mirror.merge({"metadata": {"uid": "x"}, "status": {"phase": "A"}}, "status")
    assert written["status"] == {"phase": "A"}
    assert written["metadata"]["uid"] != "x"


async def test_a_uid_is_one_of_a_merge_patch_of_an_object(mirror: Sender) -> None:
    with pytest.raises((Conflict, Invalid)):
        await mirror.merge({"metadata": {"uid": "x"}, "spec": {"protocol": "B"}})
    assert (await mirror.call("GET"))["spec"]["protocol"] == "C"


async def test_a_version_is_a_precondition(mirror: Sender) -> None:
    made = await mirror.call("GET")
    old = {"resourceVersion": made["metadata"]["resourceVersion"]}
    await mirror.merge({"metadata": old, "status": {"phase": "A"}}, "status")
    for subresource in ("", "status"):
        with pytest.raises(Conflict):
            await mirror.merge({"metadata": old, "status": {"phase": "B"}}, subresource)


async def test_a_merge_patch_nests_and_removes(mirror: Sender) -> None:
    reports = {"a-1": {"role": "Primary", "connection": "Connected"}, "b-1": {"role": "Secondary"}}
    await mirror.merge({"status": {"replicas": reports}}, "status")
    patch = {"replicas": {"a-1": {"connection": None}, "b-1": None}, "phase": None}
    written = await mirror.merge({"status": patch}, "status")
    assert written["status"] == {"replicas": {"a-1": {"role": "Primary"}}}


class TestJsonPatches:
    async def test_a_test_that_does_not_hold_changes_nothing(self, mirror: Sender) -> None:
        await mirror.merge({"status": {"phase": "A"}}, "status")
        add = {"op": "add", "path": "/status/phase", "value": "B"}
        for path, value in (("/status/phase", "C"), ("/metadata/uid", "x"), ("/status/reason", 1)):
            with pytest.raises(Conflict):
                await mirror.json({"op": "test", "path": path, "value": value}, add)
        assert (await mirror.call("GET"))["status"] == {"phase": "A"}

    async def test_a_path_that_leads_nowhere_is_none_that_holds(self, mirror: Sender) -> None:
        await mirror.json({"op": "add", "path": "/status", "value": {"phase": "A"}})
        for path in ("/status/authority/epoch", "/status/x/y"):
            for op in ("add", "replace", "test"):
                with pytest.raises(Conflict):
                    await mirror.json({"op": op, "path": path, "value": 1})
        with pytest.raises(Conflict):
            await mirror.json({"op": "remove", "path": "/status/reason"})

    async def test_what_could_be_there_can_be_replaced_and_is_null(self, mirror: Sender) -> None:
        absent = {"op": "test", "path": "/status", "value": None}
        put = {"op": "replace", "path": "/status", "value": {"phase": "A"}}
        assert (await mirror.json(absent, put))["status"] == {"phase": "A"}
        with pytest.raises(Conflict):
            await mirror.json(absent, put)

    async def test_content_that_is_wrong_names_its_field(self, mirror: Sender) -> None:
        wrong = {"authority": {"epoch": "one", "incarnation": "x"}}
        with pytest.raises(Invalid) as refused:
            await mirror.json({"op": "add", "path": "/status", "value": wrong})
        assert {c.field for c in refused.value.causes} == {"status.authority.epoch"}

    async def test_it_is_pruned_and_the_rest_of_the_object_stays(self, mirror: Sender) -> None:
        written = await mirror.json(
            {"op": "add", "path": "/status", "value": {"phase": "A", "unheardOf": 1}},
            {"op": "replace", "path": "/spec/protocol", "value": "A"},
        )
        assert (written["status"], written["spec"]["protocol"]) == ({"phase": "A"}, "C")


async def test_a_number_that_json_has_not_is_refused(mirror: Sender) -> None:
    """A client's library writes it all the same."""
    with pytest.raises(Invalid):
        await mirror.merge({"status": {"authority": {"epoch": float("-inf")}}}, "status")


class TestEndings:
    async def test_an_object_with_finalizers_goes_with_the_last_of_them(
        self, client: KubeClient, namespace: str
    ) -> None:
        finalizers = ["tandem.dev/stop-before-delete"]
        body = mirror_body(namespace, finalizers=finalizers)
        made = await client.create(MIRRORS, body, timeout_s=PATIENCE_S)
        key = ObjectKey(namespace=namespace, name="m")
        await client.delete(MIRRORS, key)
        ending = await client.get(MIRRORS, key)
        assert ending["metadata"]["deletionTimestamp"]
        assert ending["metadata"]["generation"] == made["metadata"]["generation"] + 1
        await client.delete(MIRRORS, key)
        assert version(await client.get(MIRRORS, key)) == version(ending)
        with pytest.raises(Conflict):
            await client.create(MIRRORS, body)
        patch: Raw = {"metadata": {"finalizers": []}}
        await client.merge_patch(
            MIRRORS, key, patch, resource_version=ending["metadata"]["resourceVersion"]
        )
        with pytest.raises(NotFound):
            await client.get(MIRRORS, key)

    async def test_one_that_is_made_again_is_another(self, mirror: Sender) -> None:
        before = await mirror.call("GET")
        await mirror.call("DELETE")
        await mirror.client.create(MIRRORS, mirror_body(mirror.key.namespace))
        after = await mirror.call("GET")
        assert after["metadata"]["uid"] != before["metadata"]["uid"]
        assert version(after) > version(before)


class TestReads:
    async def test_a_list_is_in_order_and_of_a_version(self, mirror: Sender) -> None:
        namespace = mirror.key.namespace
        await mirror.client.create(MIRRORS, mirror_body(namespace, "a"))
        listing = await mirror.client.list(MIRRORS, namespace)
        assert [item["metadata"]["name"] for item in listing.items] == ["a", "m"]
        assert int(listing.resource_version) >= max(version(item) for item in listing.items)

    async def test_a_list_of_a_built_in_kind_leaves_out_what_it_is(
        self, client: KubeClient, namespace: str
    ) -> None:
        await client.renew_lease(namespace, holder="h", duration_s=10, labels={"for": namespace})
        path = LEASES.path("tandem-system")
        found = await client._transport.call(
            "GET", path, query={"labelSelector": f"for={namespace}"}, timeout_s=PATIENCE_S
        )
        assert "kind" not in found["items"][0]
        assert (await client.get_lease(namespace))["kind"] == "Lease"

    async def test_a_version_that_is_yet_to_come_is_waited_for(self, mirror: Sender) -> None:
        query = {"resourceVersion": str(version(await mirror.call("GET")) + 100_000)}
        with pytest.raises(Unavailable):
            await mirror.client._transport.call(
                "GET", MIRRORS.path(mirror.key.namespace), query=query, timeout_s=PATIENCE_S
            )


async def test_an_event_stands_where_its_object_is(client: KubeClient, namespace: str) -> None:
    body = {
        "metadata": {"namespace": namespace, "name": "e"},
        "involvedObject": {"namespace": "default", "name": "x"},
    }
    with pytest.raises(Invalid):
        await client.create(EVENTS, body)


class TestWatches:
    """The lines themselves; what a client makes of them is in ``tests/unit/kube/test_watch.py``."""

    async def lines(self, mirror: Sender, count: int, **query: str) -> list[Raw]:
        namespace = mirror.key.namespace
        found: list[Raw] = []
        common = {"watch": "true", "allowWatchBookmarks": "true", "timeoutSeconds": "5"}
        async with mirror.client._transport.stream(
            MIRRORS.path(namespace),
            common | query,
            open_timeout_s=PATIENCE_S,
            life_s=PATIENCE_S,
            idle_s=PATIENCE_S,
        ) as lines:
            async for line in lines:
                found.append(line)
                if len(found) == count:
                    break
        return found

    async def test_a_streamed_list_says_when_all_is_told(self, mirror: Sender) -> None:
        added, mark = await self.lines(mirror, 2, **STREAMED)
        assert added == {"type": "ADDED", "object": await mirror.call("GET")}
        assert mark["type"] == "BOOKMARK"
        assert mark["object"]["kind"] == "Mirror"
        assert mark["object"]["metadata"]["annotations"] == {INITIAL_EVENTS_END: "true"}
        assert version(mark["object"]) >= version(added["object"])

    async def test_a_streamed_list_is_asked_for_in_full(self, mirror: Sender) -> None:
        with pytest.raises(Invalid):
            await self.lines(mirror, 1, sendInitialEvents="true")

    async def test_one_goes_on_from_a_version(self, mirror: Sender) -> None:
        before = await mirror.call("GET")
        seen = [await mirror.merge({"status": {"phase": phase}}, "status") for phase in "AB"]
        seen.append(await mirror.call("DELETE"))
        lines = await self.lines(mirror, 3, resourceVersion=str(version(before)))
        assert [line["type"] for line in lines] == ["MODIFIED", "MODIFIED", "DELETED"]
        assert [line["object"] for line in lines[:2]] == seen[:2]
        gone = lines[2]["object"]
        assert gone["status"] == {"phase": "B"}, "it is told as it was last"
        assert version(gone) > version(seen[1]), "with the version of its end"

    async def test_one_is_ended_when_it_was_asked_to(self, mirror: Sender) -> None:
        query = {"resourceVersion": str(version(await mirror.call("GET"))), "timeoutSeconds": "1"}
        assert [li for li in await self.lines(mirror, 9, **query) if li["type"] != "BOOKMARK"] == []

    async def test_a_version_that_is_yet_to_come_tells_nothing(self, mirror: Sender) -> None:
        """And is no error: why a client lists anew after anything but an ordinary end."""
        later = str(version(await mirror.call("GET")) + 100_000)
        await mirror.merge({"status": {"phase": "A"}}, "status")
        query = {"resourceVersion": later, "timeoutSeconds": "1"}
        assert [li for li in await self.lines(mirror, 9, **query) if li["type"] != "BOOKMARK"] == []
