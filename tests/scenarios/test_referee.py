"""The referee can say no: every check, with the world broken by hand in just the way it is about.

That it keeps silent where nothing is broken, every other scenario shows.
"""

from collections.abc import Callable

import pytest

from sim.apiserver.newer import UNHEARD_OF
from sim.drbd.replica import Replica
from sim.drbd.state import Write
from sim.engine.kernel import Group
from sim.libvirt.guest import Run
from sim.play.player import begin
from sim.play.verbs import do
from sim.world import World
from tandem_api.authority import Authority, Eligibility, Mode
from tandem_api.reasons import Reason
from tandem_scenario.plan import WorldPlan
from tandem_scenario.verbs import parse_act

HERE, THERE, GUEST = "burjassot-1", "tarongers-1", "sim/counter"
YES = Eligibility(eligible=True, reason=Reason.IN_SYNC)


@pytest.fixture
def world() -> World:
    return begin(WorldPlan(), settled=True)


def act(world: World, *commands: str) -> None:
    for command in commands:
        do(world, parse_act(command, world.names))


def goes_on(world: World, seconds: float) -> None:
    world.kernel.run_until(world.kernel.now_s + seconds)


def told(world: World) -> str:
    return "\n".join(world.referee.problems)


def authority(world: World) -> Authority:
    found = world.mirror("counter").status.authority
    assert found is not None
    return found


def rewrite(world: World, **changes: object) -> None:
    """Somebody writes the authority who keeps no rule but that of the epochs."""
    now, mirror = authority(world), world.mirror("counter")
    new = now.model_copy(update={"epoch": now.epoch + 1, "request_id": "", **changes})
    status = mirror.status.model_copy(update={"authority": new})
    world.api.server.put(mirror.model_copy(update={"status": status}))


def replica(world: World, host: str) -> Replica:
    machine = world.hosts[host].machine
    assert machine is not None
    return machine.replicas["sim.counter"]


def the_run(world: World) -> Run:
    (run,) = world.referee.executing(GUEST)
    return run


def another_run(world: World, host: str) -> Run:
    one = replica(world, host)
    number, now_s = world.kernel.number("run"), world.kernel.now_s
    return Run(GUEST, host, one, Group("by hand"), world.kernel, world.referee, number, now_s)


def silent_run(world: World, host: str) -> Run:
    """One that writes nothing, so that it needs no Primary."""
    run = another_run(world, host)
    run.period_s = 3600.0
    return run


class TestCustody:
    def test_a_peer_that_lies_about_a_write(self, world: World) -> None:
        peer = replica(world, THERE)

        def receive(write: Write) -> None:
            peer.wire.send(peer, lambda other: other.heard_back(write, stored=True))

        peer.receive = receive  # type: ignore[method-assign]
        goes_on(world, 1.0)
        assert f"acknowledged a write of {GUEST} that {THERE} lacks" in told(world)

    def test_a_stale_replica_that_is_eligible_again(self, world: World) -> None:
        act(world, "cut replication")
        goes_on(world, 20.0)
        assert authority(world).mode is Mode.STANDALONE
        assert told(world) == ""
        rewrite(world, mode=Mode.MIRRORED, eligible={HERE: YES, THERE: YES})
        world.referee.look()
        assert f"{THERE} may be promoted but lacks" in told(world)

    def test_what_the_other_disk_lacks_is_read_when_the_own_one_fails(self, world: World) -> None:
        replica(world, THERE).holds("root").pop()
        act(world, f"fail-disk {HERE}")
        goes_on(world, 2.0)
        assert f"{GUEST} on {HERE}: root lacks 1 writes" in told(world)

    def test_a_block_that_only_the_disk_had_that_fails(self, world: World) -> None:
        act(world, "verify counter")
        goes_on(world, 0.06)
        act(world, f"fail-disk {HERE}")
        goes_on(world, 20.0)
        assert told(world) == ""

    def test_what_was_copied_since_is_not_excused_again(self, world: World) -> None:
        found = min(replica(world, THERE).holds("root"))
        act(world, "verify counter")
        goes_on(world, 30.0)
        assert found in replica(world, THERE).holds("root")
        assert told(world) == ""
        replica(world, THERE).holds("root").discard(found)
        act(world, f"fail-disk {HERE}")
        goes_on(world, 2.0)
        assert f"{GUEST} on {HERE}: root lacks 1 writes" in told(world)

    def test_a_peer_that_stays_eligible(self, world: World) -> None:
        rewrite(world, mode=Mode.STANDALONE)
        assert "alone while the other is eligible" in told(world)

    @pytest.mark.parametrize("owner", [THERE, ""])
    def test_authority_leaves_a_running_guest(self, world: World, owner: str) -> None:
        goes_on(world, 10.0)
        rewrite(world, owner=owner, owner_instance="")
        assert f"to {owner or 'nobody'} while the guest runs there" in told(world)

    def test_authority_leaves_a_device_that_writes_alone(self, world: World) -> None:
        act(world, "cut replication")
        goes_on(world, 20.0)
        act(world, f"pause {HERE}")
        rewrite(world, owner=THERE)
        assert "while that device may write alone" in told(world)

    def test_authority_leaves_a_paused_host_whose_device_needs_its_peer(self, world: World) -> None:
        act(world, f"pause {HERE}")
        rewrite(world, owner=THERE)
        assert told(world) == ""

    def test_a_start_beside_the_owner(self, world: World) -> None:
        world.referee.custody.started(another_run(world, THERE), ())
        assert f"starts on {THERE}, which {HERE} owns" in told(world)

    def test_a_start_beside_a_device_that_writes_alone(self, world: World) -> None:
        act(world, "cut replication")
        goes_on(world, 20.0)
        runs = world.referee.histories[GUEST].alive
        world.referee.custody.started(another_run(world, THERE), runs)
        assert f"starts on {THERE} while {HERE} may write it alone" in told(world)

    def test_a_start_that_a_pause_has_cut_in_two_has_the_time_of_a_woken_guest(
        self, world: World
    ) -> None:
        run = silent_run(world, THERE)
        run.number = 0  # older than the one that runs
        goes_on(world, 20.0)
        run.group.resumed_s = world.kernel.now_s
        run.begin()
        goes_on(world, world.referee.silence_s - 0.5)
        assert told(world) == ""
        goes_on(world, 1.0)
        assert f"is still heard at {THERE}" in told(world)
        run.end("destroyed")
        goes_on(world, world.referee.residue_s + 1.0)
        assert f"starts on {THERE}" not in told(world)

    def test_a_start_that_a_pause_has_cut_in_two_must_end(self, world: World) -> None:
        run = silent_run(world, THERE)
        run.number = 0  # older than the one that runs
        goes_on(world, 20.0)
        run.group.resumed_s = world.kernel.now_s
        run.begin()
        goes_on(world, world.referee.residue_s + 1.0)
        assert f"starts on {THERE}, which {HERE} owns" in told(world)
        assert told(world).count("starts on") == 1

    def test_a_start_that_was_ordered_after_the_pause_is_no_such_one(self, world: World) -> None:
        goes_on(world, 20.0)
        run = silent_run(world, THERE)
        run.group.resumed_s = world.kernel.now_s - 0.1
        run.begin()
        assert f"starts on {THERE} while it runs on" in told(world)

    @pytest.mark.parametrize("by", [-1, 0, 2])
    def test_epochs(self, world: World, by: int) -> None:
        rewrite(world, epoch=authority(world).epoch + by, request_id="another")
        assert "went from epoch" in told(world)

    def test_epochs_of_a_uid_that_was_away(self, world: World) -> None:
        mirror = world.mirror("counter")
        world.api.server.remove(type(mirror), mirror.key)
        world.api.server.put(mirror)
        assert "went from epoch" in told(world)


def ends(world: World) -> None:
    the_run(world).end("destroyed")


def is_asked_to_end(world: World) -> None:
    the_run(world).asked_to_stop = True


def stalls(world: World) -> None:
    the_run(world).replica.submit = lambda write: None  # type: ignore[method-assign]


class TestCalm:
    @pytest.mark.parametrize("harm", [ends, is_asked_to_end, stalls])
    @pytest.mark.parametrize(
        "command", ["api down", f"cut management {HERE} in", "slow controller 1"]
    )
    def test_only_the_management_plane_was_touched(
        self, world: World, harm: Callable[[World], None], command: str
    ) -> None:
        goes_on(world, 15.0)
        act(world, command)
        harm(world)
        goes_on(world, 4.0)
        assert "the management" in told(world)

    @pytest.mark.parametrize("command", ["cut replication", f"actuator pause {HERE}", "mend all"])
    @pytest.mark.parametrize("harm", [ends, stalls])
    def test_something_else_may_be_the_reason(
        self, world: World, harm: Callable[[World], None], command: str
    ) -> None:
        goes_on(world, 15.0)
        act(world, "api down", command)
        harm(world)
        goes_on(world, 4.0)
        assert told(world) == ""

    def test_not_before_it_was_well_for_a_while(self, world: World) -> None:
        act(world, "mend all")
        goes_on(world, 5.0)
        ends(world)
        assert told(world) == ""

    def test_a_person_may_ask_for_a_stop(self, world: World) -> None:
        goes_on(world, 15.0)
        act(world, "set counter running=false")
        goes_on(world, 15.0)
        assert world.runs_on("counter") == []
        assert told(world) == ""


class TestVersions:
    def test_a_newer_program_writes_what_others_do_not_know(self, world: World) -> None:
        act(world, f"upgrade {HERE}")
        goes_on(world, 8.0)
        act(world, "cut replication")
        goes_on(world, 12.0)
        now = authority(world)
        assert (now.mode, now.owner) == (Mode.STANDALONE, HERE)
        assert str(now.reason) == UNHEARD_OF
        assert str(world.mirror("counter").status.replicas[HERE].reason) == UNHEARD_OF
        act(world, f"downgrade {HERE}", "heal replication")
        goes_on(world, 15.0)
        assert (authority(world).mode, authority(world).reason) == (Mode.MIRRORED, Reason.IN_SYNC)
        assert told(world) == ""


class TestHold:
    @pytest.fixture
    def restored(self, world: World) -> World:
        """From before the owner was granted to write alone."""
        act(world, "cut replication")
        goes_on(world, 20.0)
        act(world, "api restore")
        goes_on(world, 20.0)
        assert told(world) == ""
        return world

    def test_who_knows_better_swaps(self, restored: World) -> None:
        rewrite(restored, request_id=f"{HERE}/boot/run#1")
        assert f"{HERE} swapped sim/counter at epoch" in told(restored)

    def test_who_knows_better_starts(self, restored: World) -> None:
        world = restored
        world.referee.hold.started(another_run(world, HERE))
        assert f"starts on {HERE} by an authority of the past" in told(world)

    def test_who_knows_better_is_promoted(self, restored: World) -> None:
        act(restored, f"promote-by-hand {THERE} counter")
        goes_on(restored, 10.0)
        assert f"{THERE} was promoted for {GUEST} by an authority of the past" in told(restored)

    def test_a_restore_that_lost_nothing(self, world: World) -> None:
        act(world, "api restore")
        assert world.referee.hold.went_back == {}

    def test_who_does_not_speak_the_protocol_swaps(self, world: World) -> None:
        act(world, "newer-protocol counter")
        assert told(world) == ""
        rewrite(world)
        assert "needs protocol 2" in told(world)
