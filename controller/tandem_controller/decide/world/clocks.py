"""How fast each host's clock runs beside this controller's, by what its heartbeats say. Pure.

A host tells with each heartbeat what its CLOCK_BOOTTIME was just before it sent it. Two of them,
seen here WINDOW_S or more apart, give a rate; that each may have been under way for up to DELAY_S
makes it a range. Only a rate that is surely out of bound counts. The waits allow for all that a
kernel slews (``tandem_api.timing``): what is found here is a clock that is broken, or a machine
that gets so little time that its clock loses some.

No rate is a jump between two heartbeats (a machine that stood still, a renewal that was carried out
long after its host gave it up), another run, and whatever lies across a gap in this controller's
own reads. Each begins a new window.

Called by ``leases`` with each heartbeat, and by ``known``, ``status/site`` and ``metrics`` to tell.
"""

from collections.abc import Mapping
from dataclasses import dataclass, replace
from enum import StrEnum

WINDOW_S = 120.0
DELAY_S = 4.5
"""How long after its clock was read a heartbeat may be seen here; see ``leases``."""
JUMP = 3.0
"""Between two heartbeats, no clock runs so many times as fast as another."""
KEPT = 2
"""How many windows count: a clock is in bound again once so many were."""


@dataclass(frozen=True)
class Reading:
    """``at_s``: when it was seen here; ``clock_s``: what the host's clock was before that."""

    at_s: float
    clock_s: float


@dataclass(frozen=True)
class Rate:
    """Seconds of a host's clock in one of this controller's: surely in this range."""

    least: float
    most: float


@dataclass(frozen=True)
class Watch:
    """Of one host's clock. ``rates``: of the last windows, the newest last."""

    begun: Reading | None = None
    newest: Reading | None = None
    rates: tuple[Rate, ...] = ()

    @property
    def slowest(self) -> float | None:
        """In one of the windows it surely ran no faster than this."""
        return min((rate.most for rate in self.rates), default=None)

    @property
    def fastest(self) -> float | None:
        """In one of the windows it surely ran no more slowly than this."""
        return max((rate.least for rate in self.rates), default=None)

    @property
    def about(self) -> float | None:
        """In the newest window."""
        return (self.rates[-1].least + self.rates[-1].most) / 2 if self.rates else None


def interrupted(watch: Watch) -> Watch:
    """What comes next belongs to another window. What was found stands."""
    return replace(watch, begun=None, newest=None) if watch.begun is not None else watch


def observe(watch: Watch, seen: Reading) -> Watch:
    """Take in what a new heartbeat says. The same reading again is none: a run that tells of no
    clock leaves the last one's in the Lease.
    """
    begun, newest = watch.begun, watch.newest
    if newest is not None and seen.clock_s == newest.clock_s:
        return watch
    if begun is None or newest is None or _jumps(newest, seen):
        return replace(watch, begun=seen, newest=seen)
    took_s, ran_s = seen.at_s - begun.at_s, seen.clock_s - begun.clock_s
    if took_s < WINDOW_S:
        return replace(watch, newest=seen)
    rate = Rate(ran_s / (took_s + DELAY_S), ran_s / (took_s - DELAY_S))
    return Watch(seen, seen, (*watch.rates, rate)[-KEPT:])


def _jumps(before: Reading, after: Reading) -> bool:
    took_s, ran_s = after.at_s - before.at_s, after.clock_s - before.clock_s
    return took_s - DELAY_S > JUMP * ran_s or ran_s - DELAY_S > JUMP * took_s


class ClockState(StrEnum):
    """What is known of a host's clock.

    TOO_SLOW  this controller's ran more than clockRateRatio times as fast: the host keeps its
              deadlines too late by the clock that counts them.
    TOO_FAST  it ran so much faster than this controller's: the host keeps its deadlines early.
              Rather this controller's clock is slow, or the host counts its waits too short.
    """

    UNMEASURED = "Unmeasured"
    IN_BOUND = "InBound"
    TOO_SLOW = "TooSlow"
    TOO_FAST = "TooFast"


@dataclass(frozen=True)
class ClockView:
    """What a plan knows of a host's clock. ``about``: its rate, in words, if it is out of bound and
    was measured by this controller. ``outrun_by``: hosts whose clocks ran more than clockRateRatio
    times as fast, so that their waits prove nothing about this one.
    """

    state: ClockState = ClockState.UNMEASURED
    about: str = ""
    outrun_by: frozenset[str] = frozenset()


NEVER_MEASURED = ClockView()


def state(watch: Watch, ratio: float) -> ClockState:
    """By the windows that count. ``ratio``: the host's clockRateRatio."""
    slowest, fastest = watch.slowest, watch.fastest
    if slowest is None or fastest is None:
        return ClockState.UNMEASURED
    if ratio * slowest < 1.0:
        return ClockState.TOO_SLOW
    return ClockState.TOO_FAST if fastest > ratio else ClockState.IN_BOUND


def outrun(
    watches: Mapping[str, Watch], ratios: Mapping[str, float]
) -> Mapping[str, frozenset[str]]:
    """For each host, by whom; only those that are. One that was never measured counts as this
    controller's clock does.
    """
    slow = {h: 1.0 if w.slowest is None else w.slowest for h, w in watches.items()}
    fast = {h: w.fastest for h, w in watches.items() if w.fastest is not None}
    if not fast or max(fast.values()) <= min(slow.values()) * min(ratios.values()):
        return {}
    found = {
        host: frozenset(
            other
            for other, fastest in fast.items()
            if fastest > max(ratios[host], ratios[other]) * slowest
        )
        for host, slowest in slow.items()
    }
    return {host: others for host, others in found.items() if others}
