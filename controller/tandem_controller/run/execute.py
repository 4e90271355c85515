"""Carries out a plan: the one place where the controller writes.

Urgent writes first, a bounded number at a time; leadership is checked right before each. What
fails is not retried here: the answer is noted, and the next plan is made from what is true then.
Only an assignment is sent again, after a pause. A server that asks to be left alone is (``pace``).
Every write that changed something is logged in one line, counted, and told as events.

Called by ``loop``. It decides nothing but whether it still leads.
"""

import asyncio
import logging
import random
import uuid
from collections.abc import Callable, Iterable, Sequence
from typing import assert_never

from pydantic import ValidationError

from tandem_api.kinds.guest import Assignment, GuestStatus
from tandem_api.meta import ObjectKey, Resource
from tandem_base.bugs import bug as bug_of
from tandem_controller.decide.mirrors.override import Grant, override, owner_is_as_judged
from tandem_controller.decide.world import leases
from tandem_controller.decide.world.model import (
    DeleteMove,
    Notice,
    Plan,
    SetUpMirror,
    SwapAuthority,
    World,
    Write,
    WriteAssignment,
    WriteClaimant,
    WriteFinalizers,
    WriteStatus,
)
from tandem_controller.edge.metrics import Metrics
from tandem_controller.ports import (
    Api,
    ApiConflict,
    ApiError,
    ApiRefused,
    ApiUnavailable,
    Clock,
    Raw,
)
from tandem_controller.run.bugs import Bugs
from tandem_controller.run.events import EventQueue
from tandem_controller.run.pace import Pace, subject
from tandem_controller.run.store import Store

log = logging.getLogger(__name__)

CONCURRENCY = 16
STATUS_BUDGET_S = 0.5
AT_A_TIME = 128
"""Statuses that are begun before it is asked whether there is time for more."""
PLAN_LIFE_S = 6.0
"""How old the facts may be on which an assignment rests when it is sent once more."""


class NotSent(Exception):
    """Nothing was sent: somebody else leads, or the time for it is over."""


class Executor:
    """Writes plans. ``leads`` says whether this replica may."""

    def __init__(
        self,
        api: Api,
        store: Store,
        leads: Callable[[], bool],
        metrics: Metrics,
        events: EventQueue,
        clock: Clock,
        chance: random.Random,
    ) -> None:
        self._now_s, self._chance = clock.monotonic_s, chance
        self._pace = Pace(chance)
        self._api, self._store, self._leads = api, store, leads
        self._metrics, self._events = metrics, events
        self.bugs = Bugs(metrics, clock.monotonic_s)
        self._slots = asyncio.Semaphore(CONCURRENCY)
        self.wrote_s = float("-inf")
        """When a write was last begun; monotonic."""

    async def run(self, plan: Plan) -> bool:
        """Whether a new plan need not be made at once.

        Statuses are begun for STATUS_BUDGET_S only: what is left comes with the next plan, which
        must not wait for hundreds of them when a site has just been lost.
        """
        urgent = await self._all(plan.urgent, plan.world, float("inf"))
        now_s = self._now_s()
        statuses = self._pace.in_turn(plan.statuses, now_s)
        return await self._begun(statuses, plan.world, now_s + STATUS_BUDGET_S) and urgent

    async def _begun(self, writes: Sequence[Write], world: World, end_s: float) -> bool:
        """So many at a time: thousands that come too late would keep the loop from all else."""
        done = True
        for first in range(0, len(writes), AT_A_TIME):
            if self._now_s() > end_s:
                return False
            done &= await self._all(writes[first : first + AT_A_TIME], world, end_s)
        return done

    def _request_id(self) -> str:
        """One that nobody else has."""
        return str(uuid.UUID(int=self._chance.getrandbits(128), version=4))

    async def _all(self, writes: Sequence[Write], world: World, end_s: float) -> bool:
        return all(await asyncio.gather(*(self._write(write, world, end_s) for write in writes)))

    async def _write(self, write: Write, world: World, end_s: float) -> bool:
        kind, obj_key = subject(write)
        try:
            await self._insist(write, world, end_s)
        except NotSent:
            return False
        except ApiConflict as error:
            log.info("%s=%s write=%s conflict: %s", kind, obj_key, _name(write), error)
            await self._reread(kind, obj_key)
            if isinstance(write, WriteAssignment) and write.claimant is not None:
                await self._reread("Mirror", write.claimant.mirror.key)
            return False
        except ApiRefused as error:
            log.error("%s=%s write=%s refused: %s", kind, obj_key, _name(write), error)
            self._metrics.write_refused(kind)
            self._pace.refused(write, self._now_s())
            return True  # To try again at once is no use.
        except ApiError as error:
            log.warning("%s=%s write=%s failed: %s", kind, obj_key, _name(write), error)
            self._pace.failed(write)
            return False
        except Exception as error:  # a wall: it costs this object alone
            bug = bug_of(kind, obj_key, error)
            self.bugs.tell(bug)
            self.bugs.met_in_a_write(bug)
            self._pace.refused(write, now_s=self._now_s())
            return True  # The object is behind a wall, for a while.
        self._pace.succeeded(write)
        self.bugs.written((kind, obj_key))
        return True

    async def _insist(self, write: Write, world: World, end_s: float) -> None:
        """An assignment that got no answer is sent again, as long as its plan is young.

        It carries the guest's version, so it cannot take effect twice. Without this a moment's
        overload, just when many guests are taken over, would cost the rest another lease's wait.
        While it pauses, others have its slot.
        """
        tries = 0
        while True:
            try:
                return await self._send(write, world, end_s)
            except ApiUnavailable as error:
                pause_s = self._pace.pause_s(error, tries, self._now_s())
                age_s = self._now_s() + pause_s - world.snapshot.now_s
                again = isinstance(write, WriteAssignment) and age_s < PLAN_LIFE_S
                if not again or not self._leads():
                    raise
                tries += 1
                log.info("%s=%s write=%s again: %s", *subject(write), _name(write), error)
                await asyncio.sleep(pause_s)
            except ApiConflict:
                if tries and isinstance(write, WriteAssignment) and await self._landed(write):
                    return None
                raise

    async def _send(self, write: Write, world: World, end_s: float) -> None:
        """One request, in a slot, unless it is too late for it or somebody else leads."""
        left_alone_s = self._pace.left_alone_s(self._now_s())
        if self._now_s() + left_alone_s > end_s:
            raise NotSent
        if left_alone_s:
            await asyncio.sleep(left_alone_s)
        async with self._slots:
            if not self._leads() or self._now_s() > end_s:
                raise NotSent
            self.wrote_s = self._now_s()
            await self._perform(write, world)

    async def _landed(self, write: WriteAssignment) -> bool:
        """Whether an assignment whose answer was lost is there after all."""
        raw = await self._api.read_object("Guest", write.guest.key)
        if raw is None or _assignment_in(raw) != write.assignment:
            return False
        self._assigned(write, raw)
        return True

    async def _reread(self, kind: str, key: ObjectKey) -> None:
        """What was believed of it is wrong; do not wait for the watch to say so."""
        try:
            raw = await self._api.read_object(kind, key)
        except ApiError:
            return
        if raw is None:
            self._store.remove(kind, key)
        else:
            self._store.put(kind, raw)

    async def _perform(self, write: Write, world: World) -> None:
        match write:
            case WriteAssignment():
                await self._assign(write)
            case WriteClaimant():
                await self._admit(write)
            case WriteFinalizers(guest, finalizers):
                version = guest.metadata.resource_version
                raw = await self._api.write_finalizers("Guest", guest.key, finalizers, version)
                self._absorb("Guest", raw)
            case SetUpMirror():
                await self._set_up(write)
            case SwapAuthority():
                await self._swap(write, world)
            case WriteStatus():
                await self._status(write)
            case DeleteMove(move):
                await self._api.delete_object("GuestMove", move.key, move.metadata.uid)
            case _:
                assert_never(write)

    async def _assign(self, write: WriteAssignment) -> None:
        if write.claimant is not None:
            await self._admit(write.claimant)
            if not self._leads():
                raise ApiUnavailable("not leading any more")
        guest = write.guest
        version = guest.metadata.resource_version
        raw = await self._api.write_status("Guest", guest.key, write.patch, version)
        self._assigned(write, raw)

    async def _admit(self, write: WriteClaimant) -> None:
        raw = await self._api.add_claimant(write.mirror, write.host, write.claimant)
        self._absorb("Mirror", raw)

    def _assigned(self, write: WriteAssignment, raw: Raw) -> None:
        """It is written: note it everywhere."""
        guest, assignment = write.guest, write.assignment
        self._absorb("Guest", raw)
        log.info(
            'guest=%s assigned=%s serial=%d reason=%s proof=%s message="%s"',
            guest.key,
            assignment.host or "-",
            assignment.serial,
            assignment.reason,
            assignment.proof.kind if assignment.proof else "-",
            assignment.message,
        )
        self._metrics.assigned(assignment)
        self._metrics.takeover_steps(raw, write.patch)
        self._tell(guest, write.notices)

    async def _set_up(self, write: SetUpMirror) -> None:
        mirror, authority = write.mirror, write.authority
        fields = {"deviceNumbers": write.numbers.wire()}
        if authority is not None:
            won = authority.asked_for_as(self._request_id())
            fields["authority"] = won.wire()
            fields["claimants"] = {}
        raw = await self._api.set_up_mirror(mirror, fields)
        self._absorb("Mirror", raw)
        log.info(
            "mirror=%s set up: port=%d minors=%s",
            mirror.key,
            write.numbers.port,
            ",".join(f"{name}:{minor}" for name, minor in write.numbers.minors.items()),
        )

    async def _swap(self, write: SwapAuthority, world: World) -> None:
        """Decide once more, on quorum reads: the plan was made from watches."""
        mirror = await self._api.read_mirror(write.mirror.key)
        grant = override(mirror, world)
        if not isinstance(grant, Grant) or mirror.status.authority is None:
            return
        heartbeats = await self._api.heartbeats(leases.READ_TIMEOUT_S)
        if not owner_is_as_judged(mirror, world, heartbeats):
            return
        authority = grant.authority.asked_for_as(self._request_id())
        await self._api.swap_authority(
            mirror.key, mirror.metadata.uid, mirror.status.authority.epoch, authority
        )
        log.warning('mirror=%s override epoch=%d "%s"', mirror.key, authority.epoch, grant.message)
        self._tell(mirror, (Notice(True, authority.reason, grant.message),))
        await self._reread("Mirror", mirror.key)

    async def _status(self, write: WriteStatus) -> None:
        raw = await self._api.write_status(write.kind, write.key, write.patch, write.version)
        self._absorb(write.kind, raw)
        self._metrics.status_written(write.kind)
        if write.kind == "Guest":
            self._metrics.takeover_steps(raw, write.patch)
        for notice in write.notices:
            self._events.put(write.kind, write.key, write.uid, notice)

    def _absorb(self, kind: str, raw: Raw) -> None:
        self._store.put(kind, raw)

    def _tell(self, obj: Resource, notices: Iterable[Notice]) -> None:
        for notice in notices:
            self._events.put(type(obj).__name__, obj.key, obj.metadata.uid, notice)


def _assignment_in(raw: Raw) -> Assignment | None:
    """As it is stored; None also for one that cannot be read, whoever wrote that."""
    try:
        return GuestStatus.model_validate(raw.get("status") or {}).assignment
    except ValidationError:
        return None


def _name(write: Write) -> str:
    return type(write).__name__
