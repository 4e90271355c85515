"""One made-up scenario, from time 0 to the moment at which all is well again.

The same as ``player`` does with it, but it ends as soon as every guest is well, and counts what
happened. Called by ``fuzz`` and ``shrink``.
"""

import traceback
from collections import Counter
from dataclasses import dataclass, field, replace

from sim.engine.logs import logged_into
from sim.play.player import Seen, begin, set_out, unheard
from sim.play.verbs import take
from sim.verdicts import orders
from sim.verdicts.liveness import Kind, Verdict, runs, verdict, wanted
from sim.world import World
from tandem_scenario.judge import unmet
from tandem_scenario.scenario import Expectation, Scenario

LOOK_S = 0.5
OBEY = "obey"
HELD_FOR_S = 15.0
"""What is left alone is watched for so long."""
UNTIL_HELD_S = 5.0
"""A host that has to leave its mirror alone may look well for so long."""
MORE_TURNS = 3
"""So often more a person does what is asked next, once it is something new."""
RUN_FOR_S = 20.0
"""Where something stays broken, who has run for so long goes on."""


@dataclass
class Outcome:
    """What became of one seed."""

    seed: int
    problems: list[str] = field(default_factory=list)
    faults: Counter[str] = field(default_factory=Counter)
    simulated_s: float = 0.0
    starts: int = 0
    counted: Counter[str] = field(default_factory=Counter)
    recovered_s: float = 0.0
    broken_for_good: tuple[str, ...] = ()
    verdicts: list[Kind] = field(default_factory=list)
    """What became of each guest where something stayed broken."""
    ends: list[orders.End] = field(default_factory=list)
    """And of each order."""


def trial(scenario: Scenario, world: World | None = None) -> Outcome:
    """``world`` is one that has settled with this scenario's plan, but for the seed."""
    if world is None or not scenario.settled:
        world = begin(scenario.world, settled=scenario.settled)
        try:
            return _tried(scenario, world)
        finally:
            world.discard()
    return _tried(scenario, world)


def _tried(scenario: Scenario, world: World) -> Outcome:
    set_out(world, scenario.world)
    began_s, outcome = world.kernel.now_s, Outcome(scenario.world.seed)
    try:
        with logged_into(world.log):
            _faults(world, scenario, outcome)
            if any(one.runs_or_says_why for one in scenario.expectations):
                _lasting(world, scenario, outcome)
            else:
                _recovery(world, scenario, outcome)
    except Exception as error:
        where = traceback.extract_tb(error.__traceback__)[-1]
        outcome.problems.append(
            f"a program crashed: {type(error).__name__}: {error} ({where.name}, {where.lineno})"
        )
    outcome.problems = world.referee.problems + outcome.problems + unheard(world)
    outcome.simulated_s = world.kernel.now_s - began_s
    outcome.counted = world.referee.counted
    outcome.starts = sum(len(history.runs) for history in world.referee.histories.values())
    return outcome


def _faults(world: World, scenario: Scenario, outcome: Outcome) -> None:
    at_s = 0.0
    for step in scenario.steps:
        if step.at_s > at_s:  # between two steps at one moment nothing happens, as in ``player``
            world.run(step.at_s)
        at_s = step.at_s
        if world.referee.problems or step.act.verb == OBEY:
            return
        take(world, step)
        outcome.faults[step.act.verb] += 1


def _recovery(world: World, scenario: Scenario, outcome: Outcome) -> None:
    """Until all expectations are met at once, or their time is over."""
    seen = Seen(world)
    began_s = at_s = scenario.steps[-1].at_s if scenario.steps else 0.0
    if any(one.well_or_held for one in scenario.expectations):
        at_s += UNTIL_HELD_S
        world.run(at_s)
    while not world.referee.problems:
        problems = [found for one in scenario.expectations for found in unmet(seen, one)]
        outcome.recovered_s = at_s - began_s
        if not problems or at_s >= scenario.lasts_s:
            outcome.problems += problems
            break
        at_s = min(scenario.lasts_s, at_s + LOOK_S)
        world.run(at_s)
    if not outcome.problems and any(_is_held(seen, one) for one in scenario.expectations):
        world.run(at_s + HELD_FOR_S)


def _lasting(world: World, scenario: Scenario, outcome: Outcome) -> None:
    """What stays broken is judged before, and each time after a person has done what they are told:
    what is asked for then may have to be followed by more.
    """
    guests = list(dict.fromkeys(one.guest for one in scenario.expectations))
    obeying = [step for step in scenario.steps if step.act.verb == OBEY]
    mended_s = max(step.at_s for step in scenario.steps if step.act.verb != OBEY)
    judged_s = [step.at_s for step in obeying[:1]]
    outcome.broken_for_good = tuple(world.broken_for_good)
    within_s = scenario.lasts_s - max(judged_s, default=mended_s)
    later_s = [scenario.lasts_s + turn * within_s for turn in range(1, MORE_TURNS + 1)]
    began_s = mended_s
    for until_s in (*judged_s, scenario.lasts_s, *(later_s if judged_s else ())):
        outcome.recovered_s = _until_all_run(world, guests, began_s, until_s) - mended_s
        found = [verdict(world, guest) for guest in guests]
        said = [answer for guest in guests for answer in orders.answers(world, guest)]
        outcome.verdicts = outcome.verdicts or [one.kind for one in found]
        outcome.ends = outcome.ends or [answer.end for answer in said]
        wrong = [one.wrong for one in found] + [one.wrong for one in said]
        outcome.problems += [one for one in wrong if one]
        if outcome.problems or world.referee.problems or not _named(found, said):
            return
        before = _obeyed(world)
        for step in obeying:
            take(world, step)
        if until_s >= scenario.lasts_s and _obeyed(world) == before:
            return
        began_s = until_s


def _obeyed(world: World) -> int:
    """How much a person has done as they were told."""
    return sum(len(orders) for orders in world.obeyed.values())


def _named(found: list[Verdict], said: list[orders.Answer]) -> bool:
    """Whether something is asked of a person."""
    refused = (one for one in said if one.end is orders.End.REFUSED)
    asked = any("spec." in one.words for one in refused)
    return asked or any(one.kind is Kind.NAMED for one in found)


def _until_all_run(world: World, guests: list[str], began_s: float, until_s: float) -> float:
    """Goes on until all was for a while as people want it, or the time is over. → since when."""
    at_s = run_since_s = began_s
    while not world.referee.problems and at_s < until_s and at_s - run_since_s < RUN_FOR_S:
        at_s = min(until_s, at_s + LOOK_S)
        world.run(at_s)
        if not all(_as_wanted(world, guest) for guest in guests):
            run_since_s = at_s
    return run_since_s


def _as_wanted(world: World, name: str) -> bool:
    if wanted(world, name) and not runs(world, str(world.key(name))):
        return False
    done = (orders.End.DONE, orders.End.MOOT)
    return all(answer.end in done for answer in orders.answers(world, name))


def _is_held(seen: Seen, expectation: Expectation) -> bool:
    wanted_well = replace(expectation, well=True, well_or_held=None)
    return bool(expectation.well_or_held and unmet(seen, wanted_well))
