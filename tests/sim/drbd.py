"""DRBD 8.4 on one host, as a state machine: roles, disks, freezing, promotion, the handler.

One ``Replica`` is what the kernel holds of one resource from attach to power-off; its ``Backing``s
outlive it. ``pair`` joins two of them. The behaviour is that of DRBD 8.4 with ``fencing
resource-and-stonith``, ``on-no-data-accessible suspend-io`` and protocol C; ``conformance`` holds
it to what real kernels do. As in the kernel, what follows from a change of state is decided in one
place, by what was before and what is now (``change``). Called by ``host`` and ``driver``.
"""

from collections.abc import Callable, Collection, Generator, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Protocol

from sim import drbd_promotion
from sim.disk import Backing, better
from sim.drbd_state import (
    PEER_DISK_BY_CODE,
    PEER_IS_PRIMARY,
    Moment,
    Volume,
    Write,
    attached,
    lost_contact,
    may_be_current,
)
from sim.kernel import Command
from tandem_actuator.core.model import DrbdState, DrbdView, NotConfigured
from tandem_actuator.ports import CommandFailed
from tandem_api.kinds.mirror import Protocol as Replication
from tandem_api.vocabulary import Connection, DiskState, Role


class Wire(Protocol):
    """What a replica needs of the pair that it belongs to."""

    def new_generation(self) -> int: ...
    def send(self, sender: "Replica", action: Callable[["Replica"], None]) -> None: ...
    def peer_now(self, replica: "Replica") -> "Replica | None": ...
    def hang_up(self, replica: "Replica") -> None: ...


@dataclass
class Replica:
    """One resource on one host. ``session`` is 0 without a connection.

    ``asynchronous``: protocol A with ``fencing resource-only``: it asks, and does not freeze.
    ``fencing`` and ``no_data``: why I/O is suspended, if it is.
    ``deciding``: a promotion waits for the handler; no handshake begins meanwhile.
    """

    host: str
    backings: Mapping[str, Backing]
    wire: Wire
    ask_handler: Callable[["Replica"], Generator[Command, bool, int]]
    start_handler: Callable[["Replica"], None]
    changed: Callable[["Replica"], None]
    say: Callable[[str], None]
    panic: Callable[[], None]
    asynchronous: bool = False
    configured: bool = False
    role: Role = Role.SECONDARY
    connection: Connection = Connection.STANDALONE
    peer_role: Role = Role.UNKNOWN
    volumes: dict[str, Volume] = field(default_factory=dict)
    fencing: bool = False
    no_data: bool = False
    opened: bool = False
    session: int = 0
    connects: int = 0
    discard: bool = False
    sync_paused: bool = False
    deciding: bool = False
    in_flight: dict[int, Write] = field(default_factory=dict)
    blocked: list[Write] = field(default_factory=list)

    # -- looking

    def use(self, *, asynchronous: bool) -> None:
        """Another protocol. A connection tells its other end, which follows."""
        self.asynchronous = asynchronous
        if self.connected:
            self.wire.send(self, lambda peer: setattr(peer, "asynchronous", asynchronous))

    def view(self, now_s: float) -> DrbdView:
        if not self.configured or self.holds_nothing:
            return NotConfigured(now_s)
        return DrbdState(
            role=self.role,
            connection=self.connection,
            peer_role=self.peer_role,
            volumes={name: volume.view() for name, volume in self.volumes.items()},
            queried_at_s=now_s,
            suspended=self.reasons,
            protocol=self._protocol,
        )

    @property
    def _protocol(self) -> Replication | None:
        """None while there is nothing to connect with."""
        if self.connection is Connection.STANDALONE:
            return None
        return Replication.A if self.asynchronous else Replication.C

    @property
    def holds_nothing(self) -> bool:
        """A resource without a disk, a connection and a role counts as none."""
        idle = self.role is Role.SECONDARY and self.connection is Connection.STANDALONE
        return idle and all(v.disk is DiskState.DISKLESS for v in self.volumes.values())

    @property
    def reasons(self) -> frozenset[str]:
        """Why I/O is suspended, in DRBD's words."""
        return frozenset(["fencing"] * self.fencing + ["no-data"] * self.no_data)

    @property
    def suspended(self) -> bool:
        return self.fencing or self.no_data

    @property
    def connected(self) -> bool:
        return self.session != 0

    @property
    def behind(self) -> bool:
        return any(not better(v.disk, DiskState.OUTDATED) for v in self.volumes.values())

    def holds(self, volume: str) -> set[int]:
        return self.backings[volume].data

    def _moment(self) -> Moment:
        disks = {name: (v.disk, v.peer_disk) for name, v in self.volumes.items()}
        return Moment(self.role, self.peer_role, self.connected, disks)

    # -- every change of state

    @contextmanager
    def change(self) -> Iterator[None]:
        """Around a change: what it implies, what is stored of it, and what follows from it."""
        before = self._moment()
        yield
        if not self.connected:
            self.peer_role = Role.UNKNOWN
            for volume in self.volumes.values():
                volume.resyncing = False
                if volume.peer_disk not in (DiskState.INCONSISTENT, DiskState.OUTDATED):
                    volume.peer_disk = DiskState.UNKNOWN
        after = self._moment()
        asks = after.must_ask and not before.must_ask
        self.fencing |= asks and not self.asynchronous
        self.no_data |= after.without_data and not before.without_data
        self.save()
        self._thaw(before)
        self._begin_generations(before)
        self.save()
        self.changed(self)

    def _begin_generations(self, before: Moment) -> None:
        """Who keeps the only copy while somebody writes begins a new generation of the data."""
        for name, volume in self.volumes.items():
            if volume.disk is not DiskState.UP_TO_DATE or self.backings[name].bitmap:
                continue
            lost = lost_contact(before.peer_disk(name), volume.peer_disk)
            if lost and Role.PRIMARY in (self.role, self.peer_role):
                if self.suspended:
                    volume.generation_due = True
                else:
                    self.rotate(name)
            diskless_peer = not better(volume.peer_disk, DiskState.NEGOTIATING)
            promoted = self.peer_role is Role.PRIMARY and before.peer_role is not Role.PRIMARY
            if diskless_peer and promoted:
                self.rotate(name)

    def rotate(self, name: str) -> None:
        self.backings[name].rotate(self.wire.new_generation())
        self.wire.send(self, lambda peer: peer.learn_generation(name, self))

    def learn_generation(self, name: str, peer: "Replica") -> None:
        """The peer's current generation. Without a disk of one's own it is the one to work with."""
        if not attached(self.volumes[name].disk) and self.role is Role.PRIMARY:
            self.volumes[name].expects = peer.backings[name].current

    def _thaw(self, before: Moment) -> None:
        """The end of a freeze: the peer is back, or it is fenced."""
        if self.connected and not before.connected and self.suspended:
            self.fencing = self.no_data = False
            for volume in self.volumes.values():
                volume.generation_due = False
            for write in list(self.in_flight.values()):
                self._replicate(write)
            self._start_blocked()
        elif self.fencing and not self.connected and not self.peer_may_be_current:
            self._begin_due_generations()
            self.fencing = False
            self._end_pending()

    def _begin_due_generations(self) -> None:
        for name, volume in self.volumes.items():
            if volume.generation_due and attached(volume.disk):
                self.rotate(name)
            elif volume.generation_due:
                volume.expects = self.wire.new_generation()
            volume.generation_due = False

    # -- configuration

    def attach(self) -> None:
        """Raises: CommandFailed."""
        if any(attached(v.disk) for v in self.volumes.values()):
            raise CommandFailed("device is attached to a disk (use detach first)")
        self.configured = True
        with self.change():
            for name, backing in self.backings.items():
                disk = backing.attached_as()
                if name in self.volumes and not attached(disk):
                    continue  # it stays as it is, and so does what is known of the peer
                peer = DiskState.OUTDATED if backing.peer_outdated else DiskState.UNKNOWN
                crashed = backing.primary or backing.crashed_primary
                self.volumes[name] = Volume(disk, peer, crashed=crashed)
        if any(not attached(v.disk) for v in self.volumes.values()):
            raise CommandFailed("cannot read the metadata")

    def connect(self, *, discard: bool) -> None:
        if not self.configured:
            raise CommandFailed("no such resource")
        if discard and self.role is Role.PRIMARY:
            raise CommandFailed("a Primary cannot discard its data")
        self.discard = discard
        if self.connection is Connection.STANDALONE:
            with self.change():
                self.connection = Connection.CONNECTING

    def disconnect(self) -> None:
        """Gracefully: the Secondary outdates itself, so the Primary needs to ask nobody.

        Raises: CommandFailed.
        """
        if self.connection is Connection.STANDALONE:
            return
        peer = self.wire.peer_now(self)
        if peer is not None and not self._cannot_outdate(peer):
            self._agree_to_part(peer)
        self.say("disconnects gracefully")
        self.connection = Connection.STANDALONE
        self.wire.hang_up(self)

    def _cannot_outdate(self, peer: "Replica") -> bool:
        """Nothing can be outdated without a disk: a Primary then just loses the connection."""
        diskless = any(not attached(v.disk) for v in self.volumes.values())
        return diskless and self.role is Role.SECONDARY and peer.role is Role.PRIMARY

    def _agree_to_part(self, peer: "Replica") -> None:
        for one in (self, peer):
            would_lack = any(v.disk is not DiskState.UP_TO_DATE for v in one.volumes.values())
            if one.role is Role.PRIMARY and would_lack and not one._moment().without_data:
                raise CommandFailed("need access to up-to-date data")
        for one, two in ((self, peer), (peer, self)):
            if one.role is Role.PRIMARY:
                two._outdate()
                with one.change():
                    for name, volume in one.volumes.items():
                        volume.peer_disk = two.volumes[name].disk
                        if attached(volume.disk) and not attached(volume.peer_disk):
                            volume.peer_disk = DiskState.OUTDATED

    def outdate(self) -> None:
        """By hand; who is connected stays current. Raises: CommandFailed."""
        if any(not better(v.disk, DiskState.INCONSISTENT) for v in self.volumes.values()):
            raise CommandFailed("disk state is lower than outdated")
        if self.connected:
            return
        if self.role is Role.PRIMARY:
            raise CommandFailed("a Primary alone needs its data")
        self._outdate()

    def _outdate(self) -> None:
        with self.change():
            for volume in self.volumes.values():
                if better(volume.disk, DiskState.OUTDATED):
                    volume.disk = DiskState.OUTDATED

    def fail_disk(self, names: Collection[str]) -> None:
        """These devices give I/O errors from now on; DRBD detaches them."""
        with self.change():
            for name in names:
                self.backings[name].broken = True
                if name in self.volumes:
                    volume = self.volumes[name]
                    volume.disk, volume.resyncing = DiskState.DISKLESS, False
        self.wire.send(self, lambda peer: peer.hear(self))

    # -- the connection, told by the pair

    def hear(self, peer: "Replica") -> None:
        """The peer's state, from a packet."""
        with self.change():
            self.peer_role = peer.role
            for name, volume in self.volumes.items():
                volume.peer_disk = peer.volumes[name].disk
                if not attached(volume.peer_disk):
                    volume.resyncing = False

    def joined(
        self, session: int, peer: Role, disks: Mapping[str, tuple[DiskState, DiskState]]
    ) -> None:
        """A handshake ended with both connected: frozen writes are sent again."""
        with self.change():
            self.session, self.connection = session, Connection.CONNECTED
            self.connects += 1
            self.peer_role, self.discard = peer, False
            for name, volume in self.volumes.items():
                volume.disk, volume.peer_disk = disks[name]
                volume.resyncing = set(disks[name]) == {
                    DiskState.INCONSISTENT,
                    DiskState.UP_TO_DATE,
                }

    def glimpsed(self, uncompared: Collection[str]) -> None:
        """The peer refused after this side had taken it for connected: what was stored is gone.

        Next to a peer without a disk there is nothing to compare: this side counts as current then.
        """
        with self.change():
            for name, volume in self.volumes.items():
                volume.peer_disk = DiskState.UNKNOWN
                if name in uncompared and better(volume.disk, DiskState.INCONSISTENT):
                    volume.disk = DiskState.UP_TO_DATE
        self.lost()

    def refused(self) -> None:
        """This side found a reason not to connect: it stands alone."""
        self.connection = Connection.STANDALONE
        self.lost()

    def lost(self) -> None:
        """The connection is gone or did not come about, and this side knows it now."""
        with self.change():
            self.session = 0
            if self.connection is not Connection.STANDALONE:
                self.connection = Connection.CONNECTING
        if not self.suspended:
            self._end_pending()
        if self.role is Role.PRIMARY and self.peer_may_be_current:
            self._ask()

    @property
    def peer_may_be_current(self) -> bool:
        return any(may_be_current(v.peer_disk) for v in self.volumes.values())

    @property
    def may_ask(self) -> bool:
        """DRBD asks only for a disk that is at least Consistent: no other is worth protecting."""
        return any(better(v.disk, DiskState.UNKNOWN) for v in self.volumes.values())

    def _ask(self) -> None:
        """Start the handler; with nothing to protect the freeze ends without it."""
        if self.may_ask:
            self.say("asks whether it may go on alone")
            self.start_handler(self)
            return
        self.fencing = False
        if not self.suspended:
            self._end_pending()

    def handler_answered(self, code: int, connects: int) -> None:
        """The link-loss handler's exit code. One that comes after the link was back is dropped."""
        if self.connected or connects != self.connects:
            return
        self.heed(code)
        state = "stays frozen" if self.suspended else "goes on alone"
        self.say(f"{state} (handler: {code})")

    def heed(self, code: int) -> bool:
        """Apply an exit code. Whether the peer is out."""
        peer_disk = PEER_DISK_BY_CODE.get(code)
        if code == 5 and not any(v.disk is DiskState.UP_TO_DATE for v in self.volumes.values()):
            peer_disk = None
        if code == PEER_IS_PRIMARY and self.role is Role.SECONDARY:
            self._outdate()
        if peer_disk is not None:
            with self.change():
                for volume in self.volumes.values():
                    volume.peer_disk = peer_disk
        return not self.peer_may_be_current

    def abort_connect(self) -> None:
        """8.4: "can not thaw IO with an only Consistent peer": pending writes end, unasked.

        The new generation goes to the disk without a look at whether there is one: a kernel whose
        disk has failed meanwhile panics.
        """
        if any(v.generation_due and not attached(v.disk) for v in self.volumes.values()):
            self.panic()
            return
        self.say("met a rebooted peer while frozen: pending writes are acknowledged")
        for write in list(self.in_flight.values()):
            self._end(write, attached(self.volumes[write.volume].disk))
        self._begin_due_generations()
        self.lost()

    def resume_io(self) -> None:
        with self.change():
            self._begin_due_generations()
            self.fencing = self.no_data = False
        if not self.connected or any(not attached(v.disk) for v in self.volumes.values()):
            self._end_pending()
        self._start_blocked()

    # -- roles

    def promote(self, *, force: bool) -> Generator[Command, bool, None]:
        """Raises: CommandFailed."""
        return drbd_promotion.promote(self, force=force)

    def demote(self) -> None:
        if self.opened or self.in_flight or self.blocked:
            raise CommandFailed("device is held open by someone")
        with self.change():
            self.role = Role.SECONDARY
        self.say("is Secondary")
        self.wire.send(self, lambda peer: peer.hear(self))

    # -- writing

    def submit(self, write: Write) -> None:
        """A guest writes. It hears of the end through ``write.done``, or never."""
        assert self.role is Role.PRIMARY, "a guest writes to a device that is not Primary"
        if self.suspended:
            self.blocked.append(write)
        else:
            self._start(write)

    def _start_blocked(self) -> None:
        blocked, self.blocked = self.blocked, []
        for write in blocked:
            self.submit(write)

    def _start(self, write: Write) -> None:
        if attached(self.volumes[write.volume].disk):
            self.holds(write.volume).add(write.number)
        self.in_flight[write.number] = write
        self._replicate(write)

    def _replicate(self, write: Write) -> None:
        """To a peer that has a disk for it; else it ends with what this side did."""
        volume = self.volumes[write.volume]
        if self.connected and attached(volume.peer_disk):
            self.wire.send(self, lambda peer: peer.receive(write))
            if self.asynchronous:
                write.answer_early(attached(volume.disk))
        else:
            volume.ahead += 1
            self._end(write, attached(volume.disk))

    def receive(self, write: Write) -> None:
        """A replicated write has arrived: store it, and say so."""
        stored = attached(self.volumes[write.volume].disk)
        if stored:
            self.holds(write.volume).add(write.number)
        self.wire.send(self, lambda peer: peer.heard_back(write, stored=stored))

    def heard_back(self, write: Write, *, stored: bool) -> None:
        self._end(write, stored or attached(self.volumes[write.volume].disk))

    def _end_pending(self) -> None:
        """Without the peer: what this side has stored is acknowledged, the rest fails."""
        for write in list(self.in_flight.values()):
            self._end(write, attached(self.volumes[write.volume].disk))
        self._start_blocked()

    def _end(self, write: Write, acknowledged: bool) -> None:
        if self.in_flight.pop(write.number, None) is not None:
            write.done(acknowledged)

    # -- what is durable

    def save(self) -> None:
        """The flags in the metadata follow the state, as long as the disk takes them."""
        for name, volume in self.volumes.items():
            backing = self.backings[name]
            if backing.broken or not attached(volume.disk):
                continue
            backing.crashed_primary = volume.crashed
            backing.consistent = better(volume.disk, DiskState.INCONSISTENT)
            backing.was_up_to_date = better(volume.disk, DiskState.OUTDATED)
            backing.peer_outdated = volume.peer_disk in (DiskState.INCONSISTENT, DiskState.OUTDATED)
            diskless_primary = self.peer_role is Role.PRIMARY and not attached(volume.peer_disk)
            backing.primary = self.role is Role.PRIMARY or diskless_primary
            if better(volume.disk, DiskState.OUTDATED):
                volume.expects = backing.current
