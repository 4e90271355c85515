"""What a node's containerd begins with: the images, unpacked, and nothing else.

Unpacking takes a while, so it is done once for each set of images. A node gets a copy, whose
layers are the same files under further names: nobody writes to a layer. So no node ever sees what
ran in an earlier one.

Called by the cluster (to have it made) and by the nodes.
"""

from __future__ import annotations

import os
import shutil
import time
from collections.abc import Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

from tandem_lab.controlplane.process import Process
from tandem_lab.pods.images import Image
from tandem_lab.pods.tools import Tools
from tandem_lab.setup import stamps
from tandem_lab.shell import ProgramError, run

IMPORT_TIMEOUT_S = 300.0
READY_TIMEOUT_S = 30.0
POLL_S = 0.05
DATABASE = ".db"


@dataclass(frozen=True)
class ImageStore:
    """A containerd's folder with images in it. `pause` is the name of a sandbox's image."""

    directory: Path
    pause: str

    def copy_to(self, target: Path) -> None:
        """The same for one node; on the same file system, it costs names only."""
        stamps.remove(target)
        shutil.copytree(self.directory, target, symlinks=True, copy_function=_share)


def ensure_store(
    tools: Tools, directory: Path, pause: Image, images: Mapping[str, Image]
) -> ImageStore:
    """The store with these images, by the names that pods have for them; built if missing."""
    wanted = {pause.reference: pause, **images}
    names = [f"{name}={image.reference}" for name, image in wanted.items()]
    stamp = stamps.digest(["store 1", *names])
    stamps.ensure(directory, stamp, lambda part: _fill(tools, part, wanted))
    return ImageStore(directory, pause.reference)


def containerd_answers(tools: Tools, socket: Path) -> bool:
    """Whether a containerd listens there."""
    with suppress(ProgramError):
        ctr(tools, socket, ["version"], timeout_s=3.0)
        return True
    return False


def ctr(tools: Tools, socket: Path, arguments: Sequence[str], timeout_s: float = 30.0) -> str:
    """containerd's client, where a kubelet's images are."""
    options = ["--address", str(socket), "--namespace", "k8s.io"]
    return run([tools.program("ctr"), *options, *arguments], timeout_s=timeout_s)


def _fill(tools: Tools, directory: Path, images: Mapping[str, Image]) -> None:
    """Let a containerd unpack them, in namespaces of its own, so that no mount is left."""
    work = directory.with_name("containerd")
    stamps.remove(work)
    work.mkdir(parents=True)
    config, socket = work / "containerd.toml", work / "containerd.sock"
    config.write_text(
        f'version = 2\nroot = "{directory}"\nstate = "{work}/state"\n'
        f'disabled_plugins = ["io.containerd.grpc.v1.cri"]\n[grpc]\naddress = "{socket}"\n'
        f'[plugins."io.containerd.internal.v1.opt"]\npath = "{work}/opt"\n'
    )
    process = Process("containerd", work)
    process.start(
        [
            *("unshare", "--pid", "--mount", "--propagation", "private", "--fork", "--kill-child"),
            *("--mount-proc", str(tools.program("containerd")), "--config", str(config)),
        ],
        die_with_parent=True,
        environment={"PATH": tools.search_path},
    )
    try:
        deadline_s = time.monotonic() + READY_TIMEOUT_S
        while not containerd_answers(tools, socket):
            process.require_alive()
            if time.monotonic() > deadline_s:
                raise ProgramError(f"containerd does not answer:\n{process.log_tail()}")
            time.sleep(POLL_S)
        for name, image in images.items():
            _import(tools, socket, name, image)
    finally:
        process.kill()
    stamps.remove(work)


def _import(tools: Tools, socket: Path, name: str, image: Image) -> None:
    known = ctr(tools, socket, ["images", "list", "--quiet"]).split()
    if image.reference not in known:
        ctr(tools, socket, ["images", "import", str(image.archive)], IMPORT_TIMEOUT_S)
    if name != image.reference:
        ctr(tools, socket, ["images", "tag", image.reference, name])


def _share(source: str, target: str) -> None:
    """Another name for a layer's file; a copy of what containerd writes to."""
    if source.endswith(DATABASE):
        shutil.copy2(source, target)
        return
    try:
        os.link(source, target, follow_symlinks=False)
    except OSError:
        shutil.copy2(source, target, follow_symlinks=False)
