"""The API client against an API server: reads, watches, compare-and-swap, leases, events.

The server is the simulator's, and the real one (integration): what the client is told must be the
same.
"""

import asyncio
import time
import uuid
from collections.abc import AsyncIterator
from typing import Any

import pytest

from tandem_api.authority import Authority
from tandem_api.meta import ObjectKey
from tandem_kube import (
    EVENTS,
    LEASES,
    MIRRORS,
    Changed,
    Conflict,
    Deleted,
    Forbidden,
    Interrupted,
    Invalid,
    KubeClient,
    NotFound,
    Synced,
    Unavailable,
    WatchEvent,
)

from .apiservers import ApiServer


def mirror_body(namespace: str, name: str = "m") -> dict[str, Any]:
    devices = {"root": "/dev/vg0/root"}
    return {
        "metadata": {"namespace": namespace, "name": name},
        "spec": {
            "volumes": [{"name": "root", "size": "16Mi"}],
            "replicas": [{"host": h, "devices": devices} for h in ("a-1", "b-1")],
        },
    }


async def make_mirror(client: KubeClient, namespace: str, name: str = "m") -> ObjectKey:
    # The first object of a new kind may take the server some seconds.
    await client.create(MIRRORS, mirror_body(namespace, name), timeout_s=30)
    return ObjectKey(namespace=namespace, name=name)


async def swap(client: KubeClient, key: ObjectKey, expected: int | None, uid: str) -> int:
    epoch = (expected or 0) + 1
    authority = Authority(epoch=epoch, incarnation=uid, request_id=str(uuid.uuid4()))
    written = await client.swap_authority(
        key, expected_epoch=expected, uid=uid, authority=authority
    )
    assert written.status.authority == authority
    return epoch


async def test_swap_takes_place_only_at_the_expected_epoch(
    client: KubeClient, namespace: str
) -> None:
    key = await make_mirror(client, namespace)
    uid = (await client.fetch(MIRRORS, key)).metadata.uid
    with pytest.raises(Conflict):
        await swap(client, key, 1, uid)
    assert await swap(client, key, None, uid) == 1
    with pytest.raises(Conflict):
        await swap(client, key, None, uid)
    assert await swap(client, key, 1, uid) == 2
    with pytest.raises(Conflict):
        await swap(client, key, 1, uid)
    with pytest.raises(Conflict):
        await swap(client, key, 2, "another-uid")
    found = await client.fetch(MIRRORS, key)
    assert found.status.authority is not None
    assert found.status.authority.epoch == 2


async def test_swap_drops_what_the_new_authority_lacks(client: KubeClient, namespace: str) -> None:
    key = await make_mirror(client, namespace)
    uid = (await client.fetch(MIRRORS, key)).metadata.uid
    await swap(client, key, None, uid)
    fenced = {"a-1": {"instance": "a-1/b/r", "epoch": 1}}
    full = Authority.model_validate({"epoch": 2, "incarnation": uid, "fenced": fenced})
    await client.swap_authority(key, expected_epoch=1, uid=uid, authority=full)
    await swap(client, key, 2, uid)
    authority = (await client.fetch(MIRRORS, key)).status.authority
    assert authority is not None
    assert not authority.fenced


async def test_of_many_swaps_at_once_each_epoch_is_won_once(
    client: KubeClient, namespace: str
) -> None:
    key = await make_mirror(client, namespace)
    uid = (await client.fetch(MIRRORS, key)).metadata.uid
    results = await asyncio.gather(
        *(swap(client, key, None, uid) for _ in range(8)), return_exceptions=True
    )
    assert [r for r in results if r == 1] == [1]
    assert sum(isinstance(r, Conflict) for r in results) == 7


async def test_refused_content_is_not_taken_for_a_conflict(
    client: KubeClient, namespace: str
) -> None:
    key = await make_mirror(client, namespace)
    uid = (await client.fetch(MIRRORS, key)).metadata.uid
    await swap(client, key, None, uid)
    bad = Authority(epoch=2, incarnation=uid).model_copy(update={"mode": "Nonsense"})
    with pytest.warns(UserWarning), pytest.raises(Invalid) as caught:
        await client.swap_authority(key, expected_epoch=1, uid=uid, authority=bad)
    assert [cause.field for cause in caught.value.causes] == ["status.authority.mode"]


async def test_errors_are_told_apart(client: KubeClient, server: ApiServer, namespace: str) -> None:
    key = await make_mirror(client, namespace)
    with pytest.raises(NotFound):
        await client.get(MIRRORS, ObjectKey(namespace=namespace, name="other"))
    with pytest.raises(Conflict):
        await client.create(MIRRORS, mirror_body(namespace))
    with pytest.raises(Conflict):
        await client.merge_patch_status(MIRRORS, key, {"phase": "X"}, resource_version="1")
    stranger = await server.stranger()
    with pytest.raises(Forbidden):
        await stranger.get(MIRRORS, key)
    await stranger.close()


async def test_fields_of_a_status_are_set_on_just_this_object(
    client: KubeClient, namespace: str
) -> None:
    """A server ignores the uid in a merge patch of a status; this is the way that does not."""
    key = await make_mirror(client, namespace)
    raw = await client.get(MIRRORS, key)
    uid, version = raw["metadata"]["uid"], raw["metadata"]["resourceVersion"]

    async def put(fields: dict[str, Any], uid: str, version: str, empty: bool) -> Any:
        return await client.set_in_status(
            MIRRORS, key, fields, uid=uid, resource_version=version, empty=empty
        )

    with pytest.raises(Conflict):
        await put({"phase": "A"}, str(uuid.uuid4()), version, empty=True)
    with pytest.raises(Conflict):
        await put({"phase": "A"}, uid, "1", empty=True)
    assert "status" not in await client.get(MIRRORS, key)
    first = await put({"phase": "A", "message": "b"}, uid, version, empty=True)
    assert first["status"] == {"phase": "A", "message": "b"}
    second = await put({"phase": "C"}, uid, first["metadata"]["resourceVersion"], empty=False)
    assert second["status"] == {"phase": "C", "message": "b"}


async def test_a_paused_server_is_unavailable_within_the_timeout(
    client: KubeClient, server: ApiServer, namespace: str
) -> None:
    key = await make_mirror(client, namespace)
    server.pause()
    began_s = time.monotonic()
    try:
        with pytest.raises(Unavailable):
            await client.get(MIRRORS, key, timeout_s=0.5)
        assert time.monotonic() - began_s < 1.5
    finally:
        server.resume()
    assert (await client.fetch(MIRRORS, key)).key == key


async def take(events: AsyncIterator[WatchEvent], kind: type[WatchEvent]) -> Any:
    """The next event of that type."""
    async with asyncio.timeout(20):
        async for event in events:
            if isinstance(event, kind):
                return event
    raise AssertionError("the watch ended")


async def test_watch_shows_everything_then_changes(client: KubeClient, namespace: str) -> None:
    key = await make_mirror(client, namespace, "first")
    events = client.watch(MIRRORS, namespace=namespace)
    synced = await take(events, Synced)
    assert [item["metadata"]["name"] for item in synced.items] == ["first"]
    assert synced.items[0]["kind"] == "Mirror"
    await client.merge_patch_status(MIRRORS, key, {"phase": "Seen"})
    assert (await take(events, Changed)).object["status"] == {"phase": "Seen"}
    await client.merge_patch_status(MIRRORS, key, {"phase": "", "message": "Hm."})
    assert (await take(events, Changed)).object["status"] == {"message": "Hm."}
    await client.delete(MIRRORS, key)
    assert (await take(events, Deleted)).object["metadata"]["name"] == "first"


async def test_only_the_object_that_is_meant_is_deleted(client: KubeClient, namespace: str) -> None:
    key = await make_mirror(client, namespace)
    uid = (await client.fetch(MIRRORS, key)).metadata.uid
    said = r'on Mirror\.tandem\.dev "m": the UID in the precondition \(another\) does not match'
    with pytest.raises(Conflict, match=said):
        await client.delete(MIRRORS, key, uid="another")
    assert (await client.fetch(MIRRORS, key)).metadata.uid == uid
    await client.delete(MIRRORS, key, uid=uid)
    with pytest.raises(NotFound):
        await client.delete(MIRRORS, key, uid=uid)


async def test_watch_takes_lines_of_a_megabyte(client: KubeClient, namespace: str) -> None:
    key = await make_mirror(client, namespace)
    events = client.watch(MIRRORS, namespace=namespace)
    await take(events, Synced)
    long = "x" * 700_000
    await client.merge_patch_status(MIRRORS, key, {"message": long})
    assert (await take(events, Changed)).object["status"]["message"] == long


async def test_watch_goes_on_after_the_server_was_killed(
    client: KubeClient, server: ApiServer, namespace: str
) -> None:
    await make_mirror(client, namespace, "first")
    events = client.watch(MIRRORS, namespace=namespace)
    await take(events, Synced)
    server.kill()
    await take(events, Interrupted)
    # Not in a thread: the server is told to end with the thread that started it.
    server.start()
    synced = await take(events, Synced)
    assert [item["metadata"]["name"] for item in synced.items] == ["first"]


async def test_selected_objects_that_lose_their_label_are_deleted_ones(
    client: KubeClient, namespace: str
) -> None:
    body = mirror_body(namespace)
    body["metadata"]["labels"] = {"host": "a"}
    await client.create(MIRRORS, body)
    events = client.watch(MIRRORS, namespace=namespace, label_selector="host=a")
    assert len((await take(events, Synced)).items) == 1
    key = ObjectKey(namespace=namespace, name="m")
    await client.merge_patch(MIRRORS, key, {"metadata": {"labels": {"host": "b"}}})
    assert (await take(events, Deleted)).object["metadata"]["name"] == "m"


async def test_lease_is_made_renewed_and_guarded(client: KubeClient) -> None:
    name = f"host-{uuid.uuid4().hex[:8]}"
    labels = {"for": name}
    first = await client.renew_lease(name, holder="one", duration_s=10, labels=labels)
    second = await client.renew_lease(
        name, holder="two", duration_s=10, labels=labels, annotations={"a": "b"}, transitions=3
    )
    assert second != first
    with pytest.raises(Conflict):
        await client.renew_lease(name, holder="one", duration_s=10, resource_version=first)
    lease = await client.get_lease(name)
    assert lease["spec"]["holderIdentity"] == "two"
    assert lease["metadata"]["annotations"] == {"a": "b"}
    assert lease["metadata"]["resourceVersion"] == second
    listing = await client.list_leases(f"for={name}")
    assert [item["metadata"]["name"] for item in listing.items] == [name]
    await client.delete(LEASES, ObjectKey(namespace="tandem-system", name=name))
    with pytest.raises(Conflict):
        await client.renew_lease(name, holder="two", duration_s=10, resource_version=second)


async def test_the_same_event_is_counted_not_repeated(client: KubeClient, namespace: str) -> None:
    key = await make_mirror(client, namespace)
    regarding = await client.get(MIRRORS, key)
    for _ in range(3):
        await client.event(regarding, "Normal", "InSync", "All is well.")
    await client.event(regarding, "Warning", "LinkLost", "The link is gone.")
    items = (await client.list(EVENTS, namespace)).items
    assert sorted((e["reason"], e["count"]) for e in items) == [("InSync", 3), ("LinkLost", 1)]


async def test_events_about_cluster_objects_have_a_place(client: KubeClient) -> None:
    name = f"host-{uuid.uuid4().hex[:8]}"
    regarding = {
        "apiVersion": "tandem.dev/v1alpha1",
        "kind": "Host",
        "metadata": {"name": name, "uid": str(uuid.uuid4())},
    }
    await client.event(regarding, "Normal", "Ready", "Here.")
    items = (await client.list(EVENTS, "default")).items
    assert [e["reason"] for e in items if e["involvedObject"]["name"] == name] == ["Ready"]
