"""All of setup, in order: packages, kernel, Debian tree, wheels, image, guests, libvirt's cache.

Called by `tandem-lab setup` and by the tests' lab fixture. Each step says on its own whether
there is anything to do, so calling it again costs about a second.
"""

from __future__ import annotations

import time
from collections.abc import Callable

from tandem_lab import apt
from tandem_lab.guests import assemble_guests, guests_stamp
from tandem_lab.settings import Settings
from tandem_lab.setup import stamps
from tandem_lab.setup.image import build_image, build_tree, image_stamp, tree_stamp
from tandem_lab.setup.kernel import (
    KERNEL_RECIPE,
    compile_preload,
    preload_stamp,
    unpack_kernel,
)
from tandem_lab.setup.packages import HOST_PACKAGES
from tandem_lab.setup.prime import prime_libvirt
from tandem_lab.setup.requirements import actuator_requirements, build_wheels

Progress = Callable[[str], None]


def set_up(settings: Settings, progress: Progress) -> None:
    """Make whatever is missing or out of date; a second setup waits for the first."""
    with apt.cache_lock("setup"):
        _set_up(settings, progress)


def _set_up(settings: Settings, progress: Progress) -> None:
    settings.cache_dir.mkdir(parents=True, exist_ok=True)
    apt.ensure_apt_packages(HOST_PACKAGES, progress)

    requirements = actuator_requirements()
    cache = settings.cache_dir
    image = image_stamp(requirements, KERNEL_RECIPE)
    tree, wheels = cache / "root.tree", cache / "wheels"

    def step(name: str, product: str, stamp: str, build: stamps.Build) -> None:
        started = time.monotonic()
        if not stamps.is_current(cache / product, stamp):
            progress(f"{name} …")
        built = stamps.ensure(cache / product, stamp, build)
        took = f"{time.monotonic() - started:.0f} s" if built else "up to date"
        progress(f"{name}: {took}")

    step(
        "kernel (user-mode Linux)",
        settings.kernel_dir.name,
        KERNEL_RECIPE,
        lambda part: unpack_kernel(part, progress),
    )
    library = settings.kernel_preload
    step("kernel's register state", library.name, preload_stamp(), compile_preload)
    step("Debian tree", tree.name, tree_stamp(), build_tree)
    step(
        "Python packages",
        wheels.name,
        stamps.digest(["wheels 1", *requirements]),
        lambda part: build_wheels(requirements, part),
    )
    step(
        "root image",
        settings.root_image.name,
        image,
        lambda part: build_image(part, tree, wheels, settings),
    )
    step("guests", settings.guests_dir.name, guests_stamp(), assemble_guests)
    # libvirt compares the programs' change times, which differ in every image that is built.
    built = str(settings.root_image.stat().st_mtime_ns)
    step(
        "libvirt's knowledge of QEMU",
        settings.libvirt_cache_dir.name,
        stamps.digest(["prime 3", image, built]),
        lambda part: prime_libvirt(part, settings),
    )
