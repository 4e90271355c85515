"""The Linux guest: a Debian kernel, busybox, and a mirrored ext4 that it counts in.

It is built from Debian packages on first use (some seconds) and kept in the cache. Kernel and
initial RAM disk are no part of the mirrored disk: every host has them on its share, as
/site/linux, and the guest's template names them there. lab/guests/linux/init is its user space.

It never writes to a volume that is there already. Called by `tandem-lab linux-disk` and tests.
"""

from __future__ import annotations

import re
import shutil
from collections.abc import Iterable
from pathlib import Path

from tandem_api.meta import Quantity
from tandem_lab import apt
from tandem_lab.lab import Lab
from tandem_lab.settings import LAB_DIR, LabError, Settings
from tandem_lab.setup import stamps
from tandem_lab.shell import run
from tandem_lab.site_host import SiteHost

Progress = apt.Progress

SOURCE = LAB_DIR / "guests/linux"
# The first only depends on the newest kernel, whose own name has its version in it.
NEWEST_KERNEL = "linux-image-cloud-amd64"
TOOLS = ("busybox-static", "e2fsck-static")
# In this order of wish; what they depend on is put before them. ext4 is built into the kernel.
MODULES = ("virtio_pci", "virtio_blk", "button", "evdev")
FOLDERS = ("bin", "proc", "dev", "sys", "data", "modules", "acpi/PWRF")
POWER_BUTTON_PRESSED = "acpi/PWRF/00000080"

KERNEL = "vmlinuz"
INITIAL_RAM_DISK = "initramfs"
SHARE_FOLDER = "linux"
IMAGE = "disk.img"

MIB = 1024 * 1024
# Room behind the file system for DRBD's own record of the volume.
MIRROR_RECORD_BYTES = 4 * MIB
SMALLEST_BYTES = 8 * MIB
BUILD_TIMEOUT_S = 60.0
WRITE_TIMEOUT_S = 300.0


def ensure_linux_guest(settings: Settings, progress: Progress = print) -> Path:
    """The folder with kernel and initial RAM disk, made if it is missing or out of date."""
    product = settings.cache_dir / "linux-guest"
    stamp = stamps.digest(["linux 1", NEWEST_KERNEL, *TOOLS, *MODULES, *FOLDERS, SOURCE])
    with apt.cache_lock("linux-guest"):
        if not stamps.is_current(product, stamp):
            progress("Linux guest …")
        stamps.ensure(product, stamp, lambda part: _build(part, progress))
    return product


def make_linux_disks(lab: Lab, volume: str, size: str, progress: Progress = print) -> None:
    """The same volume with an empty count on it, at every host, and the guest's kernel.

    `size` is the volume's size as its Mirror has it ("64Mi"). Both replicas begin equal, up to
    their last byte, which is what lets Tandem skip the first sync.

    Raises:
        LabError: a host has a volume of that name, which is left as it is.
        ValueError: `size` is not a quantity.
    """
    size_bytes = Quantity(size).bytes
    if size_bytes < SMALLEST_BYTES or size_bytes % MIB:
        raise LabError(f"size {size}: give whole MiB, at least {SMALLEST_BYTES // MIB}Mi")
    files = ensure_linux_guest(lab.settings, progress)
    for host in lab.hosts:
        if host.run(["test", "-e", _device(volume)]).ok:
            raise LabError(f"{host.name} has a volume {volume}; remove it, or name another one")
    image = lab.settings.state_dir / "linux-disk.part"
    make_image(image, size_bytes)
    try:
        for host in lab.hosts:
            _install(host, files)
            _fill(host, volume, image)
    finally:
        image.unlink()


def make_image(image: Path, size_bytes: int) -> None:
    """A file like the whole backing device: an ext4 of `size_bytes` that holds the count 0."""
    content = image.with_name(f"{image.name}.tree")
    stamps.remove(content)
    stamps.remove(image)
    content.mkdir(parents=True)
    (content / "count").write_text("0\n")
    try:
        with image.open("xb") as file:
            file.truncate(size_bytes + MIRROR_RECORD_BYTES)
        # The file system's size is given: it must end where the mirrored volume does.
        run(
            ["mkfs.ext4", "-q", "-F", "-m", "0", "-d", content, image, f"{size_bytes // 1024}k"],
            timeout_s=BUILD_TIMEOUT_S,
        )
    finally:
        stamps.remove(content)


def in_order(wanted: Iterable[str], depends: dict[str, tuple[str, ...]]) -> list[str]:
    """Modules in an order in which they can be loaded; KeyError if one is not known."""
    ordered: list[str] = []
    for name in wanted:
        before = in_order(depends[name], depends)
        ordered += [each for each in [*before, name] if each not in ordered]
    return ordered


def module_depends(module: bytes) -> tuple[str, ...]:
    """What a kernel module says that it needs, by the names of files."""
    found = re.search(rb"\0depends=([^\0]*)\0", module)
    return tuple(name for name in found[1].decode().split(",") if name) if found else ()


def _build(product: Path, progress: Progress) -> None:
    product.mkdir(parents=True)
    packages, root = product / "packages", product / "root"
    apt.unpack_packages([_kernel_package(progress), *TOOLS], packages, progress)
    shutil.copy(_one(packages, "boot/vmlinuz-*"), product / KERNEL)
    for folder in FOLDERS:
        (root / folder).mkdir(parents=True)
    shutil.copy(packages / "bin/busybox", root / "bin/busybox")
    shutil.copy(packages / "sbin/e2fsck.static", root / "bin/e2fsck")
    shutil.copy(SOURCE / "init", root / "init")
    shutil.copy(SOURCE / "power-button", root / POWER_BUTTON_PRESSED)
    _add_modules(packages, root / "modules")
    _pack(root, packages / "bin/busybox", product / INITIAL_RAM_DISK)
    for folder_used in (packages, root):
        shutil.rmtree(folder_used)


def _kernel_package(progress: Progress) -> str:
    apt.ensure_candidates([NEWEST_KERNEL], progress)
    said = run(["apt-cache", "--important", "depends", NEWEST_KERNEL])
    found = re.search(r"Depends: (linux-image-\S+)", said)
    if found is None:
        raise LabError(f"apt does not say which kernel {NEWEST_KERNEL} stands for:\n{said}")
    return found[1]


def _add_modules(packages: Path, target: Path) -> None:
    # Only what is a file has to be loaded: the rest is built into the kernel.
    files = {path.stem.replace("-", "_"): path for path in packages.glob("lib/modules/**/*.ko")}
    depends = {
        name: tuple(each.replace("-", "_") for each in module_depends(path.read_bytes()))
        for name, path in files.items()
    }
    ordered = in_order(MODULES, depends)
    for name in ordered:
        shutil.copy(files[name], target / f"{name}.ko")
    (target / "order").write_text("".join(f"{name}.ko\n" for name in ordered))


def _pack(root: Path, busybox: Path, target: Path) -> None:
    # Not compressed: an emulated processor would take longer to unpack it than to read it.
    names = sorted(str(path.relative_to(root)) for path in root.rglob("*"))
    run(
        [busybox.absolute(), "cpio", "-o", "-H", "newc", "-R", "0:0", "-F", target.absolute()],
        stdin="".join(f"{name}\n" for name in names),
        cwd=root,
        timeout_s=BUILD_TIMEOUT_S,
    )


def _install(host: SiteHost, files: Path) -> None:
    folder = host.share / SHARE_FOLDER
    folder.mkdir(exist_ok=True)
    for name in (KERNEL, INITIAL_RAM_DISK):
        # Moved into place: a guest that starts meanwhile reads the old file or the new one.
        part = folder / f"{name}.part"
        shutil.copy(files / name, part)
        part.rename(folder / name)


def _fill(host: SiteHost, volume: str, image: Path) -> None:
    shared = host.share / SHARE_FOLDER / IMAGE
    shutil.copy(image, shared)
    try:
        host.create_volume(volume, f"{image.stat().st_size // MIB}M")
        source, target = f"if=/site/{SHARE_FOLDER}/{IMAGE}", f"of={_device(volume)}"
        host.run(
            ["dd", "status=none", "bs=1M", "conv=fsync", source, target],
            timeout_s=WRITE_TIMEOUT_S,
        ).check()
    finally:
        shared.unlink()


def _device(volume: str) -> str:
    return f"/dev/vg0/{volume}"


def _one(tree: Path, pattern: str) -> Path:
    found = sorted(tree.glob(pattern))
    if len(found) != 1:
        raise LabError(f"expected one {pattern} in the kernel's package, found {len(found)}")
    return found[0]
