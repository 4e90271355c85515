"""The back end on the simulator's DRBD: two replicas, their pair, and a handler that is told.

It uses the simulator's classes as the simulator does, without actuators, guests or an API. Called
by ``__main__`` and by tests.
"""

from collections.abc import Callable, Generator, Mapping, Sequence
from dataclasses import dataclass, field

from conformance.language import ANSWERED, SIDES, Command, Played, Seen, Side, play
from sim.drbd.disk import Backing
from sim.drbd.pair import Pair
from sim.drbd.replica import Replica
from sim.drbd.state import Write
from sim.drbd.version import EIGHT, Version
from sim.engine.kernel import Command as Yielded
from sim.engine.kernel import Group, Kernel, Signal, Sleep, WaitFor
from sim.network.links import OUT, REPLICATION, Network
from tandem_actuator.ports import CommandFailed
from tandem_api.vocabulary import Connection

SETTLE_S = 12.0
VOLUME = "root"
FOREVER_S = 1e6


@dataclass
class Held:
    """A call of the handler that waits for its answer."""

    told: Signal = field(default_factory=Signal)
    code: int | None = None


@dataclass
class Node:
    """One host: what lasts, and what a power cut ends."""

    name: str
    backings: dict[str, Backing]
    group: Group = field(default_factory=lambda: Group("on"))
    replica: Replica | None = None
    policy: str = "1"
    two_primaries: bool = False
    asked: int = 0
    held: list[Held] = field(default_factory=list)

    @property
    def on(self) -> bool:
        return self.group.alive


class Simulated:
    """One sequence on simulated DRBD."""

    def __init__(
        self,
        seed: int = 1,
        *,
        volumes: Sequence[str] = (VOLUME,),
        blank: bool = False,
        asynchronous: bool = False,
        version: Version = EIGHT,
    ) -> None:
        """``blank``: the disks have no metadata yet. ``asynchronous``: protocol A."""
        self.asynchronous, self.version = asynchronous, version
        self.kernel, self.network = Kernel(seed), Network()
        self.pair = Pair(self.kernel, self.network, detection_s=1.5, resync_s=0.3)
        self.nodes = {side: Node(side, {v: Backing() for v in volumes}) for side in SIDES}
        self.cuts: set[str] = set()
        self.writes: dict[int, str] = {}
        self.writers: dict[int, str] = {}
        self.panicked = False
        self.processes: set[int] = set()
        self.killed: set[int] = set()
        self.results: list[str] = []
        self.running: dict[int, str] = {}
        for side, node in self.nodes.items():
            self.pair.add(side)
            self.pair.powered(side, node.group)
            for backing in () if blank else node.backings.values():
                backing.create()
        self.kernel.spawn(Group("pair"), self.pair.live())

    # -- doing

    def do(self, command: Command) -> None:
        verb = command.verb
        if verb in ("cut", "heal"):
            self._cut_or_heal(command)
            return
        node = self.nodes[command.side]
        if verb == "boot":
            self._boot(node)
        elif verb in ANSWERED:
            self._answered(node, command)
        elif verb == "write":
            self._write(node, process=command.argument != "")
        elif not node.on:
            pass
        elif verb == "crash":
            self._crash(node)
        elif verb == "kill":
            self.killed |= {n for n in self.processes if self.writers[n] == node.name}
        elif verb == "handler":
            node.policy = command.argument
        elif verb == "answer" and node.held:
            held = node.held.pop(0)
            held.code = int(command.argument)
            held.told.give()
        elif node.replica is not None:
            self._quietly(node.replica, verb)
        # Commands of one step follow each other at once, but not before packets have passed.
        self.kernel.run_until(self.kernel.now_s + 0.12)

    def _quietly(self, replica: Replica, verb: str) -> None:
        if verb == "fail-disk":
            replica.fail_disk(tuple(replica.volumes))
        elif verb in ("open", "close"):
            replica.opened = verb == "open" and replica.role.value == "Primary"

    def _cut_or_heal(self, command: Command) -> None:
        ways = {command.argument} if command.argument else {"a>b", "b>a"}
        self.cuts = self.cuts | ways if command.verb == "cut" else self.cuts - ways
        self.network.heal(REPLICATION)
        for way in self.cuts:
            self.network.cut(REPLICATION, way[0], OUT)

    def _crash(self, node: Node) -> None:
        node.group.stop()
        self.pair.present(node.name, None)
        node.replica = None
        node.held.clear()
        for number, side in self.writers.items():
            if side == node.name and self.writes[number] == "pending":
                self.writes[number] = "lost"
        for index, side in list(self.running.items()):
            if side == node.name:
                self.results[index] = "lost"
                del self.running[index]

    def _panic(self, node: Node) -> None:
        self.panicked = True
        self._crash(node)

    def _boot(self, node: Node) -> None:
        if not node.on:
            for backing in node.backings.values():
                backing.broken = False
            node.group = Group("on")
            self.pair.powered(node.name, node.group)

    def _answered(self, node: Node, command: Command) -> None:
        index = len(self.results)
        if not node.on:
            self.results.append("off")
            return
        self.results.append("running")
        self.running[index] = node.name

        def work() -> Generator[Yielded, bool, None]:
            try:
                yield from self._perform(node, command)
                self.results[index] = "ok"
            except CommandFailed:
                self.results[index] = "refused"
            self.running.pop(index, None)

        self.kernel.spawn(node.group, work())

    def _perform(self, node: Node, command: Command) -> Generator[Yielded, bool, None]:
        yield Sleep(0.01)
        if command.verb == "two-primaries":
            node.two_primaries = command.argument == "yes"
        if command.verb == "attach" and node.replica is None:
            self.new_replica(node)
        replica = node.replica
        if replica is None and command.verb == "down":
            return
        if replica is None:
            raise CommandFailed("no such resource")
        if command.verb == "primary":
            yield from replica.promote(force=command.argument == "--force")
            return
        yield from replica.turn()
        self._refuse_what_the_tools_refuse(replica, command.verb)
        if command.verb == "down":
            self._down(node, replica)
            return
        actions: Mapping[str, Callable[[], None]] = {
            "attach": replica.attach,
            "connect": lambda: self._connect(node, replica, discard=command.argument != ""),
            "disconnect": replica.disconnect,
            "first-sync": lambda: self.pair.skip_first_sync(replica, replica.volumes),
            "secondary": replica.demote,
            "resume-io": replica.resume_io,
            "outdate": replica.outdate,
            "pause-sync": lambda: setattr(replica, "sync_paused", True),
            "resume-sync": lambda: setattr(replica, "sync_paused", False),
            "two-primaries": lambda: replica.allow_two_primaries(allowed=node.two_primaries),
        }
        actions[command.verb]()

    def _connect(self, node: Node, replica: Replica, *, discard: bool) -> None:
        if not self.version.keeps_connection_options:
            replica.two_primaries = node.two_primaries
        replica.connect(discard=discard)

    def _refuse_what_the_tools_refuse(self, replica: Replica, verb: str) -> None:
        """Repeating is refused by the kernel; the simulator takes it, as Tandem's adapter does."""
        alone = replica.connection is Connection.STANDALONE
        parted = verb == "disconnect" and alone and not self.version.parts_twice
        if parted or (verb == "connect" and not alone):
            raise CommandFailed(f"{verb}: there is nothing to do")

    def _down(self, node: Node, replica: Replica) -> None:
        replica.demote()
        replica.disconnect()
        node.replica = None
        self.pair.present(node.name, None)

    def new_replica(self, node: Node) -> Replica:
        replica = Replica(
            host=node.name,
            backings=node.backings,
            version=self.version,
            asynchronous=self.asynchronous,
            two_primaries=node.two_primaries,
            wire=self.pair,
            ask_handler=lambda replica: self._handler(node),
            start_handler=lambda replica: self._link_loss(node, replica),
            changed=lambda replica: self.pair.stir(),
            say=lambda what: None,
            panic=lambda: self._panic(node),
        )
        node.replica = replica
        self.pair.present(node.name, replica)
        return replica

    def _link_loss(self, node: Node, replica: Replica) -> None:
        connects = replica.connects

        def run() -> Generator[Yielded, bool, None]:
            code = yield from self._handler(node)
            replica.handler_answered(code, connects)

        self.kernel.spawn(node.group, run())

    def _handler(self, node: Node) -> Generator[Yielded, bool, int]:
        node.asked += 1
        policy = node.policy
        yield Sleep(0.05)
        if policy != "hold":
            return int(policy)
        held = Held()
        node.held.append(held)
        while held.code is None:
            yield WaitFor(held.told, FOREVER_S)
        return held.code

    def _write(self, node: Node, *, process: bool) -> None:
        """A process that is killed goes away only when its write has ended, in whatever way."""
        number = len(self.writes) + 1
        self.writers[number] = node.name
        if process:
            self.processes.add(number)
        replica = node.replica
        if replica is None or not node.on or replica.role.value != "Primary":
            self.writes[number] = "failed"
            return
        self.writes[number] = "pending"

        def done(acknowledged: bool) -> None:
            ended = "acknowledged" if acknowledged else "failed"
            self.writes[number] = "killed" if number in self.killed else ended

        replica.submit(Write(number, VOLUME, done))

    # -- looking

    def settle(self) -> Seen:
        self.kernel.run_until(self.kernel.now_s + SETTLE_S)
        a, b = (str(self._side(self.nodes[side])) for side in SIDES)
        return Seen(a, b, dict(self.writes), list(self.results))

    def _side(self, node: Node) -> Side:
        if not node.on:
            return Side(power="off")
        replica = node.replica
        if replica is None or not replica.configured or replica.holds_nothing:
            return Side(asked=node.asked)
        volume = replica.volumes[VOLUME]
        return Side(
            role=replica.role.value,
            peer_role=replica.peer_role.value,
            connection=_connection(replica),
            disk=volume.disk.value,
            peer_disk=volume.peer_disk.value,
            suspended=",".join(sorted(replica.reasons, reverse=True)),
            asked=node.asked,
        )

    def survivors(self) -> Mapping[str, Sequence[int]]:
        return {side: sorted(node.backings[VOLUME].data) for side, node in self.nodes.items()}


def _connection(replica: Replica) -> str:
    if not replica.connected:
        alone = replica.connection is Connection.STANDALONE
        return "StandAlone" if alone else "Connecting"
    volume = replica.volumes[VOLUME]
    if not volume.resyncing:
        return "Connected"
    return "SyncTarget" if volume.disk.value == "Inconsistent" else "SyncSource"


def ends_a_kernel(steps: Sequence[str], version: Version = EIGHT) -> bool:
    """Whether this would make a real kernel panic, and end every other sequence on it."""
    simulated = Simulated(version=version)
    play(simulated, steps)
    return simulated.panicked


def simulate(steps: Sequence[str], seed: int, version: Version = EIGHT) -> Played:
    """A whole sequence. The seed decides what is a race."""
    return play(Simulated(seed, version=version), steps)
