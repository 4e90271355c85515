"""What the controller needs from the outside, as a Protocol.

The real one is ``kube.KubeApi``. Every method has a timeout of its own and raises only what is
named here. Nothing is retried behind a caller's back.
"""

import asyncio
import random
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from enum import StrEnum
from typing import Any, Protocol

from tandem_api import registry
from tandem_api.authority import Authority
from tandem_api.kinds.mirror import Claimant, Mirror
from tandem_api.lease import Heartbeat
from tandem_api.meta import ObjectKey
from tandem_api.registry import Component
from tandem_controller.decide.election import Seen
from tandem_controller.decide.world.model import Plan, Snapshot

Raw = dict[str, Any]
"""An object as the API gives it."""

KINDS = tuple(info.kind for info in registry.watched_by(Component.CONTROLLER))


class ApiError(Exception):
    """Base of every failure that the adapter reports."""


class ApiConflict(ApiError):
    """A precondition does not hold, or the object is gone. Nothing was changed; read again."""


class ApiRefused(ApiError):
    """The server refuses the content or the writer. Nothing was changed; a retry is no use."""


class ApiUnavailable(ApiError):
    """No usable answer. Whether a write took effect is unknown.

    ``retry_after_s``: for how long the server asks to be left alone; 0 if it says nothing.
    """

    def __init__(self, message: str, retry_after_s: float = 0.0) -> None:
        super().__init__(message)
        self.retry_after_s = retry_after_s


class AgentError(Exception):
    """A fence agent gave no answer that counts. The message holds no secret."""


class AgentFailed(AgentError):
    """It could not be begun, or has said no, or what it said is not understood."""


class AgentHung(AgentError):
    """It did not end in time. Whether it took effect is unknown; it was ended."""


class PowerState(StrEnum):
    """What an agent says of a machine's power."""

    ON = "On"
    OFF = "Off"


@dataclass(frozen=True)
class AgentCall:
    """Which agent, and what it is given. ``secrets`` are parameters, too, and are never shown."""

    agent: str
    parameters: Mapping[str, str]
    secrets: Mapping[str, str] = field(repr=False)
    timeout_s: float


class FenceAgents(Protocol):
    """Programs that switch machines off. Both raise AgentError, in time; cancelled, they end it."""

    async def off(self, call: AgentCall) -> None:
        """Switch it off. That it is off, another question tells."""
        ...

    async def status(self, call: AgentCall) -> PowerState:
        """Whether it is on or off."""
        ...


class NoFenceAgents:
    """There are none."""

    async def off(self, call: AgentCall) -> None:
        raise AgentFailed(f"there is no {call.agent}")

    async def status(self, call: AgentCall) -> PowerState:
        raise AgentFailed(f"there is no {call.agent}")


class Clock(Protocol):
    """The replica's clocks."""

    def monotonic_s(self) -> float:
        """What waits and ages are counted on."""
        ...

    def wall(self) -> str:
        """RFC 3339 with milliseconds, for people only."""
        ...


class Planner(Protocol):
    """Makes plans, beside whatever else the replica does meanwhile."""

    async def plan(self, snapshot: Snapshot) -> Plan:
        """What ``decide.plan`` makes of it. However long it takes, the loop turns on."""
        ...


Told = Callable[[str, bool, Raw], None]
"""A watch has told of an object: its kind, whether it is gone, and its (last) state."""
Opened = Callable[[str], None]
"""The server has answered to a watch of this kind."""


class Watcher(Protocol):
    """One beginning of what watches the kinds."""

    @property
    def ended(self) -> "asyncio.Future[BaseException | None]":
        """Done when nothing more will be told: None, or why it gave up."""
        ...

    def stop(self) -> None:
        """Ask it to end. Never waits."""
        ...


class Watchers(Protocol):
    """Begins watches of every kind."""

    def begin(self, told: Told, opened: Opened) -> Watcher:
        """Both are called in the caller's event loop."""
        ...


class Watched(Protocol):
    """The watches that feed the store, held against what lists show."""

    def told(self, kind: str) -> int:
        """The newest version that the watch of this kind has told."""
        ...

    def listed(self, kind: str, told_before: int, newest: int, version: int) -> None:
        """A list was answered: its newest object, and the version that it is of."""
        ...


class Api(Protocol):
    """The API server. Reads are quorum reads."""

    async def list_objects(self, kind: str) -> tuple[list[Raw], int]:
        """All objects of one of KINDS, and the version that the list is of."""
        ...

    async def read_object(self, kind: str, key: ObjectKey) -> Raw | None:
        """One object; None if it is gone."""
        ...

    async def read_mirror(self, key: ObjectKey) -> Mirror:
        """One mirror, for a decision; ApiConflict if it is gone."""
        ...

    async def heartbeats(self, timeout_s: float) -> list[Heartbeat]:
        """All hosts' heartbeats, from one read of their Leases."""
        ...

    async def write_status(
        self, kind: str, key: ObjectKey, patch: Mapping[str, Any], version: str | None
    ) -> Raw:
        """Merge into a status; with a version only if the object is still that one."""
        ...

    async def set_up_mirror(self, mirror: Mirror, fields: Mapping[str, Any]) -> Raw:
        """Replace fields of its status if it is still this object and version."""
        ...

    async def add_claimant(self, mirror: Mirror, host: str, claimant: Claimant) -> Raw:
        """Put a host's entry into the mirror's claimants, if it is still as WriteClaimant says."""
        ...

    async def write_finalizers(
        self, kind: str, key: ObjectKey, finalizers: tuple[str, ...], version: str
    ) -> Raw:
        """Replace the finalizers if the object is still that version."""
        ...

    async def delete_object(self, kind: str, key: ObjectKey, uid: str) -> None:
        """If it is still this one. One that is gone is as good."""
        ...

    async def read_secret(self, name: str) -> Mapping[str, str]:
        """What a Secret in Tandem's namespace holds; ApiConflict if it is not there."""
        ...

    async def swap_authority(
        self, key: ObjectKey, uid: str, expected_epoch: int, authority: Authority
    ) -> None:
        """Replace the authority if it still has this epoch, else ApiConflict."""
        ...

    async def read_election(self) -> Seen:
        """The controllers' own Lease; no version if it is not there."""
        ...

    async def renew_election(
        self, holder: str, version: str | None, transitions: int | None = None
    ) -> str:
        """Write it if it still has this version (None: make it); returns the new version.

        ``transitions``: the holder is a new one; how often it has passed on by that.
        """
        ...

    async def event(
        self, kind: str, key: ObjectKey, uid: str, warning: bool, reason: str, message: str
    ) -> None:
        """Record an event about an object."""
        ...


@dataclass(frozen=True)
class Outside:
    """What one replica reaches. ``identity``: its name in the election."""

    identity: str
    api: Api
    watchers: Watchers
    clock: Clock
    chance: random.Random
    planner: Planner
    agents: FenceAgents = field(default_factory=NoFenceAgents)
