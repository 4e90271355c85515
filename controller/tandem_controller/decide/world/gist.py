"""What a plan depends on, but for the mere passing of time. Pure.

Two snapshots with the same gist make the same plan, unless a decision only waits for time to
pass; so ``loop`` plans when the gist is another one, and every FULL_PLAN_S all the same.
"""

from collections.abc import Hashable

from tandem_controller.decide.world.hosts import freshness
from tandem_controller.decide.world.leases import LeaseTracker
from tandem_controller.decide.world.model import Freshness, Refusal, Snapshot

FULL_PLAN_S = 5.0
"""Without any change, a plan is made this often."""


def gist(snapshot: Snapshot, generation: int) -> Hashable:
    """``generation`` counts the changes of the objects that the snapshot was made from."""
    beats = tuple(
        (host, _beat(snapshot.leases, host, snapshot.now_s))
        for host in sorted(snapshot.leases.counts)
    )
    waiting = snapshot.now_s if snapshot.link_down_since_s else 0.0
    return generation, beats, waiting, tuple(sorted(snapshot.agents.items(), key=_host))


def _host(said: tuple[str, Refusal | None]) -> str:
    return said[0]


def plan_is_due(known: Hashable, planned_s: float, now: Hashable, now_s: float) -> bool:
    """``known``: the gist of the last plan that was carried out, None if there is none."""
    return known != now or now_s - planned_s >= FULL_PLAN_S


def _beat(tracker: LeaseTracker, host: str, now_s: float) -> tuple[Freshness, str, bool]:
    heartbeat = tracker.counts[host].heartbeat
    return freshness(tracker, host, now_s), heartbeat.instance, heartbeat.watchdog_armed
