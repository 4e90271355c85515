"""What the statuses of all kinds come to say, and when nothing is written."""

import pytest

from tandem_api.meta import Model, condition
from tandem_api.vocabulary import GuestPhase
from tandem_controller.decide.status.site import host_status, site_status

from .scenes import A, B, Beat, Scene, assigned, only, owned_by, report
from .test_plan import is_true, mirror_status_of, settled


@pytest.mark.parametrize(
    ("change", "phase"),
    [
        (lambda s: None, GuestPhase.RUNNING),
        (lambda s: s.reports.clear(), GuestPhase.STARTING),
        (
            lambda s: s.reports.update({A: report(A, "Absent", reason="StartFailed")}),
            GuestPhase.FAILED,
        ),
        (lambda s: setattr(s.beats[A], "boot", "new"), GuestPhase.STARTING),
        (lambda s: s.silent(A, 4), GuestPhase.RUNNING),
        (lambda s: s.silent(A), GuestPhase.UNKNOWN),
        (
            lambda s: (s.lost(), s.replicas[B].update(marker={"reason": "LocalDiskFailed"})),
            GuestPhase.BLOCKED,
        ),
        (lambda s: s.lost(), GuestPhase.TAKING_OVER),
        (lambda s: s.sites.update(burjassot={"maintenance": True}), GuestPhase.MOVING),
        (lambda s: s.guest.update(running=False), GuestPhase.STOPPING),
        (lambda s: setattr(s, "assignment", None), GuestPhase.STARTING),
    ],
)
def test_phases(change: object, phase: GuestPhase) -> None:
    scene = Scene()
    assert callable(change)
    change(scene)
    if phase is GuestPhase.STARTING and scene.assignment is None:
        scene.reports = {}
    assert scene.status_after().phase == phase


def stopped() -> Scene:
    scene = Scene().unowned()
    scene.guest["running"] = False
    scene.assignment = assigned("", "NotRequested", serial=4)
    return scene


def test_a_guest_is_stopped_when_its_hosts_say_so() -> None:
    scene = stopped()
    assert scene.status_after().phase == GuestPhase.STOPPED
    scene.reports = {A: report(A, "ShuttingDown", 4)}
    assert scene.status_after().phase == GuestPhase.STOPPING
    scene.reports = {A: report(A, "Absent", 4)}
    assert scene.status_after().phase == GuestPhase.STOPPED


def test_who_has_not_stopped_it_is_named_with_what_they_say() -> None:
    scene = stopped()
    scene.reports = {
        A: report(A, "Running", 4, reason="EffectFailed", message="the disk is read-only"),
        B: report(B, "Absent", 4),
    }
    message = scene.status_after().message
    assert message == (
        f"It shall not run: spec.running is false. It has not stopped yet ({A}: the disk is"
        " read-only)"
    )
    scene.reports[A] = report(A, "ShuttingDown", 4)
    assert f"({A}: it is ShuttingDown there)" in scene.status_after().message
    scene.reports[A] = report(A, "Absent", 4)
    assert scene.status_after().message == "It shall not run: spec.running is false"


def test_a_stopped_guest_of_a_lost_owner_is_unknown() -> None:
    scene = stopped().silent(A)
    scene.authority = owned_by(A)
    scene.reports = {A: report(A, "Running", 3)}
    assert scene.status_after().phase == GuestPhase.UNKNOWN


def test_the_hosts_own_words_are_passed_on_while_it_does_not_get_on() -> None:
    scene = settled(Scene().lost())
    scene.reports[B] = report(B, "Absent", 4, reason="WaitingForLink", message="waiting 3.2 s more")
    status = scene.status_after()
    assert status.reason == "WaitingForLink"
    assert "tarongers-1: waiting 3.2 s more" in status.message


@pytest.mark.parametrize(
    ("change", "reason"),
    [
        (lambda s: None, None),
        (lambda s: s.unlinked(), "NotConnected"),
        (lambda s: s.silent(B), "HeartbeatLost|HostNotReady|NotConnected"),
        (lambda s: setattr(s.beats[A], "armed", False), "WatchdogNotArmed"),
        (lambda s: setattr(s.beats[B], "armed", False), "WatchdogNotArmed"),
        (lambda s: s.replicas[B].update(marker={"reason": "LocalDiskFailed"}), "MarkedStale"),
        (lambda s: s.guest.update(failover={"policy": "Manual"}), "FailoverManual"),
        (lambda s: s.authority.update(eligible=only(A)), "NotYetInSync"),
        (lambda s: s.sites.update(tarongers={"maintenance": True}), "Maintenance"),
        (lambda s: s.hosts[B].update(capacity={"memory": "512Mi", "cpus": 4}), "NoRoom"),
        (lambda s: s.hosts[B].update(capacity={"memory": "1Gi", "cpus": 4}), None),
    ],
)
def test_protected_means_that_the_other_could_take_it_over_now(
    change: object, reason: str | None
) -> None:
    scene = Scene()
    assert callable(change)
    change(scene)
    status = scene.status_after()
    found = condition(status.conditions, "Protected")
    assert found is not None
    assert found.status == status.protected == ("True" if reason is None else "False")
    if reason is not None:
        assert found.reason in reason.split("|")


def test_times_of_transition_stay_while_the_status_stays() -> None:
    scene = settled(Scene())
    scene.status["conditions"] = [
        {**c, "lastTransitionTime": "2020-01-01T00:00:00Z"} for c in scene.status["conditions"]
    ]
    scene.unlinked()
    conditions = scene.status_after().conditions
    running, protected = (condition(conditions, kind) for kind in ("Running", "Protected"))
    assert running is not None
    assert protected is not None
    assert running.last_transition_time == "2020-01-01T00:00:00Z"
    assert protected.last_transition_time == "2024-05-01T10:00:00Z"


def test_transitions_are_told() -> None:
    scene = settled(Scene()).unlinked()
    (write,) = [w for w in scene.plan().statuses if w.kind == "Guest"]
    assert [(n.warning, n.reason) for n in write.notices] == [(True, "NotConnected")]


@pytest.mark.parametrize(
    ("change", "phase", "column"),
    [
        (lambda s: None, "Redundant", "InSync"),
        (lambda s: s.unlinked(), "Degraded", "Disconnected"),
        (
            lambda s: (
                s.unlinked(),
                s.authority.update(mode="Standalone", eligible=only(A)),
            ),
            "Degraded",
            "Standalone",
        ),
        (
            lambda s: [
                r["volumes"]["root"].update(disk="Inconsistent", outOfSyncBytes=8 * 2**20)
                for r in s.replicas.values()
            ],
            "Resyncing",
            "Resync 50%",
        ),
        (lambda s: s.authority.update(mode="Hold"), "Hold", "InSync"),
        (lambda s: s.replicas[B].update(reason="SplitBrain"), "SplitBrain", "SplitBrain"),
        (
            lambda s: s.authority.update(
                eligible={h: {"eligible": False, "reason": "NotInitialised"} for h in (A, B)}
            ),
            "NotInitialised",
            "NotInitialised",
        ),
    ],
)
def test_mirrors(change: object, phase: str, column: str) -> None:
    scene = Scene()
    assert callable(change)
    change(scene)
    status = mirror_status_of(scene)
    assert status.phase == phase
    assert scene.status_after().mirror == column
    assert is_true(status.conditions, "Redundant") is (phase == "Redundant")


def test_what_a_dead_host_said_last_does_not_count() -> None:
    scene = Scene().silent(A)
    scene.unlinked(B)
    assert is_true(mirror_status_of(scene).conditions, "Connected") is False


def test_if_nobody_can_be_asked_nobody_can_tell() -> None:
    scene = Scene().silent(A).silent(B)
    conditions = mirror_status_of(scene).conditions
    assert is_true(conditions, "Connected") is None
    assert is_true(conditions, "InSync") is None


def test_what_was_accepted_is_noted_only_while_the_spec_is_valid() -> None:
    scene = Scene()
    assert mirror_status_of(scene).accepted is not None
    scene.mirror["port"] = 7790
    assert mirror_status_of(scene).accepted is None


def host_wire(scene: Scene, name: str) -> Model:
    world = scene.world()
    return host_status(world.hosts[name], world)


@pytest.mark.parametrize(
    ("change", "phase", "lease"),
    [
        (lambda s: None, "Ready", "Fresh"),
        (lambda s: s.silent(A, 4), "NotReady", "Late"),
        (lambda s: s.silent(A), "Lost", "Lost"),
        (lambda s: s.beats.pop(A), "Never", "Never"),
        (lambda s: s.sites.update(burjassot={"maintenance": True}), "Maintenance", "Fresh"),
        (lambda s: setattr(s.beats[A], "armed", False), "NotReady", "Fresh"),
    ],
)
def test_hosts(change: object, phase: str, lease: str) -> None:
    scene = Scene()
    assert callable(change)
    change(scene)
    status = host_wire(scene, A).wire()
    assert (status["phase"], status["lease"]) == (phase, lease)


def site_wire(scene: Scene, name: str) -> dict[str, object]:
    world = scene.world()
    return site_status(world.sites[name], world).wire()


@pytest.mark.parametrize(
    ("change", "phase", "hosts"),
    [
        (lambda s: None, "Ready", "1/1"),
        (lambda s: s.silent(A), "Lost", "0/1"),
        (lambda s: s.sites.update(burjassot={"maintenance": True}), "Maintenance", "0/1"),
        (lambda s: s.hosts.pop(A), "Empty", "0/0"),
        (lambda s: s.hosts.update({"burjassot-2": {}}), "Degraded", "1/2"),
    ],
)
def test_sites(change: object, phase: str, hosts: str) -> None:
    scene = Scene()
    assert callable(change)
    change(scene)
    status = site_wire(scene, "burjassot")
    assert (status["phase"], status["hosts"]) == (phase, hosts)


@pytest.mark.parametrize(("memory", "says"), [("1Gi", "all fit"), ("512Mi", "0.5 GiB too little")])
def test_what_would_not_fit_if_the_other_site_failed(memory: str, says: str) -> None:
    scene = Scene()
    scene.hosts[B] = {"capacity": {"memory": memory, "cpus": 4}}
    assert site_wire(scene, "tarongers")["ifPeerFails"] == says


def test_what_cannot_be_judged_yet_keeps_the_status_it_has() -> None:
    scene = Scene()
    scene.beats[A] = Beat(renewed=False)
    made = scene.plan()
    assert {(w.kind, w.key.name) for w in made.statuses} == {("Host", B), ("Site", "tarongers")}
