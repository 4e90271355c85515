"""The API server, as the actuator needs it."""

from collections.abc import AsyncIterator, Mapping
from dataclasses import dataclass
from typing import Generic, Protocol, TypeVar

from tandem_actuator.ports import PortError
from tandem_api.authority import Authority, Instance
from tandem_api.kinds.guest import GuestReport
from tandem_api.kinds.host import DrbdFiles
from tandem_api.kinds.mirror import Mirror, ReplicaReport
from tandem_api.lease import Heartbeat, HeartbeatContent
from tandem_api.meta import ObjectKey, Resource

T = TypeVar("T")


R = TypeVar("R", bound=Resource)


class ApiUnavailable(PortError):
    """No usable answer from the API. For a write: whether it took effect is unknown."""


class ApiRefused(ApiUnavailable):
    """The API server does not let this host do it, or not with this content; nothing was changed.
    It is alive, and the same again would be refused again.
    """


class ApiConflict(PortError):
    """A compare-and-swap found something else; nothing was changed."""


class ApiGone(PortError):
    """The object is not there."""


@dataclass(frozen=True)
class Synced(Generic[T]):
    """All objects of a kind, as a list had them: what is not in it is gone."""

    objects: tuple[T, ...]


@dataclass(frozen=True)
class Changed(Generic[T]):
    """One object was added or changed."""

    object: T


@dataclass(frozen=True)
class Removed:
    """One object is gone."""

    key: ObjectKey


@dataclass(frozen=True)
class Unheard:
    """Nothing of a kind is heard of until all of it is told again. The reason is for people."""

    why: str


class Api(Protocol):
    """The API server. Reads are quorum reads; every call has a timeout."""

    async def read_mirror(self, key: ObjectKey) -> Mirror:
        """Raises: ApiUnavailable, ApiGone."""
        ...

    async def read_heartbeat(self, host: str) -> Heartbeat | None:
        """The host's lease, None if there is none. Raises: ApiUnavailable."""
        ...

    async def swap_authority(
        self, key: ObjectKey, uid: str, expected_epoch: int, authority: Authority
    ) -> Mirror:
        """Replace the authority if uid and epoch are as expected.

        Raises:
            ApiConflict: they are not; nothing changed.
            ApiUnavailable: no answer; it may have landed or may land later.
        """
        ...

    async def renew(self, heartbeat: HeartbeatContent) -> str:
        """Write this host's lease; its new resourceVersion. Raises: ApiUnavailable."""
        ...

    async def report_replica(
        self, key: ObjectKey, host: str, report: ReplicaReport, shown: ReplicaReport | None = None
    ) -> None:
        """Write Mirror.status.replicas[host]; ``shown``: what stands there, as far as is known.

        Raises: ApiUnavailable, ApiGone.
        """
        ...

    async def report_guest(
        self, key: ObjectKey, host: str, report: GuestReport, shown: GuestReport | None = None
    ) -> None:
        """Write Guest.status.hosts[host]; ``shown``: what stands there, as far as is known.

        Raises: ApiUnavailable, ApiGone.
        """
        ...

    async def report_host(
        self,
        name: str,
        instance: Instance,
        versions: Mapping[str, str],
        migration_port: int | None,
        drbd_files: DrbdFiles,
    ) -> None:
        """Write Host.status.instance, bootID, versions, migrationPort and drbdFiles.

        Raises: ApiUnavailable, ApiGone.
        """
        ...

    def watch(self, kind: type[R]) -> AsyncIterator[Synced[R] | Changed[R] | Removed | Unheard]:
        """Follow a kind for ever; begins with, and after every interruption repeats, Synced."""
        ...
