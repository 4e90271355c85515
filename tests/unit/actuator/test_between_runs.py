"""What a run of the actuator leaves to the next one of its looks at links that guests live on."""

from collections.abc import Iterator, Mapping
from dataclasses import replace
from typing import Any, cast

import pytest

from tandem_actuator.core.packets import Mark, Packets
from tandem_actuator.run.between_runs import BetweenRuns
from tandem_actuator.run.outside import Kept
from tandem_api.timing import DEFAULT
from tandem_api.vocabulary import DomainState, Role
from unit.builders import drbd

from .test_loop_fence import linked
from .turning import BOOTED_S, Exits, Turning

NAME = "ns.m"
KNOWN = Packets(
    marks=(Mark(BOOTED_S - 0.9, {7: 100}), Mark(BOOTED_S - 0.3, {7: 160})),
    arrived_after_s=BOOTED_S - 1.2,
    receiving=frozenset({7}),
)
LEFT = Packets(marks=KNOWN.marks[-1:], arrived_after_s=BOOTED_S - 1.2)
LATE_S = DEFAULT.self_fence_seconds / 2 + 0.1
D_S, Q_S, F_S = (
    DEFAULT.link_detection_seconds,
    DEFAULT.query_freshness_seconds,
    DEFAULT.fencing_seconds,
)


@pytest.fixture
def host() -> Iterator[Turning]:
    """A guest runs, and its link is well; heartbeats are not confirmed any more."""
    one = Turning()
    one.unit.domain = DomainState.RUNNING
    one.unit.packets = KNOWN
    one.node.renewal_sent_at_s = one.now_s - LATE_S
    yield one
    one.loop.discard()


def leave(host: Turning, at_s: float = BOOTED_S) -> list[Mapping[str, Packets]]:
    host.actuator._between.leave_looks(host.actuator.units, at_s)
    return host.looks


class TestWhatIsLeft:
    def test_the_last_look_and_the_last_that_is_proven(self, host: Turning) -> None:
        assert leave(host) == [{NAME: LEFT}]

    def test_nothing_while_heartbeats_are_confirmed(self, host: Turning) -> None:
        host.node.renewal_sent_at_s = host.now_s
        assert leave(host) == []

    def test_but_after_a_lapse_they_do_not_count(self, host: Turning) -> None:
        host.node.renewal_sent_at_s = host.now_s
        host.unit.lapse(host.now_s)
        assert leave(host) == [{NAME: LEFT}]

    def test_also_if_none_was_confirmed_ever(self, host: Turning) -> None:
        host.node.renewal_sent_at_s = None
        assert leave(host) == [{NAME: LEFT}]

    @pytest.mark.parametrize(
        ("domain", "packets"), [(DomainState.ABSENT, KNOWN), (DomainState.RUNNING, Packets())]
    )
    def test_of_none_that_lives_on_nothing(
        self, host: Turning, domain: DomainState, packets: Packets
    ) -> None:
        host.unit.domain, host.unit.packets = domain, packets
        assert leave(host) == []

    def test_what_the_link_was_is_taken_back_with_it(self, host: Turning) -> None:
        leave(host)
        host.unit.packets = Packets()
        assert leave(host, BOOTED_S + 1.0)[1:] == [{}]

    def test_as_often_as_it_is_looked_and_if_it_says_something_new(self, host: Turning) -> None:
        leave(host)
        assert len(leave(host, BOOTED_S + Q_S)) == 1
        host.unit.packets = Packets(marks=(Mark(BOOTED_S, {7: 200}),))
        assert len(leave(host, BOOTED_S + Q_S / 3 - 0.01)) == 1
        assert len(leave(host, BOOTED_S + Q_S / 3)) == 2

    def test_the_guard_leaves_it(self, host: Turning) -> None:
        linked(host)
        host.unit.packets = KNOWN
        host.play(host.actuator._guard, 0.05)
        assert host.looks == [{NAME: LEFT}]


class TestTheNextRun:
    @pytest.fixture
    def new(self, host: Turning) -> Turning:
        """It has looked once; the last run's look is proven by that."""
        host.node.guarding = False
        host.unit.drbd = drbd(Role.PRIMARY, at_s=BOOTED_S)
        host.unit.packets = Packets(
            marks=(Mark(BOOTED_S, {7: 300}),), arrived_after_s=BOOTED_S - 0.3
        )
        host.node.acknowledged, host.node.renewal_sent_at_s = True, None
        host.actuator.domains.known = host.actuator.heart.tried = True
        return host

    def test_begins_with_it(self, host: Turning) -> None:
        host.unit.packets = Packets()
        looks = cast(Any, type("Left", (), {"load": lambda self: {NAME: LEFT}})())
        none = cast(Any, None)
        kept = Kept(permits=none, starts=Exits(), looks=looks, cache=none)
        BetweenRuns(host.node, kept).take_looks(host.actuator.units)
        assert host.unit.packets == LEFT

    def test_feeds_by_it_until_something_of_its_own_arrives(self, new: Turning) -> None:
        new.play(new.actuator._guard, 0.3)
        assert set(new.fed) == {BOOTED_S + Q_S + F_S}
        assert not new.node.guarding

    def test_for_as_long_as_it_counts(self, new: Turning) -> None:
        new.unit.packets = replace(new.unit.packets, arrived_after_s=BOOTED_S - D_S - 0.2)
        new.play(new.actuator._guard, 0.3)
        assert set(new.fed) == {BOOTED_S - 0.2 + Q_S + F_S}
        assert not new.node.guarding

    def test_with_a_heartbeat_that_counts_it_waits_for_nothing(self, new: Turning) -> None:
        new.node.renewal_sent_at_s = BOOTED_S - 0.5
        new.play(new.actuator._guard, 0.3)
        assert new.node.guarding

    def test_does_not_feed_by_what_is_over(self, new: Turning) -> None:
        """The last run's deadline stands: it may be later by a heartbeat."""
        early_s = BOOTED_S - D_S - Q_S - F_S
        new.unit.packets = replace(new.unit.packets, arrived_after_s=early_s)
        new.play(new.actuator._guard, 0.3)
        assert new.fed == []

    def test_is_ready_once_it_has(self, new: Turning) -> None:
        new.unit.packets = replace(new.unit.packets, arrived_after_s=BOOTED_S)
        new.play(new.actuator._guard, 0.3)
        assert new.node.guarding
