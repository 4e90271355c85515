"""How long to wait for what: every constant of the failure detector, and why it is safe.

Both sides of the lease inequality live here. The node actuator takes from it when it must have
stopped a guest; the controller and the other site's actuator take from it when they may believe
that it has. Nobody else computes with these numbers.

Symbols, all in seconds:

R  self-fence deadline: how long after *sending* its last confirmed renewal a host may run guests.
Q  how old a kernel query of the replication link may be and still count as fresh.
F  fencing: from the moment the run predicate turns false to the moment the host stops feeding
   its watchdog if it could not confirm that the guest is gone.
W  watchdog timeout: from the last feed to the reset.
D  detection: the longest DRBD needs to notice a dead link, on either end.
rho  ratio of clock rates that is tolerated between any two machines: how much faster any clock or
   timer of one may run than any of the other. No less than LEAST_CLOCK_RATE_RATIO.

**Lease.** A host sent its last confirmed renewal at s. Its predicate's lease arm is false from
s + R, the last feed is no later than s + R + F, the reset no later than s + R + F + W, on its own
clock. The controller saw the lease change at x >= s, so a wait of rho*(R + F + W) from x, on the
controller's clock, ends after the reset.

**Link.** A host that lives on the link alone (its lease expired long ago) may have run one
query just before it noticed the loss. The other end noticed at y; this one noticed no later than
y + D, used its last good query until y + D + Q, and is reset no later than y + D + Q + F + W.
So the other end waits rho*(D + Q + F + W) from y.

The two waits are independent: the predicate is a disjunction, so its last true moment is the
later of the two arms' last true moments, and each wait covers its own arm. R has no place in the
second wait, since an arm that depends on the lease is covered by the first.

**Standstill.** A host that stood still as a whole and woke up may take a dead link for alive for
D + Q, and live on it. The lease wait is no shorter than that either, so that no takeover comes
meanwhile that counts on a heartbeat from before it affirmed to be the owner (docs/model.md). Who
counts takes the longer of this wait and leaseDurationSeconds.
"""

import math
from enum import StrEnum
from typing import Annotated, Self

from pydantic import Field, model_validator

from tandem_api.meta import Model

MAX_WATCHDOG_S = 300
"""Longer, and a takeover would take longer than a person."""
MARGIN_S = 0.25
"""Added to every wait: scheduling and rounding on the waiting side."""
LEAST_CLOCK_RATE_RATIO = 1.25
"""Linux takes a tick of 9000 to 11000 us and a frequency of +-500 ppm (adjtimex(2)), so what it
slews runs at 0.8995 to 1.1005 of its crystal, and two hosts differ by at most 1.2235. The rest is
for crystals, 0.01 %, and for watchdogs' own. A slew may begin at any moment, so that no measurement
makes less of it safe (docs/timing.md)."""


class Profile(StrEnum):
    """Which set of numbers a site uses. Custom takes them from ``spec.heartbeat``."""

    DEFAULT = "Default"
    FAST = "Fast"
    CUSTOM = "Custom"


Seconds = Annotated[float, Field(gt=0, le=600)]


class Timing(Model):
    """One site's numbers. Hosts publish theirs with every heartbeat; see ``lease``."""

    renew_interval_seconds: Seconds
    self_fence_seconds: Seconds
    query_freshness_seconds: Seconds
    fencing_seconds: Seconds
    watchdog_seconds: Annotated[int, Field(ge=1, le=MAX_WATCHDOG_S)]
    link_detection_seconds: Seconds
    lease_duration_seconds: Seconds
    clock_rate_ratio: Annotated[float, Field(ge=LEAST_CLOCK_RATE_RATIO, le=4.0)] = (
        LEAST_CLOCK_RATE_RATIO
    )

    @model_validator(mode="after")
    def _holds(self) -> Self:
        problem = self.problem()
        if problem:
            raise ValueError(problem)
        return self

    @property
    def link_lasts_s(self) -> float:
        """How long a host may live on the link after what it counts from."""
        return self.link_detection_seconds + self.query_freshness_seconds

    @property
    def lease_wait_s(self) -> float:
        """Shortest safe wait from a lease's last change to believing that its host has stopped."""
        believes_s = max(self.self_fence_seconds, self.link_lasts_s)
        residue_s = believes_s + self.fencing_seconds + self.watchdog_seconds
        return self.clock_rate_ratio * residue_s + MARGIN_S

    @property
    def lost_after_s(self) -> float:
        """What is really waited: longer than the lease's own duration if that is not safe."""
        return max(self.lease_duration_seconds, self.lease_wait_s)

    @property
    def link_wait_s(self) -> float:
        """Shortest safe wait to believing that the peer has stopped: from its last packet, or, of
        a peer that lives by its looks alone, from the own loss of the link.
        """
        residue_s = self.link_lasts_s + self.fencing_seconds + self.watchdog_seconds
        return self.clock_rate_ratio * residue_s + MARGIN_S

    @property
    def heartbeat_lasts_s(self) -> float:
        """From a lease's last change to when it is no reason any more to run anything."""
        return self.clock_rate_ratio * self.self_fence_seconds + MARGIN_S

    @property
    def link_acquits_s(self) -> float:
        """The same of a link, from where ``link_wait_s`` counts."""
        return self.clock_rate_ratio * self.link_lasts_s + MARGIN_S

    def problem(self) -> str | None:
        """Why these numbers are not safe or not usable together, or None."""
        residue_s = self.self_fence_seconds + self.fencing_seconds + self.watchdog_seconds
        least_s = self.clock_rate_ratio * residue_s + MARGIN_S
        if self.lease_duration_seconds < least_s:
            return (
                f"{LEASE_TOO_SHORT}: that is {least_s:g}, for so long a host may run guests after"
                f" its last heartbeat, and it is {self.lease_duration_seconds:g}"
            )
        if self.renew_interval_seconds * 2 > self.self_fence_seconds:
            return (
                f"{NO_ROOM}: that is {self.self_fence_seconds / 2:g}, and it is"
                f" {self.renew_interval_seconds:g}"
            )
        if self.link_detection_seconds < MIN_LINK_DETECTION_S:
            return f"{LINK_UNDETECTED}: it is {self.link_detection_seconds:g}"
        return None


def for_watchdog(timing: Timing, least_s: int) -> Timing | None:
    """The same numbers for a watchdog that takes no less than this, and a lease that waits for it.

    None: there are none, since it takes too long.
    """
    if least_s > MAX_WATCHDOG_S:
        return None
    slower: Timing = timing.model_copy(update={"watchdog_seconds": least_s})
    lease_s = max(timing.lease_duration_seconds, math.ceil(slower.lease_wait_s * 4) / 4)
    return slower.model_copy(update={"lease_duration_seconds": lease_s})


MIN_LINK_DETECTION_S = 1.5
"""DRBD's ``ping-int`` is whole seconds, at least 1, and a ping needs its answer."""

# As the API server says it; it cannot put the numbers in.
LEASE_TOO_SHORT = (
    "leaseDurationSeconds is too short; raise it to at least clockRateRatio x (selfFenceSeconds"
    f" + fencingSeconds + watchdogSeconds) + {MARGIN_S:g}"
)
NO_ROOM = (
    "renewIntervalSeconds leaves no room for one lost heartbeat; lower it to at most half of"
    " selfFenceSeconds"
)
LINK_UNDETECTED = (
    "linkDetectionSeconds cannot be met, since DRBD pings once a second at most; raise it to at"
    f" least {MIN_LINK_DETECTION_S:g}"
)

DEFAULT = Timing(
    renew_interval_seconds=1.0,
    self_fence_seconds=3.0,
    query_freshness_seconds=0.75,
    fencing_seconds=1.5,
    watchdog_seconds=2,
    link_detection_seconds=2.0,
    lease_duration_seconds=8.5,
)
FAST = Timing(
    renew_interval_seconds=0.5,
    self_fence_seconds=1.5,
    query_freshness_seconds=0.4,
    fencing_seconds=0.6,
    watchdog_seconds=1,
    link_detection_seconds=1.5,
    lease_duration_seconds=4.75,
)

PROFILES = {Profile.DEFAULT: DEFAULT, Profile.FAST: FAST}


class DrbdTimers(Model):
    """DRBD's own timers, in the units its configuration uses."""

    ping_int_s: int
    ping_timeout_ds: int
    timeout_ds: int
    connect_int_s: int
    ko_count: int

    @property
    def gives_up_s(self) -> float:
        """After this a Primary gives up a peer that is connected and answers no write."""
        return self.ko_count * self.timeout_ds / 10


def drbd_timers(timing: Timing) -> DrbdTimers:
    """Timers with which DRBD notices a dead link within ``link_detection_seconds``."""
    return timers_within(timing.link_detection_seconds)


def timers_within(detection_s: float) -> DrbdTimers:
    """Timers with which DRBD notices a dead link within so many seconds.

    An idle link is noticed after ping-int + ping-timeout; a request without an answer triggers a
    ping after ``timeout``. ``timeout`` must be below ping-int and connect-int (drbd.conf(5)).
    A quarter of a second is left for the kernel and for the event to be read.
    """
    ping_int_s = max(1, int(detection_s) - 1)
    ping_timeout_ds = max(1, int((detection_s - ping_int_s - 0.2) * 10))
    return DrbdTimers(
        ping_int_s=ping_int_s,
        ping_timeout_ds=min(ping_timeout_ds, 5),
        timeout_ds=ping_int_s * 10 - 1,
        connect_int_s=max(1, ping_int_s),
        ko_count=5,
    )


# Calls to the outside. A renewal that takes longer than this is not waited for.
API_TIMEOUT_S = 2.0
RENEW_TIMEOUT_S = 1.0
PROMOTION_HANDLER_BUDGET_S = 5.0
"""The promotion handler runs while DRBD holds its state mutex: answer within this."""

assert DEFAULT.problem() is None
assert FAST.problem() is None
