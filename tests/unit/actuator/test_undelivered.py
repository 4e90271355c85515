"""Since when reports do not arrive: when a heartbeat tells it, and of what."""

import pytest

from tandem_actuator.ports.api import ApiRefused, ApiUnavailable
from tandem_actuator.run.node import NodeFacts
from tandem_actuator.run.undelivered import NAMED, TELL_AFTER_S, Undelivered
from tandem_api.authority import Instance
from tandem_api.lease import WHY_LENGTH, Delivery
from tandem_api.timing import DEFAULT

RUN = "run"
NONE = Delivery(run=RUN)


class Bench:
    """A host whose heartbeats are confirmed each second, unless they are ``lost``."""

    def __init__(self) -> None:
        self.now_s = 1000.0
        instance = Instance(node="a", boot_id="boot", run_id=RUN)
        self.node = NodeFacts("a", instance, DEFAULT, renewal_sent_at_s=self.now_s)
        self.undelivered = Undelivered(self.node, self)
        self.lost = False

    def boottime_s(self) -> float:
        return self.now_s

    def wall(self) -> str:
        return f"wall {self.now_s:.0f}"

    def fails(self, name: str, part: str = "report", *, refused: bool = False) -> None:
        error = ApiRefused("no") if refused else ApiUnavailable("no answer")
        self.undelivered.failed(name, part, error)

    def after(self, seconds: float) -> Delivery:
        """What the heartbeat at the end of them says."""
        until_s = self.now_s + seconds
        while self.now_s < until_s:
            self.now_s += 1.0
            told = self.undelivered.told(self.now_s)
            if not self.lost:
                self.node.renewed(self.now_s, self.now_s)
        return told


@pytest.fixture
def bench() -> Bench:
    return Bench()


def test_what_lasts_is_told_with_its_beginning(bench: Bench) -> None:
    bench.fails("ns/g")
    assert bench.after(TELL_AFTER_S - 1.0) == NONE
    bench.fails("ns/g")
    told = bench.after(1.0)
    assert told == Delivery(run=RUN, since="wall 1000", count=1, of=("ns/g",), why="no answer")


def test_one_that_is_delivered_is_over(bench: Bench) -> None:
    bench.fails("ns/g")
    bench.after(TELL_AFTER_S)
    bench.undelivered.delivered("ns/g", "report")
    assert bench.after(1.0) == NONE
    bench.fails("ns/g")
    assert bench.after(TELL_AFTER_S).since == "wall 1011"


def test_each_of_its_reports_counts_by_itself(bench: Bench) -> None:
    bench.fails("ns/g", "mirror")
    bench.fails("ns/g", "guest")
    bench.undelivered.delivered("ns/g", "mirror")
    told = bench.after(TELL_AFTER_S)
    assert (told.of, told.count) == (("ns/g",), 1)


def test_the_longest_is_told_and_all_are_named(bench: Bench) -> None:
    bench.fails("ns/b")
    bench.after(3.0)
    bench.fails("ns/a")
    told = bench.after(TELL_AFTER_S)
    assert (told.since, told.of) == ("wall 1000", ("ns/a", "ns/b"))


def test_many_are_only_counted(bench: Bench) -> None:
    for number in range(NAMED + 1):
        bench.fails(f"ns/{number}")
    told = bench.after(TELL_AFTER_S)
    assert (told.of, told.count) == ((), NAMED + 1)


def test_refused_are_those_of_which_every_one_is(bench: Bench) -> None:
    bench.fails("ns/a", refused=True)
    assert bench.after(TELL_AFTER_S).refused
    bench.fails("ns/b")
    assert not bench.after(TELL_AFTER_S).refused


def test_an_outage_of_the_api_is_none(bench: Bench) -> None:
    """Not while it lasts, and not with the first heartbeats after it."""
    bench.lost = True
    bench.fails("ns/g")
    assert bench.after(60.0) == NONE
    bench.lost = False
    assert bench.after(TELL_AFTER_S - 1.0) == NONE
    assert bench.after(3.0).since == "wall 1000"


def test_what_was_told_is_told_on_while_none_is_confirmed(bench: Bench) -> None:
    bench.fails("ns/g")
    known = bench.after(TELL_AFTER_S)
    bench.lost = True
    assert bench.after(60.0) == known


def test_what_is_gone_is_no_concern(bench: Bench) -> None:
    bench.fails("ns/g")
    bench.fails("ns/kept")
    bench.undelivered.keep({"ns/kept"})
    assert bench.after(TELL_AFTER_S).of == ("ns/kept",)


def test_an_error_is_cut_short(bench: Bench) -> None:
    bench.undelivered.failed("ns/g", "report", ApiUnavailable("x" * 5000))
    assert len(bench.after(TELL_AFTER_S).why) == WHY_LENGTH


class TestOneThatHearsNothing:
    def test_it_concerns_all(self, bench: Bench) -> None:
        bench.fails("ns/g")
        bench.undelivered.heard("Mirror", "watch of Mirror: no answer")
        bench.undelivered.heard("Guest", "watch of Guest: no answer")
        told = bench.after(TELL_AFTER_S)
        assert (told.of, told.count, told.deaf) == ((), 1, True)
        bench.undelivered.keep(())
        assert bench.after(1.0).deaf

    def test_until_it_has_heard_all_of_it(self, bench: Bench) -> None:
        bench.undelivered.heard("Mirror", "watch of Mirror: no answer")
        bench.undelivered.heard("Guest", "watch of Guest: no answer")
        bench.undelivered.heard("Mirror", "")
        assert bench.after(TELL_AFTER_S).why == "watch of Guest: no answer"
        bench.undelivered.heard("Guest", "")
        assert bench.after(1.0) == NONE
