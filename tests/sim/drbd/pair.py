"""The connection between the two replicas of a mirror: packets, loss, handshake, resync.

A link that is cut is noticed by each side on its own, within DRBD's detection time. A handshake
compares generations; the side that lags is copied to (``resync``). Called by ``host`` and
``world``.
"""

from collections.abc import Callable, Collection, Generator
from dataclasses import dataclass, field
from itertools import count

from sim.drbd import resync
from sim.drbd.disk import JUST_CREATED, MIRRORED, Direction, better, compare
from sim.drbd.replica import Replica
from sim.drbd.state import attached
from sim.engine.kernel import Command, Group, Kernel, Signal, Sleep, WaitFor
from sim.network.links import REPLICATION, Network
from sim.network.tcp import Tcp
from tandem_actuator.core.sockets import Socket
from tandem_actuator.ports import CommandFailed
from tandem_api.timing import timers_within
from tandem_api.vocabulary import Connection, DiskState, Role

TICK_S = 0.05
LATENCY_S = (0.0005, 0.003)
GIVES_UP_WITHIN_S = 2.0
"""So much later than its timers say a Primary may give a peer up."""
AGES_S = 3600.0


@dataclass
class Side:
    """One end: its host's group, and how much longer it will not notice that the link is dead."""

    group: Group
    replica: Replica | None = None
    notices_in_s: float | None = None

    @property
    def awake(self) -> bool:
        return self.group.awake


@dataclass
class Pair:
    """Both ends. ``backlog`` holds packets of a connection whose path is dead but not noticed.

    ``next_copy``: how the next one ends. ``stalled``: what would end those that did not.
    ``commits_until_s``: a handshake that neither side gives up keeps every change of state waiting.
    ``stuck``: hosts whose connection has lost a large packet, and the session: it is sent again and
    again, and what comes after it waits, but for answers and pings, which have a connection of
    their own.
    """

    kernel: Kernel
    network: Network
    detection_s: float
    resync_s: float
    sides: dict[str, Side] = field(default_factory=dict)
    say: Callable[[str], None] = lambda what: None
    happened: Callable[[str, str], None] = lambda host, moment: None
    arrivals: dict[str, float] = field(default_factory=dict)
    backlog: list[Callable[[], None]] = field(default_factory=list)
    sessions: "count[int]" = field(default_factory=lambda: count(1))
    next_copy: resync.CopyEnds = resync.CopyEnds.WELL
    stalled: list[Callable[[], None]] = field(default_factory=list)
    stirred: Signal = field(default_factory=Signal)
    commits_until_s: float = 0.0
    addresses: dict[str, str] = field(default_factory=dict)
    stuck: dict[str, int] = field(default_factory=dict)

    def __post_init__(self) -> None:
        self.tcp = Tcp(self.kernel, self._passes)
        self.network.changed.append(self.stir)

    def stir(self) -> None:
        """Something has changed that both ends may have to notice."""
        self.tcp.settle()
        self.stirred.give()

    def add(self, host: str) -> None:
        """One end, switched off."""
        self.sides[host] = Side(Group(f"{host} off", alive=False))

    def powered(self, host: str, group: Group, *, hides_sockets: bool = False) -> None:
        """The host was switched on: its end lives and dies with this group."""
        self.sides[host].group = group
        self.tcp.rebooted(host, hidden=hides_sockets)
        group.told.append(self.stir)
        self.stir()

    def present(self, host: str, replica: Replica | None) -> None:
        """The host's kernel has, or no longer has, the resource."""
        self.sides[host].replica = replica
        self.stir()

    def sockets(self, replica: Replica, boottime_s: float) -> tuple[Socket, ...] | None:
        """Those of this end, as its kernel tells."""
        peer = next(host for host in self.sides if host != replica.host)
        rate = self.sides[replica.host].group.rate
        return self.tcp.sockets(replica.host, self.addresses.get(peer, peer), boottime_s, rate)

    def parted(self, replica: Replica) -> None:
        """This end has closed its sockets."""
        self.tcp.closed(replica.host)

    def new_generation(self) -> int:
        return self.kernel.number("generation")

    def other(self, replica: Replica) -> Side:
        return next(side for host, side in self.sides.items() if host != replica.host)

    def path_up(self) -> bool:
        awake = all(side.awake for side in self.sides.values())
        return awake and self.network.up(REPLICATION, *self.sides)

    def _passes(self, sender: str) -> bool:
        """Whether a packet of this host gets to the other."""
        receiver = next(host for host in self.sides if host != sender)
        awake = all(side.awake for side in self.sides.values())
        return awake and self.network.passes(REPLICATION, sender, receiver)

    # -- packets

    def send(
        self,
        sender: Replica,
        action: Callable[[Replica], None],
        *,
        large: bool = False,
        answers: bool = False,
    ) -> None:
        """To the peer, if connected. It arrives, or waits in the network, or is lost."""
        session, side = sender.session, self.other(sender)
        if not session:
            return

        def arrive() -> None:
            if self._passes(sender.host):
                self._flush()  # what waits was sent earlier
            peer = side.replica
            if sender.session != session or peer is None or peer.session != session:
                return
            stuck = not answers and self._gets_stuck(sender, session, large=large)
            if self._passes(sender.host) and not stuck:
                action(peer)
            else:
                self.backlog.append(arrive)
                self.stir()

        # In order, as TCP delivers.
        delay_s = self.network.delay_s.get((REPLICATION, sender.host), 0.0)
        soonest_s = self.arrivals.get(sender.host, 0.0)
        at_s = max(soonest_s, self.kernel.now_s + delay_s + self.kernel.between(*LATENCY_S))
        self.arrivals[sender.host] = at_s
        self.kernel.at(at_s, side.group, arrive)

    def given_up_s(self) -> float:
        """How long a Primary waits for a peer that has a write and does not answer."""
        least_s = timers_within(self.detection_s).gives_up_s
        return self.between(least_s, least_s + GIVES_UP_WITHIN_S)

    def _gets_stuck(self, sender: Replica, session: int, *, large: bool) -> bool:
        """Whether it waits behind a large packet, or is one. A Primary gives its peer up then."""
        behind = self.stuck.get(sender.host) == session
        if behind or not (large and self.network.narrow):
            return behind
        self.stuck[sender.host] = session

        def given_up() -> None:
            if sender.session == session == self.stuck.get(sender.host):
                self.say(f"{sender.host} gives up a peer that answers no write")
                sender.lost()

        self.later(sender, self.given_up_s(), given_up)
        return True

    def peer_now(self, replica: Replica) -> Replica | None:
        """The peer, if it can be asked and answers at this moment."""
        peer = self.other(replica).replica
        same = peer is not None and replica.connected and peer.session == replica.session
        stuck = replica.session in self.stuck.values()
        return peer if same and self.path_up() and not stuck else None

    def committing(self, replica: Replica) -> bool:
        """Whether a change of state at this end has to wait for the other one."""
        busy = self.commits_until_s > self.kernel.now_s
        return busy or (replica.connected and self.peer_now(replica) is None)

    def later(self, replica: Replica, delay_s: float, action: Callable[[], None]) -> None:
        """Unless its host ends before."""

        def act() -> None:
            if self.sides[replica.host].replica is replica:
                action()

        self.kernel.after(delay_s, self.sides[replica.host].group, act)

    def between(self, soonest_s: float, latest_s: float) -> float:
        return self.kernel.between(soonest_s, latest_s)

    def hang_up(self, replica: Replica) -> None:
        """One end closes: the other hears of it as soon as the path allows."""
        replica.lost()

    def skip_first_sync(self, replica: Replica, volumes: Collection[str]) -> None:
        """``new-current-uuid --clear-bitmap`` with both connected. Raises: CommandFailed.

        A side without a disk does not take part, and the other one does not learn that.
        """
        peer = self.peer_now(replica)
        if peer is None or Role.PRIMARY in (replica.role, peer.role):
            raise CommandFailed("only connected, and both Secondary")
        for name in volumes:
            if not attached(replica.volumes[name].disk):
                raise CommandFailed("operation requires an attached disk")
            if replica.backings[name].current != JUST_CREATED:
                raise CommandFailed("device is connected")
            generation = self.new_generation()
            for one in (replica, peer):
                volume, backing = one.volumes[name], one.backings[name]
                volume.peer_disk = DiskState.UP_TO_DATE
                if attached(volume.disk):
                    backing.current, backing.bitmap, volume.disk = (
                        generation,
                        0,
                        DiskState.UP_TO_DATE,
                    )
                one.save()
                one.changed(one)

    # -- losing it

    def live(self) -> Generator[Command, bool, None]:
        """For ever: notice losses, try to connect."""
        next_try_s = 0.0
        while True:
            if self._calm():
                yield WaitFor(self.stirred, AGES_S)
            else:
                yield Sleep(TICK_S)
            if self.path_up():
                self._flush()
            self._notice()
            if self.kernel.now_s >= next_try_s:
                next_try_s = self.kernel.now_s + self.kernel.between(0.2, 1.0)
                self._try_to_connect()

    def _calm(self) -> bool:
        """Whether nothing is to be noticed, delivered or tried until something is stirred."""
        replicas = [side.replica for side in self.sides.values()]
        one, two = replicas
        if not self.path_up():
            return not any(r is not None and r.connected for r in replicas)
        if one is None or two is None:
            return not any(r is not None and r.connected for r in replicas)
        noticing = any(side.notices_in_s is not None for side in self.sides.values())
        if one.session != two.session or noticing or self.backlog:
            return False
        return one.connected or not all(r.connection is Connection.CONNECTING for r in (one, two))

    def _flush(self) -> None:
        backlog, self.backlog = self.backlog, []
        if not self.network.narrow:
            self.stuck.clear()
        for arrive in backlog:
            arrive()

    def _notice(self) -> None:
        """Whatever comes is a sign of life, also while nothing that this side sends arrives."""
        for host, side in self.sides.items():
            replica = side.replica
            if replica is None or not replica.connected or not side.awake:
                continue
            peer = self.other(replica).replica
            up = self._passes(next(name for name in self.sides if name != host))
            closed = peer is None or peer.session != replica.session
            if up and not closed:
                side.notices_in_s = None
                continue
            if side.notices_in_s is None:
                soonest_s = 0.02 if closed and up else 0.3
                latest_s = 0.5 if closed and up else self.detection_s - TICK_S
                side.notices_in_s = self.kernel.between(soonest_s, latest_s)
            side.notices_in_s -= TICK_S
            if side.notices_in_s <= 0:
                side.notices_in_s = None
                self.say(f"{host} notices that the link is lost")
                replica.lost()

    # -- making it

    def _try_to_connect(self) -> None:
        replicas = [side.replica for side in self.sides.values()]
        one, two = replicas
        if one is None or two is None or not self.path_up():
            return
        both = (one, two)
        wanted = all(r.connection is Connection.CONNECTING and not r.connected for r in both)
        busy = self.commits_until_s > self.kernel.now_s
        if wanted and not busy and not any(r.deciding or r.doubting or r.arrived for r in both):
            self._handshake(one, two)

    def _handshake(self, one: Replica, two: Replica) -> None:
        found = {name: self._direction(one, two, name) for name in one.volumes}
        seen = {name: MIRRORED[direction] for name, direction in found.items()}
        objections = [
            (side, why)
            for side, peer, directions in ((one, two, found), (two, one, seen))
            if (why := self._objection(side, peer, directions)) is not None
        ]
        if objections:
            self._refuse(one, two, objections)
            return
        for frozen, peer in ((one, two), (two, one)):
            if self._met_rebooted(frozen, peer, found):
                self._abort(frozen, peer, frozen.version.commit_timeout_s or 0.0)
                return
            if self._asks_again(frozen, peer):
                self._abort(frozen, peer, 0.0)
                return
        self._join(one, two, found)

    def _abort(self, frozen: Replica, peer: Replica, after_s: float) -> None:
        """It does not come about; where both have to agree to that, after a while."""

        def abort() -> None:
            frozen.abort_connect()
            if self.other(frozen).replica is peer and not peer.connected:
                peer.lost()

        if after_s:
            self.say("a handshake stands still")
            self.commits_until_s = self.kernel.now_s + after_s
            self.later(frozen, after_s, abort)
        else:
            abort()

    def _asks_again(self, frozen: Replica, peer: Replica) -> bool:
        """Pending writes cannot be sent to a disk that has failed meanwhile."""
        return frozen.version.frozen_asks_beside_diskless and any(
            frozen.suspended
            and attached(frozen.volumes[write.volume].disk)
            and not attached(peer.volumes[write.volume].disk)
            for write in frozen.in_flight.values()
        )

    def _direction(self, one: Replica, two: Replica, name: str) -> Direction:
        disks = (one.volumes[name].disk, two.volumes[name].disk)
        if not all(map(attached, disks)):
            return Direction.EQUAL
        primary = None if one.role is two.role else one.role is Role.PRIMARY
        crashed = (one.volumes[name].crashed, two.volumes[name].crashed)
        found = compare(one.backings[name], two.backings[name], crashed, primary)
        behind = [disk is DiskState.INCONSISTENT for disk in disks]
        if any(behind) and not all(behind):
            return Direction.TARGET if behind[0] else Direction.SOURCE
        if found is Direction.SPLIT_BRAIN and one.discard != two.discard:
            return Direction.TARGET if one.discard else Direction.SOURCE
        return found

    def _objection(self, side: Replica, peer: Replica, found: dict[str, Direction]) -> str | None:
        """Why this side will not connect, if it will not. Each side decides for itself."""
        if side.two_primaries is not peer.two_primaries:
            return "incompatible allow-two-primaries settings"
        if side.role is peer.role is Role.PRIMARY and not side.two_primaries:
            return "both are Primary"
        for name, direction in found.items():
            disk, theirs = side.volumes[name].disk, peer.volumes[name].disk
            diskless_primary = side.role is Role.PRIMARY and not attached(disk)
            strange = side.volumes[name].expects != peer.backings[name].current
            overwritten = side.role is Role.PRIMARY and better(disk, DiskState.OUTDATED)
            if diskless_primary and attached(theirs) and strange:
                return "the peer's data is not what was last worked with"
            if direction is Direction.SPLIT_BRAIN or self._both_went_on(side, peer, name):
                return "split brain"
            if direction is Direction.TARGET and overwritten:
                return "a Primary would have to be overwritten"
            if direction is Direction.SOURCE and not better(disk, DiskState.INCONSISTENT):
                return "the source has no consistent data"
        return None

    @staticmethod
    def _both_went_on(side: Replica, peer: Replica, name: str) -> bool:
        """9 begins a generation with a write that waits, in memory, though it is frozen."""
        return side.version.frozen_writes_part and all(
            any(write.volume == name for write in (*one.in_flight.values(), *one.blocked))
            for one in (side, peer)
        )

    def _met_rebooted(self, frozen: Replica, peer: Replica, found: dict[str, Direction]) -> bool:
        """Pending writes cannot be sent again to a peer that does not know of its past."""
        return frozen.suspended and any(
            volume.generation_due
            and (attached(volume.disk) or frozen.version.panics_without_a_disk)
            and peer.volumes[name].disk is DiskState.CONSISTENT
            and found[name] is Direction.EQUAL
            for name, volume in frozen.volumes.items()
        )

    def _refuse(self, one: Replica, two: Replica, objections: list[tuple[Replica, str]]) -> None:
        """If both object, one may hang up before the other has made up its mind."""
        self.say(f"handshake refused: {objections[0][1]}")
        refusing = [side.host for side, _ in objections]
        if one.version.refused_by_either:
            refusing = [one.host, two.host]
        if len(refusing) > 1:
            refusing = self.kernel.random.choice((refusing, refusing, refusing[:1], refusing[1:]))
        for replica, peer in ((one, two), (two, one)):
            if replica.host in refusing:
                replica.refused()
            elif self._glimpses(replica):
                replica.glimpsed([n for n, v in peer.volumes.items() if not attached(v.disk)])
            else:
                replica.lost()

    def _glimpses(self, replica: Replica) -> bool:
        """Whether it had taken itself for connected."""
        may = replica.role is Role.SECONDARY or replica.two_primaries
        return replica.version.glimpses and may and self.kernel.random.random() < 0.7

    def _join(self, one: Replica, two: Replica, directions: dict[str, Direction]) -> None:
        disks = {
            name: self._disks(one, two, name, direction) for name, direction in directions.items()
        }
        session = next(self.sessions)
        self.tcp.opened((one.host, two.host))
        self.say(f"connected{self._words(one, two, directions)}")
        roles = (one.role, two.role)
        one.joined(session, roles[1], disks)
        two.joined(session, roles[0], {name: (b, a) for name, (a, b) in disks.items()})
        for name, direction in directions.items():
            if direction is Direction.EQUAL:
                for replica in (one, two):
                    replica.volumes[name].crashed = False
                resync.forget_bits(name, one, two)
            else:
                source, target = (one, two) if direction is Direction.SOURCE else (two, one)
                if one.backings[name].current == two.backings[name].current:
                    resync.compare_bitmaps(self, name, source, target, session)
                else:
                    resync.copy(self, name, source, target, session)

    @staticmethod
    def _disks(
        one: Replica, two: Replica, name: str, direction: Direction
    ) -> tuple[DiskState, DiskState]:
        """Both disks once connected: whoever is not behind is current."""

        def disk(side: Replica, peer: Replica, *, target: bool) -> DiskState:
            now, theirs = side.volumes[name].disk, peer.volumes[name].disk
            if not attached(now):
                return now
            if target:
                return DiskState.INCONSISTENT
            rebooted = now is DiskState.CONSISTENT and not attached(theirs)
            if rebooted and not side.version.rebooted_counts_beside_diskless:
                return Pair._beside_diskless(peer, name)
            return now if now is DiskState.INCONSISTENT else DiskState.UP_TO_DATE

        return (
            disk(one, two, target=direction is Direction.TARGET),
            disk(two, one, target=direction is Direction.SOURCE),
        )

    @staticmethod
    def _beside_diskless(peer: Replica, name: str) -> DiskState:
        """What 9 takes a rebooted disk for, which cannot be compared with any."""
        volume = peer.volumes[name]
        if peer.role is Role.SECONDARY:
            return DiskState.CONSISTENT
        if volume.follows:
            return DiskState.UP_TO_DATE
        return DiskState.CONSISTENT if volume.met else DiskState.OUTDATED

    def _words(self, one: Replica, two: Replica, directions: dict[str, Direction]) -> str:
        sources = {
            Direction.SOURCE: f"; {two.host} is copied from {one.host}",
            Direction.TARGET: f"; {one.host} is copied from {two.host}",
        }
        return "".join(sorted({sources.get(d, "") for d in directions.values()}))
