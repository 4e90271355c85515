"""The wall around one mirror: where a bug was met in it, and when that is tried again. Pure.

While it stands nothing is done with the mirror. It goes only once what met the bug has been tried
again and has passed: a report that failed says nothing of what a turn would do. Held by ``unit``.
"""

from dataclasses import dataclass, field
from enum import StrEnum

from tandem_base.bugs import Bug

PAUSES_S = (1.0, 60.0)
"""It doubles from the first to the last, each time that the same is met again."""
ANSWER_PAUSES_S = (30.0, 240.0)
"""The same of an answer to DRBD. Leave to write alone is won before it is asked again: one that is
won in vain keeps the other side from taking over.
"""


class Place(StrEnum):
    """What is tried apart from each other."""

    LOOK = "look"
    TAKING_IN = "taking in of a look"
    TURN = "turn"
    AFFIRM = "affirmation"
    ANSWER = "answer"
    REPORT = "report"
    GUEST_REPORT = "guest's report"
    APPLY = "apply"
    WATCH = "watch"
    FENCE = "fence"


AGAIN_WITH_TIME = (Place.TURN, Place.AFFIRM, Place.ANSWER, Place.WATCH, Place.FENCE)
"""Of these a try is what the wall keeps from happening, or may never come: so it goes with time."""


@dataclass(frozen=True)
class Met:
    """``until_s``: on CLOCK_BOOTTIME; before that it is not tried again."""

    bug: Bug
    until_s: float
    pause_s: float


@dataclass
class Wall:
    """``met``: the bugs that have not passed yet."""

    met: dict[Place, Met] = field(default_factory=dict)

    def meets(self, place: Place, bug: Bug, now_s: float) -> None:
        first_s, last_s = ANSWER_PAUSES_S if place is Place.ANSWER else PAUSES_S
        before = self.met.get(place)
        pause_s = min(last_s, 2 * before.pause_s) if before else first_s
        self.met[place] = Met(bug, now_s + pause_s, pause_s)

    def passes(self, place: Place) -> None:
        """It was tried, and met none."""
        self.met.pop(place, None)

    def may_try(self, place: Place, now_s: float) -> bool:
        """Whether nothing else speaks against it, and it has rested since it met a bug itself."""
        if not self.met:
            return True
        others = {other: met for other, met in self.met.items() if other is not place}
        return Wall(others).why(now_s) is None and self.has_rested(place, now_s)

    def has_rested(self, place: Place, now_s: float) -> bool:
        """Whether this has met no bug, or long enough ago."""
        met = self.met.get(place)
        return met is None or now_s >= met.until_s

    def why(self, now_s: float) -> Bug | None:
        """Why it stands, or None."""
        for place, met in self.met.items():
            if place not in AGAIN_WITH_TIME or now_s < met.until_s:
                return met.bug
        return None
