"""What stands still although DRBD says that all is well is told, with what a person can do."""

from typing import Any

import pytest

from tandem_api.meta import Condition
from tandem_api.reasons import Reason
from tandem_controller.decide.status.mirror import mirror_status
from tandem_controller.decide.world.model import Refusal
from tandem_controller.decide.world.standstill import stalled_since, standstill

from .scenes import A, B, Scene, guest, report

SINCE, LATER = "2024-05-01T09:50:00Z", "2024-05-01T09:50:02Z"


def scene(host: str = A, volume: str = "root", **told: Any) -> Scene:
    made = Scene()
    made.replicas[host]["volumes"][volume].update(told)
    return made


def found(made: Scene) -> Refusal | None:
    world = made.world()
    return standstill(world.snapshot.mirrors[0], world)


def changed(made: Scene, changes: dict[str, Any]) -> Scene:
    part = made.replicas[A] if "connection" in changes else made.replicas[A]["volumes"]["root"]
    part.update(changes)
    return made


def responsive(made: Scene) -> Condition:
    world = made.world()
    conditions = mirror_status(world.snapshot.mirrors[0], world, None).conditions
    return next(condition for condition in conditions if condition.type == "Responsive")


HANGS = {"writesStalledSince": SINCE, "diskStalledSince": LATER}


class TestOwner:
    def test_its_disk_hangs_and_the_peer_has_all(self) -> None:
        told = found(scene(**HANGS))
        assert told is not None and told.reason is Reason.DISK_STALLED
        assert told.message.startswith("It stands still: ")
        assert f"the disk of {A} has not answered since {LATER} (root)" in told.message
        assert f"run on {A}: drbdadm detach --force ns.g/0." in told.message
        assert f"reboot {A} before" in told.message

    @pytest.mark.parametrize(("version", "helps"), [("8.4.11", True), ("9.2.19", False)])
    def test_on_nine_to_give_it_up_lets_no_later_write_end(
        self, version: str, *, helps: bool
    ) -> None:
        made = scene(**HANGS)
        made.hosts[A]["status"] = {"versions": {"drbd": version}}
        told = found(made)
        assert told is not None
        assert ("detach --force" in told.message) is helps
        assert ("to have its guest started on" in told.message) is not helps

    @pytest.mark.parametrize("changes", [{"connection": "Connecting"}, {"peerDisk": "Outdated"}])
    def test_what_it_wrote_alone_is_not_given_up_lightly(self, changes: dict[str, Any]) -> None:
        made = changed(scene(**HANGS), changes)
        assert made.authority is not None
        made.authority.update(mode="Standalone")
        told = found(made)
        assert told is not None and "detach" not in told.message
        assert f"See to that disk: {B} may lack what {A} wrote alone; if that" in told.message

    @pytest.mark.parametrize("changes", [{"connection": "Connecting"}, {"peerDisk": "Outdated"}])
    def test_who_wrote_nothing_alone_can_be_powered_off(self, changes: dict[str, Any]) -> None:
        told = found(changed(scene(**HANGS), changes))
        assert told is not None and "detach" not in told.message
        assert f"power {A} off to have its guest started on {B}" in told.message

    def test_the_other_host_cannot_take_it(self) -> None:
        made = scene(**HANGS).silent(B)
        told = found(made)
        assert told is not None and "off" not in told.message and "detach" not in told.message
        assert f"It cannot go on at {B}" in told.message

    @pytest.mark.parametrize("disk", ["Failed", "Diskless"])
    def test_it_was_given_up(self, disk: str) -> None:
        told = found(scene(disk=disk, diskStalledSince=SINCE))
        assert told is not None and "detach" not in told.message
        assert f"Reboot {A} before it is used again" in told.message

    def test_what_it_reads_is_never_asked_of_the_peer(self) -> None:
        told = found(scene(**HANGS, readsStalledSince=LATER))
        assert told is not None and "detach" not in told.message
        assert f"power {A} off to have its guest started on {B}" in told.message

    @pytest.mark.parametrize("waits", ["readsStalledSince", "writesStalledSince"])
    def test_that_stays_so_once_it_was_given_up(self, waits: str) -> None:
        told = found(scene(disk="Failed", diskStalledSince=SINCE, **{waits: SINCE}))
        assert told is not None and f"power {A} off" in told.message

    def test_what_else_ends_there_is_named(self) -> None:
        made = scene(**HANGS, readsStalledSince=LATER)
        made.more.append(guest("other", mirror="h", status={"hosts": {A: report(A)}}))
        told = found(made)
        assert told is not None and "off (which ends ns/other there, too)" in told.message

    def test_nobody_knows_why(self) -> None:
        told = found(scene(writesStalledSince=SINCE))
        assert told is not None and told.reason is Reason.DRBD_STALLED
        assert f"DRBD on {A} has answered none of what it asks since {SINCE}" in told.message
        assert f"kernel logs of {A} and {B}" in told.message


def test_the_standbys_disk_hangs() -> None:
    made = scene(B, diskStalledSince=SINCE)
    told = found(made)
    assert told is not None and told.reason is Reason.DISK_STALLED
    assert "detach" not in told.message and f"drain {B} and reboot it" in told.message
    assert "It stands still" not in told.message


def test_a_guest_that_waits_comes_first() -> None:
    made = scene(B, writesStalledSince=SINCE)
    made.replicas[A]["volumes"]["root"].update(diskStalledSince=SINCE)
    told = found(made)
    assert told is not None and told.reason is Reason.DRBD_STALLED


def test_what_a_lost_host_said_does_not_count() -> None:
    made = scene(**HANGS)
    made.lost()
    assert found(made) is None


def test_the_mirror_has_a_condition_and_says_it() -> None:
    assert responsive(Scene()).status == "True"
    condition = responsive(scene(**HANGS))
    assert (condition.status, condition.reason) == ("False", Reason.DISK_STALLED)
    world = scene(**HANGS).world()
    status = mirror_status(world.snapshot.mirrors[0], world, None)
    assert (status.reason, status.phase) == (Reason.DISK_STALLED, "Redundant")
    assert "detach --force" in status.message


def test_it_stands_beside_what_else_is_the_matter() -> None:
    made = scene(B, diskStalledSince=SINCE)
    made.replicas[A].update(connection="Connecting")
    made.replicas[B].update(connection="Connecting")
    world = made.world()
    message = mirror_status(world.snapshot.mirrors[0], world, None).message
    assert "the replicas are not connected" in message
    assert f"the disk of {B} has not answered" in message


def test_the_guest_says_it_and_still_counts_as_running() -> None:
    status = scene(**HANGS).status_after()
    assert (status.phase, status.reason) == ("Running", Reason.DISK_STALLED)
    assert "detach --force" in status.message


def test_a_guest_that_moves_says_it_besides() -> None:
    made = scene(disk="Failed", diskStalledSince=SINCE, readsStalledSince=SINCE)
    status = made.status_after()
    assert status.phase == "Running", "it is not moved: it could be neither sent nor ended"
    assert f"power {A} off" in status.message
    made.guest.update(running=False)
    status = made.status_after()
    assert status.phase == "Stopping"
    assert status.message.count("It stands still") == 1


def test_the_guest_does_not_speak_of_the_other_hosts_disk() -> None:
    status = scene(B, diskStalledSince=SINCE).status_after()
    assert (status.phase, status.reason) == ("Running", Reason.RUNNING)


def test_the_oldest_counts() -> None:
    world = scene(**HANGS).world()
    report = world.snapshot.mirrors[0].status.replicas[A]
    assert stalled_since(report) == SINCE


class TestWhilePaused:
    def paused(self, **told: Any) -> Scene:
        made = scene(**told)
        made.guest.update(paused=True)
        return made

    def test_what_helps_waits_for_the_pause(self) -> None:
        message = self.paused(**HANGS).status_after().message
        assert message.startswith("It stands still: ")
        assert message.endswith(
            "It is paused by Guest ns/g: to have it done set spec.paused to false there"
        )

    def test_what_was_ordered_meanwhile_is_said_too(self) -> None:
        made = self.paused(**HANGS)
        made.guest.update(running=False)
        status = made.status_after()
        assert (status.phase, status.reason) == ("Running", Reason.DISK_STALLED)
        assert "Would stop it (NotRequested: " in status.message
        assert status.message.count("It is paused by") == 1

    def test_one_that_runs_well_says_nothing_of_it(self) -> None:
        assert "paused" not in self.paused().status_after().message


class TestItsLink:
    """It lets no write through, and the owner cannot part from it."""

    def told(self, **changes: Any) -> Scene:
        said = {"reason": "LinkUnusable", "message": "no connection has let a write through"}
        made = Scene()
        made.replicas[A].update({"role": "Primary", **said, **changes})
        return made

    def test_the_guest_says_why_and_what_helps(self) -> None:
        status = self.told().status_after()
        assert (status.phase, status.reason) == ("Running", Reason.LINK_UNUSABLE)
        assert status.message == (
            f"It stands still: {A}: no connection has let a write through; mend the one or the"
            f" other, or power {A} off to have its guest started on {B}"
        )

    def test_not_of_one_that_has_parted(self) -> None:
        assert found(self.told(connection="StandAlone")) is None
        assert found(self.told(role="Secondary")) is None

    def test_what_the_owner_wrote_alone_is_not_given_up_lightly(self) -> None:
        made = self.told()
        assert made.authority is not None
        made.authority.update(mode="Standalone")
        why = found(made)
        assert why is not None
        assert why.message.endswith(f"what {B} has: it may lack what {A} wrote alone")

    def test_nobody_is_sent_where_it_could_not_go_on(self) -> None:
        made = self.told()
        made.hosts[B]["maintenance"] = True
        why = found(made)
        assert why is not None
        assert "power" not in why.message
        assert (
            f"mend the one or the other: it could not go on at {B}: {B} is not used" in why.message
        )

    def test_what_is_left_of_one_that_was_killed_says_it_once(self) -> None:
        made, said = self.told(), "no connection has let a write through"
        made.reports[A] = report(A, "ShuttingDown", reason="LinkUnusable", message=said)
        message = made.status_after().message
        assert message.count("no connection has let a write through") == 1
        assert f"It stands still: mend the one or the other, or power {A} off" in message


class TestWhatHoldsTheOther:
    """Its owner is to start it, and sees the device of another that its disk keeps from closing."""

    def told(self, **changes: Any) -> Scene:
        made = Scene()
        made.reports[A] = report(A, "Absent", reason="PeerStillPrimary", message="sees it")
        made.replicas[A].update({"role": "Secondary", "reason": "PeerStillPrimary", **changes})
        made.replicas[B].update({"role": "Primary"})
        made.replicas[B]["volumes"]["root"].update({"diskStalledSince": SINCE})
        return made

    def test_its_disk_is_told_with_what_helps(self) -> None:
        status = self.told().status_after()
        assert status.phase == "Starting"
        assert f"The disk of {B} has not answered since {SINCE} (root)" in status.message
        assert f"power {B} off to have its guest started on {A}" in status.message

    def test_not_if_that_is_not_what_it_waits_for(self) -> None:
        assert "has not answered" not in self.told(reason="Steady").status_after().message
