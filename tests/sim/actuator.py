"""The node actuator's loops around its real core, on simulated time.

The counterpart of ``tandem_actuator.loop`` and ``heartbeat``: the same paces and the same order,
with the real ``Cluster``, ``Unit``, ``decide``, procedures and run predicate. What differs is only
how time passes and how the outside is reached. Called by ``world``.
"""

import asyncio
from collections.abc import Generator
from dataclasses import dataclass, field, fields
from operator import attrgetter
from typing import cast

from sim.api import Api, Client
from sim.drbd import Replica
from sim.driver import Crash, Driver
from sim.host import Machine, Permit
from sim.kernel import Command, Group, Signal, Sleep, WaitFor
from sim.reports import Reporter
from sim.watch import Listed, News, Watch
from tandem_actuator.cluster import Cluster
from tandem_actuator.core import effects as fx
from tandem_actuator.core import handler, procedures
from tandem_actuator.core.decide import Start, decide
from tandem_actuator.core.model import DomainState, DrbdUnknown, FenceProgress, View
from tandem_actuator.core.run import (
    IDLE_INTERVAL_S,
    judge,
    lapse_must_be_judged,
    look_again_in_s,
    run_permission,
)
from tandem_actuator.heartbeat import UNKNOWN_SITE_PAUSE_S, strictest
from tandem_actuator.loop import (
    FIRST_LOOK_S,
    GUARD_INTERVAL_S,
    MIN_TICK_S,
    REPORT_INTERVAL_S,
    SLOW_TO_SHOW,
)
from tandem_actuator.ports import Api as ApiPort
from tandem_actuator.ports import ApiGone, Changed, PortError, Removed, Synced
from tandem_actuator.unit import NodeFacts, Unit
from tandem_api.authority import Instance
from tandem_api.guest import Guest
from tandem_api.host import Host
from tandem_api.lease import HeartbeatContent
from tandem_api.meta import ObjectKey, Resource
from tandem_api.mirror import Mirror
from tandem_api.reasons import Reason
from tandem_api.site import Site
from tandem_api.timing import DEFAULT, RENEW_TIMEOUT_S, Timing

Program = Generator[Command, bool, None]

_UNIT = attrgetter(*(each.name for each in fields(Unit)))
_NODE = attrgetter(*(each.name for each in fields(NodeFacts)))


class Wake(asyncio.Event):
    """The event that a Unit sets, made to wake a simulated program. No event loop is involved."""

    def __init__(self) -> None:
        super().__init__()
        self.signal = Signal()

    def set(self) -> None:
        super().set()
        self.signal.give()


@dataclass
class Answer:
    """What fence_peer will have said."""

    signal: Signal = field(default_factory=Signal)
    code: int | None = None


class Actuator:
    """One run of the actuator on one machine."""

    def __init__(self, machine: Machine, api: Api, crash: Crash) -> None:
        self.machine, self.kernel, self.log = machine, machine.kernel, machine.host.log
        self.name = machine.host.name
        self.group = Group(f"actuator@{self.name}", machine.group)
        machine.runs_started += 1
        permit = machine.permit
        self.node = NodeFacts(
            host=self.name,
            instance=Instance(
                node=self.name, boot_id=machine.boot_id, run_id=f"run{machine.runs_started}"
            ),
            timing=permit.timing if permit else DEFAULT,
            renewal_sent_at_s=permit.renewal_sent_at_s if permit else None,
        )
        self.tried = False
        self.published: Timing | None = None
        self.client = Client(api, self.name, self.group)
        self.driver = Driver(machine, self.client, self.node, crash)
        self.driver.on_starting = self.guard_once
        self.cluster = Cluster(
            cast(ApiPort, None), machine.host.records, machine.copies, self.node, self._on_unit
        )
        self.reporter = Reporter(self.client, self.node)
        self.watches = [self._watch(kind) for kind in (Site, Host, Guest, Mirror)]
        self._views: dict[ObjectKey, tuple[object, View]] = {}
        self.fencing: set[ObjectKey] = set()
        self.libvirt_known = False

    @property
    def units(self) -> list[Unit]:
        return list(self.cluster.units.values())

    def begin(self) -> None:
        """Recall what the last run on this boot knew, then everything at once."""
        self.cluster.recall()
        for watch in self.watches:
            watch.begin()
        programs = (self._heart, self._guard, self._keep_armed, self._watch_domains, self._report)
        for program in programs:
            self.kernel.spawn(self.group, program())

    @property
    def wall(self) -> str:
        return self.log.wall()

    def _view(self, unit: Unit) -> View:
        """``unit.view``, made anew only if anything of it or of the node is another."""
        state = (_UNIT(unit), _NODE(self.node))
        known = self._views.get(unit.mirror.key)
        if known is not None and known[0] == state:
            return known[1]
        view = unit.view(self.node)
        self._views[unit.mirror.key] = (state, view)
        return view

    # -- the cluster

    def _watch(self, kind: type[Resource]) -> Watch:
        def deliver(news: News) -> None:
            if isinstance(news, Listed):
                self.cluster.take(kind, Synced(news.objects))
            elif isinstance(news, ObjectKey):
                self.cluster.take(kind, Removed(news))
            else:
                self.cluster.take(kind, Changed(news))

        return Watch(self.client, kind, deliver)

    def _on_unit(self, unit: Unit) -> None:
        unit.wake = Wake()
        self.kernel.spawn(self.group, self._work(unit))

    # -- the heartbeat, as heartbeat.py beats

    def _heart(self) -> Program:
        while True:
            if not self.cluster.site:
                yield Sleep(UNKNOWN_SITE_PAUSE_S)
                continue
            started_s = self.machine.boottime_s()
            yield from self._beat()
            self.tried = True
            spent_s = self.machine.boottime_s() - started_s
            pause_s = self.node.timing.renew_interval_seconds * self.kernel.between(0.9, 1.0)
            yield Sleep(max(0.05, pause_s - spent_s))

    def _beat(self) -> Program:
        wanted = self.cluster.wanted_timing()
        if not self.cluster.site:
            return
        published = self.published or wanted
        self.node.timing = wanted if wanted is published else strictest(wanted, published)
        content = HeartbeatContent(
            host=self.name,
            site=self.cluster.site,
            instance=str(self.node.instance),
            watchdog_armed=self.node.watchdog_armed,
            timing=wanted,
        )
        sent_at_s = self.machine.boottime_s()
        server = self.client.api.server
        try:
            yield from self.client.call(lambda: server.renew(content), RENEW_TIMEOUT_S, write=True)
        except PortError:
            return
        if self.machine.boottime_s() - sent_at_s > RENEW_TIMEOUT_S:
            return
        self._see_lapse()
        self.node.renewed(sent_at_s, self.machine.boottime_s())
        if not any(unit.may_be_affirmed(self.node) for unit in self.units):
            self.machine.permit = Permit(sent_at_s, wanted)
        self.published = self.node.timing = wanted

    # -- the guard, as loop.py guards

    def _guard(self) -> Program:
        deadline_s = self.machine.boottime_s() + FIRST_LOOK_S
        while True:
            late = self.machine.boottime_s() > deadline_s
            ready = self._looked() and self.tried and not self._is_being_affirmed()
            self.node.guarding = self.node.guarding or late or ready
            if self.node.guarding or self._looked():
                self.guard_once()
            yield Sleep(GUARD_INTERVAL_S)

    def _see_lapse(self) -> None:
        sent_s, now_s = self.node.renewal_sent_at_s, self.machine.boottime_s()
        for unit in self.units:
            unit.see_lapse(self.node, now_s)
        if lapse_must_be_judged(self.node.guarding, sent_s, self.node.timing, now_s):
            self.guard_once()

    def _is_being_affirmed(self) -> bool:
        return any(unit.is_being_affirmed(self.node) for unit in self.units)

    def _looked(self) -> bool:
        unknown = any(isinstance(unit.drbd, DrbdUnknown) for unit in self.units)
        return self.libvirt_known and bool(self.units) and not unknown

    def guard_once(self) -> None:
        units = {unit.mirror.key: unit for unit in self.units}
        views = (self._view(unit) for unit in units.values())
        judgement = judge(views, self.node.renewal_sent_at_s, self.machine.boottime_s())
        for key in judgement.fence if self.node.guarding else ():
            self._start_fence(units[key])
        if self.machine.watchdog.armed:
            self.machine.watchdog.feed_until(judgement.feed_until_s)

    def _start_fence(self, unit: Unit) -> None:
        key = unit.mirror.key
        if key in self.fencing:
            return
        self.fencing.add(key)

        judged_by_s = self.node.renewal_sent_at_s

        def fence() -> Program:
            try:
                yield from self._fence(unit, judged_by_s)
            finally:
                self.fencing.discard(key)

        self.kernel.spawn(self.group, fence())

    def _fence(self, unit: Unit, renewal_sent_at_s: float | None) -> Program:
        """One more look at the link, then fence."""
        if unit.fence is None:
            yield from self.driver.query_drbd(unit)
            now_s, view = self.machine.boottime_s(), unit.view(self.node)
            permission = run_permission(view, renewal_sent_at_s, now_s)
            if permission.allowed or not view.guest_may_run:
                if view.guest_may_run:
                    unit.lapse(now_s)
                unit.wake.set()
                return
            self._say(unit, f"fences itself: {permission.message}")
            unit.fence = FenceProgress(since_s=min(permission.until_s, now_s))
        finished = yield from self.driver.run(unit, procedures.fence(unit.view(self.node)))
        self._say(unit, f"fence: {finished.reason}: {finished.message}")
        unit.wake.set()
        if finished.failed:
            yield Sleep(0.3)

    def _keep_armed(self) -> Program:
        while self.machine.host.has_watchdog:
            self.machine.watchdog.arm(self.node.timing.watchdog_seconds)
            self.node.watchdog_armed = self.machine.watchdog.armed
            yield Sleep(0.5)

    # -- observing

    def drbd_event(self, replica: Replica) -> None:
        """A change in the kernel, as the event stream tells it a little later."""
        connected, behind = replica.connected, replica.behind and replica.configured

        def tell() -> None:
            for unit in self.units:
                if self.machine.replicas.get(unit.mirror.drbd_name) is replica:
                    unit.observe_event(was_connected=connected, was_behind=behind)

        self.kernel.after(self.kernel.between(0.005, 0.05), self.group, tell)

    def _watch_domains(self) -> Program:
        while True:
            yield Sleep(0.01)
            self._observe_domains()
            yield Sleep(IDLE_INTERVAL_S if self.libvirt_known else 0.5)

    def _observe_domains(self) -> None:
        states: dict[str, DomainState] | None
        try:
            states = self.machine.libvirt.states()
        except PortError:
            states = None
        self.libvirt_known, changed = states is not None, False
        for unit in self.units:
            state = DomainState.ABSENT
            if states is None:
                state = DomainState.UNKNOWN
            elif unit.guest is not None:
                state = states.get(str(unit.guest.key), DomainState.ABSENT)
            if unit.observe_domain(state):
                unit.wake.set()
                changed = True
        if changed:
            self.cluster.match_guests()

    # -- deciding and acting

    def _work(self, unit: Unit) -> Program:
        while True:
            unit.wake.clear()
            yield from self.driver.query_drbd(unit)
            progressed = yield from self._decide(unit)
            if not progressed:
                yield from self._pause(unit)

    def _decide(self, unit: Unit) -> Generator[Command, bool, bool]:
        now_s = self.machine.boottime_s()
        decision = decide(unit.view(self.node), now_s, self.wall)
        if isinstance(decision, Start) and now_s < unit.not_before_s:
            return False
        self._note(unit, decision.reason, decision.message)
        if not isinstance(decision, Start):
            return False
        finished = yield from self.driver.run(unit, decision.make())
        self._say(unit, f"{decision.task}: {finished.reason}: {finished.message}")
        self._note(unit, finished.reason, finished.message)
        if finished.failed or not finished.progress or decision.task in SLOW_TO_SHOW:
            unit.back_off(self.machine.boottime_s())
        else:
            unit.failures = 0
        return finished.progress and not finished.failed

    def _note(self, unit: Unit, reason: Reason, message: str) -> None:
        if reason is not unit.reason:
            self._say(unit, f"{reason} {message}")
        unit.reason, unit.message = reason, message

    def _say(self, unit: Unit, what: str) -> None:
        self.log.say(self.name, f"{unit.mirror.key}: {what}")

    def _pause(self, unit: Unit) -> Program:
        assert isinstance(unit.wake, Wake)
        if unit.wake.is_set():
            yield Sleep(MIN_TICK_S)
            return
        woken = yield WaitFor(unit.wake.signal, self._look_again_in_s(unit))
        if woken:
            yield Sleep(MIN_TICK_S)

    def _look_again_in_s(self, unit: Unit) -> float:
        sent_s, now_s = self.node.renewal_sent_at_s, self.machine.boottime_s()
        return look_again_in_s(self._view(unit), unit.reason, unit.failures, sent_s, now_s)

    # -- DRBD's question

    def fence_peer(self, resource: str) -> Answer:
        answer = Answer()
        unit = next((u for u in self.units if u.mirror.drbd_name == resource), None)
        if unit is None:
            answer.code = handler.EXIT_STAY_FROZEN
            return answer
        ask = handler.promotion if unit.promoting else handler.link_loss
        self.kernel.spawn(self.group, self._answer(unit, ask(unit.view(self.node)), answer))
        return answer

    def _answer(self, unit: Unit, procedure: fx.Procedure, answer: Answer) -> Program:
        with unit.being_asked():
            finished = yield from self.driver.run(unit, procedure)
        answer.code = handler.exit_code(finished)
        self._say(unit, f"fence-peer → {answer.code}: {finished.reason}: {finished.message}")
        answer.signal.give()
        unit.wake.set()

    # -- reporting

    def _report(self) -> Program:
        while True:
            yield Sleep(REPORT_INTERVAL_S)
            for unit in self.units:
                try:
                    yield from self.reporter.report(unit, self._view(unit), self._boottime_s)
                except ApiGone:
                    continue
                except PortError:
                    yield Sleep(1.0)
                    break

    @property
    def _boottime_s(self) -> float:
        return self.machine.boottime_s()
