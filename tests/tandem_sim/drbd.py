"""DRBD 8.4 on one host, as a state machine: roles, disks, freezing, promotion, the handler.

One ``Replica`` is what the kernel holds of one resource from attach to power-off; its ``Backing``s
outlive it. ``pair`` joins two of them. The behaviour is that of DRBD 8.4 with ``fencing
resource-and-stonith`` and protocol C. Called by ``host`` and ``driver``.
"""

from collections.abc import Callable, Generator, Mapping
from dataclasses import dataclass, field
from typing import Protocol

from tandem_actuator.core.model import (
    Connection,
    Disk,
    DrbdState,
    DrbdView,
    NotConfigured,
    Role,
    VolumeState,
)
from tandem_actuator.ports import CommandFailed
from tandem_sim.disk import Backing, better
from tandem_sim.kernel import Command, Sleep

GRANTED, PEER_IS_PRIMARY = 4, 6


def has_data(disk: Disk) -> bool:
    """Whether the disk is known to take writes."""
    return disk in (Disk.INCONSISTENT, Disk.CONSISTENT, Disk.UP_TO_DATE)


@dataclass
class Write:
    """One write of a guest. ``done`` is told whether it was acknowledged or failed."""

    number: int
    volume: str
    done: Callable[[bool], None]


@dataclass
class Volume:
    """What the kernel believes of one volume's two disks."""

    disk: Disk = Disk.DISKLESS
    peer_disk: Disk = Disk.UNKNOWN
    resyncing: bool = False


class Wire(Protocol):
    """What a replica needs of the pair that it belongs to."""

    def new_generation(self) -> int: ...
    def send(self, sender: "Replica", action: Callable[["Replica"], None]) -> None: ...
    def peer_now(self, replica: "Replica") -> "Replica | None": ...
    def hang_up(self, replica: "Replica") -> None: ...


@dataclass
class Replica:
    """One resource on one host. ``session`` is 0 without a connection."""

    host: str
    backings: Mapping[str, Backing]
    wire: Wire
    ask_handler: Callable[["Replica"], Generator[Command, bool, int]]
    start_handler: Callable[["Replica"], None]
    changed: Callable[["Replica"], None]
    say: Callable[[str], None]
    configured: bool = False
    role: Role = Role.SECONDARY
    connection: Connection = Connection.STANDALONE
    peer_role: Role = Role.UNKNOWN
    volumes: dict[str, Volume] = field(default_factory=dict)
    suspended: bool = False
    opened: bool = False
    session: int = 0
    connects: int = 0
    discard: bool = False
    in_flight: dict[int, Write] = field(default_factory=dict)
    blocked: list[Write] = field(default_factory=list)

    # -- looking

    def view(self, now_s: float) -> DrbdView:
        if not self.configured:
            return NotConfigured(now_s)
        return DrbdState(
            role=self.role,
            connection=self.connection,
            peer_role=self.peer_role,
            volumes={
                name: VolumeState(v.disk, v.peer_disk, 4096 if v.resyncing else 0, v.resyncing)
                for name, v in self.volumes.items()
            },
            queried_at_s=now_s,
            suspended=frozenset({"fencing"}) if self.suspended else frozenset(),
        )

    @property
    def connected(self) -> bool:
        return self.session != 0

    @property
    def behind(self) -> bool:
        return any(not better(v.disk, Disk.OUTDATED) for v in self.volumes.values())

    def holds(self, volume: str) -> set[int]:
        return self.backings[volume].data

    # -- configuration

    def attach(self) -> None:
        self.configured = True
        for name, backing in self.backings.items():
            disk = backing.attached_as()
            peer = Disk.OUTDATED if backing.peer_outdated else Disk.UNKNOWN
            self.volumes[name] = Volume(disk, peer)
            if backing.primary:
                backing.crashed_primary = True
        self._changed()

    def connect(self, *, discard: bool) -> None:
        if not self.configured:
            raise CommandFailed("no such resource")
        self.discard = discard
        if self.connection is Connection.STANDALONE:
            self.connection = Connection.CONNECTING
            self._changed()

    def disconnect(self) -> None:
        """Gracefully: the Secondary outdates itself, so the Primary needs to ask nobody."""
        if self.connected:
            peer = self.wire.peer_now(self)
            if peer is not None and self.role is Role.PRIMARY:
                peer.outdate()
                for volume in self.volumes.values():
                    volume.peer_disk = Disk.OUTDATED
            elif peer is not None and peer.role is Role.PRIMARY:
                self.outdate()
                peer.hear(self)
            self.say("disconnects gracefully")
            self.wire.hang_up(self)
        self.connection = Connection.STANDALONE
        self._changed()
        self._call_handler_if_alone()

    def outdate(self) -> None:
        for volume in self.volumes.values():
            if better(volume.disk, Disk.OUTDATED):
                volume.disk = Disk.OUTDATED
        self._changed()

    def fail_disk(self) -> None:
        """The devices give I/O errors from now on; DRBD detaches them."""
        for name, volume in self.volumes.items():
            self.backings[name].broken = True
            volume.disk, volume.resyncing = Disk.DISKLESS, False
        self.wire.send(self, lambda peer: peer.hear(self))
        self._changed()

    # -- the connection, told by the pair

    def hear(self, peer: "Replica") -> None:
        """The peer's state, from a packet.

        Whoever keeps the only copy while somebody writes begins a new generation, also a Secondary
        whose Primary has lost its disk.
        """
        self.peer_role = peer.role
        written = Role.PRIMARY in (self.role, peer.role)
        for name, volume in self.volumes.items():
            before, volume.peer_disk = volume.peer_disk, peer.volumes[name].disk
            gone = has_data(before) and not has_data(volume.peer_disk)
            if gone and written and volume.disk is Disk.UP_TO_DATE:
                self.backings[name].rotate(self.wire.new_generation())
        self._changed()

    def joined(self, session: int, peer: "Replica") -> None:
        """A handshake ended with both connected: frozen writes are sent again."""
        self.session, self.connection = session, Connection.CONNECTED
        self.connects += 1
        self.peer_role, self.discard = peer.role, False
        for name, volume in self.volumes.items():
            volume.peer_disk = peer.volumes[name].disk
        if self.suspended:
            self.suspended = False
            for write in list(self.in_flight.values()):
                self._replicate(write)
            self._start_blocked()
        self._changed()

    def lost(self) -> None:
        """The connection is gone, and this side knows it now."""
        self.session, self.peer_role = 0, Role.UNKNOWN
        if self.connection is not Connection.STANDALONE:
            self.connection = Connection.CONNECTING
        for volume in self.volumes.values():
            volume.resyncing = False
            if volume.peer_disk not in (Disk.INCONSISTENT, Disk.OUTDATED):
                volume.peer_disk = Disk.UNKNOWN
        if self.role is Role.PRIMARY:
            self._primary_lost_peer()
        self._changed()

    def _primary_lost_peer(self) -> None:
        usable = all(better(v.disk, Disk.UNKNOWN) for v in self.volumes.values())
        asks = any(better(v.peer_disk, Disk.OUTDATED) for v in self.volumes.values())
        if usable and asks:
            self.suspended = True
            self.say("freezes its writes and asks")
        else:
            self._go_on_alone(acknowledge=usable)
        self._call_handler_if_alone()

    def _call_handler_if_alone(self) -> None:
        asks = any(better(v.peer_disk, Disk.OUTDATED) for v in self.volumes.values())
        if self.role is Role.PRIMARY and not self.connected and asks and self.suspended:
            self.start_handler(self)

    def handler_answered(self, code: int, connects: int) -> None:
        """The link-loss handler's exit code. One that comes after the link was back is dropped."""
        if self.connected or connects != self.connects or not self.suspended:
            return
        if code != GRANTED:
            self.say(f"stays frozen (handler: {code})")
            return
        for volume in self.volumes.values():
            volume.peer_disk = Disk.OUTDATED
        self.say("goes on alone (handler: 4)")
        self._go_on_alone(acknowledge=True)
        self._changed()

    def thaw_for_rebooted_peer(self) -> None:
        """8.4: "can not thaw IO with an only Consistent peer": pending writes end, unasked."""
        self.say("met a rebooted peer while frozen: pending writes are acknowledged")
        self._go_on_alone(acknowledge=True)
        self._changed()

    def resume_io(self) -> None:
        self._go_on_alone(acknowledge=True)
        self._changed()

    def _go_on_alone(self, *, acknowledge: bool) -> None:
        self.suspended = False
        for backing in self.backings.values():
            backing.rotate(self.wire.new_generation())
        for write in list(self.in_flight.values()):
            self._end(write, acknowledge)
        self._start_blocked()

    # -- roles

    def promote(self, *, force: bool) -> Generator[Command, bool, None]:
        """Raises: CommandFailed."""
        yield Sleep(0.05)
        for _ in range(4):
            if self.role is Role.PRIMARY:
                return
            if self._may_be_promoted(force=force):
                self._promoted()
                return
            yield from self._fence_peer_first()
            yield Sleep(0.01)
        raise CommandFailed("promotion was refused")

    def _may_be_promoted(self, *, force: bool) -> bool:
        if self.connected:
            if self.peer_role is Role.PRIMARY:
                raise CommandFailed("multiple primaries not allowed by config")
            return all(Disk.UP_TO_DATE in (v.disk, v.peer_disk) for v in self.volumes.values())
        if any(not better(v.disk, Disk.FAILED) for v in self.volumes.values()):
            raise CommandFailed("need access to up-to-date data")
        current = all(v.disk is Disk.UP_TO_DATE for v in self.volumes.values())
        peer_out = not any(better(v.peer_disk, Disk.OUTDATED) for v in self.volumes.values())
        return force or (current and peer_out)

    def _fence_peer_first(self) -> Generator[Command, bool, None]:
        if any(not better(v.disk, Disk.UNKNOWN) for v in self.volumes.values()):
            raise CommandFailed("need access to up-to-date data")
        code = yield from self.ask_handler(self)
        if self.connected:
            return
        if code == PEER_IS_PRIMARY:
            self.outdate()
        if code != GRANTED:
            raise CommandFailed(f"fence-peer helper returned {code}")
        for volume in self.volumes.values():
            volume.peer_disk, volume.disk = Disk.OUTDATED, Disk.UP_TO_DATE
        self._changed()

    def _promoted(self) -> None:
        self.role = Role.PRIMARY
        for name, volume in self.volumes.items():
            if not self.connected:
                volume.disk = Disk.UP_TO_DATE
                self.backings[name].rotate(self.wire.new_generation())
                self.backings[name].crashed_primary = False
        self.say("is Primary")
        self.wire.send(self, lambda peer: peer.hear(self))
        self._changed()

    def demote(self) -> None:
        if self.role is Role.SECONDARY:
            return
        if self.opened or self.in_flight or self.blocked:
            raise CommandFailed("device is held open by someone")
        self.role, self.suspended = Role.SECONDARY, False
        self.say("is Secondary")
        self.wire.send(self, lambda peer: peer.hear(self))
        self._changed()

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
            self._start(write)

    def _start(self, write: Write) -> None:
        attached = better(self.volumes[write.volume].disk, Disk.NEGOTIATING)
        if attached:
            self.holds(write.volume).add(write.number)
        self.in_flight[write.number] = write
        if not self.connected:
            self._end(write, attached)
        else:
            self._replicate(write)

    def _replicate(self, write: Write) -> None:
        self.wire.send(self, lambda peer: peer.receive(write))

    def receive(self, write: Write) -> None:
        """A replicated write has arrived: store it, and say so."""
        if better(self.volumes[write.volume].disk, Disk.NEGOTIATING):
            self.holds(write.volume).add(write.number)
            self.wire.send(self, lambda peer: peer.heard_back(write, stored=True))
        else:
            self.wire.send(self, lambda peer: peer.heard_back(write, stored=False))

    def heard_back(self, write: Write, *, stored: bool) -> None:
        attached = better(self.volumes[write.volume].disk, Disk.NEGOTIATING)
        self._end(write, attached or stored)

    def _end(self, write: Write, acknowledged: bool) -> None:
        if self.in_flight.pop(write.number, None) is not None:
            write.done(acknowledged)

    # -- what is durable

    def _changed(self) -> None:
        self.save()
        self.changed(self)

    def save(self) -> None:
        """The flags in the metadata follow the state, as long as the disk takes them."""
        for name, volume in self.volumes.items():
            backing = self.backings[name]
            if backing.broken or not better(volume.disk, Disk.NEGOTIATING):
                continue
            backing.consistent = better(volume.disk, Disk.INCONSISTENT)
            backing.was_up_to_date = better(volume.disk, Disk.OUTDATED)
            backing.peer_outdated = volume.peer_disk in (Disk.INCONSISTENT, Disk.OUTDATED)
            backing.primary = self.role is Role.PRIMARY
