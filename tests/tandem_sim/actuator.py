"""The node actuator's loops around its real core, on simulated time.

The counterpart of ``tandem_actuator.loop``, ``heartbeat`` and ``cluster``: the same paces and the
same order, with the real ``Unit``, ``decide``, procedures and run predicate. What differs is only
how time passes and how the outside is reached. Called by ``world``.
"""

import asyncio
from collections.abc import Generator
from dataclasses import dataclass, field

from tandem_actuator.core import effects as fx
from tandem_actuator.core import procedures
from tandem_actuator.core.decide import Start, decide
from tandem_actuator.core.model import DomainState, DrbdUnknown, FenceProgress, Record
from tandem_actuator.core.report import guest_report, replica_report
from tandem_actuator.core.run import (
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
    REPEAT_REPORT_S,
    REPORT_INTERVAL_S,
    SLOW_TO_SHOW,
)
from tandem_actuator.ports import ApiGone, PortError
from tandem_actuator.unit import NodeFacts, Unit
from tandem_api.authority import Instance
from tandem_api.guest import Guest
from tandem_api.host import Host, WatchdogPolicy
from tandem_api.lease import HeartbeatContent
from tandem_api.meta import ObjectKey
from tandem_api.mirror import Mirror
from tandem_api.reasons import Reason
from tandem_api.site import Site
from tandem_api.timing import API_TIMEOUT_S, DEFAULT, RENEW_TIMEOUT_S, Timing
from tandem_sim.api import Api, Client, Stored
from tandem_sim.drbd import Replica
from tandem_sim.driver import Crash, Driver
from tandem_sim.host import Machine, Permit
from tandem_sim.kernel import Command, Group, Signal, Sleep, WaitFor

Program = Generator[Command, bool, None]


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
        self.tried = self.guarding = False
        self.published: Timing | None = None
        self.client = Client(api, self.name, self.group)
        self.driver = Driver(machine, self.client, self.node, crash)
        self.driver.on_starting = self.guard_once
        self.units: dict[ObjectKey, Unit] = {}
        self.cache: dict[type, dict[ObjectKey, object]] = {}
        self.fencing: set[ObjectKey] = set()
        self.libvirt_known = self.listed = False

    def begin(self) -> None:
        """Recall what the last run on this boot knew, then everything at once."""
        for mirror, guest in self.machine.copies.values():
            self._adopt_mirror(mirror)
            self.units[mirror.key].observe_guest(guest)
        programs = (self._heart, self._guard, self._keep_armed, self._watch_domains, self._report)
        kinds = (Site, Host, Guest, Mirror)
        self.kernel.spawn(self.group, self.client.follow(kinds, self._delivered))
        for program in programs:
            self.kernel.spawn(self.group, program())

    @property
    def wall(self) -> str:
        return self.log.wall()

    # -- the cluster, as cluster.py follows it

    def _known(self, kind: type) -> dict[ObjectKey, object]:
        return self.cache.setdefault(kind, {})

    def _delivered(self, stored: Stored | None) -> None:
        if stored is None:
            self.listed = True
            for mirror in list(self._known(Mirror).values()):
                assert isinstance(mirror, Mirror)
                self._mirror_changed(mirror, listed=True)
        elif stored.object is not None:
            self._known(type(stored.object))[stored.key[1]] = stored.object
        else:
            kinds = {kind.__name__: kind for kind in self.cache}
            self._known(kinds[stored.key[0]]).pop(stored.key[1], None)
        if not self.listed:
            return
        self._hosts_changed()
        if stored is not None and isinstance(stored.object, Mirror):
            self._mirror_changed(stored.object, listed=False)
        self._guests_changed()

    @property
    def me(self) -> Host | None:
        host = self._known(Host).get(ObjectKey(namespace="", name=self.name))
        return host if isinstance(host, Host) else None

    def _wanted_timing(self) -> Timing:
        site_name = self.me.spec.site if self.me else ""
        site = self._known(Site).get(ObjectKey(namespace="", name=site_name))
        return site.spec.timing if isinstance(site, Site) else self.node.timing

    def _hosts_changed(self) -> None:
        hosts = [host for host in self._known(Host).values() if isinstance(host, Host)]
        sites = [site for site in self._known(Site).values() if isinstance(site, Site)]
        timings = {site.metadata.name: site.spec.timing for site in sites}
        self.node.addresses = {h.metadata.name: h.spec.replication_address for h in hosts}
        self.node.peer_timings = {
            h.metadata.name: timings[h.spec.site] for h in hosts if h.spec.site in timings
        }
        if self.me:
            self.node.watchdog_required = self.me.spec.watchdog is WatchdogPolicy.REQUIRED

    def _mirror_changed(self, mirror: Mirror, *, listed: bool) -> None:
        if mirror.replica_on(self.name) is None:
            return
        unit = self.units.get(mirror.key)
        if unit is None:
            self._adopt_mirror(mirror)
        else:
            unit.observe_mirror(mirror, listed=listed)

    def _adopt_mirror(self, mirror: Mirror) -> None:
        record = self.machine.host.records.get(mirror.drbd_name)
        unit = Unit(mirror=mirror, record=record or Record(uid=mirror.metadata.uid))
        unit.wake = Wake()
        self.units[mirror.key] = unit
        self.kernel.spawn(self.group, self._work(unit))

    def _guests_changed(self) -> None:
        guests = [g for g in self._known(Guest).values() if isinstance(g, Guest)]
        by_mirror = {(g.metadata.namespace, g.spec.mirror): g for g in guests}
        for unit in self.units.values():
            key = unit.mirror.key
            unit.observe_guest(by_mirror.get((key.namespace, key.name)))
            self.machine.copies[unit.mirror.drbd_name] = (unit.mirror, unit.guest)

    # -- the heartbeat, as heartbeat.py beats

    def _heart(self) -> Program:
        while True:
            if self.me is None:
                yield Sleep(UNKNOWN_SITE_PAUSE_S)
                continue
            started_s = self.machine.boottime_s()
            yield from self._beat()
            self.tried = True
            spent_s = self.machine.boottime_s() - started_s
            pause_s = self.node.timing.renew_interval_seconds * self.kernel.between(0.9, 1.0)
            yield Sleep(max(0.05, pause_s - spent_s))

    def _beat(self) -> Program:
        wanted = self._wanted_timing()
        if self.me is None:
            return
        self.node.timing = strictest(wanted, self.published or wanted)
        content = HeartbeatContent(
            host=self.name,
            site=self.me.spec.site,
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
        self.node.renewal_sent_at_s = sent_at_s
        self.machine.permit = Permit(sent_at_s, wanted)
        self.published = self.node.timing = wanted

    # -- the guard, as loop.py guards

    def _guard(self) -> Program:
        deadline_s = self.machine.boottime_s() + FIRST_LOOK_S
        while True:
            if self._seen_all() or self.machine.boottime_s() > deadline_s:
                deadline_s = 0.0
                self.guarding = True
                self.guard_once()
            yield Sleep(GUARD_INTERVAL_S)

    def _see_lapse(self) -> None:
        sent_s, now_s = self.node.renewal_sent_at_s, self.machine.boottime_s()
        if lapse_must_be_judged(self.guarding, sent_s, self.node.timing, now_s):
            self.guard_once()

    def _seen_all(self) -> bool:
        unknown = any(isinstance(unit.drbd, DrbdUnknown) for unit in self.units.values())
        return self.libvirt_known and self.tried and bool(self.units) and not unknown

    def guard_once(self) -> None:
        units = {unit.mirror.key: unit for unit in self.units.values()}
        views = (unit.view(self.node) for unit in units.values())
        judgement = judge(views, self.node.renewal_sent_at_s, self.machine.boottime_s())
        for key in judgement.fence:
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
            for unit in self.units.values():
                if self.machine.replicas.get(unit.mirror.drbd_name) is replica:
                    unit.observe_event(was_connected=connected, was_behind=behind)

        self.kernel.after(self.kernel.between(0.005, 0.05), self.group, tell)

    def _watch_domains(self) -> Program:
        while True:
            yield Sleep(0.01)
            self._observe_domains()
            yield Sleep(0.5)

    def _observe_domains(self) -> None:
        states: dict[str, DomainState] | None
        try:
            states = self.machine.libvirt.states()
        except PortError:
            states = None
        self.libvirt_known = states is not None
        for unit in self.units.values():
            state = DomainState.ABSENT
            if states is None:
                state = DomainState.UNKNOWN
            elif unit.guest is not None:
                state = states.get(str(unit.guest.key), DomainState.ABSENT)
            if unit.observe_domain(state):
                unit.wake.set()

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
        return look_again_in_s(unit.view(self.node), unit.reason, unit.failures, sent_s, now_s)

    # -- DRBD's question

    def fence_peer(self, resource: str) -> Answer:
        answer = Answer()
        unit = next((u for u in self.units.values() if u.mirror.drbd_name == resource), None)
        if unit is None:
            answer.code = procedures.EXIT_STAY_FROZEN
            return answer
        ask = procedures.promotion if unit.promoting else procedures.link_loss
        self.kernel.spawn(self.group, self._answer(unit, ask(unit.view(self.node)), answer))
        return answer

    def _answer(self, unit: Unit, procedure: fx.Procedure, answer: Answer) -> Program:
        unit.handlers += 1
        try:
            finished = yield from self.driver.run(unit, procedure)
        finally:
            unit.handlers -= 1
        answer.code = procedures.exit_code(finished)
        self._say(unit, f"fence-peer → {answer.code}: {finished.reason}: {finished.message}")
        answer.signal.give()
        unit.wake.set()

    # -- reporting

    def _report(self) -> Program:
        while True:
            yield Sleep(REPORT_INTERVAL_S)
            for unit in list(self.units.values()):
                try:
                    yield from self._report_unit(unit)
                except ApiGone:
                    continue
                except PortError:
                    yield Sleep(1.0)
                    break

    def _report_unit(self, unit: Unit) -> Program:
        view, server = unit.view(self.node), self.client.api.server
        replica = replica_report(view, unit.reason, "", unit.link_lost_wall)
        now_s = self.machine.boottime_s()
        stored = unit.mirror.status.replicas.get(self.name)
        late = now_s - unit.sent_at_s > REPEAT_REPORT_S
        lost = late and stored is not None and stored.model_copy(update={"message": ""}) != replica
        if lost or replica != unit.sent_replica:
            worded = replica.model_copy(update={"message": unit.message})
            patch = {"replicas": {self.name: _whole(worded.wire(), "marker", "notConnectedSince")}}
            yield from self.client.call(
                lambda: server.patch_status(Mirror, unit.mirror.key, patch),
                API_TIMEOUT_S,
                write=True,
            )
            unit.sent_replica, unit.sent_at_s = replica, now_s
        guest = guest_report(view, unit.reason, "", unit.steps)
        if guest is not None and guest != unit.sent_guest and unit.guest is not None:
            key = unit.guest.key
            patch = {"hosts": {self.name: guest.wire()}}
            yield from self.client.call(
                lambda: server.patch_status(Guest, key, patch), API_TIMEOUT_S, write=True
            )
            unit.sent_guest = guest


def _whole(report: dict[str, object], *optional: str) -> dict[str, object]:
    """A merge patch in which what is absent is taken away."""
    return {**dict.fromkeys(optional), **report}
