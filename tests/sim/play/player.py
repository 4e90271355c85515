"""Plays a scenario and judges it: every promise at every step, every expectation at its moment.

Called by ``__main__`` and by tests.
"""

import traceback
from collections.abc import Callable
from dataclasses import dataclass, field, replace

from sim.apiserver.review import Reviewed
from sim.commands.moves import phases
from sim.engine.events import Line
from sim.engine.logs import logged_into
from sim.play.verbs import DOING, take
from sim.referee.referee import History
from sim.verdicts import orders
from sim.verdicts.liveness import verdict
from sim.world import World
from tandem_api.kinds.guest import Guest
from tandem_api.kinds.host import Host
from tandem_api.meta import Condition, condition
from tandem_api.reasons import Reason
from tandem_scenario.judge import LOOK_S, End, Judge
from tandem_scenario.plan import WorldPlan
from tandem_scenario.scenario import Scenario, Upon, require_verbs


@dataclass
class Result:
    """What came of it."""

    problems: list[str] = field(default_factory=list)
    lines: list[Line] = field(default_factory=list)


def play(
    scenario: Scenario,
    seed: int | None = None,
    echo: Callable[[str], None] | None = None,
    seen: Callable[[Reviewed], None] | None = None,
) -> Result:
    """From beginning to end; ``seen`` as in ``begin``.

    Raises: BadScenario: it wants what the simulator cannot do.
    """
    require_verbs(scenario, {*DOING, Upon.verb}, "the simulator")
    if seed is not None:
        scenario = replace(scenario, world=replace(scenario.world, seed=seed))
    world = begin(scenario.world, settled=scenario.settled, seen=seen)
    try:
        return go_on(world, scenario, echo)
    finally:
        world.discard()


def begin(
    plan: WorldPlan,
    *,
    settled: bool,
    seen: Callable[[Reviewed], None] | None = None,
) -> World:
    """A world at its time 0. ``seen`` is told of every write to a status, from the first on."""
    world = World(plan)
    world.api.server.review.seen = seen
    with logged_into(world.log):
        world.begin(settled=settled)
        if settled:
            world.settle()
    world.backup = world.api.server.backup()
    return world


def set_out(world: World, plan: WorldPlan) -> None:
    """From here on the plan's seed decides, and its policies are in force. The rest is as it is."""
    world.plan, world.api.server.policed = plan, plan.policies
    world.kernel.random.seed(plan.seed)


def go_on(world: World, scenario: Scenario, echo: Callable[[str], None] | None = None) -> Result:
    """From time 0 to the end, as the scenario's seed decides."""
    set_out(world, scenario.world)
    world.log.echo = echo
    judge = Judge(scenario.expectations, Seen(world))
    try:
        with logged_into(world.log):
            _run(world, scenario, judge)
    except Exception as error:
        # A bug in a program, or a state that must not be: as grave as a broken promise.
        world.referee.problems.append(f"a program crashed: {type(error).__name__}: {error}")
        world.log.say("bug", "".join(traceback.format_exception(error)[-3:]).strip())
    return Result(world.referee.problems + judge.problems + unheard(world), world.log.lines)


def unheard(world: World) -> list[str]:
    """Exceptions that ended a task of some program, and that nobody there has fetched."""
    errors = [error for loop in world.kernel.loops for error in loop.unheard()]
    return [f"a task ended, and nobody heard why: {error!r}" for error in errors]


def _run(world: World, scenario: Scenario, judge: Judge) -> None:
    moments = {step.at_s for step in scenario.steps} | {scenario.lasts_s} | judge.moments
    steps = list(scenario.steps)
    now_s = 0.0
    for moment_s in sorted(moments):
        while now_s < moment_s:
            now_s = min(moment_s, now_s + LOOK_S)
            world.run(now_s)
            judge.look(now_s)
        judge.at(moment_s)
        while steps and steps[0].at_s <= moment_s:
            take(world, steps.pop(0))
    judge.end()


class Seen:
    """The simulated world as a judge sees it (``tandem_scenario.judge.Observed``)."""

    def __init__(self, world: World) -> None:
        self._world = world

    @property
    def now_s(self) -> float:
        return self._world.kernel.now_s - self._origin_s

    @property
    def _origin_s(self) -> float:
        return self._world.log.origin_s

    def _history(self, guest: str) -> History:
        return self._world.referee.histories[str(self._world.key(guest))]

    def runs_on(self, guest: str) -> list[str]:
        return self._world.runs_on(guest)

    def reasons(self, guest: str) -> set[Reason]:
        obj, mirror = self._world.guest(guest), self._world.mirror(guest)
        told = {str(obj.status.reason), str(mirror.status.reason)}
        told |= {str(report.reason) for report in mirror.status.replicas.values() if report.reason}
        told |= {str(c.reason) for c in (*obj.status.conditions, *mirror.status.conditions)}
        told |= {str(c.reason) for c in self._drained(obj)}
        return {Reason(reason) for reason in told if reason in tuple(Reason)}

    def _drained(self, guest: Guest) -> list[Condition]:
        """What is told of whether the host that it is assigned to is empty."""
        assignment, hosts = guest.status.assignment, self._world.api.server.every(Host)
        known = [
            condition(host.status.conditions, "Drained")
            for host in hosts
            if assignment is not None and host.metadata.name == assignment.host
        ]
        return [found for found in known if found is not None]

    def mode(self, guest: str) -> str:
        authority = self._world.mirror(guest).status.authority
        return str(authority.mode) if authority is not None else ""

    def protected(self, guest: str) -> str:
        found = self._world.find_guest(guest)
        return str(found.status.protected) if found is not None else ""

    def idle(self, guest: str) -> str:
        return verdict(self._world, guest).wrong or orders.wrong(self._world, guest)

    def moves(self, guest: str) -> list[str]:
        return phases(self._world, guest)

    def starts(self, guest: str) -> list[float]:
        return sorted(at - self._origin_s for at, _, _ in self._history(guest).runs)

    def ends(self, guest: str) -> list[End]:
        ends = self._history(guest).ends
        told = (End(at - self._origin_s, host, why) for at, host, why in ends)
        return [end for end in told if end.at_s >= 0]

    def answered(self, guest: str) -> list[float]:
        moments = (at - self._origin_s for at in self._history(guest).answered_s)
        return [at for at in moments if at >= 0]
