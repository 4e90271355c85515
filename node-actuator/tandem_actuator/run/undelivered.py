"""Since when what this host reports does not arrive, for its heartbeat to tell.

Leases may pass where nothing else does: a path that drops large packets, a webhook that hangs for
Tandem's objects alone, rights that were taken away. Then the last that arrived stands there as if
it were so still, and the host hears of nothing. Told is only what lasts while heartbeats are
confirmed: an outage of the API is none of it. Fed by ``reports``, ``host_report`` and ``cluster``;
asked by ``heartbeat``. It decides nothing.
"""

from collections.abc import Collection, Mapping
from dataclasses import dataclass

from tandem_actuator.ports import Clock, PortError
from tandem_actuator.ports.api import ApiRefused, ApiUnavailable
from tandem_actuator.run.node import NodeFacts
from tandem_api.lease import WHY_LENGTH, Delivery

TELL_AFTER_S = 10.0
"""An API server that restarts, or elects a leader, takes reports again by then."""
NAMED = 4
"""So many objects are named; the heartbeat stays small, as it must pass where little does."""

EVERYTHING = ""
"""What the watches are about."""


@dataclass(frozen=True)
class _Failing:
    since_s: float
    since: str
    why: str
    refused: bool


class Undelivered:
    """By the name of the object that the reports are about."""

    def __init__(self, node: NodeFacts, clock: Clock) -> None:
        self._node, self._clock = node, clock
        self._failing: dict[tuple[str, str], _Failing] = {}
        self._told = Delivery(run=node.instance.run_id)

    def failed(self, name: str, part: str, error: PortError) -> None:
        """``part``: which report about it; each is delivered, or not, by itself."""
        why, refused = str(error), isinstance(error, ApiRefused)
        known = self._failing.get((name, part))
        since_s = known.since_s if known is not None else self._clock.boottime_s()
        since = known.since if known is not None else self._clock.wall()
        self._failing[name, part] = _Failing(since_s, since, why, refused)

    def delivered(self, name: str, part: str) -> None:
        """Or there is nothing to tell."""
        self._failing.pop((name, part), None)

    def heard(self, kind: str, why: str) -> None:
        """Whether this host hears of a kind; ``why`` not. A host that does not is told nothing."""
        if why:
            self.failed(EVERYTHING, kind, ApiUnavailable(why))
        else:
            self.delivered(EVERYTHING, kind)

    def keep(self, names: Collection[str]) -> None:
        """What became of other objects is nobody's concern any more."""
        for name, part in [key for key in self._failing if key[0] not in (*names, EVERYTHING)]:
            del self._failing[name, part]

    def told(self, now_s: float) -> Delivery:
        """What a heartbeat says that is sent now: as before, while none counts."""
        node, sent_s = self._node, self._node.renewal_sent_at_s
        if sent_s is None or now_s - sent_s > node.timing.self_fence_seconds:
            return self._told
        lasting = {
            key: failing
            for key, failing in self._failing.items()
            if now_s - max(failing.since_s, node.steady_since_s) >= TELL_AFTER_S
        }
        self._told = self._of(lasting)
        return self._told

    def _of(self, lasting: Mapping[tuple[str, str], _Failing]) -> Delivery:
        run, names = self._node.instance.run_id, sorted({name for name, _ in lasting})
        if not names:
            return Delivery(run=run)
        first = min(lasting.values(), key=lambda failing: failing.since_s)
        return Delivery(
            run=run,
            since=first.since,
            count=len([name for name in names if name != EVERYTHING]),
            of=tuple(names) if len(names) <= NAMED and EVERYTHING not in names else (),
            deaf=EVERYTHING in names,
            refused=all(failing.refused for failing in lasting.values()),
            why=first.why[:WHY_LENGTH],
        )
