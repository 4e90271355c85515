"""Hosts that cannot start a guest: looked at before it goes there, and left if it did."""

from typing import Any

import pytest

from tandem_api.reasons import Reason
from tandem_api.vocabulary import GuestPhase
from tandem_controller.decide.plan import plan
from tandem_controller.decide.world.model import Assign, Blocked, Keep, WriteFinalizers

from .scenes import (
    BEFORE,
    WALL,
    A,
    B,
    Scene,
    assigned,
    instance,
    moving,
    only,
    owned_by,
    replica,
    report,
)

WHY = "libvirt: no bridge br-users"


def silent_libvirt(host: str, **more: Any) -> dict[str, Any]:
    return report(host, "Unknown", reason="UnknownState", **more)


def refuses(host: str, **more: Any) -> dict[str, Any]:
    """It was tried there and is not any more, or rests."""
    return report(host, "Absent", refusedStart=WHY, **more)


def resting() -> Scene:
    """Assigned to A, which owns the mirror and cannot start it."""
    scene = Scene()
    message = f"{A} cannot start it: {WHY}"
    scene.reports = {A: {**refuses(A), "reason": "StartRefused", "message": message}}
    return scene


@pytest.mark.parametrize(
    ("said", "says"),
    [(silent_libvirt(B), "libvirt does not answer"), (refuses(B), "could not start it")],
)
def test_nothing_is_moved_to_where_it_cannot_start(said: dict[str, Any], says: str) -> None:
    scene = moving()
    scene.reports[B] = said
    decision = scene.decide()
    assert isinstance(decision, Keep)
    assert says in decision.message


@pytest.mark.parametrize(
    ("found", "says"),
    [
        ({"problems": ["no bridge br-users"]}, "no bridge br-users"),
        ({"fingerprint": "of another"}, "has not tried yet"),
    ],
)
def test_nothing_is_moved_to_where_its_hardware_is_not(found: dict[str, Any], says: str) -> None:
    scene = moving()
    wanted = scene.parsed_guest().spec.domain.fingerprint
    scene.reports[B] = report(B, "Absent", hardware={"fingerprint": wanted})
    assert isinstance(scene.decide(), Assign)
    scene.reports[B] = report(B, "Absent", hardware={"fingerprint": wanted, **found})
    decision = scene.decide()
    assert isinstance(decision, Keep)
    assert says in decision.message


def test_what_a_host_said_before_it_booted_keeps_nothing_away() -> None:
    scene = moving()
    scene.reports[B] = {**refuses(B), "instance": instance(B, boot="older")}
    assert isinstance(scene.decide(), Assign)


def test_a_move_is_taken_back_if_libvirt_is_silent_there_but_not_for_an_old_refusal() -> None:
    scene = moving()
    scene.assignment = assigned(B, "Maintenance")
    scene.reports[B] = refuses(B)
    assert isinstance(scene.decide(), Keep)
    scene.reports[B] = silent_libvirt(B)
    decision = scene.decide()
    assert isinstance(decision, Assign)
    assert decision.host == A


class TestRefusedWhereItIs:
    def test_it_goes_to_the_other_side(self) -> None:
        decision = resting().decide()
        assert isinstance(decision, Assign)
        assert (decision.host, decision.reason, decision.proof) == (B, Reason.START_REFUSED, None)

    def test_also_into_maintenance(self) -> None:
        """It was moved out of there and could not run: being up comes first."""
        scene = resting()
        scene.sites["tarongers"] = {"maintenance": True}
        assert isinstance(scene.decide(), Assign)

    @pytest.mark.parametrize(
        ("change", "says"),
        [
            (lambda s: s.authority.update(mode="Standalone", eligible=only(A)), "Standalone"),
            (lambda s: s.silent(B, 4), "has sent no heartbeat"),
            (lambda s: s.reports.update({B: silent_libvirt(B)}), "libvirt does not answer"),
        ],
    )
    def test_unless_that_would_be_worse(self, change: object, says: str) -> None:
        scene = resting()
        assert callable(change)
        change(scene)
        decision = scene.decide()
        assert isinstance(decision, Keep)
        assert decision.reason is Reason.START_REFUSED
        assert WHY in decision.message
        assert says in decision.message

    def test_also_without_a_connection(self) -> None:
        """It has written nothing since both had every write."""
        scene = resting().unlinked(A).unlinked(B)
        assert isinstance(scene.decide(), Assign)

    def test_not_where_drbd_knows_that_they_differ(self) -> None:
        """As a verification finds it, while both count as current."""
        scene = resting()
        for host in (A, B):
            scene.replicas[host]["volumes"]["root"]["outOfSyncBytes"] = 4096
        decision = scene.decide()
        assert isinstance(decision, Keep)
        assert f"It does not go to {B}: DRBD knows that 4096 bytes differ" in decision.message

    def test_a_person_hears_what_else_there_is(self) -> None:
        scene = resting().unlinked(A).unlinked(B)
        scene.authority = owned_by(A, mode="Standalone", eligible=only(A))
        decision = scene.decide()
        assert isinstance(decision, Keep)
        assert (
            f"It does not go to {B}: it may lack acknowledged writes (Standalone at epoch 7,"
            f" protocol C). Mend that, or power {A} off to go on with what {B} has, which may lack"
            " what was written last"
        ) in decision.message

    def test_an_earlier_orders_refusal_moves_nothing(self) -> None:
        scene = resting()
        scene.assignment = assigned(A, serial=4)
        assert scene.decide() == Keep(Reason.RUNNING, f"It belongs on {A}")

    def test_people_see_it_failed_and_why(self) -> None:
        scene = resting().silent(B)
        (write,) = (w for w in plan(scene.snapshot()).statuses if w.kind == "Guest")
        assert write.patch["phase"] == GuestPhase.FAILED
        assert write.patch["reason"] == Reason.START_REFUSED


def test_a_rebooted_owner_is_not_replaced_by_one_that_cannot_start_it() -> None:
    scene = Scene()
    scene.beats[A].boot = "newer"
    scene.replicas[A] = {**replica(A), "instance": instance(A, boot="newer")}
    proof = {"kind": "LeaseLost", "host": A, "instance": instance(A), "atEpoch": 7}
    scene.assignment = assigned(B, "LeaseLost", proof=proof)
    scene.authority = owned_by(A)
    scene.reports = {B: silent_libvirt(B)}
    decision = scene.decide()
    assert isinstance(decision, Assign)
    assert decision.host == A


def test_a_rebooted_owner_and_the_other_one_that_cannot_are_both_named() -> None:
    scene = Scene()
    scene.beats[A].boot = "newer"
    scene.replicas[A] = {**replica(A), "marker": {"reason": "LocalDiskFailed"}}
    scene.replicas[A]["instance"] = instance(A, boot="newer")
    scene.reports = {B: refuses(B)}
    decision = scene.decide()
    assert isinstance(decision, Blocked)
    assert f"It does not go to {B}: {B} could not start it: {WHY}" in decision.message
    assert f"or power {B} off to go on with what {A} has" in decision.message


def test_a_rebooted_owner_that_arms_its_watchdog_is_not_replaced() -> None:
    scene = Scene()
    scene.beats[A].boot, scene.beats[A].armed = "newer", False
    scene.replicas[A]["instance"] = instance(A, boot="newer")
    taken = scene.decide()
    assert isinstance(taken, Assign)
    assert taken.host == B
    scene.runs_s[A] = 1.0
    assert scene.decide() == Keep(
        Reason.HOST_REBOOTED, f"{A} has rebooted: it is started there again"
    )


def test_an_owner_that_refuses_beside_a_copy_in_doubt() -> None:
    scene = resting()
    scene.replicas[B] = {**replica(B), "marker": {"reason": "AttachedNotUpToDate"}}
    decision = scene.decide()
    assert isinstance(decision, Keep)
    assert decision.message.startswith(f"{A} cannot start it: {WHY}. It does not go to {B}")
    assert f"or power {A} off to go on with what {B} has" in decision.message


def test_a_guest_that_stands_still_where_nobody_can_stop_it() -> None:
    scene = moving()
    scene.assignment = assigned(B, "LocalDiskFailed")
    scene.reports[A] = silent_libvirt(A)
    scene.replicas[A] = replica(A)
    decision = scene.decide()
    assert isinstance(decision, Blocked)
    assert not decision.may_run, "on a Secondary no guest runs"
    assert "does not release the mirror without libvirt's word" in decision.message
    assert f"look at libvirtd there, or power {A} off" in decision.message
    scene.assignment["since"] = WALL
    assert isinstance(scene.decide(), Keep)
    scene.assignment["since"] = BEFORE
    for suspended, stands in ((True, "stands still"), (False, "was left")):
        scene.replicas[A] = {**replica(A, role="Primary"), "suspended": suspended}
        decision = scene.decide()
        assert isinstance(decision, Blocked)
        assert decision.message.startswith(f"It {stands} on {A} and cannot be stopped, to be moved")
        assert f"look at libvirtd there, or power {A} off" in decision.message


def test_no_move_is_begun_where_nobody_can_stop_the_guest() -> None:
    scene = Scene()
    scene.sites["burjassot"] = {"maintenance": True}
    assert isinstance(scene.decide(), Assign)
    scene.reports[A], scene.assignment = silent_libvirt(A), assigned(A, since=WALL)
    decision = scene.decide()
    assert isinstance(decision, Keep)
    assert f"It does not move to {B}: libvirt does not answer on {A}" in decision.message


def test_a_deleted_guest_does_not_wait_for_a_replica_that_cannot_come_up() -> None:
    """Its host releases the mirror only once it has looked at that."""
    scene = Scene()
    scene.metadata["deletionTimestamp"] = WALL
    scene.assignment = {**assigned("", "Deleting"), "serial": 2}
    scene.reports = {host: report(host, "Absent", serial=2) for host in (A, B)}
    scene.replicas[A] = {**replica(A), "connection": "NotConfigured", "reason": "BringingUp"}
    assert not finalizers_written(scene)
    scene.replicas[A]["reason"] = "UnknownState"
    assert finalizers_written(scene)


def finalizers_written(scene: Scene) -> bool:
    return any(isinstance(write, WriteFinalizers) for write in plan(scene.snapshot()).urgent)


def test_a_taker_whose_libvirt_stays_silent() -> None:
    scene = Scene().lost()
    first = scene.decide()
    assert isinstance(first, Assign)
    assert first.proof is not None
    scene.assignment = {**assigned(B, "LeaseLost", proof=first.proof.wire()), "since": WALL}
    scene.reports[B] = silent_libvirt(B)
    assert isinstance(scene.decide(), Keep)
    scene.assignment["since"] = BEFORE
    decision = scene.decide()
    assert isinstance(decision, Blocked)
    assert f"{first.message}, but libvirt does not answer on {B}" in decision.message


def test_an_owner_whose_libvirt_is_silent_while_the_guest_may_run() -> None:
    scene = Scene()
    scene.reports = {A: silent_libvirt(A)}
    assert scene.decide() == Blocked(
        Reason.HOST_NOT_READY,
        f"It is not known whether it runs: libvirt does not answer on {A}: look at libvirtd there,"
        f" or power {A} off to have it started on {B}",
        may_run=True,
    )
    assert scene.status_after().phase == "Unknown"


def test_one_that_has_just_booted_is_not_silent() -> None:
    scene = Scene()
    scene.reports = {A: silent_libvirt(A)}
    scene.replicas[A] = {**replica(A), "connection": "NotConfigured", "role": "Unknown"}
    assert not isinstance(scene.decide(), Blocked)


def only_guarded() -> Scene:
    """What a reduced run of the owner's actuator says."""
    scene = Scene()
    words = f"tandem-actuator failed on {A} (KeyError at cluster.py:83)"
    scene.replicas[A] = {
        **replica(A),
        **{"connection": "Unknown", "role": "Unknown", "volumes": {}},
        **{"reason": "InternalError", "message": words},
    }
    return scene


def test_a_guest_that_is_only_guarded_is_not_said_to_run() -> None:
    """Its host tells nothing of it any more, not even that it was fenced."""
    scene = only_guarded()
    decision = scene.decide()
    assert decision == Blocked(
        Reason.INTERNAL_ERROR,
        f"It is not known whether it runs on {A}: {scene.replicas[A]['message']}",
        may_run=True,
    )
    scene.replicas[A] = {**replica(A, role="Primary"), "reason": "InternalError"}
    assert not isinstance(scene.decide(), Blocked), "one behind a wall is told of"


def test_why_a_host_that_only_guards_does_not_take_over() -> None:
    scene = only_guarded().silent(B)
    scene.authority = owned_by(B)
    scene.assignment = assigned(B)
    decision = scene.decide()
    assert isinstance(decision, Blocked)
    assert "replica is not up: tandem-actuator failed on" in decision.message


def test_an_owner_whose_libvirt_is_silent_while_the_guest_does_not_run() -> None:
    scene = Scene()
    scene.reports = {A: silent_libvirt(A)}
    scene.replicas[A] = replica(A)
    decision = scene.decide()
    assert decision == Blocked(
        Reason.HOST_NOT_READY,
        f"libvirt does not answer on {A}: look at libvirtd there, or power {A} off to have it"
        f" started on {B}",
    )
    scene.replicas[B] = {**replica(B), "marker": {"reason": "AttachedNotUpToDate"}}
    decision = scene.decide()
    assert isinstance(decision, Blocked)
    assert f"It does not go to {B}: {B}'s replica is marked" in decision.message
    scene.replicas[B] = replica(B)
    dead = scene.replicas[A]["volumes"]["root"]
    dead.update(disk="Diskless")
    decision = scene.decide()
    assert isinstance(decision, Blocked)
    assert f"power {A} off to have it started on {B}" in decision.message, "it lacks nothing"
    scene.authority = owned_by(A, mode="Standalone", eligible=only(A))
    decision = scene.decide()
    assert isinstance(decision, Blocked)
    assert f"or power {A} off to go on with what {B} has" in decision.message
    assert scene.assignment is not None
    scene.assignment["since"] = WALL
    assert not isinstance(scene.decide(), Blocked)


def test_an_owner_that_lost_its_device_and_brings_it_up_in_vain() -> None:
    scene = Scene()
    scene.reports = {A: report(A, "Absent", reason="EffectFailed", message="attach: I/O error")}
    down = {"connection": "NotConfigured", "role": "Unknown", "volumes": {}}
    failed = {"reason": "EffectFailed", "message": "attach: I/O error"}
    scene.replicas[A] = {**replica(A), **down, **failed}
    head = f"{A}'s replica is not up: attach: I/O error. Mend that"
    assert scene.decide() == Blocked(
        Reason.DISK_NOT_USABLE, f"{head}, or power {A} off to have it started on {B}"
    )
    scene.authority = owned_by(A, mode="Standalone", eligible=only(A))
    decision = scene.decide()
    assert isinstance(decision, Blocked)
    assert f"or power {A} off to go on with what {B} has" in decision.message
    scene.replicas[A]["reason"] = "BringingUp"
    assert not isinstance(scene.decide(), Blocked)


def test_an_owner_that_has_stopped_it_and_cannot_let_go() -> None:
    scene = moving()
    scene.assignment = assigned(B, "Maintenance")
    scene.reports[A] = report(A, "Absent")
    scene.replicas[A] |= {"reason": "EffectFailed", "message": "the durable record: read-only"}
    decision = scene.decide()
    assert decision == Blocked(
        Reason.EFFECT_FAILED,
        f"{A} has stopped it, and does not release the mirror: the durable record: read-only. Mend"
        f" that, or power {A} off",
    )
    scene.reports[A] = report(A)
    assert isinstance(scene.decide(), Keep), "it still runs there"
    scene.reports[A] = report(A, "Absent")
    scene.assignment["since"] = WALL
    assert isinstance(scene.decide(), Keep), "it was told only just now"
