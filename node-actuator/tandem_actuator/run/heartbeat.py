"""Renews this host's Lease and tells the rest of the actuator until when that counts.

A renewal counts from *before* it was sent (rule 10), and only once it is confirmed. The timing
and the watchdog's state travel with it: whoever counts the lease's age uses what this host really
does. A new timing is used by the strictest of both until a renewal that carries it is confirmed,
and of all that were sent without an answer: each may have landed. What is published is what is in
force: a watchdog that has not the new timeout, or refuses it, is told with the one that it has.
"""

import asyncio
import logging
import random
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import reduce

from tandem_actuator.ports import Clock, PortError
from tandem_actuator.ports.api import Api
from tandem_actuator.run.node import NodeFacts
from tandem_api.lease import Delivery, HeartbeatContent
from tandem_api.timing import RENEW_TIMEOUT_S, Timing

log = logging.getLogger(__name__)

UNKNOWN_SITE_PAUSE_S = 0.05


def strictest(one: Timing, other: Timing) -> Timing:
    """The shorter of each deadline: safe whichever of the two others believe in."""
    made = one.model_copy(
        update={
            "self_fence_seconds": min(one.self_fence_seconds, other.self_fence_seconds),
            "fencing_seconds": min(one.fencing_seconds, other.fencing_seconds),
            "query_freshness_seconds": min(
                one.query_freshness_seconds, other.query_freshness_seconds
            ),
            "watchdog_seconds": min(one.watchdog_seconds, other.watchdog_seconds),
        }
    )
    return one if made == one else made  # what is as it was is the same value to all who compare


def in_force(wanted: Timing, watchdog_s: int | None, detection_s: float = 0.0) -> Timing:
    """What others may count on: no shorter timeout than the watchdog's and DRBD's own.

    ``watchdog_s``: after which it resets, None if it is not armed; then nobody counts on it.
    ``detection_s``: within which DRBD notices a dead link, for the slowest mirror.
    """
    longer = wanted.model_copy(
        update={
            "watchdog_seconds": max(wanted.watchdog_seconds, watchdog_s or 0),
            "link_detection_seconds": max(wanted.link_detection_seconds, detection_s),
        }
    )
    if longer == wanted:
        return wanted
    lease_s = max(wanted.lease_duration_seconds, longer.lease_wait_s)
    return longer.model_copy(update={"lease_duration_seconds": lease_s})


@dataclass(frozen=True)
class Promise:
    """By what a host lives that others may count on. ``acknowledged``: see ``NodeFacts``."""

    timing: Timing
    acknowledged: bool


class Heart:
    """The heartbeat loop."""

    def __init__(
        self,
        api: Api,
        clock: Clock,
        node: NodeFacts,
        site: Callable[[], str],
        wanted: Callable[[], Timing],
        on_result: Callable[[float, bool], None] = lambda duration_s, confirmed: None,
        on_confirmed: Callable[[float, Timing], None] = lambda sent_at_s, timing: None,
        chance: random.Random | None = None,
    ) -> None:
        self.api, self.clock, self.node = api, clock, node
        self.chance = chance or random.SystemRandom()
        self.site, self.wanted = site, wanted
        # The last run's, as far as it is known: its Lease is what others read until the next one.
        self.published = Promise(node.timing, acknowledged=True)
        self._unanswered: list[Promise] = []
        self.tried = False
        self.watchdog_s: Callable[[], int | None] = lambda: None
        self.detection_s: Callable[[], float] = lambda: 0.0
        self.acknowledged: Callable[[], bool] = lambda: True
        self.on_result, self.on_confirmed = on_result, on_confirmed
        self.before_confirm: Callable[[], None] = lambda: None
        self.after_each: Callable[[bool], None] = lambda confirmed: None
        self.withheld: Callable[[float], str] = lambda now_s: ""
        self.delivery: Callable[[float], Delivery | None] = lambda now_s: None
        self._withheld = ""
        self._soon = asyncio.Event()

    async def run(self) -> None:
        """Renew for ever, at the pace of the timing, with a little jitter."""
        hurried = False
        while True:
            if not self.site():
                # Just started: the Host object is on its way, and a permit may be running out.
                await asyncio.sleep(UNKNOWN_SITE_PAUSE_S)
                continue
            started_s = self.clock.boottime_s()
            confirmed = not self._is_withheld(started_s) and await self.beat()
            self.tried = True
            interval_s = self.node.timing.renew_interval_seconds
            self.on_result(self.clock.boottime_s() - started_s, confirmed)
            self.after_each(confirmed)
            spent_s = self.clock.boottime_s() - started_s
            pause_s = interval_s * self.chance.uniform(0.9, 1.0)
            hurried = await self._rest(max(0.05, pause_s - spent_s), may_end=not hurried)

    def _is_withheld(self, now_s: float) -> bool:
        why = self.withheld(now_s)
        if why and why != self._withheld:
            log.error("no heartbeat is sent, so that the other host can take over: %s", why)
        elif self._withheld and not why:
            log.warning("heartbeats are sent again")
        self._withheld = why
        return bool(why)

    def hurry(self) -> None:
        """A guest hangs on the next renewal: it is sent now, and not when it is due."""
        self._soon.set()

    async def _rest(self, pause_s: float, *, may_end: bool) -> bool:
        """→ whether ``hurry`` has ended it. Not twice in a row: an API that refuses at once would
        be asked all the time.
        """
        self._soon.clear()
        if not may_end:
            await asyncio.sleep(pause_s)
            return False
        try:
            async with asyncio.timeout(pause_s):
                return await self._soon.wait()
        except TimeoutError:
            return False

    async def beat(self) -> bool:
        """One renewal; whether it was confirmed."""
        if not self.site():
            return False
        wanted = self.wanted()
        timing = in_force(wanted, self.watchdog_s(), self.detection_s())
        # DRBD may notice a dead link sooner than published at any time, later only from then on.
        self.node.detection_s = min(self.node.detection_s, wanted.link_detection_seconds)
        promise = Promise(timing, self.acknowledged())
        self._live_by([promise, *self._counted_on()])
        sent_at_s = self.clock.boottime_s()
        content = HeartbeatContent(
            host=self.node.host,
            site=self.site(),
            instance=str(self.node.instance),
            watchdog_armed=self.node.watchdog_armed,
            watchdog_least_s=self.node.watchdog_least_s,
            timing=timing,
            clock_s=sent_at_s,
            link_acknowledged=promise.acknowledged,
            delivery=self.delivery(sent_at_s),
        )
        if promise not in self._unanswered:
            self._unanswered.append(promise)
        try:
            async with asyncio.timeout(RENEW_TIMEOUT_S):
                await self.api.renew(content)
        except (PortError, TimeoutError) as error:
            log.warning("heartbeat not confirmed: %s", str(error) or "no answer in time")
            return False
        if self.clock.boottime_s() - sent_at_s > RENEW_TIMEOUT_S:
            log.warning("heartbeat not confirmed: this host stood still before the answer was read")
            return False
        self.before_confirm()  # a lapse must be seen before it is over
        self.node.renewed(sent_at_s, self.clock.boottime_s())
        self.on_confirmed(sent_at_s, timing)
        self.published, self._unanswered = promise, []
        self._live_by([promise])
        self.node.detection_s = wanted.link_detection_seconds
        return True

    def _live_by(self, promises: Sequence[Promise]) -> None:
        """The strictest of all. Who lives by what has arrived keeps the other promise, too: no look
        is proven that is later than the peer's loss of the link.
        """
        self.node.timing = reduce(strictest, (one.timing for one in promises))
        self.node.acknowledged = any(one.acknowledged for one in promises)
        self.node.link_lasts_s = min(one.timing.link_lasts_s for one in promises)

    def _counted_on(self) -> list[Promise]:
        """Every promise that somebody may have read in this host's Lease."""
        return [self.published, *self._unanswered]
