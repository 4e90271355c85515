"""What the cluster needs on this machine, made if it is missing: minutes once, then a second.

Called by `make pods`, by the tests, and by their setup.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from tandem_lab.apt import Progress
from tandem_lab.controlplane import find_binaries
from tandem_lab.controlplane.build import build_programs
from tandem_lab.controlplane.releases import kubernetes
from tandem_lab.pods.images import Builder, Image
from tandem_lab.pods.store import ImageStore, ensure_store
from tandem_lab.pods.tools import Tools, ensure_tools
from tandem_lab.settings import Settings

# Debian's containerd is 1.6, and a newer kubelet wants containerd 2.
NODE_MINOR = "1.35"
NODE_PROGRAMS = ("kubelet", "kube-proxy")
IMAGE = "registry.example.org/tandem-controller"
TAG = "0.1.0"
NEXT_TAG = "0.1.1"
"""The same image by another name: what an upgrade rolls out."""


@dataclass(frozen=True)
class Parts:
    """What has to be on this machine before a start."""

    tools: Tools
    node_programs: Path
    scheduler: Path
    images: ImageStore
    controller: Image


def prepare(settings: Settings, progress: Progress) -> Parts:
    """Make what is missing. Raises AptError, BuildError, LabError."""
    tools = ensure_tools(progress)
    find_binaries(progress)
    node_programs = build_programs(kubernetes(NODE_MINOR), NODE_PROGRAMS, progress)
    scheduler = build_programs(kubernetes(), ("kube-scheduler",), progress) / "kube-scheduler"
    directory = settings.cache_dir / "pods"
    builder = Builder(tools, directory, progress)
    pause, controller = builder.pause(), builder.controller()
    names = {f"{IMAGE}:{tag}": controller for tag in (TAG, NEXT_TAG)}
    images = ensure_store(tools, directory / "store", pause, names)
    return Parts(tools, node_programs, scheduler, images, controller)
