"""The connection between the two replicas of a mirror: packets, loss, handshake, resync.

A link that is cut is noticed by each side on its own, within DRBD's detection time. A handshake
compares generations; the side that lags is copied to. At the end of a copy the target knows first,
the source one latency later, as in DRBD. Called by ``host`` and ``world``.
"""

from collections.abc import Callable, Generator
from dataclasses import dataclass, field
from itertools import count

from tandem_actuator.core.model import Connection, Disk, Role
from tandem_actuator.ports import CommandFailed
from tandem_sim.disk import MIRRORED, Direction, compare
from tandem_sim.drbd import Replica
from tandem_sim.kernel import Command, Group, Kernel, Signal, Sleep, WaitFor
from tandem_sim.network import REPLICATION, Network

TICK_S = 0.05
LATENCY_S = (0.0005, 0.003)
RESYNC_BASE_S = 0.2
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
    """Both ends. ``backlog`` holds packets of a connection whose path is dead but not noticed."""

    kernel: Kernel
    network: Network
    detection_s: float
    resync_s: float
    sides: dict[str, Side] = field(default_factory=dict)
    say: Callable[[str], None] = lambda what: None
    arrivals: dict[str, float] = field(default_factory=dict)
    backlog: list[tuple[int, Callable[[], None]]] = field(default_factory=list)
    sessions: "count[int]" = field(default_factory=lambda: count(1))
    stirred: Signal = field(default_factory=Signal)

    def __post_init__(self) -> None:
        self.network.changed.append(self.stir)

    def stir(self) -> None:
        """Something has changed that both ends may have to notice."""
        self.stirred.give()

    def add(self, host: str) -> None:
        """One end, switched off."""
        self.sides[host] = Side(Group(f"{host} off", alive=False))

    def powered(self, host: str, group: Group) -> None:
        """The host was switched on: its end lives and dies with this group."""
        self.sides[host].group = group
        group.told.append(self.stir)
        self.stir()

    def present(self, host: str, replica: Replica | None) -> None:
        """The host's kernel has, or no longer has, the resource."""
        self.sides[host].replica = replica
        self.stir()

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

    def send(self, sender: Replica, action: Callable[[Replica], None]) -> None:
        """To the peer, if connected. It arrives, or waits in the network, or is lost."""
        session, side = sender.session, self.other(sender)
        if not session:
            return

        def arrive() -> None:
            peer = side.replica
            if sender.session != session or peer is None or peer.session != session:
                return
            if self._passes(sender.host):
                action(peer)
            else:
                self.backlog.append((session, arrive))
                self.stir()

        # In order, as TCP delivers.
        soonest_s = self.arrivals.get(sender.host, 0.0)
        at_s = max(soonest_s, self.kernel.now_s + self.kernel.between(*LATENCY_S))
        self.arrivals[sender.host] = at_s
        self.kernel.at(at_s, side.group, arrive)

    def peer_now(self, replica: Replica) -> Replica | None:
        """The peer, if it can be asked and answers at this moment."""
        peer = self.other(replica).replica
        same = peer is not None and replica.connected and peer.session == replica.session
        return peer if same and self.path_up() else None

    def hang_up(self, replica: Replica) -> None:
        """One end closes: the other hears of it as soon as the path allows."""
        replica.lost()

    def skip_first_sync(self, replica: Replica) -> None:
        """``new-current-uuid --clear-bitmap`` with both connected. Raises: CommandFailed."""
        peer = self.peer_now(replica)
        if peer is None or Role.PRIMARY in (replica.role, peer.role):
            raise CommandFailed("only connected, and both Secondary")
        for name in replica.volumes:
            generation = self.new_generation()
            for one, two in ((replica, peer), (peer, replica)):
                one.backings[name].current, one.backings[name].bitmap = generation, 0
                one.volumes[name].disk = two.volumes[name].peer_disk = Disk.UP_TO_DATE
        for one in (replica, peer):
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
        for _, arrive in backlog:
            arrive()

    def _notice(self) -> None:
        up = self.path_up()
        for host, side in self.sides.items():
            replica = side.replica
            if replica is None or not replica.connected or not side.awake:
                continue
            peer = self.other(replica).replica
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
        if all(r.connection is Connection.CONNECTING and not r.connected for r in (one, two)):
            self._handshake(one, two)

    def _handshake(self, one: Replica, two: Replica) -> None:
        if one.role is Role.PRIMARY and two.role is Role.PRIMARY:
            self._refuse(one, two, "both are Primary")
            return
        for frozen, peer in ((one, two), (two, one)):
            rebooted = any(v.disk is Disk.CONSISTENT for v in peer.volumes.values())
            if frozen.suspended and rebooted:
                frozen.thaw_for_rebooted_peer()
                return
        directions = {name: self._direction(one, two, name) for name in one.volumes}
        if Direction.SPLIT_BRAIN in directions.values():
            self._refuse(one, two, "split brain")
            return
        for direction in directions.values():
            targets = {Direction.TARGET: one, Direction.SOURCE: two}
            target = targets.get(direction)
            if target is not None and target.role is Role.PRIMARY:
                self._refuse(one, two, "a Primary would have to be overwritten")
                return
        self._join(one, two, directions)

    def _direction(self, one: Replica, two: Replica, name: str) -> Direction:
        if Disk.DISKLESS in (one.volumes[name].disk, two.volumes[name].disk):
            return Direction.EQUAL
        found = compare(one.backings[name], two.backings[name])
        if found is Direction.SPLIT_BRAIN and one.discard != two.discard:
            return Direction.TARGET if one.discard else Direction.SOURCE
        return found

    def _refuse(self, one: Replica, two: Replica, why: str) -> None:
        self.say(f"handshake refused: {why}; both stand alone")
        for replica in (one, two):
            replica.connection = Connection.STANDALONE
            replica.changed(replica)

    def _join(self, one: Replica, two: Replica, directions: dict[str, Direction]) -> None:
        for name, direction in directions.items():
            for replica, seen in ((one, direction), (two, MIRRORED[direction])):
                volume = replica.volumes[name]
                if volume.disk is Disk.DISKLESS:
                    continue
                if seen is Direction.TARGET:
                    volume.disk = Disk.INCONSISTENT
                elif volume.disk is not Disk.INCONSISTENT or seen is Direction.SOURCE:
                    volume.disk = Disk.UP_TO_DATE
                volume.resyncing = seen in (Direction.TARGET, Direction.SOURCE)
        session = next(self.sessions)
        self.say(f"connected{self._words(one, two, directions)}")
        one.joined(session, two)
        two.joined(session, one)
        for name, direction in directions.items():
            if direction is not Direction.EQUAL:
                source, target = (one, two) if direction is Direction.SOURCE else (two, one)
                self._copy(name, source, target, session)
            else:
                for replica in (one, two):
                    replica.backings[name].crashed_primary = False

    def _words(self, one: Replica, two: Replica, directions: dict[str, Direction]) -> str:
        sources = {
            Direction.SOURCE: f"; {two.host} is copied from {one.host}",
            Direction.TARGET: f"; {one.host} is copied from {two.host}",
        }
        return "".join(sorted({sources.get(d, "") for d in directions.values()}))

    def _copy(self, name: str, source: Replica, target: Replica, session: int) -> None:
        missing = len(source.holds(name) ^ target.holds(name))
        duration_s = self.resync_s if missing else RESYNC_BASE_S

        def finish() -> None:
            here = target.session == session and source.session == session
            if not here or target.volumes[name].disk is not Disk.INCONSISTENT:
                return
            if not self.path_up():
                self.kernel.after(0.2, self.sides[target.host].group, finish)
                return
            self._copied(name, source, target)

        self.kernel.after(duration_s, self.sides[target.host].group, finish)

    def _copied(self, name: str, source: Replica, target: Replica) -> None:
        """The target is done. The source hears of it by a packet."""
        theirs, mine = source.backings[name], target.backings[name]
        mine.data.clear()
        mine.data.update(theirs.data)
        mine.history |= theirs.history | {mine.current}
        mine.current, mine.bitmap, mine.crashed_primary = theirs.current, 0, False
        volume = target.volumes[name]
        volume.disk, volume.resyncing = Disk.UP_TO_DATE, False

        def source_done(peer: Replica) -> None:
            peer.volumes[name].resyncing = False
            peer.backings[name].bitmap = 0
            peer.backings[name].crashed_primary = False
            peer.hear(target)

        self.say(f"{target.host} is up to date")
        self.send(target, source_done)
        target.save()
        target.changed(target)
