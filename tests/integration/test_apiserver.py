"""The lab's control plane does what the product builds on: CAS, watches, RBAC, and outages."""

from __future__ import annotations

import stat
import subprocess
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import urllib3

from kubernetes import client, config, watch
from tandem_lab.controlplane import ApplyError, ControlPlane, ControlPlaneError, apply_path

pytestmark = pytest.mark.integration

GROUP, VERSION, PLURAL = "lab-test.tandem.dev", "v1", "probes"
MANIFEST = f"""\
apiVersion: {GROUP}/{VERSION}
kind: Probe
metadata: {{name: first, namespace: default}}
spec: {{owner: a}}
---
apiVersion: apiextensions.k8s.io/v1
kind: CustomResourceDefinition
metadata: {{name: {PLURAL}.{GROUP}}}
spec:
  group: {GROUP}
  scope: Namespaced
  names: {{kind: Probe, plural: {PLURAL}, singular: probe}}
  versions:
    - name: {VERSION}
      served: true
      storage: true
      subresources: {{status: {{}}}}
      schema:
        openAPIV3Schema:
          type: object
          properties:
            spec:
              type: object
              properties: {{owner: {{type: string}}}}
              x-kubernetes-validations: [{{rule: "self.owner != ''"}}]
            status: {{type: object, properties: {{epoch: {{type: integer}}}}}}
"""
ROLE = """\
apiVersion: rbac.authorization.k8s.io/v1
kind: Role
metadata: {name: reader}
rules: [{apiGroups: [""], resources: [configmaps], verbs: [get, list]}]
---
apiVersion: rbac.authorization.k8s.io/v1
kind: RoleBinding
metadata: {name: reader}
roleRef: {apiGroup: rbac.authorization.k8s.io, kind: Role, name: reader}
subjects: [{apiGroup: rbac.authorization.k8s.io, kind: Group, name: "tandem:hosts"}]
"""


class Probes:
    """Custom objects of this test's kind in one namespace."""

    def __init__(self, api: client.ApiClient, namespace: str) -> None:
        # The client types a custom object as `object`, and cannot be given its place as **where.
        self.api: Any = client.CustomObjectsApi(api)
        self.where = {
            "group": GROUP,
            "version": VERSION,
            "namespace": namespace,
            "plural": PLURAL,
        }

    def create(self, name: str, owner: str) -> dict[str, Any]:
        body = {
            "apiVersion": f"{GROUP}/{VERSION}",
            "kind": "Probe",
            "metadata": {"name": name},
            "spec": {"owner": owner},
        }
        created: dict[str, Any] = self.api.create_namespaced_custom_object(**self.where, body=body)
        return created

    def get(self, name: str) -> dict[str, Any]:
        found: dict[str, Any] = self.api.get_namespaced_custom_object(
            **self.where, name=name, _request_timeout=10
        )
        return found


def connect(kubeconfig: Path) -> client.ApiClient:
    """A client whose calls are made once: an outage is to be seen, not retried away."""
    settings = client.Configuration()
    config.load_kube_config(str(kubeconfig), client_configuration=settings)
    settings.retries = False
    return client.ApiClient(settings)


def status_of(call: Any, *arguments: Any, **named: Any) -> int:
    """The HTTP status with which a call fails."""
    with pytest.raises(client.ApiException) as raised:
        call(*arguments, **named)
    return int(raised.value.status)


@pytest.fixture(scope="module")
def applied(api_server: ControlPlane, tmp_path_factory: pytest.TempPathFactory) -> list[str]:
    folder = tmp_path_factory.mktemp("manifests")
    (folder / "probe.yaml").write_text(MANIFEST)
    return apply_path(api_server, folder)


@pytest.fixture
def probes(api_server: ControlPlane, applied: list[str], namespace: str) -> Iterator[Probes]:
    assert applied
    with connect(api_server.admin_kubeconfig()) as api:
        yield Probes(api, namespace)


def test_apply_puts_definitions_first_and_waits_for_them(
    api_server: ControlPlane, applied: list[str]
) -> None:
    assert [line.split()[0] for line in applied] == [
        f"customresourcedefinition.apiextensions.k8s.io/{PLURAL}.{GROUP}",
        f"probe.{GROUP}/first",
    ]
    found = api_server.kubectl("get", f"{PLURAL}.{GROUP}", "first", "--output=name")
    assert found.strip() == f"probe.{GROUP}/first"


def test_apply_takes_a_kustomization(
    api_server: ControlPlane, namespace: str, tmp_path: Path
) -> None:
    (tmp_path / "role.yaml").write_text(ROLE)
    (tmp_path / "kustomization.yaml").write_text(
        f"namespace: {namespace}\nresources: [role.yaml]\n"
    )
    first = apply_path(api_server, tmp_path)
    assert sorted(line.split()[1] for line in first) == ["created", "created"]
    again = apply_path(api_server, tmp_path)
    assert sorted(line.split()[1] for line in again) == ["unchanged", "unchanged"]


def test_apply_refuses_an_empty_folder(api_server: ControlPlane, tmp_path: Path) -> None:
    (tmp_path / "empty.yaml").write_text("# nothing\n---\n# at all\n")
    with pytest.raises(ApplyError, match="no manifest"):
        apply_path(api_server, tmp_path)


def test_kubectl_failure_carries_its_words(api_server: ControlPlane, namespace: str) -> None:
    with pytest.raises(ControlPlaneError, match='configmaps "absent" not found'):
        api_server.kubectl("get", "configmap", "absent", f"--namespace={namespace}")


def test_stale_resource_version_conflicts(probes: Probes) -> None:
    stale = probes.create("cas", "a")
    fresh = probes.get("cas")
    fresh["status"] = {"epoch": 1}
    probes.api.replace_namespaced_custom_object_status(**probes.where, name="cas", body=fresh)
    stale["status"] = {"epoch": 7}
    replace = probes.api.replace_namespaced_custom_object_status
    assert status_of(replace, **probes.where, name="cas", body=stale) == 409
    assert probes.get("cas")["status"] == {"epoch": 1}


def test_failing_json_patch_test_is_unprocessable(probes: Probes) -> None:
    created = probes.create("patch", "a")
    created["status"] = {"epoch": 4}
    probes.api.replace_namespaced_custom_object_status(**probes.where, name="patch", body=created)

    def advance(expected: int) -> Any:
        body = [
            {"op": "test", "path": "/status/epoch", "value": expected},
            {"op": "replace", "path": "/status/epoch", "value": expected + 1},
        ]
        return probes.api.patch_namespaced_custom_object_status(
            **probes.where,
            name="patch",
            body=body,
            _content_type="application/json-patch+json",
        )

    advance(4)
    assert status_of(advance, 4) == 422
    assert probes.get("patch")["status"] == {"epoch": 5}


def test_watch_delivers_a_change(probes: Probes) -> None:
    listed = probes.api.list_namespaced_custom_object(**probes.where)
    probes.create("watched", "a")
    events = watch.Watch().stream(
        probes.api.list_namespaced_custom_object,
        **probes.where,
        resource_version=listed["metadata"]["resourceVersion"],
        timeout_seconds=20,
    )
    event = next(iter(events))
    assert event["type"] == "ADDED"
    assert event["object"]["metadata"]["name"] == "watched"


def test_paused_server_answers_nothing_and_loses_nothing(
    api_server: ControlPlane, probes: Probes
) -> None:
    before = probes.create("paused", "a")
    api_server.pause()
    try:
        with pytest.raises(urllib3.exceptions.ReadTimeoutError):
            probes.api.get_namespaced_custom_object(
                **probes.where, name="paused", _request_timeout=1
            )
        assert api_server.running()
        assert not api_server.ready()
    finally:
        api_server.resume()
    api_server.wait_ready()
    assert probes.get("paused") == before


def test_killed_server_comes_back_with_its_data(api_server: ControlPlane, probes: Probes) -> None:
    before = probes.create("killed", "a")
    api_server.kill_apiserver()
    try:
        assert not api_server.running()
        with pytest.raises(urllib3.exceptions.HTTPError):
            probes.get("killed")
    finally:
        api_server.start_apiserver()
    assert api_server.running()
    assert probes.get("killed") == before


def test_host_certificate_carries_user_and_group(
    api_server: ControlPlane, namespace: str, tmp_path: Path
) -> None:
    user = "tandem:host:burjassot-1"
    kubeconfig = api_server.user_kubeconfig(user, ["tandem:hosts"])
    with connect(kubeconfig) as api:
        core = client.CoreV1Api(api)
        with pytest.raises(client.ApiException) as refused:
            core.list_namespaced_config_map(namespace)
        assert refused.value.status == 403
        assert f'User \\"{user}\\"' in str(refused.value.body)
        (tmp_path / "role.yaml").write_text(ROLE.replace("{name: reader}", named(namespace)))
        apply_path(api_server, tmp_path)
        # The authorizer sees a new binding through its own watch, a moment later.
        eventually(lambda: core.list_namespaced_config_map(namespace) is not None)
        assert status_of(core.list_namespaced_secret, namespace) == 403


def test_service_account_token_identifies_the_account(
    api_server: ControlPlane, namespace: str, tmp_path: Path
) -> None:
    api_server.kubectl("create", "serviceaccount", "controller", f"--namespace={namespace}")
    path = tmp_path / "controller.kubeconfig"
    assert api_server.serviceaccount_kubeconfig(namespace, "controller", path) == path
    with connect(path) as api, pytest.raises(client.ApiException) as refused:
        client.CoreV1Api(api).list_namespaced_config_map(namespace)
    assert refused.value.status == 403
    assert f"system:serviceaccount:{namespace}:controller" in str(refused.value.body)


def test_secrets_are_readable_by_their_owner_only(api_server: ControlPlane, tmp_path: Path) -> None:
    api_server.user_kubeconfig("someone", path=tmp_path / "someone.kubeconfig")
    secret = [
        tmp_path / "someone.kubeconfig",
        api_server.admin_kubeconfig(),
        *(api_server.state_dir / "pki").iterdir(),
    ]
    assert {stat.S_IMODE(path.stat().st_mode) for path in secret} == {0o600}


def test_controllers_end_namespaces_and_collect_garbage(
    api_server: ControlPlane, namespace: str
) -> None:
    create = ("create", "deployment", "idle", "--image=none", f"--namespace={namespace}")
    api_server.kubectl(*create)
    pods = ("get", "pods", f"--namespace={namespace}", "--output=name")
    eventually(lambda: api_server.kubectl(*pods).startswith("pod/idle-"))
    api_server.kubectl("delete", "deployment", "idle", f"--namespace={namespace}")
    eventually(lambda: api_server.kubectl(*pods) == "")
    api_server.kubectl("create", "namespace", f"{namespace}-2")
    api_server.kubectl("delete", "namespace", f"{namespace}-2", "--timeout=40s")


def test_data_are_kept_or_dropped_as_asked(tmp_path: Path) -> None:
    plane = ControlPlane(tmp_path / "state", die_with_parent=True)
    names = ("get", "namespaces", "--output=name")
    try:
        plane.start()
        url = plane.server_url
        plane.kubectl("create", "namespace", "kept")
        plane.stop(keep=True)
        assert not plane.running()
        # Another program, later, with nothing but the state folder.
        plane = ControlPlane(tmp_path / "state", die_with_parent=True)
        plane.start(keep=True)
        assert plane.server_url == url
        assert "namespace/kept" in plane.kubectl(*names).split()
        # That one "dies" without a word: what it left running is found and replaced.
        plane = ControlPlane(tmp_path / "state", die_with_parent=True)
        assert plane.running()
        plane.start()
        assert "namespace/kept" not in plane.kubectl(*names).split()
    finally:
        plane.stop()
    assert not plane.running()


def test_inside_a_network_namespace(tmp_path: Path) -> None:
    netns = f"tandem-api-{tmp_path.stat().st_ino}"
    address = "10.77.0.1"
    ip("netns", "add", netns)
    plane = ControlPlane(tmp_path / "state", netns, address, die_with_parent=True)
    try:
        ip("-n", netns, "link", "set", "dev", "lo", "up")
        ip("-n", netns, "address", "add", f"{address}/24", "dev", "lo")
        plane.start()
        assert plane.server_url == f"https://{address}:6443"
        assert "namespace/default" in plane.kubectl("get", "namespaces", "--output=name")
    finally:
        plane.stop()
        ip("netns", "delete", netns)


def ip(*arguments: str) -> None:
    subprocess.run(["ip", *arguments], check=True, timeout=10)


def named(namespace: str) -> str:
    return f"{{name: reader, namespace: {namespace}}}"


def eventually(reached: Any, timeout_s: float = 40.0) -> None:
    """Wait until `reached()` is true; refusals by the server count as not yet."""
    deadline_s = time.monotonic() + timeout_s
    while time.monotonic() < deadline_s:
        try:
            if reached():
                return
        except client.ApiException as error:
            assert error.status == 403
        time.sleep(0.1)
    pytest.fail(f"not reached within {timeout_s:.0f} s")
