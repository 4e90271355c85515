"""Planned moves: when a guest is moved, what it waits for, and when a move is taken back."""

import pytest

from tandem_api.kinds.guest import ProofKind
from tandem_api.reasons import Reason
from tandem_controller.decide.world.model import Assign, Blocked, Keep

from .scenes import A, B, Scene, assigned, instance, moving, only, owned_by, replica, report


def test_maintenance_moves_a_guest_whose_mirror_is_redundant() -> None:
    decision = moving().decide()
    assert isinstance(decision, Assign)
    assert (decision.host, decision.reason, decision.proof) == (B, Reason.MAINTENANCE, None)
    assert decision.message == f"It moves from {A} to {B}: site burjassot is in maintenance"


@pytest.mark.parametrize(
    ("change", "says"),
    [
        (lambda s: s.unlinked(A), "not connected"),
        (lambda s: s.replicas[B]["volumes"]["root"].update(disk="Inconsistent"), "Inconsistent"),
        (lambda s: s.authority.update(mode="Standalone", eligible=only(A)), "Standalone"),
        (lambda s: s.silent(B, 4), "has sent no heartbeat"),
        (lambda s: s.replicas[B].update(marker={"reason": "LocalDiskFailed"}), "possibly stale"),
        (lambda s: s.hosts[B].update(capacity={"memory": "1Mi", "cpus": 1}), "has no room"),
        (lambda s: s.sites.update(tarongers={"maintenance": True}), "tarongers is in maintenance"),
        (lambda s: s.mirror.update(port=7790), "spec.port"),
    ],
)
def test_a_move_waits_for_what_would_make_it_a_risk(change: object, says: str) -> None:
    scene = moving()
    assert callable(change)
    change(scene)
    decision = scene.decide()
    assert isinstance(decision, Keep)
    assert decision.reason is Reason.MAINTENANCE
    assert says in decision.message
    assert f"It stays on {A} although site burjassot is in maintenance" in decision.message


def under_way() -> Scene:
    """Assigned to B as planned; A has not released yet."""
    scene = moving()
    scene.assignment = assigned(B, "Maintenance")
    return scene


def test_a_move_under_way_goes_on() -> None:
    decision = under_way().decide()
    assert decision == Keep(Reason.MAINTENANCE, "It is there")


def test_a_controller_that_has_not_watched_for_long_takes_nothing_back() -> None:
    """After the API was away, or as another begins to lead, it has heard of nobody yet."""
    scene = under_way()
    scene.beats[B].renewed = False
    assert scene.decide() == Keep(Reason.MAINTENANCE, "It is there")
    scene.replicas[B].update(marker={"reason": "LocalDiskFailed"})
    assert isinstance(scene.decide(), Assign)


@pytest.mark.parametrize(
    "change",
    [
        lambda s: s.silent(B),
        lambda s: s.authority.update(mode="Standalone", eligible=only(A)),
        lambda s: s.replicas[B].update(marker={"reason": "LocalDiskFailed"}),
    ],
)
def test_a_move_under_way_is_taken_back_if_the_target_fails(change: object) -> None:
    scene = under_way()
    assert callable(change)
    change(scene)
    decision = scene.decide()
    assert isinstance(decision, Assign)
    assert decision.host == A
    assert decision.proof is not None
    assert decision.proof.kind is ProofKind.SAME_HOST


def test_once_released_the_target_keeps_it() -> None:
    scene = under_way().unowned()
    scene.assignment = assigned(B, "Maintenance")
    assert isinstance(scene.decide(), Keep)


def test_once_released_and_the_target_dead_it_goes_back() -> None:
    scene = Scene().unowned().silent(B)
    scene.assignment = assigned(B, "Failback")
    decision = scene.decide()
    assert isinstance(decision, Assign)
    assert decision.host == A


def without_disk(policy: str = "Automatic") -> Scene:
    """The owner's own disk has failed; it works with the other side's over the link."""
    scene = Scene()
    scene.guest["failover"] = {"policy": policy}
    scene.replicas[A]["volumes"]["root"].update(disk="Diskless")
    scene.replicas[A]["marker"] = {"reason": "LocalDiskFailed"}
    scene.replicas[B]["volumes"]["root"].update(peerDisk="Diskless")
    return scene


def test_a_guest_moves_off_a_failed_disk_to_where_all_its_data_is() -> None:
    decision = without_disk().decide()
    assert isinstance(decision, Assign)
    assert (decision.host, decision.reason, decision.proof) == (B, Reason.LOCAL_DISK_FAILED, None)
    assert decision.message == f"It moves from {A} to {B}: the disk of {A} has failed (root)"


@pytest.mark.parametrize(
    ("change", "says"),
    [
        (lambda s: s.unlinked(B), "not connected"),
        (lambda s: s.replicas[B]["volumes"]["root"].update(disk="Inconsistent"), "Inconsistent"),
        (lambda s: s.replicas[B]["volumes"].clear(), "root is not there"),
        (
            lambda s: s.authority.update(mode="Standalone", eligible=only(A)),
            "may lack acknowledged",
        ),
        (lambda s: s.silent(B, 4), "has sent no heartbeat"),
        (lambda s: s.replicas[B].update(marker={"reason": "LocalDiskFailed"}), "possibly stale"),
    ],
)
def test_it_stays_on_a_failed_disk_if_the_other_side_may_lack_something(
    change: object, says: str
) -> None:
    scene = without_disk()
    assert callable(change)
    change(scene)
    decision = scene.decide()
    assert isinstance(decision, Keep)
    assert decision.reason is Reason.LOCAL_DISK_FAILED
    assert says in decision.message


def test_with_failover_manual_a_failed_disk_is_told_and_nothing_moves() -> None:
    decision = without_disk("Manual").decide()
    assert isinstance(decision, Keep)
    assert "set spec.failover.policy to Automatic" in decision.message


def test_a_standby_that_is_not_in_use_has_no_failed_disk_to_flee_from() -> None:
    scene = without_disk()
    scene.replicas[A]["role"] = "Secondary"
    assert scene.decide() == Keep(Reason.RUNNING, f"It belongs on {A}")


def at_b(policy: str, since: str | None) -> Scene:
    """It runs on B and prefers A's site; the mirror is redundant since then."""
    scene = Scene()
    scene.authority = owned_by(B)
    scene.assignment = assigned(B, "LeaseLost")
    scene.replicas = {A: replica(A), B: replica(B, role="Primary")}
    scene.reports = {B: report(B)}
    scene.guest["failback"] = {"policy": policy, "afterSeconds": 600}
    if since is not None:
        scene.mirror_conditions = [
            {"type": "Redundant", "status": "True", "reason": "InSync", "lastTransitionTime": since}
        ]
    return scene


def test_failback_happens_after_the_mirror_was_redundant_for_long_enough() -> None:
    decision = at_b("Automatic", "2024-05-01T09:50:00Z").decide()
    assert isinstance(decision, Assign)
    assert (decision.host, decision.reason, decision.proof) == (A, Reason.FAILBACK, None)


def test_failback_waits() -> None:
    decision = at_b("Automatic", "2024-05-01T09:50:01Z").decide()
    assert isinstance(decision, Keep)
    assert decision.reason is Reason.FAILBACK


def test_failback_waits_for_a_redundant_mirror() -> None:
    """And whoever wants it there hears what it waits for."""
    scene = at_b("Automatic", None)
    why = f"It stays on {B} although it prefers site burjassot: "
    new = "its mirror has only just become redundant"
    assert scene.decide() == Keep(Reason.FAILBACK, f"{why}{new}")
    scene.replicas[A] = replica(A, connected=False)
    scene.replicas[B] = replica(B, role="Primary", connected=False)
    decision = scene.decide()
    assert isinstance(decision, Keep)
    assert decision.message == f"{why}the replicas are not connected"


def test_manual_failback_says_so() -> None:
    decision = at_b("Manual", "2024-05-01T09:00:00Z").decide()
    assert isinstance(decision, Keep)
    assert decision.reason is Reason.FAILBACK_MANUAL


def test_no_failback_into_maintenance() -> None:
    scene = at_b("Automatic", "2024-05-01T09:00:00Z")
    scene.sites["burjassot"] = {"maintenance": True}
    assert isinstance(scene.decide(), Keep)


def test_without_protocol_c_its_host_would_not_let_go_of_the_mirror() -> None:
    scene = without_disk()
    scene.mirror["protocol"] = "A"
    decision = scene.decide()
    assert isinstance(decision, Keep)
    assert decision.reason is Reason.LOCAL_DISK_FAILED
    assert f"{A} lets go of the mirror only while both replicas are in sync" in decision.message


def test_a_move_is_taken_back_if_the_disk_fails_meanwhile_without_protocol_c() -> None:
    scene = without_disk()
    scene.assignment = assigned(B, Reason.MAINTENANCE)
    assert isinstance(scene.decide(), Keep)
    scene.mirror["protocol"] = "A"
    decision = scene.decide()
    assert isinstance(decision, Assign)
    assert decision.host == A
    assert "is taken back: with protocol A" in decision.message


# -- neither its disk nor the link


def without_data() -> Scene:
    """The owner stands still: its disk has failed, and then the link was lost."""
    scene = without_disk().unlinked(B)
    scene.replicas[A].update(connection="Connecting", reason="DataUnreachable", suspended=True)
    return scene


def test_a_guest_that_stands_still_moves_to_where_every_write_is() -> None:
    decision = without_data().decide()
    assert isinstance(decision, Assign)
    assert (decision.host, decision.reason, decision.proof) == (B, Reason.LOCAL_DISK_FAILED, None)


@pytest.mark.parametrize(
    ("change", "says"),
    [
        (lambda s: s.authority.update(mode="Standalone", eligible=only(A)), "spec.override: {host"),
        (lambda s: s.authority.update(eligible=only(A)), "may lack acknowledged"),
        (lambda s: s.mirror.update(protocol="A"), "protocol A"),
        (lambda s: s.silent(B, 4), "has sent no heartbeat"),
        (lambda s: s.replicas[B]["volumes"]["root"].update(disk="Inconsistent"), "Inconsistent"),
        (lambda s: s.replicas[B].update(marker={"reason": "LocalDiskFailed"}), "possibly stale"),
        (lambda s: s.guest.update(failover={"policy": "Manual"}), "failover is Manual"),
    ],
)
def test_or_people_hear_why_not_and_what_they_can_do(change: object, says: str) -> None:
    scene = without_data()
    assert callable(change)
    change(scene)
    decision = scene.decide()
    assert isinstance(decision, Blocked)
    assert decision.reason is Reason.DATA_UNREACHABLE
    assert says in decision.message
    assert "Bring one of them back" in decision.message


def test_a_marked_copy_beside_a_guest_that_stands_still_can_be_chosen() -> None:
    scene = without_data()
    scene.replicas[B].update(marker={"reason": "LocalDiskFailed"})
    decision = scene.decide()
    assert isinstance(decision, Blocked)
    assert (
        f"To go on with what {B} has all the same, set on the mirror: spec.override: {{host: {B}"
        in (decision.message)
    )
    assert "which lacks" not in decision.message
    scene.authority = owned_by(A, mode="Standalone", eligible=only(A))
    decision = scene.decide()
    assert isinstance(decision, Blocked)
    assert f"{B} has all the same, which lacks what {A} wrote alone, set" in decision.message
    scene.replicas[B]["volumes"]["root"]["disk"] = "Diskless"
    decision = scene.decide()
    assert isinstance(decision, Blocked)
    assert "spec.override" not in decision.message


@pytest.mark.parametrize("tries", ["Rejoining", "Connecting"])
def test_another_try_to_connect_is_no_news(tries: str) -> None:
    scene = without_data()
    scene.replicas[B].update(marker={"reason": "LocalDiskFailed"})
    told = scene.decide()
    scene.replicas[A].update(reason=tries, connection="StandAlone")
    assert not isinstance(scene.decide(), Blocked)
    scene.status = {"reason": "DataUnreachable"}
    assert scene.decide() == told
    scene.replicas[A]["suspended"] = False
    assert scene.decide() == told, "a connection that brought no data has ended the suspension"
    scene.replicas[A]["connection"] = "Connected"
    assert not isinstance(scene.decide(), Blocked)
    scene.replicas[A]["connection"] = "StandAlone"
    scene.replicas[A]["volumes"]["root"]["disk"] = "UpToDate"
    assert not isinstance(scene.decide(), Blocked)


def overridden() -> Scene:
    """The owner wrote alone before its disk failed; a person gives up what only it has."""
    scene = without_data()
    scene.authority = owned_by(A, mode="Standalone", eligible=only(A))
    order = {"host": B, "epoch": 7, "acceptDataLoss": True, "by": "maria"}
    scene.mirror["override"] = order
    return scene


def test_a_persons_order_is_carried_out_as_the_message_says() -> None:
    """The guest stands still, so nobody has to stop it first: it is told to go there at once."""
    scene = overridden()
    decision = scene.decide()
    assert isinstance(decision, Assign)
    assert decision.host == B
    scene.assignment = assigned(B, decision.reason)
    scene.replicas[A].update(reason="Steady", role="Secondary")
    assert isinstance(scene.decide(), Keep)


def test_nor_is_it_taken_back_by_who_has_not_watched_for_long() -> None:
    scene = overridden()
    scene.assignment = assigned(B, "LocalDiskFailed")
    scene.replicas[A].update(reason="Steady", role="Secondary")
    scene.silent(B, 4)
    assert isinstance(scene.decide(), Assign)
    scene.beats[B].renewed = False
    assert isinstance(scene.decide(), Keep)


@pytest.mark.parametrize(
    "change",
    [
        lambda s: s.mirror["override"].update(epoch=6),
        lambda s: s.mirror["override"].update(host=A),
        lambda s: s.replicas[A]["volumes"]["root"].update(disk="UpToDate"),
    ],
    ids=["another epoch", "another host", "its copy is there"],
)
def test_no_other_order_stops_it(change: object) -> None:
    scene = overridden()
    assert callable(change)
    change(scene)
    decision = scene.decide()
    assert not (isinstance(decision, Assign) and decision.host == B)


def test_what_it_said_before_it_booted_moves_nothing() -> None:
    scene = without_data()
    scene.replicas[A]["instance"] = instance(A, boot="older")
    assert not isinstance(scene.decide(), Blocked)
    assert not (isinstance(decision := scene.decide(), Assign) and decision.host == B)
