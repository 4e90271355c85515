"""The controller's loops around its real plan, on simulated time.

The counterpart of ``tandem_controller.loop`` and ``execute``: it reads the Leases, follows the
objects, plans, and writes what the plan says with the same preconditions. Called by ``world``.
"""

from collections.abc import Callable, Generator, Mapping
from itertools import count
from typing import Any

from tandem_actuator.ports import ApiConflict, PortError
from tandem_api.guest import Guest
from tandem_api.host import Host
from tandem_api.meta import ObjectKey, Resource
from tandem_api.mirror import Mirror
from tandem_api.site import Site
from tandem_api.timing import API_TIMEOUT_S
from tandem_controller.decide import leases
from tandem_controller.decide.conditions import patch
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
    WriteFinalizers,
    WriteStatus,
)
from tandem_controller.decide.override import Grant, override
from tandem_controller.decide.plan import plan as make_plan
from tandem_sim.api import Api, Client, Stored
from tandem_sim.events import Log
from tandem_sim.kernel import Command, Group, Kernel, Sleep

TICK_S = 0.5
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
        self.synced = False
        self._requests = count(1)

    def begin(self) -> None:
        self.kernel.spawn(self.group, self.client.follow(tuple(KINDS.values()), self._delivered))
        self.kernel.spawn(self.group, self._read_leases())
        self.kernel.spawn(self.group, self._turn())

    def _delivered(self, stored: Stored | None) -> None:
        if stored is None:
            self.synced = True
        elif stored.object is None:
            self.store.pop(stored.key, None)
        else:
            self._absorb(stored.object)

    def _absorb(self, obj: Resource) -> None:
        key = (type(obj).__name__, obj.key)
        known = self.store.get(key)
        if known is None or _version(obj) >= _version(known):
            self.store[key] = obj

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
            yield Sleep(TICK_S)
            if self.synced:
                plan = make_plan(self._snapshot())
                self._note(plan)
                for write in (*plan.urgent, *plan.statuses):
                    yield from self._write(write, plan.world)

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

    def _write(self, write: Write, world: World) -> Program:
        try:
            yield from self._perform(write, world)
        except ApiConflict:
            yield from self._reread(write)
        except PortError:
            return

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
        except PortError:
            return
        self._absorb(obj)

    def _perform(self, write: Write, world: World) -> Program:
        server = self.client.api.server
        match write:
            case WriteAssignment(guest, _, changes):
                yield from self._status(Guest, guest.key, changes, guest.metadata.resource_version)
            case WriteFinalizers(guest, finalizers):
                yield from self._ask(lambda: server.set_finalizers(guest, finalizers))
            case SetUpMirror():
                yield from self._set_up(write)
            case SwapAuthority():
                yield from self._swap(write, world)
            case WriteStatus(kind, key, _, changes):
                yield from self._status(KINDS[kind], key, changes, None)

    def _ask(self, action: Callable[[], Resource]) -> Program:
        self._absorb((yield from self.client.call(action, API_TIMEOUT_S, write=True)))

    def _status(
        self,
        kind: type[Resource],
        key: ObjectKey,
        changes: Mapping[str, Any],
        version: str | None,
    ) -> Program:
        server = self.client.api.server
        yield from self._ask(lambda: server.patch_status(kind, key, changes, version))

    def _set_up(self, write: SetUpMirror) -> Program:
        mirror = write.mirror
        changes: dict[str, object] = {"device_numbers": write.numbers}
        if write.authority is not None:
            request_id = f"{self.name}#{next(self._requests)}"
            changes["authority"] = write.authority.model_copy(update={"request_id": request_id})
        difference = patch(mirror.status, mirror.status.model_copy(update=changes))
        yield from self._status(Mirror, mirror.key, difference, mirror.metadata.resource_version)

    def _swap(self, write: SwapAuthority, world: World) -> Program:
        server, key = self.client.api.server, write.mirror.key
        mirror = yield from self.client.call(lambda: server.get(Mirror, key), API_TIMEOUT_S)
        grant = override(mirror, world)
        held_by = mirror.status.authority
        if not isinstance(grant, Grant) or held_by is None:
            return
        request_id = f"{self.name}#{next(self._requests)}"
        authority = grant.authority.model_copy(update={"request_id": request_id})
        uid, epoch = mirror.metadata.uid, held_by.epoch
        yield from self._ask(lambda: server.swap_authority(key, uid, epoch, authority))
        self.log.say(self.name, f"{key}: override: {grant.message}")


def _version(obj: Resource) -> int:
    return int(obj.metadata.resource_version or 0)
