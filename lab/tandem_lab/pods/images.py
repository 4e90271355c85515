"""Build the operator's image from the project's own Dockerfile, without a registry of images.

The base that the Dockerfile names is made here, a minimal Debian from this machine's mirror. The
image is built by buildah in a folder of the lab's cache, and kept as an archive until a source
changes. Nothing is built as a container of some runtime: nothing has to run for it.

Called by the cluster's setup.
"""

from __future__ import annotations

import re
import shutil
from dataclasses import dataclass
from pathlib import Path

from tandem_lab.apt import Progress
from tandem_lab.pods.tools import Tools
from tandem_lab.settings import LAB_DIR, SOURCE_DIR
from tandem_lab.setup import stamps
from tandem_lab.setup.mirror import RELEASE, configured_mirror
from tandem_lab.shell import run

BASE = f"docker.io/library/debian:{RELEASE}-slim"
CONTROLLER = "localhost/tandem-controller"
PAUSE = "localhost/pause"
PAUSE_SOURCE = LAB_DIR / "pods/pause.c"
MACHINE_AUTHORITIES = Path("/etc/ssl/certs/ca-certificates.crt")
BASE_STRIP = ("usr/share/doc", "usr/share/info", "usr/share/locale", "usr/share/man")
BASE_EMPTY = ("var/cache/apt/archives", "var/lib/apt/lists")
LEFT_OUT = shutil.ignore_patterns("__pycache__", "*.egg-info", "*.pyc")
# Each change of a source leaves some layers of 100 MB behind in buildah's cache.
MOST_LAYERS = 60
DEBOOTSTRAP_TIMEOUT_S = 1200.0
BUILD_TIMEOUT_S = 1200.0
STEP_TIMEOUT_S = 300.0
_CERTIFICATE = re.compile(r"-----BEGIN CERTIFICATE-----.+?-----END CERTIFICATE-----\n", re.DOTALL)
_COPY = re.compile(r"^COPY\s+(?!--from)(.+)$", re.MULTILINE)


@dataclass(frozen=True)
class Image:
    """An image in an archive. `reference` names it for ever: it has its recipe's digest in it."""

    archive: Path
    reference: str


def copied_sources(dockerfile: str) -> list[str]:
    """What a Dockerfile copies from the folder that it is built in."""
    return [word for line in _COPY.findall(dockerfile) for word in line.split()[:-1]]


def split_certificates(bundle: str) -> list[str]:
    """The certificates of a PEM bundle, one by one."""
    return _CERTIFICATE.findall(bundle)


class Builder:
    """Builds into one folder of the cache."""

    def __init__(self, tools: Tools, directory: Path, progress: Progress) -> None:
        self._tools = tools
        self._directory = directory
        self._progress = progress

    def controller(self) -> Image:
        """The image that the manifests name, from the Dockerfile's target of that name."""
        context = self._context()
        stamp = stamps.digest(["controller 1", self._base_stamp(), context])
        image = Image(self._directory / "controller.tar", f"{CONTROLLER}:{stamp}")
        if not stamps.is_current(image.archive, stamp):
            self._progress("image of the controller: building, one to three minutes …")
            self._ensure_base()
        stamps.ensure(image.archive, stamp, lambda part: self._build(image, context, part))
        stamps.remove(context)
        return image

    def pause(self) -> Image:
        """What a pod's sandbox runs."""
        stamp = stamps.digest(["pause 1", PAUSE_SOURCE])
        image = Image(self._directory / "pause.tar", f"{PAUSE}:{stamp}")
        stamps.ensure(image.archive, stamp, lambda part: self._build_pause(image, part))
        return image

    def _context(self) -> Path:
        """The Dockerfile and what it copies, without what Python left beside its sources."""
        context = self._directory / "context"
        stamps.remove(context)
        context.mkdir(parents=True)
        dockerfile = SOURCE_DIR / "Dockerfile"
        shutil.copy2(dockerfile, context)
        for name in copied_sources(dockerfile.read_text()):
            source, target = SOURCE_DIR / name, context / name
            target.parent.mkdir(parents=True, exist_ok=True)
            if source.is_dir():
                shutil.copytree(source, target, ignore=LEFT_OUT, dirs_exist_ok=True)
            else:
                shutil.copy2(source, target)
        return context

    def _base_stamp(self) -> str:
        return stamps.digest(["base 1", RELEASE, *BASE_STRIP, MACHINE_AUTHORITIES])

    def _ensure_base(self) -> None:
        """Make the base, and start anew when too much was kept."""
        product = self._directory / "storage"
        if product.exists() and len(self._images("--all", "--quiet")) > MOST_LAYERS:
            stamps.remove(product)
        if stamps.is_current(product, self._base_stamp()):
            return
        self._progress("image of Debian: fetching it, a minute …")
        stamps.remove(product)
        tree = self._directory / "base"
        stamps.remove(tree)
        build_base(tree)
        container = self._buildah("from", "--name", "base", "scratch").strip()
        self._buildah("add", "--quiet", container, str(tree), "/")
        self._buildah("config", "--cmd", "bash", container)
        self._buildah("commit", "--quiet", "--rm", container, BASE)
        stamps.remove(tree)
        stamps.mark(product, self._base_stamp())

    def _build(self, image: Image, context: Path, archive: Path) -> None:
        self._buildah(
            *("build", "--isolation", "chroot", "--pull=never", "--network", "host", "--layers"),
            *("--target", "controller", "--tag", image.reference, str(context)),
        )
        self._buildah("push", "--quiet", image.reference, f"docker-archive:{archive}")

    def _build_pause(self, image: Image, archive: Path) -> None:
        program = self._directory / "pause"
        run(["gcc", "-Wall", "-Werror", "-Os", "-static", "-s", "-o", program, PAUSE_SOURCE])
        container = self._buildah("from", "scratch").strip()
        self._buildah("copy", "--quiet", container, str(program), "/pause")
        self._buildah("config", "--entrypoint", '["/pause"]', "--user", "65535", container)
        self._buildah("commit", "--quiet", "--rm", container, image.reference)
        self._buildah("push", "--quiet", image.reference, f"docker-archive:{archive}")

    def _images(self, *options: str) -> list[str]:
        return self._buildah("images", *options).split()

    def _buildah(self, command: str, *arguments: str) -> str:
        """buildah with its storage in our folder, and with the configuration of its package."""
        roots = ("--root", self._directory / "storage", "--runroot", self._directory / "run")
        policy = self._tools.tree / "etc/containers/policy.json"
        registries = self._tools.tree / "etc/containers/registries.conf"
        trusting = ("build", "commit", "from", "push")
        options = ["--signature-policy", str(policy)] if command in trusting else []
        storage: tuple[str | Path, ...] = (*roots, "--storage-driver", "overlay")
        program = self._tools.program("buildah")
        return run(
            [program, *storage, "--registries-conf", registries, command, *options, *arguments],
            timeout_s=BUILD_TIMEOUT_S,
        )


def build_base(tree: Path) -> None:
    """A minimal Debian that trusts whom this machine trusts, below `tree`."""
    mirror = configured_mirror()
    keyring = [f"--keyring={mirror.keyring}"] if mirror.keyring else []
    run(
        [
            *("debootstrap", "--variant=minbase", "--components=main", *keyring),
            *(RELEASE, tree, mirror.address),
        ],
        timeout_s=DEBOOTSTRAP_TIMEOUT_S,
        env=mirror.environment,
    )
    for name in (*BASE_STRIP, *BASE_EMPTY):
        stamps.remove(tree / name)
    for name in BASE_EMPTY:
        (tree / name / "partial").mkdir(parents=True)
    authorities = tree / "usr/local/share/ca-certificates"
    authorities.mkdir(parents=True, exist_ok=True)
    if MACHINE_AUTHORITIES.exists():
        for number, text in enumerate(split_certificates(MACHINE_AUTHORITIES.read_text())):
            (authorities / f"machine-{number:03}.crt").write_text(text)
