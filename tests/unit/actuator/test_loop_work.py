"""A unit's loop: what wakes it, how soon a failed try is repeated, what DRBD's questions are."""

import asyncio
from collections.abc import Iterator
from itertools import pairwise

import pytest

from tandem_actuator.core.guest.domain_xml import domain_name
from tandem_actuator.core.mirror import handler
from tandem_actuator.ports import CommandFailed
from tandem_actuator.ports.drbd import DrbdEvent
from tandem_actuator.run.workload import BACKOFF_MAX_S, Unit
from tandem_api.timing import DEFAULT
from tandem_api.vocabulary import DomainState, Role
from unit.builders import B, assignment, authority, drbd, frozen, guest, mirror, standalone, view

from .turning import BOOTED_S, Turning


@pytest.fixture
def host() -> Iterator[Turning]:
    """A guest runs here in good order: nothing is to be done."""
    made = Turning()
    made.unit.domain, made.node.watchdog_armed = DomainState.RUNNING, True
    made.unit.drbd = made.found = drbd(Role.PRIMARY)
    made.node.addresses = view(None, made.found).addresses
    made.node.guarding = True
    yield made
    made.loop.discard()


def keep_heard(host: Turning) -> None:
    """Its heartbeat is confirmed all the time."""

    async def beat() -> None:
        while True:
            host.node.renewed(host.now_s, host.now_s)
            await asyncio.sleep(0.5)

    host.begin(beat, lambda: host.actuator._work(host.unit))


def other_unit() -> Unit:
    """Another mirror on this host."""
    raw = mirror(authority())
    named = raw.metadata.model_copy(update={"name": "other", "uid": "uid-other"})
    found = Unit(
        mirror=raw.model_copy(update={"metadata": named}), record=view(None, frozen()).record
    )
    found.drbd = frozen()
    return found


class TestLooks:
    def test_what_happens_during_a_look_is_looked_at_again(self, host: Turning) -> None:
        keep_heard(host)
        host.run(0.1)
        before = host.calls.count("query")

        def happens() -> None:
            host.during.pop("query", None)
            host.unit.wake.set()

        host.during["query"] = happens
        host.unit.wake.set()
        host.run(0.1)
        assert host.calls.count("query") == before + 2

    def test_what_wakes_it_all_the_time_leaves_pauses(self, host: Turning) -> None:
        def looked() -> None:
            host.unit.wake.set()
            if host.calls.count("query") > 51:
                pytest.fail("without pauses the second never ends")  # which passes every wall

        host.during["query"] = looked
        keep_heard(host)
        host.run(1.0)
        assert host.calls.count("query") >= 10

    def test_one_that_nothing_wakes_is_looked_at_all_the_same(self, host: Turning) -> None:
        keep_heard(host)
        host.run(10.0)
        assert 5 <= host.calls.count("query") <= 41

    def test_one_that_lives_on_the_link_is_looked_at_within_q(self, host: Turning) -> None:
        host.node.renewal_sent_at_s, host.node.acknowledged = None, False
        moments: list[float] = []

        def looked() -> None:
            moments.append(host.now_s)
            host.found = drbd(Role.PRIMARY, at_s=host.now_s)

        host.during["query"] = looked
        host.play(lambda: host.actuator._work(host.unit), 5.0)
        gaps = [b - a for a, b in pairwise(moments)]
        assert max(gaps) < host.node.timing.query_freshness_seconds


class TestTries:
    @pytest.fixture
    def failing(self, host: Turning) -> Turning:
        """To be noted: an epoch. The disk refuses it."""

        def fails() -> None:
            raise CommandFailed("disk full")

        host.unit.mirror = host.at = mirror(authority(epoch=9))
        host.during["store"] = fails
        return host

    def test_what_fails_is_tried_ever_more_seldom_and_for_ever(self, failing: Turning) -> None:
        moments: list[float] = []

        def fails() -> None:
            moments.append(failing.now_s)
            raise CommandFailed("disk full")

        failing.during["store"] = fails
        keep_heard(failing)
        failing.run(60.0)
        gaps = [b - a for a, b in pairwise(moments)]
        assert gaps[0] < 2.5
        assert gaps[-1] > BACKOFF_MAX_S - 0.1
        assert max(gaps) < BACKOFF_MAX_S + 2.5

    def test_why_it_failed_is_told_until_the_next_try(self, failing: Turning) -> None:
        keep_heard(failing)
        failing.run(5.0)
        assert "disk full" in failing.unit.message

    def test_what_succeeds_is_forgiven(self, failing: Turning) -> None:
        keep_heard(failing)
        failing.run(5.0)
        assert failing.unit.failures >= 2
        failing.during.pop("store")
        failing.run(10.0)
        assert failing.unit.record.max_epoch == 9
        assert failing.unit.failures == 0

    def test_what_shows_late_is_not_repeated_at_once(self, host: Turning) -> None:
        """DRBD is connected anew, to ask again, and has not asked yet."""
        host.unit.mirror = host.at = mirror(standalone())
        host.unit.drbd = host.found = frozen()
        host.unit.frozen_since_s = BOOTED_S - 100.0

        async def parted() -> None:
            if host.calls.count("disconnect") > 3:
                pytest.fail("again and again, at the same moment")
            await turn()

        host.waiting["disconnect"], host.waiting["connect"] = parted, turn
        keep_heard(host)
        host.run(2.0)
        assert host.calls.count("disconnect") >= 1


async def turn() -> None:
    await asyncio.sleep(0)


def test_who_waits_for_a_heartbeat_goes_on_soon_after_one(host: Turning) -> None:
    """It asks whether the API answers at all, and that is no failure."""
    host.unit.domain = DomainState.ABSENT
    host.unit.drbd = host.found = drbd()
    host.at = host.unit.mirror = mirror(authority(""))
    host.actuator.node.guests_listed = True
    host.play(lambda: host.actuator._work(host.unit), DEFAULT.self_fence_seconds + 4.5)
    assert host.calls.count("read") >= 4
    assert host.unit.failures == 0
    assert host.unit.not_before_s <= host.now_s + 1.0


class TestQuestions:
    def ask(self, host: Turning, resource: str = "", for_s: float = 10.0) -> list[int]:
        codes: list[int] = []

        async def question() -> None:
            name = resource or host.unit.mirror.drbd_name
            codes.append((await host.actuator.answers.fence_peer({"DRBD_RESOURCE": name}))[0])

        host.play(question, for_s)
        return codes

    def test_about_what_is_not_here_the_answer_is_no(self, host: Turning) -> None:
        assert self.ask(host, "sim.unknown") == [handler.EXIT_STAY_FROZEN]

    @pytest.mark.parametrize("promoting", [True, False])
    def test_a_lost_link_is_waited_at_and_swapped_for_and_a_promotion_is_not(
        self, host: Turning, promoting: bool
    ) -> None:
        host.unit.mirror = host.at = mirror(standalone())
        host.unit.drbd = host.found = frozen()
        host.unit.promoting = promoting
        assert self.ask(host) == [handler.EXIT_PEER_FENCED]
        assert ("swap" in host.calls) is not promoting

    def test_while_it_is_open_that_is_known(self, host: Turning) -> None:
        host.unit.drbd = host.found = frozen()
        seen: list[int] = []
        host.during["read"] = lambda: seen.append(host.unit.handlers)
        self.ask(host)
        assert (seen[0], host.unit.handlers) == (1, 0)

    def test_a_refusal_is_a_no_and_then_it_is_decided_anew(self, host: Turning) -> None:
        host.unit.mirror = host.at = mirror(authority(B))
        host.unit.drbd, host.unit.domain = frozen(), DomainState.ABSENT
        host.found, host.during["query"] = host.unit.drbd, host.unit.wake.clear
        assert self.ask(host) == [handler.EXIT_STAY_FROZEN]
        assert host.unit.wake.is_set()


class TestWhatHappens:
    """DRBD's events and libvirt's: they wake, and keep the count of the link honest."""

    def lost(self, host: Turning) -> Unit:
        """Its link is lost, and so is that of another mirror."""
        another = other_unit()
        host.add(another)
        for unit in (host.unit, another):
            unit.link_lost_at_s = BOOTED_S - 50.0
            unit.wake.clear()
        host.begin(host.actuator._watch_drbd)
        host.run(0.1)
        return another

    def test_events_that_were_missed_begin_the_wait_for_the_link_anew(self, host: Turning) -> None:
        """It may have been up meanwhile."""
        another = self.lost(host)
        host.happens(DrbdEvent(""))
        host.run(0.1)
        assert (host.unit.link_lost_at_s, another.link_lost_at_s) == (None, None)
        assert host.unit.wake.is_set()
        assert another.wake.is_set()

    def test_one_of_a_link_that_was_up_begins_its_own(self, host: Turning) -> None:
        another = self.lost(host)
        host.happens(DrbdEvent(host.unit.mirror.drbd_name, was_connected=True))
        host.run(0.1)
        assert (host.unit.link_lost_at_s, another.link_lost_at_s) == (None, BOOTED_S - 50.0)
        assert not another.wake.is_set()

    def test_any_other_only_wakes(self, host: Turning) -> None:
        self.lost(host)
        host.happens(DrbdEvent(host.unit.mirror.drbd_name))
        host.run(0.1)
        assert host.unit.link_lost_at_s == BOOTED_S - 50.0
        assert host.unit.wake.is_set()

    def test_a_disk_that_was_behind_is_known_although_no_look_has_seen_it(
        self, host: Turning
    ) -> None:
        self.lost(host)
        host.unit.in_sync_since_s = BOOTED_S
        host.happens(DrbdEvent(host.unit.mirror.drbd_name, was_behind=True))
        host.run(0.1)
        assert host.unit.was_behind
        assert host.unit.in_sync_since_s is None

    def test_a_libvirt_that_does_not_answer_knows_nothing(self, host: Turning) -> None:
        def away() -> None:
            raise CommandFailed("no answer")

        host.during["states"] = away
        host.unit.wake.clear()
        host.play(host.actuator.domains.watch, 0.1)
        assert host.unit.domain is DomainState.UNKNOWN
        assert host.unit.wake.is_set()
        assert not host.actuator.domains.known

    def test_it_is_asked_again_soon_and_then_seldom(self, host: Turning) -> None:
        def away() -> None:
            raise CommandFailed("no answer")

        host.during["states"] = away
        host.begin(host.actuator.domains.watch)
        host.run(10.2)
        assert 15 <= host.calls.count("states") <= 22
        host.during.pop("states")
        host.run(1.0)
        host.calls.clear()
        host.run(10.0)
        assert 4 <= host.calls.count("states") <= 6

    def test_what_it_does_not_list_is_absent_and_decided_about_at_once(self, host: Turning) -> None:
        host.unit.wake.clear()
        host.play(host.actuator.domains.watch, 0.1)
        assert host.unit.domain is DomainState.ABSENT
        assert host.unit.wake.is_set()

    def test_a_guest_that_has_ended_leaves_its_place_to_another(self, host: Turning) -> None:
        """Which had no right to it while it ran."""
        assert host.unit.guest is not None
        named = host.unit.guest.metadata.model_copy(update={"name": "next", "uid": "uid-next"})
        following = guest(assignment("")).model_copy(update={"metadata": named})
        host.actuator.cluster.guests[following.key] = following
        host.actuator.node.guests_listed = True
        host.play(host.actuator.domains.watch, 0.1)
        assert host.unit.guest is not None
        assert host.unit.guest.key == following.key

    def test_as_it_was_nothing_wakes(self, host: Turning) -> None:
        assert host.unit.guest is not None
        host.domains = {domain_name(host.unit.guest): DomainState.RUNNING}
        host.unit.wake.clear()
        host.play(host.actuator.domains.watch, 5.0)
        assert not host.unit.wake.is_set()
