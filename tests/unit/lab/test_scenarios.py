"""What the lab's scenarios rest on and needs no lab: faults, objects, runs, the guests' history."""

from __future__ import annotations

import inspect
import json
import math
from dataclasses import replace

import pytest

from tandem_api.kinds.guest import Guest
from tandem_api.kinds.mirror import Mirror
from tandem_lab.history import Line, history_problem, joined
from tandem_lab.live_move import longest_gap_s, measured
from tandem_lab.scenarios.doing import DOING
from tandem_lab.scenarios.faults import PLAN, kind_of, mends, scenario_of, steps_of
from tandem_lab.scenarios.fuzz import Summary
from tandem_lab.scenarios.log import Log
from tandem_lab.scenarios.objects import objects_of, topology_of
from tandem_lab.scenarios.player import check, play
from tandem_lab.scenarios.runs import Runs
from tandem_lab.settings import LabError, Settings
from tandem_scenario.judge import End, Judge
from tandem_scenario.located import BadScenario
from tandem_scenario.plan import GuestPlan, HostPlan, WorldPlan
from tandem_scenario.scenario import Expectation, parse
from tandem_scenario.verbs import FORMS, VERBS, verb_of
from tandem_scenario.writer import write


def printed(*texts: str) -> list[Line]:
    return [Line(float(at), "a", text) for at, text in enumerate(texts)]


class TestHistory:
    def test_one_row_over_several_boots(self) -> None:
        assert history_problem(printed("boot 0", "1", "2", "boot 2", "3")) is None

    def test_a_number_may_be_written_and_not_printed(self) -> None:
        assert history_problem(printed("1", "2", "2boot 3", "4")) is None

    @pytest.mark.parametrize(
        ("texts", "told"),
        [
            (("5", "6", "boot 4"), "6 was printed, but a boot at a, 2.00 found 4"),
            (("5", "6", "6"), "6 was printed at a, 2.00 after 6"),
            (("5", "6", "8"), "8 was printed at a, 2.00 after 6"),
            (("5", "BAD torn"), "its disk damaged"),
            (("5", "BAD disk error"), "its disk damaged"),
        ],
    )
    def test_what_is_no_row(self, texts: tuple[str, ...], told: str) -> None:
        assert told in (history_problem(printed(*texts)) or "")

    @pytest.mark.parametrize(
        ("texts", "whole"),
        [
            ((("a", "9"), ("b", "10")), [9, 10]),
            ((("a", "117"), ("b", "8"), ("b", "119"), ("a", "11120")), [117, 118, 119, 120]),
            ((("a", "117"), ("b", ""), ("b", "119")), [117, 118, 119]),
            ((("a", "117"), ("b", "7")), [117, 7]),
            ((("a", "117"), ("a", "8")), [117, 8]),
        ],
        ids=["whole", "split and back", "only its end", "no such end", "at one host"],
    )
    def test_a_line_that_began_elsewhere(
        self, texts: tuple[tuple[str, str], ...], whole: list[int]
    ) -> None:
        """A guest that moved as it ran, in the middle of a line."""
        lines = [Line(float(at), host, text) for at, (host, text) in enumerate(texts)]
        assert [line.number for line in joined(lines)] == whole

    def test_what_is_joined_is_one_row_and_has_no_gap(self) -> None:
        lines = [Line(0.0, "a", "117"), Line(0.9, "b", "18"), Line(1.0, "b", "119")]
        assert history_problem([*lines, Line(1.1, "a", "1120")]) is None
        assert longest_gap_s(lines) == 0.9
        assert longest_gap_s(lines[:1]) == math.inf

    def test_what_was_measured_of_a_move(self) -> None:
        lines = [Line(float(n), "ab"[n > 3], str(n)) for n in range(1, 7)]
        move = measured(lines, "a", "b", 4.0, domain="ns.g")
        assert (move.last_at_source, move.first_at_target) == (3, 4)
        assert (move.gap_s, move.problem) == (1.0, None)
        assert measured([*lines[:3], *lines[4:]], "a", "b", 4.0, domain="ns.g").problem
        with pytest.raises(LabError, match=r"ns\.g printed nothing at b"):
            measured(lines[:3], "a", "b", 4.0, domain="ns.g")

    def test_an_error_of_a_disk_that_was_made_to_fail(self) -> None:
        assert history_problem(printed("5", "BAD disk error"), disks_fail=True) is None
        assert history_problem(printed("5", "BAD torn"), disks_fail=True) is not None


class TestRuns:
    def test_starts_and_ends(self) -> None:
        runs = Runs(Log())
        runs.seen("a", {"one", "two"})
        assert runs.hosts_of("one") == ["a"]
        runs.seen("a", {"two"})
        assert runs.hosts_of("one") == []
        runs.lost("a", "power cut")
        runs.lost("a", "power cut")
        assert [len(runs.starts[name]) for name in ("one", "two")] == [1, 1]
        assert [end.why for end in runs.ends["two"]] == ["power cut"]

    def test_on_two_hosts(self) -> None:
        runs = Runs(Log())
        runs.seen("a", {"one"})
        runs.seen("b", {"one"})
        assert runs.hosts_of("one") == ["a", "b"]


class TestObjects:
    def test_they_are_valid(self) -> None:
        world = WorldPlan(
            hosts=(HostPlan("a-1", "a", watchdog="None"), HostPlan("b-1", "b")),
            guests=(GuestPlan("x", prefers="b", volumes=("root", "data"), holdoff_s=0),),
        )
        topology = topology_of(world)
        assert topology.host("a-1").softdog_margin_s is None
        objects = json.loads(json.dumps(objects_of(world, topology)))
        kinds = [raw["kind"] for raw in objects]
        assert kinds == ["Namespace", "Site", "Site", "Host", "Host", "Mirror", "Guest"]
        assert Mirror.parse(objects[-2]).spec.link_loss_holdoff_seconds == 0
        assert [disk.volume for disk in Guest.parse(objects[-1]).spec.domain.disks] == [
            "root",
            "data",
        ]


class TestFaults:
    def test_a_seed_is_one_row_of_faults(self) -> None:
        assert steps_of(7, 3) == steps_of(7, 3)
        assert len({steps_of(7, number) for number in range(50)}) > 40

    @pytest.mark.parametrize("number", range(1, 60))
    def test_a_round_is_a_scenario_that_the_lab_can_play(self, number: int) -> None:
        steps = steps_of(1, number)
        assert [step.at_s for step in steps] == sorted(step.at_s for step in steps)
        scenario = parse(write(scenario_of(1, number, steps, 60.0, 150.0)))
        check(scenario)
        assert [step.act for step in scenario.steps][: len(steps)] == [s.act for s in steps]
        assert {e.guest for e in scenario.expectations} == {guest.name for guest in PLAN.guests}

    def test_every_kind_of_fault_comes_up(self) -> None:
        verbs = {step.act.verb for number in range(400) for step in steps_of(1, number)}
        by_people = {"set running", "set paused", "set maintenance", "override", "confirm-down"}
        by_people |= {"move", "move live", "move within", "unmove", "allow-two-primaries"}
        # The counter's firmware gives a disk up that hangs for 30 s, and the guest then halts.
        undrawn = {"hang-disk", "unhang-disk"}
        assert verbs == set(DOING) - by_people - undrawn

    def test_kinds_have_no_names_in_them(self) -> None:
        assert kind_of("cut management burjassot-1 in") == "cut management in"
        assert kind_of("delay replication tarongers-1 400") == "delay replication"

    def test_what_mends_is_no_fault(self) -> None:
        acts = {step.act.verb: step.act for n in range(400) for step in steps_of(1, n)}
        mending = {verb for verb, act in acts.items() if mends(act)} - {"delay"}
        assert mending == {
            "start",
            "resume",
            "heal",
            "api up",
            "controller start",
            "actuator start",
            "libvirt up",
        }

    def test_a_summary_names_what_was_broken(self) -> None:
        summary = Summary(rounds=2, violations=["seed 1 round 2: lost"])
        assert summary.told()[-2:] == ["violations: 1", "seed 1 round 2: lost"]


class Fixed:
    """An observation that stays as it is, but for the time."""

    def __init__(self) -> None:
        self.now_s, self.hosts, self.moments = 0.0, ["a"], [1.0, 2.0]

    def runs_on(self, guest: str) -> list[str]:
        return self.hosts

    def reasons(self, guest: str) -> set[object]:
        return set()

    def mode(self, guest: str) -> str:
        return "Mirrored"

    def protected(self, guest: str) -> str:
        return "True"

    def starts(self, guest: str) -> list[float]:
        return [9.0]

    def ends(self, guest: str) -> list[End]:
        return [End(4.0, "a", "power cut")]

    def answered(self, guest: str) -> list[float]:
        return self.moments


class TestJudge:
    def judge(self, *expectations: Expectation, slack_s: float = 0.0) -> tuple[Judge, Fixed]:
        observed = Fixed()
        return Judge(expectations, observed, slack_s), observed  # type: ignore[arg-type]

    def test_by_is_met_once_and_for_all(self) -> None:
        judge, observed = self.judge(Expectation(1, "g", by_s=5.0, on="a"))
        judge.look(4.0)
        observed.hosts = []
        judge.end()
        assert judge.problems == []

    def test_by_that_comes_later_is_too_late_but_for_slack(self) -> None:
        expectation = Expectation(1, "g", by_s=5.0, on="a")
        for slack_s, problems in ((0.0, ["line 1: came about only later"]), (3.0, [])):
            judge, _ = self.judge(expectation, slack_s=slack_s)
            judge.look(7.0)
            judge.end()
            assert judge.problems == problems

    def test_at_is_asked_at_its_moment_only(self) -> None:
        judge, observed = self.judge(Expectation(1, "g", at_s=5.0, on="b"))
        judge.at(4.0)
        assert judge.problems == []
        judge.at(5.0)
        assert judge.problems == ["line 1: g runs on ['a'], not b"]
        assert observed.hosts == ["a"]

    def test_bounds(self) -> None:
        judge, observed = self.judge(
            Expectation(1, "g", downtime_below_s=5.0, stops=2),
            Expectation(2, "g", downtime_below_s=5.1, longest_gap_below_s=3.0),
        )
        observed.now_s = 5.0
        judge.end()
        assert judge.problems == [
            "line 1: g ended 1 times, not 2: 4.0 s on a (power cut)",
            "line 1: g was down for 5.0 s",
            "line 2: g wrote nothing for 3.0 s",
        ]


class TestWhatTheLabCannotDo:
    def test_clock_rates(self) -> None:
        text = (
            "title: t\nlasts: 5\nsteps: []\nexpect: []\n"
            "hosts:\n  - {name: a-1, site: a, clockRate: 1.1}\n  - {name: b-1, site: b}\n"
        )
        with pytest.raises(BadScenario, match="the lab cannot do clockRate"):
            check(parse(text))

    def test_another_drbd_than_it_has(self) -> None:
        text = "title: t\nlasts: 5\ndrbd: 9\nsteps: []\nexpect: []\n"
        settings = replace(Settings.from_environment(), drbd_modules=None)
        with pytest.raises(BadScenario, match="set TANDEM_DRBD_MODULES"):
            play(parse(text), settings, Log(), 0.0)

    def test_every_verb_that_it_does_has_a_form(self) -> None:
        assert set(DOING) <= set(VERBS)

    def test_what_it_does_takes_what_the_form_has(self) -> None:
        for form in FORMS:
            values = [word for word in form.split() if not word.islower()]
            if verb_of(form) in DOING:
                given = (None, *values)  # a stage, and what stands for the capitals
                inspect.signature(DOING[verb_of(form)]).bind(*given)
