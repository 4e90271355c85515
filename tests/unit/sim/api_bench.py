"""The simulated API server, and programs that use it, on simulated time. For tests alone."""

import random
from collections.abc import Awaitable, Callable, Coroutine
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from typing import Any, ClassVar

from sim.apiserver import Api, Server, SimTransport
from sim.engine.kernel import Group, Kernel
from sim.engine.loop import Loop
from sim.network.links import Network
from tandem_api.kinds.mirror import Mirror
from tandem_kube import (
    MIRRORS,
    KubeClient,
    KubeError,
)
from unit.builders import A, mirror


@dataclass
class Bench:
    """One server, one mirror, and programs on hosts. ``policed`` as of ``Server``."""

    seed: int = 1
    policed: bool = False
    said: list[Any] = field(default_factory=list)
    loops: ClassVar[list[Loop]] = []

    def __post_init__(self) -> None:
        self.kernel, self.network, outside = Kernel(self.seed), Network(), Group("api")
        self.server = Server(lambda: self.kernel.now_s, policed=self.policed)
        self.api = Api(
            self.server,
            self.network,
            self.kernel.random,
            lambda delay_s, action: self.kernel.after(delay_s, outside, action),
            lambda: self.kernel.now_s,
        )
        self.key = self.server.put(mirror(None)).key
        self.groups: dict[str, Group] = {}

    def start(self, host: str, main: Callable[[KubeClient], Coroutine[Any, Any, object]]) -> Group:
        """A program there; what it says is kept, and an error of its own is one of the test."""
        machine = self.groups.setdefault(host, Group(host))
        group = Group("program", machine)
        wire = self.api.wire(host, lambda: group.alive, lambda: machine.alive)
        client = KubeClient(
            SimTransport(wire),
            host,
            chance=random.Random(self.seed),
            wall=lambda: datetime(2026, 1, 1, tzinfo=UTC) + timedelta(seconds=self.kernel.now_s),
        )
        loop = Loop(self.kernel, group, lambda: self.kernel.now_s, self.ended)
        self.loops.append(loop)
        loop.begin(main(client))
        return group

    def ended(self, why: BaseException | None) -> None:
        if why is not None:
            self.said.append(why)

    def run(self, seconds: float) -> list[Any]:
        """Let so much time pass; what was said in it."""
        self.said.clear()
        self.kernel.run_until(self.kernel.now_s + seconds)
        return [each[-1] for each in self.said]

    def ask(self, host: str, what: Callable[[KubeClient], Awaitable[Any]], seconds: float) -> Any:
        """What becomes of one call there: (when it ended, its answer or its error), or nothing."""

        async def main(client: KubeClient) -> None:
            try:
                self.said.append((self.kernel.now_s, await what(client)))
            except KubeError as error:
                self.said.append((self.kernel.now_s, error))

        self.start(host, main)
        found = self.run(seconds)
        return found[0] if found else None

    def follow(self, host: str = A) -> Group:
        async def main(client: KubeClient) -> None:
            async for event in client.watch(MIRRORS):
                self.said.append((self.kernel.now_s, event))

        return self.start(host, main)

    def set_phase(self, phase: str) -> None:
        """Somebody else does."""
        found = self.server.get(Mirror, self.key)
        status = found.status.model_copy(update={"phase": phase})
        self.server.put(found.model_copy(update={"status": status}))

    @property
    def phase(self) -> str:
        return self.server.get(Mirror, self.key).status.phase
