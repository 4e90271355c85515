"""What a host tells of itself: once, again if it was not delivered, and without end of neither."""

import asyncio
from collections.abc import Callable, Iterator
from typing import Any

import pytest

from tandem_actuator.core.drbd import Standstill, Still
from tandem_actuator.core.mirror import standstill
from tandem_actuator.core.mirror.resync import STALLED_AFTER_S
from tandem_actuator.core.model import Resync
from tandem_actuator.core.report import REPEAT_INTERVAL_S
from tandem_actuator.ports import CommandFailed
from tandem_actuator.ports.api import ApiGone, ApiRefused, ApiUnavailable
from tandem_actuator.run.reports import AT_A_TIME
from tandem_actuator.run.reports import INTERVAL_S as REPORT_INTERVAL_S
from tandem_actuator.run.workload import Unit
from tandem_api.kinds.guest import GuestReport, HardwareReport
from tandem_api.kinds.host import DrbdFiles, Host
from tandem_api.kinds.mirror import ReplicaReport
from tandem_api.reasons import Reason
from tandem_api.vocabulary import Connection, DiskState, DomainState, Role
from unit.builders import A, authority, drbd, mirror, record

from .turning import Turning


@pytest.fixture
def host() -> Iterator[Turning]:
    made = Turning()
    made.unit.domain = DomainState.RUNNING
    made.unit.drbd = made.found = drbd(Role.PRIMARY)
    yield made
    made.loop.discard()


WELL = DrbdFiles(readable=True)
BAD = DrbdFiles(readable=False, message="stray.res:1: Parse error")


def away() -> None:
    raise ApiUnavailable("no answer")


def other(host: Turning, name: str = "other") -> Unit:
    """Another mirror here, told of after the first."""
    raw = mirror(authority())
    named = raw.metadata.model_copy(update={"name": name, "uid": f"uid-{name}"})
    found = Unit(mirror=raw.model_copy(update={"metadata": named}), record=record())
    found.drbd = drbd()
    host.add(found)
    return found


class TestOfAMirror:
    def test_it_is_told_once(self, host: Turning) -> None:
        host.play(host.actuator.reports.run, REPEAT_INTERVAL_S - 0.5)
        assert host.calls == ["report replica", "report guest"]

    def test_a_change_is_told_soon(self, host: Turning) -> None:
        host.begin(host.actuator.reports.run)
        host.run(1.0)
        host.unit.reason = Reason.RESYNCING
        host.run(REPORT_INTERVAL_S + 0.05)
        told = [report for _, report in host.reports if isinstance(report, ReplicaReport)]
        assert [report.reason for report in told] == [Reason.STEADY, Reason.RESYNCING]

    def test_other_words_alone_are_not_told(self, host: Turning) -> None:
        """They hold seconds that are left, and would be written five times a second."""
        host.begin(host.actuator.reports.run)
        host.unit.message = "9 s left"
        host.run(1.0)
        host.unit.message = "8 s left"
        host.run(1.0)
        assert [report.message for _, report in host.reports] == ["9 s left", "9 s left"]

    @pytest.mark.parametrize("which", ["report replica", "report guest"])
    def test_what_was_not_delivered_is_told_again(self, host: Turning, which: str) -> None:
        host.during[which] = away
        host.begin(host.actuator.reports.run)
        host.run(5.0)
        failed = host.calls.count(which)
        assert 3 <= failed <= 6
        host.during.clear()
        host.run(REPEAT_INTERVAL_S - 1.5)
        assert host.calls.count(which) == failed + 1

    def test_an_object_that_is_gone_keeps_no_other_from_being_told(self, host: Turning) -> None:
        def gone() -> None:
            raise ApiGone("not there")

        for number in range(AT_A_TIME):
            other(host, f"other{number}")
        host.during["report replica"] = gone
        host.play(host.actuator.reports.run, REPORT_INTERVAL_S + 0.1)
        assert host.calls.count("report replica") == AT_A_TIME + 1

    def test_an_api_that_is_away_is_not_asked_for_each_of_them(self, host: Turning) -> None:
        other(host)
        host.during["report replica"] = away
        host.play(host.actuator.reports.run, 10.0)
        assert host.calls.count("report replica") <= 10

    def test_hundreds_are_told_soon(self, host: Turning) -> None:
        """Each takes its time: one after another the last would be told after many seconds."""

        async def answers() -> None:
            await asyncio.sleep(0.02)

        for number in range(299):
            other(host, f"other{number}")
        host.waiting["report replica"] = answers
        host.play(host.actuator.reports.run, 2.0)
        assert len({name for name, _ in host.reports}) >= 300

    def test_whatever_changes_is_told_once_all_was_told(self, host: Turning) -> None:
        host.shown = True
        host.begin(host.actuator.reports.run)
        host.run(1.0)
        unit = host.unit
        changes: tuple[Callable[[], object], ...] = (
            lambda: setattr(unit, "reason", Reason.RESYNCING),
            lambda: unit.steps.update(promoted="then"),
            lambda: setattr(unit, "hardware", HardwareReport(fingerprint="other")),
            lambda: setattr(unit, "device_bytes", {"root": 1}),
            lambda: setattr(unit, "drbd", drbd(Role.PRIMARY, Connection.CONNECTING)),
            lambda: setattr(unit, "link_lost_wall", "then"),
            lambda: setattr(unit, "domain", DomainState.PAUSED),
            lambda: setattr(unit, "record", record(max_epoch=9)),
        )
        for change in changes:
            before = len(host.reports)
            host.run(1.0)
            assert len(host.reports) == before
            change()
            host.run(1.0)
            assert len(host.reports) > before

    def test_a_resync_that_stands_still_is_told_though_nothing_changes(self, host: Turning) -> None:
        host.shown = True
        copies = drbd(peer_disk=DiskState.INCONSISTENT, resyncing=True, out_of_sync_bytes=4096)
        host.unit.drbd, host.unit.resync = copies, Resync(4096, host.now_s, "then")
        host.play(host.actuator.reports.run, STALLED_AFTER_S + 1.0)
        told = [report for _, report in host.reports if isinstance(report, ReplicaReport)]
        assert [report.resync_stalled_since for report in told] == [None, "then"]

    def test_a_disk_that_hangs_is_told_though_nothing_changes(self, host: Turning) -> None:
        host.shown = True
        host.unit.drbd = drbd(Role.PRIMARY)
        host.unit.standstill = Standstill(disks={"root": Still(7, host.now_s, "then")})
        host.play(host.actuator.reports.run, standstill.STALLED_AFTER_S + 1.0)
        told = [report for _, report in host.reports if isinstance(report, ReplicaReport)]
        assert [report.volumes["root"].disk_stalled_since for report in told] == [None, "then"]

    def test_what_the_api_does_not_show_is_told_again_after_a_while(self, host: Turning) -> None:
        """A report that the network held back may land after a newer one."""
        host.play(host.actuator.reports.run, 60.0)
        assert 2 <= host.calls.count("report replica") <= 20
        host.unit.mirror = mirror(
            authority(),
            replicas={A: host.reports[0][1]},  # type: ignore[dict-item]
        )
        assert host.unit.guest is not None
        told = next(report for _, report in host.reports if isinstance(report, GuestReport))
        status = host.unit.guest.status.model_copy(update={"hosts": {A: told}})
        host.unit.guest = host.unit.guest.model_copy(update={"status": status})
        host.calls.clear()
        host.run(60.0)
        assert host.calls == []


class TestThatNoneArrives:
    """It is told with the heartbeat, as that arrives."""

    @pytest.mark.parametrize("report", ["report replica", "report guest"])
    @pytest.mark.parametrize("error", [ApiUnavailable("no"), ApiRefused("no")])
    def test_as_long_as_one_does_not(
        self, host: Turning, report: str, error: ApiUnavailable
    ) -> None:
        def fails() -> None:
            raise error

        host.during[report] = fails
        host.begin(host.actuator.reports.run)
        host.run(5.0)
        assert host.heard().since == ""
        host.run(10.0)
        told = host.heard()
        assert (told.of, told.why) == ((str(host.unit.mirror.key),), "no")
        assert told.refused is isinstance(error, ApiRefused)
        host.during.clear()
        host.run(20.0)
        assert host.heard().since == ""

    def test_of_a_reduced_run_too(self, host: Turning) -> None:
        host.during["report replica"] = away
        host.begin(host.actuator.reports.run_least)
        host.run(15.0)
        assert host.heard().of == (str(host.unit.mirror.key),)
        host.during.clear()
        host.run(3.0)
        assert host.heard().of == ()

    def test_one_that_is_gone_is_not_missed(self, host: Turning) -> None:
        host.during["report replica"] = away
        host.begin(host.actuator.reports.run)
        host.run(15.0)
        assert host.heard().count == 1
        host.actuator.cluster.units.clear()
        host.run(5.0)
        assert host.heard().count == 0


class TestOfTheHost:
    def known(self, host: Turning, **status: Any) -> None:
        raw = {
            "metadata": {"name": A},
            "spec": {"site": "a", "replicationAddress": "198.51.100.11", "watchdog": "None"},
            "status": status,
        }
        me = Host.parse(raw)
        host.actuator.cluster.hosts[me.key] = me

    def spoil(self, host: Turning) -> None:
        def refuses() -> None:
            raise CommandFailed(BAD.message)

        host.during["check files"] = refuses

    def test_it_is_told_once_when_the_object_is_there(self, host: Turning) -> None:
        host.begin(host.actuator.reports.host.run)
        host.run(3.0)
        assert "report host" not in host.calls
        self.known(host, drbdFiles=WELL.wire())
        host.run(100.0)
        assert host.calls.count("report host") == 1

    def test_it_is_told_again_until_it_was_heard(self, host: Turning) -> None:
        self.known(host)
        host.during["report host"] = away
        host.begin(host.actuator.reports.host.run)
        host.run(5.0)
        failed = host.calls.count("report host")
        assert 3 <= failed <= 6
        assert host.actuator.reports.undelivered.told(host.clock.boottime_s()).since == ""
        host.during.clear()
        host.run(5.0)
        assert host.calls.count("report host") == failed + 1

    def test_that_it_is_not_heard_is_told_with_the_heartbeat(self, host: Turning) -> None:
        self.known(host)
        host.during["report host"] = away
        host.begin(host.actuator.reports.host.run)
        host.run(12.0)
        told = host.heard()
        assert told.of == (A,)
        host.during.clear()
        host.run(2.0)
        assert host.heard().of == ()

    def test_drbds_files_are_looked_at_now_and_then(self, host: Turning) -> None:
        self.known(host, drbdFiles=WELL.wire())
        host.begin(host.actuator.reports.host.run)
        host.run(95.0)
        assert host.calls.count("check files") == 4
        assert host.told_of_files == [WELL]
        self.spoil(host)
        host.run(26.0)
        assert host.told_of_files == [WELL, BAD]

    def test_a_file_that_is_corrected_is_soon_known(self, host: Turning) -> None:
        self.known(host, drbdFiles=BAD.wire())
        self.spoil(host)
        host.begin(host.actuator.reports.host.run)
        host.run(31.0)
        assert host.calls.count("check files") == 7
        assert host.told_of_files == [BAD]
        host.during.clear()
        host.run(5.0)
        assert host.told_of_files == [BAD, WELL]

    def test_what_the_api_forgets_is_told_again(self, host: Turning) -> None:
        self.known(host, drbdFiles=WELL.wire())
        host.begin(host.actuator.reports.host.run)
        host.run(5.0)
        self.known(host)
        host.run(30.0)
        assert host.told_of_files == [WELL, WELL]
