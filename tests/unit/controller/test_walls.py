"""A bug about one object costs that object alone, wherever in the controller it is met.

A bug is planted in an object (``sim.programs.bugs.poisoned``): it raises as soon as code of one
module looks at it. What is judged with it is the product's, unchanged.
"""

import asyncio
import logging
from dataclasses import dataclass, field, replace
from typing import Any

import kopf
import pytest

from sim.programs.bugs import Planted, poisoned
from tandem_api.meta import FINALIZER, ObjectKey, Resource
from tandem_api.reasons import Reason
from tandem_api.registry import BY_NAME
from tandem_base.bugs import Telling, bug
from tandem_controller.decide.plan import plan
from tandem_controller.decide.walls import JUDGED, least_status
from tandem_controller.decide.world.model import (
    Assign,
    Blocked,
    Plan,
    Snapshot,
    WriteStatus,
)
from tandem_controller.edge.admission import Admission
from tandem_controller.edge.kube import KubeApi
from tandem_controller.edge.metrics import Metrics

from .scenes import KEY, A, B, Scene, assigned, guest, mirror, owned_by, replica, report
from .test_execute import Scripted, Standing, executor

OTHER = ObjectKey(namespace="ns", name="other")
DECIDE = "tandem_controller.decide."


def two() -> Scene:
    """Another guest beside the one of the scene, at the same host; that host is lost."""
    scene = Scene().lost()
    authority = {**owned_by(A), "incarnation": "uid-other"}
    replicas = {A: replica(A, role="Primary"), B: replica(B, connected=False)}
    status = {
        "authority": authority,
        "replicas": replicas,
        "deviceNumbers": {"port": 7790, "minors": {"root": 1}},
        "claimants": {A: {"guest": "other"}},
    }
    scene.more_mirrors = [mirror("other", status=status)]
    told = {"hosts": {A: report(A)}, "assignment": assigned(A)}
    scene.more = [guest("other", status=told, metadata={"finalizers": [FINALIZER]})]
    return scene


def spoilt(snapshot: Snapshot, kind: str, key: ObjectKey, *modules: str) -> Snapshot:
    """With a bug of these modules about this object."""
    name = BY_NAME[kind].plural
    objects = tuple(
        poisoned(each, frozenset(modules)) if each.key == key else each
        for each in getattr(snapshot, name)
    )
    assert any(each.key == key for each in objects)
    changed: dict[str, Any] = {name: objects}
    return replace(snapshot, **changed)


def statuses(made: Plan, kind: str, key: ObjectKey) -> list[WriteStatus]:
    return [each for each in made.statuses if (each.kind, each.key) == (kind, key)]


def of(name: str) -> ObjectKey:
    return ObjectKey(namespace="", name=name)


class TestPlan:
    @pytest.mark.parametrize(
        "module",
        [
            DECIDE + "guests.situations",
            DECIDE + "guests.takeover",
            DECIDE + "status.guest",
            DECIDE + "mirrors.claimants",
            DECIDE + "guests.placement",
            "tandem_api.check.catalogue",
            "tandem_api.check.guests",
        ],
    )
    def test_the_other_guest_is_taken_over(self, module: str) -> None:
        made = plan(spoilt(two().snapshot(), "Guest", KEY, module))
        behind, other = made.decisions[KEY], made.decisions[OTHER]
        assert isinstance(other, Assign)
        assert other.host == B
        assert isinstance(behind, Blocked)
        assert behind.reason is Reason.INTERNAL_ERROR
        assert [write.guest.key for write in made.urgent if hasattr(write, "guest")] == [OTHER]
        (told,) = statuses(made, "Guest", KEY)
        assert told.patch["phase"] == "Blocked"
        assert told.patch["reason"] == "InternalError"
        assert f"Planted at {module.rpartition('.')[2]}.py:" in str(told.patch["message"])
        assert told.patch["protected"] == "False"

    @pytest.mark.parametrize(
        ("kind", "key", "module"),
        [
            ("Mirror", KEY, DECIDE + "status.mirror"),
            ("Mirror", KEY, DECIDE + "mirrors.override"),
            ("Mirror", KEY, DECIDE + "mirrors.setup"),
            ("Mirror", KEY, "tandem_api.check.validation"),
            ("Host", of(B), DECIDE + "status.site"),
            ("Host", of(A), DECIDE + "known"),
            ("Site", of("tarongers"), DECIDE + "status.site"),
        ],
    )
    def test_every_kind_says_so(self, kind: str, key: ObjectKey, module: str) -> None:
        made = plan(spoilt(two().snapshot(), kind, key, module))
        (told,) = statuses(made, kind, key)
        (said,) = [each for each in _conditions(told) if each["type"] == JUDGED]
        assert (said["status"], said["reason"]) == ("False", "InternalError")
        assert "Planted at " in said["message"]
        assert made.bugs[0].subject == (kind, key)
        if kind != "Host":
            assert isinstance(made.decisions[OTHER], Assign)

    def test_it_is_written_once(self) -> None:
        """And taken back once the object can be judged again."""
        scene = two()
        first = plan(spoilt(scene.snapshot(), "Guest", KEY, DECIDE + "guests.situations"))
        (told,) = statuses(first, "Guest", KEY)
        assert [notice.reason for notice in told.notices] == [Reason.INTERNAL_ERROR]
        scene.status = dict(told.patch)
        again = plan(spoilt(scene.snapshot(), "Guest", KEY, DECIDE + "guests.situations"))
        assert statuses(again, "Guest", KEY) == []
        scene.silent(A, 0.5)
        (well,) = statuses(plan(scene.snapshot()), "Guest", KEY)
        assert JUDGED not in [each["type"] for each in _conditions(well)]
        assert well.patch["reason"] == "Running"

    def test_a_status_that_cannot_even_be_read_says_the_least(self) -> None:
        now = two().snapshot()
        found = spoilt(now, "Guest", KEY, DECIDE + "guests.situations", DECIDE + "walls").guests[0]
        told = least_status(found, bug("Guest", KEY, Planted("x")), now)
        assert told is not None
        assert told.patch["phase"] == "Blocked"
        assert told.patch["reason"] == "InternalError"


def _conditions(write: WriteStatus) -> list[dict[str, Any]]:
    found = write.patch["conditions"]
    assert isinstance(found, list)
    return found


class Unreadable(dict[str, Any]):
    """What nobody has foreseen."""

    def get(self, *_: Any) -> Any:
        raise Planted("get")

    def items(self) -> Any:
        raise Planted("items")

    def __iter__(self) -> Any:
        raise Planted("iter")


def raw(obj: Resource, version: int) -> dict[str, Any]:
    found = obj.model_dump(mode="json", by_alias=True, exclude_none=True)
    return {**found, "metadata": {**found["metadata"], "resourceVersion": str(version)}}


def annotated(found: dict[str, Any]) -> dict[str, Any]:
    """With something on it that nothing but the problems are looked for in."""
    metadata = {**found["metadata"], "annotations": Unreadable({"a": "b"})}
    return {**found, "metadata": metadata}


# -- writes


@dataclass
class Failing(Scripted):
    """An API of which our own side fails on one object."""

    on: str = "a"

    async def write_status(self, kind: str, key: ObjectKey, *rest: Any) -> dict[str, Any]:
        if key.name == self.on:
            raise Planted("write")
        return await super().write_status(kind, key, *rest)


def status(name: str) -> WriteStatus:
    return WriteStatus("Guest", ObjectKey(namespace="ns", name=name), name, {"phase": "Running"})


async def test_a_write_that_fails_by_a_bug_costs_its_object_alone() -> None:
    api, clock = Failing(), Standing()
    one = executor(api, clock)
    made = replace(Scene().plan(), urgent=(), statuses=(status("a"), status("b")))
    assert await one.run(made)
    assert api.keys() == ["b"]
    (standing,) = one.bugs.standing()
    assert standing.key.name == "a"
    clock.now_s += 5.0
    assert one.bugs.standing() == ()
    await one.run(made)
    clock.now_s += 5.0
    assert len(one.bugs.standing()) == 1, "it stands for longer the second time"


async def test_an_event_that_fails_by_a_bug_costs_that_event() -> None:
    from tandem_controller.decide.world.model import Notice
    from tandem_controller.run.events import EventQueue

    told: list[str] = []

    class Api:
        async def event(self, kind: str, key: ObjectKey, *_: Any) -> None:
            if key.name == "a":
                raise Planted("event")
            told.append(key.name)

    api: Any = Api()
    queue = EventQueue(api)
    for name in ("a", "a", "b"):
        queue.put("Guest", ObjectKey(namespace="ns", name=name), "u", Notice(False, "x", ""))
    running = asyncio.create_task(queue.run())
    await asyncio.sleep(0.01)
    running.cancel()
    assert told == ["b"]


# -- leases


@dataclass
class Listing:
    items: list[dict[str, Any]]


@dataclass
class Client:
    items: list[dict[str, Any]] = field(default_factory=list)

    async def list_leases(self, *_: Any, **__: Any) -> Listing:
        return Listing(self.items)


async def test_a_lease_that_cannot_be_read_is_no_lost_host() -> None:
    """Whoever left it out would count its host's silence."""
    labels = {"tandem.dev/heartbeat": "host", "tandem.dev/host": A}
    lease = {
        "metadata": {"name": f"host-{A}", "labels": labels, "resourceVersion": "8"},
        "spec": Unreadable({"holderIdentity": "x"}),
    }
    client: Any = Client([lease])
    (found,) = await KubeApi(client).heartbeats(1.0)
    assert (found.host, found.version, found.timing, found.watchdog_armed) == (A, "8", None, False)


# -- metrics


def test_numbers_of_the_others_are_there() -> None:
    metrics, met = Metrics("test"), list[str]()
    metrics.objects.leads = True
    metrics.objects.met = lambda found: met.append(str(found.key))
    made = plan(two().snapshot())
    world = replace(
        made.world,
        snapshot=spoilt(made.world.snapshot, "Mirror", KEY, "tandem_controller.edge.metrics"),
    )
    metrics.objects.plan = replace(made, world=world)
    families = {family.name: family for family in metrics.registry.collect()}
    rows = families["tandem_mirror_connected"].samples
    assert [row.labels["mirror"] for row in rows] == ["other"]
    assert met == ["ns/g"]


def test_each_time_is_counted_and_few_are_logged(caplog: pytest.LogCaptureFixture) -> None:
    clock, found = Standing(), bug("Guest", KEY, Planted("x"))
    bugs = executor(Scripted(), clock).bugs
    with caplog.at_level(logging.CRITICAL):
        for _ in range(240):
            bugs.tell(found)
            clock.now_s += 0.5
    assert len(caplog.records) == 2
    assert caplog.records[0].exc_info is not None
    value = bugs._metrics.registry.get_sample_value(
        "tandem_internal_errors_total", {"kind": "Guest", "namespace": "ns", "name": "g"}
    )
    assert value == 240


def test_what_is_told_does_not_change_with_each_exception() -> None:
    telling = Telling()
    one, other = (bug("Guest", KEY, Planted(word)) for word in ("at 0x1", "at 0x2"))
    assert one == other
    assert [telling.is_due(each, 0.0) for each in (one, other)] == [True, False]


# -- admission


def test_a_spec_that_the_webhook_fails_on_is_let_through() -> None:
    """As without an answer: the controller judges it, and says so."""
    new = {**raw(Scene().parsed_guest(), 5), "spec": Unreadable()}
    client: Any = None
    Admission(client).spec("Guest", None, new, {"username": "ana"})


async def test_a_deletion_that_the_webhook_fails_on_is_refused() -> None:
    host = Scene().snapshot().hosts[0]

    @dataclass
    class Lists:
        async def list(self, *_: Any, **__: Any) -> Listing:
            return Listing([{**raw(Scene().parsed_mirror(), 5), "spec": Unreadable()}])

    client: Any = Lists()
    with pytest.raises(kopf.AdmissionError, match="not known: Tandem failed"):
        await Admission(client).deletion("Host", raw(host, 4), {"username": "ana"})


def test_what_is_asked_to_end_passes_every_wall() -> None:
    from tandem_base.bugs import wall

    for end in (asyncio.CancelledError(), SystemExit(70), KeyboardInterrupt()):
        met: list[object] = []
        with pytest.raises(type(end)), wall("Guest", KEY, met.append):
            raise end
        assert met == []
