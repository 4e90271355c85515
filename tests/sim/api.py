"""The API server: linearizable objects with resourceVersions, leases, lost and late answers.

Objects are the real types. Every write that is decided by a precondition is checked as the server
does. A request of a host that is cut off is lost, or kept by the network and carried out when the
link is healed (then nobody hears the answer). ``watch`` follows what happens here. Called by
``actuator``, ``controller`` and verbs.
"""

from collections import defaultdict
from collections.abc import Callable, Generator, Mapping
from dataclasses import dataclass, field
from typing import Any, TypeVar

from sim.kernel import Command, Group, Kernel, Sleep
from sim.network import IN, MANAGEMENT, OUT, Network
from sim.review import Review
from tandem_actuator.ports import ApiConflict, ApiGone, ApiUnavailable, PortError
from tandem_api.authority import Authority
from tandem_api.guest import Guest
from tandem_api.lease import Heartbeat, HeartbeatContent
from tandem_api.meta import Model, ObjectKey, Resource
from tandem_api.mirror import Claimant, Mirror
from tandem_controller.decide.election import Seen

T = TypeVar("T")
R = TypeVar("R", bound=Resource)
Key = tuple[str, ObjectKey]

LATENCY_S = (0.002, 0.02)
KEPT_BY_THE_NETWORK = 0.5
"""How likely a write into a dead link is carried out after it was healed."""


class Refused(PortError):
    """Who asks may not write that. Nothing was changed."""


@dataclass
class History:
    """What became of the objects of one kind: each entry an object, or the key of one removed."""

    entries: list[Resource | ObjectKey] = field(default_factory=list)
    told: list[Callable[[], None]] = field(default_factory=list)

    def add(self, entry: Resource | ObjectKey) -> None:
        self.entries.append(entry)
        for tell in list(self.told):
            tell()


@dataclass(frozen=True)
class Backup:
    """Everything that there was at one moment."""

    version: int
    objects: Mapping[Key, Resource]
    leases: Mapping[str, Heartbeat]
    election: Seen


class Server:
    """The objects and the leases. Every method happens at one moment."""

    def __init__(self) -> None:
        self.version = 100
        self.objects: dict[Key, Resource] = {}
        self.leases: dict[str, Heartbeat] = {}
        self.history: dict[str, History] = defaultdict(History)
        self.restored: list[Callable[[], None]] = []
        self.on_authority: list[Callable[[Mirror, Authority | None], None]] = []
        self.review = Review()
        self.election = Seen("", None)
        self._raws: dict[tuple[str, ObjectKey], tuple[Resource, dict[str, Any]]] = {}

    def raw(self, obj: Resource) -> dict[str, Any]:
        """As it goes over the wire; made once for each version."""
        key = (type(obj).__name__, obj.key)
        known = self._raws.get(key)
        if known is None or known[0] is not obj:
            self._raws[key] = known = (obj, obj.wire())
        return known[1]

    def elect(self, holder: str, version: str | None, transitions: int | None) -> str:
        """Write the controllers' Lease if it still has this version."""
        if self.election.version != version:
            raise ApiConflict("the election's lease has changed")
        self.version += 1
        count = self.election.transitions if transitions is None else transitions
        self.election = Seen(holder, str(self.version), count)
        return str(self.version)

    def put(self, obj: Resource) -> Resource:
        """Store under the next resourceVersion. Raises: Refused."""
        known = self.objects.get((type(obj).__name__, obj.key))
        refused = self.review.problems(known, obj, self.every(Guest))
        if refused:
            raise Refused(refused)
        self.version += 1
        versioned = obj.metadata.model_copy(update={"resource_version": str(self.version)})
        stored = obj.model_copy(update={"metadata": versioned})
        key = (type(obj).__name__, obj.key)
        if isinstance(stored, Mirror):
            self._authority_changed(key, stored)
        self.objects[key] = stored
        self.history[key[0]].add(stored)
        return stored

    def remove(self, kind: type[Resource], key: ObjectKey) -> None:
        """It is gone, with its finalizers or without."""
        self.version += 1
        del self.objects[(kind.__name__, key)]
        self.history[kind.__name__].add(key)

    def backup(self) -> Backup:
        return Backup(self.version, dict(self.objects), dict(self.leases), self.election)

    def restore(self, backup: Backup) -> None:
        """Everything is as it was then, also the version: what was written since never was."""
        self.version = backup.version
        self.objects, self.leases = dict(backup.objects), dict(backup.leases)
        self.election = backup.election
        for tell in self.restored:
            tell()

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

    def add_claimant(self, seen: Mirror, host: str, claimant: Claimant) -> Mirror:
        """A JSON patch with tests on the uid, and on the epoch or on the version."""
        mirror = self.get(Mirror, seen.key)
        held_by, version = mirror.status.authority, mirror.metadata.resource_version
        as_judged = (
            claimant.proves_at(held_by)
            if claimant.proves_at(seen.status.authority)
            else version == seen.metadata.resource_version
        )
        if mirror.metadata.uid != seen.metadata.uid or not as_judged:
            raise ApiConflict(f"{seen.key} has changed")
        known = mirror.status.claimants if seen.status.claimants is not None else None
        status = mirror.status.model_copy(update={"claimants": {**(known or {}), host: claimant}})
        stored = self.put(mirror.model_copy(update={"status": status}))
        assert isinstance(stored, Mirror)
        return stored

    def patch_status(
        self,
        kind: type[R],
        key: ObjectKey,
        patch: Mapping[str, Any],
        version: str | None = None,
        uid: str | None = None,
    ) -> R:
        """A merge patch of the status, as the API does it on JSON. (With a uid: a JSON patch.)"""
        obj: Any = self.get(kind, key)
        if uid is not None and obj.metadata.uid != uid:
            raise ApiConflict(f"{kind.__name__} {key} was made again")
        if version is not None and obj.metadata.resource_version != version:
            raise ApiConflict(f"{kind.__name__} {key} has changed")
        raw = obj.status.model_dump(mode="json", by_alias=True, exclude_none=True)
        status = type(obj.status).model_validate(merged(raw, patch))
        new = obj.model_copy(update={"status": status})
        stored = self.put(new) if status != obj.status else obj
        assert isinstance(stored, kind)
        return stored

    def set_in_status(
        self, kind: type[R], key: ObjectKey, fields: Mapping[str, Any], version: str, uid: str
    ) -> R:
        """A JSON patch that sets these fields, with tests on the uid and the version."""
        obj: Any = self.get(kind, key)
        if (obj.metadata.uid, obj.metadata.resource_version) != (uid, version):
            raise ApiConflict(f"{kind.__name__} {key} has changed")
        raw = obj.status.model_dump(mode="json", by_alias=True, exclude_none=True)
        status = type(obj.status).model_validate({**raw, **fields})
        stored = self.put(obj.model_copy(update={"status": status}))
        assert isinstance(stored, kind)
        return stored

    def report(self, kind: type[R], key: ObjectKey, field: str, host: str, report: Model) -> None:
        """A merge patch of one host's own part of the status, with null for what is absent."""
        obj: Any = self.get(kind, key)
        known = getattr(obj.status, field)
        if known.get(host) != report:
            status = obj.status.model_copy(update={field: {**known, host: report}})
            self.put(obj.model_copy(update={"status": status}))

    def set_finalizers(
        self, kind: type[R], key: ObjectKey, finalizers: tuple[str, ...], version: str
    ) -> R:
        """Raises: ApiConflict."""
        now = self.get(kind, key)
        if now.metadata.resource_version != version:
            raise ApiConflict(f"{key} has changed")
        metadata = now.metadata.model_copy(update={"finalizers": finalizers})
        stored = self.put(now.model_copy(update={"metadata": metadata}))
        assert isinstance(stored, kind)
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
    """One program's way to the server. ``host`` is empty for the controller, which is beside it.

    ``_joined``: it has a connection on which the last request was answered.
    """

    def __init__(self, api: "Api", host: str, group: Group) -> None:
        self.api, self.host, self.group = api, host, group
        self._joined = True

    @property
    def reachable(self) -> bool:
        return self.api.reachable(self.host)

    @property
    def hears(self) -> bool:
        """Whether what the server sends gets here."""
        return self.api.up and self.api.network.passes(MANAGEMENT, receiver=self.host)

    def trip_s(self) -> float:
        """How long one way takes."""
        kernel, slow_s = self.api.kernel, self.api.network.slow_s.get(self.host, 0.0)
        usual_s = kernel.between(*LATENCY_S)
        usual_s += self.api.network.delay_s.get((MANAGEMENT, self.host), 0.0) / 2
        return usual_s + kernel.between(0.0, slow_s) if slow_s else usual_s

    def call(
        self, action: Callable[[], T], timeout_s: float, *, write: bool = False
    ) -> Generator[Command, bool, T]:
        """One request. Raises: ApiConflict, ApiGone; ApiUnavailable: nobody knows what became."""
        ways_s = self.api.network.slow_way_s
        there_s = self.trip_s() + ways_s.get((self.host, OUT), 0.0)
        back_s = self.trip_s() + ways_s.get((self.host, IN), 0.0)
        if there_s >= timeout_s:
            late = Kept(self.group, self.host, action)
            self.api.kernel.after(there_s, self.api.group, lambda: self.api.arrive(late))
            yield from self._give_up(timeout_s)
        yield Sleep(there_s)
        arrives = self.reachable or (self._joined and self.api.takes(self.host))
        if not arrives:
            if write and self.api.kernel.random.random() < KEPT_BY_THE_NETWORK:
                self.api.kept.append(Kept(self.group, self.host, action))
            yield from self._give_up(timeout_s)
        refused: ApiConflict | ApiGone | Refused | None = None
        result: T | None = None
        try:
            result = self.api.carry_out(self.host, action)
        except (ApiConflict, ApiGone, Refused) as error:
            refused = error
        if there_s + back_s >= timeout_s:
            yield from self._give_up(timeout_s - there_s)
        yield Sleep(back_s)
        if not self.reachable:
            yield from self._give_up(timeout_s)
        self._joined = True
        if isinstance(refused, Refused) and self.host:
            raise ApiUnavailable(str(refused))  # as the adapter of a host says it
        if refused is not None:
            raise refused
        return result  # type: ignore[return-value]

    def _give_up(self, after_s: float) -> Generator[Command, bool, None]:
        yield Sleep(after_s)
        self._joined = False
        raise ApiUnavailable("no answer")


class Api:
    """The server and the way to it. ``lag_s``: how late watches are, by host."""

    def __init__(self, kernel: Kernel, network: Network) -> None:
        self.kernel, self.network = kernel, network
        self.server = Server()
        self.up = True
        self.kept: list[Kept] = []
        self.group = Group("api")
        self.stirred: list[Callable[[], None]] = []
        self.lag_s: dict[str, tuple[float, float]] = {}
        network.changed.append(self._stir)

    def reachable(self, host: str) -> bool:
        return self.up and (not host or self.network.up(MANAGEMENT, host))

    def takes(self, host: str) -> bool:
        """Whether a request gets to the server, if not its answer back."""
        return self.up and self.network.passes(MANAGEMENT, sender=host)

    def set_up(self, up: bool) -> None:
        self.up = up
        self._stir()

    def _stir(self) -> None:
        for tell in list(self.stirred):
            tell()
        self._deliver_kept()

    def _deliver_kept(self) -> None:
        """What the network kept arrives some time after the way is free, if its sender lives."""
        ready = [kept for kept in self.kept if self.reachable(kept.host)]
        self.kept = [kept for kept in self.kept if not self.reachable(kept.host)]
        for kept in ready:
            delay_s = self.kernel.between(0.05, 3.0)
            self.kernel.after(delay_s, self.group, lambda kept=kept: self.arrive(kept))  # type: ignore[misc]

    def arrive(self, kept: Kept) -> None:
        """A request that nobody waits for any more. It outlives its process, not the machine."""
        top = kept.group
        while top.parent is not None:
            top = top.parent
        if not top.alive or not self.takes(kept.host):
            return
        try:
            self.carry_out(kept.host, kept.action)
        except (ApiConflict, ApiGone, Refused):
            return

    def carry_out(self, host: str, action: Callable[[], T]) -> T:
        """What a program asks for, in its own name."""
        review = self.server.review
        review.writer = review.of(host)
        try:
            return action()
        finally:
            review.writer = None
