"""Random faults: a slice of the seeds, that a seed is one result everywhere, and how it is told."""

import os
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import pytest

from sim.__main__ import main
from sim.faults import choices, schedule
from sim.faults.bursts import mending
from sim.play.player import begin, play
from sim.search import fuzz
from sim.search.shrink import shrunk
from sim.search.trial import trial
from sim.world import World
from tandem_scenario.plan import WorldPlan
from tandem_scenario.scenario import Scenario, Step, parse
from tandem_scenario.verbs import Names, parse_act
from tandem_scenario.writer import write

SEEDS = int(os.environ.get("TANDEM_FUZZ", "120"))
WORLDS = 5
IN_ANOTHER_PROCESS = (
    "from sim.faults import schedule\n"
    "from sim.play import player\n"
    "for line in player.play(schedule.scenario({seed})).lines: print(line)"
)


@pytest.mark.parametrize("migration", [False, True])
@pytest.mark.parametrize("drbd", [8, 9])
def test_a_slice(drbd: int, migration: bool) -> None:
    """``TANDEM_FUZZ=1000`` plays more. Few worlds, since each is brought up once."""
    numbers = range(SEEDS // 4)
    seeds = [number // WORLDS * schedule.SHAPES + number % WORLDS for number in numbers]
    choice = choices.Choice(drbd=drbd, migration=migration)
    totals = fuzz.fuzz(seeds, jobs=2, choice=choice, keep_going=True)
    assert [(one.seed, one.problems) for one in totals.failed] == []
    assert totals.seeds == SEEDS // 4


@pytest.mark.parametrize("lasting", [False, True])
def test_a_seed_is_the_same_schedule_on_either_drbd(lasting: bool) -> None:
    eight, nine = (schedule.scenario(7, choices.Choice(lasting=lasting, drbd=n)) for n in (8, 9))
    assert (eight.world.drbd, nine.world.drbd) == (8, 9)
    assert eight.steps == nine.steps


def test_no_process_has_more_than_one_world(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    noted = tmp_path / "processes"

    def watched(plan: WorldPlan, *, settled: bool) -> World:
        with noted.open("a") as file:
            print(os.getpid(), len(World.living), file=file)
        return begin(plan, settled=settled)

    monkeypatch.setattr(fuzz, "begin", watched)
    living = len(World.living)
    assert fuzz.fuzz([0, 60, 1, 2], jobs=1).seeds == 4
    lines = [line.split() for line in noted.read_text().splitlines()]
    assert len(lines) == len({process for process, _ in lines}) == 3
    assert {int(before) for _, before in lines} == {living}


def commands(seed: int, *, lasting: bool = False) -> list[str]:
    steps = schedule.scenario(seed, choices.Choice(lasting=lasting)).steps
    return [step.act.command for step in steps]


def in_order(told: list[str], *parts: str) -> bool:
    """Whether commands that begin so come after each other."""
    rest = iter(told)
    return all(any(command.startswith(part) for command in rest) for part in parts)


class TestWhatIsDrawn:
    """Faults meet often enough for what only shows where they do."""

    SEEDS = range(1, 401)

    @pytest.mark.parametrize(("lasting", "cut"), [(False, "cut replication"), (True, "break link")])
    def test_the_api_stands_still_as_the_link_is_lost_and_the_owner_dies(
        self, lasting: bool, cut: str
    ) -> None:
        """And goes on then, so that what the dead owner asked for is done."""
        seeds = LINK_FOR_GOOD if lasting else self.SEEDS
        drawn = [commands(seed, lasting=lasting) for seed in seeds]
        stories = ("api pause", cut, "kill", "api resume"), (cut, "api pause", "kill", "api resume")
        assert sum(any(in_order(one, *story) for story in stories) for one in drawn) >= 4

    def test_what_a_burst_breaks_is_mostly_mended_before_the_end(self) -> None:
        drawn = [commands(seed) for seed in self.SEEDS]
        dead = [one for one in drawn if in_order(one, "kill burjassot-1")]
        back = [one for one in dead if in_order(one, "kill burjassot-1", "start burjassot-1")]
        assert 0.5 * len(dead) < len(back) < len(dead)

    def test_a_schedule_of_one_mix_has_no_other(self) -> None:
        steps = [s for seed in range(60) for s in schedule.scenario(seed, LINKS_ONLY).steps]
        words = {step.act.command.split()[0] for step in steps}
        assert words == {"cut", "heal", "link", "slow", "mend"}

    def test_bursts_alone(self) -> None:
        steps = schedule.scenario(3, choices.Choice((choices.BURSTS,))).steps
        assert len(steps) > 2


LINK_FOR_GOOD = [seed for seed in range(2000) if schedule.kind_for_good(seed) == "link"]
LINKS_ONLY = choices.Choice(("links",))


@pytest.mark.parametrize(
    ("command", "mends"),
    [
        ("kill burjassot-1", "start burjassot-1"),
        ("cut management burjassot-1 in", "heal management burjassot-1"),
        ("cut replication", "heal replication"),
        ("link narrow", "link wide"),
        ("link wide", ""),
        ("clock jump controller 3600 back", "clock right controller"),
        ("slow burjassot-1 4", "slow burjassot-1 0"),
        ("slow controller 3 out", "slow controller 0 out"),
        ("slow controller 0 out", ""),
        ("watch lag burjassot-1 12", "watch lag burjassot-1 0"),
        ("libvirt hold burjassot-1 start", "libvirt up burjassot-1"),
        ("libvirt pause burjassot-1", "libvirt resume burjassot-1"),
        ("api pause", "api resume"),
        ("api mute controller", "api accept controller"),
        ("api refuse burjassot-1 500 done", "api accept burjassot-1"),
        ("files full burjassot-1 run", "files heal burjassot-1"),
        ("files heal burjassot-1", ""),
        ("set burjassot maintenance=true", "set burjassot maintenance=false"),
        ("set counter running=true", ""),
        ("api restart", ""),
    ],
)
def test_what_ends_a_fault(command: str, mends: str) -> None:
    assert mending(command) == mends


def log_of(seed: int) -> list[str]:
    return [str(line) for line in play(schedule.scenario(seed)).lines]


@pytest.mark.parametrize("seed", [2, 7])
def test_a_seed_is_one_result_in_any_process(seed: int) -> None:
    """Of three guests on a host, too, whose loops wait and wake together."""
    here = log_of(seed)
    assert here == log_of(seed)
    assert here != log_of(seed + schedule.SHAPES)  # the same world, other faults
    there = subprocess.run(
        [sys.executable, "-c", IN_ANOTHER_PROCESS.format(seed=seed)],
        capture_output=True,
        text=True,
        check=True,
        timeout=60,
        env={**os.environ, "PYTHONHASHSEED": "12345"},
    )
    assert there.stdout.splitlines() == [line for one in here for line in one.splitlines()]


def test_a_trial_is_what_run_plays() -> None:
    """What fuzz judges and what is printed for ``run`` is the same thing happening."""
    scenario = schedule.scenario(11)
    world = begin(scenario.world, settled=True)
    trial(scenario, world)
    lines = [str(line) for line in world.log.lines]
    assert lines == [str(line) for line in play(parse(write(scenario))).lines][: len(lines)]


@pytest.mark.parametrize("seed", range(1, 400, 23))
def test_what_is_made_up_can_be_written_and_read(seed: int) -> None:
    scenario = schedule.scenario(seed)
    again = parse(write(scenario))
    assert again.world == scenario.world
    assert [(s.at_s, s.act) for s in again.steps] == [(s.at_s, s.act) for s in scenario.steps]


class TestShrinking:
    def steps(self, *commands: str) -> Scenario:
        one = schedule.scenario(1)
        hosts = tuple(host.name for host in one.world.hosts)
        names = Names(hosts, schedule.SITES, ("counter",), ("management", "replication"))
        acts = [parse_act(command, names) for command in commands]
        steps = tuple(Step(number + 0.37, act) for number, act in enumerate(acts))
        return replace(one, steps=steps, lasts_s=200.0)

    def test_only_what_is_needed_is_left_and_at_whole_seconds(self) -> None:
        long = self.steps(
            "api down", "kill tarongers-1", "api up", "pause burjassot-1", "api down", "mend all"
        )
        wanted = {"kill tarongers-1", "pause burjassot-1"}
        short = shrunk(long, lambda one: wanted <= {step.act.command for step in one.steps})
        told = [(step.at_s, step.act.command) for step in short.steps]
        assert told == [(1.0, "kill tarongers-1"), (3.0, "pause burjassot-1"), (5.0, "mend all")]

    def test_what_mends_stays_last(self) -> None:
        short = shrunk(self.steps("api down", "mend all"), lambda one: True)
        assert [step.act.command for step in short.steps] == ["mend all"]


class TestCommandLine:
    def test_as_promised_is_0_and_counted(self, capsys: pytest.CaptureFixture[str]) -> None:
        assert main(["fuzz", "--seeds", "1..3", "--jobs", "1"]) == 0
        assert capsys.readouterr().out.startswith("seeds 3 (")

    def test_a_failure_is_1_and_shown_as_a_scenario(
        self, capsys: pytest.CaptureFixture[str]
    ) -> None:
        """Nothing that was broken can be well in no time."""
        arguments = ["fuzz", "--seeds", "1..9", "--jobs", "1", "--within", "0", "--keep-going"]
        assert main(arguments) == 1
        told = capsys.readouterr().out
        short = parse(told[told.index("title:") :])
        assert short.title.endswith("shortened")
        assert play(short).problems

    @pytest.mark.parametrize("wrong", [["--seeds", "x"], ["--profile", "weather"]])
    def test_a_wrong_command_line_is_2(self, wrong: list[str]) -> None:
        with pytest.raises(SystemExit) as ended:
            main(["fuzz", *wrong])
        assert ended.value.code == 2

    def test_show(self, capsys: pytest.CaptureFixture[str]) -> None:
        assert main(["show", "5", "--profile", "links"]) == 0
        assert parse(capsys.readouterr().out).title == "Random faults, seed 5"
