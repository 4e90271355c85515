"""The Api port on a real Kubernetes API server, through ``tandem_kube``."""

import logging
from base64 import b64decode
from collections.abc import Awaitable, Mapping
from typing import Any, TypeVar

from pydantic import ValidationError

from tandem_api.authority import Authority
from tandem_api.kinds.mirror import Claimant, Mirror, MirrorStatus
from tandem_api.lease import LEASE_LABELS, LEASE_NAMESPACE, Heartbeat, heartbeat_of, lease_name
from tandem_api.meta import API_VERSION, ObjectKey
from tandem_base.bugs import where
from tandem_controller.decide.election import LEASE_NAME, LEASE_S, Seen
from tandem_controller.ports import ApiConflict, ApiRefused, ApiUnavailable, Raw
from tandem_kube import (
    MIRRORS,
    OWN,
    SECRETS,
    Conflict,
    Forbidden,
    Invalid,
    KubeClient,
    KubeError,
    NotFound,
    Unavailable,
)

log = logging.getLogger(__name__)

T = TypeVar("T")
_HEARTBEATS = ",".join(f"{key}={value}" for key, value in LEASE_LABELS.items())
_ELECTION_TIMEOUT_S = 1.0


class KubeApi:
    """See ports.Api."""

    def __init__(self, client: KubeClient) -> None:
        self._client = client
        self._said: set[str] = set()

    async def list_objects(self, kind: str) -> tuple[list[Raw], int]:
        listing = await _answered(self._client.list(OWN[kind]))
        return listing.items, int(listing.resource_version)

    async def read_object(self, kind: str, key: ObjectKey) -> Raw | None:
        try:
            return await self._client.get(OWN[kind], key)
        except NotFound:
            return None
        except KubeError as error:
            raise _unavailable(error) from error

    async def read_mirror(self, key: ObjectKey) -> Mirror:
        return await _answered(self._client.fetch(MIRRORS, key))

    async def heartbeats(self, timeout_s: float) -> list[Heartbeat]:
        listing = await _answered(self._client.list_leases(_HEARTBEATS, timeout_s=timeout_s))
        found = (self._heartbeat(item) for item in listing.items)
        return [heartbeat for heartbeat in found if heartbeat is not None]

    def _heartbeat(self, lease: Raw) -> Heartbeat | None:
        """A wall: one that our own code cannot read says nothing of its host's silence. It must not
        count as missing, which counts as unchanged: its host would seem to be lost.
        """
        try:
            return heartbeat_of(lease)
        except Exception as error:
            metadata, said = lease["metadata"], where(error)
            if said not in self._said:
                self._said.add(said)
                log.critical("bug: Lease %s cannot be read", metadata["name"], exc_info=error)
            return Heartbeat(
                host=metadata["name"].removeprefix(lease_name("")),
                instance="",
                version=str(metadata.get("resourceVersion")),
                watchdog_armed=False,
                timing=None,
            )

    async def write_status(
        self, kind: str, key: ObjectKey, patch: Mapping[str, Any], version: str | None
    ) -> Raw:
        return await _answered(
            self._client.merge_patch_status(OWN[kind], key, patch, resource_version=version)
        )

    async def set_up_mirror(self, mirror: Mirror, fields: Mapping[str, Any]) -> Raw:
        return await _answered(
            self._client.set_in_status(
                MIRRORS,
                mirror.key,
                fields,
                uid=mirror.metadata.uid,
                resource_version=mirror.metadata.resource_version,
                empty=mirror.status == MirrorStatus(),
            )
        )

    async def add_claimant(self, mirror: Mirror, host: str, claimant: Claimant) -> Raw:
        return await _answered(self._client.add_claimant(mirror, host, claimant))

    async def write_finalizers(
        self, kind: str, key: ObjectKey, finalizers: tuple[str, ...], version: str
    ) -> Raw:
        patch = {"metadata": {"finalizers": list(finalizers)}}
        return await _answered(
            self._client.merge_patch(OWN[kind], key, patch, resource_version=version)
        )

    async def delete_object(self, kind: str, key: ObjectKey, uid: str) -> None:
        try:
            await self._client.delete(OWN[kind], key, uid=uid)
        except NotFound:
            return
        except Conflict as error:
            raise ApiConflict(str(error)) from error
        except Forbidden as error:
            raise ApiRefused(str(error)) from error
        except KubeError as error:
            raise _unavailable(error) from error

    async def read_secret(self, name: str) -> Mapping[str, str]:
        key = ObjectKey(namespace=LEASE_NAMESPACE, name=name)
        raw = await _answered(self._client.get(SECRETS, key))
        try:
            data = (raw.get("data") or {}).items()
            return {key: b64decode(value, validate=True).decode() for key, value in data}
        except ValueError:
            raise ApiRefused(f"Secret {name} does not hold text alone") from None

    async def swap_authority(
        self, key: ObjectKey, uid: str, expected_epoch: int, authority: Authority
    ) -> None:
        await _answered(
            self._client.swap_authority(
                key, expected_epoch=expected_epoch, uid=uid, authority=authority
            )
        )

    async def read_election(self) -> Seen:
        try:
            lease = await self._client.get_lease(LEASE_NAME, timeout_s=_ELECTION_TIMEOUT_S)
        except NotFound:
            return Seen("", None)
        except KubeError as error:
            raise _unavailable(error) from error
        spec = lease.get("spec") or {}
        holder, transitions = spec.get("holderIdentity") or "", spec.get("leaseTransitions") or 0
        return Seen(holder, lease["metadata"]["resourceVersion"], transitions)

    async def renew_election(
        self, holder: str, version: str | None, transitions: int | None = None
    ) -> str:
        return await _answered(
            self._client.renew_lease(
                LEASE_NAME,
                holder=holder,
                duration_s=LEASE_S,
                resource_version=version or "",
                transitions=transitions,
                timeout_s=_ELECTION_TIMEOUT_S,
            )
        )

    async def event(
        self, kind: str, key: ObjectKey, uid: str, warning: bool, reason: str, message: str
    ) -> None:
        regarding = {
            "apiVersion": API_VERSION,
            "kind": kind,
            "metadata": {"namespace": key.namespace, "name": key.name, "uid": uid},
        }
        await _answered(
            self._client.event(regarding, "Warning" if warning else "Normal", reason, message)
        )


async def _answered(call: Awaitable[T]) -> T:
    """The call's answer, its errors in the port's terms."""
    try:
        return await call
    except (Conflict, NotFound) as error:
        raise ApiConflict(str(error)) from error
    except (Invalid, Forbidden, ValidationError) as error:
        raise ApiRefused(str(error)) from error
    except KubeError as error:
        raise _unavailable(error) from error


def _unavailable(error: KubeError) -> ApiUnavailable:
    retry_after_s = error.retry_after_s if isinstance(error, Unavailable) else 0.0
    return ApiUnavailable(str(error), retry_after_s)
