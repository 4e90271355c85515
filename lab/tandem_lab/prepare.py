"""Everything that demo, benchmarks and lab tests need on this machine, made if it is missing.

Two things take minutes on a new machine and do not depend on each other: the site hosts' root
image and the API server's build. They are made side by side. Done before, it takes a second.
"""

from __future__ import annotations

from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor

from tandem_lab import apt
from tandem_lab.controlplane import APT_PACKAGES, find_binaries
from tandem_lab.settings import Settings
from tandem_lab.setup.packages import HOST_PACKAGES
from tandem_lab.setup.steps import set_up

Progress = Callable[[str], None]


def prepare(progress: Progress) -> None:
    """Make what is missing; raises LabError, AptError or BuildError with the reason."""
    settings = Settings.from_environment()
    apt.ensure_apt_packages([*HOST_PACKAGES, *APT_PACKAGES], progress)
    with ThreadPoolExecutor(max_workers=2) as pool:
        binaries = pool.submit(find_binaries, progress)
        set_up(settings, progress)
        binaries.result()
