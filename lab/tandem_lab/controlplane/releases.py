"""Which Kubernetes and which etcd the lab builds: what the Go modules in `lab/kubernetes` say.

A folder for each minor version, with a go.mod that requires one exact release and a go.sum that
holds every source file that goes into it. The exact versions stand there and nowhere else.

Called by the build, by the search for programs, and by the matrix of versions.
"""

from __future__ import annotations

import os
import re
from dataclasses import dataclass
from pathlib import Path

from tandem_lab.settings import LAB_DIR

MODULES_DIR = LAB_DIR / "kubernetes"
MINOR_VARIABLE = "TANDEM_KUBERNETES"
PACKAGE_PREFIX = "k8s.io/kubernetes/cmd/"
ETCD_PACKAGE = "go.etcd.io/etcd/server/v3"
_VERSION_FLAG = "k8s.io/component-base/version"

Version = tuple[int, int, int]


class UnknownReleaseError(ValueError):
    """There is no module for the version asked for; the message names those that there are."""


@dataclass(frozen=True)
class Module:
    """A folder with go.mod and go.sum, and the release that it requires."""

    directory: Path
    name: str
    """What the release is called: kubernetes or etcd."""
    version: Version
    go: tuple[int, ...]
    """The oldest Go that builds it, as (1, 26, 0)."""

    @property
    def release(self) -> str:
        """Name and version, as kubernetes-1.37.2."""
        return f"{self.name}-{dotted(self.version)}"

    @property
    def minor(self) -> tuple[int, int]:
        """Major and minor version."""
        return self.version[:2]

    def package(self, program: str) -> str:
        """The Go package of a program's `main`."""
        return ETCD_PACKAGE if self.name == "etcd" else PACKAGE_PREFIX + program

    def linker_flags(self) -> str:
        """What `-ldflags` says: no symbols, and the version that the programs tell."""
        if self.name == "etcd":
            return "-s -w"
        told = {
            "gitVersion": f"v{dotted(self.version)}",
            "gitMajor": str(self.version[0]),
            "gitMinor": str(self.version[1]),
            "gitTreeState": "clean",
        }
        return " ".join(["-s -w", *(f"-X {_VERSION_FLAG}.{key}={told[key]}" for key in told)])


def dotted(version: tuple[int, ...]) -> str:
    """1.37.2 for (1, 37, 2)."""
    return ".".join(map(str, version))


def minors() -> list[str]:
    """All minor versions that there is a module for, oldest first."""
    found = (path.name for path in MODULES_DIR.iterdir() if re.fullmatch(r"\d+\.\d+", path.name))
    return sorted(found, key=lambda name: tuple(map(int, name.split("."))))


def wanted_minor() -> str | None:
    """The minor version that `$TANDEM_KUBERNETES` asks for, or None if any will do."""
    return os.environ.get(MINOR_VARIABLE) or None


def kubernetes(minor: str | None = None) -> Module:
    """The module of a minor version such as 1.36; the newest if none is given.

    Raises:
        UnknownReleaseError: there is no module for it.
    """
    known = minors()
    chosen = minor or known[-1]
    if chosen not in known:
        raise UnknownReleaseError(
            f"Kubernetes {chosen}: the lab has {', '.join(known)}; choose one of them"
            f" ({MINOR_VARIABLE})"
        )
    return read_module(MODULES_DIR / chosen, "kubernetes", "k8s.io/kubernetes")


def etcd() -> Module:
    """etcd's module."""
    return read_module(MODULES_DIR / "etcd", "etcd", ETCD_PACKAGE)


def read_module(directory: Path, name: str, path: str) -> Module:
    """What the go.mod of a folder says of the release with this module path."""
    text = (directory / "go.mod").read_text()
    go = re.search(r"^go (\d+(?:\.\d+)+)$", text, re.MULTILINE)
    required = re.search(rf"^(?:require)?\s+{re.escape(path)} v(\d+)\.(\d+)\.(\d+)\b", text, re.M)
    if go is None or required is None:
        raise UnknownReleaseError(f"{directory}/go.mod names no release of {path}")
    major, minor, patch = map(int, required.groups())
    return Module(directory, name, (major, minor, patch), tuple(map(int, go[1].split("."))))
