"""What is taken in of what watches, lists and answers tell, and what is left out."""

from typing import Any

import pytest

from tandem_api.meta import ObjectKey
from tandem_controller.run.store import Store

KEY = ObjectKey(namespace="", name="burjassot")


def site(version: int, uid: str = "u1", **spec: Any) -> dict[str, Any]:
    return {
        "apiVersion": "tandem.dev/v1alpha1",
        "kind": "Site",
        "metadata": {"name": KEY.name, "uid": uid, "resourceVersion": str(version)},
        "spec": spec,
    }


def known(store: Store) -> tuple[str, bool]:
    """Uid, and what the spec says of maintenance."""
    obj: Any = store.get("Site", KEY)
    return obj.metadata.uid, obj.spec.maintenance


@pytest.mark.parametrize(
    ("told", "taken"),
    [
        (site(6, maintenance=True), True),
        (site(4, maintenance=True), False),
        (site(5, maintenance=True), False),
        (site(5, "u2", maintenance=True), True),
        (site(4, "u2", maintenance=True), False),
    ],
    ids=["newer", "older", "same", "another-of-the-same-version", "another-and-older"],
)
def test_what_a_watch_tells(told: dict[str, Any], *, taken: bool) -> None:
    """After a restore of the API another object may have the name and the version of one known."""
    store = Store()
    store.put("Site", site(5))
    before = store.generation
    store.put("Site", told)
    assert known(store) == ((told["metadata"]["uid"], True) if taken else ("u1", False))
    assert store.generation == before + taken


@pytest.mark.parametrize(
    "told",
    [site(6, maintenance=True), site(4, maintenance=True), site(5, "u2", maintenance=True)],
    ids=["newer", "older", "another-of-the-same-version"],
)
def test_a_list_is_taken_as_it_is(told: dict[str, Any]) -> None:
    store = Store()
    store.replace("Site", [site(5)])
    before = store.generation
    store.replace("Site", [told])
    assert known(store) == (told["metadata"]["uid"], True)
    assert store.generation == before + 1


def test_a_list_that_tells_nothing_new_wakes_nobody() -> None:
    store = Store()
    store.replace("Site", [site(5)])
    before = store.generation
    store.replace("Site", [site(5)])
    assert store.generation == before


def test_what_became_known_since_a_list_was_asked_for_is_not_gone() -> None:
    """A watch was quicker. What is absent may be taken for an order: a GuestMove is."""
    store = Store()
    store.put("Site", site(100))
    store.replace("Site", [], newer=99)
    assert store.get("Site", KEY) is not None
    store.replace("Site", [site(98, maintenance=True)], newer=99)
    assert known(store) == ("u1", False)
    assert store.newest("Site") == 100
    store.replace("Site", [], newer=100)
    assert store.get("Site", KEY) is None


def test_after_a_restore_a_list_is_all_that_there_is() -> None:
    store = Store()
    store.put("Site", site(100))
    store.replace("Site", [site(90, "u2")])
    assert known(store) == ("u2", False)


def test_the_same_is_told_until_something_changes() -> None:
    """Plans look at all of it twice a second."""
    store = Store()
    store.put("Site", site(5))
    first = store.parsed("Site")
    assert store.parsed("Site") is first
    store.put("Site", site(6, maintenance=True))
    assert [each.spec.maintenance for each in store.parsed("Site")] == [True]
    store.replace("Site", [])
    assert store.parsed("Site") == ()


def test_what_nobody_can_read_is_told_once_it_is_there() -> None:
    store = Store()
    assert store.unreadable() == ()
    store.put("Site", site(5, heartbeat="often"))
    assert [each.key for each in store.unreadable()] == [KEY]


def test_of_what_nobody_can_read_it_is_known_whether_it_is_being_deleted() -> None:
    store = Store()
    store.put("Site", site(5, heartbeat="often"))
    assert [each.deleting for each in store.unreadable()] == [False]
    gone = site(6, heartbeat="often")
    gone["metadata"]["deletionTimestamp"] = "2024-05-01T09:59:00Z"
    store.put("Site", gone)
    assert [each.deleting for each in store.unreadable()] == [True]
