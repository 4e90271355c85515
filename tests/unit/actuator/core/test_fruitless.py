"""Connections on which no write ever ends: counted, told, and given up for a while."""

from dataclasses import replace
from typing import Any

import pytest

from tandem_actuator.core import effects as fx
from tandem_actuator.core.drbd import (
    DrbdState,
    DrbdUnknown,
    DrbdView,
    Fruitless,
    NotConfigured,
    Standstill,
    Traffic,
)
from tandem_actuator.core.mirror import parting, standstill
from tandem_actuator.core.mirror.fruitless import (
    DOUBLINGS,
    LIMIT,
    REST_S,
    followed,
    rest_s,
)
from tandem_actuator.core.model import View
from tandem_actuator.core.order import Start, Stay, Task, decide
from tandem_api.kinds.mirror import Marker
from tandem_api.reasons import Reason
from tandem_api.timing import timers_within
from tandem_api.vocabulary import Connection, DiskState, DomainState, Role
from unit.builders import (
    A,
    B,
    assignment,
    authority,
    drbd,
    frozen,
    mirror,
    record,
    standalone,
    view,
)

from .outside import Outside, play

NOW_S = 1000.0
GIVEN_UP = Fruitless(in_a_row=LIMIT, since="then")
PARTED = replace(GIVEN_UP, parted_at_s=NOW_S - 10.0, rests=1, answered=LIMIT)


def linked(written: int = 7, *, writes: int = 1) -> DrbdState:
    state = drbd(Role.PRIMARY)
    traffic = Traffic(asked=writes, writes=writes, written=written)
    return replace(state, volumes={"root": replace(state.volumes["root"], traffic=traffic)})


def alone(connection: Connection = Connection.CONNECTING) -> DrbdState:
    """A Primary that goes on without its peer."""
    return drbd(Role.PRIMARY, connection, peer_disk=DiskState.OUTDATED)


def after(*looks: tuple[float, DrbdView], before: Fruitless | None = None) -> Fruitless:
    found = before or Fruitless()
    for at_s, state in looks:
        found = followed(found, state, at_s, f"at {at_s:g}")
    return found


class TestFollowed:
    def test_a_connection_that_let_nothing_through(self) -> None:
        found = after((10.0, linked()), (14.0, linked()), (14.5, frozen()))
        assert found == Fruitless(in_a_row=1, since="at 14.5", written=7)

    def test_as_often_as_that_was_so(self) -> None:
        first = after((10.0, linked()), (14.5, frozen()))
        again = after((15.0, linked()), (19.5, frozen()), before=first)
        assert (again.in_a_row, again.since) == (2, "at 14.5")

    def test_one_write_that_ends_and_all_is_forgotten(self) -> None:
        found = after((15.0, linked()), (16.0, linked(8)), before=PARTED)
        assert found == Fruitless(connected_at_s=15.0, fruitful=True)
        assert after((17.0, linked(9)), before=found) is found
        assert after((30.0, linked(9)), (31.0, frozen()), before=found) == Fruitless()

    def test_what_was_written_before_counts_for_no_connection(self) -> None:
        first = after((10.0, linked(7)), (14.5, frozen()))
        assert after((20.0, linked(99)), (24.5, frozen()), before=first).in_a_row == 2

    def test_not_one_that_was_lost_sooner_than_drbd_gives_up(self) -> None:
        assert after((10.0, linked()), (13.9, frozen())).in_a_row == 0
        assert after((10.0, linked()), (14.0, frozen())).in_a_row == 1

    def test_nor_sooner_than_it_does_with_the_timers_in_force(self) -> None:
        """With a detection of 5 s it waits 3.9 s for an answer, five times."""
        assert timers_within(5.0).gives_up_s == 19.5
        for detection_s, least_s in ((None, 4.0), (1.5, 4.0), (2.0, 4.0), (5.0, 19.0)):
            known = followed(Fruitless(), linked(), 10.0, "")
            for lasts_s, counted in ((least_s - 0.1, 0), (least_s, 1)):
                found = followed(known, frozen(), 10.0 + lasts_s, "", detection_s)
                assert found.in_a_row == counted

    def test_not_one_on_which_nothing_was_asked(self) -> None:
        idle = linked(writes=0)
        found = after((10.0, linked()), (12.0, idle), (30.0, idle), (31.0, frozen()))
        assert found.in_a_row == 0

    def test_a_look_that_fails_says_nothing(self) -> None:
        assert after((10.0, DrbdUnknown("?")), before=PARTED) is PARTED

    def test_a_resource_that_is_gone_begins_anew(self) -> None:
        assert after((10.0, NotConfigured(10.0)), before=PARTED) == Fruitless()

    def test_since_when_it_has_parted(self) -> None:
        state = alone(Connection.STANDALONE)
        found = after((10.0, alone()), (11.0, state), (12.0, state), before=GIVEN_UP)
        assert (found.parted_at_s, found.rests, found.answered) == (11.0, 1, LIMIT)

    def test_not_if_it_stands_alone_for_another_reason(self) -> None:
        state = alone(Connection.STANDALONE)
        assert after((10.0, state), before=Fruitless(in_a_row=1)).parted_at_s is None

    def test_it_connects_again(self) -> None:
        found = after((20.0, alone()), before=PARTED)
        assert found == replace(PARTED, parted_at_s=None)

    def test_nothing_new_is_the_same_value(self) -> None:
        known = after((10.0, linked()))
        assert after((11.0, linked()), before=known) is known
        assert after((11.0, alone()), before=GIVEN_UP) is GIVEN_UP


class TestBesideWhatStandsStill:
    """It is kept with what else does not get on."""

    @staticmethod
    def look(before: Standstill, state: DrbdView, now_s: float) -> Standstill:
        return standstill.followed(before, state, now_s, f"at {now_s:g}")

    def test_with_writes_under_way_and_without(self) -> None:
        found = self.look(Standstill(), linked(), 10.0)
        assert found.link.connected_at_s == 10.0
        found = self.look(found, frozen(), 14.5)
        assert found.link.in_a_row == 1
        assert self.look(found, frozen(), 15.0) is found

    def test_all_of_it_ends_with_the_resource(self) -> None:
        known = Standstill(link=GIVEN_UP)
        assert self.look(known, NotConfigured(1.0), 1.0) == Standstill()


def knows(state: DrbdState, link: Fruitless, held_by: Any = None, **changes: Any) -> View:
    known = view(held_by or authority(), state, **changes)
    since_s = NOW_S if state.suspended else None
    return replace(known, standstill=Standstill(link=link), frozen_since_s=since_s)


def task_of(known: View) -> Task | None:
    decision = decide(known, NOW_S, "now")
    return decision.task if isinstance(decision, Start) else None


class TestParting:
    @pytest.mark.parametrize(
        ("state", "held_by"),
        [(frozen(), authority()), (alone(), standalone()), (frozen(), standalone())],
        ids=["frozen", "alone", "frozen-with-leave"],
    )
    def test_its_owner_parts_from_the_second_on(self, state: DrbdState, held_by: Any) -> None:
        assert task_of(knows(state, GIVEN_UP, held_by)) is Task.PART
        once = replace(GIVEN_UP, in_a_row=LIMIT - 1)
        assert task_of(knows(state, once, held_by)) is not Task.PART

    def test_not_while_it_is_connected(self) -> None:
        assert task_of(knows(linked(), GIVEN_UP)) is not Task.PART

    def test_not_again_because_of_what_it_has_parted_for(self) -> None:
        """A person connects it, or its rest is over."""
        answered = replace(GIVEN_UP, rests=1, answered=LIMIT)
        assert task_of(knows(alone(), answered, standalone())) is not Task.PART
        another = replace(answered, in_a_row=LIMIT + 1)
        assert task_of(knows(alone(), another, standalone())) is Task.PART

    @pytest.mark.parametrize(
        "known",
        [
            knows(frozen(), GIVEN_UP, authority(B)),
            knows(frozen(), GIVEN_UP, standalone(B)),
            knows(frozen(), GIVEN_UP, authority(A, owner_instance="a-1/another/run")),
            knows(replace(frozen(), role=Role.SECONDARY), GIVEN_UP),
            knows(
                drbd(Role.PRIMARY, Connection.CONNECTING, disk=DiskState.DISKLESS, suspended=True),
                GIVEN_UP,
            ),
        ],
        ids=["peer-owns", "peer-alone", "earlier-boot", "secondary", "without-a-disk"],
    )
    def test_nobody_else_does(self, known: View) -> None:
        assert task_of(known) is not Task.PART

    def test_leave_is_won_before_it_parts(self) -> None:
        known = knows(frozen(), GIVEN_UP)
        outside = Outside(known.mirror, frozen())
        finished = play(parting.part(known), outside)
        assert (finished.reason, finished.progress) == (Reason.LINK_UNUSABLE, True)
        assert outside.names == [
            *("CheckFiles", "ReadMirror", "QueryDrbd", "Swap", "UpdateRecord", "Disconnect")
        ]
        assert outside.effects(fx.Disconnect) == [fx.Disconnect(needs_heartbeat=True)]

    @pytest.mark.parametrize(
        ("effect", "outcome"),
        [
            (fx.CheckFiles, fx.Failed("no")),
            (fx.ReadMirror, fx.Unreachable("away")),
            (fx.UpdateRecord, fx.Failed("no")),
            (fx.Disconnect, fx.Failed("no")),
        ],
    )
    def test_what_fails_ends_it(self, effect: type, outcome: fx.Outcome) -> None:
        known = knows(frozen(), GIVEN_UP)
        outside = Outside(known.mirror, frozen(), script={effect: [outcome]})
        finished = play(parting.part(known), outside)
        assert finished.failed or not finished.progress
        assert outside.names[-1] == effect.__name__

    @pytest.mark.parametrize(
        ("held_by", "state"),
        [(authority(B), frozen()), (authority(), linked())],
        ids=["taken-over", "back"],
    )
    def test_what_has_changed_meanwhile_stops_it(self, held_by: Any, state: DrbdState) -> None:
        outside = Outside(mirror(held_by), state)
        assert not play(parting.part(knows(frozen(), GIVEN_UP)), outside).progress
        assert not {"Swap", "Disconnect"} & set(outside.names)


MARKER = Marker(reason=Reason.LOCAL_DISK_FAILED)
KEPT = replace(GIVEN_UP, kept="why")


class TestWithoutLeave:
    """It is not to be had."""

    @pytest.mark.parametrize(
        ("script", "state", "why"),
        [
            ({fx.CheckFiles: [fx.Failed("stray")]}, frozen(), "DRBD's files cannot be read"),
            ({fx.ReadMirror: [fx.Unreachable("away")]}, frozen(), "alone either: away"),
            ({}, linked(), "leave does not come before it is connected again"),
        ],
        ids=["files", "api", "late"],
    )
    def test_why_it_could_not_part_is_told(self, script: Any, state: Any, why: str) -> None:
        known = knows(frozen(), GIVEN_UP)
        finished = play(parting.part(known), Outside(known.mirror, state, script=script))
        assert (finished.reason, finished.failed) == (Reason.LINK_UNUSABLE, True)
        assert finished.message.startswith(f"since then no connection to {B} has let a write thr")
        assert why in finished.message

    @pytest.mark.parametrize("assigned", [A, B])
    def test_and_goes_on_being_told_while_it_is_connected(self, assigned: str) -> None:
        known = knows(linked(), KEPT, assigned=assignment(assigned), domain=DomainState.RUNNING)
        asked = replace(known, shutdown_heard=assigned == B, shutdown_sent_at_s=NOW_S)
        assert decide(asked, NOW_S, "now") == Stay(Reason.LINK_UNUSABLE, "why")

    def test_an_owner_whose_own_disk_is_behind_could_not_go_on_alone(self) -> None:
        state = drbd(Role.PRIMARY, disk=DiskState.INCONSISTENT, peer_disk=DiskState.UP_TO_DATE)
        link = replace(GIVEN_UP, in_a_row=LIMIT)
        known = knows(state, link, domain=DomainState.RUNNING, record=record(marker=MARKER))
        decision = decide(known, NOW_S, "now")
        assert isinstance(decision, Stay)
        assert decision.reason is Reason.LINK_UNUSABLE
        assert decision.message.endswith(f"alone either: {A}'s own disk is behind")
        once = replace(known, standstill=Standstill(link=replace(link, in_a_row=LIMIT - 1)))
        assert decide(once, NOW_S, "now") != decision

    def test_until_it_goes_on_alone_or_a_write_ends(self) -> None:
        assert after((10.0, frozen()), before=KEPT).kept
        assert not after((10.0, alone()), before=KEPT).kept
        assert not after((10.0, linked(7)), (11.0, linked(8)), before=KEPT).kept


class TestWhatIsHeldByIt:
    def test_a_guest_that_was_killed_is_not_killed_again(self) -> None:
        """To part is what ends its process."""
        stopping = knows(
            linked(),
            GIVEN_UP,
            assigned=assignment(B),
            domain=DomainState.RUNNING,
            shutdown_sent_at_s=0.0,
            shutdown_heard=True,
        )
        assert task_of(stopping) is Task.PULL_PLUG
        dead = replace(stopping, dead_at_s=NOW_S - 1.0)
        assert task_of(dead) is None
        assert task_of(replace(dead, drbd=frozen(), frozen_since_s=NOW_S)) is Task.PART
        elsewhere = replace(dead, standstill=Standstill())
        assert task_of(elsewhere) is Task.PULL_PLUG


class TestResting:
    @staticmethod
    def rests(link: Fruitless, now_s: float = NOW_S, held_by: Any = None) -> bool:
        known = knows(
            alone(Connection.STANDALONE), link, held_by or standalone(), domain=DomainState.RUNNING
        )
        decision = decide(known, now_s, "now")
        return isinstance(decision, Stay) and decision.reason is Reason.LINK_UNUSABLE

    def test_it_does_not_connect_and_says_why(self) -> None:
        state = alone(Connection.STANDALONE)
        known = knows(state, PARTED, standalone(), domain=DomainState.RUNNING)
        decision = decide(known, NOW_S, "now")
        assert isinstance(decision, Stay)
        assert decision.reason is Reason.LINK_UNUSABLE
        assert decision.message == (
            f"since then 2 connections to {B} in a row were made, and lost without one write that"
            " was answered: the path may lose large packets. Compare `ping -M do -s 8972"
            f" {known.addresses[B]}`, or -s 1472 without jumbo frames, with a plain ping. It"
            " connects again 60 s after it has parted, or at once by `drbdadm connect"
            f" {known.mirror.drbd_name}`"
        )

    def test_until_its_rest_is_over(self) -> None:
        parted_s = PARTED.parted_at_s or 0.0
        assert self.rests(PARTED, parted_s + REST_S - 0.1)
        assert not self.rests(PARTED, parted_s + REST_S)

    def test_it_starts_what_shall_run_meanwhile_and_does_not_connect(self) -> None:
        state = alone(Connection.STANDALONE)
        known = knows(state, PARTED, standalone(), assigned=assignment(A))
        assert task_of(known) is Task.START
        assert known.guest is not None
        status = known.guest.status.model_copy(update={"paused_by": "ana"})
        paused = known.guest.model_copy(update={"status": status})
        assert task_of(replace(known, guest=paused)) is None

    def test_the_longer_the_more_often(self) -> None:
        lengths = [rest_s(replace(PARTED, rests=n)) for n in (0, 1, 2, 3, 99)]
        assert lengths == [60.0, 60.0, 120.0, 240.0, 60.0 * 2**DOUBLINGS]

    def test_whoever_is_no_owner_connects(self) -> None:
        assert not self.rests(PARTED, held_by=standalone(B))
        assert not self.rests(PARTED, held_by=standalone(owner_instance="a-1/another/run"))
