"""The policies that the API server itself goes by, applied and in force.

The server takes them up from a watch, a while after it has stored them, and says nowhere that it
has. So a mark is made after them: a policy that refuses one object. Events of a watch come in their
order. Once the mark is in force, so is all that was written before it, deletions too.

Used by the integration tests and by `bench_policies`.
"""

from __future__ import annotations

import time
import uuid
from typing import Any

import yaml

from tandem_lab.controlplane import ControlPlane, ControlPlaneError, apply_path
from tandem_lab.settings import SOURCE_DIR

MANIFESTS = SOURCE_DIR / "manifests" / "policies"
TAKEN_UP_TIMEOUT_S = 30.0
POLL_S = 0.2
KINDS = "validatingadmissionpolicies,validatingadmissionpolicybindings"
API = "admissionregistration.k8s.io/v1"


def apply_policies(plane: ControlPlane) -> None:
    """Apply them, and wait until all of them are in force."""
    apply_path(plane, MANIFESTS)
    wait_until_taken_up(plane)


def remove_policies(plane: ControlPlane) -> None:
    """Delete them, and wait until the server goes by none of them."""
    plane.kubectl("delete", "-k", str(MANIFESTS), "--ignore-not-found")
    wait_until_taken_up(plane)


def wait_until_taken_up(plane: ControlPlane) -> None:
    """Until the server goes by what is stored now. Raises ControlPlaneError after 30 s."""
    name = f"mark-{uuid.uuid4().hex[:12]}"
    plane.kubectl("create", "-f", "-", stdin=yaml.safe_dump_all(_mark(name)))
    deadline_s = time.monotonic() + TAKEN_UP_TIMEOUT_S
    try:
        while not _refuses(plane, name):
            if time.monotonic() > deadline_s:
                raise ControlPlaneError(f"no new policy in force after {TAKEN_UP_TIMEOUT_S} s")
            time.sleep(POLL_S)
    finally:
        plane.kubectl("delete", KINDS, name)


def _mark(name: str) -> tuple[dict[str, Any], dict[str, Any]]:
    """Refuses the ConfigMap of this name."""
    rule = {
        "apiGroups": [""],
        "apiVersions": ["v1"],
        "operations": ["CREATE"],
        "resources": ["configmaps"],
        "resourceNames": [name],
    }
    validation = {"expression": "false", "message": name}
    policy: dict[str, Any] = {
        "apiVersion": API,
        "kind": "ValidatingAdmissionPolicy",
        "metadata": {"name": name},
        "spec": {
            "failurePolicy": "Fail",
            "matchConstraints": {"resourceRules": [rule]},
            "validations": [validation],
        },
    }
    binding: dict[str, Any] = {
        "apiVersion": API,
        "kind": "ValidatingAdmissionPolicyBinding",
        "metadata": {"name": name},
        "spec": {"policyName": name, "validationActions": ["Deny"]},
    }
    return policy, binding


def _refuses(plane: ControlPlane, name: str) -> bool:
    try:
        plane.kubectl("create", "configmap", name, "--dry-run=server")
    except ControlPlaneError as error:
        if name in str(error) and "denied" in str(error):
            return True
        raise
    return False
