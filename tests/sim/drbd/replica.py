"""DRBD on one host, as a state machine: roles, disks, freezing, promotion, the handler.

One ``Replica`` is what the kernel holds of one resource from attach to power-off; its ``Backing``s
outlive it. ``pair`` joins two of them. The behaviour is that of DRBD with ``fencing
resource-and-stonith``, ``on-no-data-accessible suspend-io`` and protocol C; ``conformance`` holds
it to what real kernels do, and ``version`` says what 8.4 and 9 do differently. As in the
kernel, what follows from a change of state is decided in one place, by what was before and what is
now (``change``). Called by ``host`` and ``ports``.
"""

from collections.abc import Callable, Collection, Generator, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Protocol

from sim.drbd import generations, hanging, parting, promotion, two_primaries
from sim.drbd.disk import Backing, better
from sim.drbd.state import (
    PEER_DISK_BY_CODE,
    PEER_IS_PRIMARY,
    Moment,
    Volume,
    Write,
    attached,
    may_be_current,
)
from sim.drbd.version import EIGHT, Version
from sim.engine.kernel import Command, Sleep
from tandem_actuator.core.drbd import DrbdState, DrbdView, NotConfigured
from tandem_actuator.core.sockets import Socket
from tandem_actuator.ports import CommandFailed
from tandem_api.kinds.mirror import Protocol as Replication
from tandem_api.vocabulary import Connection, DiskState, Role

COMMIT_LOOK_S = 0.05


class Wire(Protocol):
    """What a replica needs of the pair that it belongs to."""

    def new_generation(self) -> int: ...
    def send(
        self,
        sender: "Replica",
        action: Callable[["Replica"], None],
        *,
        large: bool = False,
        answers: bool = False,
    ) -> None: ...
    def peer_now(self, replica: "Replica") -> "Replica | None": ...
    def hang_up(self, replica: "Replica") -> None: ...
    def committing(self, replica: "Replica") -> bool: ...
    def parted(self, replica: "Replica") -> None: ...
    def sockets(self, replica: "Replica", boottime_s: float) -> tuple[Socket, ...] | None: ...
    def later(self, replica: "Replica", delay_s: float, action: Callable[[], None]) -> None: ...
    def between(self, soonest_s: float, latest_s: float) -> float: ...
    def given_up_s(self) -> float: ...


@dataclass
class Replica:
    """One resource on one host. ``session`` is 0 without a connection.

    ``asynchronous``: protocol A with ``fencing resource-only``: it asks, and does not freeze.
    ``two_primaries``: whether both may be Primary while they are connected.
    ``fencing`` and ``no_data``: why I/O is suspended, if it is.
    ``owed``: writes that wait for this side's disk alone: whether the peer has them, and whether
    they end well once it answers. ``arrived``: those of the peer that it has not answered.
    ``deciding``: a promotion waits for the handler; no handshake begins meanwhile. ``doubting``: it
    has lost a Primary this moment, and no handshake begins either.
    """

    host: str
    backings: Mapping[str, Backing]
    wire: Wire
    ask_handler: Callable[["Replica"], Generator[Command, bool, int]]
    start_handler: Callable[["Replica"], None]
    changed: Callable[["Replica"], None]
    say: Callable[[str], None]
    panic: Callable[[], None]
    version: Version = EIGHT
    asynchronous: bool = False
    two_primaries: bool = False
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
    doubting: bool = False
    in_flight: dict[int, Write] = field(default_factory=dict)
    blocked: list[Write] = field(default_factory=list)
    owed: dict[int, tuple[bool, bool]] = field(default_factory=dict)
    arrived: list[Write] = field(default_factory=list)

    # -- looking

    def use(self, *, asynchronous: bool) -> None:
        """Another protocol. A connection tells its other end, which follows."""
        self.asynchronous = asynchronous
        if self.connected:
            self.wire.send(self, lambda peer: setattr(peer, "asynchronous", asynchronous))

    def allow_two_primaries(self, *, allowed: bool) -> None:
        """Raises: CommandFailed."""
        two_primaries.allow(self, allowed=allowed)

    def view(self, now_s: float) -> DrbdView:
        if not self.configured or self.holds_nothing:
            return NotConfigured(now_s)
        return DrbdState(
            role=self.role,
            connection=self.connection,
            peer_role=self.peer_role,
            volumes={
                name: volume.view(hanging.traffic(self, name))
                for name, volume in self.volumes.items()
            },
            queried_at_s=now_s,
            suspended=self.reasons,
            protocol=self._protocol,
            sockets=self.wire.sockets(self, now_s),
        )

    @property
    def _protocol(self) -> Replication | None:
        """None while there is nothing to connect with."""
        if self.connection is Connection.STANDALONE or not self.version.tells_protocol:
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

    @property
    def without_data(self) -> bool:
        return self._moment().without_data

    @property
    def hangs(self) -> bool:
        """Whether a disk in use does not answer."""
        return any(self.backings[n].hangs and attached(v.disk) for n, v in self.volumes.items())

    @property
    def keeps_its_qemu(self) -> bool:
        """Whether something was asked of it that a disk which does not answer holds up."""
        return bool(self.in_flight) and any(one.hangs for one in self.backings.values())

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
        generations.begin(self, before)
        self.save()
        self.changed(self)

    def _thaw(self, before: Moment) -> None:
        """The end of a freeze: the peer is back, or it is fenced."""
        met = self.connected and not before.connected and self.suspended
        if met and self.without_data and not self.version.thaws_without_data:
            self.fencing = False
        elif met:
            self.fencing = self.no_data = False
            for volume in self.volumes.values():
                volume.generation_due = False
                alone = self.version.begins_with_next_write and not attached(volume.peer_disk)
                volume.begins_with_write |= alone
            for write in list(self.in_flight.values()):
                if not write.reads:
                    self._replicate(write)
            self._start_blocked()
        elif self.fencing and not self.connected and not self.peer_may_be_current:
            generations.begin_due(self)
            self.fencing = False
            self._end_pending()

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
                self.volumes[name] = Volume(disk, peer, crashed=crashed, ahead=backing.bits)
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
        """Raises: CommandFailed."""
        parting.disconnect(self)

    def outdate(self) -> None:
        """Raises: CommandFailed."""
        parting.outdate(self)

    def fail_disk(self, names: Collection[str]) -> None:
        """These devices give I/O errors from now on; DRBD detaches them."""
        with self.change():
            for name in names:
                self.backings[name].broken = True
                if name in self.volumes:
                    volume = self.volumes[name]
                    volume.disk, volume.resyncing = DiskState.DISKLESS, False
        self.wire.send(self, lambda peer: peer.hear(self))
        if self.peer_role is not Role.PRIMARY:
            self._part_without_any_disk()

    def _part_without_any_disk(self) -> None:
        """Who is Primary then gives up, if its version does."""
        gone = any(
            not attached(v.disk) and not attached(v.peer_disk) for v in self.volumes.values()
        )
        gives_up = self.version.primary_without_any_disk_parts and self.role is Role.PRIMARY
        if gone and gives_up and self.connected:
            self.connection = Connection.STANDALONE
            self.wire.hang_up(self)

    # -- the connection, told by the pair

    def hear(self, peer: "Replica") -> None:
        """The peer's state, from a packet."""
        with self.change():
            self.peer_role = peer.role
            for name, volume in self.volumes.items():
                volume.peer_disk = peer.volumes[name].disk
                if not attached(volume.peer_disk):
                    volume.resyncing = False
        self._part_without_any_disk()

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
                volume.begins_with_write &= not attached(volume.peer_disk)
                volume.met |= not attached(volume.disk)
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
        survives = self.role is Role.SECONDARY and self.peer_role is Role.PRIMARY
        self.wire.parted(self)
        with self.change():
            self.session = 0
            if self.connection is not Connection.STANDALONE:
                self.connection = Connection.CONNECTING
            if survives and self.version.survivor_doubts_s is not None:
                self._doubt(*self.version.survivor_doubts_s)
        if not self.suspended:
            self._end_pending()
        if self.role is Role.PRIMARY and self.peer_may_be_current:
            self._ask()

    def _doubt(self, soonest_s: float, latest_s: float) -> None:
        """For a moment its data may be stale, as far as it knows."""
        doubted = [v for v in self.volumes.values() if v.disk is DiskState.UP_TO_DATE]
        for volume in doubted:
            volume.disk = DiskState.CONSISTENT

        def sure() -> None:
            self.doubting = False
            with self.change():
                for volume in doubted:
                    if volume.disk is DiskState.CONSISTENT:
                        volume.disk = DiskState.UP_TO_DATE

        if doubted:
            self.doubting = True
            self.wire.later(self, self.wire.between(soonest_s, latest_s), sure)

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
            parting.mark_outdated(self)
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
        for write in [one for one in self.in_flight.values() if not one.reads]:
            self._end(write, attached(self.volumes[write.volume].disk))
        generations.begin_due(self)
        self.lost()

    def resume_io(self) -> None:
        with self.change():
            generations.begin_due(self)
            self.fencing = self.no_data = False
        if not self.connected or any(not attached(v.disk) for v in self.volumes.values()):
            self._end_pending()
        self._start_blocked()

    # -- roles

    def promote(self, *, force: bool) -> Generator[Command, bool, None]:
        """Raises: CommandFailed."""
        return promotion.promote(self, force=force)

    def turn(self) -> Generator[Command, bool, None]:
        """Until a change of state may begin: where both must agree, as soon as both can."""
        commits = self.version.commit_timeout_s is not None
        while self.hangs or (commits and self.wire.committing(self)):
            yield Sleep(COMMIT_LOOK_S)

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
        elif self._holds_back(write):
            self.blocked.append(write)
            self.wire.later(self, COMMIT_LOOK_S, self._try_blocked)
        else:
            self._start(write)

    def _holds_back(self, write: Write) -> bool:
        """9 waits for a peer that is connected and does not answer; longest with a first write."""
        limit_s = self.version.unheard_write_waits_s
        if limit_s is None or not self.wire.committing(self):
            return False
        write.waited_s += COMMIT_LOOK_S
        return self.volumes[write.volume].cold or write.waited_s < limit_s

    def _try_blocked(self) -> None:
        if not self.suspended:
            self._start_blocked()

    def _start_blocked(self) -> None:
        blocked, self.blocked = self.blocked, []
        for write in blocked:
            self.submit(write)

    def _start(self, write: Write) -> None:
        if hanging.has_to_read(self, write):
            self.in_flight[write.number] = write
            return
        self.volumes[write.volume].cold = False
        self.volumes[write.volume].moved += 1
        if attached(self.volumes[write.volume].disk):
            self.holds(write.volume).add(write.number)
        self.in_flight[write.number] = write
        self._replicate(write)

    def _replicate(self, write: Write) -> None:
        """To a peer that has a disk for it; else it ends with what this side did."""
        volume = self.volumes[write.volume]
        if self.connected and attached(volume.peer_disk):
            self.wire.send(self, lambda peer: peer.receive(write), large=True)
            if self.asynchronous and attached(volume.disk):
                write.answer_early()
        else:
            generations.before_a_write(self, write.volume)
            volume.ahead += 1
            self._end(write, attached(volume.disk))

    def receive(self, write: Write) -> None:
        """A replicated write has arrived: store it, and say so."""
        self.volumes[write.volume].moved += 1
        if hanging.owes(self, write):
            hanging.arrived(self, write)
            return
        generations.before_a_write(self, write.volume)
        stored = attached(self.volumes[write.volume].disk)
        if stored:
            self.holds(write.volume).add(write.number)
        heard = lambda peer: peer.heard_back(write, stored=stored)  # noqa: E731
        self.wire.send(self, heard, answers=True)

    def heard_back(self, write: Write, *, stored: bool) -> None:
        here = attached(self.volumes[write.volume].disk)
        self._end(write, stored or here, at_peer=stored)

    def _end_pending(self) -> None:
        """Without the peer: what this side has stored is acknowledged, the rest fails."""
        for write in [one for one in self.in_flight.values() if not one.reads]:
            generations.before_a_write(self, write.volume)
            self._end(write, attached(self.volumes[write.volume].disk))
        self._start_blocked()

    def _end(self, write: Write, acknowledged: bool, *, at_peer: bool = False) -> None:
        if write.number not in self.in_flight:
            return
        if hanging.owes(self, write):
            self.owed[write.number] = (at_peer, acknowledged)
        else:
            self.ended(write, acknowledged)

    def ended(self, write: Write, acknowledged: bool) -> None:
        """Nothing is left to wait for."""
        del self.in_flight[write.number]
        self.volumes[write.volume].written += 1
        self.volumes[write.volume].moved += 1
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
