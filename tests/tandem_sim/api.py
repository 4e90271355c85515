"""The API server: linearizable objects with resourceVersions, leases, watches, lost answers.

Objects are the real types. Every write that is decided by a precondition is checked as the server
does. A request of a host that is cut off is lost, or kept by the network and carried out when the
link is healed (then nobody hears the answer). Called by ``actuator``, ``controller`` and verbs.
"""

from collections.abc import Callable, Generator, Mapping
from dataclasses import dataclass
from typing import Any, TypeVar

from tandem_actuator.ports import ApiConflict, ApiGone, ApiUnavailable
from tandem_api.authority import Authority
from tandem_api.lease import Heartbeat, HeartbeatContent
from tandem_api.meta import ObjectKey, Resource
from tandem_api.mirror import Mirror
from tandem_sim.kernel import Command, Group, Kernel, Signal, Sleep
from tandem_sim.network import MANAGEMENT, Network

T = TypeVar("T")
R = TypeVar("R", bound=Resource)
Key = tuple[str, ObjectKey]

LATENCY_S = (0.002, 0.02)
KEPT_BY_THE_NETWORK = 0.5
"""How likely a write into a dead link is carried out after it was healed."""


@dataclass(frozen=True)
class Stored:
    """One entry of the history: what an object became, or None if it was removed."""

    key: Key
    object: Resource | None


class Server:
    """The objects and the leases. Every method happens at one moment."""

    def __init__(self) -> None:
        self.version = 100
        self.objects: dict[Key, Resource] = {}
        self.leases: dict[str, Heartbeat] = {}
        self.history: list[Stored] = []
        self.changed = Signal()
        self.on_authority: list[Callable[[Mirror, Authority | None], None]] = []

    def put(self, obj: Resource) -> Resource:
        """Store under the next resourceVersion."""
        self.version += 1
        versioned = obj.metadata.model_copy(update={"resource_version": str(self.version)})
        stored = obj.model_copy(update={"metadata": versioned})
        key = (type(obj).__name__, obj.key)
        if isinstance(stored, Mirror):
            self._authority_changed(key, stored)
        self.objects[key] = stored
        self.history.append(Stored(key, stored))
        self.changed.give()
        return stored

    def _authority_changed(self, key: Key, new: Mirror) -> None:
        old = self.objects.get(key)
        before = old.status.authority if isinstance(old, Mirror) else None
        if new.status.authority != before:
            for told in list(self.on_authority):
                told(new, before)

    def get(self, kind: type[R], key: ObjectKey) -> R:
        found = self.objects.get((kind.__name__, key))
        if not isinstance(found, kind):
            raise ApiGone(f"{kind.__name__} {key} is not there")
        return found

    def every(self, kind: type[R]) -> list[R]:
        return [obj for obj in self.objects.values() if isinstance(obj, kind)]

    def swap_authority(
        self, key: ObjectKey, uid: str, expected_epoch: int | None, authority: Authority
    ) -> Mirror:
        """A JSON patch with tests on uid and epoch."""
        mirror = self.get(Mirror, key)
        held_by = mirror.status.authority
        if mirror.metadata.uid != uid or (held_by.epoch if held_by else None) != expected_epoch:
            raise ApiConflict(f"epoch is not {expected_epoch}")
        status = mirror.status.model_copy(update={"authority": authority})
        stored = self.put(mirror.model_copy(update={"status": status}))
        assert isinstance(stored, Mirror)
        return stored

    def patch_status(
        self,
        kind: type[R],
        key: ObjectKey,
        patch: Mapping[str, Any],
        version: str | None = None,
    ) -> R:
        """A merge patch of the status, as the API does it on JSON."""
        obj = self.get(kind, key)
        if version is not None and obj.metadata.resource_version != version:
            raise ApiConflict(f"{kind.__name__} {key} has changed")
        raw = obj.model_dump(mode="json", by_alias=True, exclude_none=True)
        raw["status"] = merged(raw.get("status") or {}, patch)
        new = kind.parse(raw)
        stored = self.put(new) if new != obj else obj
        assert isinstance(stored, kind)
        return stored

    def set_finalizers(self, obj: R, finalizers: tuple[str, ...]) -> R:
        """Raises: ApiConflict."""
        now = self.get(type(obj), obj.key)
        if now.metadata.resource_version != obj.metadata.resource_version:
            raise ApiConflict(f"{obj.key} has changed")
        metadata = now.metadata.model_copy(update={"finalizers": finalizers})
        stored = self.put(now.model_copy(update={"metadata": metadata}))
        assert isinstance(stored, type(obj))
        return stored

    def renew(self, content: HeartbeatContent) -> str:
        self.version += 1
        self.leases[content.host] = Heartbeat(
            host=content.host,
            instance=content.instance,
            version=str(self.version),
            watchdog_armed=content.watchdog_armed,
            timing=content.timing,
        )
        return str(self.version)


def merged(old: Mapping[str, Any], patch: Mapping[str, Any]) -> dict[str, Any]:
    """RFC 7386."""
    result = dict(old)
    for name, value in patch.items():
        if value is None:
            result.pop(name, None)
        elif isinstance(value, Mapping):
            inner = result.get(name)
            result[name] = merged(inner if isinstance(inner, Mapping) else {}, value)
        else:
            result[name] = value
    return result


@dataclass
class Kept:
    """A write that the network holds: whose it is, and what it does."""

    group: Group
    host: str
    action: Callable[[], object]


class Client:
    """One program's way to the server. ``host`` is empty for the controller, which is beside it."""

    def __init__(self, api: "Api", host: str, group: Group) -> None:
        self.api, self.host, self.group = api, host, group

    @property
    def reachable(self) -> bool:
        return self.api.reachable(self.host)

    def call(
        self, action: Callable[[], T], timeout_s: float, *, write: bool = False
    ) -> Generator[Command, bool, T]:
        """One request. Raises: ApiConflict, ApiGone; ApiUnavailable: nobody knows what became."""
        kernel = self.api.kernel
        there_s, back_s = kernel.between(*LATENCY_S), kernel.between(*LATENCY_S)
        yield Sleep(there_s)
        if not self.reachable:
            if write and kernel.random.random() < KEPT_BY_THE_NETWORK:
                self.api.kept.append(Kept(self.group, self.host, action))
            yield Sleep(timeout_s)
            raise ApiUnavailable("timeout")
        refused: ApiConflict | ApiGone | None = None
        result: T | None = None
        try:
            result = action()
        except (ApiConflict, ApiGone) as error:
            refused = error
        yield Sleep(back_s)
        if not self.reachable:
            yield Sleep(timeout_s)
            raise ApiUnavailable("no answer")
        if refused is not None:
            raise refused
        return result  # type: ignore[return-value]

    def follow(
        self, kinds: tuple[type[Resource], ...], deliver: Callable[[Stored | None], None]
    ) -> Generator[Command, bool, None]:
        """A list, then every change in order, late by a little; None tells that a list is done."""
        server = self.api.server
        names = {kind.__name__ for kind in kinds}
        while not self.reachable:
            yield Sleep(0.5)
        yield Sleep(self.api.kernel.between(*LATENCY_S))
        seen = len(server.history)
        for (kind, key), obj in list(server.objects.items()):
            if kind in names:
                deliver(Stored((kind, key), obj))
        deliver(None)
        while True:
            yield Sleep(self.api.kernel.between(0.005, 0.05))
            if not self.reachable:
                yield Sleep(self.api.kernel.between(0.2, 1.0))
                continue
            news, seen = server.history[seen:], len(server.history)
            for stored in news:
                if stored.key[0] in names:
                    deliver(stored)


class Api:
    """The server and the way to it."""

    def __init__(self, kernel: Kernel, network: Network) -> None:
        self.kernel, self.network = kernel, network
        self.server = Server()
        self.up = True
        self.kept: list[Kept] = []
        self.group = Group("api")
        network.healed.append(self.deliver_kept)

    def reachable(self, host: str) -> bool:
        return self.up and (not host or self.network.up(MANAGEMENT, host))

    def set_up(self, up: bool) -> None:
        self.up = up
        self.deliver_kept()

    def deliver_kept(self) -> None:
        """What the network kept arrives some time after the way is free, if its sender lives."""
        ready = [kept for kept in self.kept if self.reachable(kept.host)]
        self.kept = [kept for kept in self.kept if not self.reachable(kept.host)]
        for kept in ready:
            delay_s = self.kernel.between(0.05, 3.0)
            self.kernel.after(delay_s, self.group, lambda kept=kept: self._carry_out(kept))  # type: ignore[misc]

    def _carry_out(self, kept: Kept) -> None:
        if not self._machine_lives(kept.group):
            return
        try:
            kept.action()
        except (ApiConflict, ApiGone):
            return

    def _machine_lives(self, group: Group) -> bool:
        """A packet outlives the process that sent it, not the machine."""
        top = group
        while top.parent is not None:
            top = top.parent
        return top.alive
