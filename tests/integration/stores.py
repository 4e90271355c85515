"""A server with our definitions, as the tests of them use it."""

from pathlib import Path
from typing import Any

from kubernetes.client.exceptions import ApiException

from kubernetes import client, config
from tandem_api.meta import GROUP, VERSION
from tandem_api.registry import KINDS
from tandem_examples import Raw
from tandem_lab.controlplane import ControlPlane

TIMEOUT_S = 10

INFOS = {info.kind: info for info in KINDS}
LIMIT: dict[str, Any] = {"_request_timeout": TIMEOUT_S}


def connected(plane: ControlPlane) -> client.ApiClient:
    """A client of the server's administrator."""
    loader: Any = config
    made: client.ApiClient = loader.new_client_from_config(str(plane.admin_kubeconfig()))
    return made


class Store:
    """Our objects on the server, over its API: kubectl takes a second for each call."""

    def __init__(self, plane: ControlPlane) -> None:
        self.plane = plane
        made = connected(plane)
        self._api: Any = client.CustomObjectsApi(made)
        self._core = client.CoreV1Api(made)

    def put(self, raw: Raw) -> None:
        """Create the object or put it in place of the one that is there, with its status."""
        where, name = self._where(raw), raw["metadata"]["name"]
        self._ensure_namespace(raw["metadata"].get("namespace"))
        try:
            current = self._api.get_namespaced_custom_object(*where, name, **LIMIT)
        except ApiException as error:
            if error.status != 404:
                raise
            current = self._api.create_namespaced_custom_object(*where, raw, **LIMIT)
        for path in ("", "/status"):
            if path and "status" not in raw:
                continue
            version = current["metadata"]["resourceVersion"]
            body = {**raw, "metadata": {**raw["metadata"], "resourceVersion": version}}
            replace = (
                self._api.replace_namespaced_custom_object_status
                if path
                else self._api.replace_namespaced_custom_object
            )
            current = replace(*where, name, body, **LIMIT)

    def everything(self) -> list[Raw]:
        """All objects of ours as the server gives them."""
        found: list[Raw] = []
        for info in KINDS:
            listed = self._api.list_cluster_custom_object(GROUP, VERSION, info.plural, **LIMIT)
            found += listed["items"]
        return found

    def clear(self) -> None:
        """Delete all objects of ours."""
        for raw in self.everything():
            name = raw["metadata"]["name"]
            self._api.delete_namespaced_custom_object(*self._where(raw), name, **LIMIT)

    def apply(self, path: Path, *arguments: str) -> list[str]:
        """kubectl's own way, as a person takes it."""
        return self.plane.kubectl("apply", *arguments, "-f", str(path)).splitlines()

    def columns(self, *arguments: str) -> list[dict[str, str]]:
        """What ``kubectl get`` shows, cut where its columns begin."""
        head, *lines = self.plane.kubectl("get", *arguments).splitlines()
        starts = [i for i, c in enumerate(head) if c != " " and (i == 0 or head[i - 1] == " ")]
        spans = list(zip(starts, [*starts[1:], 10_000], strict=True))
        return [{head[a:b].strip(): line[a:b].strip() for a, b in spans} for line in lines]

    def _where(self, raw: Raw) -> tuple[str, str, str, str]:
        """Group, version, namespace, plural; a cluster's objects live in no namespace's path."""
        info = INFOS[raw["kind"]]
        return GROUP, VERSION, raw["metadata"].get("namespace", ""), info.plural

    def _ensure_namespace(self, name: str | None) -> None:
        if name is None:
            return
        try:
            body = client.V1Namespace(metadata=client.V1ObjectMeta(name=name))
            self._core.create_namespace(body, **LIMIT)
        except ApiException as error:
            if error.status != 409:
                raise
