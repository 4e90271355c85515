"""Where a guest is put while its host can be asked: placement, moves, reboots, stops."""

import pytest

from tandem_api.kinds.guest import ProofKind
from tandem_api.reasons import Reason
from tandem_controller.decide.guests.situations import HANDLERS, Situation, situation
from tandem_controller.decide.world.model import Assign, Blocked, Case, Keep, WriteAssignment

from .scenes import (
    KEY,
    A,
    B,
    Beat,
    Scene,
    assigned,
    authority_of,
    guest,
    instance,
    mirror,
    moving,
    only,
    owned_by,
)


def case_of(scene: Scene) -> Case:
    world = scene.world()
    mirror = scene.parsed_mirror()
    return Case(scene.parsed_guest(), mirror, authority_of(scene), world)


def test_every_situation_has_its_handler() -> None:
    assert set(HANDLERS) == set(Situation)


@pytest.mark.parametrize(
    ("change", "expected"),
    [
        (lambda s: None, Situation.OWNER_HERE),
        (lambda s: s.unowned(), Situation.UNOWNED),
        (lambda s: s.silent(A), Situation.OWNER_SILENT),
        (lambda s: s.silent(A, 4), Situation.OWNER_SILENT),
        (lambda s: s.hosts.pop(A), Situation.OWNER_SILENT),
        (lambda s: setattr(s.beats[A], "boot", "new"), Situation.OWNER_REBOOTED),
        (lambda s: setattr(s.beats[A], "run", "new"), Situation.OWNER_HERE),
        (lambda s: s.authority.update(mode="Hold"), Situation.HELD),
        (
            lambda s: s.unowned(eligible=dict.fromkeys((A, B), NOT_YET)),
            Situation.UNINITIALISED,
        ),
    ],
)
def test_situations(change: object, expected: Situation) -> None:
    scene = Scene()
    assert callable(change)
    change(scene)
    assert situation(case_of(scene)) is expected


NOT_YET: dict[str, object] = {"eligible": False, "reason": "NotInitialised"}

# -- as it should be


def test_a_guest_that_runs_where_it_belongs_stays() -> None:
    decision = Scene().decide()
    assert decision == Keep(Reason.RUNNING, f"It belongs on {A}")


def test_a_restarted_actuator_changes_nothing() -> None:
    scene = Scene()
    scene.beats[A].run = "newer"
    assert isinstance(scene.decide(), Keep)


def test_on_hold_nothing_is_touched() -> None:
    scene = Scene()
    scene.authority = owned_by(A, mode="Hold")
    decision = scene.decide()
    assert isinstance(decision, Blocked)
    assert decision.reason is Reason.HOLD_MODE


# -- first placement


def first(**guest_spec: object) -> Scene:
    scene = Scene().unowned()
    scene.assignment = None
    scene.guest.update(guest_spec)
    return scene


def test_it_starts_at_the_site_it_prefers() -> None:
    decision = first(placement={"preferredSite": "tarongers"}).decide()
    assert isinstance(decision, Assign)
    assert (decision.host, decision.reason) == (B, Reason.INITIAL_PLACEMENT)
    assert decision.proof is not None
    assert (decision.proof.kind, decision.proof.at_epoch) == (ProofKind.UNOWNED, 7)


def test_without_a_preference_the_site_with_the_higher_priority_wins() -> None:
    scene = first(placement={})
    scene.sites["tarongers"] = {"priority": 5}
    decision = scene.decide()
    assert isinstance(decision, Assign)
    assert decision.host == B


def test_without_any_preference_the_emptier_host_wins() -> None:
    scene = first(placement={})
    scene.more = [guest("other", status={"assignment": assigned(A)})]
    decision = scene.decide()
    assert isinstance(decision, Assign)
    assert decision.host == B


@pytest.mark.parametrize(
    ("change", "says"),
    [
        (lambda s: s.authority.update(eligible=only(B)), "may lack acknowledged writes (LinkLost)"),
        (lambda s: s.sites.update(burjassot={"maintenance": True}), "is in maintenance"),
        (lambda s: setattr(s.beats[A], "armed", False), "requires a watchdog"),
        (lambda s: s.silent(A), "has sent no heartbeat"),
        (
            lambda s: s.replicas[A].update(marker={"reason": "LocalDiskFailed"}),
            "possibly stale (LocalDiskFailed)",
        ),
        (lambda s: s.replicas.pop(A), "has not reported on its replica yet"),
        (lambda s: s.hosts[A].update(capacity={"memory": "1Mi", "cpus": 9}), "has no room"),
    ],
)
def test_a_host_that_cannot_start_it_is_passed_over(change: object, says: str) -> None:
    scene = first()
    assert callable(change)
    change(scene)
    decision = scene.decide()
    assert isinstance(decision, Assign)
    assert decision.host == B
    scene.sites["tarongers"] = {"maintenance": True}
    decision = scene.decide()
    assert isinstance(decision, Blocked)
    assert says in decision.message
    assert "tarongers is in maintenance" in decision.message


def test_a_preferred_host_that_is_only_late_is_waited_for() -> None:
    scene = first()
    scene.silent(A, 4)
    decision = scene.decide()
    assert isinstance(decision, Keep)
    assert decision.reason is Reason.WAITING_FOR_LEASE


def test_a_host_that_has_not_been_watched_yet_is_waited_for() -> None:
    scene = first()
    scene.beats[A] = Beat(renewed=False)
    assert isinstance(scene.decide(), Keep)


def test_a_mirror_that_was_never_in_sync_is_waited_for() -> None:
    scene = first()
    scene.authority = owned_by("", eligible=dict.fromkeys((A, B), NOT_YET))
    scene.replicas[A]["message"] = "creating metadata"
    decision = scene.decide()
    assert isinstance(decision, Keep)
    assert decision.reason is Reason.MIRROR_NOT_READY
    assert f"{A}: creating metadata" in decision.message


def test_a_mirror_that_is_not_there_is_told() -> None:
    scene = first(mirror="nothing")
    decision = scene.decide()
    assert isinstance(decision, Blocked)
    assert "there is no mirror nothing in namespace ns" in decision.message


def test_a_chosen_host_keeps_it_while_it_may_still_start_it() -> None:
    scene = Scene().unowned()
    decision = scene.decide()
    assert isinstance(decision, Keep)


def test_a_chosen_host_that_dies_before_it_owns_the_mirror_is_replaced() -> None:
    scene = Scene().unowned().silent(A)
    decision = scene.decide()
    assert isinstance(decision, Assign)
    assert decision.host == B
    assert decision.proof is not None
    assert decision.proof.kind is ProofKind.UNOWNED


def test_a_chosen_host_that_finds_its_replica_stale_is_replaced() -> None:
    scene = Scene().unowned()
    scene.replicas[A]["marker"] = {"reason": "AttachedNotUpToDate"}
    decision = scene.decide()
    assert isinstance(decision, Assign)
    assert decision.host == B


def test_a_marked_replica_may_be_used_if_a_person_overrode_it() -> None:
    scene = first()
    override = {"by": "x", "atEpoch": 6, "acceptDataLoss": True, "host": A}
    scene.authority = owned_by("", eligible=only(A, "Overridden"), override=override)
    scene.replicas[A]["marker"] = {"reason": "LocalDiskFailed"}
    decision = scene.decide()
    assert isinstance(decision, Assign)
    assert decision.host == A


def new_guest() -> Scene:
    """Never placed; the mirror was just synced, and A, which it prefers, is not sure of it yet."""
    scene = Scene().unowned()
    scene.assignment = None
    scene.replicas[A]["marker"] = {"reason": "AttachedNotUpToDate"}
    return scene


def test_a_new_guest_waits_for_the_host_that_it_prefers_to_be_sure_of_its_replica() -> None:
    decision = new_guest().decide()
    assert isinstance(decision, Keep)
    assert decision.reason is Reason.MIRROR_NOT_READY
    assert f"waiting for {A}, which it prefers" in decision.message


@pytest.mark.parametrize(
    "change",
    [
        lambda s: s.silent(A),
        lambda s: s.sites.update(burjassot={"maintenance": True}),
        lambda s: s.replicas[A]["volumes"]["root"].update(disk="Inconsistent"),
        lambda s: s.authority.update(eligible=only(B)),
    ],
)
def test_a_new_guest_does_not_wait_for_a_host_that_cannot_take_it_soon(change: object) -> None:
    scene = new_guest()
    assert callable(change)
    change(scene)
    decision = scene.decide()
    assert isinstance(decision, Assign)
    assert decision.host == B


# -- the owner came back


def test_an_owner_that_came_back_before_it_was_replaced_keeps_it() -> None:
    scene = Scene()
    proof = {"kind": "LeaseLost", "host": A, "instance": instance(A), "atEpoch": 7}
    scene.assignment = assigned(B, "LeaseLost", proof=proof)
    decision = scene.decide()
    assert isinstance(decision, Assign)
    assert (decision.host, decision.reason) == (A, Reason.HEARTBEAT_FRESH)


# -- not wanted


@pytest.mark.parametrize(
    ("change", "reason"),
    [
        (lambda s: s.guest.update(running=False), Reason.NOT_REQUESTED),
        (lambda s: s.metadata.update(deletionTimestamp="2024-05-01T09:59:00Z"), Reason.DELETING),
    ],
)
def test_what_shall_not_run_is_assigned_nowhere(change: object, reason: Reason) -> None:
    scene = Scene()
    assert callable(change)
    change(scene)
    decision = scene.decide()
    assert isinstance(decision, Assign)
    assert (decision.host, decision.reason, decision.proof) == ("", reason, None)
    scene.assignment = assigned("", str(reason))
    assert isinstance(scene.decide(), Keep)


def test_it_is_stopped_even_where_its_host_cannot_be_asked() -> None:
    scene = Scene().lost()
    scene.guest["running"] = False
    decision = scene.decide()
    assert isinstance(decision, Assign)
    assert decision.host == ""


# -- bad specs


def bad(scene: Scene) -> Scene:
    scene.guest["placement"] = {"preferredSite": "nowhere"}
    return scene


def test_a_bad_spec_is_not_placed() -> None:
    decision = bad(first()).decide()
    assert isinstance(decision, Blocked)
    assert decision.reason is Reason.SPEC_INVALID
    assert "there is no site nowhere" in decision.message


def test_a_bad_edit_does_not_stop_or_move_a_guest() -> None:
    for scene in (Scene(), moving()):
        decision = bad(scene).decide()
        assert isinstance(decision, Keep)
    stopped = bad(Scene())
    stopped.guest["running"] = False
    assert isinstance(stopped.decide(), Keep)


def test_a_bad_edit_does_not_cost_a_guest_its_takeover() -> None:
    decision = bad(Scene().lost()).decide()
    assert isinstance(decision, Assign)
    assert decision.host == B


def test_replicas_that_no_longer_name_the_owner_are_refused() -> None:
    scene = Scene().lost()
    scene.authority = owned_by("c-1")
    decision = scene.decide()
    assert isinstance(decision, Blocked)
    assert f"c-1 owns mirror {KEY}" in decision.message


class TestAnotherMirrorWhileItRuns:
    """On servers that enforce no rules the edit comes in; the guest must not run twice for it."""

    def scene(self) -> Scene:
        other = mirror("other", status={"deviceNumbers": {"port": 7790, "minors": {"root": 1}}})
        edited = Scene(guest={"mirror": "other"}, more_mirrors=[other])
        edited.assignment = assigned(A, mirror="g")
        return edited

    def test_changes_nothing(self) -> None:
        decision = self.scene().decide()
        assert isinstance(decision, Keep)

    def test_does_not_cost_it_its_failover(self) -> None:
        decision = self.scene().lost().decide()
        assert isinstance(decision, Assign)
        assert (decision.host, decision.reason) == (B, Reason.LEASE_LOST)

    def test_the_next_assignment_names_the_mirror_that_it_is_on(self) -> None:
        writes = [w for w in self.scene().lost().plan().urgent if isinstance(w, WriteAssignment)]
        assert [write.assignment.mirror for write in writes] == ["g"]
