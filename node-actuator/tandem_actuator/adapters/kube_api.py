"""The Api port on a real Kubernetes API server, through ``tandem_kube``."""

import logging
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping
from typing import Any

from pydantic import ValidationError

from tandem_actuator.ports.api import (
    ApiConflict,
    ApiGone,
    ApiRefused,
    ApiUnavailable,
    Changed,
    R,
    Removed,
    Synced,
    T,
    Unheard,
)
from tandem_api.authority import Authority, Instance
from tandem_api.kinds.guest import GuestReport
from tandem_api.kinds.host import DrbdFiles
from tandem_api.kinds.mirror import Mirror, ReplicaReport
from tandem_api.lease import Heartbeat, HeartbeatContent, heartbeat_of, lease_name
from tandem_api.meta import Model, ObjectKey
from tandem_kube import watch
from tandem_kube.client import KubeClient
from tandem_kube.errors import Conflict, Forbidden, Invalid, KubeError, NotFound
from tandem_kube.kinds import GUESTS, HOSTS, MIRRORS, OWN, Raw

log = logging.getLogger(__name__)


class KubeApi:
    """See ports.Api. ``restarted`` is told the kind and why, when a watch must begin anew.

    ``heart``: the client of heartbeats, with connections of its own. Beside slow reads of much a
    heartbeat took 1.4 s on theirs, and one that takes longer than RENEW_TIMEOUT_S does not count.
    """

    def __init__(
        self,
        client: KubeClient,
        restarted: Callable[[str, str], None] = lambda kind, reason: None,
        heart: KubeClient | None = None,
    ) -> None:
        self._client, self._heart, self._restarted = client, heart or client, restarted
        self._renewed: str | None = None

    async def read_mirror(self, key: ObjectKey) -> Mirror:
        return await _answered(self._client.fetch(MIRRORS, key))

    async def read_heartbeat(self, host: str) -> Heartbeat | None:
        try:
            return heartbeat_of(await _answered(self._client.get_lease(lease_name(host))))
        except ApiGone:
            return None

    async def swap_authority(
        self, key: ObjectKey, uid: str, expected_epoch: int, authority: Authority
    ) -> Mirror:
        return await _answered(
            self._client.swap_authority(
                key, expected_epoch=expected_epoch, uid=uid, authority=authority
            )
        )

    async def renew(self, heartbeat: HeartbeatContent) -> str:
        """Of one version after another: one that was given up, and lands after a later one was
        confirmed, would promise what this host does not keep any more.
        """
        if self._renewed is None:
            self._renewed = await self._lease_version(heartbeat.host)
        try:
            version = await self._renew(heartbeat, self._renewed)
        except ApiConflict:
            version = await self._renew(heartbeat, await self._lease_version(heartbeat.host))
        self._renewed = version
        return version

    async def _lease_version(self, host: str) -> str:
        """Empty: there is none."""
        try:
            lease = await _answered(self._heart.get_lease(lease_name(host)))
        except ApiGone:
            return ""
        return str(lease["metadata"]["resourceVersion"])

    async def _renew(self, heartbeat: HeartbeatContent, version: str) -> str:
        return await _answered(
            self._heart.renew_lease(
                lease_name(heartbeat.host),
                holder=heartbeat.instance,
                duration_s=heartbeat.timing.lease_duration_seconds,
                labels=heartbeat.labels,
                annotations=heartbeat.annotations,
                resource_version=version,
            )
        )

    async def report_replica(
        self, key: ObjectKey, host: str, report: ReplicaReport, shown: ReplicaReport | None = None
    ) -> None:
        patch = {"replicas": {host: _whole(report, shown)}}
        await _answered(self._client.merge_patch_status(MIRRORS, key, patch))

    async def report_guest(
        self, key: ObjectKey, host: str, report: GuestReport, shown: GuestReport | None = None
    ) -> None:
        patch = {"hosts": {host: _whole(report, shown)}}
        await _answered(self._client.merge_patch_status(GUESTS, key, patch))

    async def report_host(
        self,
        name: str,
        instance: Instance,
        versions: Mapping[str, str],
        migration_port: int | None,
        drbd_files: DrbdFiles,
    ) -> None:
        patch = {
            "instance": str(instance),
            "bootID": instance.boot_id,
            "versions": dict(versions),
            "migrationPort": migration_port,
            "drbdFiles": drbd_files.model_dump(mode="json", by_alias=True),
        }
        key = ObjectKey(namespace="", name=name)
        await _answered(self._client.merge_patch_status(HOSTS, key, patch))

    async def watch(
        self, kind: type[R]
    ) -> AsyncIterator[Synced[R] | Changed[R] | Removed | Unheard]:
        """An object that this version cannot read is left out, loudly; the rest goes on."""
        async for event in self._client.watch(OWN[kind.__name__]):
            match event:
                case watch.Synced(items):
                    parsed = (_parsed(kind, raw) for raw in items)
                    yield Synced(tuple(obj for obj in parsed if obj is not None))
                case watch.Changed(raw):
                    obj = _parsed(kind, raw)
                    if obj is not None:
                        yield Changed(obj)
                case watch.Deleted(raw):
                    metadata = raw["metadata"]
                    yield Removed(
                        ObjectKey(namespace=metadata.get("namespace", ""), name=metadata["name"])
                    )
                case watch.Interrupted(message, ending):
                    log.warning("watch of %s interrupted: %s", kind.__name__, message)
                    self._restarted(kind.__name__, ending)
                    yield Unheard(f"watch of {kind.__name__}: {message}")


def _whole(report: Model, shown: Model | None) -> dict[str, Any]:
    """For a merge patch: what is absent becomes null, so that old values do not stay. In a map that
    is what the API shows and the report has not.
    """
    new = report.model_dump(mode="json", by_alias=True)
    for name, old in (shown.model_dump(mode="json", by_alias=True) if shown else {}).items():
        if isinstance(old, dict) and isinstance(new[name], dict):
            new[name] = {**dict.fromkeys(old), **new[name]}
    return new


def _parsed(kind: type[R], raw: Raw) -> R | None:
    try:
        return kind.parse(raw)
    except Exception as error:  # also a bug in our own code: it costs this object alone
        name = raw.get("metadata", {}).get("name")
        log.error("%s %s cannot be read and is left alone: %s", kind.__name__, name, error)
        return None


async def _answered(call: Awaitable[T]) -> T:
    """The call's answer, its errors in the port's terms."""
    try:
        return await call
    except NotFound as error:
        raise ApiGone(str(error)) from error
    except Conflict as error:
        raise ApiConflict(str(error)) from error
    except (Forbidden, Invalid) as error:
        raise ApiRefused(str(error)) from error
    except (KubeError, ValidationError) as error:
        raise ApiUnavailable(str(error)) from error
