"""What stays broken, the judge of it, and the person who does what a message says."""

import re
from collections.abc import Iterator

import pytest

from sim.__main__ import main
from sim.commands.person import orders
from sim.faults import choices, schedule
from sim.play.player import begin
from sim.search.trial import trial
from sim.verdicts.liveness import Kind, verdict
from sim.verdicts.orders import End, Ordered, answers, wrong
from sim.world import World
from tandem_scenario.plan import GuestPlan, WorldPlan

from .test_ailing import HEALS_WITHIN_S, HERE, THERE, act, goes_on

BROKEN = (
    f"disk@{HERE}",
    f"libvirt@{HERE}",
    f"start@{HERE}",
    f"watchdog@{HERE}",
    f"power@{HERE}",
    f"files@{HERE}",
    f"management@{HERE}",
    "link",
    "path",
    "api",
)


def works(world: World, what: str) -> bool:
    """Whether that which may be broken for good works now."""
    host, machine = world.hosts[HERE], world.hosts[HERE].machine
    return {
        "disk": not host.has_broken_disk,
        "libvirt": machine is not None and machine.libvirt.ready,
        "start": machine is not None and not machine.libvirt.refuses_to_start,
        "watchdog": host.has_watchdog and (machine is None or machine.hardware.present),
        "power": machine is not None,
        "files": host.files.well,
        "management": world.network.up("management", HERE),
        "link": world.network.up("replication", HERE, THERE),
        "path": not world.network.narrow,
        "api": world.api.up,
    }[what.partition("@")[0]]


class TestForGood:
    @pytest.mark.parametrize("what", BROKEN)
    def test_only_mend_all_mends_it(self, world: World, what: str) -> None:
        assert works(world, what)
        act(world, f"break {what}")
        assert not works(world, what)
        act(world, f"kill {HERE}", f"start {HERE}", f"libvirt up {HERE}", "api up")
        act(world, "heal management", "heal replication", f"files heal {HERE}")
        act(world, f"watchdog back {HERE}")
        goes_on(world, 20.0)
        act(world, "mend all but broken")
        goes_on(world, 20.0)
        assert not works(world, what)
        act(world, "mend all")
        goes_on(world, HEALS_WITHIN_S)
        assert works(world, what)
        assert str(world.guest("counter").status.protected) == "True"
        assert world.referee.problems == []

    def test_all_else_is_mended(self, world: World) -> None:
        act(world, f"break start@{THERE}", f"kill {HERE}", "cut replication", "controller kill")
        act(world, "mend all but broken")
        goes_on(world, 60.0)
        assert world.runs_on("counter") == [HERE]


class TestJudge:
    def test_a_guest_that_runs(self, world: World) -> None:
        assert verdict(world, "counter").kind is Kind.RAN

    def test_one_that_could(self, world: World) -> None:
        """It has only just ended, and both hosts are well."""
        (run,) = world.referee.executing("sim/counter")
        run.end("crashed")
        found = verdict(world, "counter")
        assert found.kind is Kind.WRONG
        assert f"counter could run on {HERE} or {THERE}" in found.wrong

    def test_one_whose_other_side_wrote_alone(self, world: World) -> None:
        act(world, "cut replication")
        goes_on(world, 20.0)
        act(world, f"break power@{HERE}", "heal replication")
        goes_on(world, 60.0)
        found = verdict(world, "counter")
        assert found.kind is Kind.NAMED
        assert "spec.override" in found.words

    def test_one_that_nobody_can_run(self, world: World) -> None:
        act(world, f"break libvirt@{HERE}", f"break power@{THERE}", f"kill {HERE}")
        act(world, f"start {HERE}")
        goes_on(world, 60.0)
        found = verdict(world, "counter")
        assert found.kind in (Kind.TOLD, Kind.NAMED) or "no host could run it" in found.wrong

    def test_one_of_which_nothing_can_be_told(self, world: World) -> None:
        act(world, f"break power@{HERE}", "break api")
        assert verdict(world, "counter").kind is Kind.UNTOLD

    def test_an_owner_on_the_link_is_not_gone(self, world: World) -> None:
        act(world, f"cut management {HERE}")
        (run,) = world.referee.executing("sim/counter")
        run.end("crashed")
        assert f"could run on {THERE}" not in verdict(world, "counter").wrong

    def test_a_stale_disk_runs_nothing(self, world: World) -> None:
        act(world, f"fail-disk {THERE}")
        goes_on(world, 20.0)
        (run,) = world.referee.executing("sim/counter")
        act(world, f"break power@{HERE}")
        assert not run.executing
        assert THERE not in verdict(world, "counter").wrong


class TestPerson:
    def test_an_override_is_given_as_printed(self, world: World) -> None:
        act(world, "cut replication")
        goes_on(world, 20.0)
        act(world, f"break power@{HERE}", "heal replication")
        goes_on(world, 60.0)
        act(world, "obey counter")
        assert [order.split()[:2] for order in world.obeyed["counter"]] == [["override", THERE]]
        goes_on(world, 60.0)
        assert world.runs_on("counter") == [THERE]

    def test_what_was_done_is_not_asked_for_again(self, world: World) -> None:
        act(world, "cut replication")
        goes_on(world, 20.0)
        act(world, f"break power@{HERE}", "heal replication")
        goes_on(world, 60.0)
        world.obeyed["counter"] = orders(world, "counter")
        assert world.obeyed["counter"]
        assert "counter was obeyed" in verdict(world, "counter").wrong

    def test_nothing_is_done_where_nothing_is_asked(self, world: World) -> None:
        act(world, "obey counter")
        assert not world.obeyed


class TestPrice:
    """A host is not powered off for one guest where another runs: but that it would end is said."""

    TWO = WorldPlan(guests=(GuestPlan("counter", "burjassot"), GuestPlan("ledger", "burjassot")))

    @pytest.fixture
    def told(self) -> Iterator[World]:
        world = begin(self.TWO, settled=True)
        act(world, "break link")
        goes_on(world, 20.0)
        act(world, f"break start@{HERE}", "crash counter")
        goes_on(world, 60.0)
        yield world
        world.discard()

    def test_is_left_to_the_person(self, told: World) -> None:
        assert orders(told, "counter") == []
        assert verdict(told, "counter").kind is Kind.NAMED

    def test_must_be_said(self, told: World) -> None:
        obj = told.guest("counter")
        cheap = obj.status.message.replace(" (which ends sim/ledger there, too)", "")
        assert cheap != obj.status.message
        told.api.server.put(
            obj.model_copy(update={"status": obj.status.model_copy(update={"message": cheap})})
        )
        assert "does not say that ['sim/ledger'] would end" in verdict(told, "counter").wrong

    def test_is_none_where_nothing_runs(self, told: World) -> None:
        (run,) = told.referee.executing("sim/ledger")
        run.end("crashed")
        assert orders(told, "counter") == [f"power {HERE}"]


def test_faults_that_last_are_one_result(capsys: pytest.CaptureFixture[str]) -> None:
    """And they are told by kind."""
    choice = choices.Choice(lasting=True)
    one, two = (trial(schedule.scenario(5, choice)) for _ in range(2))
    assert one == two
    assert one.broken_for_good
    main(["fuzz", "--lasting", "--seeds", "4..5", "--jobs", "1", "--keep-going"])
    told = capsys.readouterr().out
    assert re.search(
        r"^broken for good +seeds +ran +named +told +untold +unwanted +wrong +orders done ",
        told,
        re.M,
    )
    assert all(re.search(rf"^{kind}(@| )", told, re.M) for kind in (kinds(4) | kinds(5)))


def kinds(seed: int) -> set[str]:
    """What this seed breaks for good."""
    steps = schedule.scenario(seed, choices.Choice(lasting=True)).steps
    found = (step.act.arguments[0] for step in steps if step.act.verb == "break")
    return {what.partition("@")[0] for what in found}


class TestOrders:
    """What a person orders is carried out, or they are told why not."""

    CARRIED_OUT = (
        (("set counter running=false",), End.DONE),
        (("delete counter",), End.DONE),
        (("set counter failback=Automatic", "set counter prefers=tarongers"), End.DONE),
        (("set burjassot maintenance=true",), End.DONE),
        ((f"override counter {THERE}",), End.REFUSED),
    )

    @pytest.mark.parametrize(("commands", "end"), CARRIED_OUT)
    def test_where_all_is_well(self, world: World, commands: tuple[str, ...], end: End) -> None:
        act(world, *commands)
        (told,) = answers(world, "counter")
        assert told.end is End.WRONG, "nothing has happened yet"
        goes_on(world, 60.0)
        (told,) = answers(world, "counter")
        assert told.end is end

    @pytest.mark.parametrize("order", ["set counter running=false", "delete counter"])
    def test_a_host_that_hears_must_stop_it(self, world: World, order: str) -> None:
        act(world, "controller kill", order)
        goes_on(world, 60.0)
        assert f"{HERE} hears" in wrong(world, "counter")

    def test_one_that_cannot_be_told_is_named(self, world: World) -> None:
        act(world, f"break management@{HERE}", "set counter running=false")
        goes_on(world, 60.0)
        assert world.runs_on("counter") == [HERE]
        (told,) = answers(world, "counter")
        assert told.end is End.REFUSED
        assert HERE in told.words

    def test_a_move_that_could_be_made_must_be(self, world: World) -> None:
        act(world, "controller kill", "set burjassot maintenance=true")
        goes_on(world, 60.0)
        assert f"{THERE} could take it" in wrong(world, "counter")

    def test_a_move_that_cannot_be_made_is_explained(self, world: World) -> None:
        act(world, f"break libvirt@{THERE}", "set burjassot maintenance=true")
        goes_on(world, 60.0)
        (told,) = answers(world, "counter")
        assert told.end is End.REFUSED
        assert THERE in told.words

    def test_without_the_api_nobody_hears(self, world: World) -> None:
        act(world, "set counter running=false", "break api")
        assert [told.end for told in answers(world, "counter")] == [End.UNHEARD]

    def test_what_is_to_go_is_not_moved(self, world: World) -> None:
        act(world, "set burjassot maintenance=true", "delete counter")
        goes_on(world, 60.0)
        assert [told.end for told in answers(world, "counter")] == [End.DONE]

    def test_who_shall_run_again_is_not_asked_to_have_stopped(self, world: World) -> None:
        act(world, "set counter running=false")
        goes_on(world, 20.0)
        act(world, "set counter running=true")
        assert answers(world, "counter") == []

    def test_an_order_of_the_past_is_moot(self, world: World) -> None:
        act(world, f"override-stale counter {THERE}", f"override counter {THERE}", "mend all")
        goes_on(world, 1.0)
        world.ordered["counter"] = {Ordered.OVERRIDE: None}
        act(world, f"cut replication {THERE}")
        goes_on(world, 20.0)
        act(world, f"heal replication {THERE}")
        goes_on(world, 30.0)
        assert [told.end for told in answers(world, "counter")] == [End.MOOT]
