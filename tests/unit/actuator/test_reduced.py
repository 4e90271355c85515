"""A bug outside of every wall, and quick exits: what a run goes on with, and for how long."""

import asyncio
import contextlib
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from tandem_actuator.adapters.files.starts import StartsFile
from tandem_actuator.core.host import starts
from tandem_actuator.ports.api import Changed
from tandem_actuator.run.walls import crash_on_bug
from tandem_actuator.run.workload import Unit
from tandem_api.kinds.guest import Guest
from tandem_api.kinds.host import Host
from tandem_api.kinds.mirror import Mirror
from tandem_api.meta import ObjectKey
from tandem_api.reasons import Reason
from tandem_api.vocabulary import DomainState, Role
from unit.builders import HERE, drbd

from .test_loop_work import keep_heard
from .turning import Turning

Make = Callable[..., Turning]


@pytest.fixture
def make() -> Iterator[Make]:
    made: list[Turning] = []

    def turning(quick_exits: int = 0) -> Turning:
        made.append(Turning(quick_exits))
        return made[-1]

    yield turning
    for host in made:
        host.loop.discard()


def is_bug() -> None:
    raise ZeroDivisionError("a bug")


def with_its_object(host: Turning) -> Turning:
    """Its Host object is there, so that the host itself is reported."""
    me = Host.parse(
        {
            "metadata": {"name": HERE.node},
            "spec": {"site": "a", "replicationAddress": "10.0.0.1"},
        }
    )
    host.actuator.cluster.hosts[ObjectKey(namespace="", name=HERE.node)] = me
    return host


@pytest.mark.parametrize(
    ("quick_exits", "reduced", "pause_s", "afterwards"),
    [
        (0, False, 10, 1),
        (1, False, 60, 2),
        (2, False, 300, 2),
        (3, True, 300, 2),
        (9, True, 300, 2),
    ],
)
def test_by_the_quick_exits_in_a_row(
    quick_exits: int, reduced: bool, pause_s: float, afterwards: int
) -> None:
    assert starts.is_reduced(quick_exits) is reduced
    assert starts.pause_s(quick_exits) == pause_s
    assert starts.before_another_try(quick_exits) == afterwards
    assert not starts.is_reduced(afterwards), "the next run tries everything"


class TestABug:
    def test_it_stops_everything_else_and_is_told(self, make: Make) -> None:
        host = with_its_object(make())
        host.during["report host"] = is_bug
        host.play(host.actuator._everything_else, 3.0)
        assert host.actuator.reduced
        [told] = [report for _, report in host.reports if report.reason is Reason.INTERNAL_ERROR]
        assert f"tandem-actuator failed on {HERE.node} (ZeroDivisionError at " in told.message
        assert "tries everything again after 10 s" in told.message
        assert host.unit.message == told.message

    def test_what_was_not_delivered_is_told_again(self, make: Make) -> None:
        host = with_its_object(make())
        host.during.update({"report host": is_bug, "report replica": is_bug})
        host.begin(host.actuator._everything_else)
        host.run(3.0)
        assert host.reports == []
        del host.during["report replica"]
        host.run(3.0)
        assert len(host.reports) == 1

    def test_nothing_else_is_reported_then(self, make: Make) -> None:
        host = with_its_object(make())
        host.during["report host"] = is_bug
        host.begin(host.actuator._everything_else)
        host.run(3.0)
        before = len(host.reports)
        host.unit.reason = Reason.RUNNING
        host.run(60.0)
        assert len(host.reports) == before

    def test_in_what_the_api_tells_it_costs_sight_of_that(
        self, make: Make, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        host = make()
        monkeypatch.setattr(host.unit, "observe_guest", lambda guest: is_bug())
        assert host.unit.guest is not None
        host.actuator.node.guests_listed = True
        host.actuator.cluster.take(Guest, Changed(host.unit.guest))
        assert host.actuator.reduced
        assert host.unit.reason is Reason.INTERNAL_ERROR

    def test_a_mirror_that_comes_later_is_told_too(self, make: Make) -> None:
        host = make(quick_exits=3)
        host.actuator._reduce(None)
        host.unit.message = ""

        async def come() -> None:
            host.actuator._on_unit(host.unit)

        host.play(come, 0.1)
        assert "ended 3 times shortly after it had started" in host.unit.message


class TestHowItEnds:
    def ended(self, host: Turning, after_s: float) -> object:
        host.begin(host.actuator._count_exit)
        host.kernel.run_until(host.kernel.now_s + after_s)
        return host.errors[0] if host.errors else None

    def test_a_run_that_goes_on_for_long_enough_made_no_quick_exit(self, make: Make) -> None:
        host = make(quick_exits=2)
        assert self.ended(host, starts.QUICK_S - 1) is None
        assert host.exits.quick == 2
        host.run(2.0)
        assert host.exits.quick == 0

    @pytest.mark.parametrize(("before", "pause_s", "after"), [(0, 10, 1), (1, 60, 2), (3, 300, 2)])
    def test_a_reduced_one_makes_room(
        self, make: Make, before: int, pause_s: float, after: int
    ) -> None:
        host = make(quick_exits=before)
        host.actuator._reduce(ZeroDivisionError())
        assert self.ended(host, pause_s - 1) is None
        host.kernel.run_until(host.kernel.now_s + 2)
        assert host.exits.quick == after
        [error] = host.errors
        assert isinstance(error, SystemExit) and error.code == starts.AGAIN_EXIT

    def test_one_that_failed_late_begins_with_the_first_pause(self, make: Make) -> None:
        host = make(quick_exits=2)
        assert self.ended(host, starts.QUICK_S + 1) is None
        host.actuator._reduce(ZeroDivisionError())
        host.kernel.run_until(host.kernel.now_s + starts.PAUSES_S[0] + 1)
        assert host.exits.quick == 1
        assert len(host.errors) == 1

    async def test_one_that_is_asked_to_end_makes_no_quick_exit(self, make: Make) -> None:
        host = make(quick_exits=1)
        host.actuator.cluster.recall = lambda: None  # type: ignore[method-assign]
        host.actuator._guarding = lambda: (asyncio.Event().wait,)  # type: ignore[method-assign, assignment, return-value]
        host.actuator._everything_else = asyncio.Event().wait  # type: ignore[method-assign, assignment]
        run = asyncio.create_task(host.actuator.run())
        await asyncio.sleep(0)
        assert host.exits.quick == 2, "as it begins it counts as one that will end quickly"
        run.cancel()
        with pytest.raises(asyncio.CancelledError):
            await run
        assert host.exits.quick == 0

    async def test_one_whose_guard_fails_does(self, make: Make) -> None:
        async def guard() -> None:
            is_bug()

        host = make(quick_exits=1)
        host.actuator.cluster.recall = lambda: None  # type: ignore[method-assign]
        host.actuator._guarding = lambda: (guard,)  # type: ignore[method-assign]
        host.actuator._everything_else = asyncio.Event().wait  # type: ignore[method-assign, assignment]
        with pytest.raises(ExceptionGroup):
            await host.actuator.run()
        assert host.exits.quick == 2


def test_a_crash_of_a_mirrors_loop_is_a_quick_exit(make: Make) -> None:
    """It ends the program from outside, and all is cancelled then, as by an orderly end."""
    host = make(quick_exits=1)
    host.actuator.cluster.recall = lambda: None  # type: ignore[method-assign]
    host.actuator._guarding = lambda: (asyncio.Event().wait,)  # type: ignore[method-assign, assignment, return-value]
    host.actuator._everything_else = asyncio.Event().wait  # type: ignore[method-assign, assignment]

    async def loop() -> None:
        is_bug()

    async def whole() -> None:
        run = asyncio.create_task(host.actuator.run())
        await asyncio.sleep(0)
        host.unit.worker = asyncio.create_task(loop())
        host.unit.worker.add_done_callback(crash_on_bug)
        with contextlib.suppress(asyncio.CancelledError):
            await run

    with pytest.raises(SystemExit), asyncio.Runner() as runner:
        runner.run(whole())
    assert host.exits.quick == 2


class TestWhileItIsReduced:
    def lapsed(self, make: Make) -> Turning:
        """The owner here has stood still, and its heartbeat was heard since."""
        host = make()
        host.actuator._reduce(ZeroDivisionError())
        host.unit.domain = DomainState.RUNNING
        host.unit.drbd = host.found = drbd(Role.PRIMARY)
        host.unit.lapse(host.now_s)
        host.node.renewal_confirmed_at_s = host.now_s
        return host

    def test_it_says_that_it_is_the_owner_still(self, make: Make) -> None:
        """Else its guest lives on the link alone."""
        host = self.lapsed(make)

        async def work() -> None:
            await host.actuator._work(host.unit)

        host.play(work, 3.0)
        assert host.calls.count("swap") == 1
        assert not host.unit.lapsed
        assert host.unit.reason is Reason.INTERNAL_ERROR, "and says nothing of it on the object"

    def test_if_that_fails_it_is_tried_again_with_a_pause(self, make: Make) -> None:
        host = self.lapsed(make)
        host.during["swap"] = is_bug

        keep_heard(host)
        host.run(60.0)
        assert 3 <= host.calls.count("swap") <= 12
        del host.during["swap"]
        host.run(70.0)
        assert not host.unit.lapsed

    def test_it_is_counted_for_the_alert(self, make: Make) -> None:
        host = make()
        host.actuator._reduce(ZeroDivisionError())
        assert host.actuator.metrics.registry.get_sample_value("tandem_actuator_reduced") == 1

    def test_the_other_loops_end(self, make: Make) -> None:
        host = make()
        host.begin(host.actuator._everything_else)
        host.run(2.0)
        host.actuator._reduce(ZeroDivisionError())
        host.run(3.0)
        told = len(host.reports)
        host.unit.drbd, host.unit.sent_replica = drbd(Role.PRIMARY), None
        host.run(30.0)
        assert len(host.reports) == told

    def test_what_the_last_run_knew_of_a_guest_ends_nothing(
        self, make: Make, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        host = make()
        cluster = host.actuator.cluster
        monkeypatch.setattr(
            cluster.cache, "load", lambda: [(host.unit.mirror, host.unit.guest)], raising=False
        )
        monkeypatch.setattr(cluster.records, "load", lambda name: host.unit.record, raising=False)
        monkeypatch.setattr(Unit, "observe_guest", lambda self, guest: is_bug())
        monkeypatch.setattr(host.actuator, "_on_unit", lambda unit: None)
        cluster.on_unit = lambda unit: None
        cluster.recall()
        assert host.actuator.reduced

    def test_nor_does_what_is_told_of_one_mirror(
        self, make: Make, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        host = make()
        monkeypatch.setattr(host.unit, "observe_mirror", lambda mirror, listed: is_bug())
        host.actuator.cluster.take(Mirror, Changed(host.unit.mirror))
        assert host.actuator.reduced
        assert host.kept == [f"{host.unit.mirror.key} {host.unit.guest.key}"]  # type: ignore[union-attr]


def test_they_are_of_one_boot_and_version(tmp_path: Path) -> None:
    kept = StartsFile(tmp_path, "boot-1", "1.0")
    assert kept.load() == 0
    kept.store(2)
    assert StartsFile(tmp_path, "boot-1", "1.0").load() == 2
    assert StartsFile(tmp_path, "boot-2", "1.0").load() == 0
    assert StartsFile(tmp_path, "boot-1", "1.1").load() == 0
    (tmp_path / "starts.json").write_text("no json")
    assert kept.load() == 0
    StartsFile(tmp_path / "gone", "boot-1", "1.0").store(1)  # costs nothing
