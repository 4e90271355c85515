"""The simulator's DRBD behind the actuator's port, so that the contract tests hold it, too.

Simulated time goes on a little with every look, so that a test that waits for something sees it
happen. Called by ``drbd_pairs``.
"""

import asyncio
from collections.abc import AsyncIterator, Collection, Generator, Mapping

from conformance.simulated import Simulated
from sim.drbd import resync, two_primaries
from sim.drbd.replica import Replica
from sim.drbd.state import Write
from sim.engine.kernel import Command
from tandem_actuator.core.drbd import DrbdView, Generation, Metadata, NotConfigured
from tandem_actuator.ports import CommandFailed
from tandem_actuator.ports.drbd import DrbdEvent
from tandem_api.kinds.mirror import Mirror

LOOK_S = 0.3
COMMAND_LIMIT_S = 60.0


class SimulatedDrbd:
    """One host's port."""

    def __init__(self, both: Simulated, side: str) -> None:
        self.both, self.node = both, both.nodes[side]
        self.text: str | None = None
        self.stray_file = False

    # --- the port

    async def query(self, mirror: Mirror) -> DrbdView:
        self.pass_time()
        now_s = self.both.kernel.now_s
        return self.node.replica.view(now_s) if self.node.replica else NotConfigured(now_s)

    async def events(self) -> AsyncIterator[DrbdEvent]:
        yield DrbdEvent("")
        await asyncio.Event().wait()

    async def configure(self, mirror: Mirror, text: str) -> bool:
        if f'resource "{mirror.drbd_name}"' not in text:
            raise CommandFailed("the configuration does not define the resource")
        changed = text != self.text
        self.text = text
        return changed

    async def adjust(self, mirror: Mirror) -> None:
        """No other options here."""
        self.pass_time()
        two_primaries.adjust(self._replica)

    async def check_files(self) -> None:
        if self.stray_file:
            raise CommandFailed("drbdadm: /etc/drbd.d/stray.res:1: Parse error")

    async def forbid_two_primaries(self, mirror: Mirror) -> None:
        self.pass_time()
        two_primaries.allow(self._replica, allowed=False)

    async def metadata(self, mirror: Mirror) -> Mapping[str, Metadata]:
        return {name: backing.metadata for name, backing in self.node.backings.items()}

    async def generations(self, mirror: Mirror) -> Mapping[str, Generation]:
        backings = self.node.backings
        return {name: backing.generation for name, backing in backings.items()}

    async def create_metadata(self, mirror: Mirror, volumes: Collection[str]) -> None:
        for backing in (self.node.backings[name] for name in volumes):
            if backing.has_metadata:
                raise CommandFailed("the device holds other data")
            backing.create()

    async def attach(self, mirror: Mirror) -> None:
        if self.node.replica is None:
            self.both.new_replica(self.node).attach()

    async def connect(self, mirror: Mirror, *, discard_my_data: bool) -> None:
        two_primaries.as_it_connects(self._replica)
        self._replica.connect(discard=discard_my_data)

    async def disconnect(self, mirror: Mirror) -> None:
        self._do(self._replica.turn())
        self._replica.disconnect()

    async def copy_to_peer(self, mirror: Mirror, *, whole: bool) -> None:
        resync.copy_to_peer(self.both.pair, self._replica, whole=whole)

    async def skip_first_sync(self, mirror: Mirror, volumes: Collection[str]) -> None:
        self.both.pair.skip_first_sync(self._replica, volumes)

    async def promote(self, mirror: Mirror, *, force: bool) -> None:
        self._do(self._replica.promote(force=force))

    async def demote(self, mirror: Mirror) -> None:
        self._do(self._replica.turn())
        self._replica.demote()

    async def resume_io(self, mirror: Mirror) -> None:
        self._replica.resume_io()

    async def versions(self) -> Mapping[str, str]:
        return {"drbd": self.both.version.name, "drbd-utils": "9.22.0"}

    # --- what happens to a host

    def pass_time(self) -> None:
        self.both.kernel.run_until(self.both.kernel.now_s + LOOK_S)

    def write(self, number: int) -> bool:
        """A guest writes; whether it was acknowledged."""
        answers: list[bool] = []
        volume = next(iter(self.node.backings))
        self._replica.submit(Write(number, volume, answers.append))
        self.pass_time()
        return answers == [True]

    def hold_open(self, held: bool) -> None:
        self._replica.opened = held

    # --- inside

    @property
    def _replica(self) -> Replica:
        if self.node.replica is None:
            raise CommandFailed("unknown resource")
        return self.node.replica

    def _do(self, work: Generator[Command, bool, None]) -> None:
        """Run it to its end, in simulated time."""
        ended: list[CommandFailed | None] = []

        def program() -> Generator[Command, bool, None]:
            try:
                yield from work
                ended.append(None)
            except CommandFailed as error:
                ended.append(error)

        kernel = self.both.kernel
        kernel.spawn(self.node.group, program())
        limit_s = kernel.now_s + COMMAND_LIMIT_S
        while not ended and kernel.now_s < limit_s:
            self.pass_time()
        if not ended:
            raise CommandFailed(f"not done within {COMMAND_LIMIT_S:g} s")
        if ended[0] is not None:
            raise ended[0]
