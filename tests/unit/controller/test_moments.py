"""How long ago something was: counted by the controller itself, whatever wall clocks are set to."""

from dataclasses import replace
from typing import Any, TypeVar, cast

import pytest

from tandem_api.meta import ObjectKey
from tandem_controller.decide.plan import plan
from tandem_controller.decide.walls import Walls
from tandem_controller.decide.world.model import Assign, Keep, Snapshot
from tandem_controller.decide.world.moments import AHEAD_S, First, Noted, ahead, elapsed_s, noted

from .moves_scenes import AFTER, CREATED, begun, move, ordered, redundant, told
from .scenes import (
    NOW_S,
    WALL,
    A,
    B,
    Scene,
    assigned,
    guest,
    mirror,
    owned_by,
    replica,
    report,
)

T = TypeVar("T")
YEARS_AHEAD = "2033-05-01T10:00:00Z"
A_DAY_LATER = "2024-05-02T10:00:00Z"
A_MINUTE_LATER = "2024-05-01T10:01:00Z"


def of(found: Noted, now_s: float = NOW_S, wall: str = WALL) -> Snapshot:
    return replace(Scene().snapshot(), now_s=now_s, wall=wall, moments=found.firsts)


def note(*objects: Any, before: Noted | None = None, now_s: float = NOW_S, wall: str = WALL) -> Any:
    by_kind: dict[str, tuple[Any, ...]] = {"Guest": (), "GuestMove": (), "Mirror": ()}
    for each in objects:
        by_kind[type(each).__name__] += (each,)
    return noted(before or Noted(), by_kind, now_s, wall, Walls().around)


def a_guest(since: str = CREATED) -> Any:
    return guest("g", status={"assignment": assigned(A, since=since)})


class TestElapsed:
    def test_by_the_wall_clock_when_it_is_met(self) -> None:
        assert elapsed_s(CREATED, of(note(a_guest()))) == 60.0

    def test_and_from_there_on_by_the_monotonic_one(self) -> None:
        later = of(note(a_guest()), NOW_S + 5.0, A_DAY_LATER)
        assert elapsed_s(CREATED, later) == 65.0

    def test_what_is_yet_to_come_counts_from_when_it_is_met(self) -> None:
        later = of(note(a_guest(YEARS_AHEAD)), NOW_S + 5.0)
        assert elapsed_s(YEARS_AHEAD, later) == 5.0

    def test_one_that_was_not_met_is_counted_by_the_wall_clock(self) -> None:
        snapshot = Scene().snapshot()
        assert elapsed_s(CREATED, snapshot) == 60.0
        assert elapsed_s(YEARS_AHEAD, snapshot) == 0.0

    @pytest.mark.parametrize("text", [None, "", "yesterday", "2024-05-01T09:00:00"])
    def test_nothing_if_it_cannot_be_read(self, text: str | None) -> None:
        assert elapsed_s(text, of(note(a_guest(text or "")))) == 0.0


class TestNoted:
    def test_all_that_something_is_counted_from(self) -> None:
        taken = {"recentTakeovers": [{"site": "burjassot", "at": "2024-05-01T09:01:00Z"}]}
        status = {**taken, "assignment": assigned(A)}
        replicas = {B: replica(B, connected=False, notConnectedSince="2024-05-01T09:02:00Z")}
        conditions = [redundant("2024-05-01T09:03:00Z")]
        found = note(
            guest("g", status=status),
            mirror("g", status={"replicas": replicas, "conditions": conditions}),
            move(seen="2024-05-01T09:04:00Z", status={"steps": {"stopped": AFTER}}),
        )
        assert {text[11:16] for text in found.firsts} == {
            *("09:00", "09:01", "09:02", "09:03", "09:04", "09:59")
        }

    def test_the_same_objects_are_not_looked_at_again(self) -> None:
        by_kind = {"Guest": (a_guest(),)}
        first = noted(Noted(), by_kind, NOW_S, WALL, Walls().around)
        assert noted(first, by_kind, NOW_S + 60.0, A_MINUTE_LATER, Walls().around) is first

    def test_a_moment_is_met_once_whatever_else_changes(self) -> None:
        first = note(a_guest())
        again = note(a_guest(), move(), before=first, now_s=NOW_S + 9.0, wall=A_DAY_LATER)
        assert again.firsts[CREATED] == First(NOW_S, 60.0)

    def test_what_nobody_says_any_more_is_forgotten(self) -> None:
        first = note(a_guest())
        assert list(note(a_guest(AFTER), before=first).firsts) == [AFTER]

    def test_one_that_cannot_be_looked_at_costs_itself_alone(self) -> None:
        walls = Walls()
        broken = a_guest().model_copy(update={"status": None})
        other = guest("other", status={"assignment": assigned(A, since=AFTER)})
        found = noted(Noted(), {"Guest": (broken, other)}, NOW_S, WALL, walls.around)
        assert list(found.firsts) == [AFTER]
        assert [bug.key for bug in walls.bugs] == [ObjectKey("ns", "g")]


class TestAhead:
    def test_what_is_yet_to_come_is(self) -> None:
        found = of(note(a_guest(YEARS_AHEAD)))
        assert ahead(YEARS_AHEAD, found)
        assert not ahead(CREATED, of(note(a_guest())))

    def test_not_by_what_two_clocks_may_differ(self) -> None:
        soon = "2024-05-01T10:00:59Z"
        assert AHEAD_S == 60.0
        assert not ahead(soon, of(note(a_guest(soon))))

    def test_also_if_the_clock_was_set_back_after_it_was_met(self) -> None:
        objects = {"Guest": (a_guest(),)}
        first = noted(Noted(), objects, NOW_S, WALL, Walls().around)
        back = noted(first, objects, NOW_S + 1.0, "2023-05-01T10:00:00Z", Walls().around)
        assert ahead(CREATED, of(back))
        assert elapsed_s(CREATED, of(back, NOW_S + 1.0)) == 61.0

    def test_redundant_since_then_is_told_anew(self) -> None:
        scene = Scene()
        scene.mirror_conditions = [redundant(YEARS_AHEAD)]
        found = note(scene.parsed_mirror())
        assert self.redundant_since(replace(scene.snapshot(), moments=found.firsts)) == WALL
        assert self.redundant_since(scene.snapshot()) == YEARS_AHEAD

    @staticmethod
    def redundant_since(snapshot: Snapshot) -> str:
        (written,) = (each.patch for each in plan(snapshot).statuses if each.kind == "Mirror")
        conditions: Any = written["conditions"]
        (found,) = (each for each in conditions if each["type"] == "Redundant")
        return str(found["lastTransitionTime"])

    def test_a_lease_since_then_is_told_anew(self) -> None:
        hosts = tuple(self.with_lease_ahead(each) for each in Scene().snapshot().hosts)
        sites = tuple(self.with_lease_ahead(each) for each in Scene().snapshot().sites)
        snapshot = replace(Scene().snapshot(), hosts=hosts, sites=sites)
        assert self.lease_since(snapshot) == set()
        found = noted(Noted(), {"Host": hosts, "Site": sites}, NOW_S, WALL, Walls().around)
        assert self.lease_since(replace(snapshot, moments=found.firsts)) == {
            *(("Host", WALL), ("Site", WALL))
        }

    @staticmethod
    def with_lease_ahead(obj: T) -> T:
        """As it was told by a clock that was years ahead."""
        kind: Any = type(obj)
        statuses = plan(Scene().snapshot()).statuses
        patch = next(each.patch for each in statuses if each.kind == kind.__name__)
        status = {**patch, "leaseSince": YEARS_AHEAD}
        return cast(T, kind.parse({**cast(Any, obj).wire(), "status": status}))

    @staticmethod
    def lease_since(snapshot: Snapshot) -> set[tuple[str, Any]]:
        statuses = plan(snapshot).statuses
        return {(e.kind, e.patch["leaseSince"]) for e in statuses if "leaseSince" in e.patch}


class TestWhatIsWaitedFor:
    """After the wall clock jumped by a day, or was set back by years."""

    @staticmethod
    def jumped(scene: Scene) -> Snapshot:
        met = note(scene.parsed_guest(), scene.parsed_mirror(), *scene.guestmoves)
        return replace(scene.snapshot(), wall=A_DAY_LATER, moments=met.firsts)

    def test_a_move_is_not_out_of_time(self) -> None:
        scene = ordered(move(spec={"timeoutSeconds": 120}))
        made = plan(self.jumped(scene))
        assert isinstance(made.decisions[ObjectKey("ns", "g")], Assign)

    def test_nor_one_that_was_begun(self) -> None:
        made = plan(self.jumped(begun()))
        assert isinstance(made.decisions[ObjectKey("ns", "g")], Keep)
        assert "phase" not in told(made) or told(made)["phase"] == "Moving"

    def test_how_long_a_guest_was_away_is_counted(self) -> None:
        scene = begun(ordered(move(status={"phase": "Moving", "source": A, "steps": {}})))
        scene.guestmoves = (
            move(status={"phase": "Moving", "source": A, "steps": {"stopped": AFTER}}),
        )
        scene.authority = owned_by(B)
        scene.replicas = {A: replica(A), B: replica(B, role="Primary")}
        scene.reports = {A: report(A, "Absent"), B: report(B)}
        written = told(plan(self.jumped(scene)))
        assert (written["phase"], written["awaySeconds"]) == ("Succeeded", 30.0)

    def test_failback_waits_as_long_as_ever(self) -> None:
        scene = Scene()
        scene.authority = owned_by(B)
        scene.replicas = {A: replica(A), B: replica(B, role="Primary")}
        scene.assignment, scene.reports = assigned(B, "LeaseLost"), {B: report(B)}
        scene.guest["failback"] = {"policy": "Automatic", "afterSeconds": 600}
        scene.mirror_conditions = [redundant(CREATED)]
        made = plan(self.jumped(scene))
        assert isinstance(made.decisions[ObjectKey("ns", "g")], Keep)
        later = replace(self.jumped(scene), now_s=NOW_S + 541.0)
        assert isinstance(self.fresh(later), Assign)

    @staticmethod
    def fresh(snapshot: Snapshot) -> Any:
        """All hosts have been heard until then."""
        counts = {
            host: replace(count, since_s=snapshot.now_s - 0.5)
            for host, count in snapshot.leases.counts.items()
        }
        leases = replace(snapshot.leases, counts=counts, read_s=snapshot.now_s - 0.1)
        made = plan(replace(snapshot, leases=leases))
        return made.decisions[ObjectKey("ns", "g")]
