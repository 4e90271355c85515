"""Writes the ValidatingAdmissionPolicies: ``python -m tandem_api.crd.policygen [DIR]``.

Each of ``policies`` becomes a policy and the binding that puts it in force, in one file. It never
decides what is refused. Called by people after they changed a rule, and by the tests, which hold
the files against it.
"""

import sys
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any

from tandem_api.crd import generated
from tandem_api.crd.generated import Folded
from tandem_api.crd.policies import POLICIES
from tandem_api.crd.policy import Policy

Raw = dict[str, Any]

HEADER = "# Written by `make policies` from crds/tandem_api/crd/policies.py. Do not edit.\n"
DEFAULT_DIRECTORY = Path(__file__).parents[3] / "manifests" / "policies"
API_VERSION = "admissionregistration.k8s.io/v1"


def policy(each: Policy) -> Raw:
    """The ValidatingAdmissionPolicy."""
    rule = {
        "apiGroups": [each.group],
        "apiVersions": [each.version],
        "operations": list(each.operations),
        "resources": [each.resource],
        "scope": each.scope,
    }
    matched: Raw = {"matchPolicy": "Equivalent", "resourceRules": [rule]}
    if each.namespace:
        named = {"kubernetes.io/metadata.name": each.namespace}
        matched["namespaceSelector"] = {"matchLabels": named}
    return {
        "apiVersion": API_VERSION,
        "kind": "ValidatingAdmissionPolicy",
        "metadata": {"name": each.name},
        "spec": {
            "failurePolicy": "Fail",
            "matchConstraints": matched,
            "variables": [
                {"name": name, "expression": Folded(expression)}
                for name, expression in each.variables.items()
            ],
            "validations": [
                {
                    "expression": Folded(validation.expression),
                    "messageExpression": Folded(validation.message),
                    "reason": "Forbidden",
                }
                for validation in each.validations
            ],
        },
    }


def binding(each: Policy) -> Raw:
    """What puts it in force, everywhere."""
    return {
        "apiVersion": API_VERSION,
        "kind": "ValidatingAdmissionPolicyBinding",
        "metadata": {"name": each.name},
        "spec": {"policyName": each.name, "validationActions": ["Deny"]},
    }


def render(policies: Iterable[Policy] = POLICIES) -> dict[str, str]:
    """Every file's text by its name, and the kustomization that holds them together."""
    files = {f"{each.name.removeprefix('tandem-')}.yaml": _file(each) for each in policies}
    kustomization = {
        "apiVersion": "kustomize.config.k8s.io/v1beta1",
        "kind": "Kustomization",
        "resources": sorted(files),
        "labels": [{"includeSelectors": False, "pairs": {"app.kubernetes.io/part-of": "tandem"}}],
    }
    return {**files, "kustomization.yaml": HEADER + generated.dump(kustomization)}


def _file(each: Policy) -> str:
    both = (policy(each), binding(each))
    return HEADER + f"#\n# {each.about}\n" + "---\n".join(map(generated.dump, both))


def differences(directory: Path) -> list[str]:
    """Lines of a unified diff from the files in a folder to what the rules say; empty if equal."""
    return generated.differences(directory, render())


def main(arguments: Sequence[str] | None = None) -> int:
    """Write the files, or with ``--check`` say how they differ and return 1 if they do."""
    prog = "python -m tandem_api.crd.policygen"
    return generated.main(arguments, prog, __doc__, DEFAULT_DIRECTORY, render())


if __name__ == "__main__":
    sys.exit(main())
