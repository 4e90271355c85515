"""The programs that build and run containers: Debian's, unpacked into the lab's cache.

They are not installed: a machine may have another container runtime, whose packages exclude
Debian's, and no daemon of theirs shall ever start by itself. Only libraries are installed.

Called by the building of images and by the nodes.
"""

from __future__ import annotations

import os
from dataclasses import dataclass
from pathlib import Path

from tandem_lab.apt import Progress, ensure_apt_packages, unpacked_packages

UNPACKED = (
    "buildah",
    "containerd",
    "containernetworking-plugins",
    "golang-github-containers-common",
    "golang-github-containers-image",
    "runc",
)
INSTALLED = (
    "debootstrap",
    "gcc",
    "iproute2",
    "libc6-dev",
    "libdevmapper1.02.1",
    "libgpgme11",
    "libseccomp2",
    "nftables",
    "util-linux",
)


@dataclass(frozen=True)
class Tools:
    """The tree that the packages were unpacked to."""

    tree: Path

    def program(self, name: str) -> Path:
        """One of its programs."""
        return self.tree / "usr/bin" / name

    @property
    def cni(self) -> Path:
        """The folder with the network plugins."""
        return self.tree / "usr/lib/cni"

    @property
    def search_path(self) -> str:
        """$PATH with these programs first: containerd looks for runc there."""
        own = (self.tree / "usr/bin", self.tree / "usr/sbin")
        return os.pathsep.join([*map(str, own), os.environ.get("PATH", os.defpath)])


def ensure_tools(progress: Progress) -> Tools:
    """Fetch what is missing; AptError if that cannot be."""
    ensure_apt_packages(INSTALLED, progress)
    return Tools(unpacked_packages("containers", UNPACKED, progress))
