"""What is paused: it is said what would be done, and by what it is paused, and nothing is done."""

from dataclasses import replace
from typing import Any

import pytest

from tandem_api.kinds.tandem import Tandem
from tandem_api.meta import condition
from tandem_api.reasons import Reason
from tandem_api.vocabulary import GuestPhase
from tandem_controller.decide.mirrors.override import override
from tandem_controller.decide.plan import plan
from tandem_controller.decide.world.model import (
    Assign,
    Blocked,
    Keep,
    Refusal,
    SwapAuthority,
    WriteAssignment,
    WriteFinalizers,
)

from .scenes import BEFORE, WALL, A, B, Beat, Scene, assigned, moving, only, owned_by, report
from .test_override import ordered

GO_ON = "to have it done set spec.paused to false there"


def tandem(name: str = "default", **spec: Any) -> Tandem:
    return Tandem.parse({"metadata": {"name": name, "uid": "uid-t"}, "spec": spec})


def pauses_guest(scene: Scene) -> str:
    scene.guest["paused"] = True
    return "Guest ns/g"


def pauses_mirror(scene: Scene) -> str:
    scene.mirror["paused"] = True
    return "Mirror ns/g"


def pauses_owner(scene: Scene) -> str:
    scene.hosts[A]["paused"] = True
    return f"Host {A}"


def pauses_target(scene: Scene) -> str:
    scene.hosts[B]["paused"] = True
    return f"Host {B}"


def pauses_owners_site(scene: Scene) -> str:
    scene.sites["burjassot"]["paused"] = True
    return "Site burjassot"


def pauses_targets_site(scene: Scene) -> str:
    scene.sites["tarongers"]["paused"] = True
    return "Site tarongers"


def pauses_all(scene: Scene) -> str:
    scene.tandems = (tandem(paused=True),)
    return "Tandem default"


EACH = [
    pauses_guest,
    pauses_mirror,
    pauses_owner,
    pauses_target,
    pauses_owners_site,
    pauses_targets_site,
    pauses_all,
]
HERE = [each for each in EACH if each not in (pauses_target, pauses_targets_site)]


@pytest.mark.parametrize("pauses", EACH)
class TestHolds:
    def test_a_takeover(self, pauses: Any) -> None:
        scene = Scene().lost()
        assert isinstance(scene.decide(), Assign)
        by = pauses(scene)
        decision = scene.decide()
        assert isinstance(decision, Blocked)
        assert (decision.reason, decision.takeover) == (Reason.PAUSED, True)
        assert decision.message.startswith(f"Would assign it to {B} (LeaseLost: {B} takes over")
        assert decision.message.endswith(f"It is paused by {by}: {GO_ON}")
        assert not any(isinstance(write, WriteAssignment) for write in scene.plan().urgent)
        assert scene.status_after().phase == GuestPhase.BLOCKED

    def test_a_move_of_what_runs_and_goes_on_running(self, pauses: Any) -> None:
        scene = moving()
        by = pauses(scene)
        decision = scene.decide()
        assert isinstance(decision, Keep)
        assert decision.reason is Reason.PAUSED
        assert f"Would assign it to {B} (Maintenance: " in decision.message
        assert by in decision.message
        status = scene.status_after()
        assert (status.phase, status.reason) == (GuestPhase.RUNNING, Reason.PAUSED)

    def test_a_paused_guest_is_not_protected(self, pauses: Any) -> None:
        scene = Scene()
        by = pauses(scene)
        status = scene.status_after()
        protected = condition(status.conditions, "Protected")
        assert status.protected == "False"
        assert protected is not None
        assert protected.reason == Reason.PAUSED
        assert protected.message == f"it would not be taken over: it is paused by {by}"


@pytest.mark.parametrize("pauses", HERE)
class TestHoldsHere:
    """What concerns the host alone that it is on."""

    def test_a_stop(self, pauses: Any) -> None:
        scene = Scene(guest={"running": False})
        pauses(scene)
        decision = scene.decide()
        assert isinstance(decision, Keep)
        assert decision.message.startswith("Would stop it (NotRequested: ")

    def test_a_deletion(self, pauses: Any) -> None:
        scene = Scene()
        scene.metadata["deletionTimestamp"] = "2024-05-01T09:59:00Z"
        pauses(scene)
        assert scene.decide().message.startswith("Would stop it (Deleting: ")
        assert not any(isinstance(write, WriteFinalizers) for write in scene.plan().urgent)

    def test_another_start_of_what_has_ended(self, pauses: Any) -> None:
        scene = Scene(reports={A: report(A, "Absent")})
        assert isinstance(scene.decide(), Keep)
        by = pauses(scene)
        decision = scene.decide()
        assert isinstance(decision, Blocked)
        assert decision.message == f"Would start it on {A}. It is paused by {by}: {GO_ON}"
        assert not decision.takeover

    def test_another_start_after_a_reboot(self, pauses: Any) -> None:
        scene = Scene(reports={A: report(A, "Absent")}, assignment=None)
        scene.beats[A] = Beat(boot="next")
        pauses(scene)
        decision = scene.decide()
        assert isinstance(decision, Blocked)
        assert f"Would assign it to {A} (HostRebooted: " in decision.message

    def test_its_hosts_hear_of_it(self, pauses: Any) -> None:
        scene = Scene()
        by = pauses(scene)
        assert scene.status_after().paused_by == by


@pytest.mark.parametrize("pauses", [pauses_owner, pauses_owners_site])
def test_whose_mirror_a_paused_host_owns_is_not_stopped_on_its_way(pauses: Any) -> None:
    scene = Scene(assignment=assigned(B), guest={"running": False})
    assert isinstance(scene.decide(), Assign)
    pauses(scene)
    assert scene.decide().reason is Reason.PAUSED


@pytest.mark.parametrize("pauses", [pauses_target, pauses_targets_site])
def test_what_goes_on_elsewhere_is_no_business_of_a_paused_host(pauses: Any) -> None:
    scene = Scene(reports={A: report(A, "Absent")})
    pauses(scene)
    assert scene.decide() == Scene(reports={A: report(A, "Absent")}).decide()
    assert scene.status_after().paused_by == ""
    stopped = Scene(guest={"running": False})
    pauses(stopped)
    assert isinstance(stopped.decide(), Assign)


def test_nothing_is_placed_on_a_paused_host() -> None:
    scene = Scene(assignment=None).unowned()
    assert isinstance(scene.decide(), Assign)
    pauses_owner(scene)  # which it prefers
    decision = scene.decide()
    assert isinstance(decision, Blocked)
    assert f"Would assign it to {A} (InitialPlacement: " in decision.message


def test_several_are_named_each() -> None:
    scene = Scene().lost()
    for pauses in EACH:
        pauses(scene)
    named = f"Tandem default and Guest ns/g and Mirror ns/g and Host {A} and Host {B}"
    assert f"paused by {named} and Site burjassot and Site tarongers:" in scene.decide().message


def test_what_runs_and_stays_is_told_as_ever() -> None:
    scene = Scene()
    pauses_all(scene)
    assert scene.decide() == Scene().decide()


def test_one_of_another_name_is_not_asked_and_is_told_so() -> None:
    scene = Scene().lost()
    scene.tandems = (tandem("other", paused=True),)
    assert isinstance(scene.decide(), Assign)
    (told,) = [write for write in scene.plan().statuses if write.kind == "Tandem"]
    conditions: Any = told.patch["conditions"]
    (valid,) = [each for each in conditions if each["type"] == "SpecValid"]
    assert valid["message"] == "metadata.name: there is one Tandem, named default; use that name"


def test_of_what_is_not_paused_nobody_says_since_when() -> None:
    scene = Scene(status={"pausedBy": "Host x", "pausedSince": BEFORE})
    assert (scene.status_after().paused_by, scene.status_after().paused_since) == ("", "")


def test_a_switch_works_beside_an_edit_that_does_not_pass() -> None:
    scene = Scene().lost()
    scene.status["accepted"] = scene.parsed_guest().spec.wire()
    scene.guest |= {"placement": {"preferredSite": "nowhere"}, "paused": True}
    assert scene.decide().reason is Reason.PAUSED


class TestOverride:
    @pytest.mark.parametrize("pauses", EACH)
    def test_waits(self, pauses: Any) -> None:
        scene = ordered()
        by = pauses(scene)
        got = override(scene.parsed_mirror(), scene.world())
        assert isinstance(got, Refusal)
        assert got.reason is Reason.OVERRIDE_WAITING
        would = f"Would give it to {B} (spec.override)"
        assert got.message == f"{would}. It is paused by {by}: {GO_ON}"
        assert not any(isinstance(write, SwapAuthority) for write in scene.plan().urgent)

    def test_a_stale_one_is_told_as_stale(self) -> None:
        scene = ordered(epoch=6)
        pauses_all(scene)
        got = override(scene.parsed_mirror(), scene.world())
        assert isinstance(got, Refusal)
        assert got.reason is Reason.OVERRIDE_STALE


class TestCondition:
    def told(self, scene: Scene) -> tuple[str, str]:
        found = condition(scene.status_after().conditions, "Paused")
        assert found is not None
        return found.status, found.message

    def test_of_what_is_not(self) -> None:
        assert self.told(Scene()) == ("False", "")

    def test_it_is_in_force_once_the_host_says_that_it_knows(self) -> None:
        scene = Scene()
        by = pauses_all(scene)
        unheard = f"by {by}, but {A} has not said yet that it knows"
        assert self.told(scene) == ("Unknown", unheard)
        scene.reports = {A: report(A, pausedSince=WALL)}
        assert self.told(scene) == ("True", f"by {by}")

    def test_what_a_host_said_of_an_earlier_pause_is_no_word_about_this_one(self) -> None:
        """It may have heard since that it may go on, and be starting the guest."""
        scene = Scene(reports={A: report(A, pausedSince=BEFORE)})
        pauses_guest(scene)
        assert self.told(scene)[0] == "Unknown"

    def test_one_that_lasts_is_known_for_as_long(self) -> None:
        """Whoever else pauses it meanwhile."""
        scene = Scene(reports={A: report(A, pausedSince=BEFORE)})
        scene.status |= {"pausedBy": "Guest ns/g", "pausedSince": BEFORE}
        pauses_all(scene)
        assert self.told(scene)[0] == "True"
        assert scene.status_after().paused_since == BEFORE

    def test_who_owns_the_mirror_is_waited_for_too(self) -> None:
        scene = Scene(assignment=assigned(B), reports={B: report(B, "Absent", pausedSince=WALL)})
        pauses_guest(scene)
        assert self.told(scene)[0] == "Unknown"
        scene.reports[A] = report(A, pausedSince=WALL)
        assert self.told(scene)[0] == "True"

    def test_a_lost_host_is_not_waited_for(self) -> None:
        scene = Scene().lost()
        pauses_guest(scene)
        assert self.told(scene)[0] == "True"

    def test_nor_is_anybody_for_what_is_nowhere(self) -> None:
        scene = Scene(assignment=None).unowned()
        pauses_guest(scene)
        assert self.told(scene)[0] == "True"

    def test_people_hear_that_it_is_and_that_it_is_no_more(self) -> None:
        scene = Scene(reports={A: report(A, pausedSince=WALL)})
        by = pauses_guest(scene)
        (write,) = [each for each in scene.plan().statuses if each.kind == "Guest"]
        told = [(n.warning, n.message) for n in write.notices if n.reason == Reason.PAUSED]
        assert sorted(told) == [
            (True, f"by {by}"),
            (True, f"it would not be taken over: it is paused by {by}"),
        ]


def test_tandem_says_how_many_guests_are_paused() -> None:
    scene = Scene(status={"pausedBy": "Host x"})
    snapshot = replace(scene.snapshot(), tandems=(tandem(paused=True),))
    (told,) = [write for write in plan(snapshot).statuses if write.kind == "Tandem"]
    assert told.patch["guestsPaused"] == 1
    conditions: Any = told.patch["conditions"]
    assert [(each["type"], each["status"]) for each in conditions] == [
        ("Paused", "True"),
        ("SpecValid", "True"),
    ]


@pytest.mark.parametrize("pauses", EACH)
def test_who_does_what_a_refusal_says_hears_of_the_pause_too(pauses: Any) -> None:
    """An override would wait for its end."""
    scene = Scene().lost()
    scene.authority = owned_by(A, mode="Standalone", eligible=only(A))
    refused = scene.decide()
    assert isinstance(refused, Blocked)
    assert "spec.override" in refused.message
    by = pauses(scene)
    both = f"{refused.message}. It is paused by {by}: {GO_ON}"
    assert scene.decide() == replace(refused, message=both)
