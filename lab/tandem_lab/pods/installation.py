"""Install Tandem in the cluster by the steps of docs/installation.md, in their order.

The manifests are applied from a copy, since one step writes the image's name into them. Called by
`make pods` and by the tests.
"""

from __future__ import annotations

import base64
import json
import shutil
from pathlib import Path
from typing import Any

import yaml

from tandem_lab.controlplane import ControlPlane
from tandem_lab.pods.prepare import IMAGE
from tandem_lab.settings import SOURCE_DIR
from tandem_lab.shell import run

NAMESPACE = "tandem-system"
DEPLOYMENTS = ("tandem-controller", "tandem-admission")
WEBHOOK = "tandem-validation"
ADMISSION_NAME = f"tandem-admission.{NAMESPACE}.svc"
COPIED = ("crds", "manifests")
ROLLOUT_TIMEOUT_S = 90


class Installation:
    """One installation, with its manifests in `directory`."""

    def __init__(self, plane: ControlPlane, directory: Path) -> None:
        self._plane = plane
        self._directory = directory

    def copy_manifests(self) -> None:
        """A checkout of the manifests, to be edited."""
        for name in COPIED:
            shutil.rmtree(self._directory / name, ignore_errors=True)
            shutil.copytree(SOURCE_DIR / name, self._directory / name)

    def set_image(self, tag: str) -> None:
        """Say which image to run, in the one place for both Deployments."""
        path = self._directory / "manifests/image/kustomization.yaml"
        path.write_text(with_image(path.read_text(), IMAGE, tag))

    def apply(self) -> None:
        """`kubectl apply -k manifests/default`."""
        self._kubectl("apply", "-k", str(self._directory / "manifests/default"))

    def apply_admission(self) -> None:
        """The webhook: a certificate in a Secret, the manifests, and the CA in them."""
        certificate, key = self._directory / "tls.crt", self._directory / "tls.key"
        self._plane.authority.server([ADMISSION_NAME]).write(certificate, key)
        self._kubectl(
            *("-n", NAMESPACE, "create", "secret", "tls", "tandem-admission"),
            *(f"--cert={certificate}", f"--key={key}"),
        )
        self.upgrade_admission()
        wanted = base64.b64encode(self._plane.ca_certificate).decode()
        for hook in self.webhooks():
            patch = {"name": hook["name"], "clientConfig": {"caBundle": wanted}}
            change = json.dumps({"webhooks": [patch]})
            self._kubectl("patch", "validatingwebhookconfiguration", WEBHOOK, "-p", change)

    def upgrade_admission(self) -> None:
        """`kubectl apply -k manifests/admission`, which leaves certificate and CA as they are."""
        self._kubectl("apply", "-k", str(self._directory / "manifests/admission"))

    def webhooks(self) -> list[dict[str, Any]]:
        """The webhooks, as the API server has them."""
        found = self._kubectl("get", "validatingwebhookconfiguration", WEBHOOK, "-o", "json")
        hooks: list[dict[str, Any]] = json.loads(found)["webhooks"]
        return hooks

    def enforced_level(self) -> str:
        """The Pod Security Standard that the namespace enforces."""
        found = json.loads(self._kubectl("get", "namespace", NAMESPACE, "-o", "json"))
        return str(found["metadata"]["labels"].get("pod-security.kubernetes.io/enforce", ""))

    def wait_until_available(self) -> None:
        """Until both Deployments are rolled out, with all of their replicas."""
        for name in DEPLOYMENTS:
            self._kubectl(
                *("-n", NAMESPACE, "rollout", "status", f"deployment/{name}"),
                f"--timeout={ROLLOUT_TIMEOUT_S}s",
                timeout_s=ROLLOUT_TIMEOUT_S + 10.0,
            )

    def key_for_host(self, host: str) -> Path:
        """A kubeconfig by a key that the cluster's own signer certified, with the host's rights."""
        key, request = self._directory / f"{host}.key", self._directory / f"{host}.csr"
        run(
            [
                *("openssl", "req", "-new", "-newkey", "ec", "-nodes"),
                *("-pkeyopt", "ec_paramgen_curve:prime256v1", "-keyout", key, "-out", request),
                *("-subj", f"/O=tandem:hosts/CN=tandem:host:{host}"),
            ]
        )
        certificate = self._signed(f"tandem-{host}", request.read_bytes())
        rights = (SOURCE_DIR / "manifests/hosts/one-host.yaml").read_text().replace("HOST", host)
        self._kubectl("apply", "-f", "-", stdin=rights)
        return self._plane.certificate_kubeconfig(
            self._directory / f"{host}.kubeconfig", certificate, key.read_bytes()
        )

    def _signed(self, name: str, request: bytes) -> bytes:
        body = {
            "apiVersion": "certificates.k8s.io/v1",
            "kind": "CertificateSigningRequest",
            "metadata": {"name": name},
            "spec": {
                "signerName": "kubernetes.io/kube-apiserver-client",
                "usages": ["client auth"],
                "request": base64.b64encode(request).decode(),
            },
        }
        self._kubectl("apply", "-f", "-", stdin=json.dumps(body))
        self._kubectl("certificate", "approve", name)
        field = "{.status.certificate}"
        self._kubectl("wait", f"csr/{name}", f"--for=jsonpath={field}", "--timeout=20s")
        return base64.b64decode(self._kubectl("get", "csr", name, "-o", f"jsonpath={field}"))

    def _kubectl(self, *arguments: str, stdin: str = "", timeout_s: float = 60.0) -> str:
        return self._plane.kubectl(*arguments, stdin=stdin, timeout_s=timeout_s)


def with_image(kustomization: str, new_name: str, tag: str) -> str:
    """The kustomization with every image that it names taken from there."""
    document = yaml.safe_load(kustomization)
    for entry in document["images"]:
        entry.update(newName=new_name, newTag=tag)
    return yaml.safe_dump(document, sort_keys=False)
