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
    _wait(plane, in_force=True)


def remove_policies(plane: ControlPlane) -> None:
    """Delete them, and wait until the server goes by them no more."""
    plane.kubectl("delete", "-k", str(MANIFESTS), "--ignore-not-found")
    _wait(plane, in_force=False)


def _wait(plane: ControlPlane, *, in_force: bool) -> None:
    deadline_s = time.monotonic() + IN_FORCE_TIMEOUT_S
    while _refused(plane) is not in_force:
        if time.monotonic() > deadline_s:
            state = "not in force" if in_force else "still in force"
            raise ControlPlaneError(f"{state} after {IN_FORCE_TIMEOUT_S} s: {MANIFESTS}")
        time.sleep(POLL_S)


def _refused(plane: ControlPlane) -> bool:
    command = ("create", "--dry-run=server", "-f", "-")
    try:
        plane.kubectl(*command, stdin=yaml.safe_dump(LEASE))
    except ControlPlaneError as error:
        return "tandem-heartbeats" in str(error)
    return False
