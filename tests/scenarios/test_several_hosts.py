"""Sites of several hosts: how a file says it, what is drawn, what the referee asks there."""

from dataclasses import replace

import pytest

from sim.faults import choices, schedule
from sim.network.links import MANAGEMENT, REPLICATION, Network
from sim.play.player import begin
from sim.search import fuzz
from sim.verdicts.liveness import Kind, verdict
from sim.verdicts.orders import End, answers
from sim.world import World
from tandem_lab.scenarios.player import check
from tandem_scenario.located import BadScenario
from tandem_scenario.plan import GuestPlan, HostPlan, WorldPlan
from tandem_scenario.scenario import parse
from tandem_scenario.writer import write

from .test_ailing import act, goes_on

B1, B2, T1, T2 = "burjassot-1", "burjassot-2", "tarongers-1", "tarongers-2"
HOSTS = tuple(HostPlan(name, name[:-2]) for name in (B1, B2, T1, T2))
PLAN = WorldPlan(
    hosts=HOSTS,
    guests=(
        GuestPlan("one", prefers="burjassot", hosts=(B1, T1)),
        GuestPlan("two", prefers="burjassot", hosts=(B2, T2)),
    ),
)
MANY = ", ".join(f"{{name: {host.name}, site: {host.site}}}" for host in HOSTS)


def file(hosts: str, guests: str = "") -> str:
    told = f"guests: [{guests}]\n" if guests else ""
    return f"title: t\nlasts: 5\nsteps: []\nexpect: []\nhosts: [{hosts}]\n{told}"


class TestFormat:
    @pytest.mark.parametrize(
        ("hosts", "guests", "told"),
        [
            ("{name: a, site: x}", "", "line 5: hosts at two sites belong here"),
            ("{name: a, site: x}, {name: a, site: y}", "", "the names of hosts and sites must"),
            ("{name: a, site: a}, {name: b, site: y}", "", "the names of hosts and sites must"),
            ("{name: a, site: x, memory: much}, {name: b, site: y}", "", "'much' is no amount"),
            (MANY, "", "line 5: with more than two hosts, `guests` say on which two"),
            (MANY, "{name: g}", "line 6: hosts is missing"),
            (MANY, f"{{name: g, hosts: [{B1}]}}", "line 6: two hosts belong here"),
            (MANY, f"{{name: g, hosts: [{B1}, {B2}]}}", "two hosts belong here, one at each site"),
            (MANY, f"{{name: g, hosts: [{B1}, x]}}", "'x' is none of"),
        ],
    )
    def test_what_is_wrong_is_told_with_its_line(self, hosts: str, guests: str, told: str) -> None:
        with pytest.raises(BadScenario, match="line") as refused:
            parse(file(hosts, guests))
        assert told in str(refused.value)

    def test_two_hosts_need_not_be_named(self) -> None:
        plan = parse(file("{name: a, site: x}, {name: b, site: y}", "{name: g}")).world
        assert plan.replicas_of(plan.guests[0]) == ("a", "b")

    def test_it_is_written_as_it_is_read(self) -> None:
        scenario = parse(file(MANY, f"{{name: g, hosts: [{T2}, {B1}], memory: 1Gi}}"))
        assert scenario.world.replicas_of(scenario.world.guests[0]) == (T2, B1)
        assert parse(write(scenario)) == scenario

    def test_the_lab_has_two(self) -> None:
        with pytest.raises(BadScenario, match="the lab has 2 hosts, not 4"):
            check(parse(file(MANY, f"{{name: g, hosts: [{B1}, {T1}]}}")))
        with pytest.raises(BadScenario, match="the lab cannot do memory"):
            check(parse(file("{name: a, site: x, memory: 1Gi}, {name: b, site: y}")))


class TestLinks:
    @pytest.fixture
    def network(self) -> Network:
        return Network()

    def test_two_are_parted_alone(self, network: Network) -> None:
        network.part(T1, B1)
        assert not network.up(REPLICATION, B1, T1)
        assert not network.passes(REPLICATION, B1, T1)
        assert network.up(REPLICATION, B1, T2)
        assert network.passes(REPLICATION, B2, T1)
        assert network.up(MANAGEMENT, B1, T1)
        network.join(B1, T1)
        assert network.up(REPLICATION, B1, T1)

    @pytest.mark.parametrize(("healed", "joined"), [("", True), (B1, False)])
    def test_only_the_whole_link_joins_them(
        self, network: Network, healed: str, joined: bool
    ) -> None:
        network.part(B1, T1)
        network.heal(REPLICATION, healed)
        assert network.up(REPLICATION, B1, T1) is joined


class TestDrawing:
    @pytest.mark.parametrize("hosts", [2, 3])
    def test_worlds(self, hosts: int) -> None:
        plans = [schedule.shape(number, hosts) for number in range(schedule.SHAPES)]
        assert {len(plan.hosts) for plan in plans} == {2 * hosts}
        assert {len(plan.guests) for plan in plans} == {3, 4, 5, 6}
        for plan in plans:
            sites = [{plan.site_of(h) for h in plan.replicas_of(guest)} for guest in plan.guests]
            assert all(len(each) == 2 for each in sites)
        pairs = {frozenset(plan.replicas_of(guest)) for plan in plans for guest in plan.guests}
        assert len(pairs) == hosts * hosts

    def test_a_drawn_scenario_can_be_written_down(self) -> None:
        told = []
        for seed in range(1, 40):
            scenario = schedule.scenario(seed, choices.Choice(hosts=2))
            again = parse(write(scenario))
            assert again.world == scenario.world
            told += [step.act.verb for step in again.steps]
        assert {"cut replication", "heal replication"} <= set(told)

    def test_one_host_a_site_is_as_it_was(self) -> None:
        told = [step.act.verb for seed in range(1, 200) for step in schedule.scenario(seed).steps]
        assert "cut replication" not in told

    @pytest.mark.parametrize("lasting", [False, True])
    def test_a_slice(self, lasting: bool) -> None:
        choice = choices.Choice(hosts=2, drbd=9 if lasting else 8, lasting=lasting)
        totals = fuzz.fuzz(range(60, 241, 60), choice=choice, keep_going=True)
        assert [(one.seed, one.problems) for one in totals.failed] == []
        assert totals.seeds == 4


def ends(world: World, guest: str) -> None:
    world.referee.executing(f"sim/{guest}")[0].end("out of memory")


class TestReferee:
    @pytest.fixture
    def world(self) -> World:
        world = begin(PLAN, settled=True)
        goes_on(world, 15.0)
        return world

    def test_another_pair_is_no_reason(self, world: World) -> None:
        act(world, f"kill {B1}")
        ends(world, "two")
        assert "sim/two ended on burjassot-2" in "\n".join(world.referee.problems)

    @pytest.mark.parametrize(
        "command", [f"kill {T2}", "cut replication", f"cut replication {B2} {T2}"]
    )
    def test_its_own_hosts_may_be(self, world: World, command: str) -> None:
        act(world, command)
        ends(world, "two")
        assert world.referee.problems == []

    @pytest.fixture
    def criss_cross(self) -> World:
        """A host of each is a host of the next."""
        three = GuestPlan("three", prefers="burjassot", hosts=(B1, T2))
        world = begin(replace(PLAN, guests=(*PLAN.guests, three)), settled=True)
        goes_on(world, 25.0)
        return world

    def test_nothing_spreads_although_the_api_is_away(self, criss_cross: World) -> None:
        act(criss_cross, "api down", f"kill {T1}")
        ends(criss_cross, "two")
        assert "sim/two ended on burjassot-2" in "\n".join(criss_cross.referee.problems)

    def test_two_that_lose_each_other_cost_what_they_share_alone(self, criss_cross: World) -> None:
        act(criss_cross, "api down", f"cut replication {B1} {T1}")
        ends(criss_cross, "one")
        assert criss_cross.referee.problems == []
        ends(criss_cross, "three")
        assert "sim/three ended on burjassot-1" in "\n".join(criss_cross.referee.problems)


class TestJudges:
    """They ask the hosts of the guest, and no others."""

    @pytest.fixture
    def world(self) -> World:
        return begin(PLAN, settled=True)

    def judged(self, world: World, *commands: str) -> World:
        act(world, *commands)
        goes_on(world, 45.0)
        return world

    def test_a_guest_whose_hosts_are_gone(self, world: World) -> None:
        self.judged(world, f"break power@{B1}", f"break power@{T1}")
        assert verdict(world, "one").kind in (Kind.NAMED, Kind.TOLD)
        assert verdict(world, "two").kind is Kind.RAN

    @pytest.mark.parametrize("premises", [B1, "burjassot"])
    def test_a_drain(self, world: World, premises: str) -> None:
        self.judged(world, f"set {premises} maintenance=true")
        assert world.runs_on("one") == [T1]
        assert world.runs_on("two") == [B2 if premises == B1 else T2]
        told = [answer.end for guest in ("one", "two") for answer in answers(world, guest)]
        assert told == [End.DONE, End.DONE]

    def test_a_move_to_where_it_has_no_replica(self, world: World) -> None:
        self.judged(world, f"move one {T2} within 20")
        assert world.runs_on("one") == [B1]
        assert [answer.end for answer in answers(world, "one")] == [End.REFUSED]

    def test_a_stop(self, world: World) -> None:
        self.judged(world, f"kill {T2}", "set one running=false")
        assert [answer.end for answer in answers(world, "one")] == [End.DONE]
