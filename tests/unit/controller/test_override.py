"""Rule 15: what a person's order needs before it is carried out, and what it writes."""

from typing import Any

import pytest

from tandem_api.authority import Mode
from tandem_api.lease import Heartbeat
from tandem_api.reasons import Reason
from tandem_api.timing import DEFAULT
from tandem_controller.decide.mirrors.override import Grant, override, owner_is_as_judged
from tandem_controller.decide.world.links import observe_links
from tandem_controller.decide.world.model import Refusal

from .scenes import (
    KEY,
    NOW_S,
    A,
    B,
    Scene,
    assigned,
    guest,
    instance,
    only,
    owned_by,
    replica,
    report,
)


def decide(scene: Scene) -> Grant | Refusal | None:
    return override(scene.parsed_mirror(), scene.world())


def ordered(epoch: int = 7, host: str = B) -> Scene:
    """A wrote alone and is lost; somebody orders B to go on without those writes."""
    scene = Scene().lost()
    scene.authority = owned_by(A, mode="Standalone", eligible=only(A))
    scene.mirror["override"] = {
        "host": host,
        "epoch": epoch,
        "acceptDataLoss": True,
        "by": "maria",
    }
    scene.link_down_since_s = {B: NOW_S - DEFAULT.link_wait_s}
    return scene


def dead_disk(scene: Scene, host: str) -> Scene:
    scene.replicas[host]["volumes"]["root"].update(disk="Diskless")
    return scene


def test_no_order_nothing_to_do() -> None:
    assert decide(Scene()) is None


def test_it_is_carried_out_when_the_owner_has_surely_stopped() -> None:
    got = decide(ordered())
    assert isinstance(got, Grant)
    new = got.authority
    assert (new.epoch, new.owner, new.owner_instance) == (8, "", "")
    assert (new.mode, new.reason) == (Mode.MIRRORED, Reason.OVERRIDDEN)
    assert new.may_own(B)
    assert not new.may_own(A)
    assert {e.reason for e in new.eligible.values()} == {Reason.OVERRIDDEN}
    assert new.override is not None
    assert (new.override.by, new.override.at_epoch) == ("maria", 7)
    assert "maria gave it to tarongers-1" in got.message


@pytest.mark.parametrize("epoch", [6, 8])
def test_another_epoch_than_the_present_one_is_refused(epoch: int) -> None:
    got = decide(ordered(epoch))
    assert isinstance(got, Refusal)
    assert got.reason is Reason.OVERRIDE_STALE
    assert f"names epoch {epoch}, but it is epoch 7 now" in got.message


def test_an_old_order_is_no_complaint_once_all_is_well() -> None:
    scene = Scene()
    scene.mirror["override"] = {"host": B, "epoch": 3, "acceptDataLoss": True, "by": "maria"}
    assert decide(scene) is None


def test_it_is_carried_out_once() -> None:
    scene = ordered()
    done = {"by": "maria", "atEpoch": 7, "acceptDataLoss": True, "host": B}
    scene.authority = owned_by("", epoch=8, eligible=only(B, "Overridden"), override=done)
    assert decide(scene) is None


@pytest.mark.parametrize(
    ("change", "says"),
    [
        (lambda s: s.silent(A, 4), f"taken over {DEFAULT.lost_after_s:g} s after its last"),
        (lambda s: setattr(s.beats[A], "armed", False), "does not prove that it stopped"),
        (lambda s: s.link_down_since_s.update({B: NOW_S - 0.1}), "lived on the replication link"),
        (lambda s: s.link_down_since_s.clear(), "lived on the replication link"),
        (
            lambda s: s.replicas.update({B: replica(B)}),
            f"{B} must report that it is not connected",
        ),
        (lambda s: s.silent(B), f"{B} must report that it is not connected"),
        (
            lambda s: dead_disk(s.silent(A, 0.5), A),
            f"guest {KEY} is assigned to {A}, which sends its heartbeat",
        ),
    ],
)
def test_it_waits_until_the_owner_has_surely_stopped(change: object, says: str) -> None:
    scene = ordered()
    assert callable(change)
    change(scene)
    got = decide(scene)
    assert isinstance(got, Refusal)
    assert got.reason is Reason.OVERRIDE_WAITING
    assert says in got.message


def living_owner() -> Scene:
    """A sends its heartbeat, and was told to run the guest no more. Its disk is dead."""
    scene = dead_disk(ordered().silent(A, 0.5), A)
    scene.assignment = assigned("", "NotRequested")
    scene.reports[A] = report(A, "Absent")
    return scene


@pytest.mark.parametrize(
    ("connection", "run", "granted"),
    [
        ("NotConfigured", "run", True),
        ("Unknown", "run", False),
        ("NotConfigured", "earlier", False),
        ("Connecting", "run", False),
    ],
)
def test_a_device_that_is_not_up_is_not_primary(connection: str, run: str, granted: bool) -> None:
    """As it is on a host whose disk is dead. What is not known, or was said before, is no proof."""
    scene = living_owner()
    scene.replicas[A] = {
        **replica(A, connected=False),
        "connection": connection,
        "role": "Unknown",
        "reason": "EffectFailed",
        "volumes": {},
        "instance": instance(A, run=run),
    }
    assert isinstance(decide(scene), Grant) is granted


@pytest.mark.parametrize(
    "said",
    [
        report(A),
        report(A, "Starting"),
        report(A, "Unknown", serial=2),
        report(A, "Absent", serial=2),
        report(A, "Absent", instance=f"{A}/another/run"),
        None,
    ],
)
def test_a_living_owner_must_say_that_the_guest_has_stopped(said: dict[str, Any] | None) -> None:
    """Its role may have been reported before a start that is still under way."""
    scene = living_owner()
    scene.replicas[A] = replica(A, volumes={"root": {"disk": "Diskless"}})
    scene.reports = {} if said is None else {A: said}
    got = decide(scene)
    assert isinstance(got, Refusal)
    assert got.reason is Reason.OVERRIDE_WAITING
    assert f"does not say yet that guest {KEY} has stopped there" in got.message


def test_on_a_secondary_no_guest_runs_whether_libvirt_tells_or_not() -> None:
    scene = living_owner()
    scene.reports[A] = report(A, "Unknown")
    assert isinstance(decide(scene), Refusal)
    scene.replicas[A] = replica(A, volumes={"root": {"disk": "Diskless"}})
    assert isinstance(decide(scene), Grant)


def test_a_guest_that_was_last_on_another_mirror_is_not_waited_for() -> None:
    """It has stopped, and now names a mirror that another guest is on: no host speaks of it."""
    scene = living_owner()
    scene.replicas[A] = replica(A, volumes={"root": {"disk": "Diskless"}})
    last = assigned("", "NotRequested", mirror="old")
    rival = guest("rival", mirror=KEY.name, status={"assignment": last})
    scene.more.append(rival)
    assert isinstance(decide(scene), Grant)


def test_a_living_owner_must_say_that_it_is_secondary() -> None:
    scene = living_owner()
    got = decide(scene)
    assert isinstance(got, Refusal)
    assert f"{A} sends its heartbeat and is Primary; stop it first" in got.message
    scene.replicas[A] = replica(A, volumes={"root": {"disk": "Diskless"}})
    assert isinstance(decide(scene), Grant)


def test_what_an_earlier_run_reported_is_not_believed() -> None:
    scene = living_owner()
    scene.replicas[A] = replica(A, volumes={"root": {"disk": "Diskless"}})
    scene.beats[A].run = "newer"
    assert isinstance(decide(scene), Refusal)


@pytest.mark.parametrize(
    "change",
    [
        lambda s: s.authority.update(
            fenced={A: {"instance": instance(A), "epoch": 7}},
        ),
        lambda s: setattr(s.beats[A], "boot", "newer"),
        lambda s: s.hosts[A].update(confirmedDown="boot"),
        lambda s: s.authority.update(owner="", ownerInstance=""),
    ],
)
def test_proof_spares_the_wait_for_the_link(change: object) -> None:
    scene = ordered()
    scene.link_down_since_s.clear()
    assert callable(change)
    change(scene)
    assert isinstance(decide(scene), Grant)


def test_a_host_without_a_replica_is_refused() -> None:
    got = decide(ordered(host="c-1"))
    assert isinstance(got, Refusal)
    assert "c-1 keeps no replica" in got.message


def test_a_mirror_that_was_never_in_sync_has_nothing_to_give_up() -> None:
    """Carried out, it would say that the mirror has been in use; then its disks miss that use."""
    scene = ordered()
    new = {"eligible": False, "reason": "NotInitialised"}
    scene.authority = owned_by("", eligible={A: new, B: new})
    got = decide(scene)
    assert isinstance(got, Refusal)
    assert got.reason is Reason.OVERRIDE_WAITING
    assert "never in sync" in got.message


def beat(scene: Scene, **changes: str) -> list[Heartbeat]:
    """A's heartbeat as the world has it, but for the changes."""
    judged = scene.world().hosts[A].heartbeat
    assert judged is not None
    return [judged.model_copy(update=changes)]


@pytest.mark.parametrize(
    ("lost", "changes", "still"),
    [
        (True, {}, True),
        (True, {"version": "999"}, False),
        (False, {"version": "999"}, True),  # it is alive, and says so every second
        (False, {"instance": f"{A}/another/run"}, False),
    ],
)
def test_what_was_judged_must_still_be_so_when_the_mirror_was_read(
    lost: bool, changes: dict[str, str], still: bool
) -> None:
    scene = ordered() if lost else Scene()
    scene.authority = owned_by(A)
    judged = owner_is_as_judged(scene.parsed_mirror(), scene.world(), beat(scene, **changes))
    assert judged is still


def test_a_heartbeat_that_is_gone_is_another_and_nobodys_is_not_asked_for() -> None:
    scene = ordered()
    assert not owner_is_as_judged(scene.parsed_mirror(), scene.world(), [])
    scene.authority = owned_by("")
    assert owner_is_as_judged(scene.parsed_mirror(), scene.world(), [])


# -- since when the link has been seen down


def test_the_link_is_watched_only_for_mirrors_with_an_order() -> None:
    assert observe_links({}, [Scene().lost().parsed_mirror()], 5.0) == {}


def test_the_first_report_counts_and_a_connection_starts_again() -> None:
    down, up = ordered().parsed_mirror(), ordered()
    seen = observe_links({}, [down], 5.0)
    assert seen == {(KEY, B): 5.0}
    assert observe_links(seen, [down], 9.0) == seen
    up.replicas[B] = replica(B)
    assert observe_links(seen, [up.parsed_mirror()], 10.0) == {}


# -- the better copy


def test_the_better_copy_is_not_thrown_away_while_it_is_there() -> None:
    got = decide(ordered().silent(A, 0.5))
    assert isinstance(got, Refusal)
    assert got.reason is Reason.OVERRIDE_REFUSED
    assert f"{A} is there with every acknowledged write" in got.message
    assert "power burjassot-1 off first" in got.message


def test_nor_that_of_the_only_host_that_may_own_it() -> None:
    scene = ordered()
    scene.beats[A].silent_s = 0.5
    scene.authority = owned_by("", eligible=only(A))
    got = decide(scene)
    assert isinstance(got, Refusal)
    assert got.reason is Reason.OVERRIDE_REFUSED


@pytest.mark.parametrize(
    "change",
    [
        lambda s: s.silent(A),
        lambda s: dead_disk(s, A),
        lambda s: s.replicas[A].update(connection="Unknown"),
        lambda s: s.replicas[A].update(instance=instance(A, boot="older")),
        lambda s: s.authority.update(mode="Mirrored", eligible=owned_by(A)["eligible"]),
    ],
    ids=["silent", "a dead disk", "DRBD does not tell", "old word", "both have everything"],
)
def test_it_may_be_given_up_where_it_is_not_there(change: object) -> None:
    scene = living_owner()
    scene.replicas[A] = replica(A, connected=False)
    assert callable(change)
    change(scene)
    got = decide(scene)
    assert not (isinstance(got, Refusal) and got.reason is Reason.OVERRIDE_REFUSED)


def test_a_copy_that_cannot_be_read_is_nothing_to_go_on_with() -> None:
    got = decide(dead_disk(ordered(), B))
    assert isinstance(got, Refusal)
    assert got.reason is Reason.OVERRIDE_REFUSED
    assert "no copy that can be read" in got.message


@pytest.mark.parametrize(
    ("winner", "waits"), [(A, True), (B, False)], ids=["for-the-source", "for-the-target"]
)
def test_a_guest_on_its_way_may_run_at_the_target_before_that_owns_the_mirror(
    winner: str, waits: bool
) -> None:
    scene = ordered(host=winner)
    migration = {"id": "m1", "source": A, "target": B}
    scene.authority = owned_by(A, mode="Migrating", migration=migration)
    got = decide(scene)
    said = got.message if isinstance(got, Refusal | Grant) else ""
    assert said.startswith("the guest is on its way and may run on") is waits
    scene.authority = owned_by(A, mode="Mirrored")
    got = decide(scene)
    said = got.message if isinstance(got, Refusal | Grant) else ""
    assert "on its way" not in said
