"""What the API says that concerns this host: sites, hosts, mirrors and guests, from watches.

Fills the units (one per mirror with a replica here) and the node's facts. A copy from a watch may
be stale; everything irreversible reads again. An object that disappears is no order to stop
anything: only an assignment is.
"""

import asyncio
import logging
from collections.abc import Callable, Collection, Iterable, Iterator, Mapping
from contextlib import AbstractContextManager
from typing import Any

from tandem_actuator.core.model import Record, View
from tandem_actuator.ports import PortError
from tandem_actuator.ports.api import Api, Changed, Removed, Synced, Unheard
from tandem_actuator.ports.files import ObjectCache, Records
from tandem_actuator.run.matching import Matching
from tandem_actuator.run.node import NodeFacts
from tandem_actuator.run.workload import Unit
from tandem_api.kinds.guest import Guest
from tandem_api.kinds.host import Host, WatchdogPolicy
from tandem_api.kinds.mirror import Mirror
from tandem_api.kinds.site import Site
from tandem_api.meta import ObjectKey, Resource
from tandem_api.timing import DEFAULT, Timing
from tandem_base.bugs import Walled, where

log = logging.getLogger(__name__)

Change = Synced[Any] | Changed[Any] | Removed


def _told(change: Change) -> tuple[Any, ...]:
    """The objects in it."""
    match change:
        case Synced(objects):
            return objects
        case Changed(obj):
            return (obj,)
    return ()


class Cluster:
    """The cached objects and the units made of them."""

    def __init__(
        self,
        api: Api,
        records: Records,
        cache: ObjectCache,
        node: NodeFacts,
        on_unit: Callable[[Unit], None],
    ) -> None:
        self.api, self.records, self.cache = api, records, cache
        self.node, self.on_unit = node, on_unit
        self.sites: dict[ObjectKey, Site] = {}
        self.hosts: dict[ObjectKey, Host] = {}
        self.guests: dict[ObjectKey, Guest] = {}
        self.mirrors: dict[ObjectKey, Mirror] = {}
        self._known: Mapping[type[Resource], dict[ObjectKey, Any]] = {
            Site: self.sites,
            Host: self.hosts,
            Guest: self.guests,
            Mirror: self.mirrors,
        }
        self.units: dict[ObjectKey, Unit] = {}
        self.on_bug: Callable[[Exception], None] = lambda error: None
        """A bug in what is told costs sight of what it is about, and ends nothing."""
        self.on_heard: Callable[[str, str], None] = lambda kind, why: None
        """Why nothing is heard of a kind; or, empty, that all of it was."""
        self._site = ""
        self._bugs: set[str] = set()
        self._matching = Matching()

    def views(self) -> Iterator[View]:
        """What is known of each mirror now."""
        return (unit.view(self.node) for unit in list(self.units.values()))

    def recall(self) -> None:
        """Begin with what the last run knew: the API may be away just now."""
        for mirror, guest in self.cache.load():
            if mirror.replica_on(self.node.host) is not None:
                self._adopt_mirror(mirror.key, mirror)
                if mirror.key in self.units:
                    with self._walled():
                        self.units[mirror.key].observe_guest(guest)

    async def run(self) -> None:
        """Follow every kind that this program watches, for ever."""
        async with asyncio.TaskGroup() as tasks:
            for kind in self._known:
                tasks.create_task(self._follow(kind))

    async def _follow(self, kind: type[Resource]) -> None:
        async for change in self.api.watch(kind):
            if isinstance(change, Unheard):
                self.on_heard(kind.__name__, change.why)
                continue
            if isinstance(change, Synced):
                self.on_heard(kind.__name__, "")
            with self._walled():
                self.take(kind, change)

    def _walled(self) -> AbstractContextManager[None]:
        return Walled(self._met)

    def _met(self, error: Exception) -> None:
        place = where(error)
        if place not in self._bugs:
            self._bugs.add(place)
            log.critical("bug in what the API tells: %s", place, exc_info=error)
        self.on_bug(error)

    def take(self, kind: type[Resource], change: Change) -> None:
        """Take in what a watch of this kind told."""
        known = self._known[kind]
        match change:
            case Synced(objects):
                self.node.guests_listed = self.node.guests_listed or kind is Guest
                known.clear()
                known.update({obj.key: obj for obj in objects})
            case Changed(obj):
                known[obj.key] = obj
            case Removed(key):
                known.pop(key, None)
        if kind is Site:
            self._sites_changed()
        elif kind is Host:
            self._hosts_changed()
        elif kind is Guest:
            self._guest_changed(change)
        else:
            self._mirrors_changed(_told(change), listed=isinstance(change, Synced))

    @property
    def me(self) -> Host | None:
        return self.hosts.get(ObjectKey(namespace="", name=self.node.host))

    @property
    def site(self) -> str:
        """As its Host object said last. One that was deleted ends no heartbeat: guests run here."""
        if self.me:
            self._site = self.me.spec.site
        return self._site

    def wanted_timing(self) -> Timing:
        """The timing of this host's site; the default until it is known."""
        site = self.sites.get(ObjectKey(namespace="", name=self.site))
        return site.spec.timing if site else self.node.timing if self.node.timing else DEFAULT

    def _sites_changed(self) -> None:
        timings = {site.metadata.name: site.spec.timing for site in self.sites.values()}
        self.node.peer_timings = {
            host.metadata.name: timings[host.spec.site]
            for host in self.hosts.values()
            if host.spec.site in timings
        }
        self._wake_all()

    def _hosts_changed(self) -> None:
        self.node.addresses = {
            host.metadata.name: host.spec.replication_address for host in self.hosts.values()
        }
        self.node.migration_ends = {
            host.metadata.name: (host.spec.takes_guests_at, host.status.migration_port)
            for host in self.hosts.values()
            if host.status.migration_port is not None
        }
        if self.me:
            self.node.watchdog_required = self.me.spec.watchdog is WatchdogPolicy.REQUIRED
        self._sites_changed()

    def named(self, drbd_name: str) -> Unit | None:
        """The unit of this DRBD resource (``Mirror.drbd_name``)."""
        namespace, _, name = drbd_name.partition(".")
        return self.units.get(ObjectKey(namespace, name))

    def _guest_changed(self, change: Change) -> None:
        """Of hundreds of guests most are as they were."""
        touched: Collection[Unit] | None = None
        if self.node.guests_listed and not isinstance(change, Synced):
            with self._walled():
                key = change.key if isinstance(change, Removed) else change.object.key
                touched = self._matching.one(self.units, key, self.guests.get(key))
        if touched is None:
            self._guests_changed()
            return
        for unit in touched:
            self._keep(unit)

    def _guests_changed(self) -> None:
        self.match_guests()
        for unit in self.units.values():
            self._keep(unit)

    def _keep(self, unit: Unit) -> None:
        """The copy for the next run. A wall: one that cannot be made costs sight of this one."""
        try:
            self.cache.store(unit.mirror, unit.guest)
        except Exception:
            log.exception("bug: no copy of %s for the next run", unit.mirror.key)

    def match_guests(self) -> None:
        """Which guest belongs to which unit; also after one has stopped here.

        Not before they were listed: until then the units hold what the last run knew.
        """
        if not self.node.guests_listed:
            return
        with self._walled():
            self._matching.all(self.units, self.guests.values())

    def _mirrors_changed(self, changed: Iterable[Mirror], *, listed: bool) -> None:
        """Of hundreds of mirrors most are as they were: only what changed is looked at."""
        adopted = False
        for mirror in changed:
            if mirror.replica_on(self.node.host) is None:
                continue
            unit = self.units.get(mirror.key)
            if unit is None:
                self._adopt_mirror(mirror.key, mirror)
                adopted = True
                continue
            with self._walled():
                unit.observe_mirror(mirror, listed=listed)
            self._keep(unit)
        if adopted or listed:
            self._guests_changed()

    def _adopt_mirror(self, key: ObjectKey, mirror: Mirror) -> None:
        unit = Unit(mirror=mirror, record=self._record(mirror))
        if unit.record.unreadable:
            log.error("%s: held: %s", key, unit.record.unreadable)
        self.units[key] = unit
        self.on_unit(unit)

    def read_record_again(self, unit: Unit) -> None:
        """One that could not be read: it may have been a moment's fault, or is mended."""
        if unit.record.unreadable:
            unit.record = self._record(unit.mirror)

    def _record(self, mirror: Mirror) -> Record:
        """Unreadable is not absent: the guest may run here, and is guarded."""
        uid = mirror.metadata.uid
        try:
            return self.records.load(mirror.drbd_name) or Record(uid=uid)
        except PortError as error:
            return Record(uid=uid, unreadable=str(error))
        except Exception as error:  # a wall: a bug costs this mirror alone
            log.exception("bug: the record of %s cannot be read", mirror.key)
            return Record(uid=uid, unreadable=f"Tandem failed on it ({where(error)}), a bug")

    def _wake_all(self) -> None:
        for unit in self.units.values():
            unit.wake.set()
