"""Each fault of a part reaches the program that it is meant for, and ``mend all`` heals it."""

import pytest

from sim.apiserver.handler import Request
from sim.play.verbs import do
from sim.world import World
from tandem_kube import LEASES
from tandem_scenario.verbs import parse_act

HERE, THERE = "burjassot-1", "tarongers-1"
HEALS_WITHIN_S = 90.0


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
    """How many of this host land meanwhile. One that is written over a version of which it has not
    heard yet is refused, and sent again.
    """
    sent = list[str]()
    world.api.heard = lambda host, request, code: (
        sent.append(request.path)
        if (host, request.method, code) == (HERE, "PATCH", 200) and "/leases/" in request.path
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
        landed = heartbeats(world, 20.0)
        refused = lines(world, HERE).count("heartbeat not confirmed: 500")
        assert refused < 0.8 * (landed + refused)

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
