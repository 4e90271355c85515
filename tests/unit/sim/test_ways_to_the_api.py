"""The ways to the simulated API server: what is lost, late, kept, refused, silent or twice there.

The real client, its watches and an actuator's adapter run on it, on simulated time.
"""

from collections.abc import Awaitable, Callable
from typing import Any

from sim.apiserver import Refusal
from sim.engine.kernel import Group
from sim.network.links import MANAGEMENT, OUT
from tandem_api.kinds.mirror import Mirror
from tandem_kube import (
    MIRRORS,
    Changed,
    Conflict,
    Deleted,
    Ending,
    Interrupted,
    KubeClient,
    Synced,
    WatchEvent,
)
from tandem_kube.watch import PACE
from unit.builders import A, B

from .api_bench import Bench

TIMEOUT_S = 1.0
LONG_S = 60.0


def read(bench: Bench) -> Callable[[KubeClient], Awaitable[Any]]:
    return lambda client: client.get(MIRRORS, bench.key, timeout_s=TIMEOUT_S)


def write(bench: Bench, phase: str) -> Callable[[KubeClient], Awaitable[Any]]:
    return lambda client: client.merge_patch_status(
        MIRRORS, bench.key, {"phase": phase}, timeout_s=TIMEOUT_S
    )


def phases(events: list[WatchEvent]) -> list[str]:
    """What the watch showed of the mirror, in order; of what else it said, the name."""
    found = []
    for event in events:
        match event:
            case Changed(raw):
                found.append(raw["status"]["phase"])
            case Interrupted(_, ending):
                found.append(f"({ending})")
            case Synced(items):
                found.append(f"[{' '.join(i.get('status', {}).get('phase', '') for i in items)}]")
            case Deleted():
                found.append("(Deleted)")
    return found


class TestFreshness:
    """A read at version 0 may be answered by a cache that has heard nothing for long."""

    def test_reads_and_lists_are_fresh_although_the_cache_stands(self, bench: Bench) -> None:
        bench.run(LONG_S)
        bench.api.cache_stands(True)
        bench.run(LONG_S)
        bench.set_phase("X")
        assert bench.ask(A, read(bench), 1.0)["status"]["phase"] == "X"
        (item,) = bench.ask(A, lambda client: client.list(MIRRORS), 1.0).items
        assert item["status"]["phase"] == "X"

    def test_leases_are_fresh_although_the_cache_stands(self, bench: Bench) -> None:
        bench.ask(A, lambda c: c.renew_lease("host-a-1", holder="one", duration_s=9), 1.0)
        bench.run(LONG_S)
        bench.api.cache_stands(True)
        bench.run(LONG_S)
        bench.ask(A, lambda c: c.renew_lease("host-a-1", holder="two", duration_s=9), 1.0)
        (item,) = bench.ask(B, lambda client: client.list_leases(), 1.0).items
        assert item["spec"]["holderIdentity"] == "two"
        lease = bench.ask(B, lambda client: client.get_lease("host-a-1"), 1.0)
        assert lease["spec"]["holderIdentity"] == "two"

    def test_a_watch_begins_with_what_is_fresh_although_the_cache_stands(
        self, bench: Bench
    ) -> None:
        bench.run(LONG_S)
        bench.api.cache_stands(True)
        bench.run(LONG_S)
        bench.set_phase("X")
        bench.follow()
        assert phases(bench.run(1.0)) == ["[X]"]

    def test_at_version_0_they_are_not(self, bench: Bench) -> None:
        """So the tests above can fail."""
        bench.run(LONG_S)
        bench.api.cache_stands(True)
        bench.run(LONG_S)
        bench.set_phase("X")
        query = {"resourceVersion": "0"}
        path = MIRRORS.path("ns", "m")
        stale = bench.ask(
            A, lambda c: c._transport.call("GET", path, query=query, timeout_s=TIMEOUT_S), 1.0
        )
        assert "phase" not in stale["status"]


class TestPreconditions:
    def test_of_two_who_write_on_one_version_one_wins(self, bench: Bench) -> None:
        outcomes = []

        async def main(client: KubeClient) -> None:
            version = (await read(bench)(client))["metadata"]["resourceVersion"]
            try:
                await client.merge_patch_status(
                    MIRRORS,
                    bench.key,
                    {"phase": client.connection().server},
                    resource_version=version,
                )
                outcomes.append("won")
            except Conflict:
                outcomes.append("lost")

        for host in (A, B):
            bench.start(host, main)
        bench.run(1.0)
        assert sorted(outcomes) == ["lost", "won"]


class TestWatches:
    def test_what_changes_is_told_in_order_and_a_little_late(self, bench: Bench) -> None:
        bench.follow()
        assert phases(bench.run(1.0)) == ["[]"]
        for phase in "ABC":
            bench.set_phase(phase)
        assert phases(bench.run(0.0)) == []
        assert phases(bench.run(0.2)) == ["A", "B", "C"]

    def test_for_minutes_nothing_is_missed_nor_told_twice(self, bench: Bench) -> None:
        """Each watch ends at its time, and the next goes on from there."""
        bench.follow()
        told = phases(bench.run(1.0))
        wanted = ["[]"]
        for number in range(200):
            bench.set_phase(str(number))
            wanted.append(str(number))
            told += phases(bench.run(1.0))
        assert told == wanted

    def test_one_that_fell_silent_is_noticed_by_its_own_patience(self, bench: Bench) -> None:
        bench.follow()
        bench.run(1.0)
        (stream,) = bench.api.streams_of(A)
        stream.fall_silent()
        bench.set_phase("X")
        assert phases(bench.run(PACE.idle_s(PACE.life_s[1]) + 1.0)) == [f"({Ending.IDLE})", "[X]"]

    def test_one_that_is_closed_begins_with_everything_at_once(self, bench: Bench) -> None:
        bench.follow()
        bench.run(1.0)
        bench.api.streams_of(A)[0].close()
        bench.set_phase("X")
        assert phases(bench.run(1.0)) == [f"({Ending.BROKEN})", "[X]"]

    def test_one_that_the_server_ends_early_begins_with_everything(self, bench: Bench) -> None:
        bench.follow()
        bench.run(1.0)
        bench.api.streams_of(A)[0].end_early()
        assert phases(bench.run(1.0)) == [f"({Ending.BROKEN})", "[]"]

    def test_a_short_cut_loses_nothing(self, bench: Bench) -> None:
        bench.follow()
        bench.run(1.0)
        bench.network.cut(MANAGEMENT, A)
        bench.set_phase("X")
        assert phases(bench.run(3.0)) == []
        bench.network.heal(MANAGEMENT, A)
        assert phases(bench.run(4.0)) == ["X"]

    def test_a_long_cut_ends_it(self, bench: Bench) -> None:
        bench.follow()
        bench.run(1.0)
        bench.network.cut(MANAGEMENT, A)
        assert f"({Ending.BROKEN})" in phases(bench.run(LONG_S))
        bench.set_phase("X")
        bench.network.heal(MANAGEMENT, A)
        assert phases(bench.run(15.0))[-1] == "[X]"

    def test_a_lag_is_that_of_its_program(self, bench: Bench) -> None:
        bench.api.watch_lag_s[A] = (3.0, 3.0)
        for host in (A, B):
            bench.follow(host)
        bench.run(1.0)
        bench.set_phase("X")
        assert phases(bench.run(1.0)) == ["X"]
        assert phases(bench.run(2.1)) == ["X"]

    def test_lines_that_are_lost_and_that_come_twice(self, bench: Bench) -> None:
        bench.follow()
        bench.run(1.0)
        way = bench.api.streams_of(A)[0]._way
        way.doubled_lines, way.bookmarks = 1.0, 0.0
        bench.set_phase("X")
        assert phases(bench.run(0.2)) == ["X", "X"]
        way.doubled_lines, way.lost_lines = 0.0, 1.0
        bench.set_phase("Y")
        assert phases(bench.run(0.2)) == []

    def test_after_a_compaction_one_that_would_go_on_is_told_so(self, bench: Bench) -> None:
        bench.follow()
        bench.run(1.0)
        bench.kernel.after(1.0, Group("outside"), lambda: bench.set_phase("X"))
        bench.kernel.after(2.0, Group("outside"), bench.server.store.compact)
        told = phases(bench.run(30.0))
        assert told[:3] in (["X"], ["X", f"({Ending.EXPIRED})", "[X]"])

    def test_a_server_that_cannot_go_on_says_so(self, bench: Bench) -> None:
        bench.follow()
        bench.run(1.0)
        bench.api.streams_of(A)[0].fail({"code": 410, "message": "too old"})
        assert phases(bench.run(1.0)) == [f"({Ending.EXPIRED})", "[]"]

    def test_a_restore_goes_back_and_everything_is_told_anew(self, bench: Bench) -> None:
        bench.follow()
        bench.run(1.0)
        backup = bench.server.backup()
        for number in range(10):
            bench.set_phase(str(number))
        bench.run(1.0)
        bench.server.restore(backup)
        assert bench.server.version < 110
        assert phases(bench.run(1.0)) == [f"({Ending.BROKEN})", "[]"]
        bench.set_phase("X")
        assert phases(bench.run(1.0)) == ["X"]

    def test_a_program_that_stood_still_finds_what_came_meanwhile(self, bench: Bench) -> None:
        group = bench.follow()
        bench.run(1.0)
        bench.kernel.pause(group)
        for phase in "ABC":
            bench.set_phase(phase)
            assert phases(bench.run(1.0)) == []
        bench.kernel.resume(group)
        assert phases(bench.run(0.1)) == ["A", "B", "C"]

    def test_a_dead_program_is_forgotten(self, bench: Bench) -> None:
        group = bench.follow()
        bench.run(1.0)
        group.stop()
        bench.set_phase("X")
        bench.run(1.0)
        assert bench.api.streams == []
        assert bench.server.store.shelf("mirrors").watchers == []

    def test_a_deletion_is_told(self, bench: Bench) -> None:
        bench.follow()
        bench.run(1.0)
        bench.server.delete(Mirror, bench.key)
        assert phases(bench.run(0.2)) == ["(Deleted)"]

    def test_a_server_that_refuses_is_not_asked_without_a_pause(self, bench: Bench) -> None:
        asked: list[int] = []
        bench.api.heard = lambda host, request, code: asked.append(code)
        bench.api.refusals.append(Refusal(503))
        bench.follow()
        bench.run(LONG_S)
        assert 10 < len(asked) < 30
        bench.api.refusals.clear()
        assert phases(bench.run(10.0)) == ["[]"]

    def test_a_server_that_streams_no_lists_is_asked_for_one(self, bench: Bench) -> None:
        bench.server.handler.streams_lists = False
        bench.follow()
        assert phases(bench.run(1.0)) == ["[]"]
        bench.set_phase("X")
        assert phases(bench.run(0.2)) == ["X"]


def test_one_seed_gives_one_result() -> None:
    def played() -> list[str]:
        bench = Bench(7)
        told: list[str] = []
        for host in (A, B):
            bench.follow(host)
        for number in range(30):
            bench.set_phase(str(number))
            if number % 7 == 3:
                bench.network.cut(MANAGEMENT, A)
            if number % 7 == 5:
                bench.network.heal(MANAGEMENT)
            bench.run(2.0)
            told += [f"{at_s} {event}" for at_s, event in bench.said]
        return told

    assert played() == played()


class TestAServerThatStandsStill:
    def test_what_its_kernel_has_taken_is_done_as_it_goes_on(self, bench: Bench) -> None:
        bench.api.pause()
        assert bench.ask(A, write(bench, "X"), 0.5) is None
        assert bench.phase == ""
        bench.api.resume()
        bench.run(0.2)
        assert bench.phase == "X"

    def test_also_for_a_machine_that_has_died_since(self) -> None:
        """Most of it: it may see first that nobody waits any more."""
        landed = []
        for seed in range(20):
            bench = Bench(seed)
            bench.api.pause()
            bench.ask(A, write(bench, "X"), 0.5)
            bench.groups[A].stop()
            bench.api.resume()
            bench.run(0.2)
            landed.append(bench.phase == "X")
        assert 10 < sum(landed) < 20

    def test_who_waits_still_is_answered(self, bench: Bench) -> None:
        bench.api.pause()
        bench.kernel.after(0.5, Group("outside"), bench.api.resume)
        assert bench.ask(A, write(bench, "X"), TIMEOUT_S)["status"]["phase"] == "X"

    def test_what_does_not_get_there_is_not_taken(self, bench: Bench) -> None:
        bench.api.pause()
        bench.network.cut(MANAGEMENT, A, OUT)
        bench.ask(A, write(bench, "X"), 0.5)
        bench.api.resume()
        bench.run(0.2)
        assert bench.phase == ""

    def test_one_that_is_started_anew_has_lost_it(self, bench: Bench) -> None:
        bench.api.pause()
        bench.ask(A, write(bench, "X"), 0.5)
        bench.api.break_all()
        bench.run(0.2)
        assert bench.phase == ""
        assert bench.ask(A, read(bench), 0.05)["metadata"]["name"] == "m"

    def test_two_requests_of_one_program_are_done_in_their_order(self, bench: Bench) -> None:
        bench.api.pause()
        for phase in ("X", "Y"):
            bench.ask(A, write(bench, phase), 0.5)
        bench.api.resume()
        bench.run(0.2)
        assert bench.phase == "Y"
