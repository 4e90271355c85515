"""A heartbeat counts only if its answer was read in time."""

import asyncio
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


def test_it_tells_whether_reports_arrive() -> None:
    node = NodeFacts("a", Instance(node="a", boot_id="b", run_id="r"), DEFAULT)
    deaf = Deaf()
    outside: Any = cast(Any, deaf)
    heart = Heart(outside, outside, node, lambda: "site", lambda: DEFAULT)
    heart.delivery = lambda now_s: Delivery(run="r", since=f"at {now_s:g}")
    assert asyncio.run(heart.beat())
    assert deaf.said[-1].delivery == Delivery(run="r", since="at 100")
