"""Two DRBD 8.4 hosts and the wire between them, in memory: the Drbd port for tests.

It keeps what Tandem's rules rest on (see the protocol's documentation for each): a Primary that
loses an up-to-date peer freezes and asks its fence-peer handler; a promotion of an isolated
Secondary asks it up to four times; a stored "peer is outdated" makes both unnecessary; a graceful
disconnect outdates the peer without asking anybody; generations decide who is resynchronised and
what is a split brain. Simplified: a resync takes no time, volumes always share one fate, and there
is one resource. The contract tests run the same cases over this and over real DRBD.
"""

import asyncio
import itertools
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping
from dataclasses import dataclass, field

from tandem_actuator.core.model import (
    Connection,
    Disk,
    DrbdState,
    DrbdUnknown,
    DrbdView,
    Metadata,
    NotConfigured,
    Role,
    VolumeState,
)
from tandem_actuator.ports import Clock, CommandFailed, DrbdEvent
from tandem_api.mirror import Mirror

Fence = Callable[[Mapping[str, str]], Awaitable[tuple[int, str]]]

PROMOTION_TRIES = 4
PEER_OUTDATED_CODES = frozenset({4, 5, 7})
PEER_INCONSISTENT_CODE = 3
OWN_OUTDATED_CODE = 6
JUST_CREATED = 0
USABLE = frozenset({Disk.CONSISTENT, Disk.UP_TO_DATE})
# A peer that is no better than this holds nothing that could be lost (8.4, pdsk <= D_OUTDATED).
HARMLESS = frozenset({Disk.DISKLESS, Disk.INCONSISTENT, Disk.OUTDATED})

_generations = itertools.count(1)


@dataclass
class Stored:
    """What is in the metadata, so that it survives a reboot.

    ``current`` names a generation of the data; ``bitmap`` the one that was last shared with the
    peer, if this side has been writing alone since.
    """

    current: int = JUST_CREATED
    bitmap: int | None = None
    consistent: bool = False
    outdated: bool = False
    peer_outdated: bool = False


@dataclass
class Wire:
    """The replication link of two hosts."""

    up: bool = True
    ends: "list[FakeDrbd]" = field(default_factory=list)

    def cut(self) -> None:
        """Silently, and noticed at once: detection takes no time here."""
        self.up = False
        for end in self.ends:
            end.link_lost()

    def heal(self) -> None:
        self.up = True
        if self.ends:
            self.ends[0].shake_hands()


class FakeDrbd:
    """One host."""

    def __init__(self, wire: Wire, clock: Clock, fence: Fence) -> None:
        self.wire, self.clock, self.fence = wire, clock, fence
        self.name = ""
        self.text: str | None = None
        self.stored: Stored | None = None
        self.attached = False
        self.disk = Disk.DISKLESS
        self.role = Role.SECONDARY
        self.connection = Connection.STANDALONE
        self.peer_disk = Disk.UNKNOWN
        self.frozen = False
        self.held_open = False
        self.hanging = False
        self.foreign_data = False
        self.dirty = False
        self.discarding = False
        self._events: asyncio.Queue[DrbdEvent] = asyncio.Queue()
        self._handlers: set[asyncio.Task[None]] = set()
        wire.ends.append(self)

    @property
    def peer(self) -> "FakeDrbd":
        return next(end for end in self.wire.ends if end is not self)

    @property
    def connected(self) -> bool:
        return self.connection is Connection.CONNECTED

    # --- the port

    async def query(self, mirror: Mirror) -> DrbdView:
        queried_at_s = self.clock.boottime_s()
        if self.hanging:
            return DrbdUnknown("DRBD did not answer")
        if not self.attached:
            return NotConfigured(queried_at_s)
        behind = 4096 if self.dirty else 0
        volume = VolumeState(
            self.disk, self.peer.disk if self.connected else self.peer_disk, behind
        )
        return DrbdState(
            role=self.role,
            connection=self.connection,
            peer_role=self.peer.role if self.connected else Role.UNKNOWN,
            volumes={v.name: volume for v in mirror.spec.volumes},
            queried_at_s=queried_at_s,
            suspended=frozenset({"fencing"}) if self.frozen else frozenset(),
        )

    async def events(self) -> AsyncIterator[DrbdEvent]:
        yield DrbdEvent("")
        while True:
            yield await self._events.get()

    async def configure(self, mirror: Mirror, text: str) -> bool:
        if f'resource "{mirror.drbd_name}"' not in text:
            raise CommandFailed("the configuration does not define the resource")
        changed = text != self.text
        self.name, self.text = mirror.drbd_name, text
        return changed

    async def adjust(self, mirror: Mirror) -> None:
        """There are no options here."""

    async def metadata(self, mirror: Mirror) -> Metadata:
        return Metadata.ABSENT if self.stored is None else Metadata.PRESENT

    async def create_metadata(self, mirror: Mirror) -> None:
        if self.stored is not None or self.foreign_data:
            raise CommandFailed("the device holds other data")
        self.stored = Stored()

    async def attach(self, mirror: Mirror) -> None:
        stored = self.stored
        if self.text is None or stored is None:
            raise CommandFailed("not configured, or no metadata")
        if self.attached:
            return
        self.attached, self.disk, self.peer_disk = True, Disk.INCONSISTENT, Disk.UNKNOWN
        if stored.peer_outdated:
            self.peer_disk = Disk.OUTDATED
        if stored.consistent:
            good = Disk.UP_TO_DATE if stored.peer_outdated else Disk.CONSISTENT
            self.disk = Disk.OUTDATED if stored.outdated else good
        self._tell()

    async def connect(self, mirror: Mirror, *, discard_my_data: bool) -> None:
        self._need_attached()
        if self.connection is not Connection.STANDALONE:
            if discard_my_data:
                raise CommandFailed("already connecting")
            return
        if discard_my_data and self.role is Role.PRIMARY:
            raise CommandFailed("a Primary cannot discard its data")
        self.connection, self.discarding = Connection.CONNECTING, discard_my_data
        self._tell()
        self.shake_hands()

    async def disconnect(self, mirror: Mirror) -> None:
        """Graceful: the Secondary of a Primary is outdated, and nobody is frozen or asked."""
        self._need_attached()
        was_connected, peer = self.connected, self.peer
        self.connection = Connection.STANDALONE
        if was_connected:
            peer.connection = Connection.CONNECTING
            self._part(peer)
            peer._part(self)
            peer._tell()
        elif self.frozen:
            self._ask_after_link_loss()
        self._tell()

    async def skip_first_sync(self, mirror: Mirror) -> None:
        pair = (self, self.peer)
        if not self.connected or any(end.role is Role.PRIMARY for end in pair):
            raise CommandFailed("only when connected, and Secondary on both sides")
        generation = next(_generations)
        for end in pair:
            end._become_current(generation)

    async def promote(self, mirror: Mirror, *, force: bool) -> None:
        self._need_attached()
        if self.role is Role.PRIMARY:
            return
        if self.connected and self.peer.role is Role.PRIMARY:
            raise CommandFailed("the peer is Primary")
        if self.disk not in USABLE and not force:
            raise CommandFailed(f"the disk is {self.disk}")
        if not self.connected and self.peer_disk not in HARMLESS and not force:
            await self._ask_for_promotion()
        self.role = Role.PRIMARY
        if force or not self.connected:
            self._become_current(self._stored.current)
        if not self.connected:
            self._write_alone()
        self._tell()

    async def demote(self, mirror: Mirror) -> None:
        self._need_attached()
        if self.held_open:
            raise CommandFailed("the device is held open by someone")
        self.role, self.frozen = Role.SECONDARY, False
        self._tell()

    async def resume_io(self, mirror: Mirror) -> None:
        self._need_attached()
        self._thaw()

    async def versions(self) -> Mapping[str, str]:
        return {"drbd": "8.4.11", "drbd-utils": "9.22.0"}

    # --- what happens to a host

    def write(self) -> bool:
        """A guest writes; whether the write was acknowledged."""
        if self.role is not Role.PRIMARY or self.frozen:
            return False
        if not self.connected:
            self._write_alone()
            self.dirty = True
        return True

    def reboot(self) -> None:
        """The machine is reset: only the metadata is left."""
        was_connected, peer = self.connected, self.peer
        self.attached, self.text = False, None
        self.disk, self.role = Disk.DISKLESS, Role.SECONDARY
        self.connection = Connection.STANDALONE
        self.frozen = self.held_open = self.dirty = False
        if was_connected:
            peer.link_lost()

    def link_lost(self) -> None:
        """The connection broke without a word."""
        if not self.connected:
            return
        self.connection = Connection.CONNECTING
        self.peer_disk = Disk.UNKNOWN if self.peer.disk not in HARMLESS else self.peer.disk
        if self.role is Role.PRIMARY:
            if self.peer_disk is Disk.UNKNOWN:
                self.frozen = True
                self._ask_after_link_loss()
            else:
                self._write_alone()
        self._tell()

    def shake_hands(self) -> None:
        """Connect if both ends want it and can reach each other."""
        both = (self, self.peer)
        if not self.wire.up or any(e.connection is not Connection.CONNECTING for e in both):
            return
        source = self._source()
        connected = source is not None and not all(e.role is Role.PRIMARY for e in both)
        for end in both:
            end.connection = Connection.CONNECTED if connected else Connection.STANDALONE
            end.discarding = False
        if connected and source is not None:
            source._bring_up_to_date()
        for end in both:
            end._tell()

    # --- inside

    @property
    def _stored(self) -> Stored:
        assert self.stored is not None
        return self.stored

    def _source(self) -> "FakeDrbd | None":
        """Whose data the other takes over; None for a split brain or unrelated data."""
        peer, mine, theirs = self.peer, self._stored, self.peer._stored
        if mine.current == theirs.current:
            return peer if self.disk not in USABLE and peer.disk in USABLE else self
        if theirs.bitmap == mine.current:
            return peer
        if mine.bitmap == theirs.current:
            return self
        if self.discarding:
            return peer
        return self if peer.discarding else None

    def _bring_up_to_date(self) -> None:
        """The resync, as the source."""
        if self._stored.current == JUST_CREATED:
            return
        for end in (self, self.peer):
            end._become_current(self._stored.current)
            end._stored.bitmap = None
            end._stored.peer_outdated = False
            end.dirty = False
            end._thaw()

    def _become_current(self, generation: int) -> None:
        stored = self._stored
        stored.current, stored.consistent, stored.outdated = generation, True, False
        self.disk = Disk.UP_TO_DATE

    def _write_alone(self) -> None:
        """The first write without the peer begins a generation of its own."""
        if self._stored.bitmap is None:
            self._stored.bitmap = self._stored.current
            self._stored.current = next(_generations)

    def _part(self, peer: "FakeDrbd") -> None:
        """After a graceful disconnect, for one of the two."""
        if self.role is Role.PRIMARY:
            self.peer_disk, self._stored.peer_outdated = Disk.OUTDATED, True
            self._write_alone()
        else:
            self.peer_disk = Disk.UNKNOWN
            if peer.role is Role.PRIMARY:
                self.disk, self._stored.outdated = Disk.OUTDATED, True

    def _thaw(self) -> None:
        if self.frozen:
            self.frozen = False
            self._tell()

    async def _ask(self) -> int:
        code, _ = await self.fence({"DRBD_RESOURCE": self.name})
        if code in PEER_OUTDATED_CODES:
            self.peer_disk, self._stored.peer_outdated = Disk.OUTDATED, True
        elif code == PEER_INCONSISTENT_CODE:
            self.peer_disk = Disk.INCONSISTENT
        return code

    async def _ask_for_promotion(self) -> None:
        for _ in range(PROMOTION_TRIES):
            code = await self._ask()
            if self.peer_disk in HARMLESS:
                return
            if code == OWN_OUTDATED_CODE:
                self.disk, self._stored.outdated = Disk.OUTDATED, True
                break
        raise CommandFailed("refusing to be Primary while peer is not outdated")

    def _ask_after_link_loss(self) -> None:
        task = asyncio.get_running_loop().create_task(self._link_loss_handler())
        self._handlers.add(task)
        task.add_done_callback(self._handlers.discard)

    async def _link_loss_handler(self) -> None:
        """Its result is dropped if the link came back meanwhile."""
        code, _ = await self.fence({"DRBD_RESOURCE": self.name})
        if self.connected or not self.frozen:
            return
        if code in PEER_OUTDATED_CODES or code == PEER_INCONSISTENT_CODE:
            outdated = code in PEER_OUTDATED_CODES
            self.peer_disk = Disk.OUTDATED if outdated else Disk.INCONSISTENT
            self._stored.peer_outdated = outdated
            self._write_alone()
            self._thaw()

    def _need_attached(self) -> None:
        if not self.attached:
            raise CommandFailed("unknown resource")

    def _tell(self) -> None:
        behind = self.attached and self.disk is not Disk.UP_TO_DATE
        event = DrbdEvent(self.name, was_connected=self.connected, was_behind=behind)
        self._events.put_nowait(event)
