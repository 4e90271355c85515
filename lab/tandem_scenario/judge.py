"""Compares what was expected with what was observed. It asks; it never changes anything.

The simulator and the lab each offer an ``Observed``. Called by their players.
"""

from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from itertools import pairwise
from typing import Protocol

from tandem_api.reasons import Reason
from tandem_scenario.scenario import NOWHERE, Expectation

HOLDS = (
    Reason.HOLD_EPOCH_REGRESSED,
    Reason.HOLD_IDENTITY_CHANGED,
    Reason.HOLD_PROTOCOL_TOO_NEW,
    Reason.SPLIT_BRAIN,
)
LOOK_S = 0.1
"""How often expectations with `by` are looked at, at least."""


@dataclass(frozen=True)
class End:
    """The end of one run of a guest. ``at_s`` counts from the scenario's zero."""

    at_s: float
    host: str
    why: str


class Observed(Protocol):
    """What is known of a scenario that is being played. Moments count from its zero."""

    @property
    def now_s(self) -> float: ...

    def runs_on(self, guest: str) -> list[str]:
        """The hosts on which its processors run at this moment."""

    def reasons(self, guest: str) -> set[Reason]:
        """Everything that is told about a guest and its mirror, as a person would find it; and of
        whether the host that it is assigned to is empty, where that is to be emptied.
        """

    def mode(self, guest: str) -> str:
        """Of the authority of its mirror; "" if there is none yet."""

    def protected(self, guest: str) -> str:
        """As its status says: True, False or Unknown."""

    def idle(self, guest: str) -> str:
        """Why it is wrong that it does not run; empty if it runs, or if nothing is wrong with it.
        Only who knows the true state of everything can tell.
        """

    def moves(self, guest: str) -> Sequence[str]:
        """The phases of its GuestMoves, the oldest first."""

    def starts(self, guest: str) -> Sequence[float]:
        """The moments at which it began to run."""

    def ends(self, guest: str) -> Sequence[End]:
        """How often, when and where it ended."""

    def answered(self, guest: str) -> Sequence[float]:
        """The moments at which a write of it was acknowledged."""


@dataclass
class Judge:
    """Collects what was not as expected. ``slack_s`` lengthens every upper bound."""

    expectations: Sequence[Expectation]
    observed: Observed
    slack_s: float = 0.0
    problems: list[str] = field(default_factory=list)
    _met: set[int] = field(default_factory=set)

    @property
    def moments(self) -> set[float]:
        """When to ask for expectations with `at`, and until when to look for those with `by`."""
        at = {e.at_s for e in self.expectations if e.at_s is not None}
        return at | {e.by_s + self.slack_s for e in self.expectations if e.by_s is not None}

    def look(self, now_s: float) -> None:
        """Whether anything that must come about by some moment is so now."""
        for number, expectation in enumerate(self.expectations):
            by_s = expectation.by_s
            if by_s is None or number in self._met or now_s > by_s + self.slack_s + LOOK_S / 2:
                continue
            if not unmet(self.observed, expectation, self.slack_s):
                self._met.add(number)

    def at(self, moment_s: float) -> None:
        """What must be so at exactly this moment."""
        for expectation in self.expectations:
            if expectation.at_s == moment_s:
                self.problems += unmet(self.observed, expectation, self.slack_s)

    def end(self) -> None:
        """What never came about, and what must be so at the end."""
        for number, expectation in enumerate(self.expectations):
            if expectation.by_s is not None and number not in self._met:
                now = unmet(self.observed, expectation, self.slack_s)
                self.problems += [f"{problem} (never by then)" for problem in now] or [
                    f"line {expectation.line}: came about only later"
                ]
        for expectation in self.expectations:
            if expectation.at_s is None and expectation.by_s is None:
                self.problems += unmet(self.observed, expectation, self.slack_s)


def unmet(observed: Observed, expectation: Expectation, slack_s: float = 0.0) -> list[str]:
    """What of an expectation is not so at this moment."""
    found = [check(observed, expectation) for check in CHECKS]
    found += [check(observed, expectation, slack_s) for check in BOUNDS]
    return [f"line {expectation.line}: {problem}" for problem in found if problem]


def _on(observed: Observed, expected: Expectation) -> str:
    if expected.on is None:
        return ""
    runs = observed.runs_on(expected.guest) or [NOWHERE]
    return "" if runs == [expected.on] else f"{expected.guest} runs on {runs}, not {expected.on}"


def _reason(observed: Observed, expected: Expectation) -> str:
    if expected.reason is None:
        return ""
    told = observed.reasons(expected.guest)
    if expected.reason in told:
        return ""
    return f"{expected.guest}: told are {sorted(told)}, not {expected.reason}"


def _mode(observed: Observed, expected: Expectation) -> str:
    mode = observed.mode(expected.guest)
    if expected.mode is None or mode == expected.mode:
        return ""
    return f"{expected.guest}: the mirror is {mode or 'without authority'}, not {expected.mode}"


def _protected(observed: Observed, expected: Expectation) -> str:
    if expected.protected is None:
        return ""
    told = observed.protected(expected.guest)
    if (told == "True") is expected.protected:
        return ""
    return f"{expected.guest}: protected is {told or 'not told'}"


def _well(observed: Observed, expected: Expectation) -> str:
    """Runs in one place, and could be taken over."""
    if expected.well is None:
        return ""
    guest = expected.guest
    runs, mode, told = observed.runs_on(guest), observed.mode(guest), observed.protected(guest)
    well = len(runs) == 1 and mode == "Mirrored" and told == "True"
    if well is expected.well:
        return ""
    return f"{guest} runs on {runs or NOWHERE}, {mode or 'without authority'}, protected {told}"


def _well_or_held(observed: Observed, expected: Expectation) -> str:
    """Well, or a host says that it touches nothing until a person has looked."""
    if expected.well_or_held is None:
        return ""
    held = any(reason in observed.reasons(expected.guest) for reason in HOLDS)
    problem = "" if held else _well(observed, replace(expected, well=True))
    if (not problem) is expected.well_or_held:
        return ""
    return f"{problem}, and no host holds its mirror" if problem else "it is well, or held"


def _runs_or_says_why(observed: Observed, expected: Expectation) -> str:
    """It runs if any host could run it; else its status says what a person can do."""
    if expected.runs_or_says_why is None:
        return ""
    problem = observed.idle(expected.guest)
    if (not problem) is expected.runs_or_says_why:
        return ""
    return problem or f"{expected.guest} runs, or says why it does not"


def _moves(observed: Observed, expected: Expectation) -> str:
    if expected.moves is None:
        return ""
    found = list(observed.moves(expected.guest))
    if found == list(expected.moves):
        return ""
    return f"{expected.guest}: its moves are {found}, not {list(expected.moves)}"


def _stops(observed: Observed, expected: Expectation) -> str:
    if expected.stops is None:
        return ""
    ends = observed.ends(expected.guest)
    if len(ends) == expected.stops:
        return ""
    told = ", ".join(f"{end.at_s:.1f} s on {end.host} ({end.why})" for end in ends)
    return f"{expected.guest} ended {len(ends)} times, not {expected.stops}: {told or 'never'}"


def _downtime(observed: Observed, expected: Expectation, slack_s: float) -> str:
    """From an end to the next start; what has ended last and did not start counts until now."""
    limit_s = expected.downtime_below_s
    if limit_s is None:
        return ""
    starts, worst_s = observed.starts(expected.guest), 0.0
    for end in observed.ends(expected.guest):
        next_s = min((s for s in starts if s >= end.at_s), default=observed.now_s)
        worst_s = max(worst_s, next_s - end.at_s)
    return "" if worst_s < limit_s + slack_s else f"{expected.guest} was down for {worst_s:.1f} s"


def _gap(observed: Observed, expected: Expectation, slack_s: float) -> str:
    """The longest time without an acknowledged write."""
    limit_s = expected.longest_gap_below_s
    if limit_s is None:
        return ""
    moments = [0.0, *observed.answered(expected.guest), observed.now_s]
    worst_s = max(later - earlier for earlier, later in pairwise(moments))
    return (
        "" if worst_s < limit_s + slack_s else f"{expected.guest} wrote nothing for {worst_s:.1f} s"
    )


CHECKS = (
    *(_on, _reason, _mode, _protected),
    *(_well, _well_or_held, _runs_or_says_why, _stops, _moves),
)
BOUNDS = (_downtime, _gap)
