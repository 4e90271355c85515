"""Parts of the controller on simulated time, with an API that notes what it is asked. For tests
alone: what a server answers by itself is simulated in ``sim``.
"""

import asyncio
from collections.abc import Callable, Coroutine, Mapping
from random import Random
from typing import Any, cast

from sim.engine.kernel import Group, Kernel
from sim.engine.loop import Loop
from tandem_api.lease import Heartbeat
from tandem_api.meta import ObjectKey
from tandem_controller.decide.world.model import Plan, WriteStatus
from tandem_controller.edge.metrics import Metrics
from tandem_controller.run.events import EventQueue
from tandem_controller.run.execute import Executor
from tandem_controller.run.store import Store

from .scenes import Scene

STARTED_S = 1000.0


def raw(kind: str, name: str, version: int = 1, **status: Any) -> dict[str, Any]:
    return {
        "kind": kind,
        "metadata": {"name": name, "uid": f"uid-{name}", "resourceVersion": str(version)},
        "spec": {},
        "status": status,
    }


class Bench:
    """``takes_s``: how long a call takes. ``during``: what happens in one, by its first word; it
    may fail it. ``calls``: when each was made, and what it was.
    """

    def __init__(self) -> None:
        self.kernel = Kernel(1)
        self.errors: list[BaseException | None] = []
        self.loop = Loop(self.kernel, Group("controller"), self.monotonic_s, self.errors.append)
        self.takes_s, self.under_way, self.most = 0.0, 0, 0
        self.during: dict[str, Callable[[], None]] = {}
        self.calls: list[tuple[float, str]] = []
        self.versions: list[str | None] = []
        self.objects: dict[tuple[str, str], dict[str, Any] | None] = {}
        self.lists: dict[str, list[dict[str, Any]]] = {}
        self.list_version = 9
        self.beats: list[Heartbeat] = []
        self.leads = True
        self.store, self.metrics = Store(), Metrics("test")
        self.api = cast(Any, self)
        self.events = EventQueue(self.api)
        self.executor = Executor(
            self.api,
            self.store,
            lambda: self.leads,
            self.metrics,
            self.events,
            cast(Any, self),
            Random(1),
        )

    def monotonic_s(self) -> float:
        return STARTED_S + self.kernel.now_s

    def wall(self) -> str:
        return f"wall {self.kernel.now_s:.2f}"

    @property
    def names(self) -> list[str]:
        return [name for _, name in self.calls]

    def play(self, program: Coroutine[Any, Any, object], for_s: float) -> None:
        async def whole() -> None:
            await program
            await asyncio.Event().wait()

        self.loop.begin(whole())
        self.run(for_s)

    def run(self, for_s: float) -> None:
        self.kernel.run_until(self.kernel.now_s + for_s)
        assert self.errors == []

    def result(self, program: Coroutine[Any, Any, Any], for_s: float = 60.0) -> Any:
        """What it returns, which must come in time."""
        found: list[Any] = []

        async def kept() -> None:
            found.append(await program)

        self.play(kept(), for_s)
        assert found, "it does not come to an end"
        return found[0]

    async def _call(self, name: str) -> None:
        self.calls.append((self.monotonic_s(), name))
        self.under_way += 1
        self.most = max(self.most, self.under_way)
        try:
            if self.takes_s:
                await asyncio.sleep(self.takes_s)
            self.during.get(name.partition(" ")[0], lambda: None)()
        finally:
            self.under_way -= 1

    # the API

    async def write_status(
        self, kind: str, key: ObjectKey, patch: Mapping[str, Any], version: str | None
    ) -> dict[str, Any]:
        self.versions.append(version)
        await self._call(f"status {kind} {key.name}")
        return raw(kind, key.name, 7, **patch)

    async def add_claimant(self, mirror: Any, host: str, claimant: Any) -> dict[str, Any]:
        await self._call(f"claimant {host}")
        return raw("Mirror", mirror.metadata.name, 7)

    async def read_object(self, kind: str, key: ObjectKey) -> dict[str, Any] | None:
        await self._call(f"read {kind} {key.name}")
        return self.objects.get((kind, key.name))

    async def list_objects(self, kind: str) -> tuple[list[dict[str, Any]], int]:
        await self._call(f"list {kind}")
        return self.lists.get(kind, []), self.list_version

    async def heartbeats(self, timeout_s: float) -> list[Heartbeat]:
        await self._call("heartbeats")
        return self.beats

    async def event(
        self, kind: str, key: ObjectKey, uid: str, warning: bool, reason: str, message: str
    ) -> None:
        await self._call(f"event {reason}")


def takeover() -> Plan:
    """One assignment with its claimant, and nothing else."""
    made = Scene().lost().plan()
    return Plan(made.urgent, (), made.decisions, made.refusals, made.world)


def statuses(count: int) -> tuple[WriteStatus, ...]:
    return tuple(
        WriteStatus("Guest", ObjectKey(namespace="", name=f"g{n}"), "u", {}, version=f"v{n}")
        for n in range(count)
    )
