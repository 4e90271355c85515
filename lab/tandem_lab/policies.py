"""The policies that the API server itself goes by, applied and in force.

The server takes them up from a watch, and says nowhere that it has. So it is asked to do something
that each of them refuses, without doing it. Used by `deployment` and by the integration tests.
"""

from __future__ import annotations

import time

import yaml

from tandem_lab.controlplane import ControlPlane, ControlPlaneError, apply_path
from tandem_lab.settings import SOURCE_DIR

MANIFESTS = SOURCE_DIR / "manifests" / "policies"
IN_FORCE_TIMEOUT_S = 30.0
POLL_S = 0.2
LEASE = {
    "apiVersion": "coordination.k8s.io/v1",
    "kind": "Lease",
    "metadata": {"name": "host-nobody", "namespace": "tandem-system"},
}


def apply_policies(plane: ControlPlane) -> None:
    """Apply them, and wait until they are in force."""
    apply_path(plane, MANIFESTS)
    deadline_s = time.monotonic() + IN_FORCE_TIMEOUT_S
    while not _refused(plane):
        if time.monotonic() > deadline_s:
            raise ControlPlaneError(f"not in force after {IN_FORCE_TIMEOUT_S} s: {MANIFESTS}")
        time.sleep(POLL_S)


def remove_policies(plane: ControlPlane) -> None:
    """Delete them; the server takes a moment to forget them."""
    plane.kubectl("delete", "-k", str(MANIFESTS), "--ignore-not-found")


def _refused(plane: ControlPlane) -> bool:
    command = ("create", "--dry-run=server", "-f", "-")
    try:
        plane.kubectl(*command, stdin=yaml.safe_dump(LEASE))
    except ControlPlaneError as error:
        return "tandem-heartbeats" in str(error)
    return False
