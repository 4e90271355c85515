"""A heartbeat counts only if its answer was read in time."""

import asyncio
from collections.abc import Callable
from typing import Any, cast

import pytest

from tandem_actuator.ports.api import ApiUnavailable
from tandem_actuator.run.heartbeat import Heart, in_force
from tandem_actuator.run.node import NodeFacts
from tandem_api.authority import Instance
from tandem_api.lease import Delivery, HeartbeatContent
from tandem_api.timing import DEFAULT, FAST, RENEW_TIMEOUT_S, Timing


class Outside:
    """A clock, and an API that answers at once; this host may stand still before it reads that."""

    def __init__(self, stands_still_s: float) -> None:
        self.now_s, self.stands_still_s = 100.0, stands_still_s

    def boottime_s(self) -> float:
        return self.now_s

    async def renew(self, heartbeat: Any) -> str:
        self.now_s += self.stands_still_s
        return "1"


@pytest.mark.parametrize(
    ("stands_still_s", "counts"), [(RENEW_TIMEOUT_S - 0.1, True), (RENEW_TIMEOUT_S + 0.1, False)]
)
def test_an_answer_that_was_read_late_does_not(stands_still_s: float, counts: bool) -> None:
    node = NodeFacts("a", Instance(node="a", boot_id="b", run_id="r"), DEFAULT)
    outside: Any = cast(Any, Outside(stands_still_s))
    heart = Heart(outside, outside, node, lambda: "site", lambda: DEFAULT)
    assert asyncio.run(heart.beat()) is counts
    assert node.renewal_sent_at_s == (100.0 if counts else None)


@pytest.mark.parametrize("watchdog_s", [None, 1])
def test_what_the_watchdog_can_do_is_promised(watchdog_s: int | None) -> None:
    assert in_force(FAST, watchdog_s) == FAST


@pytest.mark.parametrize("watchdog_s", [2, 60, 300])
def test_a_longer_timeout_is_told_with_a_wait_that_covers_it(watchdog_s: int) -> None:
    timing = in_force(FAST, watchdog_s)
    assert timing.watchdog_seconds == watchdog_s
    assert timing.problem() is None
    assert Timing.model_validate_json(timing.model_dump_json()) == timing


class Deaf:
    """An API that takes heartbeats, and answers those that it is to."""

    def __init__(self) -> None:
        self.answers, self.said = True, list[HeartbeatContent]()

    def boottime_s(self) -> float:
        return 100.0

    async def renew(self, heartbeat: HeartbeatContent) -> str:
        self.said.append(heartbeat)
        if not self.answers:
            raise ApiUnavailable("no answer")
        return "1"


def test_what_was_told_and_not_answered_is_kept_until_another_is_confirmed() -> None:
    """It may have landed: somebody counts with it."""
    node = NodeFacts("a", Instance(node="a", boot_id="b", run_id="r"), DEFAULT)
    wanted, deaf = [DEFAULT], Deaf()
    outside: Any = cast(Any, deaf)
    heart = Heart(outside, outside, node, lambda: "site", lambda: wanted[-1])

    def beat(timing: Timing, *, answered: bool) -> Timing:
        wanted.append(timing)
        deaf.answers = answered
        assert asyncio.run(heart.beat()) is answered
        return node.timing

    assert beat(DEFAULT, answered=True) == DEFAULT
    assert beat(FAST, answered=False).self_fence_seconds == FAST.self_fence_seconds
    assert beat(DEFAULT, answered=False).self_fence_seconds == FAST.self_fence_seconds
    assert beat(DEFAULT, answered=True) == DEFAULT


def test_drbd_notices_no_later_than_was_published() -> None:
    """Another profile reaches its timers: a shorter time at once, a longer one once it is told."""
    node = NodeFacts("a", Instance(node="a", boot_id="b", run_id="r"), DEFAULT)
    wanted, deaf = [DEFAULT], Deaf()
    outside: Any = cast(Any, deaf)
    heart = Heart(outside, outside, node, lambda: "site", lambda: wanted[-1])
    in_kernel_s = DEFAULT.link_detection_seconds
    heart.detection_s = lambda: in_kernel_s

    def beat(timing: Timing, *, answered: bool) -> float:
        wanted.append(timing)
        deaf.answers = answered
        asyncio.run(heart.beat())
        return deaf.said[-1].timing.link_detection_seconds

    assert beat(FAST, answered=True) == DEFAULT.link_detection_seconds, "not applied yet"
    assert deaf.said[-1].timing.problem() is None
    assert node.detection_s == FAST.link_detection_seconds
    in_kernel_s = node.detection_s
    assert beat(FAST, answered=True) == FAST.link_detection_seconds
    assert beat(DEFAULT, answered=False) == DEFAULT.link_detection_seconds
    assert node.detection_s == FAST.link_detection_seconds, "nobody has confirmed it"
    beat(DEFAULT, answered=True)
    assert node.detection_s == DEFAULT.link_detection_seconds


class TestByWhatItLivesOnALink:
    """A promise holds from before it is told until another is confirmed: either may have landed."""

    @pytest.fixture
    def deaf(self) -> Deaf:
        return Deaf()

    @pytest.fixture
    def node(self) -> NodeFacts:
        return NodeFacts("a", Instance(node="a", boot_id="b", run_id="r"), DEFAULT)

    @pytest.fixture
    def beats(self, deaf: Deaf, node: NodeFacts) -> Callable[..., bool]:
        """A heartbeat that promises this, and whether it is answered → what this host lives by."""
        outside: Any = cast(Any, deaf)
        heart = Heart(outside, outside, node, lambda: "site", lambda: DEFAULT)

        def beat(*, acknowledged: bool, answered: bool) -> bool:
            heart.acknowledged = lambda: acknowledged
            deaf.answers = answered
            assert asyncio.run(heart.beat()) is answered
            assert deaf.said[-1].link_acknowledged is acknowledged
            return node.acknowledged

        return beat

    def test_a_run_begins_with_what_has_arrived(self, node: NodeFacts) -> None:
        """Whatever the one before had promised: nobody counts on more."""
        assert node.acknowledged

    def test_it_lives_by_looks_once_that_is_confirmed(self, beats: Callable[..., bool]) -> None:
        assert beats(acknowledged=False, answered=False)
        assert not beats(acknowledged=False, answered=True)

    def test_it_lives_by_what_has_arrived_as_soon_as_it_says_so(
        self, beats: Callable[..., bool]
    ) -> None:
        assert not beats(acknowledged=False, answered=True)
        assert beats(acknowledged=True, answered=False)
        assert beats(acknowledged=False, answered=False)
        assert not beats(acknowledged=False, answered=True)

    def test_a_run_keeps_what_the_one_before_promised(self, deaf: Deaf, node: NodeFacts) -> None:
        """Until a heartbeat of its own is confirmed, others read that one's Lease."""
        node.timing = FAST
        outside: Any = cast(Any, deaf)
        heart = Heart(outside, outside, node, lambda: "site", lambda: DEFAULT)
        for answered, timing in ((False, FAST), (True, DEFAULT)):
            deaf.answers = answered
            asyncio.run(heart.beat())
            assert node.timing.self_fence_seconds == timing.self_fence_seconds
            assert node.link_lasts_s == timing.link_lasts_s

    def test_the_shortest_time_that_somebody_may_have_read(
        self, deaf: Deaf, node: NodeFacts
    ) -> None:
        outside: Any = cast(Any, deaf)
        longer = DEFAULT.model_copy(update={"link_detection_seconds": 5.0})
        wanted = [DEFAULT]
        heart = Heart(outside, outside, node, lambda: "site", lambda: wanted[-1])
        for timing, answered, lasts_s in (
            (DEFAULT, True, DEFAULT.link_lasts_s),
            (longer, False, DEFAULT.link_lasts_s),
            (longer, True, longer.link_lasts_s),
            (DEFAULT, False, DEFAULT.link_lasts_s),
        ):
            wanted.append(timing)
            deaf.answers = answered
            asyncio.run(heart.beat())
            assert node.link_lasts_s == lasts_s


def test_it_tells_whether_reports_arrive() -> None:
    node = NodeFacts("a", Instance(node="a", boot_id="b", run_id="r"), DEFAULT)
    deaf = Deaf()
    outside: Any = cast(Any, deaf)
    heart = Heart(outside, outside, node, lambda: "site", lambda: DEFAULT)
    heart.delivery = lambda now_s: Delivery(run="r", since=f"at {now_s:g}")
    assert asyncio.run(heart.beat())
    assert deaf.said[-1].delivery == Delivery(run="r", since="at 100")
