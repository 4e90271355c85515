"""How a guest that shall not run here is stopped, also where it cannot be asked."""

from dataclasses import replace

import pytest

from tandem_actuator.core import effects as fx
from tandem_actuator.core.drbd import DrbdState, NotConfigured
from tandem_actuator.core.guest import stopping
from tandem_actuator.core.guest.rules import DATA_AWAY_AFTER_S
from tandem_actuator.core.mirror.rules import LIBVIRT_COMES_S
from tandem_actuator.core.model import FenceProgress, View
from tandem_actuator.core.order import Decision, Start, Stay, Task, decide
from tandem_actuator.core.report import guest_report
from tandem_api.authority import Authority
from tandem_api.kinds.mirror import Marker
from tandem_api.reasons import Reason
from tandem_api.vocabulary import Connection, DiskState, DomainState, Role
from unit.builders import (
    HERE,
    A,
    B,
    assignment,
    authority,
    drbd,
    frozen,
    guest,
    lost,
    mirror,
    record,
    standalone,
    view,
)

from .outside import Outside, play

NOW = 1000.0
LONG_AGO = NOW - DATA_AWAY_AFTER_S
WITHOUT_DATA = replace(frozen(), volumes=drbd(disk=DiskState.DISKLESS).volumes)
MARKED = record(owned_epoch=5, marker=Marker(reason=Reason.LOCAL_DISK_FAILED))
HELD_BY_THE_KERNEL = fx.Failed("killed, and the kernel holds it", killed=True)


def at(known: View) -> Decision:
    return decide(known, NOW, "2026-01-01T00:00:00Z")


def task(decision: Decision) -> Task:
    assert isinstance(decision, Start), decision
    return decision.task


def stays(decision: Decision) -> Reason:
    assert isinstance(decision, Stay), decision
    return decision.reason


def running(state: DrbdState, *, assigned: str = "", **changes: object) -> View:
    known = view(authority(), state, assigned=assignment(assigned), domain=DomainState.RUNNING)
    return replace(known, **changes)  # type: ignore[arg-type]


class TestWhatLibvirtAnswers:
    """A suspended guest, or one whose monitor hangs, refuses every shutdown."""

    def test_a_shutdown_that_was_not_taken_is_tried_again(self) -> None:
        tried = running(drbd(Role.PRIMARY), shutdown_sent_at_s=NOW - 29)
        assert task(at(tried)) is Task.SHUT_DOWN
        assert stays(at(replace(tried, shutdown_heard=True))) is Reason.STOPPING

    @pytest.mark.parametrize("heard", [True, False])
    def test_its_time_begins_with_the_first_try(self, heard: bool) -> None:
        over = running(drbd(Role.PRIMARY), shutdown_sent_at_s=NOW - 30, shutdown_heard=heard)
        assert task(at(over)) is Task.PULL_PLUG

    def test_the_plug_does_not_wait_for_a_swap_that_may_never_be_answered(self) -> None:
        over = running(
            drbd(Role.PRIMARY, peer_disk=DiskState.INCONSISTENT), shutdown_sent_at_s=NOW - 30
        )
        assert task(at(over)) is Task.PULL_PLUG
        assert task(at(replace(over, shutdown_sent_at_s=NOW - 29))) is Task.DEGRADE


class TestLibvirtDoesNotTell:
    def untold(self, state: DrbdState, held_by: Authority, **changes: object) -> View:
        known = view(held_by, state, domain=DomainState.UNKNOWN)
        return replace(known, **changes)  # type: ignore[arg-type]

    def test_a_frozen_owner_asks_again(self) -> None:
        known = self.untold(frozen(), authority(), frozen_since_s=NOW - 60)
        assert task(at(known)) is Task.ASK_AGAIN

    def test_a_replica_that_stands_alone_connects(self) -> None:
        known = self.untold(drbd(Role.SECONDARY, Connection.STANDALONE), authority(B))
        assert task(at(known)) is Task.REJOIN

    def test_an_owner_goes_back_to_mirrored(self) -> None:
        assert task(at(self.untold(drbd(Role.PRIMARY), standalone()))) is Task.RESTORE

    def test_nothing_is_started(self) -> None:
        assert stays(at(self.untold(drbd(), authority("")))) is Reason.UNKNOWN_STATE

    def test_nor_stopped_nor_let_go_while_it_may_run(self) -> None:
        unwanted = replace(
            running(drbd(Role.PRIMARY), shutdown_sent_at_s=NOW - 60),
            domain=DomainState.UNKNOWN,
            record=record(owned_epoch=5, started_boot_id=HERE.boot_id),
        )
        assert stays(at(unwanted)) is Reason.UNKNOWN_STATE

    def test_a_host_that_has_just_booted_waits_a_while_for_it(self) -> None:
        new = replace(self.untold(drbd(), authority(B)), drbd=NotConfigured(NOW))
        assert (
            stays(at(replace(new, link_lost_at_s=NOW - LIBVIRT_COMES_S + 0.1)))
            is Reason.UNKNOWN_STATE
        )
        assert task(at(replace(new, link_lost_at_s=NOW - LIBVIRT_COMES_S))) is Task.BRING_UP

    def test_people_hear_of_it(self) -> None:
        assert stays(at(self.untold(drbd(), authority(B)))) is Reason.UNKNOWN_STATE


class TestWithoutData:
    """Neither its own disk nor the peer's: the guest stands still, and cannot shut down either."""

    def test_it_says_so_and_asks_for_no_leave_that_would_be_refused(self) -> None:
        wanted = running(WITHOUT_DATA, assigned=A, record=MARKED, without_data_since_s=LONG_AGO)
        assert stays(at(wanted)) is Reason.DATA_UNREACHABLE
        assert stays(at(replace(wanted, without_data_since_s=NOW))) is Reason.RUNNING

    def test_the_plug_is_pulled_at_once(self) -> None:
        known = running(WITHOUT_DATA, record=MARKED, without_data_since_s=LONG_AGO)
        assert task(at(known)) is Task.PULL_PLUG

    def test_but_a_link_that_blinks_is_waited_for(self) -> None:
        known = running(WITHOUT_DATA, record=MARKED, without_data_since_s=LONG_AGO + 0.1)
        assert task(at(known)) is Task.SHUT_DOWN

    def test_a_frozen_guest_with_its_own_disk_is_asked(self) -> None:
        assert task(at(running(frozen(), frozen_since_s=LONG_AGO))) is Task.SHUT_DOWN

    def play(self, outside: Outside) -> fx.Finished:
        return play(stopping.pull_plug_without_data(running(WITHOUT_DATA)), outside)

    def test_what_is_in_flight_is_let_go_once_it_was_killed(self) -> None:
        script: dict[type, list[fx.Outcome]] = {fx.DestroyGuest: [HELD_BY_THE_KERNEL]}
        outside = Outside(mirror(authority()), WITHOUT_DATA, script=script)
        assert self.play(outside).reason is Reason.DESTROYING
        assert outside.names == [
            "ReadMirror",
            "DestroyGuest",
            "QueryDrbd",
            "ResumeIo",
            "DestroyGuest",
        ]

    @pytest.mark.parametrize(
        ("answer", "held_by", "state"),
        [
            (fx.Failed("libvirt hangs"), authority(), WITHOUT_DATA),
            (HELD_BY_THE_KERNEL, authority(B), WITHOUT_DATA),
            (HELD_BY_THE_KERNEL, authority(), frozen()),
            (HELD_BY_THE_KERNEL, authority(), drbd(Role.PRIMARY, disk=DiskState.DISKLESS)),
        ],
        ids=["not killed", "another owner", "a disk", "the link is back"],
    )
    def test_and_not_else(self, answer: fx.Outcome, held_by: Authority, state: DrbdState) -> None:
        outside = Outside(mirror(held_by), state, script={fx.DestroyGuest: [answer]})
        assert self.play(outside).failed
        assert not outside.effects(fx.ResumeIo)

    def test_nothing_is_done_unread_or_to_what_is_held(self) -> None:
        past = fx.MirrorRead(mirror(authority(epoch=4)), "r1", record())
        for read in (past, fx.Unreachable("away")):
            outside = Outside(mirror(authority()), WITHOUT_DATA, script={fx.ReadMirror: [read]})
            self.play(outside)
            assert outside.names == ["ReadMirror"]


class TestADeadGuest:
    """Killed as it may not run here, and seen to execute nothing; its process is held."""

    dead = replace(running(frozen(), assigned=A), dead_at_s=1.0, fence=FenceProgress(since_s=0.0))

    def test_people_hear_what_holds_it(self) -> None:
        decision = at(self.dead)
        assert stays(decision) is Reason.SELF_FENCING
        assert "executes nothing there any more. Its disk is frozen" in decision.message
        assert decision.message.endswith("if neither comes, reboot a-1")

    def test_one_that_is_just_ending_is_held_by_nothing(self) -> None:
        decision = at(replace(self.dead, drbd=lost()))
        assert stays(decision) is Reason.SELF_FENCING
        assert "frozen" not in decision.message

    def test_where_libvirt_does_not_tell_that_is_what_people_hear(self) -> None:
        noted = replace(self.dead.record, started_boot_id=self.dead.instance.boot_id)
        untold = replace(self.dead, drbd=lost(), domain=DomainState.UNKNOWN, record=noted)
        assert untold.guest_is_dead
        assert stays(at(untold)) is Reason.UNKNOWN_STATE
        told = guest_report(untold, Reason.UNKNOWN_STATE, "", {})
        assert told is not None and told.state == DomainState.UNKNOWN
        held = replace(untold, drbd=frozen())
        assert stays(at(held)) is Reason.SELF_FENCING, "its device holds it all the same"

    def test_none_is_started_beside_it(self) -> None:
        assert isinstance(at(replace(self.dead, fence=None, renewal_sent_at_s=NOW)), Stay)

    def test_its_owner_asks_for_what_lets_it_go(self) -> None:
        """Nobody else does, if DRBD's own question got lost: before it was dead it had to wait."""
        known = replace(self.dead, frozen_since_s=NOW - 60.0)
        assert task(at(known)) is Task.ASK_AGAIN
        assert isinstance(at(replace(known, dead_at_s=None)), Stay)

    def test_it_is_not_told_as_running(self) -> None:
        told = guest_report(self.dead, Reason.SELF_FENCING, "", {})
        assert told is not None
        assert told.state == DomainState.SHUTTING_DOWN
        alive = guest_report(replace(self.dead, dead_at_s=None), Reason.RUNNING, "", {})
        assert alive is not None
        assert alive.state == DomainState.RUNNING

    def test_nothing_of_it_is_said_to_have_stopped(self) -> None:
        """Its writes are yet to come: nobody may take that for the end."""
        known = replace(self.dead, guest=guest(assignment(B)))
        decision = at(known)
        assert not isinstance(decision, Start) or decision.task is not Task.RELEASE
        told = guest_report(known, Reason.SELF_FENCING, "", {})
        assert told is not None
        assert told.state != DomainState.ABSENT


def test_a_paused_guest_does_not_run() -> None:
    paused = replace(running(drbd(Role.PRIMARY), assigned=A), domain=DomainState.PAUSED)
    decision = at(paused)
    assert stays(decision) is Reason.GUEST_PAUSED
    assert "virsh resume ns.g" in decision.message
    assert stays(at(replace(paused, starting=True))) is Reason.RUNNING
