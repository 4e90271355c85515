"""The manifests as people apply them: again and again, by folder, and over those of before."""

import base64
import os
import subprocess
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import yaml

from tandem_api.registry import KINDS
from tandem_examples import ROOT
from tandem_lab.controlplane import ControlPlane, ControlPlaneError
from tandem_lab.pods.installation import ADMISSION as ADMISSION_HEADING
from tandem_lab.pods.installation import PAGE
from tandem_lab.pods.page import section
from tandem_lab.policies import remove_policies

pytestmark = pytest.mark.integration
MANIFESTS = ROOT / "manifests"
ADMISSION = str(MANIFESTS / "admission")
CONFIGURATION, FORMER = "tandem-validation", "tandem-admission"
OWN_CA, CA_OF_BEFORE = "bXkgQ0E=", "YmVmb3Jl"
OPENSSL, SET_CA = "openssl ", ("ca=", "for hook ")


@pytest.fixture(scope="module")
def applied(api_server: ControlPlane) -> Iterator[ControlPlane]:
    api_server.kubectl("apply", "-k", str(MANIFESTS / "default"))
    api_server.kubectl("apply", "-k", ADMISSION)
    yield api_server
    # Nobody answers to it here, and other tests delete hosts and write any status.
    api_server.kubectl("delete", "-k", ADMISSION)
    remove_policies(api_server)


def hooks(plane: ControlPlane, name: str = CONFIGURATION) -> list[dict[str, Any]]:
    found = plane.kubectl("get", "validatingwebhookconfiguration", name, "-o", "yaml")
    webhooks: list[dict[str, Any]] = yaml.safe_load(found)["webhooks"]
    return webhooks


def authorities(plane: ControlPlane, name: str = CONFIGURATION) -> set[str]:
    return {hook["clientConfig"].get("caBundle", "") for hook in hooks(plane, name)}


def set_authority(plane: ControlPlane, ca: str, name: str = CONFIGURATION) -> None:
    """As the installation page does it, hook by hook."""
    for hook in hooks(plane, name):
        part = {"name": hook["name"], "clientConfig": {"caBundle": ca}}
        patch = yaml.safe_dump({"webhooks": [part]})
        plane.kubectl("patch", "validatingwebhookconfiguration", name, "--patch", patch)


def with_empty_authorities() -> str:
    """The configuration as it was shipped before: of another name, with empty bundles."""
    raw = yaml.safe_load((MANIFESTS / "admission" / "webhook.yaml").read_text())
    raw["metadata"]["name"] = FORMER
    for hook in raw["webhooks"]:
        hook["clientConfig"]["caBundle"] = ""
    return yaml.safe_dump(raw)


def of_the_page(*beginnings: str) -> list[str]:
    """The commands about the webhook in docs/installation.md that begin so, word for word."""
    found = section(PAGE.read_text(), ADMISSION_HEADING)
    return [command.text for command in found if command.text.startswith(beginnings)]


class TestAuthority:
    def test_it_stays_however_often_the_manifests_are_applied(self, applied: ControlPlane) -> None:
        set_authority(applied, OWN_CA)
        for _ in range(2):
            applied.kubectl("apply", "-k", ADMISSION)
            assert authorities(applied) == {OWN_CA}
        applied.kubectl("apply", "-k", ADMISSION, "--server-side", "--force-conflicts")
        assert authorities(applied) == {OWN_CA}

    def test_it_stays_when_the_manifest_changes(self, applied: ControlPlane) -> None:
        set_authority(applied, OWN_CA)
        text = applied.kubectl("kustomize", ADMISSION)
        assert "timeoutSeconds: 5" in text
        applied.kubectl(
            "apply", "-f", "-", stdin=text.replace("timeoutSeconds: 5", "timeoutSeconds: 6")
        )
        assert 6 in {hook["timeoutSeconds"] for hook in hooks(applied)}
        assert authorities(applied) == {OWN_CA}

    def test_what_an_injector_annotates_stays_too(self, applied: ControlPlane) -> None:
        kind = ("validatingwebhookconfiguration", CONFIGURATION)
        annotation = "cert-manager.io/inject-ca-from"
        applied.kubectl("annotate", *kind, f"{annotation}=tandem-system/tandem-admission")
        set_authority(applied, OWN_CA)
        applied.kubectl("apply", "-k", ADMISSION)
        assert annotation in applied.kubectl("get", *kind, "-o", "yaml")
        assert authorities(applied) == {OWN_CA}

    def test_an_empty_one_in_a_manifest_does_wipe_it(self, applied: ControlPlane) -> None:
        """Why there is none: this is what the tests above would miss if it were harmless."""
        applied.kubectl("apply", "-f", "-", stdin=with_empty_authorities())
        set_authority(applied, CA_OF_BEFORE, FORMER)
        applied.kubectl("apply", "-f", "-", stdin=with_empty_authorities())
        assert authorities(applied, FORMER) == {""}
        applied.kubectl("delete", "validatingwebhookconfiguration", FORMER)

    def test_who_applied_the_one_of_before_keeps_its_ca(self, applied: ControlPlane) -> None:
        """Under its name, the first apply without the field would take it away all the same."""
        applied.kubectl("apply", "-f", "-", stdin=with_empty_authorities())
        set_authority(applied, CA_OF_BEFORE, FORMER)
        applied.kubectl("apply", "-k", ADMISSION)
        applied.kubectl("apply", "-k", ADMISSION)
        assert authorities(applied, FORMER) == {CA_OF_BEFORE}
        applied.kubectl("delete", "validatingwebhookconfiguration", FORMER)

    def test_the_commands_of_the_page_set_it(self, applied: ControlPlane, tmp_path: Path) -> None:
        """The loop in docs/installation.md, word for word, in a shell."""
        found = "\n".join(of_the_page(*SET_CA))
        (tmp_path / "ca.crt").write_text("a certificate")
        programs = f"{applied.binaries.kubectl.parent}:{os.environ['PATH']}"
        subprocess.run(
            ["bash", "-euc", found],
            cwd=tmp_path,
            env={"PATH": programs, "KUBECONFIG": str(applied.admin_kubeconfig())},
            timeout=60,
            check=True,
        )
        assert authorities(applied) == {base64.b64encode(b"a certificate").decode()}


def test_the_certificate_that_the_page_makes_is_the_services(tmp_path: Path) -> None:
    """Its openssl commands, word for word."""
    mine = of_the_page(OPENSSL)
    assert len(mine) == 3
    judge = "openssl verify -CAfile ca.crt -purpose sslserver -verify_hostname"
    for command in [*mine, f"{judge} tandem-admission.tandem-system.svc tls.crt"]:
        subprocess.run(["bash", "-euc", command], cwd=tmp_path, timeout=60, check=True)
    with pytest.raises(subprocess.CalledProcessError):
        other = f"{judge} tandem-admission.other.svc tls.crt"
        subprocess.run(["bash", "-euc", other], cwd=tmp_path, timeout=60, check=True)


def pods_of(plane: ControlPlane, folder: str) -> list[dict[str, Any]]:
    """A pod as each Deployment of the folder would make it."""
    raws = yaml.safe_load_all(plane.kubectl("kustomize", str(MANIFESTS / folder)))
    return [
        {
            "apiVersion": "v1",
            "kind": "Pod",
            "metadata": {"namespace": "tandem-system", "name": f"try-{raw['metadata']['name']}"},
            "spec": raw["spec"]["template"]["spec"],
        }
        for raw in raws
        if raw["kind"] == "Deployment"
    ]


class TestNamespace:
    """It enforces the strictest of the Pod Security Standards."""

    @pytest.mark.parametrize("folder", ["default", "admission"])
    def test_our_pods_are_let_in(self, applied: ControlPlane, folder: str) -> None:
        (pod,) = pods_of(applied, folder)
        said = applied.kubectl("create", "--dry-run=server", "-f", "-", stdin=yaml.safe_dump(pod))
        assert "created" in said

    @pytest.mark.parametrize(
        "loosened",
        [{"hostNetwork": True}, {"securityContext": {"runAsUser": 0, "runAsNonRoot": False}}],
    )
    def test_looser_ones_are_not(self, applied: ControlPlane, loosened: dict[str, Any]) -> None:
        (pod,) = pods_of(applied, "default")
        pod["spec"] |= loosened
        with pytest.raises(ControlPlaneError, match='violates PodSecurity "restricted'):
            applied.kubectl("create", "--dry-run=server", "-f", "-", stdin=yaml.safe_dump(pod))


def test_the_kinds_can_be_applied_by_file_and_by_kustomization(applied: ControlPlane) -> None:
    crds = str(ROOT / "crds")
    assert applied.kubectl("apply", "-f", crds).count("customresourcedefinition") == len(KINDS)
    assert applied.kubectl("apply", "-k", crds).count("customresourcedefinition") == len(KINDS)
