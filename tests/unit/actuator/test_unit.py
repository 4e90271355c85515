"""What a unit makes of what it observes: since when, until when, and what is forgotten then."""

import pytest

from tandem_actuator.core.drbd import DrbdUnknown, NotConfigured
from tandem_actuator.core.model import FenceProgress
from tandem_actuator.core.packets import Packets
from tandem_actuator.ports.drbd import DrbdEvent
from tandem_actuator.run.node import NodeFacts
from tandem_actuator.run.workload import Unit
from tandem_api.kinds.guest import Guest, GuestReport
from tandem_api.kinds.mirror import ReplicaReport
from tandem_api.timing import DEFAULT
from tandem_api.vocabulary import Connection, DomainState
from unit.builders import HERE, assignment, authority, drbd, guest, lost, mirror, record

R_S = DEFAULT.self_fence_seconds
NODE = NodeFacts(HERE.node, HERE, DEFAULT)


@pytest.fixture
def unit() -> Unit:
    made = Unit(mirror=mirror(authority()), record=record())
    made.observe_drbd(drbd(), 1.0, "")
    made.observe_domain(DomainState.RUNNING)
    made.guest = guest(assignment(HERE.node))
    return made


class TestTheLink:
    def test_a_look_without_an_answer_says_nothing_of_it(self, unit: Unit) -> None:
        """Nothing follows from it: neither that it is lost nor that it is not."""
        unit.observe_drbd(DrbdUnknown("no answer"), 2.0, "")
        assert (unit.link_lost_at_s, unit.in_sync_since_s) == (None, 1.0)
        unit.observe_drbd(lost(), 3.0, "wall")
        unit.observe_drbd(DrbdUnknown("no answer"), 4.0, "")
        assert (unit.link_lost_at_s, unit.link_lost_wall) == (3.0, "wall")

    @pytest.mark.parametrize("view", [lost(), NotConfigured(2.0)])
    def test_it_counts_from_the_first_look_that_says_so(
        self, unit: Unit, view: NotConfigured
    ) -> None:
        unit.observe_drbd(view, 2.0, "")
        unit.observe_drbd(view, 9.0, "")
        assert unit.link_lost_at_s == 2.0

    def test_and_anew_once_it_was_up(self, unit: Unit) -> None:
        for view, at_s in ((lost(), 2.0), (drbd(), 3.0), (lost(), 4.0)):
            unit.observe_drbd(view, at_s, "")
        assert unit.link_lost_at_s == 4.0

    def test_a_connection_that_nobody_knows_is_not_lost(self, unit: Unit) -> None:
        unit.observe_drbd(drbd(connection=Connection.UNKNOWN), 2.0, "")
        assert unit.link_lost_at_s is None


class TestPackets:
    """What TCP tells of the link; ``packets`` itself has its own tests."""

    @pytest.mark.parametrize(("was_connected", "known"), [(True, None), (False, frozenset({1}))])
    def test_what_an_event_tells_of_the_link_interrupts_them(
        self, unit: Unit, was_connected: bool, known: frozenset[int] | None
    ) -> None:
        """It may have been up meanwhile, by other sockets."""
        unit.packets = Packets(receiving=frozenset({1}))
        unit.observe_event(DrbdEvent("m", was_connected=was_connected))
        assert unit.packets.receiving == known


class TestInSync:
    def test_it_counts_from_the_first_look_that_says_so(self, unit: Unit) -> None:
        """The peer knows by now, if that is long enough ago (rule 8)."""
        unit.observe_drbd(drbd(), 9.0, "")
        assert unit.in_sync_since_s == 1.0
        unit.observe_drbd(drbd(resyncing=True), 10.0, "")
        assert unit.in_sync_since_s is None
        unit.observe_drbd(drbd(), 11.0, "")
        assert unit.in_sync_since_s == 11.0


class TestAGuestThatHasEnded:
    def test_its_fence_is_over_and_its_lapses_with_it(self, unit: Unit) -> None:
        unit.fence, unit.shutdown_sent_at_s = FenceProgress(1.0), 1.0
        unit.lapse(2.0)
        unit.observe_domain(DomainState.ABSENT)
        known = unit.view(NODE)
        assert known.fence is None
        assert known.shutdown_sent_at_s is None
        assert not known.lapsed

    @pytest.mark.parametrize("seen", [DomainState.UNKNOWN, DomainState.PAUSED])
    def test_only_a_clear_word_says_so(self, unit: Unit, seen: DomainState) -> None:
        unit.fence = FenceProgress(1.0)
        unit.lapse(2.0)
        unit.observe_domain(seen)
        assert unit.fence is not None
        assert unit.lapsed

    def test_one_that_is_being_started_has_not(self, unit: Unit) -> None:
        """libvirt may not list it yet."""
        unit.starting = True
        unit.fence = FenceProgress(1.0)
        unit.lapse(2.0)
        unit.observe_domain(DomainState.ABSENT)
        assert unit.fence is not None
        assert unit.lapsed

    def test_one_whose_object_has_gone_is_known_until_then(self, unit: Unit) -> None:
        unit.observe_guest(None)
        assert unit.guest is not None
        unit.observe_domain(DomainState.ABSENT)
        assert unit.guest is None


class TestAGuestThatIsDead:
    """Killed, and seen to execute nothing any more; its process is held."""

    @pytest.fixture
    def runs(self, unit: Unit) -> Unit:
        unit.observe_domain(DomainState.RUNNING)
        unit.wake.clear()
        return unit

    def test_it_is_known_by_when_the_look_began(self, runs: Unit) -> None:
        runs.observe_death(dead=True, began_s=2.0)
        known = runs.view(NODE)
        assert (known.dead_at_s, known.guest_is_dead, known.guest_may_run) == (2.0, True, True)
        assert runs.wake.is_set()

    def test_the_newest_look_counts(self, runs: Unit) -> None:
        runs.observe_death(dead=True, began_s=2.0)
        runs.wake.clear()
        runs.observe_death(dead=True, began_s=3.0)
        assert not runs.wake.is_set()
        runs.observe_death(dead=False, began_s=4.0)
        assert runs.view(NODE).dead_at_s is None

    def test_what_was_seen_of_it_says_nothing_of_the_next(self, runs: Unit) -> None:
        runs.observe_death(dead=True, began_s=2.0)
        runs.begins(3.0)
        runs.starting = False
        assert not runs.view(NODE).guest_is_dead

    @pytest.mark.parametrize(("began_s", "dead"), [(2.9, False), (3.0, False), (3.1, True)])
    def test_nor_does_a_look_that_began_before_that(
        self, runs: Unit, began_s: float, dead: bool
    ) -> None:
        """Its answer may come late."""
        runs.begins(3.0)
        runs.starting = False
        runs.observe_death(dead=True, began_s=began_s)
        assert runs.view(NODE).guest_is_dead is dead

    def test_it_is_over_once_the_process_is_gone(self, runs: Unit) -> None:
        runs.observe_death(dead=True, began_s=2.0)
        runs.observe_domain(DomainState.ABSENT)
        runs.observe_domain(DomainState.UNKNOWN)
        assert runs.view(NODE).dead_at_s is None


class TestAnotherObject:
    def again(self, named: str) -> Guest:
        made = guest(assignment(HERE.node))
        metadata = made.metadata.model_copy(update={"uid": named})
        return made.model_copy(update={"metadata": metadata})

    def test_a_guest_that_was_made_again_is_told_everything(self, unit: Unit) -> None:
        unit.sent_guest = GuestReport(instance="i", state="Running")
        unit.observe_guest(self.again("uid-g"))
        assert unit.sent_guest is not None
        unit.observe_guest(self.again("uid-again"))
        assert unit.sent_guest is None

    def test_by_what_it_was_started_is_of_one_object(self, unit: Unit) -> None:
        """Another's orders are counted anew."""
        unit.started_by = 7
        unit.observe_guest(self.again("uid-g"))
        assert unit.started_by == 7
        unit.observe_guest(self.again("uid-again"))
        assert unit.started_by == 0

    def test_so_is_a_mirror_also_if_its_version_is_older(self, unit: Unit) -> None:
        unit.sent_replica = ReplicaReport(connection="Connected", role="Primary")
        unit.observe_mirror(unit.mirror)
        assert unit.sent_replica is not None
        changes = {"uid": "uid-again", "resource_version": "1"}
        metadata = unit.mirror.metadata.model_copy(update=changes)
        again = unit.mirror.model_copy(update={"metadata": metadata})
        unit.observe_mirror(again)
        assert unit.mirror == again
        assert vars(unit)["sent_replica"] is None

    def test_the_steps_of_an_earlier_start_are_not_the_next_ones(self, unit: Unit) -> None:
        unit.steps = {"authorityWon": "then"}
        unit.observe_guest(guest(assignment(HERE.node, serial=2)))
        assert unit.steps != {}
        unit.observe_domain(DomainState.ABSENT)
        unit.observe_guest(guest(assignment(HERE.node, serial=3)))
        assert unit.steps == {}


class TestSteady:
    """Since when the heartbeat has never lapsed, which a start asks of its claim (rule 14)."""

    def renewed(self, *beats: tuple[float, float]) -> float:
        node = NodeFacts(HERE.node, HERE, DEFAULT)
        for sent_s, confirmed_s in beats:
            node.renewed(sent_s, confirmed_s)
        return node.steady_since_s

    def test_from_the_first_that_was_confirmed(self) -> None:
        assert self.renewed((10.0, 10.1), (11.0, 11.1), (12.0, 12.1)) == 10.0

    def test_anew_from_one_that_came_after_a_lapse(self) -> None:
        assert self.renewed((10.0, 10.1), (11.0 + R_S, 11.1 + R_S)) == 11.0 + R_S

    def test_also_if_it_was_sent_before_it(self) -> None:
        """Between its sending and its answer the one before it ran out."""
        assert self.renewed((10.0, 10.1), (9.9 + R_S, 10.1 + R_S)) == 9.9 + R_S


def test_a_question_that_fails_is_no_question_any_more(unit: Unit) -> None:
    with pytest.raises(ValueError, match="a bug"), unit.being_asked():
        raise ValueError("a bug")
    assert unit.handlers == 0
