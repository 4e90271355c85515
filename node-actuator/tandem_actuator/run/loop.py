"""The actuator's loops: observe, guard, decide. Each at its own pace; events only wake.

The guard is apart from everything else: it looks at what is known ten times a second, feeds the
watchdog up to the run predicate's deadline, and starts a self-fence without waiting for whatever
procedure is under way. Its turns are signs of life to the service manager. Called by ``__main__``.
"""

import asyncio
import logging
from collections.abc import Callable, Coroutine
from typing import Any

from tandem_actuator.core.decision import LISTEN_AGAIN_S, SLOW_TO_SHOW
from tandem_actuator.core.host import starts
from tandem_actuator.core.host.permission import (
    Judgement,
    judge,
    lapse_must_be_judged,
    look_again_in_s,
)
from tandem_actuator.core.mirror import procedures, withheld
from tandem_actuator.core.model import FenceProgress
from tandem_actuator.core.order import Start, Task, affirmation, decide
from tandem_actuator.core.wall import Place
from tandem_actuator.ports.watchdog import Watchdog
from tandem_actuator.run import promised
from tandem_actuator.run.acquittal import last_look
from tandem_actuator.run.answers import Answers
from tandem_actuator.run.arming import Arming
from tandem_actuator.run.beginning import Beginning
from tandem_actuator.run.between_runs import BetweenRuns
from tandem_actuator.run.cluster import Cluster
from tandem_actuator.run.domains import Domains
from tandem_actuator.run.driver import Driver
from tandem_actuator.run.heartbeat import Heart
from tandem_actuator.run.inspection import Inspection
from tandem_actuator.run.learning import learn
from tandem_actuator.run.metrics import Metrics
from tandem_actuator.run.node import NodeFacts
from tandem_actuator.run.outside import Kept, Ports
from tandem_actuator.run.pauses import Pauses
from tandem_actuator.run.repeats import Repeats
from tandem_actuator.run.reports import Reports
from tandem_actuator.run.walls import crash_on_bug
from tandem_actuator.run.workload import Unit
from tandem_api.reasons import Reason
from tandem_api.timing import Timing
from tandem_base.bugs import where

log = logging.getLogger(__name__)

Loop = Callable[[], Coroutine[Any, Any, None]]

GUARD_INTERVAL_S = 0.1
APPLY_INTERVAL_S = 0.5
MIN_TICK_S = 0.02


class _Reduced(Exception):
    """Everything else is to end."""


class Actuator:
    """Everything that runs on one host."""

    def __init__(
        self,
        node: NodeFacts,
        ports: Ports,
        driver: Driver,
        watchdog: Watchdog,
        metrics: Metrics,
        kept: Kept,
    ) -> None:
        self.node, self.ports, self.driver = node, ports, driver
        self.watchdog, self.metrics = watchdog, metrics
        self.cluster = Cluster(ports.api, ports.records, kept.cache, node, self._on_unit)
        self.heart = Heart(
            ports.api,
            ports.clock,
            node,
            lambda: self.cluster.site,
            self.cluster.wanted_timing,
            metrics.renewed,
            self._keep_heartbeat,
            ports.chance,
        )
        self._between, self._exits = BetweenRuns(node, kept), kept.starts
        self.quick_exits = self._exits.load()
        self.reduced = starts.is_reduced(self.quick_exits)
        self.cluster.on_bug = self._reduce
        self._failed, self.pauses = asyncio.Event(), Pauses()
        self.walls, self.walls.counted = driver.walls, metrics.internal_error
        self.domains = Domains(ports.libvirt, self.cluster, ports.clock)
        self.beginning = Beginning(node, self.cluster, self.domains, ports.clock)
        self.arming = Arming(
            node,
            watchdog,
            lambda: self.heart.wanted().watchdog_seconds,
            lambda: self._judge().feed_until_s,
        )
        self.answers = Answers(node, self.cluster, driver, metrics)
        self.reports = Reports(ports, node, self.cluster, self.walls)
        driver.on_starting = self.guard_once
        self.heart.before_confirm = self._see_lapse
        self.heart.watchdog_s = lambda: watchdog.timeout_s
        self.heart.detection_s = lambda: promised.detection_s(self.units, node)
        self.heart.acknowledged = lambda: promised.acknowledged(self.units)
        self.heart.delivery = self.reports.undelivered.told
        self.heart.withheld = lambda now_s: withheld.why_withheld(self.cluster.views(), now_s)

    @property
    def units(self) -> list[Unit]:
        return list(self.cluster.units.values())

    async def run(self) -> None:
        """Run until cancelled. Leaves guests, devices and resources as they are."""
        self._exits.store(self.quick_exits + 1)
        if self.reduced:
            self._reduce(None)
        try:
            self.cluster.recall()
            self._between.take_looks(self.units)
            async with asyncio.TaskGroup() as tasks:
                for loop in self._guarding():
                    tasks.create_task(loop(), name=loop.__qualname__)
                tasks.create_task(self._everything_else())
        except asyncio.CancelledError:
            if not any(unit.has_crashed for unit in self.units):
                self._exits.store(0)  # as it was asked to
            raise
        finally:
            for unit in self.units:
                if unit.worker:
                    unit.worker.cancel()

    def _guarding(self) -> tuple[Loop, ...]:
        """What keeps guests safe, and what that needs to know."""
        return (
            self.cluster.run,
            self.heart.run,
            self._guard,
            self.arming.run,
            self._watch_drbd,
            self.domains.follow,
            self.domains.watch,
            self.domains.watch_who_is_stopped,
            self._count_exit,
        )

    async def _everything_else(self) -> None:
        """No guest's safety rests on it: what raises in it stops all of it, and ends nothing."""
        inspection = Inspection(
            self.node.host, self.ports.premises, self.driver.domain_settings, lambda: self.units
        )
        loops = (self._keep_applied, self.reports.run, self.reports.host.run, inspection.run)
        try:
            async with asyncio.TaskGroup() as tasks:
                for loop in (*loops, self._until_reduced):
                    tasks.create_task(loop(), name=loop.__qualname__)
        except* _Reduced:
            pass
        except* Exception as errors:
            self._reduce(errors.exceptions[0])
        await self.reports.run_least()

    async def _until_reduced(self) -> None:
        await self._failed.wait()
        raise _Reduced

    def _reduce(self, error: Exception | None) -> None:
        """From now on only what keeps guests safe. None: as this run begins."""
        if self._failed.is_set():
            return
        self.reduced = True
        self._failed.set()
        self._why = starts.words(self.node.host, where(error) if error else "", self.quick_exits)
        log.critical("bug: %s", self._why, exc_info=error)
        self.metrics.is_reduced()
        for unit in self.units:
            unit.reason, unit.message = Reason.INTERNAL_ERROR, self._why

    async def _count_exit(self) -> None:
        """A run that goes on for long enough makes no quick exit. A reduced one ends by itself."""
        try:
            async with asyncio.timeout(starts.QUICK_S):
                await self._failed.wait()
        except TimeoutError:
            self.quick_exits = 0
            self._exits.store(0)
            await self._failed.wait()
        await asyncio.sleep(starts.pause_s(self.quick_exits))
        self._exits.store(starts.before_another_try(self.quick_exits))
        log.warning("ending, so that the next run tries everything again")
        raise SystemExit(starts.AGAIN_EXIT)

    def _on_unit(self, unit: Unit) -> None:
        if self.reduced:
            unit.reason, unit.message = Reason.INTERNAL_ERROR, self._why
        unit.worker = asyncio.create_task(self._work(unit), name=f"unit {unit.mirror.key}")
        unit.worker.add_done_callback(crash_on_bug)

    # observe

    async def _watch_drbd(self) -> None:
        """Wake the resource that an event names, and keep an honest count of its link's age."""
        async for event in self.ports.drbd.events():
            named = self.cluster.named(event.name)
            # An empty name: events were missed. The link may have been up meanwhile.
            for unit in self.units if not event.name else [named] if named else ():
                with self.walls.around(unit, Place.WATCH):
                    unit.observe_event(event)

    async def _keep_applied(self) -> None:
        """What was written since a mirror was brought up reaches DRBD too, one after another."""
        while True:
            for unit in self.units:
                if self.walls.may_try(unit, Place.APPLY):
                    with self.walls.around(unit, Place.APPLY):
                        await self.driver.apply(unit)
            await asyncio.sleep(APPLY_INTERVAL_S)

    # guard

    async def _guard(self) -> None:
        """A fresh start must not judge what it has not seen, so a new run begins in two steps.

        Once every device and domain was looked at, the watchdog is fed as far as these looks, and
        the last run's, allow: an unanswered API must not let it run out. Fencing waits until a
        heartbeat was tried too, and a packet had time to arrive. Both are bounded. Then the run is
        ready, whether the API answers or not.
        """
        while True:
            now_s = self.ports.clock.boottime_s()
            looked = self.beginning.looked()
            proven = looked and not self.beginning.awaits_a_packet(now_s)
            ready = proven and self.heart.tried and not self._is_being_affirmed()
            late = not self.beginning.lasts(now_s)
            self.node.guarding = self.node.guarding or late or ready
            if self.node.guarding:
                self.guard_once()
            elif looked:
                self._feed_on(now_s)
            self._between.leave_looks(self.units, now_s)
            if any(unit.awaits_a_heartbeat(self.node) for unit in self.units):
                self.heart.hurry()
            if self.node.guarding and self.arming.decided:
                self.ports.supervisor.ready()
            self.ports.supervisor.alive()
            await asyncio.sleep(GUARD_INTERVAL_S)

    def _see_lapse(self) -> None:
        """A heartbeat is about to be confirmed."""
        sent_s, now_s = self.node.renewal_sent_at_s, self.ports.clock.boottime_s()
        for unit in self.units:
            unit.see_lapse(self.node, now_s)
        if lapse_must_be_judged(self.node.guarding, sent_s, self.node.timing, now_s):
            self.guard_once()

    def _keep_heartbeat(self, sent_at_s: float, timing: Timing) -> None:
        self._between.leave_heartbeat(self.units, sent_at_s, timing)

    def _is_being_affirmed(self) -> bool:
        return any(unit.is_being_affirmed(self.node) for unit in self.units)

    def _feed_on(self, now_s: float) -> None:
        """As far as is known. A deadline that is over would only take back the last run's."""
        feed_until_s = self._judge().feed_until_s
        if self.watchdog.armed and feed_until_s > now_s:
            self.watchdog.feed_until(feed_until_s)
            self.metrics.watchdog_fed(now_s)

    def guard_once(self) -> None:
        """Judge every guest that may run here; feed the watchdog as far as all of them allow."""
        judgement, now_s = self._judge(), self.ports.clock.boottime_s()
        for key in judgement.fence if self.node.guarding else ():
            unit = self.cluster.units[key]
            if unit.fence_task is None or unit.fence_task.done():
                judged_by_s = self.node.renewal_sent_at_s
                unit.fence_task = asyncio.create_task(self._fence(unit, judged_by_s))
                unit.fence_task.add_done_callback(crash_on_bug)
        if judgement.fence or any(unit.killed for unit in self.units):
            self.domains.being_stopped.set()
        if self.watchdog.armed:
            self.watchdog.feed_until(judgement.feed_until_s)
            self.metrics.watchdog_fed(now_s)

    def _judge(self) -> Judgement:
        now_s = self.ports.clock.boottime_s()
        return judge(self.cluster.views(), self.node.renewal_sent_at_s, now_s)

    async def _fence(self, unit: Unit, renewal_sent_at_s: float | None) -> None:
        """Fence, after one more look: it must not be an old look alone that stops a guest.

        Only a fresh look at the link can acquit, not a heartbeat that was confirmed meanwhile: by
        then the lease had lapsed. DRBD may not have noticed yet that the link is dead: who was
        acquitted lives on the link alone until a swap has affirmed that this host is the owner.
        Latched: once begun, a fence goes on until the guest is gone, whatever comes back.
        """
        if unit.fence is None:
            look, clock, lapses = self.driver.query_drbd, self.ports.clock, unit.lapses
            permission, now_s = await last_look(unit, self.node, clock, look, renewal_sent_at_s)
            may_run = unit.view(self.node).guest_may_run
            if permission.allowed or not may_run:
                if may_run and unit.lapses == lapses:  # else a look has noted it
                    unit.lapse(now_s)
                unit.wake.set()
                return
            log.error("%s: fencing: %s", unit.mirror.key, permission.message)
            self.metrics.self_fenced(permission.reason)
            until_s = max(permission.until_s, unit.permitted_until_s)
            unit.fence, unit.repeats = FenceProgress(since_s=min(until_s, now_s)), Repeats()
        finished = await self.driver.fence(unit, procedures.fence(unit.view(self.node)))
        unit.fence_ended()
        unit.wake.set()
        if finished.failed:
            await asyncio.sleep(0.3)

    # decide and act

    async def _work(self, unit: Unit) -> None:
        """One unit's loop: look, decide, act, again. A wall stops all of it but the looks."""
        while True:
            unit.wake.clear()
            self.cluster.read_record_again(unit)
            await self.driver.query_drbd(unit)
            progressed = False
            if self.reduced or self.walls.why(unit):
                await self._affirm(unit)
            else:
                with self.walls.around(unit, Place.TURN):
                    await self.driver.note_protocol(unit)
                    progressed = await self._decide(unit)
            if not progressed:
                await self._pause(unit)

    async def _affirm(self, unit: Unit) -> None:
        """That this host is the owner still, if it stood still. What stands on the object stays."""
        now_s, wall = self.ports.clock.boottime_s(), self.ports.clock.wall()
        if now_s < unit.not_before_s or not unit.wall.has_rested(Place.AFFIRM, now_s):
            return
        with self.walls.around(unit, Place.AFFIRM):
            start = affirmation(unit.view(self.node), now_s, wall)
            if start is None:
                return
            log.info("%s: %s: %s", unit.mirror.key, start.task, start.message)
            finished = await self.driver.run(unit, start.make())
            log.info("%s: %s → %s", unit.mirror.key, start.task, finished.message)
            if finished.failed or not finished.progress:
                unit.back_off(self.ports.clock.boottime_s())

    async def _decide(self, unit: Unit) -> bool:
        """Decide and carry out one procedure; whether anything was changed."""
        clock = self.ports.clock
        now_s = clock.boottime_s()
        view = unit.view(self.node)
        if unit.calm.lasts(view, unit.reason):
            return False
        decision = decide(view, now_s, clock.wall())
        unit.calm.note(view, decision)
        if isinstance(decision, Start) and now_s < unit.not_before_s:
            return False  # what the last try ended with stays on the object meanwhile
        self._note(unit, decision.reason, decision.message)
        if not isinstance(decision, Start):
            return False
        log.info("%s: %s: %s", unit.mirror.key, decision.task, decision.message)
        finished = await self.driver.run(unit, decision.make())
        log.info(
            "%s: %s → %s %s", unit.mirror.key, decision.task, finished.reason, finished.message
        )
        self._note(unit, finished.reason, finished.message)
        learn(unit, decision.task, finished, clock.boottime_s())
        if decision.task is Task.LISTEN:
            unit.not_before_s = clock.boottime_s() + LISTEN_AGAIN_S
        elif finished.failed or not finished.progress or decision.task in SLOW_TO_SHOW:
            unit.back_off(clock.boottime_s())
        else:
            unit.failures = 0
        return finished.progress and not finished.failed

    def _note(self, unit: Unit, reason: Reason, message: str) -> None:
        if self.reduced:
            return  # a turn that was under way then: the bug stays on the object
        if reason is not unit.reason:
            log.info("%s: %s %s", unit.mirror.key, reason, message)
        unit.reason, unit.message = reason, message

    async def _pause(self, unit: Unit) -> None:
        """Until something happens or the next look is due: soon if the link keeps a guest alive."""
        view, now_s = unit.view(self.node), self.ports.clock.boottime_s()
        sent_s = self.node.renewal_sent_at_s
        pause_s = look_again_in_s(view, unit.reason, unit.failures, sent_s, now_s)
        if await self.pauses.rest(unit.wake, pause_s):
            await asyncio.sleep(MIN_TICK_S)
