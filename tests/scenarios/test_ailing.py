"""Each fault of a part reaches the program that it is meant for, and ``mend all`` heals it."""

import re
from collections.abc import Iterator

import pytest

from sim import choices, faults
from sim.__main__ import main
from sim.apiserver.handler import Request
from sim.liveness import Kind, verdict
from sim.logs import logged_into
from sim.orders import End, Ordered, answers, wrong
from sim.person import orders
from sim.player import begin
from sim.trial import trial
from sim.verbs import do
from sim.world import World
from tandem_kube import LEASES
from tandem_scenario.plan import WorldPlan
from tandem_scenario.verbs import parse_act

HERE, THERE = "burjassot-1", "tarongers-1"
HEALS_WITHIN_S = 90.0


@pytest.fixture
def world() -> Iterator[World]:
    world = begin(WorldPlan(), settled=True)
    with logged_into(world.log):
        goes_on(world, 5.0)
        yield world


def act(world: World, *commands: str) -> None:
    for command in commands:
        do(world, parse_act(command, world.names))


def goes_on(world: World, seconds: float) -> None:
    world.kernel.run_until(world.kernel.now_s + seconds)


def lines(world: World, where: str) -> str:
    return "\n".join(line.what for line in world.log.lines if line.where == where)


FAULTS: tuple[tuple[tuple[str, ...], float, str, str], ...] = (
    ((f"keeper kill {HERE}",), 5.0, HERE, "the watchdog's keeper is gone"),
    ((f"keeper kill {HERE}",), 5.0, HERE, "watchdog armed: 2 s"),
    ((f"keeper pause {HERE}",), 5.0, HERE, "resets: the watchdog was not fed"),
    ((f"keeper starve {HERE} 5",), 30.0, HERE, "resets: the watchdog was not fed"),
    (
        (f"watchdog refuse {HERE} 3", f"kill {HERE}", f"start {HERE}"),
        10.0,
        HERE,
        "the watchdog resets after 60 s, not within 2 s",
    ),
    ((f"watchdog away {HERE}", f"kill {HERE}", f"start {HERE}"), 10.0, HERE, "cannot open the wa"),
    ((f"files full {HERE}", "cut replication"), 10.0, HERE, "No space left on device"),
    ((f"files read-only {HERE}", "cut replication"), 10.0, HERE, "Read-only file system"),
    ((f"files unsynced {HERE}", "cut replication"), 10.0, HERE, "Input/output error"),
    ((f"files unreadable {HERE}", f"actuator kill {HERE}"), 6.0, HERE, "cannot read the record"),
    (
        (f"kill {HERE}", f"damage-records {HERE}", f"start {HERE}"),
        10.0,
        HERE,
        "is damaged or newer",
    ),
    ((f"api refuse {HERE} 403",), 3.0, HERE, "heartbeat not confirmed: 403"),
    ((f"api refuse {HERE} 422 writes",), 3.0, HERE, "heartbeat not confirmed: 422"),
    ((f"api refuse {HERE} 429 half",), 10.0, HERE, "heartbeat not confirmed: 429"),
    ((f"api mute {HERE}",), 3.0, HERE, "heartbeat not confirmed"),
    ((f"api refuse {HERE} 503 done",), 3.0, HERE, "heartbeat not confirmed: 503"),
    (("api pause",), 3.0, HERE, "heartbeat not confirmed"),
    (("api refuse controller 500",), 3.0, "controller-1", "election: 500"),
    (("api compact",), 20.0, HERE, "interrupted: 410"),
    ((f"watch expire {HERE}",), 1.0, HERE, "interrupted: 410"),
    (("kopf kill",), 5.0, "controller-1", "the watches were given up: kopf has ended"),
    (("kopf give-up Mirror",), 30.0, "controller-1", "watch of Mirror begun anew: Ended"),
    (("starve controller 3",), 20.0, "controller-1", "has not been watched for long enough"),
    ((f"libvirt pause {HERE}",), 10.0, HERE, "libvirt did not answer within"),
    ((f"libvirt hold {HERE} look",), 10.0, HERE, "libvirt did not answer within"),
    ((f"libvirt late {HERE} look 6",), 10.0, HERE, "libvirt did not answer within"),
)


@pytest.mark.parametrize(("commands", "seconds", "where", "told"), FAULTS)
def test_a_program_notices(
    world: World, commands: tuple[str, ...], seconds: float, where: str, told: str
) -> None:
    assert told not in lines(world, where)
    act(world, *commands)
    goes_on(world, seconds)
    assert told in lines(world, where)
    act(world, "mend all")
    assert world.api.answers
    goes_on(world, HEALS_WITHIN_S)
    assert len(world.runs_on("counter")) == 1
    assert str(world.guest("counter").status.protected) == "True"
    assert all(world.hosts[host].well for host in (HERE, THERE))
    assert world.referee.problems == []


def heartbeats(world: World, seconds: float) -> int:
    """How many this host sends meanwhile."""
    sent = list[str]()
    world.api.heard = lambda host, request, code: (
        sent.append(request.path)
        if (host, request.method) == (HERE, "PATCH") and "/leases/" in request.path
        else None
    )
    goes_on(world, seconds)
    return len(sent)


class TestStarved:
    def test_a_starved_host_beats_later(self, world: World) -> None:
        well = heartbeats(world, 20.0)
        act(world, f"starve {HERE} 0.5")
        assert heartbeats(world, 20.0) < 0.8 * well
        act(world, f"actuator kill {HERE}")
        goes_on(world, 5.0)
        assert heartbeats(world, 20.0) < 0.8 * well
        act(world, f"starve {HERE} 0")
        assert heartbeats(world, 20.0) > 0.9 * well


class TestKeeper:
    def test_one_that_goes_on_in_time_feeds_on(self, world: World) -> None:
        act(world, f"keeper pause {HERE}")
        goes_on(world, 0.5)
        act(world, f"keeper resume {HERE}")
        goes_on(world, 10.0)
        assert "resets" not in lines(world, HERE)

    def test_a_device_that_is_back_is_armed(self, world: World) -> None:
        act(world, f"watchdog refuse {HERE} 3", f"kill {HERE}", f"start {HERE}")
        goes_on(world, 10.0)
        assert "watchdog armed" not in lines(world, HERE)
        act(world, f"watchdog back {HERE}")
        goes_on(world, 3.0)
        assert "watchdog armed: 2 s" in lines(world, HERE)


class TestFiles:
    def test_what_a_full_run_keeps(self, world: World) -> None:
        machine = world.hosts[HERE].machine
        assert machine is not None
        act(world, f"files full {HERE} run")
        before = permit(world)
        goes_on(world, 5.0)
        assert permit(world) == before
        act(world, f"files heal {HERE}")
        goes_on(world, 5.0)
        assert permit(world) != before

    def test_healed_files_take_a_record(self, world: World) -> None:
        act(world, f"files read-only {HERE}", "cut replication")
        goes_on(world, 10.0)
        before = world.hosts[HERE].record("sim.counter")
        act(world, f"files heal {HERE}")
        goes_on(world, 20.0)
        after = world.hosts[HERE].record("sim.counter")
        assert before is not None
        assert after is not None
        assert after.max_epoch > before.max_epoch


def permit(world: World) -> bytes:
    machine = world.hosts[HERE].machine
    assert machine is not None
    (path,) = [path for path in machine.run_files.every() if path.name == "heartbeat.json"]
    return machine.run_files.read(path)


class TestApi:
    def test_reads_go_on_where_writes_are_refused(self, world: World) -> None:
        act(world, f"api refuse {HERE} 403 writes", "set counter running=false")
        goes_on(world, 20.0)
        assert "interrupted" not in lines(world, HERE)
        assert world.runs_on("counter") == []

    def test_half_of_all_gets_through(self, world: World) -> None:
        act(world, f"api refuse {HERE} 500 half")
        refused = heartbeats(world, 20.0)
        assert lines(world, HERE).count("heartbeat not confirmed: 500") < 0.8 * refused

    def test_accepted_again(self, world: World) -> None:
        act(world, f"api refuse {HERE} 403", f"api accept {HERE}")
        goes_on(world, 10.0)
        assert "403" not in lines(world, HERE)

    def test_a_stale_cache_shows_old_leases(self, world: World) -> None:
        act(world, "api stale")
        goes_on(world, 10.0)
        assert leases(world, {"resourceVersion": "0"}) != leases(world, {})
        act(world, "api fresh")
        goes_on(world, 3.0)
        old, new = leases(world, {"resourceVersion": "0"}), leases(world, {})
        assert abs(int(old) - int(new)) < 10

    def test_an_order_whose_event_is_lost_is_not_heard(self, world: World) -> None:
        act(world, f"watch lose {HERE} 100", "set counter running=false")
        goes_on(world, 20.0)
        assert world.runs_on("counter") == [HERE]
        act(world, f"watch lose {HERE} 0")
        goes_on(world, 20.0)
        assert world.runs_on("counter") == []

    def test_lines_come_twice_also_after_a_restart(self, world: World) -> None:
        act(world, f"watch double {HERE} 100", f"actuator kill {HERE}")
        goes_on(world, 5.0)
        ways = [wire for wire in world.api.wires if wire.host == HERE and wire.alive]
        assert {(wire.lost_lines, wire.doubled_lines) for wire in ways} == {(0.0, 1.0)}
        act(world, "set counter running=false")
        goes_on(world, 20.0)
        assert world.runs_on("counter") == []


def leases(world: World, query: dict[str, str]) -> str:
    path = LEASES.path("tandem-system")
    code, body = world.api.server.answer("", Request("GET", path, query))
    assert code == 200
    return str(body["metadata"]["resourceVersion"])


class TestKopf:
    def test_what_it_has_heard_comes_later(self, world: World) -> None:
        act(world, "kopf lag 10", "set counter running=false")
        goes_on(world, 0.2)
        (controller,) = world.controllers
        assert controller.watchers.begun[-1].behind
        act(world, "kopf lag 0")
        goes_on(world, 12.0)
        assert not controller.watchers.begun[-1].behind


class TestLibvirt:
    def test_a_start_that_is_not_answered(self, world: World) -> None:
        act(world, "set counter running=false")
        goes_on(world, 15.0)
        act(world, f"libvirt hold {HERE} start", "set counter running=true")
        goes_on(world, 40.0)
        assert world.runs_on("counter") == []
        act(world, f"libvirt up {HERE}")
        goes_on(world, 40.0)
        assert len(world.runs_on("counter")) == 1

    def test_one_that_goes_on(self, world: World) -> None:
        act(world, f"libvirt pause {HERE}")
        goes_on(world, 1.0)
        act(world, f"libvirt resume {HERE}")
        goes_on(world, 10.0)
        assert "did not answer" not in lines(world, HERE)

    def test_events_that_come_late(self, world: World) -> None:
        early = noticed_s(world)
        goes_on(world, 20.0)
        act(world, f"libvirt events {HERE} 60")
        assert noticed_s(world) > early
        act(world, f"libvirt events {HERE} 0")


def noticed_s(world: World) -> float:
    """How soon this host goes on after its guest has ended by itself."""
    (run,) = world.referee.executing("sim/counter")
    at_s, seen = world.kernel.now_s, len(world.log.lines)
    run.end("crashed")
    goes_on(world, 15.0)
    told = [line for line in world.log.lines[seen + 1 :] if line.where == HERE]
    return told[0].at_s + world.log.origin_s - at_s


BROKEN = (
    f"disk@{HERE}",
    f"libvirt@{HERE}",
    f"start@{HERE}",
    f"watchdog@{HERE}",
    f"power@{HERE}",
    f"files@{HERE}",
    f"management@{HERE}",
    "link",
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


def test_faults_that_last_are_one_result(capsys: pytest.CaptureFixture[str]) -> None:
    """And they are told by kind."""
    choice = choices.Choice(lasting=True)
    one, two = (trial(faults.scenario(5, choice)) for _ in range(2))
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
    steps = faults.scenario(seed, choices.Choice(lasting=True)).steps
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
