"""The controller's loops around its real plan, on simulated time.

The counterpart of ``tandem_controller.loop`` and ``execute``: it reads the Leases, follows the
objects, plans, and writes what the plan says with the same preconditions. Called by ``world``.
"""

from collections.abc import Callable, Generator, Hashable, Mapping
from typing import Any

from sim.api import Api, Client, Refused
from sim.events import Log
from sim.kernel import Command, Group, Kernel, Signal, Sleep, WaitFor
from sim.watch import Listed, News, Watch
from tandem_actuator.ports import ApiConflict, ApiGone, ApiUnavailable, PortError
from tandem_api.guest import Guest
from tandem_api.host import Host
from tandem_api.meta import ObjectKey, Resource
from tandem_api.mirror import Mirror
from tandem_api.site import Site
from tandem_api.timing import API_TIMEOUT_S
from tandem_controller.decide import leases
from tandem_controller.decide.conditions import patch
from tandem_controller.decide.gist import gist, plan_is_due
from tandem_controller.decide.leases import LeaseTracker
from tandem_controller.decide.links import observe_links
from tandem_controller.decide.model import (
    Decision,
    Plan,
    SetUpMirror,
    Snapshot,
    SwapAuthority,
    World,
    Write,
    WriteAssignment,
    WriteClaimant,
    WriteFinalizers,
    WriteStatus,
)
from tandem_controller.decide.override import Grant, override, owner_is_as_judged
from tandem_controller.decide.plan import plan as make_plan

TICK_S = 0.5
COALESCE_S = 0.03
PLAN_LIFE_S = 6.0
"""As in ``tandem_controller.loop`` and ``execute``."""
KINDS: Mapping[str, type[Resource]] = {"Site": Site, "Host": Host, "Mirror": Mirror, "Guest": Guest}
Program = Generator[Command, bool, None]


class Controller:
    """One run of the one replica that leads."""

    def __init__(self, kernel: Kernel, api: Api, log: Log, name: str) -> None:
        self.kernel, self.log, self.name = kernel, log, name
        self.group = Group(name)
        self.client = Client(api, "", self.group)
        self.store: dict[tuple[str, ObjectKey], Resource] = {}
        self.tracker = LeaseTracker()
        self.links: dict[tuple[ObjectKey, str], float] = {}
        self.decisions: dict[ObjectKey, Decision] = {}
        self.listed: set[str] = set()
        self.generation = 0
        self.changed = Signal()
        self.planned: Hashable = None
        self.planned_s = float("-inf")
        self.watches = [self._watch(name, kind) for name, kind in KINDS.items()]

    def begin(self) -> None:
        for watch in self.watches:
            watch.begin()
        self.kernel.spawn(self.group, self._read_leases())
        self.kernel.spawn(self.group, self._turn())

    def _watch(self, name: str, kind: type[Resource]) -> Watch:
        def deliver(news: News) -> None:
            if isinstance(news, Listed):
                self._replace(name, news.objects)
            elif isinstance(news, ObjectKey):
                self.store.pop((name, news), None)
                self._stir()
            else:
                self._absorb(news)

        return Watch(self.client, kind, deliver)

    def _replace(self, name: str, objects: tuple[Resource, ...]) -> None:
        """A list is taken as it is, so that what went backwards is seen."""
        self.store = {key: obj for key, obj in self.store.items() if key[0] != name}
        self.store.update({(name, obj.key): obj for obj in objects})
        self.listed.add(name)
        self._stir()

    def _stir(self) -> None:
        self.generation += 1
        self.changed.give()

    def _absorb(self, obj: Resource) -> None:
        key = (type(obj).__name__, obj.key)
        known = self.store.get(key)
        if known is None or _version(obj) > _version(known) or _replaces(obj, known):
            self.store[key] = obj
            self._stir()

    def _read_leases(self) -> Program:
        server = self.client.api.server
        while True:
            began_s = self.kernel.now_s
            try:
                beats = yield from self.client.call(
                    lambda: list(server.leases.values()), leases.READ_TIMEOUT_S
                )
                self.tracker = leases.observe(
                    self.tracker, began_s, self.kernel.now_s, beats, self.log.wall()
                )
            except PortError:
                self.tracker = leases.interrupted(self.tracker)
            yield Sleep(max(0.01, leases.POLL_INTERVAL_S - (self.kernel.now_s - began_s)))

    def _turn(self) -> Program:
        while True:
            if (yield WaitFor(self.changed, TICK_S)):
                yield Sleep(COALESCE_S)
            if len(self.listed) == len(KINDS):
                yield from self._plan()

    def _plan(self) -> Program:
        snapshot = self._snapshot()
        now = gist(snapshot, self.generation)
        if not plan_is_due(self.planned, self.planned_s, now, snapshot.now_s):
            return
        plan = make_plan(snapshot)
        self._note(plan)
        done = True
        for write in (*plan.urgent, *plan.statuses):
            done = (yield from self._write(write, plan.world)) and done
        self.planned, self.planned_s = now if done else None, snapshot.now_s

    def _snapshot(self) -> Snapshot:
        now_s = self.kernel.now_s
        objects = list(self.store.values())
        mirrors = tuple(obj for obj in objects if isinstance(obj, Mirror))
        covered = self.tracker.covers(now_s)
        self.links = observe_links(self.links, mirrors, now_s) if covered else {}
        return Snapshot(
            now_s=now_s,
            wall=self.log.wall(),
            leases=self.tracker,
            sites=tuple(obj for obj in objects if isinstance(obj, Site)),
            hosts=tuple(obj for obj in objects if isinstance(obj, Host)),
            mirrors=mirrors,
            guests=tuple(obj for obj in objects if isinstance(obj, Guest)),
            link_down_since_s=dict(self.links),
        )

    def _note(self, plan: Plan) -> None:
        for key, decision in plan.decisions.items():
            if decision != self.decisions.get(key):
                word = type(decision).__name__
                self.log.say(self.name, f"{key}: {word} {decision.reason}: {decision.message}")
        self.decisions = dict(plan.decisions)

    # -- writing

    def _write(self, write: Write, world: World) -> Generator[Command, bool, bool]:
        """Whether it need not be tried again."""
        while True:
            try:
                yield from self._perform(write, world)
            except (ApiConflict, ApiGone):
                yield from self._reread(write)
                if isinstance(write, WriteAssignment) and write.claimant is not None:
                    yield from self._reread(write.claimant)
                return False
            except Refused:
                return True
            except ApiUnavailable:
                age_s = self.kernel.now_s - world.snapshot.now_s
                if not isinstance(write, WriteAssignment) or age_s >= PLAN_LIFE_S:
                    return False
            else:
                return True

    def _reread(self, write: Write) -> Program:
        if isinstance(write, WriteAssignment | WriteFinalizers):
            kind, key = "Guest", write.guest.key
        elif isinstance(write, WriteStatus):
            kind, key = write.kind, write.key
        else:
            kind, key = "Mirror", write.mirror.key
        server = self.client.api.server
        try:
            obj = yield from self.client.call(lambda: server.get(KINDS[kind], key), API_TIMEOUT_S)
        except ApiGone:
            self.store.pop((kind, key), None)
            self._stir()
        except PortError:
            return
        else:
            self._absorb(obj)

    def _perform(self, write: Write, world: World) -> Program:
        server = self.client.api.server
        match write:
            case WriteAssignment(guest, _, changes):
                if write.claimant is not None:
                    yield from self._admit(write.claimant)
                yield from self._status(Guest, guest.key, changes, guest.metadata.resource_version)
            case WriteClaimant():
                yield from self._admit(write)
            case WriteFinalizers(guest, finalizers):
                yield from self._ask(lambda: server.set_finalizers(guest, finalizers))
            case SetUpMirror():
                yield from self._set_up(write)
            case SwapAuthority():
                yield from self._swap(write, world)
            case WriteStatus(kind, key, _, changes):
                yield from self._status(KINDS[kind], key, changes, write.version)

    def _admit(self, write: WriteClaimant) -> Program:
        server = self.client.api.server
        yield from self._ask(lambda: server.add_claimant(write.mirror, write.host, write.claimant))

    def _ask(self, action: Callable[[], Resource]) -> Program:
        self._absorb((yield from self.client.call(action, API_TIMEOUT_S, write=True)))

    def _status(
        self,
        kind: type[Resource],
        key: ObjectKey,
        changes: Mapping[str, Any],
        version: str | None,
        uid: str | None = None,
    ) -> Program:
        server = self.client.api.server
        yield from self._ask(lambda: server.patch_status(kind, key, changes, version, uid))

    def _set_up(self, write: SetUpMirror) -> Program:
        mirror = write.mirror
        changes: dict[str, object] = {"device_numbers": write.numbers}
        if write.authority is not None:
            request_id = f"{self.name}#{self.kernel.number('request')}"
            changes["authority"] = write.authority.model_copy(update={"request_id": request_id})
            changes["claimants"] = {}
        difference = patch(mirror.status, mirror.status.model_copy(update=changes))
        seen = mirror.metadata
        yield from self._status(Mirror, mirror.key, difference, seen.resource_version, seen.uid)

    def _swap(self, write: SwapAuthority, world: World) -> Program:
        server, key = self.client.api.server, write.mirror.key
        mirror = yield from self.client.call(lambda: server.get(Mirror, key), API_TIMEOUT_S)
        grant = override(mirror, world)
        held_by = mirror.status.authority
        if not isinstance(grant, Grant) or held_by is None:
            return
        beats = yield from self.client.call(
            lambda: list(server.leases.values()), leases.READ_TIMEOUT_S
        )
        if not owner_is_as_judged(mirror, world, beats):
            return
        request_id = f"{self.name}#{self.kernel.number('request')}"
        authority = grant.authority.model_copy(update={"request_id": request_id})
        uid, epoch = mirror.metadata.uid, held_by.epoch
        yield from self._ask(lambda: server.swap_authority(key, uid, epoch, authority))
        self.log.say(self.name, f"{key}: override: {grant.message}")


def _version(obj: Resource) -> int:
    return int(obj.metadata.resource_version or 0)


def _replaces(obj: Resource, known: Resource) -> bool:
    """After a restore another object may have the name and the version of one that is known."""
    same_version = _version(obj) == _version(known)
    return same_version and obj.metadata.uid != known.metadata.uid
