"""What the running actuator holds of one mirror: the latest observations, and what is under way.

Mutable, and touched only from the event loop. ``view`` freezes it for a decision. Nothing in here
is needed after a restart: it is all observed again.
"""

import asyncio
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field

from tandem_actuator.core import packets
from tandem_actuator.core.authority import held
from tandem_actuator.core.drbd import DrbdState, DrbdUnknown, DrbdView, Standstill
from tandem_actuator.core.host.permission import (
    acquits,
    has_lapsed,
    lapse_must_be_judged,
    run_permission,
)
from tandem_actuator.core.mirror import resync, standstill
from tandem_actuator.core.mirror.readings import is_unclear, says_the_same
from tandem_actuator.core.model import FenceProgress, Record, Refusals, Resync, View, serial_of
from tandem_actuator.core.packets import Packets
from tandem_actuator.core.wall import Wall
from tandem_actuator.ports.drbd import DrbdEvent
from tandem_actuator.run.calm import Calm
from tandem_actuator.run.counted import Counted
from tandem_actuator.run.node import NodeFacts
from tandem_actuator.run.refused import Refused
from tandem_actuator.run.remembered import Remembered
from tandem_actuator.run.repeats import Repeats
from tandem_actuator.run.transit import Transit
from tandem_api.authority import Authority
from tandem_api.kinds.guest import Guest, GuestReport, HardwareReport
from tandem_api.kinds.mirror import Mirror, ReplicaReport
from tandem_api.reasons import Reason
from tandem_api.vocabulary import DomainState

BACKOFF_MAX_S = 8.0
STORES_TRIED = 4
"""So often in a row a store fails before the host counts as one that can keep no record."""


@dataclass
class Unit(Counted):
    """One mirror with a replica on this host.

    ``record_unsure``: a store of the record failed, so the disk may have the one or the other.
    ``stores_failed``: how often in a row; ``store_error``: the last one's words.
    ``permitted_until_s``: up to when the guest was surely permitted to run. ``applied``: the
    resource file that the kernel was last brought in line with by this run; with it,
    ``applied_detection_s``: how soon it notices a dead link, None if that is not known.
    ``dead_at_s``, ``started_by``: see View; ``killed``: but held by its device. ``began_at_s``,
    ``began_by``: the last start's. ``behinds``: how many events told of a local disk behind.
    """

    mirror: Mirror
    record: Record
    guest: Guest | None = None
    guest_gone: bool = False
    drbd: DrbdView = field(default_factory=lambda: DrbdUnknown("not asked yet"))
    domain: DomainState = DomainState.UNKNOWN
    link_lost_at_s: float | None = None
    link_lost_wall: str | None = None
    packets: Packets = field(default_factory=Packets)
    in_sync_since_s: float | None = None
    was_behind: bool = False
    resync: Resync | None = None
    behinds: int = 0
    record_unsure: bool = False
    stores_failed: int = 0
    store_error: str = ""
    record_lock: asyncio.Lock = field(default_factory=asyncio.Lock)
    file_lock: asyncio.Lock = field(default_factory=asyncio.Lock)
    frozen_since_s: float | None = None
    without_data_since_s: float | None = None
    standstill: Standstill = field(default_factory=Standstill)
    starting: bool = False
    handlers: int = 0
    shutdown_sent_at_s: float | None = None
    shutdown_heard: bool = False
    transit: Transit = field(default_factory=Transit)
    fence: FenceProgress | None = None
    fence_task: asyncio.Task[None] | None = None
    dead_at_s: float | None = None
    killed: bool = False
    began_at_s: float = float("-inf")
    lapses: int = 0
    lapsed_at_s: float = float("-inf")
    permitted_until_s: float = float("-inf")
    affirmed: int = 0
    promoting: bool = False
    failures: int = 0
    refusals: Refusals | None = None
    not_before_s: float = 0.0
    reason: Reason = Reason.STEADY
    message: str = ""
    steps: dict[str, str] = field(default_factory=dict)
    started_by: int = 0
    began_by: int = 0
    sent_replica: ReplicaReport | None = None
    sent_guest: GuestReport | None = None
    replica_sent_at_s: float = 0.0
    guest_sent_at_s: float = 0.0
    applied: str = ""
    applied_detection_s: float | None = None
    apply_not_before_s: float = 0.0
    replica_refused: Refused = field(default_factory=Refused)
    guest_refused: Refused = field(default_factory=Refused)
    wall: Wall = field(default_factory=Wall)
    wake: asyncio.Event = field(default_factory=asyncio.Event)
    worker: asyncio.Task[None] | None = None
    hardware: HardwareReport = field(default_factory=HardwareReport)
    device_bytes: Mapping[str, int] = field(default_factory=dict)
    calm: Calm = field(default_factory=Calm)
    repeats: Repeats = field(default_factory=Repeats)

    def __post_init__(self) -> None:
        self.remembered = Remembered(View)

    def view(self, node: NodeFacts) -> View:
        """Everything known now, frozen."""
        stamp, last = self.stamp(node), self.remembered
        if last.stamp != stamp:
            last.stamp, last.made = stamp, self._seen(node)
        return last.made

    def stamp(self, node: NodeFacts) -> tuple[object, ...]:
        """Another one if anything that the view is made of may be another."""
        return self.changes, self.transit.changes, node.changes, id(node)

    def _seen(self, node: NodeFacts) -> View:
        peer = self.mirror.peer_of(node.host)
        return self.remembered(
            host=node.host,
            instance=node.instance,
            mirror=self.mirror,
            guest=self.guest,
            record=self.record,
            drbd=self.drbd,
            domain=self.domain,
            timing=node.timing,
            peer_timing=node.peer_timings.get(peer),
            watchdog_armed=node.watchdog_armed,
            watchdog_refused=node.watchdog_refused,
            watchdog_least_s=node.watchdog_least_s,
            watchdog_required=node.watchdog_required,
            addresses=node.addresses,
            link_lost_at_s=self.link_lost_at_s,
            packets=self.packets,
            acknowledged=node.acknowledged,
            link_lasts_s=node.link_lasts_s,
            in_sync_since_s=self.in_sync_since_s,
            was_behind=self.was_behind,
            resync=self.resync,
            frozen_since_s=self.frozen_since_s,
            without_data_since_s=self.without_data_since_s,
            standstill=self.standstill,
            starting=self.starting,
            handler_running=self.handlers > 0,
            shutdown_sent_at_s=self.shutdown_sent_at_s,
            shutdown_heard=self.shutdown_heard,
            fence=self.fence,
            dead_at_s=self.dead_at_s,
            failures=self.failures,
            refusals=self.refusals,
            unrecorded=self.unrecorded,
            renewal_sent_at_s=node.renewal_sent_at_s,
            deaf=node.deaf,
            lapsed=self.lapsed,
            heard_since_lapse=self._heard_since_lapse(node),
            drbd_major=node.drbd_major,
            listed=node.guests_listed,
            job=self.transit.job,
            receiving=self.transit.receiving,
            session=self.transit.session,
            refused_move=self.transit.why_refused(serial_of(self.guest)),
            started_by=self.started_by,
        )

    def see_lapse(self, node: NodeFacts, now_s: float) -> None:
        """Before a look or a heartbeat is taken in, which would hide it: the guest may have run
        without permission until now.
        """
        sent_at_s = node.renewal_sent_at_s
        judged = lapse_must_be_judged(node.guarding, sent_at_s, node.timing, now_s)
        if not judged or not self.may_run:
            return
        view = self.view(node)
        until_s = min(run_permission(view, sent_at_s, now_s).until_s, now_s)
        self.permitted_until_s = max(until_s, self.permitted_until_s)
        # While a packet is waited for before a fence, it is the same lapse.
        waits = self.lapsed and self.is_fencing and self.fence is None
        if has_lapsed(view, sent_at_s, now_s) and not waits:
            self.lapse(now_s)

    def lapse(self, now_s: float) -> None:
        """The guest has run without permission until now. Each look sees it; it is news once."""
        if not self.lapsed:
            self.wake.set()
        self.lapses, self.lapsed_at_s = self.lapses + 1, now_s

    def _heard_since_lapse(self, node: NodeFacts) -> bool:
        # None is confirmed that took longer than RENEW_TIMEOUT_S: nobody has counted L since it.
        return node.renewal_confirmed_at_s >= self.lapsed_at_s

    @property
    def lapsed(self) -> bool:
        """Whether there was a lapse that no swap as the owner has ended yet."""
        return self.lapses != self.affirmed

    def may_be_affirmed(self, node: NodeFacts) -> bool:
        """It has lapsed, and a swap that says that this host is still the owner may come."""
        if not self.lapsed:
            return False
        authority = self.mirror.status.authority
        mine = authority is not None and authority.owner == node.host
        return mine and held(self.mirror, self.record) is None

    def is_being_affirmed(self, node: NodeFacts) -> bool:
        """Such a swap is on its way."""
        return self.may_be_affirmed(node) and self._heard_since_lapse(node)

    def awaits_a_heartbeat(self, node: NodeFacts) -> bool:
        """Such a swap waits for one, and until then the guest lives on the link alone."""
        return self.may_be_affirmed(node) and not self._heard_since_lapse(node)

    def lapses_ended_by(self, authority: Authority, node: NodeFacts) -> int:
        """Up to which lapse this swap, which is about to be sent, affirms the owner."""
        affirms = authority.owner == node.host and self._heard_since_lapse(node)
        return self.lapses if affirms else self.affirmed

    @property
    def may_run(self) -> bool:
        """Whether the guest may run here, as far as libvirt tells, or is just being started."""
        return self.starting or self.domain.may_run

    def observe_drbd(self, drbd: DrbdView, now_s: float, wall: str) -> bool:
        """Take in a DRBD reading; True if it says something new.

        The link counts as lost from the first reading that says so (later than it really was
        lost: that side is safe), and an unknown reading changes nothing about it.
        """
        changed = not says_the_same(drbd, self.drbd)
        self.drbd = drbd
        if isinstance(drbd, DrbdUnknown):
            return changed
        self.resync = resync.followed(self.resync, drbd, now_s, wall)
        detection_s = self.applied_detection_s
        self.standstill = standstill.followed(self.standstill, drbd, now_s, wall, detection_s)
        in_sync = isinstance(drbd, DrbdState) and drbd.in_sync
        self.in_sync_since_s = (self.in_sync_since_s or now_s) if in_sync else None
        away = isinstance(drbd, DrbdState) and drbd.without_data
        frozen = isinstance(drbd, DrbdState) and (drbd.frozen or (away and bool(drbd.suspended)))
        self.frozen_since_s = (self.frozen_since_s or now_s) if frozen else None
        self.without_data_since_s = (self.without_data_since_s or now_s) if away else None
        if isinstance(drbd, DrbdState) and drbd.connected:
            self.link_lost_at_s = self.link_lost_wall = None
        elif self.link_lost_at_s is None and not is_unclear(drbd):
            self.link_lost_at_s, self.link_lost_wall = now_s, wall
        return changed

    def observe_packets(self, drbd: DrbdView, node: NodeFacts, now_s: float) -> None:
        """Take in what a DRBD reading tells of the link's packets."""
        address = node.addresses.get(self.mirror.peer_of(node.host))
        well = acquits(self.view(node), drbd)
        self.packets = packets.followed(self.packets, drbd, address, acquits=well, now_s=now_s)

    def observe_domain(self, domain: DomainState) -> bool:
        """Take in the domain's state; True if it is another."""
        changed = domain is not self.domain
        if domain is DomainState.RUNNING:
            self.refusals = None
        self.domain = domain
        self.transit.saw(domain)
        if domain is DomainState.ABSENT and not self.starting:
            if not self.is_fencing:
                self.fence = None
            self.affirmed, self.dead_at_s, self.killed = self.lapses, None, False
            self.shutdown_sent_at_s, self.shutdown_heard = None, False
            if self.guest_gone:
                self.guest = None
        return changed

    def begins(self, now_s: float) -> None:
        """From here on the guest may run: what was seen of an earlier one says nothing of it."""
        self.starting, self.began_at_s, self.dead_at_s = True, now_s, None
        self.began_by = serial_of(self.guest)

    def observe_death(self, *, dead: bool, began_s: float) -> None:
        """Take in a look that found processes of the guest, and began then."""
        if began_s <= self.began_at_s:
            return
        if dead != (self.dead_at_s is not None):
            self.wake.set()
        self.dead_at_s = began_s if dead else None

    @property
    def is_fencing(self) -> bool:
        """A fence is under way; it demotes also after the guest is gone."""
        return self.fence_task is not None and not self.fence_task.done()

    @property
    def is_being_stopped(self) -> bool:
        """By a fence that is under way, or is to be tried again; or its plug was pulled."""
        return self.is_fencing or self.fence is not None or self.killed

    @property
    def has_crashed(self) -> bool:
        """Its loop or its fence met a bug, which ends the program (see ``crash_on_bug``)."""
        tasks = (task for task in (self.worker, self.fence_task) if task and task.done())
        return any(not task.cancelled() and task.exception() is not None for task in tasks)

    def fence_ended(self) -> None:
        """Its procedure has. Until the guest is gone it is latched."""
        if self.domain is DomainState.ABSENT and not self.starting:
            self.fence = None

    def observe_guest(self, guest: Guest | None) -> None:
        """Take in the guest's object. One that disappears while it runs is still known here."""
        self.guest_gone = guest is None
        if guest is not None and guest.metadata.uid != (self.guest and self.guest.metadata.uid):
            self.sent_guest = None  # this object was told nothing yet
            self.started_by = 0
        if serial_of(guest) != serial_of(self.guest) and not self.domain.may_run:
            self.steps = {}  # those were an earlier start's
        if _edited(guest, self.guest):
            self.refusals = None
        if (guest is not None or not self.may_run) and guest is not self.guest:
            self.guest = guest
            self.wake.set()

    def observe_event(self, event: DrbdEvent) -> None:
        """Take in what an event told about a moment that the next look may not see."""
        self.transit.told(event)
        if event.was_connected or not event.name:
            self.link_lost_at_s = self.link_lost_wall = None
            self.packets = self.packets.interrupted()
        if event.was_behind:
            self.was_behind = True
            self.behinds += 1
            self.in_sync_since_s = None
        self.wake.set()

    def observe_mirror(self, mirror: Mirror, *, listed: bool = False) -> None:
        """Take in a newer copy of the object; older ones (a lagging watch) are ignored.

        A list is taken as it is: an API that was restored from a backup must be seen.
        """
        other = mirror.metadata.uid != self.mirror.metadata.uid
        if mirror == self.mirror:
            return
        newer = mirror.metadata.revision >= self.mirror.metadata.revision
        if listed or other or newer:
            self.mirror = mirror
            if other:
                self.sent_replica = None  # this object was told nothing yet
            self.wake.set()

    @contextmanager
    def being_asked(self) -> Iterator[None]:
        """DRBD asks whether it may go on alone. It takes a moment to act on the answer, so the time
        that it has been frozen and nobody asked begins anew after it.
        """
        self.handlers += 1
        try:
            yield
        finally:
            self.handlers -= 1
            self.frozen_since_s = None

    def store_failed(self, why: str) -> None:
        """The record may hold the one or the other until a store succeeds."""
        self.record_unsure = True
        self.stores_failed += 1
        self.store_error = why

    def stored(self, record: Record) -> None:
        """It is on the disk."""
        self.record, self.record_unsure = record, False
        self.transit.noted(record)
        self.stores_failed, self.store_error = 0, ""

    @property
    def unrecorded(self) -> str:
        """Why it counts as a host that can keep no record; empty if it does not."""
        lasts = self.stores_failed >= STORES_TRIED
        return f"it can keep no durable record of the mirror: {self.store_error}" if lasts else ""

    def back_off(self, now_s: float) -> None:
        """After a failure: wait longer each time before the next try."""
        self.failures += 1
        self.not_before_s = now_s + min(0.25 * 2**self.failures, BACKOFF_MAX_S)


def _edited(new: Guest | None, old: Guest | None) -> bool:
    if new is None or old is None or new.metadata.uid != old.metadata.uid:
        return True
    return new.metadata.generation != old.metadata.generation or new.in_force != old.in_force
