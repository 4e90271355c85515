"""The controller's loops: read the Leases, keep the store true, plan, and have it carried out.

Every loop runs at its own pace; changes only wake the planner. The Leases are read by followers
too, so that a new leader knows at once how long every host has been silent; and they are read while
a plan is made, however long that takes.

Called by ``assembly``.
"""

import asyncio
import logging
from collections.abc import Hashable, Sequence

from tandem_api.kinds.guest import Guest
from tandem_api.kinds.mirror import Mirror
from tandem_api.meta import ObjectKey
from tandem_base.waits import set_within
from tandem_controller.decide.walls import Walls
from tandem_controller.decide.world import leases
from tandem_controller.decide.world.gist import gist, plan_is_due
from tandem_controller.decide.world.leases import LeaseTracker
from tandem_controller.decide.world.model import Blocked, Decision, Plan, Snapshot
from tandem_controller.decide.world.moments import Noted, noted
from tandem_controller.edge.metrics import Metrics
from tandem_controller.ports import KINDS, ApiError, Outside, Watched
from tandem_controller.run.execute import Executor
from tandem_controller.run.lead import Leadership
from tandem_controller.run.power import Power
from tandem_controller.run.remembered import Remembered, remember
from tandem_controller.run.store import Store, version_of

log = logging.getLogger(__name__)

TICK_S = 0.5
COALESCE_S = 0.03
"""After a change, at least this long is waited for more of them; at most COALESCE_MAX_S. Between,
as long as the last plan took to make, so that planning never takes more than half of a core."""
COALESCE_MAX_S = 0.25
RESYNC_S = 30.0
RETRY_S = 1.0
NAMING_MOMENTS = ("Guest", "GuestMove", "Host", "Mirror", "Site")
STUCK_S = 15.0
"""A planning loop that has not turned for this long is not healthy."""


class Controller:
    """All that happens in one replica, but for kopf's watches and the HTTP server."""

    def __init__(
        self,
        outside: Outside,
        store: Store,
        leadership: Leadership,
        executor: Executor,
        metrics: Metrics,
        wake: asyncio.Event,
        watched: Watched,
        power: Power,
    ) -> None:
        self._now_s, self._wall = outside.clock.monotonic_s, outside.clock.wall
        self._api, self._planner = outside.api, outside.planner
        self._store, self._metrics, self._watched = store, metrics, watched
        self._leadership, self._executor, self._wake = leadership, executor, wake
        self._leases = LeaseTracker()
        self._power = power
        power.tracker = lambda: self._leases
        self._remembered, self._noted = Remembered(), Noted()
        self._decisions: dict[ObjectKey, Decision] = {}
        self._planned: Hashable = None
        self._planned_s = float("-inf")
        self._turned_s = self._now_s()
        self._took_s = 0.0

    async def run(self) -> None:
        """For ever."""
        async with asyncio.TaskGroup() as tasks:
            tasks.create_task(self._leadership.run())
            tasks.create_task(self._read_leases())
            tasks.create_task(self._resync())
            tasks.create_task(self._turn())
            tasks.create_task(self._power.run())

    # -- health

    def unhealthy(self) -> str:
        """Why a restart might help, or nothing."""
        stuck_s = self._now_s() - max(self._turned_s, self._executor.wrote_s)
        return f"the planning loop has stood still for {stuck_s:.0f} s" if stuck_s > STUCK_S else ""

    def unready(self) -> str:
        """Why this replica could not decide, or nothing."""
        if not self._store.synced:
            return "not everything has been listed yet"
        return "" if self.reachable() else "the Leases cannot be read"

    def reachable(self) -> bool:
        """Whether the server answers."""
        return self._leases.covers(self._now_s())

    # -- reading

    async def _read_leases(self) -> None:
        while True:
            began_s = self._now_s()
            await self.read_leases_once()
            spent_s = self._now_s() - began_s
            await asyncio.sleep(max(0.01, leases.POLL_INTERVAL_S - spent_s))

    async def read_leases_once(self) -> None:
        """One quorum read of all Leases; a failed one starts every count again."""
        started_s = self._now_s()
        try:
            heartbeats = await self._api.heartbeats(leases.READ_TIMEOUT_S)
        except ApiError as error:
            if self._leases.read_s is not None:
                log.warning("leases not read, so no host counts as silent: %s", error)
            self._leases = leases.interrupted(self._leases)
            return
        self._leases = leases.observe(
            self._leases, started_s, self._now_s(), heartbeats, self._wall()
        )

    async def _resync(self) -> None:
        while True:
            try:
                for kind in KINDS:
                    await self.resync_once(kind)
            except ApiError as error:
                until = "" if self._store.synced else ", and nothing is decided before it is"
                log.warning("%s not listed%s: %s", kind, until, error)
                await asyncio.sleep(RETRY_S)
            else:
                await asyncio.sleep(RESYNC_S)

    async def resync_once(self, kind: str) -> None:
        """Make the store true, and let the watch be judged by what the list has shown."""
        told, known = self._watched.told(kind), self._store.newest(kind)
        objects, version = await self._api.list_objects(kind)
        # Where more was known than the list has before it was asked for, the server was restored.
        self._store.replace(kind, objects, version if known <= version else None)
        newest = max((version_of(raw) for raw in objects), default=0)
        self._watched.listed(kind, told, newest, version)

    # -- planning

    async def _turn(self) -> None:
        while True:
            if await set_within(self._wake, TICK_S):
                await asyncio.sleep(min(COALESCE_MAX_S, max(COALESCE_S, self._took_s)))
            self._wake.clear()
            self._turned_s = self._now_s()
            await self.turn_once()

    async def turn_once(self) -> None:
        """Plan and carry it out, if this replica leads and anything may have changed."""
        objects = self._metrics.objects
        objects.leads = self._leadership.leads()
        objects.leases = self._leases
        objects.reachable = self._leases.covers(self._now_s())
        if not objects.leads or not self._store.synced:
            self._power.follows()
            self._planned = None
            self._note_moments(Walls())
            return
        snapshot = self._snapshot()
        now = gist(snapshot, self._store.generation)
        if not plan_is_due(self._planned, self._planned_s, now, snapshot.now_s):
            return
        plan = await self._planner.plan(snapshot)
        self._took_s = self._now_s() - snapshot.now_s
        self._metrics.planned(self._took_s)
        self._note(plan)
        self._power.planned(plan)
        done = await self._executor.run(plan)
        self._planned, self._planned_s = now if done else None, snapshot.now_s

    def _snapshot(self) -> Snapshot:
        now_s, mirrors = self._now_s(), self._store.parsed("Mirror")
        guests = self._store.parsed("Guest")
        walls = Walls((*self._store.bugs(), *self._executor.bugs.standing()))
        self._observe(mirrors, guests, now_s, walls)
        self._note_moments(walls)
        return Snapshot(
            now_s=now_s,
            wall=self._wall(),
            leases=self._leases,
            tandems=self._store.parsed("Tandem"),
            sites=self._store.parsed("Site"),
            hosts=self._store.parsed("Host"),
            mirrors=mirrors,
            guests=guests,
            guestmoves=self._store.parsed("GuestMove"),
            unreadable=self._store.unreadable(),
            unknown_fields=self._store.unknown_fields(),
            link_down_since_s=self._remembered.links,
            suspicions=self._remembered.suspicions,
            moments=self._noted.firsts,
            agents=dict(self._power.agents),
            bugs=walls.bugs,
        )

    def _observe(
        self, mirrors: Sequence[Mirror], guests: Sequence[Guest], now_s: float, walls: Walls
    ) -> None:
        """What is remembered of each mirror."""
        covers = self._leases.covers(now_s)
        self._remembered = remember(
            self._remembered, mirrors, guests, now_s if covers else None, walls
        )

    def _note_moments(self, walls: Walls) -> None:
        """Those that the statuses name, by a replica that follows, too: it may lead next."""
        found = {kind: self._store.parsed(kind) for kind in NAMING_MOMENTS}
        self._noted = noted(self._noted, found, self._now_s(), self._wall(), walls.around)

    def _note(self, plan: Plan) -> None:
        """One line for each decision that is another one than last time; and every bug."""
        self._metrics.objects.plan = plan
        for bug in plan.bugs:
            self._executor.bugs.tell(bug)
        for key, decision in plan.decisions.items():
            known = self._decisions.get(key)
            if decision is known or decision == known:
                continue
            log.info(
                'guest=%s decision=%s reason=%s message="%s"',
                key,
                type(decision).__name__,
                decision.reason,
                decision.message,
            )
            if isinstance(decision, Blocked):
                self._metrics.refused(decision.reason)
        self._decisions = dict(plan.decisions)
