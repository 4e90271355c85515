"""A real Kubernetes API server for the lab and for integration tests."""

from tandem_lab.controlplane.apply import ApplyError, apply_path
from tandem_lab.controlplane.build import BuildError
from tandem_lab.controlplane.process import ProcessError
from tandem_lab.controlplane.programs import APT_PACKAGES, Binaries, find_binaries
from tandem_lab.controlplane.server import ADMINISTRATOR, ControlPlane, ControlPlaneError

__all__ = [
    "ADMINISTRATOR",
    "APT_PACKAGES",
    "ApplyError",
    "Binaries",
    "BuildError",
    "ControlPlane",
    "ControlPlaneError",
    "ProcessError",
    "apply_path",
    "find_binaries",
]
