"""From a snapshot to writes: what is written, in which order, and that idle means no write."""

from typing import Any

import pytest

from tandem_api.kinds.guest import GuestStatus
from tandem_api.kinds.mirror import MirrorStatus
from tandem_api.meta import Condition, condition
from tandem_controller.decide.conditions import patch
from tandem_controller.decide.status.mirror import mirror_status
from tandem_controller.decide.world.model import (
    SetUpMirror,
    SwapAuthority,
    WriteAssignment,
    WriteFinalizers,
    WriteStatus,
)

from .scenes import (
    A,
    B,
    Scene,
    assigned,
    guest,
    instance,
    mirror,
    only,
    owned_by,
    replica,
    report,
)


def merged(old: Any, change: Any) -> Any:
    """RFC 7386, as the server does it."""
    if not isinstance(change, dict):
        return change
    result = dict(old) if isinstance(old, dict) else {}
    for key, value in change.items():
        if value is None:
            result.pop(key, None)
        else:
            result[key] = merged(result.get(key), value)
    return result


def mirror_status_of(scene: Scene) -> MirrorStatus:
    return mirror_status(scene.parsed_mirror(), scene.world(), None)


def is_true(conditions: tuple[Condition, ...], kind: str) -> bool | None:
    found = condition(conditions, kind)
    assert found is not None
    return {"True": True, "False": False, "Unknown": None}[found.status]


# -- patches


@pytest.mark.parametrize(
    "scene",
    [
        Scene(),
        Scene().lost(),
        Scene().unowned(),
        Scene(assignment=None),
        Scene(
            status={
                "lastTakeover": {
                    "source": A,
                    "target": B,
                    "reason": "LeaseLost",
                    "leaseLostAt": "x",
                    "steps": {"assigned": "y"},
                }
            }
        ),
    ],
)
def test_a_patch_leads_from_the_old_status_to_the_new(scene: Scene) -> None:
    old, new = scene.parsed_guest().status, scene.status_after()
    after = GuestStatus.model_validate(merged(old.wire(), patch(old, new)))
    assert after == new


def test_the_same_status_is_no_patch() -> None:
    new = Scene().status_after()
    assert patch(new, new) == {}


def test_what_hosts_wrote_is_never_in_a_patch() -> None:
    for scene in (Scene(), Scene().lost(), Scene().unowned()):
        for write in scene.plan().statuses:
            theirs = {"authority", "replicas", "instance", "bootID", "versions"}
            theirs |= {"hosts", "assignment"} if write.kind == "Guest" else set()
            assert not theirs & set(write.patch)
        for urgent in scene.plan().urgent:
            if isinstance(urgent, WriteAssignment):
                assert not {"hosts"} & set(urgent.patch)


def settled(scene: Scene) -> Scene:
    """The scene after the server took every write of a plan."""
    made = scene.plan()
    for write in [*made.urgent, *made.statuses]:
        if isinstance(write, WriteAssignment | WriteStatus) and "Guest" in (
            getattr(write, "kind", "Guest")
        ):
            old = scene.parsed_guest().status
            status = merged(old.wire(), write.patch)
            scene.assignment = status.pop("assignment", None)
            scene.reports = status.pop("hosts", {})
            scene.status = status
    return scene


def test_once_written_nothing_more_is_written_about_the_guest() -> None:
    for scene in (Scene(), Scene().lost(), Scene().unowned(), Scene().silent(A)):
        made = settled(scene).plan()
        assert [w for w in made.statuses if w.kind == "Guest"] == []
        assert [w for w in made.urgent if isinstance(w, WriteAssignment)] == []


# -- assignments


def test_each_assignment_has_the_next_serial_and_the_guests_version() -> None:
    (write,) = Scene().lost().plan().urgent
    assert isinstance(write, WriteAssignment)
    assert (write.assignment.host, write.assignment.serial) == (B, 4)
    assert write.guest.metadata.resource_version == "9"


def test_fields_of_the_earlier_proof_do_not_stay() -> None:
    scene = Scene()
    proof = {"kind": "LeaseLost", "host": A, "instance": instance(A), "atEpoch": 7}
    scene.assignment = assigned(B, "LeaseLost", proof=proof)
    scene.guest["running"] = False
    (write,) = scene.plan().urgent
    assert isinstance(write, WriteAssignment)
    assignment = write.patch["assignment"]
    assert isinstance(assignment, dict)
    assert assignment["proof"] is None


def test_a_takeover_is_noted_with_its_first_steps() -> None:
    (write,) = Scene().lost().plan().urgent
    assert isinstance(write, WriteAssignment)
    takeover = write.patch["lastTakeover"]
    assert isinstance(takeover, dict)
    assert (takeover["source"], takeover["target"]) == (A, B)
    assert set(takeover["steps"]) == {"lastHeartbeat", "leaseLost", "assigned"}


def test_what_the_new_host_reports_completes_the_takeover() -> None:
    scene = settled(Scene().lost())
    scene.authority = owned_by(B, epoch=8, mode="Standalone", eligible=only(B))
    steps = {"authorityWon": "1", "promoted": "2", "domainStarted": "3", "other": "4"}
    scene.reports[B] = report(B, serial=4, steps=steps)
    takeover = scene.status_after().last_takeover
    assert takeover is not None
    assert takeover.steps["domainStarted"] == "3"
    assert "other" not in takeover.steps
    scene.reports[B] = report(B, serial=3, steps=steps)
    stale = scene.status_after().last_takeover
    assert stale is not None
    assert "domainStarted" not in stale.steps


def crowd(*priorities: int) -> Scene:
    """A is lost with guests of these priorities, 1 GiB each, beside the scene's own."""
    scene = Scene().lost()
    scene.guest["priority"] = 1
    for number, priority in enumerate(priorities):
        name = f"more{number}"
        scene.more.append(
            guest(
                name,
                priority=priority,
                metadata={"finalizers": ["tandem.dev/stop-before-delete"]},
                status={"assignment": assigned(A)},
            )
        )
        scene.more_mirrors.append(
            mirror(
                name,
                status={
                    "authority": owned_by(A),
                    "deviceNumbers": {"port": 7800 + number, "minors": {"root": 10 + number}},
                    "replicas": {B: replica(B, connected=False)},
                },
            )
        )
    return scene


def taken(scene: Scene) -> list[str]:
    return [
        write.guest.metadata.name
        for write in scene.plan().urgent
        if isinstance(write, WriteAssignment)
    ]


def test_takeovers_go_by_priority() -> None:
    assert taken(crowd(5, 100)) == ["more1", "more0", "g"]


def test_what_there_is_no_room_for_is_the_least_important() -> None:
    scene = crowd(5, 100)
    scene.hosts[B] = {"capacity": {"memory": "2Gi", "cpus": 8}}
    assert taken(scene) == ["more1", "more0"]
    decision = scene.plan().decisions[scene.parsed_guest().key]
    assert "NoRoom" in str(decision.reason)


# -- finalizers


def test_the_finalizer_comes_before_everything_else() -> None:
    scene = Scene().unowned()
    scene.assignment, scene.metadata = None, {}
    (write,) = scene.plan().urgent
    assert isinstance(write, WriteFinalizers)
    assert write.finalizers == ("tandem.dev/stop-before-delete",)


def deleted() -> Scene:
    scene = Scene().unowned()
    scene.metadata["deletionTimestamp"] = "2024-05-01T09:59:00Z"
    scene.metadata["finalizers"] = ["other/one", *scene.metadata["finalizers"]]
    scene.assignment = assigned("", "Deleting", serial=4)
    scene.reports = {A: report(A, "Absent", 4)}
    return scene


def finalizers_left(scene: Scene) -> tuple[str, ...] | None:
    found = [w.finalizers for w in scene.plan().urgent if isinstance(w, WriteFinalizers)]
    return found[0] if found else None


def test_a_guest_that_has_stopped_may_go() -> None:
    assert finalizers_left(deleted()) == ("other/one",)


@pytest.mark.parametrize(
    "change",
    [
        lambda s: s.reports.update({A: report(A, "Running", 4)}),
        lambda s: s.reports.update({A: report(A, "Unknown", 4)}),
        lambda s: s.reports.update({A: report(A, "ShuttingDown", 4)}),
        lambda s: s.reports.update({A: report(A, "Absent", 3)}),
        lambda s: s.reports.update({B: report(B, "Running", 2)}),
        lambda s: s.authority.update(owner=B, ownerInstance=instance(B)),
        lambda s: (
            s.silent(A),
            s.authority.update(owner=A, ownerInstance=instance(A)),
            s.reports.update({A: report(A, "Running", 3)}),
        ),
    ],
)
def test_a_guest_that_may_still_run_stays(change: object) -> None:
    scene = deleted()
    assert callable(change)
    change(scene)
    assert finalizers_left(scene) is None


def test_a_dead_host_that_owns_nothing_does_not_hold_it_up() -> None:
    scene = deleted().silent(B)
    scene.reports[B] = report(B, "Running", 2)
    assert finalizers_left(scene) == ("other/one",)


def test_an_owner_that_keeps_the_mirror_but_has_stopped_does_not_hold_it_up() -> None:
    scene = deleted()
    scene.authority = owned_by(A, mode="Standalone", eligible=only(A))
    assert finalizers_left(scene) == ("other/one",)


def test_a_mirror_that_its_owner_can_release_is_waited_for() -> None:
    scene = deleted()
    scene.authority = owned_by(A)
    assert not finalizers_left(scene)


# -- set-up


def blank(name: str, **spec: Any) -> Any:
    return mirror(name, **spec)


def test_numbers_are_unique_and_the_lowest_free() -> None:
    scene = Scene()
    scene.more_mirrors = [blank("one"), blank("two", port=7790), blank("three")]
    numbers = {
        w.mirror.metadata.name: w.numbers.wire()
        for w in scene.plan().urgent
        if isinstance(w, SetUpMirror)
    }
    assert numbers == {
        "one": {"port": 7791, "minors": {"root": 1}},
        "three": {"port": 7792, "minors": {"root": 2}},
        "two": {"port": 7790, "minors": {"root": 3}},
    }


def test_the_first_authority_lets_nobody_own() -> None:
    scene = Scene()
    scene.more_mirrors = [blank("one")]
    (write,) = scene.plan().urgent
    assert isinstance(write, SetUpMirror)
    assert write.authority is not None
    assert (write.authority.epoch, write.authority.incarnation) == (1, "uid-one")
    assert not write.authority.initialised
    assert not any(write.authority.may_own(host) for host in (A, B))


def test_an_invalid_mirror_is_not_set_up() -> None:
    scene = Scene()
    replicas = [{"host": host, "devices": {"root": "/dev/x"}} for host in (A, "nowhere-1")]
    scene.more_mirrors = [blank("one", replicas=replicas)]
    made = scene.plan()
    assert made.urgent == ()
    (write,) = [w for w in made.statuses if w.key.name == "one"]
    assert write.patch["phase"] == "Invalid"
    assert "there is no host nowhere-1" in str(write.patch["message"])


def test_an_override_is_a_swap() -> None:
    scene = Scene().lost()
    scene.authority = owned_by(A, fenced={A: {"instance": instance(A), "epoch": 7}})
    scene.mirror["override"] = {"host": B, "epoch": 7, "acceptDataLoss": True, "by": "maria"}
    assert any(isinstance(write, SwapAuthority) for write in scene.plan().urgent)


# -- phases


# -- conditions


# -- mirrors


# -- hosts and sites
