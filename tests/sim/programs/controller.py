"""One run of the real controller on simulated time. Called by ``world``.

The program is the product's, from its assembly on, on an event loop of its own, and so are its
adapter and its client. ``kopf`` stands for what watches for it.
"""

import asyncio
import random
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial

from sim.apiserver import SimTransport
from sim.engine.events import Log
from sim.engine.kernel import Group, Kernel
from sim.engine.loop import Loop
from sim.programs.kopf import Watchers
from tandem_controller.decide.plan import plan as make_plan
from tandem_controller.decide.world.model import Plan, Snapshot
from tandem_controller.edge.kube import KubeApi
from tandem_controller.edge.metrics import Metrics
from tandem_controller.ports import FenceAgents, Outside
from tandem_controller.run.lead import Leadership
from tandem_controller.run.planning import Maker
from tandem_controller.run.program import program
from tandem_kube import KubeClient

Way = Callable[[Group], SimTransport]
CLOCK = "controller"
"""Whose wall clock it is, see ``Log``."""


@dataclass
class Clock:
    """The controller's clocks run as true time does. ``whose``: its wall clock, see ``Log``."""

    kernel: Kernel
    log: Log
    whose: str

    def monotonic_s(self) -> float:
        return self.kernel.now_s

    def wall(self) -> str:
        return self.log.wall(self.whose)


@dataclass
class Planning:
    """How plans are made. ``spoilt``: the snapshot as a program with bugs has it."""

    spoilt: Callable[[Snapshot], Snapshot] = lambda snapshot: snapshot
    takes_s: float = 0.0


class Planner:
    """The product's plans of one run, which take their time: everything else goes on meanwhile.

    Each is held against what one comes to that remembers nothing of those before it.
    """

    def __init__(self, how: Planning) -> None:
        self._how, self._make = how, Maker()

    async def plan(self, snapshot: Snapshot) -> Plan:
        if self._how.takes_s:
            await asyncio.sleep(self._how.takes_s)
        known = self._how.spoilt(snapshot)
        made = self._make(known)
        assert made == make_plan(known), "it depends on what was planned before"
        return made


class Stubborn(Leadership):
    """Believes that it leads, whatever the election says."""

    def leads(self) -> bool:
        return True


class Controller:
    """One run of one replica. ``stubborn``: the election binds it to nothing; it is on a node of
    its own, whose wall clock is right.
    """

    def __init__(
        self,
        kernel: Kernel,
        transport: Way,
        log: Log,
        name: str,
        ended: Callable[[BaseException | None], None],
        planning: Planning,
        agents: FenceAgents,
        *,
        stubborn: bool = False,
    ) -> None:
        self.kernel, self.name = kernel, name
        self.group = Group(name)
        self.loop = Loop(kernel, self.group, lambda: kernel.now_s, ended)
        way, chance = transport(self.group), random.Random(kernel.random.getrandbits(64))
        whose = "" if stubborn else CLOCK
        wall = partial(log.moment, whose)
        client = KubeClient(way, "tandem-controller", wall=wall, chance=chance)
        self.watchers = Watchers(way, random.Random(f"kopf of {name}"))
        self._outside = Outside(
            identity=name,
            api=KubeApi(client),
            watchers=self.watchers,
            clock=Clock(kernel, log, whose),
            chance=chance,
            planner=Planner(planning),
            agents=agents,
        )
        self._elect = Stubborn if stubborn else Leadership

    def begin(self) -> None:
        self.loop.begin(self._run())

    async def _run(self) -> None:
        await program(self._outside, Metrics("simulated"), self._elect).run(asyncio.Event())
