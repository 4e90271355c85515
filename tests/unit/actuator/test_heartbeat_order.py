"""What a heartbeat changes, when, and by which timing: the orders of the loop that sends them."""

import asyncio
from collections.abc import Callable, Coroutine, Iterator
from itertools import pairwise
from typing import Any, cast

import pytest

from sim.engine.kernel import Group, Kernel
from sim.engine.loop import Loop
from tandem_actuator.ports.api import ApiUnavailable
from tandem_actuator.run.heartbeat import Heart, strictest
from tandem_actuator.run.node import NodeFacts
from tandem_api.authority import Instance
from tandem_api.lease import HeartbeatContent
from tandem_api.timing import DEFAULT, FAST, RENEW_TIMEOUT_S, Timing

BEGAN_S = 100.0


class Outside:
    """A host's clock, and an API whose answer takes ``takes_s`` and may be a failure."""

    def __init__(self) -> None:
        self.kernel, self.group = Kernel(1), Group("a-1")
        self.takes_s, self.fails, self.wanted, self.site = 0.1, False, DEFAULT, "site"
        self.sent: list[tuple[float, HeartbeatContent]] = []
        self.told: list[str] = []
        self.permits: list[tuple[float, Timing]] = []
        self.node = NodeFacts("a-1", Instance(node="a-1", boot_id="b", run_id="r"), DEFAULT)
        whole = cast(Any, self)
        self.heart = Heart(
            whole,
            whole,
            self.node,
            lambda: self.site,
            lambda: self.wanted,
            on_confirmed=lambda sent_s, timing: self.permits.append((sent_s, timing)),
            chance=self.kernel.random,
        )
        self.errors: list[BaseException | None] = []
        self.loop = Loop(self.kernel, self.group, self.boottime_s, self.errors.append)

    def boottime_s(self) -> float:
        return BEGAN_S + self.kernel.now_s

    async def renew(self, heartbeat: HeartbeatContent) -> str:
        self.sent.append((self.boottime_s(), heartbeat))
        await asyncio.sleep(self.takes_s)
        if self.fails:
            raise ApiUnavailable("no answer")
        return "1"

    def play(self, program: Coroutine[Any, Any, object], for_s: float) -> None:
        async def whole() -> None:
            await program
            await asyncio.Event().wait()

        self.loop.begin(whole())
        self.run(for_s)

    def run(self, for_s: float) -> None:
        self.kernel.run_until(self.kernel.now_s + for_s)
        assert self.errors == []

    def beats(self, *changes: Callable[[], None]) -> list[bool]:
        """One after another, each after its change; whether they were confirmed."""
        confirmed: list[bool] = []

        async def each() -> None:
            for change in changes:
                change()
                confirmed.append(await self.heart.beat())

        self.play(each(), 10.0)
        return confirmed


@pytest.fixture
def host() -> Iterator[Outside]:
    made = Outside()
    yield made
    made.loop.discard()


def test_a_lapse_is_looked_for_while_the_old_heartbeat_is_the_last(host: Outside) -> None:
    seen: list[float | None] = []
    host.heart.before_confirm = lambda: seen.append(host.node.renewal_sent_at_s)
    host.play(host.heart.run(), 1.5)
    assert seen == [None, BEGAN_S]


def test_it_counts_from_before_it_was_sent_and_once_it_is_confirmed(host: Outside) -> None:
    host.play(host.heart.run(), 0.05)
    assert host.node.renewal_sent_at_s is None
    host.run(0.1)
    assert host.node.renewal_sent_at_s == BEGAN_S
    assert host.node.renewal_confirmed_at_s == BEGAN_S + 0.1


def test_the_next_run_is_left_what_counts_and_nothing_else(host: Outside) -> None:
    def fails() -> None:
        host.fails = True

    assert host.beats(lambda: None, fails) == [True, False]
    assert host.permits == [(BEGAN_S, DEFAULT)]


def test_one_without_an_answer_is_given_up(host: Outside) -> None:
    """Before another may count, and before the next is due."""
    host.takes_s = 100.0
    host.play(host.heart.run(), 3.5)
    assert len(host.sent) >= 3
    assert host.node.renewal_sent_at_s is None


def test_they_keep_their_pace_however_long_the_answer_takes(host: Outside) -> None:
    host.takes_s = RENEW_TIMEOUT_S - 0.2
    host.play(host.heart.run(), 20.0)
    moments = [at_s for at_s, _ in host.sent]
    gaps = [later - earlier for earlier, later in pairwise(moments)]
    assert max(gaps) <= DEFAULT.renew_interval_seconds + 0.01
    assert min(gaps) >= 0.85 * DEFAULT.renew_interval_seconds


def test_while_they_are_withheld_none_is_sent_and_that_is_said_once(
    host: Outside, caplog: pytest.LogCaptureFixture
) -> None:
    """Whoever counts the results hears of each that was not sent as of one that failed."""
    results: list[bool] = []
    host.heart.after_each = results.append
    host.heart.withheld = lambda now_s: "it waits" if BEGAN_S + 4.0 < now_s < BEGAN_S + 9.0 else ""
    host.play(host.heart.run(), 20.0)
    moments = [at_s - BEGAN_S for at_s, _ in host.sent]
    assert not [at_s for at_s in moments if 4.0 < at_s < 9.0]
    assert min(moments) < 4.0
    assert max(moments) > 18.0
    assert results.count(False) >= 4
    said = [record.getMessage() for record in caplog.records if record.levelname != "INFO"]
    assert said == [
        "no heartbeat is sent, so that the other host can take over: it waits",
        "heartbeats are sent again",
    ]


def test_hosts_do_not_keep_step(host: Outside) -> None:
    host.play(host.heart.run(), 20.0)
    gaps = {round(b[0] - a[0], 3) for a, b in pairwise(host.sent)}
    assert len(gaps) > 5


def test_one_that_a_guest_hangs_on_is_sent_at_once(host: Outside) -> None:
    host.play(host.heart.run(), 0.3)
    host.heart.hurry()
    host.run(0.05)
    assert [at_s for at_s, _ in host.sent] == [BEGAN_S, BEGAN_S + 0.3]


def test_not_all_the_time_however_the_api_answers(host: Outside) -> None:
    host.takes_s, host.fails = 0.01, True

    async def hurries() -> None:
        while True:
            host.heart.hurry()
            await asyncio.sleep(0.02)

    host.loop.begin(hurries())
    host.play(host.heart.run(), 9.0)
    assert len(host.sent) <= 2 * 9.0 / (0.9 * DEFAULT.renew_interval_seconds) + 2


def test_none_is_sent_before_the_site_is_known(host: Outside) -> None:
    host.site = ""
    host.play(host.heart.run(), 5.0)
    assert host.sent == []
    assert not host.heart.tried
    host.site = "site"
    host.run(0.5)
    assert [content.site for _, content in host.sent] == ["site"]


def test_it_was_tried_once_it_has_an_answer_or_none(host: Outside) -> None:
    """A run that has just started fences nobody before."""
    host.takes_s = 100.0
    host.play(host.heart.run(), RENEW_TIMEOUT_S - 0.1)
    assert not host.heart.tried
    host.run(0.2)
    assert host.heart.tried


class TestTiming:
    def test_a_shorter_one_counts_at_once(self, host: Outside) -> None:
        """Whoever reads the new one counts on it, and it may have landed without an answer."""

        def shorter() -> None:
            host.wanted, host.fails = FAST, True

        assert host.beats(lambda: None, shorter) == [True, False]
        assert host.node.timing.self_fence_seconds == FAST.self_fence_seconds

    def test_a_longer_one_counts_once_it_is_confirmed(self, host: Outside) -> None:
        host.wanted = FAST

        def longer() -> None:
            host.wanted, host.fails = DEFAULT, True

        def answered() -> None:
            host.fails = False

        in_force: list[float] = []

        def look() -> None:
            in_force.append(host.node.timing.self_fence_seconds)

        assert host.beats(lambda: None, longer, look, look, answered) == [True] + 3 * [False] + [
            True
        ]
        assert in_force == 2 * [FAST.self_fence_seconds]
        assert host.node.timing == DEFAULT

    @pytest.mark.parametrize(("one", "other"), [(DEFAULT, FAST), (FAST, DEFAULT)])
    def test_the_strictest_of_two_has_the_shorter_of_each(self, one: Timing, other: Timing) -> None:
        both = strictest(one, other)
        assert both.self_fence_seconds == FAST.self_fence_seconds
        assert both.fencing_seconds == FAST.fencing_seconds
        assert both.query_freshness_seconds == FAST.query_freshness_seconds
        assert both.watchdog_seconds == FAST.watchdog_seconds
