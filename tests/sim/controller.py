"""One run of the real controller on simulated time. Called by ``world``.

The program is the product's, from its assembly on, on an event loop of its own. Here is only what
stands between it and the API server: its calls, and what feeds its store in kopf's stead.
"""

import asyncio
import random
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass, field
from typing import Any, TypeVar

from sim.api import Api, Client, Refused
from sim.events import Log
from sim.kernel import Group, Kernel
from sim.loop import Loop, played
from sim.watch import Listed, News, Watch
from tandem_actuator.ports import ApiConflict as Conflict
from tandem_actuator.ports import ApiGone as Gone
from tandem_actuator.ports import ApiUnavailable as Unavailable
from tandem_api.authority import Authority
from tandem_api.guest import Guest
from tandem_api.host import Host
from tandem_api.lease import Heartbeat
from tandem_api.meta import ObjectKey, Resource
from tandem_api.mirror import Claimant, Mirror
from tandem_api.site import Site
from tandem_api.timing import API_TIMEOUT_S
from tandem_controller.decide.election import Seen
from tandem_controller.decide.watches import LIFE_S
from tandem_controller.lead import Leadership
from tandem_controller.metrics import Metrics
from tandem_controller.ports import ApiConflict, ApiRefused, ApiUnavailable, Opened, Raw, Told
from tandem_controller.program import Outside, program

T = TypeVar("T")
TYPES: Mapping[str, type[Resource]] = {"Site": Site, "Host": Host, "Mirror": Mirror, "Guest": Guest}
LIST_TIMEOUT_S = 10.0
ELECTION_TIMEOUT_S = 1.0
EXIT_S = 0.2


@dataclass
class Clock:
    """The controller's clocks run as true time does."""

    kernel: Kernel
    log: Log

    def monotonic_s(self) -> float:
        return self.kernel.now_s

    def wall(self) -> str:
        return self.log.wall()


class Port:
    """One controller's way to the API server."""

    def __init__(self, client: Client) -> None:
        self.client = client

    async def _ask(
        self, action: Callable[[], T], timeout_s: float = API_TIMEOUT_S, *, write: bool = False
    ) -> T:
        return await _answered(played(self.client.call(action, timeout_s, write=write)))

    @property
    def _server(self) -> Any:
        return self.client.api.server

    async def list_objects(self, kind: str) -> tuple[list[Raw], int]:
        server = self._server

        def listed() -> tuple[list[Raw], int]:
            return [server.raw(obj) for obj in server.every(TYPES[kind])], server.version

        return await self._ask(listed, LIST_TIMEOUT_S)

    async def read_object(self, kind: str, key: ObjectKey) -> Raw | None:
        server = self._server
        try:
            return await self._ask(lambda: server.raw(server.get(TYPES[kind], key)))
        except ApiConflict:
            return None

    async def read_mirror(self, key: ObjectKey) -> Mirror:
        server = self._server
        return await self._ask(lambda: server.get(Mirror, key))

    async def heartbeats(self, timeout_s: float) -> list[Heartbeat]:
        leases = self._server.leases
        return await self._ask(lambda: list(leases.values()), timeout_s)

    async def _write(self, action: Callable[[Any], Resource]) -> Raw:
        server = self._server
        return await self._ask(lambda: server.raw(action(server)), write=True)

    async def write_status(
        self, kind: str, key: ObjectKey, patch: Mapping[str, Any], version: str | None
    ) -> Raw:
        return await self._write(
            lambda server: server.patch_status(TYPES[kind], key, patch, version)
        )

    async def set_up_mirror(self, mirror: Mirror, fields: Mapping[str, Any]) -> Raw:
        seen = mirror.metadata
        return await self._write(
            lambda server: server.set_in_status(
                Mirror, mirror.key, fields, seen.resource_version, seen.uid
            )
        )

    async def add_claimant(self, mirror: Mirror, host: str, claimant: Claimant) -> Raw:
        return await self._write(lambda server: server.add_claimant(mirror, host, claimant))

    async def write_finalizers(
        self, kind: str, key: ObjectKey, finalizers: tuple[str, ...], version: str
    ) -> Raw:
        return await self._write(
            lambda server: server.set_finalizers(TYPES[kind], key, finalizers, version)
        )

    async def swap_authority(
        self, key: ObjectKey, uid: str, expected_epoch: int, authority: Authority
    ) -> None:
        await self._write(lambda server: server.swap_authority(key, uid, expected_epoch, authority))

    async def read_election(self) -> Seen:
        server = self._server
        return await self._ask(lambda: server.election, ELECTION_TIMEOUT_S)

    async def renew_election(
        self, holder: str, version: str | None, transitions: int | None = None
    ) -> str:
        server = self._server
        return await self._ask(
            lambda: server.elect(holder, version, transitions), ELECTION_TIMEOUT_S, write=True
        )

    async def event(
        self, kind: str, key: ObjectKey, uid: str, warning: bool, reason: str, message: str
    ) -> None:
        await self._ask(lambda: None, write=True)


async def _answered(call: Awaitable[T]) -> T:
    try:
        return await call
    except (Conflict, Gone) as error:
        raise ApiConflict(str(error)) from error
    except Refused as error:
        raise ApiRefused(str(error)) from error
    except Unavailable as error:
        raise ApiUnavailable(str(error)) from error


@dataclass
class Watchers:
    """In kopf's stead: it tells of objects, and not of those that vanished unseen."""

    client: Client
    watches: list[Watch] = field(default_factory=list)

    def begin(self, told: Told, opened: Opened) -> "Watcher":
        made = Watcher(self.client, told, opened)
        self.watches += made.watches
        return made


class Watcher:
    """One beginning."""

    def __init__(self, client: Client, told: Told, opened: Opened) -> None:
        self.client, self._told, self._opened = client, told, opened
        loop = asyncio.get_running_loop()
        self.ended: asyncio.Future[BaseException | None] = loop.create_future()
        self._stopped = False
        self.watches = [Watch(client, kind, self._hear(name)) for name, kind in TYPES.items()]
        for name, watch in zip(TYPES, self.watches, strict=True):
            watch.begin()
            self._open_again(name)

    def _hear(self, name: str) -> Callable[[News], None]:
        server = self.client.api.server

        def hear(news: News) -> None:
            if self._stopped:
                return
            if isinstance(news, Listed):
                self._opened(name)
                for obj in news.objects:
                    self._told(name, False, server.raw(obj))
            elif isinstance(news, ObjectKey):
                where = {"namespace": news.namespace, "name": news.name}
                version = str(server.version)
                self._told(name, True, {"metadata": {**where, "resourceVersion": version}})
            else:
                self._told(name, False, server.raw(news))

        return hear

    def _open_again(self, name: str) -> None:
        """The server ends each watch after a while, and the next goes on from there."""

        def again() -> None:
            if not self._stopped and self.client.group.alive:
                if self.client.hears:
                    self._opened(name)
                self._open_again(name)

        self.client.api.kernel.after(LIFE_S, self.client.group, again)

    def stop(self) -> None:
        self._stopped = True
        asyncio.get_running_loop().call_later(EXIT_S, self._end)

    def _end(self) -> None:
        if not self.ended.done():
            self.ended.set_result(None)


class Stubborn(Leadership):
    """Believes that it leads, whatever the election says."""

    def leads(self) -> bool:
        return True


class Controller:
    """One run of one replica. ``stubborn``: the election binds it to nothing."""

    def __init__(
        self,
        kernel: Kernel,
        api: Api,
        log: Log,
        name: str,
        ended: Callable[[BaseException | None], None],
        *,
        stubborn: bool = False,
    ) -> None:
        self.kernel, self.name = kernel, name
        self.group = Group(name)
        self.loop = Loop(kernel, self.group, lambda: kernel.now_s, ended)
        client = Client(api, "", self.group)
        self.watchers = Watchers(client)
        self._outside = Outside(
            identity=name,
            api=Port(client),
            watchers=self.watchers,
            clock=Clock(kernel, log),
            chance=random.Random(kernel.random.getrandbits(64)),
        )
        self._elect = Stubborn if stubborn else Leadership

    @property
    def watches(self) -> list[Watch]:
        return self.watchers.watches

    def begin(self) -> None:
        self.loop.begin(self._run())

    async def _run(self) -> None:
        await program(self._outside, Metrics("simulated"), self._elect).run(asyncio.Event())
