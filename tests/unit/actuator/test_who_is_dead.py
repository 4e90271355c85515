"""Whether a guest that is being stopped is dead: when that is looked at, and what it changes."""

import asyncio
import math
from collections.abc import Iterator

import pytest

from tandem_actuator.core.model import FenceProgress
from tandem_actuator.ports import CommandFailed
from tandem_api.timing import DEFAULT
from tandem_api.vocabulary import DomainState
from unit.builders import frozen

from .test_loop_work import other_unit
from .turning import BOOTED_S, Turning

R_S, F_S = DEFAULT.self_fence_seconds, DEFAULT.fencing_seconds
NAME = "ns.g"


@pytest.fixture
def host() -> Iterator[Turning]:
    """A guest runs here and the link is lost; the heartbeat is not renewed any more. Its QEMU takes
    the signal, and does not end.
    """
    made = Turning()
    made.domains = {NAME: DomainState.RUNNING}
    made.unit.observe_domain(DomainState.RUNNING)
    made.unit.drbd = made.found = frozen()
    made.node.guarding = True
    made.actuator.domains.known = True
    made.waiting["destroy"] = hangs
    yield made
    made.loop.discard()


async def hangs() -> None:
    await asyncio.Event().wait()


def guards(host: Turning, seconds: float) -> None:
    host.begin(host.actuator._guard, host.actuator.domains.watch_who_is_stopped)
    host.run(seconds)


def test_nobody_is_looked_at_whom_nobody_stops(host: Turning) -> None:
    guards(host, R_S - 0.5)
    assert "dead" not in host.calls


def test_before_it_is_seen_the_watchdog_is_fed_for_f(host: Turning) -> None:
    guards(host, 20.0)
    assert host.calls.count("dead") > 100
    assert max(host.fed) == BOOTED_S + R_S + F_S


def test_once_it_is_seen_it_is_fed_on(host: Turning) -> None:
    host.during["destroy"] = lambda: host.dead_domains.add(NAME)
    guards(host, R_S + 1.0)
    assert host.fed[-1] == math.inf
    assert host.unit.is_being_stopped


def test_also_if_that_comes_late(host: Turning) -> None:
    """Between the last feed and the reset it counts as well: it is final."""
    guards(host, R_S + F_S + 1.0)
    assert host.fed[-1] == BOOTED_S + R_S + F_S
    host.dead_domains.add(NAME)
    host.run(0.5)
    assert host.fed[-1] == math.inf


def test_a_dead_one_is_looked_at_now_and_then(host: Turning) -> None:
    """Somebody may have started another beside it."""
    host.dead_domains.add(NAME)
    guards(host, R_S + 1.0)
    host.calls.clear()
    host.run(20.0)
    assert 8 <= host.calls.count("dead") <= 11
    host.dead_domains.clear()
    host.run(2.5)
    assert host.fed[-1] < host.now_s


def test_it_is_not_looked_at_as_often_as_one_beside_it_that_still_dies(host: Turning) -> None:
    other = other_unit()
    assert host.unit.guest is not None
    renamed = host.unit.guest.metadata.model_copy(update={"name": "g2"})
    other.observe_guest(host.unit.guest.model_copy(update={"metadata": renamed}))
    other.observe_domain(DomainState.RUNNING)
    host.domains["ns.g2"] = DomainState.RUNNING
    host.add(other)
    host.dead_domains.add(NAME)
    for unit in (host.unit, other):
        unit.fence = FenceProgress(host.now_s)
    guards(host, 20.0)
    assert 8 <= sum(NAME in names for names in host.asked_dead) <= 14
    assert sum("ns.g2" in names for names in host.asked_dead) > 100


def test_with_libvirts_news_nobody_is_looked_at(host: Turning) -> None:
    """Hundreds come when hundreds of guests are stopped."""
    host.unit.fence = FenceProgress(host.now_s)
    host.play(host.actuator.domains.watch, 10.0)
    assert host.calls.count("states") > 3
    assert "dead" not in host.calls


def test_one_that_is_gone_stays_dead_until_libvirt_has_noticed(host: Turning) -> None:
    host.dead_domains.add(NAME)
    guards(host, R_S + 1.0)
    host.gone_domains.add(NAME)
    host.run(10.0)
    assert host.fed[-1] == math.inf


def test_a_look_that_fails_says_nothing(host: Turning) -> None:
    def fails() -> None:
        raise CommandFailed("/proc could not be read in time")

    host.dead_domains.add(NAME)
    guards(host, R_S + 1.0)
    host.during["dead"] = fails
    host.run(10.0)
    assert host.fed[-1] == math.inf


def test_a_look_counts_from_its_beginning(host: Turning) -> None:
    """Its answer says nothing of what was started meanwhile."""

    async def slow() -> None:
        host.unit.begins(host.now_s + 1.0)
        await asyncio.sleep(2.0)
        host.unit.starting = False

    host.dead_domains.add(NAME)
    host.unit.fence = FenceProgress(host.now_s)
    host.waiting["dead"] = slow
    host.actuator.domains.being_stopped.set()
    host.play(host.actuator.domains.watch_who_is_stopped, 3.0)
    assert host.unit.dead_at_s is None


class TestANewRun:
    """An earlier one may have killed it."""

    @pytest.fixture
    def new(self, host: Turning) -> Turning:
        host.actuator.domains.known = host.node.guarding = False
        host.unit.domain = DomainState.UNKNOWN
        host.node.renewal_sent_at_s = None
        host.dead_domains.add(NAME)
        host.unit.record = host.unit.record.__class__(
            uid=host.unit.record.uid, started_boot_id=host.node.instance.boot_id
        )
        return host

    def test_sees_it_before_it_tells_the_watchdog_anything(self, new: Turning) -> None:
        new.actuator.heart.tried = True
        new.waiting["states"] = lambda: asyncio.sleep(0.3)
        new.begin(new.actuator._guard, new.actuator.domains.watch)
        new.run(2.0)
        assert new.calls.index("dead") < new.calls.index("states")
        assert set(new.fed) == {math.inf}

    def test_asks_nothing_where_none_can_run(self, new: Turning) -> None:
        new.unit.record = new.unit.record.__class__(uid=new.unit.record.uid)
        new.domains = {}
        new.play(new.actuator.domains.watch, 2.0)
        assert "dead" not in new.calls
