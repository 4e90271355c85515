"""Two sites with all their parts, put together; and everything that can be done to them.

The verbs of a scenario are methods here. Called by ``player`` and by tests.
"""

import sys
from collections.abc import Callable, Generator
from dataclasses import dataclass, field
from functools import partial
from typing import ClassVar

from sim.apiserver import Api, NewerTransport, Server, SimTransport
from sim.apiserver.store import Backup
from sim.drbd.disk import Backing
from sim.drbd.pair import Pair
from sim.drbd.replica import Replica
from sim.drbd.version import VERSIONS
from sim.engine.events import Log
from sim.engine.kernel import Command, Group, Kernel, Sleep
from sim.host.fence_agent import Agents
from sim.host.host import Host, Machine
from sim.host.migration import Ways
from sim.network.links import Network
from sim.objects import NAMESPACE, addresses, guest_of, mirror_of, sites_and_hosts
from sim.programs.actuator import Actuator, Awaited, Crash, forget_exits
from sim.programs.bugs import Bugs
from sim.programs.controller import Controller, Planning
from sim.referee.referee import Counted, Referee
from sim.referee.truth import Truth
from tandem_actuator.core.host.starts import AGAIN_EXIT
from tandem_actuator.ports import PortError
from tandem_api.kinds.guest import Guest
from tandem_api.kinds.mirror import Mirror
from tandem_api.kinds.site import Site
from tandem_api.meta import ObjectKey
from tandem_scenario.plan import LINKS, GuestPlan, HostPlan, WorldPlan
from tandem_scenario.scenario import Upon
from tandem_scenario.verbs import Names

ACTUATOR_START_S = (0.8, 1.5)
ACTUATOR_RESTART_S = (1.5, 3.0)
BOOT_S = (3.0, 8.0)
SETTLE_LIMIT_S = 120.0
LOOK_S = 0.25
HOSTS_FIRST_S = 3.0
CUT_S = 0.5
"""Between the moment at which a guest may run no more and the end of its network."""


class ProgramEnded(Exception):
    """A program ended that should run for ever."""


@dataclass(eq=False)
class World:
    """The running simulation. ``living`` holds them until they are discarded: the collector would
    end one in the middle of another's step.
    """

    living: ClassVar[set["World"]] = set()

    plan: WorldPlan
    kernel: Kernel = field(init=False)
    crashes: dict[str, Crash] = field(default_factory=dict)

    def __post_init__(self) -> None:
        self.living.add(self)
        self.kernel = Kernel("boot")
        self.log = Log(lambda: self.kernel.now_s)
        self.network = Network()
        kernel, ways = self.kernel, Group("ways to the API")
        wall = partial(self.log.wall, "api")
        self.api = Api(
            Server(lambda: kernel.now_s, wall, policed=self.plan.policies),
            self.network,
            kernel.random,
            lambda delay_s, action: kernel.after(delay_s, ways, action),
            lambda: kernel.now_s,
        )
        timing = self.plan.timing
        residue_s = timing.link_lasts_s + timing.fencing_seconds + timing.watchdog_seconds
        notice_s = timing.query_freshness_seconds + CUT_S
        silence_s = timing.link_detection_seconds + timing.clock_rate_ratio * notice_s
        self.referee = Referee(self.kernel, self.log, silence_s, residue_s)
        self.hosts = {host.name: self._host(host) for host in self.plan.hosts}
        self.ways = Ways(self.plan.migration, self.network, self.api.server, self.hosts)
        self.actuators: dict[str, Actuator] = {}
        self.referee.see(Truth(self.api.server, self.network, self.hosts, self._programs_well))
        self.outside = Group("outside")
        switch = self.boot_if_off, self.referee.switched_off
        self.agents = Agents(kernel, self.outside, self.hosts.values(), *switch)
        self.controllers: list[Controller] = []
        self.bugs = Bugs()
        self.planning = Planning(self.bugs.snapshot)
        self.controllers_started = 0
        self.backup: Backup | None = None
        self.mended_s = float("-inf")
        self.newer: set[str] = set()
        self.broken_for_good: dict[str, None] = {}
        self.obeyed: dict[str, list[str]] = {}
        self.ordered: dict[str, dict[str, None]] = {}
        self.controller_late_s = self.kopf_lag_s = 0.0
        self.names = Names(
            hosts=tuple(host.name for host in self.plan.hosts),
            sites=self.plan.sites,
            guests=tuple(guest.name for guest in self.plan.guests),
            links=LINKS,
        )
        self._make_objects()
        self.kernel.spawn(self.outside, self._judge())

    def _host(self, plan: HostPlan) -> Host:
        host = Host(plan.name, plan.site, self.kernel, self.log, self.referee, rate=plan.clock_rate)
        host.has_watchdog = host.watchdog_configured = plan.watchdog != "None"
        host.drbd = VERSIONS[self.plan.drbd]
        host.on_boot, host.on_reset = self._booted, self._was_reset
        host.on_change, host.on_off = self._drbd_changed, self.referee.powers_off
        host.on_refusal = partial(self.referee.count, Counted.REFUSED)
        return host

    # -- objects

    def _make_objects(self) -> None:
        for obj in sites_and_hosts(self.plan):
            self.api.server.put(obj)
        for guest in self.plan.guests:
            self.make_guest(guest)

    def make_guest(self, plan: GuestPlan, generation: int = 1) -> None:
        """Its mirror too. A later generation is another object with the same name and disks."""
        suffix = f"{plan.name}-{generation}" if generation > 1 else plan.name
        mirror = mirror_of(plan, self.plan.replicas_of(plan), suffix)
        self.referee.knows(str(mirror.key), mirror)
        self.api.server.put(mirror)
        if generation == 1:
            self._wire(mirror, plan)
        self.api.server.put(guest_of(plan, suffix))

    def _wire(self, mirror: Mirror, plan: GuestPlan) -> None:
        name = mirror.drbd_name
        detection_s = self.api.server.every(Site)[0].spec.timing.link_detection_seconds
        pair = Pair(self.kernel, self.network, detection_s, plan.resync_s)
        pair.addresses = addresses(self.plan)
        pair.happened = self._drbd_moment
        pair.say = lambda what: self.log.say("link", f"{name}: {what}")
        for host in map(self.hosts.__getitem__, self.plan.replicas_of(plan)):
            host.backings[name] = {volume: Backing() for volume in plan.volumes}
            host.pairs[name] = pair
            pair.add(host.name)
        self.kernel.spawn(Group(f"pair {name}"), pair.live())

    def key(self, guest: str) -> ObjectKey:
        return ObjectKey(namespace=NAMESPACE, name=guest)

    def find_guest(self, name: str) -> Guest | None:
        found = self.api.server.objects.get(("Guest", self.key(name)))
        return found if isinstance(found, Guest) else None

    def guest(self, name: str) -> Guest:
        return self.api.server.get(Guest, self.key(name))

    def mirror(self, name: str) -> Mirror:
        return self.api.server.get(Mirror, self.key(name))

    def runs_on(self, guest: str) -> list[str]:
        return [run.host for run in self.referee.executing(str(self.key(guest)))]

    # -- beginning

    def begin(self, *, settled: bool = True) -> None:
        """Switch everything on. The seed decides what happens from time 0 on: at once, or when
        everything has settled.
        """
        if settled:
            # The hosts first, so that a guest begins where it prefers to be.
            self.kernel.after(HOSTS_FIRST_S, self.outside, self.controller_start)
        else:
            self.kernel.random.seed(self.plan.seed)
            self.controller_start()
        for name in self.hosts:
            self.start(name)

    def settle(self, *, keep_log: bool = False) -> None:
        """Let it come up until every guest that shall run does and is protected; then zero."""
        while not self._settled():
            if self.kernel.now_s > SETTLE_LIMIT_S:
                raise TimeoutError("the world did not come up; see its log")
            self.kernel.run_until(self.kernel.now_s + 0.5)
        self.kernel.run_until(self.kernel.now_s + 3.0)
        if not keep_log:
            self.log.lines.clear()
        self.log.origin_s = self.kernel.now_s
        self.kernel.random.seed(self.plan.seed)

    def _settled(self) -> bool:
        for plan in self.plan.guests:
            authority = self.mirror(plan.name).status.authority
            if authority is None or not all(e.eligible for e in authority.eligible.values()):
                return False
            if len(self.runs_on(plan.name)) != int(plan.running):
                return False
        return True

    def run(self, until_s: float) -> None:
        """Up to this moment, counted from the scenario's zero."""
        self.kernel.run_until(self.log.origin_s + until_s)

    def _judge(self) -> Generator[Command, bool, None]:
        while True:
            yield Sleep(LOOK_S)
            self.referee.look()

    def discard(self) -> None:
        """What its programs were doing ends: collected in the middle of it, they would complain."""
        self.living.discard(self)
        hook, sys.unraisablehook = sys.unraisablehook, lambda _: None
        try:
            for loop in self.kernel.loops:
                loop.discard()
            self.kernel.forget()
        finally:
            sys.unraisablehook = hook

    # -- what hosts call back

    def _booted(self, host: Host) -> None:
        machine = host.machine
        assert machine is not None
        self._start_actuator_after(machine, self.kernel.between(*ACTUATOR_START_S))

    def _start_actuator_after(self, machine: Machine, delay_s: float) -> None:
        name = machine.host.name

        def start() -> None:
            if name not in self.actuators or not self.actuators[name].group.alive:
                crash = self.crashes.setdefault(name, Crash())
                ended = partial(self._program_ended, name)
                way = self._way(name, lambda: machine.group.alive)
                try:
                    ways = (way, self.ways.of)
                    self.actuators[name] = Actuator(machine, ways, crash, ended, self.bugs)
                except (PortError, OSError) as error:
                    self.log.say(name, f"the actuator cannot start: {error}")
                    again_s = self.kernel.between(*ACTUATOR_RESTART_S)
                    self._start_actuator_after(machine, again_s)
                    return
                self.log.say(name, "the actuator starts")
                self.actuators[name].begin()

        self.kernel.after(delay_s, machine.group, start)

    def _program_ended(self, name: str, why: BaseException | None) -> None:
        """By itself, which it never does unless there is a bug. If one was planted where a program
        must end by it, what supervises it starts it again.
        """
        again = isinstance(why, SystemExit) and why.code == AGAIN_EXIT
        if again or self.bugs.ends(name):
            self.log.say(name, f"the actuator ends by itself: {why!r}")
            self.actuator_kill(name)
            return
        raise ProgramEnded(f"{name} ended: {why!r}") from why

    def _drbd_moment(self, host: str, moment: str) -> None:
        self.crashes.setdefault(host, Crash()).happened(moment)

    def _was_reset(self, host: Host) -> None:
        self.referee.count(Counted.RESETS)
        if self.plan.reset_boots_again:
            delay_s = self.kernel.between(*BOOT_S)
            self.kernel.after(delay_s, self.outside, lambda: self.boot_if_off(host))

    def boot_if_off(self, host: Host) -> None:
        if host.machine is None and "power" not in host.ails:
            host.power_on()

    def _drbd_changed(self, host: Host, replica: Replica) -> None:
        actuator = self.actuator_of(host.name)
        if actuator is not None:
            actuator.drbd.happened(replica)

    def actuator_of(self, host: str) -> Actuator | None:
        actuator = self.actuators.get(host)
        return actuator if actuator is not None and actuator.group.alive else None

    def _programs_well(self, host: str) -> bool:
        actuator, machine = self.actuator_of(host), self.hosts[host].machine
        if actuator is None or machine is None or not actuator.group.awake:
            return False
        if self.bugs.planted.get(host):
            return False
        return self.hosts[host].well

    # -- what can be done to it

    def kill(self, host: str) -> None:
        self.log.say("scenario", f"kill {host}")
        self.hosts[host].power_off("power cut")

    def start(self, host: str) -> None:
        self.log.say("scenario", f"start {host}")
        self.boot_if_off(self.hosts[host])

    def pause(self, host: str) -> None:
        self.log.say("scenario", f"pause {host}")
        machine = self.hosts[host].machine
        if machine is not None:
            machine.pause()

    def resume(self, host: str) -> None:
        self.log.say("scenario", f"resume {host}")
        machine = self.hosts[host].machine
        if machine is not None:
            machine.resume()

    def controller_kill(self) -> None:
        self.log.say("scenario", "controller kill")
        for controller in self.controllers:
            controller.group.stop()
        self.controllers.clear()

    def controller_start(self) -> None:
        self.log.say("scenario", "controller start")
        if not self.controllers:
            self._another_controller()

    def controller_second(self) -> None:
        """Beside the one that there is: both believe that they lead."""
        self.log.say("scenario", "controller second")
        self._another_controller(stubborn=True)

    def _another_controller(self, *, stubborn: bool = False) -> None:
        self.controllers_started += 1
        name = f"controller-{self.controllers_started}"
        ended = partial(self._program_ended, name)
        way = self._way("controller", lambda: True)
        parts = (self.kernel, way, self.log, name, ended, self.planning, self.agents)
        one = Controller(*parts, stubborn=stubborn)
        one.loop.late_s, one.watchers.lag_s = self.controller_late_s, self.kopf_lag_s
        self.controllers.append(one)
        one.begin()

    def controller_pause(self) -> None:
        """The oldest one stands still, whatever it was about to write."""
        self.log.say("scenario", "controller pause")
        for controller in self.controllers[:1]:
            self.kernel.pause(controller.group)

    def controller_resume(self) -> None:
        self.log.say("scenario", "controller resume")
        for controller in self.controllers:
            self.kernel.resume(controller.group)

    def _way(self, program: str, machine: Callable[[], bool]) -> Callable[[Group], SimTransport]:
        """A program's way to the API server."""
        kind = NewerTransport if program in self.newer else SimTransport
        host = program if program in self.hosts else ""
        return lambda group: kind(self.api.wire(host, lambda: group.alive, machine))

    def actuator_kill(self, host: str) -> None:
        """A crash: what supervises it starts it again."""
        self.actuator_stop(host)
        machine = self.hosts[host].machine
        if machine is not None:
            self._start_actuator_after(machine, self.kernel.between(*ACTUATOR_RESTART_S))

    def actuator_restart(self, host: str) -> None:
        """As a person does it."""
        machine = self.hosts[host].machine
        if machine is not None:
            forget_exits(machine)
        self.actuator_kill(host)

    def actuator_stop(self, host: str) -> None:
        self.log.say("scenario", f"actuator of {host} ends")
        actuator = self.actuator_of(host)
        if actuator is not None:
            actuator.group.stop()

    def actuator_start(self, host: str) -> None:
        machine = self.hosts[host].machine
        if machine is not None:
            self._start_actuator_after(machine, self.kernel.between(*ACTUATOR_START_S))

    def upon(self, upon: Upon, act: Callable[[], None]) -> None:
        """Right after that effect, before the procedure hears of its outcome."""
        crash = self.crashes.setdefault(upon.host, Crash())
        crash.awaited.append(Awaited(upon.effect, upon.number, lambda: self.at_once(act)))

    def at_once(self, act: Callable[[], None]) -> None:
        """Once what happens at this moment is done; not if that has mended everything."""
        asked_s = self.kernel.now_s

        def do() -> None:
            if self.mended_s < asked_s:
                act()

        self.kernel.after(0.0, self.outside, do)
