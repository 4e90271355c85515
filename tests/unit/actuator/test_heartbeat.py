"""A heartbeat counts only if its answer was read in time."""

import asyncio
from typing import Any, cast

import pytest

from tandem_actuator.heartbeat import Heart
from tandem_actuator.unit import NodeFacts
from tandem_api.authority import Instance
from tandem_api.timing import DEFAULT, RENEW_TIMEOUT_S


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
