"""Plays a scenario and judges it: every promise at every step, every expectation at its moment.

Called by ``__main__`` and by tests.
"""

from collections.abc import Callable
from dataclasses import dataclass, field
from itertools import pairwise

from tandem_api.reasons import Reason
from tandem_sim.events import Line
from tandem_sim.scenario import NOWHERE, Expectation, Scenario
from tandem_sim.world import World

LOOK_S = 0.1


@dataclass
class Result:
    """What came of it."""

    problems: list[str] = field(default_factory=list)
    lines: list[Line] = field(default_factory=list)


@dataclass
class Watched:
    """An expectation with `by`: whether it was met in time."""

    expectation: Expectation
    met: bool = False


def play(
    scenario: Scenario, seed: int | None = None, echo: Callable[[str], None] | None = None
) -> Result:
    """From beginning to end."""
    plan = scenario.world
    if seed is not None:
        plan = type(plan)(**{**plan.__dict__, "seed": seed})
    world, result = World(plan), Result()
    world.begin()
    if scenario.settled:
        world.settle()
    world.log.echo = echo
    _run(world, scenario, result)
    result.problems = world.referee.problems + result.problems
    result.lines = world.log.lines
    return result


def _run(world: World, scenario: Scenario, result: Result) -> None:
    moments = {step.at_s for step in scenario.steps} | {scenario.lasts_s}
    moments |= {e.at_s for e in scenario.expectations if e.at_s is not None}
    watched = [Watched(e) for e in scenario.expectations if e.by_s is not None]
    steps = list(scenario.steps)
    now_s = 0.0
    for moment_s in sorted(moments):
        while now_s < moment_s:
            now_s = min(moment_s, now_s + LOOK_S)
            world.run(now_s)
            _look(world, watched, now_s)
        for expectation in scenario.expectations:
            if expectation.at_s == moment_s:
                result.problems += unmet(world, expectation)
        while steps and steps[0].at_s <= moment_s:
            steps.pop(0).act.do(world)
    for one in watched:
        if not one.met:
            result.problems += [f"{p} (never by then)" for p in unmet(world, one.expectation)] or [
                f"line {one.expectation.line}: came about only later"
            ]
    for expectation in scenario.expectations:
        if expectation.at_s is None and expectation.by_s is None:
            result.problems += unmet(world, expectation)


def _look(world: World, watched: list[Watched], now_s: float) -> None:
    for one in watched:
        by_s = one.expectation.by_s
        if not one.met and by_s is not None and now_s <= by_s + LOOK_S / 2:
            one.met = not unmet(world, one.expectation)


def unmet(world: World, expectation: Expectation) -> list[str]:
    """What of an expectation is not so at this moment."""
    found = [check(world, expectation) for check in CHECKS]
    return [f"line {expectation.line}: {problem}" for problem in found if problem]


def _on(world: World, expected: Expectation) -> str:
    if expected.on is None:
        return ""
    runs = world.runs_on(expected.guest) or [NOWHERE]
    return "" if runs == [expected.on] else f"{expected.guest} runs on {runs}, not {expected.on}"


def _reason(world: World, expected: Expectation) -> str:
    if expected.reason is None:
        return ""
    told = reasons(world, expected.guest)
    if expected.reason in told:
        return ""
    return f"{expected.guest}: told are {sorted(told)}, not {expected.reason}"


def reasons(world: World, guest: str) -> set[Reason]:
    """Everything that is told about a guest and its mirror, as a person would find it."""
    obj, mirror = world.guest(guest), world.mirror(guest)
    told = {str(obj.status.reason), str(mirror.status.reason)}
    told |= {str(report.reason) for report in mirror.status.replicas.values() if report.reason}
    told |= {str(c.reason) for c in (*obj.status.conditions, *mirror.status.conditions)}
    return {Reason(reason) for reason in told if reason in tuple(Reason)}


def _mode(world: World, expected: Expectation) -> str:
    authority = world.mirror(expected.guest).status.authority
    if expected.mode is None or (authority is not None and authority.mode == expected.mode):
        return ""
    return f"{expected.guest}: the mirror is {authority and authority.mode}, not {expected.mode}"


def _protected(world: World, expected: Expectation) -> str:
    if expected.protected is None:
        return ""
    told = world.guest(expected.guest).status.protected
    if (told == "True") is expected.protected:
        return ""
    return f"{expected.guest}: protected is {told}"


def _stops(world: World, expected: Expectation) -> str:
    if expected.stops is None:
        return ""
    history = world.referee.histories[str(world.key(expected.guest))]
    ends = [end for end in history.ends if end[0] >= world.log.origin_s]
    if len(ends) == expected.stops:
        return ""
    told = ", ".join(f"{at - world.log.origin_s:.1f} s on {host} ({why})" for at, host, why in ends)
    return f"{expected.guest} ended {len(ends)} times, not {expected.stops}: {told or 'never'}"


def _downtime(world: World, expected: Expectation) -> str:
    """From an end to the next start; what has ended last and did not start counts until now."""
    limit_s = expected.downtime_below_s
    if limit_s is None:
        return ""
    history = world.referee.histories[str(world.key(expected.guest))]
    starts = [at for at, _, _ in history.runs]
    worst_s = 0.0
    for end_s, _, _ in history.ends:
        next_s = min((s for s in starts if s >= end_s), default=world.kernel.now_s)
        worst_s = max(worst_s, next_s - end_s)
    return "" if worst_s < limit_s else f"{expected.guest} was down for {worst_s:.1f} s"


def _gap(world: World, expected: Expectation) -> str:
    """The longest time without an acknowledged write."""
    limit_s = expected.longest_gap_below_s
    if limit_s is None:
        return ""
    history = world.referee.histories[str(world.key(expected.guest))]
    origin_s, now_s = world.log.origin_s, world.kernel.now_s
    moments = [origin_s, *(at for at in history.answered_s if at >= origin_s), now_s]
    gaps = (later - earlier for earlier, later in pairwise(moments))
    worst_s = max(gaps)
    return "" if worst_s < limit_s else f"{expected.guest} wrote nothing for {worst_s:.1f} s"


CHECKS = (_on, _reason, _mode, _protected, _stops, _downtime, _gap)
