"""Makes a failing scenario as short as it gets: fewer steps, simpler times, the same failure.

Called by ``fuzz``.
"""

from collections.abc import Callable, Iterator
from dataclasses import replace

from tandem_scenario.scenario import Scenario, Step

MEND = "mend all"
Fails = Callable[[Scenario], bool]


def shrunk(scenario: Scenario, fails: Fails) -> Scenario:
    """``fails`` says whether a candidate still fails the same way. What mends is kept, and what
    comes after it.
    """
    smaller = True
    while smaller:
        smaller = False
        for candidate in _candidates(scenario):
            if fails(candidate):
                scenario, smaller = candidate, True
                break
    return scenario


def _candidates(scenario: Scenario) -> Iterator[Scenario]:
    steps = scenario.steps
    faults = _faults(steps)
    size = (faults + 1) // 2
    while size >= 1:
        for first in range(0, faults, size):
            yield _with(scenario, steps[:first] + steps[first + size : faults] + steps[faults:])
        size //= 2
    for number, step in enumerate(steps[: faults + 1]):
        for at_s in _simpler(step.at_s):
            moved = _moved(steps, number, at_s)
            if [one.act for one in moved[faults:]] == [one.act for one in steps[faults:]]:
                yield _with(scenario, moved)


def _faults(steps: tuple[Step, ...]) -> int:
    """How many come before what mends, which is the last step if there is none."""
    mending = (number for number, step in enumerate(steps) if step.act.verb.startswith(MEND))
    return next(mending, len(steps) - 1)


def _simpler(at_s: float) -> Iterator[float]:
    """Whole seconds before tenths."""
    for digits in (0, 1):
        if round(at_s, digits) != at_s:
            yield round(at_s, digits)


def _moved(steps: tuple[Step, ...], number: int, at_s: float) -> tuple[Step, ...]:
    changed = (*steps[:number], replace(steps[number], at_s=at_s), *steps[number + 1 :])
    return tuple(sorted(changed, key=lambda step: step.at_s))


def _with(scenario: Scenario, steps: tuple[Step, ...]) -> Scenario:
    """The same with other steps; the time to recover stays as long."""
    later_s = steps[-1].at_s - scenario.steps[-1].at_s
    return replace(scenario, steps=steps, lasts_s=round(scenario.lasts_s + later_s, 2))
