"""A plan that remembers comes to what one comes to that judges everything."""

from dataclasses import replace
from typing import Any

import pytest

from tandem_api.kinds.guest import Guest
from tandem_api.meta import ObjectKey
from tandem_controller.decide.memory import Memory
from tandem_controller.decide.plan import plan, plan_again
from tandem_controller.decide.world.leases import LeaseTracker
from tandem_controller.decide.world.model import Blocked, Plan, Snapshot, WriteAssignment
from tandem_lab.scale import cluster
from tandem_lab.scale.cluster import Size

from .happenings import happen
from .scenes import KEY, A, B, Scene, assigned, guest, owned_by, replica, report
from .test_walls import spoilt
from .worlds import begun

MARKED = {"reason": "AttachedNotUpToDate", "since": "2024-05-01T09:00:00Z"}
SAME_MAC = {
    "memory": "1Gi",
    "disks": [{"volume": "root"}],
    "networks": [{"bridge": "br", "mac": "52:54:00:00:00:01"}],
}
SEEDS = 60
STEPS = 40


@pytest.mark.parametrize("seed", range(SEEDS))
def test_whatever_happens_between_two_plans(seed: int) -> None:
    """Of any history the plan is that of its last moment, to the last word."""
    made, memory, told = begun(seed), Memory(), [f"seed {seed}"]
    for _ in range(STEPS):
        told += [happen(made) for _ in range(made.chance.randrange(3))]
        snapshot = made.snapshot()
        again, memory = plan_again(snapshot, memory)
        assert again == plan(snapshot), told
        made.carry_out(again)


def later(snapshot: Snapshot) -> Snapshot:
    """A second later every host has sent another heartbeat."""
    counts = {
        host: replace(
            count,
            since_s=count.since_s + 1.0,
            seen_at="later",
            heartbeat=count.heartbeat.model_copy(update={"version": "2", "renewed_at": "later"}),
        )
        for host, count in snapshot.leases.counts.items()
    }
    read_s = (snapshot.leases.read_s or 0.0) + 1.0
    leases = LeaseTracker(counts, read_s)
    return replace(snapshot, now_s=snapshot.now_s + 1.0, wall="2031-01-01T00:00:00Z", leases=leases)


def edited(snapshot: Snapshot, name: str) -> Snapshot:
    """Somebody has paused that guest."""

    def paused(guest: Guest) -> Guest:
        spec = guest.spec.model_copy(update={"paused": True})
        return guest.model_copy(update={"spec": spec})

    guests = (paused(g) if g.metadata.name == name else g for g in snapshot.guests)
    return replace(snapshot, guests=tuple(guests))


def judged_anew(before: Plan, after: Plan) -> set[str]:
    """The guests of which the decision is not the one that there was."""
    known = before.decisions
    return {key.name for key, each in after.decisions.items() if each is not known.get(key)}


class TestWhatIsSpared:
    def test_nothing_is_judged_anew_because_hosts_send_heartbeats_and_time_passes(self) -> None:
        now = cluster.snapshot(cluster.settled(Size(8, 4)))
        first, memory = plan_again(now, Memory())
        again, _ = plan_again(later(now), memory)
        assert judged_anew(first, again) == set()
        assert (again.urgent, again.statuses) == ((), ())

    def test_of_one_changed_guest_only_that_one_is(self) -> None:
        now = cluster.snapshot(cluster.settled(Size(8, 4)))
        first, memory = plan_again(now, Memory())
        again, _ = plan_again(later(edited(now, "g3")), memory)
        assert judged_anew(first, again) == {"g3"}
        assert [write.key.name for write in again.statuses] == ["g3"]

    def test_of_a_host_that_falls_silent_all_whose_mirrors_it_has_are(self) -> None:
        now = cluster.snapshot(cluster.settled(Size(8, 4)))
        first, memory = plan_again(now, Memory())
        silent = dict(later(now).leases.counts)
        silent["burjassot-0"] = now.leases.counts["burjassot-0"]
        after = later(now)
        late = replace(
            after, now_s=after.now_s + 4.0, leases=LeaseTracker(silent, after.now_s + 4.0)
        )
        again, _ = plan_again(late, memory)
        assert again == plan(late)
        there = {
            guest.metadata.name
            for guest in now.guests
            for mirror in now.mirrors
            if mirror.key == guest.key and mirror.replica_on("burjassot-0")
        }
        assert judged_anew(first, again) >= there


class TestWhatWaitsForATime:
    """Nothing changes but the time, and it comes."""

    def waiting(self) -> Scene:
        scene = Scene(
            assignment=assigned(B),
            authority=owned_by(B),
            replicas={A: replica(A), B: replica(B, role="Primary")},
            reports={B: report(B)},
        )
        scene.guest["failback"] = {"policy": "Automatic", "afterSeconds": 600}
        since = {"type": "Redundant", "status": "True", "reason": "InSync"}
        scene.mirror_conditions = [{**since, "lastTransitionTime": "2024-05-01T10:00:00Z"}]
        return scene

    def test_a_failback_is_decided_once_its_time_has_come(self) -> None:
        early = replace(self.waiting().snapshot(), wall="2024-05-01T10:05:00Z")
        due = replace(early, wall="2024-05-01T10:15:00Z")
        first, memory = plan_again(early, Memory())
        key = ObjectKey(namespace="ns", name="g")
        assert first.decisions[key] == plan(early).decisions[key]
        again, _ = plan_again(due, memory)
        assert again == plan(due)
        assert again.decisions[key] != first.decisions[key]


def test_a_host_that_others_have_filled_has_no_room() -> None:
    """What one guest is given counts for those after it, whether they are judged anew or not."""
    scene = Scene().unowned()
    scene.assignment = None
    scene.hosts[A] = scene.hosts[B] = {"capacity": {"cpus": 8, "memory": "1Gi"}}
    second = replace_name(scene.parsed_guest(), "h"), replace_name(scene.parsed_mirror(), "h")
    scene.more, scene.more_mirrors = [second[0]], [second[1]]
    snapshot = scene.snapshot()
    first, memory = plan_again(snapshot, Memory())
    assigned_to = [w.assignment.host for w in first.urgent if isinstance(w, WriteAssignment)]
    assert sorted(assigned_to) == [A, B]
    third = replace_name(scene.parsed_guest(), "a"), replace_name(scene.parsed_mirror(), "a")
    more = replace(
        snapshot,
        guests=(*snapshot.guests, third[0]),
        mirrors=(*snapshot.mirrors, third[1]),
    )
    again, _ = plan_again(more, memory)
    assert again == plan(more)
    assert isinstance(again.decisions[ObjectKey("ns", "h")], Blocked)


def replace_name(obj: Any, name: str) -> Any:
    """The same of another name, on a mirror of its own."""
    raw = obj.wire()
    raw["metadata"] |= {"name": name, "uid": f"uid-{name}"}
    if "mirror" in raw["spec"]:
        raw["spec"]["mirror"] = name
        raw["spec"]["priority"] = {"a": 300, "g": 200, "h": 100}[name]
    else:
        raw["status"]["authority"]["incarnation"] = f"uid-{name}"
        for each in raw["spec"]["replicas"]:
            each["devices"] = {"root": f"/dev/vg0/{name}"}
    return type(obj).parse(raw)


def test_a_proof_names_the_newest_heartbeat() -> None:
    """Of a host that has rebooted, and sends another one each second."""
    scene = Scene()
    scene.beats[A].boot = "another"
    scene.replicas[A] = replica(A, instance=f"{A}/another/run", marker=MARKED)
    now = scene.snapshot()
    first, memory = plan_again(now, Memory())
    counts = {
        host: replace(count, heartbeat=count.heartbeat.model_copy(update={"version": "2"}))
        for host, count in now.leases.counts.items()
    }
    newer = replace(now, leases=LeaseTracker(counts, now.leases.read_s))
    again, _ = plan_again(newer, memory)
    assert again == plan(newer)
    versions = [
        write.assignment.proof.lease_version
        for made in (first, again)
        for write in made.urgent
        if isinstance(write, WriteAssignment) and write.assignment.proof is not None
    ]
    assert versions == ["77", "2"]


def test_objects_that_change_their_places_keep_what_they_claim() -> None:
    """A list may give them in another order."""
    one, other = (guest(name, domain=SAME_MAC) for name in ("g", "h"))
    snapshot = replace(Scene().snapshot(), guests=(one, other))
    _, memory = plan_again(snapshot, Memory())
    turned = replace(snapshot, guests=(other, one))
    again, _ = plan_again(turned, memory)
    assert again == plan(turned)


def test_what_is_behind_a_wall_is_judged_anew() -> None:
    """The bug is told as long as it is met."""
    snapshot = Scene().snapshot()
    broken = spoilt(snapshot, "Guest", KEY, "tandem_controller.decide.guests.situations")
    first, memory = plan_again(broken, Memory())
    again, _ = plan_again(broken, memory)
    assert [bug.key for bug in first.bugs] == [KEY]
    assert again == plan(broken)
