"""Writes that do not end, and a disk that does not answer, while every state of DRBD looks well."""

from dataclasses import replace

import pytest

from tandem_actuator.core.drbd import (
    DrbdState,
    DrbdUnknown,
    DrbdView,
    NotConfigured,
    Standstill,
    Still,
    Traffic,
)
from tandem_actuator.core.mirror.standstill import (
    STALLED_AFTER_S,
    followed,
    reads_stalled_since,
    stalled_since,
)
from tandem_actuator.core.report import replica_report
from tandem_api.reasons import Reason
from tandem_api.vocabulary import Role
from unit.builders import authority, drbd, view

NOTHING = Standstill()


def passing(role: Role = Role.PRIMARY, suspended: bool = False, **counts: int) -> DrbdState:
    state = drbd(role, suspended=suspended)
    traffic = Traffic(**counts)
    volumes = {name: replace(one, traffic=traffic) for name, one in state.volumes.items()}
    return replace(state, volumes=volumes)


def look(before: Standstill, state: DrbdView, now_s: float) -> Standstill:
    return followed(before, state, now_s, f"at {now_s:g}")


class TestWrites:
    def test_one_that_is_under_way_while_none_ends(self) -> None:
        first = look(NOTHING, passing(writes=1, written=7), 10.0)
        assert first.writes == {"root": Still(7, 10.0, "at 10")}
        assert look(first, passing(writes=4, written=7), 12.0) == first

    def test_another_has_ended(self) -> None:
        first = look(NOTHING, passing(writes=1, written=7), 10.0)
        assert look(first, passing(writes=1, written=8), 12.0).writes["root"].since_s == 12.0

    @pytest.mark.parametrize(
        "state",
        [
            passing(writes=0, written=7),
            passing(writes=1, written=7, suspended=True),
            NotConfigured(1.0),
        ],
        ids=["none-under-way", "held-back-as-drbd-tells", "not-configured"],
    )
    def test_it_counts_anew(self, state: DrbdView) -> None:
        first = look(NOTHING, passing(writes=1, written=7), 10.0)
        between = look(first, state, 12.0)
        assert between.writes == {}
        assert look(between, passing(writes=1, written=7), 14.0).writes["root"].since_s == 14.0

    def test_a_look_that_failed_changes_nothing(self) -> None:
        first = look(NOTHING, passing(writes=1, written=7), 10.0)
        assert look(first, DrbdUnknown("no answer"), 12.0) == first


class TestReads:
    def test_of_their_own_kind(self) -> None:
        first = look(NOTHING, passing(asked=1, reads=1, read=7, written=3), 10.0)
        assert first.reads == {"root": Still(7, 10.0, "at 10")}
        again = look(first, passing(asked=1, reads=1, read=7, written=4), 12.0)
        assert again.reads == first.reads
        assert look(first, passing(asked=1, reads=1, read=8), 12.0).reads["root"].since_s == 12.0

    def test_one_that_only_drbd_knows_of(self) -> None:
        first = look(NOTHING, passing(asked=1, read=7, written=3), 10.0)
        assert first.reads == {"root": Still(10, 10.0, "at 10")}
        again = look(first, passing(asked=1, read=7, written=4), 12.0)
        assert again.reads["root"].since_s == 12.0

    def test_writes_are_none(self) -> None:
        assert look(NOTHING, passing(asked=1, writes=1), 10.0).reads == {}

    def test_what_drbd_holds_back_is_none(self) -> None:
        assert look(NOTHING, passing(asked=1, reads=1, suspended=True), 10.0).reads == {}

    def test_beside_a_disk_that_hangs_they_are_told_at_once(self) -> None:
        reads, disks = {"root": Still(7, 20.0, "now")}, {"root": Still(90, 10.0, "then")}
        told = [(Standstill(reads, {}, disks), 20.0), (Standstill(reads, {}, disks), 19.9)]
        assert [reads_stalled_since(what, "root", at_s) for what, at_s in told] == ["now", None]
        calm = Standstill(reads, {}, {})
        assert reads_stalled_since(calm, "root", 29.9) is None
        assert reads_stalled_since(calm, "root", 30.0) == "now"


class TestDisks:
    def test_one_that_owes_an_answer_while_nothing_moves(self) -> None:
        state = passing(Role.SECONDARY, at_disk=1, moved=90)
        first = look(NOTHING, state, 10.0)
        assert first.disks == {"root": Still(90, 10.0, "at 10")}
        assert look(first, state, 12.0) == first

    def test_it_answers(self) -> None:
        first = look(NOTHING, passing(at_disk=1, moved=90), 10.0)
        assert look(first, passing(at_disk=1, moved=94), 12.0).disks["root"].since_s == 12.0
        assert look(first, passing(at_disk=0, moved=90), 12.0).disks == {}

    def test_also_while_drbd_holds_writes_back(self) -> None:
        first = look(NOTHING, passing(at_disk=1, moved=90, suspended=True), 10.0)
        assert first.disks == {"root": Still(90, 10.0, "at 10")}


def test_it_is_told_after_a_while() -> None:
    still = Still(7, 10.0, "at 10")
    assert stalled_since(still, 10.0 + STALLED_AFTER_S - 0.1) is None
    assert stalled_since(still, 10.0 + STALLED_AFTER_S) == "at 10"
    assert stalled_since(None, 1e9) is None


def test_the_report_tells_both_by_volume() -> None:
    writes, disks = {"root": Still(7, 10.0, "then")}, {"root": Still(90, 11.0, "a second later")}
    known = view(authority(), drbd(Role.PRIMARY), standstill=Standstill({}, writes, disks))
    told = replica_report(known, Reason.RUNNING, "", None, 100.0).volumes["root"]
    assert (told.writes_stalled_since, told.disk_stalled_since) == ("then", "a second later")
    calm = replica_report(replace(known, standstill=NOTHING), Reason.RUNNING, "", None, 100.0)
    told = calm.volumes["root"]
    assert (told.writes_stalled_since, told.disk_stalled_since) == (None, None)


def test_traffic_alone_is_no_news() -> None:
    assert passing(writes=1, written=7) == passing(writes=2, written=9)
