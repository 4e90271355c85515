"""Builds the read-only root image that all site hosts boot from.

Two steps, each stamped: the Debian tree (minutes, changes rarely), then the image made from it
with the kernel's modules and the Python packages (seconds). The project's own source is not in
it: hosts mount the checkout.
"""

from __future__ import annotations

import shutil
from pathlib import Path

from tandem_lab.settings import LAB_DIR, Settings
from tandem_lab.setup import stamps
from tandem_lab.setup.kernel import MODULES
from tandem_lab.setup.mirror import RELEASE, configured_mirror
from tandem_lab.setup.packages import ROOT_PACKAGES, ROOT_STRIP, ROOT_STRIP_PATTERNS
from tandem_lab.shell import run
from tandem_lab.source import source_folders

DEBOOTSTRAP_TIMEOUT_S = 1800.0
STEP_TIMEOUT_S = 600.0
# Room for nothing: the image is mounted read-only.
IMAGE_SLACK_MIB = 64
MIB = 1024 * 1024

VENV = "/opt/tandem/venv"
SOURCE = "/opt/tandem/src"
MOUNT_POINTS = ("overlay", "site", "mnt", SOURCE.strip("/"))


def tree_stamp() -> str:
    """Changes when the Debian tree must be made again."""
    return stamps.digest(["tree 2", RELEASE, *ROOT_PACKAGES, *ROOT_STRIP, *ROOT_STRIP_PATTERNS])


def image_stamp(requirements: list[str], kernel_stamp: str) -> str:
    """Changes when the image must be made again."""
    return stamps.digest(
        [
            "image 5",
            *(tree_stamp(), kernel_stamp),
            *(*requirements, *source_folders()),
            LAB_DIR / "rootfs/init",
        ]
    )


def build_tree(tree: Path) -> None:
    """A Debian with the packages that a site host needs, below `tree`."""
    mirror = configured_mirror()
    keyring = [f"--keyring={mirror.keyring}"] if mirror.keyring else []
    run(
        [
            # What it mounts in the tree (/proc) ends with it, whether it unmounts it or not.
            *("unshare", "--mount", "--propagation=private"),
            *("debootstrap", "--variant=minbase", "--components=main", *keyring),
            f"--include={','.join(ROOT_PACKAGES)}",
            *(RELEASE, tree, mirror.address),
        ],
        timeout_s=DEBOOTSTRAP_TIMEOUT_S,
        env=mirror.environment,
    )
    for name in ROOT_STRIP:
        stamps.remove(tree / name)
    for pattern in ROOT_STRIP_PATTERNS:
        for path in tree.glob(pattern):
            path.unlink()
    # libvirtd never gets ready without these.
    for name in ("nwfilter", "secrets"):
        (tree / "etc/libvirt" / name).mkdir(parents=True, exist_ok=True)


def build_image(image: Path, tree: Path, wheels: Path, settings: Settings) -> None:
    """An ext4 image of `tree` plus modules, Python packages and the first program."""
    work = image.with_name("root.work")
    stamps.remove(work)
    run(["cp", "-a", "-x", "--reflink=auto", tree, work], timeout_s=STEP_TIMEOUT_S)
    try:
        _add_users(work)
        _add_modules(work, settings.kernel_dir)
        _add_python(work, wheels)
        for name in MOUNT_POINTS:
            (work / name).mkdir(parents=True, exist_ok=True)
        shutil.copy(LAB_DIR / "rootfs/init", work / "init")
        _pack(work, image)
    finally:
        stamps.remove(work)


def _add_users(root: Path) -> None:
    # libvirt's QEMU driver refuses to start without them; nothing runs as them here.
    for command in (
        ["groupadd", "--system", "kvm"],
        ["useradd", "--system", "--user-group", "--no-create-home", "libvirt-qemu"],
    ):
        run(["chroot", root, *command])


def _add_modules(root: Path, kernel_dir: Path) -> None:
    modules = root / "usr/lib/modules"
    shutil.rmtree(modules, ignore_errors=True)
    shutil.copytree(kernel_dir / MODULES, modules)
    for version in modules.iterdir():
        run(["chroot", root, "depmod", version.name], timeout_s=STEP_TIMEOUT_S)


def _add_python(root: Path, wheels: Path) -> None:
    inside = root / "tmp/wheels"
    shutil.copytree(wheels, inside)
    packages = [f"/tmp/wheels/{path.name}" for path in sorted(inside.glob("*.whl"))]
    # A venv without pip, filled by the pip of another that is thrown away.
    for step in (
        ["python3", "-m", "venv", "--without-pip", VENV],
        ["python3", "-m", "venv", "/tmp/pip"],
        [
            *("/tmp/pip/bin/pip", "--isolated", "--disable-pip-version-check"),
            *("--python", f"{VENV}/bin/python"),
            *("install", "-q", "--no-index", "--no-deps", *packages),
        ],
    ):
        run(["chroot", root, "env", "-i", "PATH=/usr/bin:/bin", *step], timeout_s=STEP_TIMEOUT_S)
    shutil.rmtree(root / "tmp/pip")
    shutil.rmtree(inside)
    site_packages = next((root / VENV.strip("/") / "lib").glob("python3*/site-packages"))
    paths = "".join(f"{SOURCE}/{folder}\n" for folder in source_folders())
    (site_packages / "tandem-source.pth").write_text(paths)
    _compile(root, site_packages.parent.name)


def _compile(root: Path, python: str) -> None:
    # The root is read-only: what is not compiled now would be compiled at every start. Trust the
    # result without comparing times, which saves a system call per module. A few files of the
    # standard library do not compile (they test the compiler): exit code 1 is as expected.
    command = f"python3 -m compileall -q --invalidation-mode unchecked-hash {VENV}/lib "
    command += f"/usr/lib/{python} >/dev/null || true"
    run(["chroot", root, "sh", "-c", command], timeout_s=STEP_TIMEOUT_S)


def _pack(tree: Path, image: Path) -> None:
    used_mib = int(run(["du", "-sm", tree], timeout_s=STEP_TIMEOUT_S).split()[0])
    with image.open("xb") as disk:
        disk.truncate(int(used_mib * 1.1 + IMAGE_SLACK_MIB) * MIB)
    run(
        ["mkfs.ext4", "-q", "-O", "^has_journal", "-m", "0", "-d", tree, image],
        timeout_s=STEP_TIMEOUT_S,
    )
